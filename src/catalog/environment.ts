/** The file of the index as LMDB has it open. */
import { statSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { open, type Database, type RootDatabase } from 'lmdb';
import { errno } from '../base/errors.js';
import type { Ownership } from '../fs/statefile.js';
import { behindDoor } from './door.js';
import { Gate, lastOf } from './gate.js';
import { Headroom, type TableStats } from './headroom.js';
import { dropSpoilt, fileAt, makeFiles } from './index-files.js';
import { DamagedIndex } from './rows.js';
import { PAGE_SIZE, Witness, hasRoom } from './witness.js';

/** One constant for all processes; a change needs another file name. */
const OPTIONS = {
  encoding: 'binary',
  keyEncoding: 'binary',
  maxDbs: 32,
  pageSize: PAGE_SIZE,
  noSubdir: true,
  noSync: true,
} as const;

/** Bytes that a new index takes at first, with the gate. */
const NEW_BYTES = 160 << 10;

export type Table = Database<Buffer, Buffer>;

/**
 * Tables: `tree` rows by (directory, name); `overflow` rows by (bucket, key); where files and directories were last seen (identities.ts);
 * changes that are to be told of (untold.ts); files that were appended to (store/growth.ts); multipart uploads and their parts; part layouts; counters.
 */
const TABLES = [
  'tree',
  'overflow',
  'identities',
  'dirs',
  'pending',
  'untold',
  'verified',
  'growths',
  'uploads',
  'parts',
  'layouts',
  'meta',
] as const;
export type TableName = (typeof TABLES)[number];

export interface Opened {
  env: RootDatabase<Buffer, Buffer>;
  gate: Gate;
  tables: Map<TableName, Table>;
  /** `device:inode` */
  file: string;
  lock: string;
  witness: Witness;
  headroom: Headroom<TableName>;
  /** Somebody may have opened it while we wrote: what was written then may be lost. */
  overtaken: boolean;
  /** Snapshots that are in use: it must not be closed under them. */
  snapshots: number;
  /** To be closed with the last of them. */
  retired: boolean;
  close: () => Promise<void>;
}

/** Locks that this process has or has had open. */
const locks = new Set<string>();

/**
 * Opens the index, or makes it.
 * @param owner of the files, if we make them for somebody else.
 * @param makeRoom asked where there is too little room for a new one; false if it knows of nothing that could go.
 * @throws ENOSPC, DamagedIndex, and what the system says.
 */
export function openFile(path: string, owner: Ownership | undefined, makeRoom: () => boolean): Opened {
  // LMDB prints each write that finds no room
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size <= 2 * PAGE_SIZE) while (!hasRoom(path, NEW_BYTES) && makeRoom());
  const directory = dirname(path);
  try {
    return behindDoor(directory, owner, () => {
      const gate = new Gate(directory, owner);
      const close = (env?: Opened['env']): Promise<void> =>
        behindDoor(directory, owner, async () => {
          await Promise.all([env?.close(), gate.close()]);
        });
      let env: Opened['env'] | undefined;
      try {
        if (!locks.has(fileAt(`${path}-lock`))) dropSpoilt(`${path}-lock`);
        makeFiles(path, owner);
        const opened = (env = gate.during(() => open<Buffer, Buffer>({ path, ...OPTIONS })));
        const lock = fileAt(`${path}-lock`);
        locks.add(lock);
        // before anything else: without its lock LMDB would go on without a transaction
        opened.transactionSync(() => lastOf(opened));
        // what this commits in a new file is safe as well: others that would open it wait at the door
        const tables = tablesOf(opened);
        const witness = new Witness();
        opened.transactionSync(() => witness.note(statSync(path, { bigint: true }), lastOf(opened)));
        return {
          env: opened,
          gate,
          tables,
          file: fileAt(path),
          lock,
          witness,
          headroom: new Headroom(path),
          overtaken: !gate.stands(),
          snapshots: 0,
          retired: false,
          close: () => close(opened),
        };
      } catch (error) {
        void close(env).catch(() => undefined);
        throw error;
      }
    });
  } catch (error) {
    throw named(error, path);
  }
}

function tablesOf(env: Opened['env']): Opened['tables'] {
  const options = { encoding: 'binary', keyEncoding: 'binary' } as const;
  return new Map(TABLES.map((name) => [name, env.openDB<Buffer, Buffer>({ name, ...options })]));
}

/** Closes a file that is used no more, as soon as nobody reads in it. */
export function retire(opened: Opened): void {
  opened.retired = true;
  if (opened.snapshots === 0) void opened.close().catch(() => undefined);
}

/** What LMDB counts of a table, also inside a transaction. */
export function statsOf(table: Table): TableStats {
  return table.getStats() as unknown as TableStats;
}

/** How many entries a table has, as LMDB counts them. */
export function entriesOf(table: Table): number {
  const { entryCount } = table.getStats() as { entryCount?: number };
  return entryCount ?? 0;
}

/** LMDB gives the system's error as a number, or as text alone; a full disk has to be known as one. @param path of the file that was written to. */
export function named(error: unknown, path?: string): unknown {
  if (!(error instanceof Error) || errno(error) !== undefined) return error;
  if (/MDB_(CORRUPTED|PAGE_NOTFOUND|INVALID|PANIC|VERSION_MISMATCH|BAD_CHECKSUM|BAD_RSLOT|BAD_TXN)/.test(error.message))
    return new DamagedIndex(error.message);
  if ('code' in error && error.code === constants.errno.EACCES)
    return Object.assign(new Error('EACCES: the index belongs to another user', { cause: error }), { code: 'EACCES' });
  const code = 'code' in error ? error.code : undefined;
  const full =
    code === constants.errno.ENOSPC ||
    code === constants.errno.EDQUOT ||
    /No space left on device|Disk quota exceeded/.test(error.message) ||
    // a write of which a part found room
    (code === constants.errno.EIO && path !== undefined && !hasRoom(path));
  return full
    ? Object.assign(new Error('ENOSPC: the index finds no room', { cause: error }), { code: 'ENOSPC' })
    : error;
}
