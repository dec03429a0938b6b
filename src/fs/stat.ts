/**
 * stat(2) and lstat(2) where nothing being there is an answer, not an error: also where a file stands above the path (ENOTDIR), which `throwIfNoEntry`
 * throws at on POSIX.
 */
import { lstatSync, opendirSync, statSync, type BigIntStats, type Stats } from 'node:fs';
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

/** By which a file is known to be the very same, and not to have been changed since. */
export type Stamps = Pick<BigIntStats, 'dev' | 'ino' | 'size' | 'mtimeNs' | 'ctimeNs'>;

/** Only these, of a stat that is kept: it takes a tenth of the memory. */
export function stampsOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): Stamps {
  return { dev, ino, size, mtimeNs, ctimeNs };
}

export function isSameFile(a: Stamps, b: Stamps): boolean {
  // what changes most often first
  return a.ctimeNs === b.ctimeNs && a.ino === b.ino && a.mtimeNs === b.mtimeNs && a.size === b.size && a.dev === b.dev;
}

/** @throws ENOENT, ENOTDIR, EACCES. */
export function isEmptyDir(path: string): boolean {
  const entries = opendirSync(path);
  try {
    return entries.readSync() === null;
  } finally {
    entries.closeSync();
  }
}
