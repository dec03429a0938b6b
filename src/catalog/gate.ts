/**
 * The lock under which a process writes to the index, or opens it: an LMDB of its own, in which nothing is ever written.
 *
 * The index's own lock is not enough. Whoever opens an LMDB sets the number of its last transaction, which all processes share, to what it has read a
 * moment before (mdb_env_open2): what another process commits in that moment is lost without a word, and the next transaction takes its place.
 */
import { constants } from 'node:os';
import { join } from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import type { Ownership } from '../fs/statefile.js';
import { behindDoor } from './door.js';
import { fileAt, makeFor, setAside } from './index-files.js';
import { DamagedIndex } from './rows.js';

const NAME = 'gate';
const OPTIONS = { encoding: 'binary', maxDbs: 1, noSubdir: true, noSync: true } as const;

type Environment = Pick<RootDatabase, 'getWriteTxnId' | 'transactionSync' | 'close'>;

interface Opened {
  env: Environment;
  file: string;
}

/** To be opened and closed behind the door. */
export class Gate {
  private readonly path: string;
  private opened: Opened;

  /** @param directory of the index. */
  constructor(
    private readonly directory: string,
    private readonly owner: Ownership | undefined,
  ) {
    this.path = join(directory, NAME);
    this.opened = this.open();
  }

  /** Runs short, synchronous work, while no other process does such. @throws DamagedIndex if no lock can be had. */
  during<T>(work: () => T): T {
    // somebody has removed it: others would not meet us there
    if (fileAt(this.path) !== this.opened.file) this.reopen(false);
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

  close(): Promise<void> {
    return this.opened.env.close();
  }

  private open(): Opened {
    try {
      return this.openNow();
    } catch (error) {
      if (!isSpoilt(error)) throw error;
      setAside(this.path);
      return this.openNow();
    }
  }

  private openNow(): Opened {
    makeFor(this.owner, this.path, `${this.path}-lock`);
    return { env: open({ path: this.path, ...OPTIONS }), file: fileAt(this.path) };
  }

  /** @param spoilt its lock: unless another process has put it aside already, we do. */
  private reopen(spoilt: boolean): void {
    const old = this.opened;
    behindDoor(this.directory, this.owner, () => {
      if (spoilt && fileAt(this.path) === old.file) setAside(this.path);
      this.opened = this.open();
      void old.env.close().catch(() => undefined);
    });
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
