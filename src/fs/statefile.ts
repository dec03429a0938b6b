/**
 * Small files of our own under `.gos3rve`: replaced atomically, readable with an editor, and owned by the owner of the root even when
 * root's cron writes them (DESIGN, "On disk").
 */
import { randomBytes } from 'node:crypto';
import {
  chownSync,
  closeSync,
  fchownSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  type Stats,
} from 'node:fs';
import { dirname } from 'node:path';
import { errno } from '../base/errors.js';
import { processToken } from '../base/process.js';

/** Who shall own what we make; undefined when we may not choose. */
export interface Ownership {
  uid: number;
  gid: number;
}

/** The owner of `path`, if we are privileged to give files away and it is somebody else. */
export function ownershipOf(path: string): Ownership | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const { uid, gid } = lstatSync(path);
  return uid === 0 && gid === 0 ? undefined : { uid, gid };
}

/** Nothing is touched that is the owner's already. */
export function giveTo(path: string, owner: Ownership | undefined): void {
  if (!owner) return;
  try {
    const { uid, gid } = statSync(path);
    if (uid !== owner.uid || gid !== owner.gid) chownSync(path, owner.uid, owner.gid);
  } catch {
    // a file system without owners
  }
}

/** The same of an open file. */
export function giveOpen(fd: number, owner: Ownership | undefined): void {
  if (!owner) return;
  try {
    fchownSync(fd, owner.uid, owner.gid);
  } catch {
    // a file system without owners
  }
}

/** Makes a directory of ours and its parents, 0700. Step by step: mkdirSync's `recursive` never comes back from a path below /proc. */
export function makeStateDir(path: string, owner?: Ownership): Stats {
  const there = directoryAt(path);
  if (there) return there;
  const missing: string[] = [];
  for (let at = path; !directoryAt(at); at = dirname(at)) missing.push(at);
  for (const one of missing.reverse()) {
    try {
      mkdirSync(one, { mode: 0o700 });
      giveTo(one, owner);
    } catch (error) {
      if (errno(error) !== 'EEXIST' || !directoryAt(one)) throw error;
    }
  }
  return statSync(path);
}

/** @throws ENOTDIR, EACCES and whatever else but ENOENT stat(2) says. */
function directoryAt(path: string): Stats | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat && !stat.isDirectory())
    throw Object.assign(new Error(`ENOTDIR: not a directory, '${path}'`), { code: 'ENOTDIR' });
  return stat;
}

/** Replaces `path` by `text`: temporary file, fsync, rename, fsync of the directory. */
export function writeFileAtomic(path: string, text: string, owner?: Ownership, mode = 0o600): void {
  const temporary = `${path}.${processToken()}-${randomBytes(6).toString('hex')}.tmp`;
  const fd = openSync(temporary, 'wx', mode);
  try {
    try {
      // loops over short writes, which are how a disk begins to be full
      writeFileSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    giveTo(temporary, owner);
    renameSync(temporary, path);
  } catch (error) {
    unlinkSync(temporary);
    throw error;
  }
  syncDirSync(dirname(path));
}

/** Token of the process that was replacing a file; undefined if `name` is not that of a temporary file. */
export function replacerOf(name: string): string | undefined {
  return /\.([0-9a-f]+\.\d+\.\d+)-[0-9a-f]+\.tmp$/.exec(name)?.[1];
}

/** Whether a write failed for want of room: of blocks, or of the user's share of them. */
export function isFull(error: unknown): boolean {
  const code = errno(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/**
 * Makes a new small file. On a full disk its text becomes the target of a link instead, which (up to some 59 bytes) most file systems keep in
 * the inode: so a root can be opened, read and tidied up that has not one block left. {@link readNote} reads both.
 * @throws EEXIST.
 */
export function leaveNote(path: string, text: string, owner?: Ownership): void {
  const fd = openSync(path, 'wx', 0o600);
  try {
    // first of all: the owner may look at it at any moment
    giveOpen(fd, owner);
    writeFileSync(fd, text);
    fsyncSync(fd);
  } catch (error) {
    unlinkSync(path);
    if (!isFull(error)) throw error;
    symlinkSync(text, path);
  } finally {
    closeSync(fd);
  }
}

/** @returns undefined if there is none. */
export function readNote(path: string): string | undefined {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : readFileSync(path, 'utf8');
  } catch (error) {
    if (errno(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Errors of fsync(2) that only say that a file system (SMB, FUSE) has none for directories; there it is the server's affair. */
export function knowsNoDirSync(error: unknown): boolean {
  const code = errno(error);
  return code === 'EINVAL' || code === 'ENOTSUP' || code === 'EISDIR' || code === 'EPERM';
}

/** fsync(2) of a directory. */
export function syncDirSync(path: string): void {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return;
  }
  try {
    fsyncSync(fd);
  } catch (error) {
    if (!knowsNoDirSync(error)) throw error;
  } finally {
    closeSync(fd);
  }
}

/** Flushes a file that somebody else has written. */
export function syncFileSync(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
