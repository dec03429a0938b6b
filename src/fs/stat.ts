/**
 * stat(2) and lstat(2) where nothing being there is an answer, not an error: also where a file stands above the path (ENOTDIR), which `throwIfNoEntry`
 * throws at on POSIX.
 */
import { lstatSync, statSync, type BigIntStats, type Stats } from 'node:fs';
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

/** Behind links. */
export function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
