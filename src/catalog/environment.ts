/** The file of the index as LMDB has it open, and what becomes of such files. */
import { closeSync, existsSync, openSync, renameSync, rmSync, statSync, type BigIntStats } from 'node:fs';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { open, type Database, type RootDatabase } from 'lmdb';
import { errno, toS3Error } from '../base/errors.js';
import { giveOpen, giveTo, type Ownership } from '../fs/statefile.js';
import { behindDoor } from './door.js';
import { DamagedIndex } from './rows.js';
import { PAGE_SIZE, Witness } from './witness.js';

/** One constant for all processes; a change needs another file name. */
const OPTIONS = {
  encoding: 'binary',
  keyEncoding: 'binary',
  maxDbs: 32,
  pageSize: PAGE_SIZE,
  noSubdir: true,
  noSync: true,
} as const;

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
  tables: Map<TableName, Table>;
  /** `device:inode` */
  file: string;
  lock: string;
  witness: Witness;
  /** Snapshots that are in use: it must not be closed under them. */
  snapshots: number;
  /** To be closed with the last of them. */
  retired: boolean;
  close: () => Promise<void>;
}

/** @param owner of the files, if we make them for somebody else. */
export function openFile(path: string, owner: Ownership | undefined): Opened {
  const directory = dirname(path);
  try {
    return behindDoor(directory, owner, () => {
      makeFor(owner, path, `${path}-lock`);
      const env = open<Buffer, Buffer>({ path, ...OPTIONS });
      const close = (): Promise<void> => behindDoor(directory, owner, () => env.close());
      try {
        // before anything else: without its lock LMDB would go on without a transaction
        env.transactionSync(() => lastOf(env));
        const tables = tablesOf(env);
        const witness = new Witness();
        env.transactionSync(() => witness.note(statSync(path, { bigint: true }), lastOf(env)));
        const lock = fileAt(`${path}-lock`);
        return { env, tables, file: fileAt(path), lock, witness, snapshots: 0, retired: false, close };
      } catch (error) {
        void env.close();
        throw error;
      }
    });
  } catch (error) {
    throw named(error);
  }
}

function tablesOf(env: Opened['env']): Opened['tables'] {
  const options = { encoding: 'binary', keyEncoding: 'binary' } as const;
  return new Map(TABLES.map((name) => [name, env.openDB<Buffer, Buffer>({ name, ...options })]));
}

/** Makes files that are missing, empty as LMDB takes them, and gives all to their owner before anybody has a reason to open them. */
function makeFor(owner: Ownership | undefined, ...paths: string[]): void {
  if (!owner) return;
  for (const path of paths) {
    try {
      const fd = openSync(path, 'wx', 0o644);
      giveOpen(fd, owner);
      closeSync(fd);
    } catch (error) {
      if (errno(error) !== 'EEXIST') throw error;
      // not opened: to close it would end the locks that this process may have on it (fcntl(2))
      giveTo(path, owner);
    }
  }
}

/** Closes a file that is used no more, as soon as nobody reads in it. */
export function retire(opened: Opened): void {
  opened.retired = true;
  if (opened.snapshots === 0) void opened.close().catch(() => undefined);
}

/**
 * Number of the last transaction that was committed. Inside the next.
 * @throws DamagedIndex if there is none: LMDB could not take its lock, which lies in a file, and says nothing of it.
 */
export function lastOf(env: Opened['env']): number {
  const current = env.getWriteTxnId();
  if (current === 0) throw new DamagedIndex('a lock that cannot be taken');
  return current - 1;
}

/** How many entries a table has, as LMDB counts them. */
export function entriesOf(table: Table): number {
  const { entryCount } = table.getStats() as { entryCount?: number };
  return entryCount ?? 0;
}

/** @throws the S3 error of what the system says: it must not be taken for an error of a file that is served. */
export function statAt(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false });
  } catch (error) {
    throw toS3Error(error);
  }
}

/** Names the file that lies at a path; '' for none. */
export function fileAt(path: string): string {
  return fileOf(statAt(path));
}

export function fileOf(stat: BigIntStats | undefined): string {
  return stat ? `${stat.dev}:${stat.ino}` : '';
}

/** Of what {@link fileAt} says; a disk that comes back may be another device. */
export function inodeOf(file: string): string {
  return file.slice(file.indexOf(':') + 1);
}

/** Moves an index and its lock file out of the way; of copies set aside one is enough to look at. */
export function setAside(path: string, suffixes = ['', '-lock']): void {
  for (const suffix of suffixes) {
    if (!existsSync(path + suffix)) continue;
    rmSync(`${path}${suffix}.aside`, { recursive: true, force: true });
    try {
      renameSync(path + suffix, `${path}${suffix}.aside`);
    } catch (error) {
      // another process has done so at the same moment
      if (errno(error) !== 'ENOENT') throw error;
    }
  }
}

/** LMDB gives the system's error as a number, or as text alone; a full disk has to be known as one. */
export function named(error: unknown): unknown {
  if (!(error instanceof Error) || errno(error) !== undefined) return error;
  if (/MDB_(CORRUPTED|PAGE_NOTFOUND|INVALID|PANIC|VERSION_MISMATCH|BAD_CHECKSUM)/.test(error.message))
    return new DamagedIndex(error.message);
  if ('code' in error && error.code === constants.errno.EACCES)
    return Object.assign(new Error('EACCES: the index belongs to another user', { cause: error }), { code: 'EACCES' });
  const full =
    ('code' in error && error.code === constants.errno.ENOSPC) || /No space left on device/.test(error.message);
  return full
    ? Object.assign(new Error('ENOSPC: the index finds no room', { cause: error }), { code: 'ENOSPC' })
    : error;
}
