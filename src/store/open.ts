/** The library door to a directory: opens (or makes) its state and gives the store. */
import { accessSync, constants, existsSync, realpathSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { UsageError, errno } from '../base/errors.js';
import { bootId, processToken } from '../base/process.js';
import { Catalog } from '../catalog/catalog.js';
import { Journal } from '../catalog/journal.js';
import type { JournalLine } from '../catalog/lines.js';
import { Index, setAside } from '../catalog/lmdb.js';
import { Claim } from '../catalog/claim.js';
import { dropAside } from '../catalog/index-files.js';
import { KEPT_FOR_LINES, Reserve } from '../catalog/reserve.js';
import { STATE_DIR } from '../fs/keypath.js';
import { Presence } from '../fs/presence.js';
import { MOVE_STATE, bindState, checkState, checkStatePlace } from '../fs/state-dir.js';
import { isFull, makeStateDir, ownershipOf, type Ownership } from '../fs/statefile.js';
import { parseAliases } from './aliases.js';
import { Core, type StoreOptions } from './core.js';
import { LocalStoreImpl, type LocalStore } from './local.js';

export type { StoreOptions } from './core.js';
export type { LocalStore } from './local.js';

/**
 * Opens the directory `root` as a store. Several processes may have it open at once.
 * @throws UsageError if the root is no directory that can be read, if state cannot be kept, or if it is not the state of this root.
 */
export async function openStore(root: string, options: StoreOptions = {}): Promise<LocalStore> {
  const path = checkedRoot(root);
  // before anything is opened or made
  parseAliases(path, options.aliases ?? {});
  const stateDir = resolve(options.stateDir ?? join(path, STATE_DIR));
  const owner = ownershipOf(path);
  checkStatePlace(path, stateDir);
  checkState(path, stateDir);
  makeState(
    () => makeStateDir(stateDir, owner),
    `cannot keep state in ${stateDir}`,
    'pass --state-dir with a directory that can be written',
  );
  const write = options.readOnly !== true;
  if (write)
    makeState(
      () => makeStateDir(join(path, STATE_DIR, 'staging'), owner),
      `cannot write to ${path}, where uploads are staged`,
      'pass --read-only, or make it writable',
    );
  const elsewhere = existsSync(join(stateDir, 'journal'))
    ? MOVE_STATE
    : 'pass --state-dir with a directory that can be written';
  const reserve = new Reserve(join(stateDir, 'reserve'), owner);
  const log = options.log ?? (() => undefined);
  const claim = new Claim(join(stateDir, 'index'), owner, (message, data) => log('warn', message, data));
  makeState(
    () => {
      bindState(path, stateDir, write, owner);
      for (const name of ['journal', 'buckets']) makeStateDir(join(stateDir, name), owner);
      claim.makePlace();
    },
    `cannot keep state in ${stateDir}`,
    elsewhere,
    () => reserve.release(),
  );
  const presence = new Presence(path, stateDir);
  const index = openIndex(claim, stateDir, presence, owner, reserve, (why) =>
    log('error', 'the index is damaged; it is made anew from the journal', { error: why }),
  );
  tellOfKilled(claim, index);
  const header = (): JournalLine => ({
    op: 'segment',
    version: 1,
    boot: bootId(),
    pid: process.pid,
    host: hostname(),
    time: new Date().toISOString(),
    token: processToken(),
  });
  const journal = new Journal(
    join(stateDir, 'journal'),
    owner,
    header,
    (message, data) => log('error', message, data),
    reserve,
  );
  const catalog = new Catalog(index, journal);
  const core = new Core(path, stateDir, catalog, options, presence);
  presence.listen({
    away: () => {
      if (!presence.stateLost) return;
      journal.detach();
      index.detach();
    },
    back: () => {
      if (!presence.stateLost) return;
      journal.detach();
      index.detach();
      index.attach();
    },
  });
  const store = new LocalStoreImpl(core, async () => {
    await journal.close();
    catalog.noteSealed();
    await index.close();
    if (presence.look() === 'here') claim.release();
  });
  try {
    await store.prepare(options.patience?.open ?? Infinity);
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** A file that cannot even be opened is no index. @throws UsageError if another cannot be made either. */
function openIndex(
  claim: Claim,
  stateDir: string,
  presence: Presence,
  owner: Ownership | undefined,
  reserve: Reserve,
  damaged: (why: string) => void,
): Index {
  const path = taken(claim, stateDir);
  const open = (): Index =>
    Index.open(path, {
      claim: (again) => (again ? claim.takeAgain() : claim.take()),
      guard: () => presence.check(),
      damaged,
      owner,
      killed: () => claim.killed(),
      makeRoom: () => dropAside(dirname(path)) || reserve.release(KEPT_FOR_LINES),
    });
  try {
    return open();
  } catch (error) {
    if (isRefused(error)) throw refused(path, error);
    setAside(path);
  }
  try {
    return open();
  } catch (error) {
    throw refused(path, error, 'make');
  }
}

function taken(claim: Claim, stateDir: string): string {
  try {
    return claim.take();
  } catch (error) {
    if (!['EACCES', 'EPERM', 'EROFS'].includes(errno(error) ?? '')) throw error;
    throw new UsageError(`the state in ${stateDir} cannot be written (${errno(error) ?? ''}); ${MOVE_STATE}`, 1);
  }
}

/** Whoever else has it open is told by a transaction that what a killed process had written of its own was none of somebody else's. */
function tellOfKilled(claim: Claim, index: Index): void {
  try {
    if (claim.buried) index.write(() => index.setNumber('buried', Date.now()));
  } catch {
    // no room, or set aside just now: at worst it is made anew
  }
}

/** What says nothing of the file: it may be sound, and another process have it open. */
function isRefused(error: unknown): boolean {
  return ['EACCES', 'EPERM', 'EROFS', 'EMFILE', 'ENFILE', 'ENOMEM', 'ELOOP'].includes(errno(error) ?? '');
}

function refused(path: string, error: unknown, what = 'open'): UsageError {
  return new UsageError(
    `cannot ${what} the index ${path} (${errno(error) ?? String(error)}); make room, or pass --state-dir with a directory on a local disk`,
    1,
  );
}

function checkedRoot(root: string): string {
  try {
    const path = realpathSync.native(root);
    if (!statSync(path).isDirectory()) throw new UsageError(`${root} is not a directory`, 1);
    accessSync(path, constants.R_OK | constants.X_OK);
    return path;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    if (errno(error) === 'ENOENT') throw new UsageError(`${root} does not exist`, 1);
    throw new UsageError(`${root} cannot be read (${errno(error) ?? 'unknown error'})`, 1);
  }
}

/** @param makeRoom asked on a full disk; false if it knows of nothing that could go. */
function makeState(make: () => void, what: string, wayOut: string, makeRoom = (): boolean => false): void {
  try {
    make();
  } catch (error) {
    if (error instanceof UsageError) throw error;
    if (isFull(error) && makeRoom()) return makeState(make, what, wayOut, makeRoom);
    const way = isFull(error) ? `make room, or ${wayOut}` : wayOut;
    throw new UsageError(`${what} (${errno(error) ?? 'unknown error'}); ${way}`, 1);
  }
}
