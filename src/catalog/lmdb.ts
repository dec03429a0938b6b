/**
 * The index: LMDB behind one wrapper (DESIGN, "The index"). Disposable: it holds only what the tree and the journal say.
 *
 * - Reads see the last commit of any process after {@link Index.refresh}; call it when a request starts, and decide only in {@link Index.write}.
 * - `write` runs its callback synchronously under the lock across all processes; a throw rolls back. The callback must be short: no
 *   await, no reading of bodies. (The asynchronous `transaction()` of lmdb was measured to lose its wake-up on some kernels, and a
 *   synchronous one takes 8 us here since nothing is synced.)
 * - Never hold an iterator across an await: {@link Index.page} copies.
 */
import { constants } from 'node:os';
import { open, type Database, type RootDatabase } from 'lmdb';
import { errno } from '../base/errors.js';
import { decodeRow, encodeRow, rowKey, type Layout, type Row } from './rows.js';

/** One constant for all processes; a change needs another file name. */
const OPTIONS = {
  encoding: 'binary',
  keyEncoding: 'binary',
  maxDbs: 32,
  pageSize: 8192,
  noSubdir: true,
  noSync: true,
} as const;

type Table = Database<Buffer, Buffer>;

/** Tables: `tree` rows by (directory, name); `overflow` rows by (bucket, key); multipart uploads and their parts; part layouts; counters. */
export type TableName = 'tree' | 'overflow' | 'uploads' | 'parts' | 'layouts' | 'meta';
const TABLES: readonly TableName[] = ['tree', 'overflow', 'uploads', 'parts', 'layouts', 'meta'];

export const ROOT_ID = 1;

export class Index {
  private readonly tables = new Map<TableName, Table>();
  private writing = false;
  /** How many rows of directories this process has removed. */
  dirsRemoved = 0;

  private constructor(private readonly env: RootDatabase<Buffer, Buffer>) {
    for (const name of TABLES)
      this.tables.set(name, env.openDB<Buffer, Buffer>({ name, encoding: 'binary', keyEncoding: 'binary' }));
  }

  /** @param path of the LMDB file; its lock file lies beside it. */
  static open(path: string): Index {
    return new Index(open<Buffer, Buffer>({ path, ...OPTIONS }));
  }

  /** Lets reads of this turn see what other processes have committed. */
  refresh(): void {
    if (!this.writing) this.env.resetReadTxn();
  }

  /** Runs `work` as one transaction under the lock of all processes. A throw rolls back. */
  write<T>(work: () => T): T {
    if (this.writing) return work();
    try {
      return this.env.transactionSync(() => {
        this.writing = true;
        try {
          return work();
        } finally {
          this.writing = false;
        }
      });
    } catch (error) {
      throw named(error);
    }
  }

  get(table: TableName, key: Buffer): Buffer | undefined {
    return this.table(table).get(key);
  }

  has(table: TableName, key: Buffer): boolean {
    return this.table(table).doesExist(key);
  }

  /** Only inside {@link write}. */
  put(table: TableName, key: Buffer, value: Buffer): void {
    this.table(table).putSync(key, value);
  }

  /** Only inside {@link write}. */
  remove(table: TableName, key: Buffer): void {
    if (table === 'tree' && key.at(-1) === 0x2f) this.dirsRemoved++;
    this.table(table).removeSync(key);
  }

  /** Up to `limit` entries with start <= key < end, copied. */
  page(table: TableName, start: Buffer, end: Buffer, limit: number): { key: Buffer; value: Buffer }[] {
    const out: { key: Buffer; value: Buffer }[] = [];
    for (const { key, value } of this.table(table).getRange({ start, end, limit })) out.push({ key, value });
    return out;
  }

  row(dir: number, name: string | Buffer): Row | undefined {
    const bytes = this.get('tree', rowKey(dir, name));
    return bytes && decodeRow(bytes);
  }

  putRow(dir: number, name: string | Buffer, row: Row): void {
    this.put('tree', rowKey(dir, name), encodeRow(row));
  }

  /** Next value of a persistent counter; only inside {@link write}. */
  next(counter: string): number {
    const value = this.number(counter) + 1;
    this.setNumber(counter, value);
    return value;
  }

  number(name: string): number {
    const bytes = this.get('meta', Buffer.from(name));
    return bytes ? bytes.readUIntBE(0, 6) : 0;
  }

  setNumber(name: string, value: number): void {
    const out = Buffer.alloc(6);
    out.writeUIntBE(value, 0, 6);
    this.put('meta', Buffer.from(name), out);
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
    this.env.readerCheck();
  }

  async close(): Promise<void> {
    await this.env.close();
  }

  private table(name: TableName): Table {
    const table = this.tables.get(name);
    if (!table) throw new Error(`no table ${name}`);
    return table;
  }
}

/** LMDB gives the system's error as a number, or as text alone; a full disk has to be known as one. */
function named(error: unknown): unknown {
  if (!(error instanceof Error) || errno(error) !== undefined) return error;
  const full =
    ('code' in error && error.code === constants.errno.ENOSPC) || /No space left on device/.test(error.message);
  return full
    ? Object.assign(new Error('ENOSPC: the index finds no room', { cause: error }), { code: 'ENOSPC' })
    : error;
}

function layoutKey(id: number): Buffer {
  const out = Buffer.alloc(6);
  out.writeUIntBE(id, 0, 6);
  return out;
}
