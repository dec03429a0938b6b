/**
 * Rows of directories that were read a moment ago, in order, so that the next page of a listing need not copy and decode them again - with what the
 * store has made of each (`known`).
 *
 * Nothing is believed but what LMDB says in the very snapshot of the reader: {@link Index.changes} counts the transactions that have put or removed a
 * row in a directory. Where it says another number the rows are read again, and what was known of those that are the same byte by byte stays.
 */
import type { Index } from './lmdb.js';
import { rowKey, rowName } from './rows.js';

/** Bytes of memory that may be kept, roughly. */
const MAX_TOTAL = 16 << 20;
/** What a row costs beside its name and value, with what is known of it. */
const EACH = 1000;
/** Of one directory. */
const MAX_RUNS = 8;

export interface RowAtHand<K> {
  readonly name: Buffer;
  readonly text: string;
  readonly value: Buffer;
  /** What this row was found to mean. Whether its file is still the same is for the asker to see. */
  known?: K;
}

/** Rows without a gap. */
interface Run<K> {
  rows: RowAtHand<K>[];
  /** First name that it may hold. */
  from: Buffer;
  /** Where it is to be read on. */
  next: Buffer;
  end: boolean;
  cost: number;
}

interface Directory<K> {
  version: string;
  runs: Run<K>[];
  /** As they were before the last change. */
  old: Run<K>[];
}

export class RowsAtHand<K> {
  /** By id; what was not asked for the longest comes first. */
  private readonly directories = new Map<number, Directory<K>>();
  private total = 0;

  constructor(private readonly index: Index) {}

  /** Up to `limit` rows of directory `id`, from name `start` on; fewer if there are no more. Not inside {@link Index.write}. @throws NotReady. */
  page(id: number, start: Buffer, limit: number): readonly RowAtHand<K>[] {
    this.index.stand();
    const directory = this.directory(id, `${this.index.generation}:${this.index.changes(id)}`);
    const run = this.runAt(directory, start);
    const first = firstAt(run.rows, start);
    const missing = first + limit - run.rows.length;
    if (missing > 0 && !run.end) this.readOn(id, run, directory.old, missing);
    const rows = run.rows.slice(first, first + limit);
    this.shrink(id);
    return rows;
  }

  private directory(id: number, version: string): Directory<K> {
    const directory = this.directories.get(id) ?? { version, runs: [], old: [] };
    this.directories.delete(id);
    this.directories.set(id, directory);
    if (directory.version !== version) {
      // what nobody has asked for between two changes is forgotten
      this.uncount(directory.old);
      Object.assign(directory, { version, runs: [], old: directory.runs });
    }
    return directory;
  }

  private runAt({ runs }: Directory<K>, start: Buffer): Run<K> {
    const found = runs.find((one) => holds(one, start));
    if (found) return found;
    const run = { rows: [], from: start, next: start, end: false, cost: 0 };
    runs.push(run);
    if (runs.length > MAX_RUNS) this.uncount(runs.splice(0, 1));
    return run;
  }

  private readOn(id: number, run: Run<K>, old: readonly Run<K>[], limit: number): void {
    const read = this.index.page('tree', rowKey(id, run.next), rowKey(id + 1, ''), limit);
    const before = old.find((one) => holds(one, run.next))?.rows ?? [];
    let at = firstAt(before, run.next);
    let cost = 0;
    for (const { key, value } of read) {
      const name = rowName(key);
      let there = before[at];
      while (there && there.name.compare(name) < 0) there = before[++at];
      // copies: LMDB gives each a memory of its own
      run.rows.push(
        there?.name.equals(name) === true && there.value.equals(value)
          ? there
          : { name: Buffer.from(name), text: name.toString(), value: Buffer.from(value) },
      );
      cost += EACH + 4 * name.length + value.length;
    }
    run.cost += cost;
    this.total += cost;
    run.end = read.length < limit;
    const last = read.at(-1);
    if (last) run.next = Buffer.concat([rowName(last.key), Buffer.alloc(1)]);
  }

  /** The directory in hand goes last, and whole. */
  private shrink(id: number): void {
    for (const [other, { runs, old }] of this.directories) {
      if (this.total <= MAX_TOTAL) return;
      // the next page of the one in hand is most likely wanted: but if it alone is too large, its beginning is not
      if (other === id && this.directories.size > 1) continue;
      this.directories.delete(other);
      this.uncount([...runs, ...old]);
    }
  }

  private uncount(runs: readonly Run<K>[]): void {
    for (const { cost } of runs) this.total -= cost;
  }
}

function holds<K>({ from, next, end }: Run<K>, name: Buffer): boolean {
  return from.compare(name) <= 0 && (end || next.compare(name) >= 0);
}

/** Index of the first row whose name is not before `name`. */
function firstAt<K>(rows: readonly RowAtHand<K>[], name: Buffer): number {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const row = rows[middle];
    if (row && row.name.compare(name) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
