import { S3Error } from '../../src/base/errors.js';

/** The S3Error that `run` throws. */
export function errorOf(run: () => unknown): S3Error {
  try {
    run();
  } catch (error) {
    if (error instanceof S3Error) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

export function codeOf(run: () => unknown): string {
  return errorOf(run).code;
}
