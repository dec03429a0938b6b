/**
 * Files that lose their last name. unlink(2), or rename(2) over it, takes the time that the kernel needs to free what the file held: 20 to 75 ms for 180 MB that are
 * in its cache, and 0.1 to 0.7 ms even for a small one where the disk is told at once of each block that is free (mount option `discard`). As long as a descriptor
 * refers to the file, that is put off to its close(2), which another thread does.
 */
import { close, closeSync, openSync, constants } from 'node:fs';
import { mountOf } from './mount-table.js';

/** Refers to a file without opening it (open(2), Linux): no right to read is needed, and no FIFO blocks us. Node has no name for it. */
const O_PATH = 0o10000000;
/** Elsewhere nobody has measured, and NFS and some of FUSE give a file that is referred to another name in its folder. */
const LOCAL = new Set(['ext4', 'xfs', 'btrfs', 'tmpfs', 'f2fs', 'overlay']);
const LARGE_BYTES = 1n << 20n;
/** Of `blocks` in stat(2). */
const BLOCK_BYTES = 512n;
/** Descriptors that may be waiting to be closed. */
const MOST = 256;
/** Until then (ms) what was not flushed may never have had a place on the disk, and is quickly freed. */
const WRITTEN_OUT_MS = 30_000;

/** Which files are slowly freed on a file system, by device. */
const slow = new Map<bigint, 'all' | 'large' | 'none'>();
let waiting = 0;

export interface Doomed {
  path: string;
  /** Real path of its folder. */
  folder: string;
  /** As it is now. */
  stat: { dev: bigint; nlink: bigint; blocks: bigint; ctimeMs: bigint };
  /** It was flushed when it was written. */
  flushed: boolean;
}

/** @param work takes a name from the file, and is not told of anything that goes wrong here. */
export function freedLater<T>(doomed: Doomed | undefined, work: () => T): T {
  const fd = doomed && refer(doomed);
  try {
    return work();
  } finally {
    if (fd !== undefined) letGo(fd);
  }
}

function refer(doomed: Doomed): number | undefined {
  const { path, stat } = doomed;
  if (process.platform !== 'linux' || stat.nlink !== 1n || stat.blocks === 0n || waiting >= MOST) return undefined;
  try {
    return isSlow(doomed) ? openSync(path, O_PATH | constants.O_NOFOLLOW) : undefined;
  } catch {
    return undefined;
  }
}

function isSlow({ folder, stat, flushed }: Doomed): boolean {
  let files = slow.get(stat.dev);
  if (files === undefined) {
    const { type = '', options = [] } = mountOf(folder) ?? {};
    files = !LOCAL.has(type) ? 'none' : options.includes('discard') ? 'all' : 'large';
    slow.set(stat.dev, files);
  }
  if (files === 'none') return false;
  if (stat.blocks * BLOCK_BYTES >= LARGE_BYTES) return true;
  return files === 'all' && (flushed || Date.now() - Number(stat.ctimeMs) >= WRITTEN_OUT_MS);
}

function letGo(fd: number): void {
  waiting++;
  try {
    close(fd, () => waiting--);
  } catch {
    waiting--;
    closeSync(fd);
  }
}
