/**
 * The index: LMDB behind one wrapper (DESIGN, "The index"). Disposable: it holds only what the tree and the journal say.
 *
 * - Reads see the last commit of any process after {@link Index.refresh}; call it when a request starts, and decide only in {@link Index.write}.
 * - `write` runs its callback synchronously under the lock across all processes; a throw rolls back. The callback must be short: no
 *   await, no reading of bodies. (The asynchronous `transaction()` of lmdb was measured to lose its wake-up on some kernels, and a
 *   synchronous one takes 8 us here since nothing is synced.)
 * - Never hold an iterator across an await: {@link Index.page} copies.
 * - The file may be lost or set aside while we have it open: whoever notices opens the one that stands there now, which is then made anew
 *   (`store/upkeep.ts`). The file that lies at the path is the lock: one that lies elsewhere is never written to.
 */
import type { BigIntStats } from 'node:fs';
import { dirname } from 'node:path';
import type { RangeOptions } from 'lmdb';
import { Seen, forgetSeen } from '../base/turn.js';
import { isAbsent } from '../fs/stat.js';
import { isFull, type Ownership } from '../fs/statefile.js';
import { behindDoor } from './door.js';
import { entriesOf, named, openFile, retire, statsOf, type Opened, type Table, type TableName } from './environment.js';
import { lastOf } from './gate.js';
import type { Expected } from './headroom.js';
import { fileAt, fileOf, inodeOf, openUp, setAside, statAt } from './index-files.js';
import { decodeRow, directoryOf, encodeRow, rowKey, type Layout, type Row } from './rows.js';
import { hasRoom, metaPages, type Witness } from './witness.js';

export type { TableName } from './environment.js';
export { setAside } from './index-files.js';

export const ROOT_ID = 1;

/** Counters of {@link Index.changes}: directories share them. */
const CHANGES = Array.from({ length: 256 }, (_, n) => Buffer.from(`changes-${n}`));

/** The index is being made anew: nothing can be recorded now. */
export class NotReady extends Error {}

/** Of a counter. */
const NUMBER_BYTES = 6;

/** ms between attempts to make an index that found no room. */
const RETRY_MS = 500;

/** What an index is told of the world, and asks of it. All is optional: a test needs none. */
export interface Surroundings {
  /** Called when the file is no longer there or another: makes its folder and marks it as open. `again`: its disk was away. */
  claim?: (again: boolean) => string;
  /** Called before anything is written: throws if the index must be left alone. */
  guard?: () => void;
  /** Told why the file is set aside that others have written to. */
  damaged?: (why: string) => void;
  /** Whose its files shall be, if not ours. */
  owner?: Ownership | undefined;
  /** Tells whether a process that had the file open has been killed since this was last asked. */
  killed?: () => boolean;
  /** Asked on a full disk to take something away; false if nothing is left to take. */
  makeRoom?: () => boolean;
}

/** See {@link Index.snapshot}. */
export interface Snapshot {
  get(table: TableName, key: Buffer): Buffer | undefined;
  page(table: TableName, start: Buffer, end: Buffer, limit: number): { key: Buffer; value: Buffer }[];
  number(name: string): number;
  /** How many entries LMDB counts. */
  count(table: TableName): number;
  layout(id: number): Layout | undefined;
  close(): void;
}

export class Index {
  /** None on a disk without room for one. */
  private current: Opened | undefined;
  /** Why there is none. */
  private lacking: unknown;
  /** When (ms) it was last tried to make one. */
  private tried = -Infinity;
  /** Its disk is away: see {@link detach}. */
  private detached = false;
  private writing = false;
  /** Whether this transaction has changed anything. */
  private dirty = false;
  /** Which of {@link CHANGES} this transaction has to count. */
  private readonly changed = new Set<number>();
  /** Counters as this transaction has read or set them: those that it has set are put at its end, once. */
  private readonly numbers = new Map<string, { value: number; set: boolean }>();
  /** How many transactions this process has begun: what is remembered of one says nothing in the next. */
  private begun = 0;
  private readonly stands = new Seen<boolean>();
  private readonly refreshed = new Seen<boolean>();
  private readonly changesKnown = new Seen<string>();
  /** Whether this very file was seen to be whole. */
  private whole = false;
  /** How many rows of directories this process has removed. */
  dirsRemoved = 0;
  /** How many rows of directories it has put or removed: as long as none is, what a transaction has seen of them stands. */
  dirsChanged = 0;
  /** What {@link attempt} takes back. */
  private undo: (() => void)[] | undefined;
  /** Why this transaction must come to nothing. */
  private spoilt: Error | undefined;
  /** How many files this process has gone over to: what was read or written before says nothing of the one that is open now. */
  generation = 0;

  private readonly claimed: (again: boolean) => string;
  private readonly guard: () => void;
  private readonly damaged: (why: string) => void;
  private readonly owner: Ownership | undefined;
  private readonly killed: () => boolean;
  /** Asked on a full disk: takes something away that can be done without. @returns false if nothing is left. */
  readonly makeRoom: () => boolean;

  private constructor(
    private path: string,
    around: Surroundings,
  ) {
    this.claimed = around.claim ?? (() => path);
    this.guard = around.guard ?? (() => undefined);
    this.damaged = around.damaged ?? (() => undefined);
    this.owner = around.owner;
    this.killed = around.killed ?? (() => false);
    this.makeRoom = around.makeRoom ?? (() => false);
    this.openCurrent(() => path);
  }

  private get opened(): Opened {
    if (this.detached) throw new NotReady('the disk of the index is away');
    if (!this.current) throw this.lacking;
    return this.current;
  }

  /**
   * On a disk without room for one it is as one that is empty, and into which nothing can be written; it is tried again to make it.
   * @param path of the LMDB file; its lock file lies beside it.
   */
  static open(path: string, around: Surroundings = {}): Index {
    return new Index(path, around);
  }

  /** @throws what keeps it from being opened, but that there is no room. */
  private openCurrent(pathOf: () => string): void {
    this.tried = performance.now();
    do {
      try {
        this.path = pathOf();
        this.current = openFile(this.path, this.owner, this.makeRoom);
        return;
      } catch (error) {
        if (!isFull(error)) throw error;
        this.lacking = error;
      }
    } while (this.makeRoom());
    this.current = undefined;
  }

  /** Whether there is none. */
  private get lacks(): boolean {
    return !this.current && !this.detached;
  }

  /** Makes one that found no room before. @returns whether there is one now. */
  private makeAfterAll(): boolean {
    if (performance.now() - this.tried < RETRY_MS) return false;
    this.openCurrent(() => this.claimed(false));
    if (!this.current) return false;
    this.generation++;
    this.dirsRemoved++;
    return true;
  }

  /** Lets reads of this turn see what other processes have committed. */
  refresh(): void {
    if (this.writing) return;
    this.seemsLost();
    if (!this.lacks) this.opened.env.resetReadTxn();
  }

  /** The same for a read that begins: what this turn has begun with will do, unless this process has written since. */
  refreshSeen(): void {
    this.refreshed.get(String(this.begun), () => {
      this.refresh();
      return true;
    });
  }

  /** {@link isLost} as it was seen in this turn. */
  seemsLost(): boolean {
    if (this.stands.get('', () => !this.isLost())) return false;
    // another is open now
    forgetSeen();
    return true;
  }

  /** Looks whether the file is still the one that was opened, and nobody else has written to it; else it is to be made anew from now on. */
  isLost(): boolean {
    if (this.writing) return false;
    if (this.lacks) return this.makeAfterAll();
    let stat: BigIntStats | undefined;
    try {
      stat = statAt(this.path);
    } catch {
      // says nothing of a file that is open; whoever writes asks again
      openUp(dirname(this.path));
      return false;
    }
    if (!stat || fileOf(stat) !== this.opened.file) {
      this.reopen();
      return true;
    }
    try {
      const why = unlessMoved(() => this.doubt(stat));
      if (why === undefined) return false;
      this.distrust(why);
    } catch (error) {
      if (!(error instanceof Moved)) throw error;
      this.reopen();
    }
    return true;
  }

  private doubt(stat: BigIntStats): string | undefined {
    if (this.opened.overtaken) return 'it was written to while others could not see that';
    return this.opened.witness.isUntouched(stat) ? undefined : this.examine(stat);
  }

  /** It is to be made anew from now on. */
  distrust(why: string): void {
    this.guard();
    this.damaged(why);
    this.discard();
  }

  /** Why a file that has changed cannot be trusted; undefined if a transaction has changed it. */
  private examine(stat: BigIntStats): string | undefined {
    const { env, file, witness } = this.opened;
    const cut = witness.isCut(stat);
    const metas = cut ? undefined : metaPages(this.path);
    if (!metas) {
      witness.blank(this.path);
      return cut ? 'somebody has cut it' : 'it is no index any more';
    }
    const committed = newest(metas);
    if (witness.isNewer(committed)) {
      // looked at after the number was read: all that this transaction has written is in it
      this.noteState(file, witness, committed);
      return undefined;
    }
    try {
      return env.transactionSync(() => {
        const now = statAt(this.path);
        if (!now || fileOf(now) !== file) return undefined;
        const last = lastOf(env);
        if (this.isForged(now, last)) return FORGED;
        witness.note(now, last);
        return undefined;
      });
    } catch (error) {
      if (isAbsent(error)) throw error;
      return String(error);
    }
  }

  /**
   * Whether somebody else has written to the file. A transaction that came to nothing has written, too, but only what LMDB does not look at: on a full
   * disk, and in a process that was killed. Or to its lock, where LMDB keeps the number of the last transaction. Under the lock.
   */
  private isForged(stat: BigIntStats, last: number): boolean {
    const { witness } = this.opened;
    const forged = witness.isLast(last) ? !witness.isUntouched(stat) : last !== newest(metaPages(this.path));
    return forged && hasRoom(this.path) && !this.killed();
  }

  /** Whether it holds all that the journal says; else it is being made. */
  get ready(): boolean {
    if (this.detached || !this.current) return false;
    this.whole ||= this.number('ready') === this.birthmark();
    return this.whole;
  }

  /** It holds everything now. Only inside {@link write}. */
  setReady(): void {
    this.setNumber('ready', this.birthmark());
    this.setNumber('made', Date.now());
  }

  /** Names the transaction that is under way; undefined outside of one. */
  get transaction(): number | undefined {
    return this.writing ? this.begun : undefined;
  }

  /** Since when (ms) it holds all that was ever marked in it; nobody knows of one that an older version made. */
  get since(): number {
    return this.number('made') || Infinity;
  }

  /** Whether it was made as another file: somebody put a copy here, who knows how old and how whole. */
  get isCopy(): boolean {
    return !this.ready && this.number('ready') !== 0;
  }

  private birthmark(): number {
    return Number(BigInt(inodeOf(this.opened.file)) & 0xffffffffffn) + 1;
  }

  /**
   * Runs `work` as one transaction under the lock of all processes. A throw rolls back.
   * @throws NotReady if the index was lost or set aside meanwhile.
   */
  write<T>(work: () => T): T {
    if (this.writing) return work();
    this.guard();
    // under the lock it is looked at again
    if (this.seemsLost()) throw new NotReady('the index was set aside');
    const { opened } = this;
    const { env, gate, file, witness, headroom } = opened;
    let last = -1;
    const transaction = (): T => {
      const stat = statAt(this.path);
      if (!stat || fileOf(stat) !== file) throw new Moved();
      const before = lastOf(env);
      if (unlessMoved(() => this.isForged(stat, before))) throw new Moved(FORGED);
      last = before;
      this.writing = true;
      this.dirty = false;
      this.spoilt = undefined;
      this.changed.clear();
      headroom.begin();
      this.begun++;
      this.numbers.clear();
      try {
        const result = work();
        this.checkWhole();
        this.countChanges();
        this.putNumbers();
        unlessMoved(() => headroom.ensure((name) => statsOf(this.table(name))));
        return result;
      } finally {
        this.writing = false;
      }
    };
    try {
      const result = gate.during(() => env.transactionSync(transaction));
      if (this.dirty) last++;
      return result;
    } catch (error) {
      if (!(error instanceof Moved)) throw named(error, this.path);
      if (error.why === undefined) this.isLost();
      else this.distrust(error.why);
      throw new NotReady('the index was set aside');
    } finally {
      // what a transaction that failed has written is ours, too
      if (last >= 0) this.noteState(file, witness, last);
      opened.overtaken ||= !gate.stands();
    }
  }

  /**
   * Runs a part of a write that stands or falls by itself: what it throws takes back what it has put and removed, and nothing else. Only inside
   * {@link write}.
   */
  attempt<T>(work: () => T): T {
    const numbers = new Map(this.numbers);
    const undo: (() => void)[] = [];
    this.undo = undo;
    try {
      return work();
    } catch (error) {
      this.undo = undefined;
      this.takeBack(undo, numbers);
      throw error;
    } finally {
      this.undo = undefined;
    }
  }

  /**
   * Sees to it that there is room for what is about to be put, before something is done that no rollback takes back. Only inside {@link write}.
   * @throws ENOSPC, EDQUOT.
   */
  foresee(expected: () => Iterable<[TableName, Expected]>): void {
    const { headroom } = this.opened;
    unlessMoved(() => headroom.foresee(expected, (name) => statsOf(this.table(name))));
  }

  private checkWhole(): void {
    if (this.spoilt) throw this.spoilt;
  }

  private takeBack(undo: (() => void)[], numbers: Index['numbers']): void {
    try {
      for (const one of undo.reverse()) one();
    } catch (error) {
      // then nothing of this write can stand
      this.spoilt = error instanceof Error ? error : new Error(String(error));
    }
    this.numbers.clear();
    for (const [name, number] of numbers) this.numbers.set(name, number);
    // ids that were given to directories may be given again
    this.dirsRemoved++;
    this.dirsChanged++;
  }

  private noteBefore(table: TableName, key: Buffer): void {
    if (!this.undo) return;
    const before = this.get(table, key);
    this.undo.push(() => {
      if (before) this.put(table, key, before);
      else this.remove(table, key);
    });
  }

  private countChanges(): void {
    for (const one of this.changed) {
      const key = CHANGES[one] ?? Buffer.alloc(0);
      this.put('meta', key, numberBytes(numberOf(this.get('meta', key)) + 1));
    }
  }

  private noteState(file: string, witness: Witness, last: number): void {
    try {
      const stat = statAt(this.path);
      if (stat && fileOf(stat) === file) witness.note(stat, last);
    } catch {
      // what was committed stands all the same
      witness.forget();
    }
  }

  /** The same as a part of longer work, which is of no use if another file is open by now. @param generation in which that began. */
  writeIn<T>(generation: number, work: () => T): T {
    if (generation !== this.generation) throw new NotReady('the index was set aside');
    return this.write(work);
  }

  /** Sets the file aside (one copy is kept) and begins an empty one, unless another process has done so. */
  discard(): void {
    if (this.lacks) return;
    const { env, file } = this.opened;
    const move = (): void => {
      if (fileAt(this.path) === file) setAside(this.path, ['']);
    };
    // not under the hands of another that opens it
    behindDoor(dirname(this.path), this.owner, () => {
      try {
        env.transactionSync(move);
      } catch {
        // too damaged even for the lock
        move();
      }
    });
    this.reopen();
  }

  /** Lets go of the file, for its disk is away: all but {@link ready} throws NotReady from now on. */
  detach(): void {
    if (this.detached) return;
    this.detached = true;
    this.whole = false;
    if (this.current) retire(this.current);
  }

  /**
   * The disk is back. What was not written when it went is lost, and the index is never synced: it is set aside, unless another process has
   * done so, to be made anew.
   */
  attach(): void {
    if (!this.detached) return;
    const before = this.current && inodeOf(this.current.file);
    this.openCurrent(() => {
      const path = this.claimed(true);
      if (before !== undefined && inodeOf(fileAt(path)) === before) setAside(path);
      return path;
    });
    this.generation++;
    this.detached = false;
    this.dirsRemoved++;
  }

  private reopen(): void {
    this.guard();
    const old = this.opened;
    const { env, lock } = old;
    try {
      // under the old lock: another process may be at the same, and have made a new one
      env.transactionSync(() => {
        if (fileAt(`${this.path}-lock`) === lock) setAside(this.path, ['-lock']);
      });
    } catch {
      // the old file is of no use, and its lock neither
    }
    this.openCurrent(() => this.claimed(false));
    this.generation++;
    this.whole = false;
    this.dirsRemoved++;
    retire(old);
  }

  get(table: TableName, key: Buffer): Buffer | undefined {
    if (this.lacks) return undefined;
    try {
      return this.table(table).get(key);
    } catch (error) {
      throw named(error);
    }
  }

  has(table: TableName, key: Buffer): boolean {
    if (this.lacks) return false;
    try {
      return this.table(table).doesExist(key);
    } catch (error) {
      throw named(error);
    }
  }

  /** Only inside {@link write}. */
  put(table: TableName, key: Buffer, value: Buffer): void {
    this.noteBefore(table, key);
    this.dirty = true;
    this.opened.headroom.note(table, key.length + value.length);
    if (table === 'tree') this.noteChange(key);
    this.table(table).putSync(key, value);
  }

  /** Only inside {@link write}. */
  remove(table: TableName, key: Buffer): void {
    this.noteBefore(table, key);
    if (table === 'tree' && isDirKey(key)) this.dirsRemoved++;
    if (!this.table(table).removeSync(key)) return;
    this.dirty = true;
    this.opened.headroom.note(table, 0);
    if (table === 'tree') this.noteChange(key);
  }

  private noteChange(key: Buffer): void {
    if (isDirKey(key)) this.dirsChanged++;
    this.changed.add(changesOf(key));
  }

  /** How many transactions have put or removed rows in directory `dir`, or in one of those that share its counter. */
  changes(dir: number): number {
    return numberOf(this.get('meta', CHANGES[dir % CHANGES.length] ?? Buffer.alloc(0)));
  }

  /** Names the state of directory `dir` as this turn has begun with it: as long as the name is the same, so are all of its rows. */
  stateSeen(dir: number): string {
    const name = `${this.generation}:${this.begun}:${dir}`;
    return this.changesKnown.get(name, () => `${this.generation}:${dir}:${this.changes(dir)}`);
  }

  /** @throws NotReady if it does not stand any more, as it is seen in this turn. */
  stand(): void {
    if (this.seemsLost()) throw new NotReady('the index was set aside');
  }

  /** Up to `limit` entries with start <= key < end, copied. */
  page(table: TableName, start: Buffer, end: Buffer, limit: number): { key: Buffer; value: Buffer }[] {
    return this.range(table, { start, end, limit });
  }

  /** The last `limit` entries with start < key <= end, from the end, copied. */
  lastPage(table: TableName, start: Buffer, end: Buffer, limit: number): { key: Buffer; value: Buffer }[] {
    return this.range(table, { start: end, end: start, limit, reverse: true });
  }

  private range(table: TableName, wanted: RangeOptions): { key: Buffer; value: Buffer }[] {
    if (this.isLost()) throw new NotReady('the index was set aside');
    if (this.lacks) return [];
    const out: { key: Buffer; value: Buffer }[] = [];
    try {
      for (const { key, value } of this.table(table).getRange(wanted)) out.push({ key, value });
      return out;
    } catch (error) {
      throw named(error);
    }
  }

  row(dir: number, name: string | Buffer): Row | undefined {
    const bytes = this.get('tree', rowKey(dir, name));
    return bytes && decodeRow(bytes);
  }

  putRow(dir: number, name: string | Buffer, row: Row): void {
    this.put('tree', rowKey(dir, name), encodeRow(row));
  }

  /** The index as it is now, for as long as it is wanted, whatever is written meanwhile. Close it: what it shows cannot be used again. */
  snapshot(): Snapshot {
    this.refresh();
    const { opened } = this;
    const { env, tables } = opened;
    const transaction = env.useReadTransaction();
    opened.snapshots++;
    const table = (name: TableName): Table => {
      const found = tables.get(name);
      if (!found) throw new Error(`no table ${name}`);
      return found;
    };
    const counts = new Map([...tables].map(([name, one]) => [name, entriesOf(one)]));
    const get = (name: TableName, key: Buffer): Buffer | undefined => table(name).get(key, { transaction });
    return {
      get,
      page: (name, start, end, limit) =>
        [...table(name).getRange({ start, end, limit, transaction })].map(({ key, value }) => ({ key, value })),
      number: (name) => numberOf(get('meta', Buffer.from(name))),
      count: (name) => counts.get(name) ?? 0,
      layout: (id) => {
        const bytes = get('layouts', layoutKey(id));
        return bytes && (JSON.parse(bytes.toString()) as Layout);
      },
      close: () => {
        transaction.done();
        opened.snapshots--;
        if (opened.retired) retire(opened);
      },
    };
  }

  /** Next value of a persistent counter; only inside {@link write}. */
  next(counter: string): number {
    const value = this.number(counter) + 1;
    this.setNumber(counter, value);
    return value;
  }

  number(name: string): number {
    const known = this.writing ? this.numbers.get(name) : undefined;
    if (known) return known.value;
    const value = numberOf(this.get('meta', Buffer.from(name)));
    if (this.writing) this.numbers.set(name, { value, set: false });
    return value;
  }

  /** Only inside {@link write}. */
  setNumber(name: string, value: number): void {
    this.numbers.set(name, { value, set: true });
  }

  /** Only inside {@link write}. */
  removeNumber(name: string): void {
    this.numbers.delete(name);
    this.remove('meta', Buffer.from(name));
  }

  private putNumbers(): void {
    for (const [name, { value, set }] of this.numbers) if (set) this.put('meta', Buffer.from(name), numberBytes(value));
  }

  layout(id: number): Layout | undefined {
    const bytes = this.get('layouts', layoutKey(id));
    return bytes ? (JSON.parse(bytes.toString()) as Layout) : undefined;
  }

  putLayout(id: number, layout: Layout): void {
    this.put('layouts', layoutKey(id), Buffer.from(JSON.stringify(layout)));
  }

  removeLayout(id: number): void {
    this.remove('layouts', layoutKey(id));
  }

  /** Frees reader slots of dead processes. */
  checkReaders(): void {
    if (this.detached || !this.current) return;
    this.current.env.readerCheck();
    // whoever was killed before now has written what it has: no later change is its own
    if (!this.isLost()) this.killed();
  }

  async close(): Promise<void> {
    if (this.detached || !this.current) return;
    await this.current.close();
  }

  private table(name: TableName): Table {
    const table = this.opened.tables.get(name);
    if (!table) throw new Error(`no table ${name}`);
    return table;
  }
}

const FORGED = 'somebody else has written to it';

/** Thrown inside a transaction, to end it. */
class Moved extends Error {
  /** @param why it must be made anew, if that is known. */
  constructor(readonly why?: string) {
    super();
  }
}

/** Looks at the file at the path. @throws Moved if another process has set it aside since it was last seen there. */
function unlessMoved<T>(look: () => T): T {
  try {
    return look();
  } catch (error) {
    throw isAbsent(error) ? new Moved() : error;
  }
}

function newest(metas: { last: number }[] = []): number {
  return Math.max(...metas.map(({ last }) => last));
}

function layoutKey(id: number): Buffer {
  return numberBytes(id);
}

/** Whether a row is that of a directory. */
function isDirKey(key: Buffer): boolean {
  return key.at(-1) === 0x2f;
}

/** Which of {@link CHANGES} counts what is done to a row. */
function changesOf(key: Buffer): number {
  return directoryOf(key) % CHANGES.length;
}

function numberOf(bytes: Buffer | undefined): number {
  return bytes?.readUIntBE(0, NUMBER_BYTES) ?? 0;
}

function numberBytes(value: number): Buffer {
  const out = Buffer.alloc(NUMBER_BYTES);
  out.writeUIntBE(value, 0, NUMBER_BYTES);
  return out;
}
