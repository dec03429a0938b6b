/** The files of an LMDB: which they are, whose they are, and what becomes of those that are of no use. */
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  existsSync,
  linkSync,
  lstatSync,
  openSync,
  readSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
  type BigIntStats,
} from 'node:fs';
import { join } from 'node:path';
import { errno, toS3Error } from '../base/errors.js';
import { isAbsent, statOf } from '../fs/stat.js';
import { giveOpen, giveTo, type Ownership } from '../fs/statefile.js';
import { MAGIC, PAGE_HEAD, PAGE_SIZE } from './witness.js';

/** As large as LMDB makes it, for 126 readers; of another size it has room for more or fewer. */
const LOCK_BYTES = 8272;
/** Here lies a byte of its first 4 KiB that nothing is ever written to: entries of readers have 64 bytes, and use 24. */
const UNUSED_AT = 4095;
/** Of a page that it is a meta page (P_META). */
const IS_META = 8;
/** MDB_INTEGERKEY, of its table of free pages, and MDB_NOSUBDIR. */
const META_FLAGS = 0x4008;
/** What a file says of the size of its map, which grows as it needs to. */
const MAP_BYTES = 0x20000;

/**
 * Makes the two files of an LMDB, as far as they are missing, and gives them to their owner before anybody has a reason to open them.
 *
 * LMDB would make them itself, and on a full disk end the process: it writes its locks through a mapping of a file that has no blocks yet (SIGBUS),
 * and does not stand it that the first pages of its data find no room (SIGSEGV). So both get theirs here, where a write only fails.
 * @throws ENOSPC, EDQUOT; nothing is left behind then.
 */
export function makeFiles(path: string, owner: Ownership | undefined): void {
  makeWhole(path, owner, emptyPages());
  const lock = `${path}-lock`;
  makeWhole(lock, owner, Buffer.alloc(LOCK_BYTES));
  fillHole(lock);
}

/**
 * Sets aside what stands in the place of the index's folder and is none, and opens up one of ours that is shut.
 * @returns why what was there is of no use; undefined if it is, or if nothing was there.
 */
export function clearPlace(directory: string): string | undefined {
  if (!lstatSync(directory, { throwIfNoEntry: false })) return undefined;
  if (statOf(directory)?.isDirectory()) openUp(directory);
  else setAside(directory, ['']);
  return statOf(directory)?.isDirectory() ? undefined : 'its folder is none';
}

/** Gives a folder of ours its rights again. */
export function openUp(directory: string): void {
  try {
    const { uid, mode } = lstatSync(directory);
    if (uid === process.geteuid?.() && (mode & 0o700) !== 0o700) chmodSync(directory, 0o700);
  } catch {
    // whoever needs it says so
  }
}

/** Lock files that this process may have locks on. */
const locks = new Set<string>();

/** Gives a lock file its first block that has none: a version before this one made it, and was ended by that. */
function fillHole(lock: string): void {
  const stat = statSync(lock, { bigint: true });
  if (stat.blocks === 0n && !locks.has(fileOf(stat))) {
    const fd = openSync(lock, 'r+');
    try {
      // no bits of a reader's entry: so it does no harm where blocks are not told
      writeSync(fd, Buffer.alloc(1), 0, 1, UNUSED_AT);
    } finally {
      closeSync(fd);
    }
  }
  locks.add(fileOf(stat));
}

/** Behind the door; where there is none, whoever is first makes it. */
function makeWhole(path: string, owner: Ownership | undefined, bytes: Buffer): void {
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  // not opened: to close it would end the locks that this process may have on it (fcntl(2))
  if (size !== undefined && size > 0) return giveTo(path, owner);
  const whole = `${path}-${randomBytes(4).toString('hex')}.tmp`;
  try {
    const fd = openSync(whole, 'wx', 0o644);
    try {
      giveOpen(fd, owner);
      writeFileSync(fd, bytes);
    } finally {
      closeSync(fd);
    }
    if (size === undefined) linkSync(whole, path);
    // left by a version that a full disk has ended
    else renameSync(whole, path);
  } catch (error) {
    if (errno(error) !== 'EEXIST') throw error;
  } finally {
    rmSync(whole, { force: true });
  }
}

/** What LMDB writes to a new file: two meta pages that tell of no other page (mdb_env_init_meta). */
function emptyPages(): Buffer {
  const pages = Buffer.alloc(2 * PAGE_SIZE);
  for (const number of [0, 1]) {
    const page = pages.subarray(number * PAGE_SIZE);
    page.writeUInt32LE(number, 0);
    page.writeUInt16LE(IS_META, 18);
    const meta = page.subarray(PAGE_HEAD);
    MAGIC.copy(meta);
    meta.writeUInt32LE(2, 4);
    meta.writeUInt32LE(MAP_BYTES, 16);
    meta.writeUInt32LE(PAGE_SIZE, 24);
    meta.writeUInt16LE(META_FLAGS, 28);
    // the roots of both of its tables, and the last page
    meta.fill(0xff, 64, 72);
    meta.fill(0xff, 112, 120);
    meta.writeUInt32LE(1, 120);
  }
  return pages;
}

/** @throws the S3 error of what the system says: it must not be taken for an error of a file that is served. */
export function statAt(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false });
  } catch (error) {
    if (isAbsent(error)) return undefined;
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
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    // removed at this moment
    if (errno(error) === 'ENOENT') return false;
    throw error;
  }
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
    // a link counts, wherever it leads
    if (!lstatSync(path + suffix, { throwIfNoEntry: false })) continue;
    rmSync(`${path}${suffix}.aside`, { recursive: true, force: true });
    try {
      renameSync(path + suffix, `${path}${suffix}.aside`);
    } catch (error) {
      // another process has done so at the same moment
      if (errno(error) !== 'ENOENT') throw error;
    }
  }
}

/** Removes the copies that were set aside. @returns whether there were any. */
export function dropAside(directory: string): boolean {
  const names = existsSync(directory) ? readdirSync(directory) : [];
  const copies = names.filter((name) => name.endsWith('.aside')).map((name) => join(directory, name));
  const whole = `${directory}.aside`;
  if (lstatSync(whole, { throwIfNoEntry: false })) copies.push(whole);
  for (const copy of copies) rmSync(copy, { recursive: true, force: true });
  return copies.length > 0;
}
