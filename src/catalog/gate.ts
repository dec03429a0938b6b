/**
 * The lock under which a process writes to the index, or opens it: an LMDB of its own, in which nothing is ever written.
 *
 * The index's own lock is not enough. Whoever opens an LMDB sets the number of its last transaction, which all processes share, to what it has read a
 * moment before (mdb_env_open2): what another process commits in that moment is lost without a word, and the next transaction takes its place.
 *
 * - The lock is in `gate-lock`: who has another file of that name open is not excluded. `gate` itself may be any file that LMDB can open, to each its own.
 * - LMDB crashes on damaged ones, and lmdb-js whenever LMDB refuses one. So `gate` is opened only if it is byte for byte what LMDB makes, and a lock only
 *   if it begins as one.
 * - No process opens a lock twice: it would lose its hold on the first (fcntl(2)), and who comes next would begin the lock anew under those who use it.
 *   Nor `gate`: LMDB would give it the one that it has, with the lock of that.
 */
import { lstatSync, readFileSync, rmSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { crc32 } from '@node-rs/crc32';
import { open, type RootDatabase } from 'lmdb';
import { errno } from '../base/errors.js';
import type { Ownership } from '../fs/statefile.js';
import { behindDoor } from './door.js';
import { dropSpoilt, fileAt, makeFiles, setAside } from './index-files.js';
import { DamagedIndex } from './rows.js';
import { PAGE_SIZE } from './witness.js';

const NAME = 'gate';
const OPTIONS = { encoding: 'binary', maxDbs: 1, pageSize: PAGE_SIZE, noSubdir: true, noSync: true } as const;
/** An LMDB in which nothing was ever written: two pages. */
const SIZE = 2 * PAGE_SIZE;
const SUM = 814_690_243;

type Environment = Pick<RootDatabase, 'getWriteTxnId' | 'transactionSync' | 'close'>;

/** A gate as this process has it open. */
interface Opened {
  env: Environment;
  /** Which files they are: `gate`, and its lock. */
  data: string;
  lock: string;
  users: number;
}

const gates = new Set<Opened>();

/** To be opened and closed behind the door. */
export class Gate {
  private readonly path: string;
  private readonly lock: string;
  private opened: Opened;

  /** @param directory of the index. */
  constructor(
    private readonly directory: string,
    private readonly owner: Ownership | undefined,
  ) {
    this.path = join(directory, NAME);
    this.lock = `${this.path}-lock`;
    this.opened = this.open();
  }

  /**
   * Runs short, synchronous work, while no other process does such; but for those that have come after the lock was removed: see {@link stands}.
   * @throws DamagedIndex if no lock can be had.
   */
  during<T>(work: () => T): T {
    if (!this.stands()) this.reopen(false);
    let entered = false;
    const enter = (): T => {
      lastOf(this.opened.env);
      entered = true;
      return work();
    };
    try {
      return this.opened.env.transactionSync(enter);
    } catch (error) {
      if (entered) throw error;
    }
    this.reopen(true);
    return this.opened.env.transactionSync(enter);
  }

  /** Whether others meet us there: nobody has removed the lock. Asked afterwards, it tells whether all were excluded from what was done. */
  stands(): boolean {
    try {
      return fileAt(this.lock) === this.opened.lock;
    } catch {
      // says nothing of one that is open
      return true;
    }
  }

  async close(): Promise<void> {
    await leave(this.opened);
  }

  private open(): Opened {
    const shared = withFile('lock', this.lock);
    if (shared) {
      shared.users++;
      return shared;
    }
    try {
      return this.openNow();
    } catch (error) {
      if (!isSpoilt(error)) throw error;
      setAside(this.path, ['-lock']);
      return this.openNow();
    }
  }

  private openNow(): Opened {
    // those who have them open keep them
    if (withFile('data', this.path) || !isNew(this.path)) rmSync(this.path, { recursive: true, force: true });
    dropSpoilt(this.lock);
    makeFiles(this.path, this.owner);
    const env = open({ path: this.path, ...OPTIONS });
    const opened = { env, data: fileAt(this.path), lock: fileAt(this.lock), users: 1 };
    gates.add(opened);
    return opened;
  }

  /** @param spoilt its lock: unless another process has put it aside already, we do. */
  private reopen(spoilt: boolean): void {
    const old = this.opened;
    behindDoor(this.directory, this.owner, () => {
      if (spoilt && this.stands()) setAside(this.path, ['-lock']);
      this.opened = this.open();
      void leave(old).catch(() => undefined);
    });
  }
}

async function leave(opened: Opened): Promise<void> {
  if (--opened.users > 0) return;
  const closed = opened.env.close();
  gates.delete(opened);
  await closed;
}

/** The gate of which this process has a file open. */
function withFile(which: 'data' | 'lock', path: string): Opened | undefined {
  const file = fileAt(path);
  return [...gates].find((gate) => gate[which] === file && file !== '');
}

/** Whether a file is what LMDB makes before anything is written to it. */
function isNew(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat?.isFile() !== true || stat.size !== SIZE) return false;
  try {
    return crc32(readFileSync(path)) === SUM;
  } catch (error) {
    // removed at this moment
    if (errno(error) === 'ENOENT') return false;
    throw error;
  }
}

/** Whether LMDB finds fault with the file or with its lock, and not the system with us. LMDB's own codes are negative. */
function isSpoilt(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'number' && (code < 0 || code === constants.errno.EINVAL);
}

/**
 * Number of the last transaction that was committed. Inside the next.
 * @throws DamagedIndex if there is none: LMDB could not take its lock, which lies in a file, and says nothing of it.
 */
export function lastOf(env: Environment): number {
  const current = env.getWriteTxnId();
  if (current === 0) throw new DamagedIndex('a lock that cannot be taken');
  return current - 1;
}
