/**
 * Tells whether somebody else than LMDB has written to the file of an open index, or cut it: LMDB would give wrong rows from it, leave some out, or
 * end the process by SIGBUS or SIGSEGV. So this is asked before its pages are looked at.
 *
 * Each transaction that changes the file has a number, which LMDB keeps in shared memory. What wrote to the file without a new number was none. Whether
 * anybody wrote is told by size and mtime: the ctime also changes when root gives the file to its owner, or a backup links to it.
 */
import { closeSync, ftruncateSync, openSync, readSync, statfsSync, writeSync, type BigIntStats } from 'node:fs';
import { dirname } from 'node:path';

export const PAGE_SIZE = 8192;
/** `0xBEEFC0DE`, little-endian: in the head of LMDB's two meta pages, and of its lock file. */
export const MAGIC = Buffer.from('dec0efbe', 'hex');
/** Bytes of a page before what it holds. */
export const PAGE_HEAD = 24;
/** With less room (bytes) a transaction may have failed midway, and there is none for another index. */
const LEAST_ROOM = 1 << 20;

export class Witness {
  private size = 0n;
  private mtimeNs = 0n;
  private last = -1;

  /** As the file is now it is good. @param last number of the last transaction. */
  note({ size, mtimeNs }: BigIntStats, last: number): void {
    this.size = size;
    this.mtimeNs = mtimeNs;
    this.last = last;
  }

  /** It has changed by a transaction, nobody knows to what. */
  forget(): void {
    this.mtimeNs = -1n;
    this.last = -1;
  }

  isUntouched({ size, mtimeNs }: BigIntStats): boolean {
    return mtimeNs === this.mtimeNs && size === this.size;
  }

  /** Whether a transaction with this number is known to have been behind a change: then none need be waited for. */
  isNewer(last: number): boolean {
    return this.last >= 0 && last > this.last;
  }

  /** LMDB never makes its file shorter. */
  isCut({ size }: BigIntStats): boolean {
    return size < this.size;
  }

  /** Whether there was no transaction since: under the lock, or one may be under way. */
  isLast(last: number): boolean {
    return last === this.last;
  }

  /**
   * Makes a cut or overwritten file safe to lock and to let go of: whoever looks at a page that is missing is ended by SIGBUS, and LMDB believes its meta
   * pages. Zeros are no pages, and it says so.
   */
  blank(path: string): void {
    const fd = openSync(path, 'r+');
    try {
      writeSync(fd, Buffer.alloc(2 * PAGE_SIZE), 0, 2 * PAGE_SIZE, 0);
      ftruncateSync(fd, Number(this.size));
    } finally {
      closeSync(fd);
    }
  }
}

/** Whether there is room for another index, or for so many bytes. */
export function hasRoom(path: string, least = LEAST_ROOM): boolean {
  const { bavail, bsize } = statfsSync(dirname(path));
  return bavail * bsize >= least;
}

/**
 * Reads the two meta pages of an LMDB file. Each has, after 24 bytes of page header, magic u32, version u32, address and map size u64, two
 * database records of 48 bytes (the first begins with the page size), last page u64, transaction u64.
 * @returns how many pages each counts, and the number of its transaction; undefined if it is no LMDB file of ours.
 */
export function metaPages(path: string): { pages: number; last: number }[] | undefined {
  const head = Buffer.alloc(2 * PAGE_SIZE);
  const fd = openSync(path, 'r');
  try {
    if (readSync(fd, head, 0, head.length, 0) < head.length) return undefined;
  } finally {
    closeSync(fd);
  }
  const metas = [0, PAGE_SIZE].map((page) => head.subarray(page + PAGE_HEAD));
  if (metas.some((meta) => meta.indexOf(MAGIC) !== 0 || meta.readUInt32LE(24) !== PAGE_SIZE)) return undefined;
  const number = (meta: Buffer, at: number): number => Number(meta.readBigUInt64LE(24 + 96 + at));
  return metas.map((meta) => ({ pages: number(meta, 0) + 1, last: number(meta, 8) }));
}
