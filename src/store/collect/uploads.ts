/** Multipart uploads that nobody goes on with. */
import { lstatSync } from 'node:fs';
import { S3Error } from '../../base/errors.js';
import type { WholeIndex } from '../../catalog/whole.js';
import type { Upload } from '../contract.js';
import { isAbsent, type Core } from '../core.js';
import type { Uploads } from '../uploads.js';
import { rowsOf, type CollectOptions } from './rows.js';

/** @param before ms. @returns how many were ended. */
export async function abortStale(
  core: Core,
  whole: WholeIndex,
  uploads: Uploads,
  before: number,
  { dryRun, signal }: CollectOptions,
): Promise<number> {
  let ended = 0;
  for await (const { value } of rowsOf(core, whole, 'uploads', signal)) {
    const upload = JSON.parse(value.toString()) as Upload;
    if (upload.initiated >= before || lastTouched(uploads, upload) >= before) continue;
    if (!dryRun && !(await abort(uploads, upload))) continue;
    ended++;
  }
  return ended;
}

/** Each part that comes is renamed into the upload's folder. 0 if it is gone; just now if nobody can tell. */
function lastTouched(uploads: Uploads, { bucket, uploadId }: Upload): number {
  try {
    const directory = isLost(bucket) ? uploads.lostDirectory(uploadId) : uploads.directory(bucket, uploadId);
    return directory === undefined ? 0 : lstatSync(directory).mtimeMs;
  } catch (error) {
    // its bucket is gone, perhaps with its disk: then it cannot be ended either
    return isAbsent(error) || error instanceof S3Error ? 0 : Infinity;
  }
}

/** Kept aside under the number of its lost folder, see carry.ts. */
function isLost(bucket: string): boolean {
  return bucket.startsWith('/');
}

async function abort(uploads: Uploads, upload: Upload): Promise<boolean> {
  if (isLost(upload.bucket)) return uploads.abortLost(upload);
  try {
    await uploads.abort(upload.bucket, upload.key, upload.uploadId);
    return true;
  } catch (error) {
    if (error instanceof S3Error && (error.code === 'NoSuchUpload' || error.code === 'NoSuchBucket')) return false;
    throw error;
  }
}
