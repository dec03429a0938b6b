/** The files of an LMDB: which they are, whose they are, and what becomes of those that are of no use. */
import {
  closeSync,
  existsSync,
  lstatSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  type BigIntStats,
} from 'node:fs';
import { errno, toS3Error } from '../base/errors.js';
import { giveOpen, giveTo, type Ownership } from '../fs/statefile.js';
import { MAGIC } from './witness.js';

/** Makes files that are missing, empty as LMDB takes them, and gives all to their owner before anybody has a reason to open them. */
export function makeFor(owner: Ownership | undefined, ...paths: string[]): void {
  if (!owner) return;
  for (const path of paths) {
    try {
      const fd = openSync(path, 'wx', 0o644);
      giveOpen(fd, owner);
      closeSync(fd);
    } catch (error) {
      if (errno(error) !== 'EEXIST') throw error;
      // not opened: to close it would end the locks that this process may have on it (fcntl(2))
      giveTo(path, owner);
    }
  }
}

/** @throws the S3 error of what the system says: it must not be taken for an error of a file that is served. */
export function statAt(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false });
  } catch (error) {
    throw toS3Error(error);
  }
}

/** Names the file that lies at a path; '' for none. */
export function fileAt(path: string): string {
  return fileOf(statAt(path));
}

export function fileOf(stat: BigIntStats | undefined): string {
  return stat ? `${stat.dev}:${stat.ino}` : '';
}

/** Of what {@link fileAt} says; a disk that comes back may be another device. */
export function inodeOf(file: string): string {
  return file.slice(file.indexOf(':') + 1);
}

/**
 * Removes what lies in the place of a lock file and does not begin as one: lmdb-js crashes when LMDB refuses it. Those who have it open keep it, and soon
 * find out themselves. Not to be asked of a lock that this process has open: it would lose its hold on it (fcntl(2)).
 */
export function dropSpoilt(lock: string): void {
  if (!isLock(lock)) rmSync(lock, { recursive: true, force: true });
}

function isLock(path: string): boolean {
  if (lstatSync(path, { throwIfNoEntry: false })?.isFile() !== true) return false;
  const fd = openSync(path, 'r');
  try {
    const head = Buffer.alloc(MAGIC.length);
    return readSync(fd, head) === head.length && head.equals(MAGIC);
  } finally {
    closeSync(fd);
  }
}

/** Moves an index and its lock file out of the way; of copies set aside one is enough to look at. */
export function setAside(path: string, suffixes = ['', '-lock']): void {
  for (const suffix of suffixes) {
    if (!existsSync(path + suffix)) continue;
    rmSync(`${path}${suffix}.aside`, { recursive: true, force: true });
    try {
      renameSync(path + suffix, `${path}${suffix}.aside`);
    } catch (error) {
      // another process has done so at the same moment
      if (errno(error) !== 'ENOENT') throw error;
    }
  }
}
