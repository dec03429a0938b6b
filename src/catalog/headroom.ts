/**
 * Sees to it that a transaction finds room before LMDB writes its pages: on a disk that is nearly full, the file of the index is first made as much longer
 * as the transaction may need. So what finds no room ends in an error here, and nothing was begun.
 *
 * LMDB itself must not come upon a full disk: lmdb 3.5.6 tells of a write that failed in up to 115 bytes, for which it has taken 100 (mdb_page_flush), and
 * the process that goes on with such a heap is ended by SIGABRT or SIGSEGV some time later.
 */
import { closeSync, openSync, statSync, statfsSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { PAGE_SIZE } from './witness.js';

/** With so much room (bytes), beside what is needed, nothing is looked after. */
const AMPLE = 4 << 20;
/** Nothing fills a disk faster than this, bytes a ms. */
const FASTEST = 4 << 20;
/** Ms after which it is looked again at the latest. */
const LOOK_MS = 250;
/** At most so many pages hold what the table of free pages gets. */
const FREE_PAGES = 16;

/** What LMDB counts of a table. */
export interface TreeStats {
  treeDepth: number;
  treeBranchPageCount: number;
  treeLeafPageCount: number;
  overflowPages: number;
}

/** The same, and of the whole file. */
export interface TableStats extends TreeStats {
  /** The table of tables, and that of free pages. */
  root: TreeStats;
  free: TreeStats;
  /** As it was committed. */
  lastPageNumber: number;
}

interface Change {
  entries: number;
  bytes: number;
  /** Pages of values that have their own. */
  large: number;
}
/** So many entries, of so many bytes together, will be put or removed. */
export type Expected = Pick<Change, 'entries' | 'bytes'>;

export class Headroom<Name> {
  /** What the transaction under way has put and removed. */
  private readonly changes = new Map<Name, Change>();
  /** Until when (ms) there is ample room. */
  private ample = -Infinity;

  /** @param path of the index. */
  constructor(private readonly path: string) {}

  /** A transaction begins. */
  begin(): void {
    this.changes.clear();
  }

  /** An entry was put or removed. */
  note(table: Name, bytes: number): void {
    let change = this.changes.get(table);
    if (!change) this.changes.set(table, (change = { entries: 0, bytes: 0, large: 0 }));
    change.entries++;
    if (bytes > PAGE_SIZE / 4) change.large += Math.ceil(bytes / PAGE_SIZE);
    else change.bytes += bytes;
  }

  /**
   * The same before what is expected is done, beside what was changed already: what cannot be taken back must not be done if it finds no room.
   * @throws as {@link ensure}.
   */
  foresee(expected: () => Iterable<[Name, Expected]>, statsOf: (table: Name) => TableStats): void {
    if (performance.now() < this.ample) return;
    const before = [...this.changes].map(([table, change]): [Name, Change] => [table, { ...change }]);
    try {
      for (const [table, { entries, bytes }] of expected()) {
        const change = this.changes.get(table) ?? { entries: 0, bytes: 0, large: 0 };
        this.changes.set(table, { ...change, entries: change.entries + entries, bytes: change.bytes + bytes });
      }
      this.ensure(statsOf);
    } finally {
      this.changes.clear();
      for (const [table, change] of before) this.changes.set(table, change);
    }
  }

  /** Under the lock, before what was changed is committed. @throws ENOSPC, EDQUOT, and what the system says. */
  ensure(statsOf: (table: Name) => TableStats): void {
    if (this.changes.size === 0 || performance.now() < this.ample) return;
    const { bavail, bsize } = statfsSync(dirname(this.path));
    const room = bavail * bsize;
    if (room >= AMPLE) {
      const entries = [...this.changes.values()].reduce((sum, change) => sum + change.entries + change.large, 0);
      const spare = room - AMPLE - 8 * PAGE_SIZE * entries;
      if (spare >= 0) {
        this.ample = performance.now() + Math.min(LOOK_MS, spare / FASTEST);
        return;
      }
    }
    this.lengthen(statsOf);
  }

  private lengthen(statsOf: (table: Name) => TableStats): void {
    let needed = 0;
    let last = 0;
    let shared = 0;
    for (const [table, change] of this.changes) {
      const stats = statsOf(table);
      needed += pagesFor(stats, change);
      last = stats.lastPageNumber;
      shared = stats.root.treeDepth + 1 + Math.min(FREE_PAGES, pagesOf(stats.free) + 2);
    }
    const end = (last + 1 + needed + shared) * PAGE_SIZE;
    const { size } = statSync(this.path);
    if (size < end) fill(this.path, size, end);
  }
}

/** How many pages of a table a transaction writes at most: those on the way to what it has changed, those that come by splitting them, and large values. */
function pagesFor(stats: TreeStats, { entries, bytes, large }: Change): number {
  const way = stats.treeDepth < 2 ? 1 : 1 + entries * (stats.treeDepth - 1);
  const splits = 1 + Math.min(entries, 2 + Math.ceil((4 * bytes) / PAGE_SIZE));
  return Math.min(way, pagesOf(stats) + 1) + splits + large;
}

function pagesOf({ treeBranchPageCount, treeLeafPageCount, overflowPages }: TreeStats): number {
  return treeBranchPageCount + treeLeafPageCount + overflowPages;
}

function fill(path: string, from: number, to: number): void {
  const fd = openSync(path, 'r+');
  try {
    const zeros = Buffer.alloc(Math.min(to - from, 1 << 20));
    for (let at = from; at < to;) at += writeSync(fd, zeros, 0, Math.min(zeros.length, to - at), at);
  } finally {
    closeSync(fd);
  }
}
