/**
 * Files that lose their last name. On ext4 that takes the time that the kernel needs to free what they held, 0.1 to 0.7 ms each in unlink(2) or rename(2) itself. As
 * long as a descriptor refers to the file, it is put off to its close(2), which another thread does.
 */
import { close, closeSync, openSync, constants, statfsSync } from 'node:fs';
import { dirname } from 'node:path';

/** Refers to a file without opening it (open(2), Linux): no right to read is needed, and no FIFO blocks us. Node has no name for it. */
const O_PATH = 0o10000000;
const EXT4_MAGIC = 0xef53;
/** Descriptors that may be waiting to be closed. */
const MOST = 256;
/** Until then (ms) what was not flushed may never have had a place on the disk, and is quickly freed. */
const WRITTEN_OUT_MS = 30_000;

/** By device. Elsewhere nothing is won, and NFS would give a file that is referred to another name in its folder. */
const frees = new Map<bigint, boolean>();
let waiting = 0;

export interface Doomed {
  path: string;
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

function refer({ path, stat, flushed }: Doomed): number | undefined {
  if (process.platform !== 'linux' || stat.nlink !== 1n || stat.blocks === 0n || waiting >= MOST) return undefined;
  if (!flushed && Date.now() - Number(stat.ctimeMs) < WRITTEN_OUT_MS) return undefined;
  try {
    return isSlow(stat.dev, path) ? openSync(path, O_PATH | constants.O_NOFOLLOW) : undefined;
  } catch {
    return undefined;
  }
}

function isSlow(device: bigint, path: string): boolean {
  let slow = frees.get(device);
  if (slow === undefined) {
    slow = statfsSync(dirname(path)).type === EXT4_MAGIC;
    frees.set(device, slow);
  }
  return slow;
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
