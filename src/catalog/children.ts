/** What lies in a directory, by its rows, in the order of their names. */
import type { Index } from './lmdb.js';
import { rowKey, rowName } from './rows.js';

/** Rows that are gone through at a time: so long a turn may be. */
const PAGE = 256;

export interface Child {
  /** That of a directory ends in `/`. */
  name: string;
  /** The row, encoded. */
  value: Buffer;
}

/** The first `limit` of a directory. */
export function firstChildren(index: Index, dir: number, limit: number): Child[] {
  return read(index, dir, rowKey(dir, ''), limit).children;
}

/** The last `limit`, from the end. */
export function lastChildren(index: Index, dir: number, limit: number): Child[] {
  return index.lastPage('tree', rowKey(dir, ''), rowKey(dir + 1, ''), limit).map(childOf);
}

export function hasChildren(index: Index, dir: number): boolean {
  return firstChildren(index, dir, 1).length > 0;
}

/** All of a directory, a page at a time, each read when it is asked for. */
export function* childPages(index: Index, dir: number): Generator<Child[]> {
  for (let from: Buffer | undefined = rowKey(dir, ''); from;) {
    const { children, next } = read(index, dir, from, PAGE);
    from = next;
    yield children;
  }
}

/** The same with a turn of the event loop before each page but the first, which sees what others have done meanwhile. */
export async function* childPagesInTurns(index: Index, dir: number): AsyncGenerator<Child[]> {
  for (let from: Buffer | undefined = rowKey(dir, ''); from;) {
    index.refresh();
    const { children, next } = read(index, dir, from, PAGE);
    from = next;
    yield children;
    if (from) await new Promise((resolve) => setImmediate(resolve));
  }
}

/** @returns `next`: where the next page begins; undefined: this was the last. */
function read(index: Index, dir: number, from: Buffer, limit: number): { children: Child[]; next: Buffer | undefined } {
  const page = index.page('tree', from, rowKey(dir + 1, ''), limit);
  const last = page.at(-1);
  return {
    children: page.map(childOf),
    next: last && page.length === limit ? Buffer.concat([last.key, Buffer.alloc(1)]) : undefined,
  };
}

function childOf({ key, value }: { key: Buffer; value: Buffer }): Child {
  return { name: rowName(key).toString('utf8'), value };
}
