/**
 * A little room that is kept for what must be written down on a full disk: a delete takes the file away first, and its line has to follow. A plain
 * file of random bytes (a file system that compresses must not shrink it) that is cut shorter where a line finds no room.
 */
import { randomFillSync } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, statSync, truncateSync, writeSync } from 'node:fs';
import { giveOpen, isFull, type Ownership } from '../fs/statefile.js';

/** Bytes that are kept. */
const KEPT = 512 << 10;
/** Bytes of them that an index which is made on a full disk leaves alone. */
export const KEPT_FOR_LINES = 64 << 10;
/** Bytes that are given at a time: a page of the index, and many lines. */
const PIECE = 8 << 10;
/** What was filled is looked at again after this time, ms: other processes use it, too. */
const FRESH_MS = 250;

export class Reserve {
  /** Until when (ms) it is taken for filled. */
  private fresh = 0;

  /** @param path of its file; undefined: none is kept. */
  constructor(
    private readonly path: string | undefined,
    private readonly owner: Ownership | undefined,
  ) {}

  /** Whether all of it was there a moment ago. */
  get isFresh(): boolean {
    return performance.now() < this.fresh;
  }

  /** Keeps as much as there is room for. @returns whether anything is kept. @throws what the system says, but that there is no room. */
  fill(): boolean {
    if (this.path === undefined) return false;
    try {
      let size = statSync(this.path, { throwIfNoEntry: false })?.size ?? 0;
      if (size < KEPT) size = this.grow(this.path);
      if (size >= KEPT) this.fresh = performance.now() + FRESH_MS;
      return size >= PIECE;
    } catch (error) {
      if (isFull(error)) return false;
      throw error;
    }
  }

  /** The same where it is only a help. */
  tryFill(): void {
    try {
      this.fill();
    } catch {
      // whoever needs it asks again
    }
  }

  /** Gives a piece of it back to the file system. @returns false if nothing is left but `least` bytes. */
  release(least = 0): boolean {
    if (this.path === undefined) return false;
    this.fresh = 0;
    try {
      const { size } = statSync(this.path);
      if (size <= least) return false;
      truncateSync(this.path, Math.floor((size - 1) / PIECE) * PIECE);
      return true;
    } catch {
      return false;
    }
  }

  /** @returns its size. */
  private grow(path: string): number {
    const { O_CREAT, O_WRONLY, O_NOFOLLOW } = constants;
    const fd = openSync(path, O_CREAT | O_WRONLY | O_NOFOLLOW, 0o600);
    try {
      giveOpen(fd, this.owner);
      let { size } = fstatSync(fd);
      const piece = randomFillSync(Buffer.alloc(PIECE));
      try {
        while (size < KEPT) size += writeSync(fd, piece, 0, PIECE - (size % PIECE), size);
      } catch {
        // no more room than this
      }
      return size;
    } finally {
      closeSync(fd);
    }
  }
}
