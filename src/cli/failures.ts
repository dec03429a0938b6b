/** From what was thrown to one line for a person and an exit code. */
import { S3Error, UsageError, errno } from '../base/errors.js';
import { isFull } from '../fs/statefile.js';
import { Stopped } from './output.js';

/** 0 done, 1 failed, 2 wrong usage; 128 + n ended by signal n. */
export function exitCodeOf(error: unknown): number {
  return error instanceof UsageError || error instanceof Stopped ? error.exitCode : 1;
}

/** One line without a stop; undefined if nothing is to be said. */
export function describe(error: unknown): string | undefined {
  if (error instanceof Stopped) return undefined;
  if (error instanceof S3Error) return describeS3(error);
  const text = oneLine(error instanceof Error ? error.message : String(error));
  return isFull(error) ? `a disk is full, or a quota is used up (${text}); make room and try again` : text;
}

/** What fails in `work` is told of `name`. @throws what it throws; S3 errors as UsageError (exit code 1) with the name before them. */
export async function about<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof S3Error) || error.code === 'NoSuchBucket') throw error;
    throw new UsageError(`${name}: ${describeS3(error)}`, 1);
  }
}

/** What an S3 client gets as a document is here a line; the cause, which clients are not shown, belongs to it. */
function describeS3(error: S3Error): string {
  const { BucketName: bucket } = error.data;
  const { cause } = error;
  const code = errno(cause);
  switch (error.code) {
    case 'NoSuchBucket':
      return bucket === undefined ? 'there is no such bucket' : `there is no bucket "${bucket}"`;
    case 'NoSuchKey':
      return 'there is no such object';
    case 'InsufficientStorage':
      return 'the disk is full (or less is free than --min-free asks for); make room and try again';
    case 'AccessDenied':
      if (code !== undefined) return `the file system refused access (${code}); run it as the owner of the directory`;
      break;
    case 'InternalError':
      if (cause instanceof Error) return oneLine(cause.message);
  }
  return oneLine(error.message).replace(/\.$/, '');
}

function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, ' ');
}
