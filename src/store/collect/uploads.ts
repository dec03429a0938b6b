/** Multipart uploads that nobody goes on with. */
import { lstatSync } from 'node:fs';
import { S3Error } from '../../base/errors.js';
import type { Upload } from '../contract.js';
import type { Core } from '../core.js';
import type { Uploads } from '../uploads.js';
import { rowsOf, type CollectOptions } from './rows.js';

/** @param before ms. @returns how many were ended. */
export async function abortStale(
  core: Core,
  uploads: Uploads,
  before: number,
  { dryRun, signal }: CollectOptions,
): Promise<number> {
  let ended = 0;
  for await (const { value } of rowsOf(core, 'uploads', signal)) {
    const { bucket, key, uploadId, initiated } = JSON.parse(value.toString()) as Upload;
    if (initiated >= before || lastTouched(uploads, bucket, uploadId) >= before) continue;
    if (!dryRun && !(await abort(uploads, bucket, key, uploadId))) continue;
    ended++;
  }
  return ended;
}

/** Each part that comes is renamed into the upload's folder. 0 if it is gone. */
function lastTouched(uploads: Uploads, bucket: string, uploadId: string): number {
  try {
    return lstatSync(uploads.directory(bucket, uploadId)).mtimeMs;
  } catch {
    // its bucket is gone, perhaps with its disk: then it cannot be ended either
    return 0;
  }
}

async function abort(uploads: Uploads, bucket: string, key: string, uploadId: string): Promise<boolean> {
  try {
    await uploads.abort(bucket, key, uploadId);
    return true;
  } catch (error) {
    if (error instanceof S3Error && (error.code === 'NoSuchUpload' || error.code === 'NoSuchBucket')) return false;
    throw error;
  }
}
