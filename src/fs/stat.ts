/** lstat(2) where nothing being there is an answer, not an error. */
import { lstatSync, type BigIntStats } from 'node:fs';
import { errno } from '../base/errors.js';

/** Nothing there, or something that no key can name. */
export function isAbsent(error: unknown): boolean {
  const code = errno(error);
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP' || code === 'ENAMETOOLONG';
}

export function lstatOf(path: string): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true });
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
