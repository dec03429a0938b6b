/**
 * Which state belongs to which root. Two states of one root would mean two journals and two locks: writers that do not see each other. So the
 * root bears a name of its own, `<root>/.gos3rve/root.json`, which tells where its state lies when that is elsewhere, and a state that lies
 * elsewhere bears the same name in its own `root.json`. A root that cannot be written (or must not be: --read-only) bears none; then only the
 * state knows to which root it belongs, and two servers of such a root with two states are not noticed.
 */
import { randomBytes } from 'node:crypto';
import {
  accessSync,
  constants,
  linkSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { UsageError, errno } from '../base/errors.js';
import { STATE_DIR } from './keypath.js';
import { looksVanished, mountPoint } from './vanished.js';
import { giveTo, makeStateDir, syncDirSync, syncFileSync, writeFileAtomic, type Ownership } from './statefile.js';

/** `<root>/.gos3rve/root.json`. */
interface RootName {
  /** Random, hex. */
  id: string;
  /** Real path; absent if the state lies in `<root>/.gos3rve`. */
  stateDir?: string;
}

/** `root.json` of a state that lies elsewhere. */
interface StateName {
  id: string;
  /** Real path. */
  root: string;
  /** Whether the root bears the name too. */
  named: boolean;
  /** Mount point that the root lay on; absent where there is no mount table. */
  mount?: string;
  /** Inode and birth (ns) of the directory there, by which another disk at the same mount point is known. */
  disk?: string;
}

/** Bears the name, in a root and in a state that lies elsewhere. */
export const NAME_FILE = 'root.json';

/**
 * Refuses a state that would be served as data, or a root that is state. Looks only.
 * @throws UsageError naming both and the way out.
 */
export function checkStatePlace(root: string, stateDir: string): void {
  const real = realOf(root);
  const state = realOf(stateDir);
  for (let dir = real; ; dir = dirname(dir)) {
    if (basename(dir) === STATE_DIR || (dir !== state && holdsState(dir)) || dir === state)
      throw new UsageError(`${root} lies in ${dir}, where gos3rve keeps its state; pass a directory of data`, 1);
    if (dirname(dir) === dir) break;
  }
  if (state === realOf(join(real, STATE_DIR))) return;
  if (state.startsWith(real.endsWith('/') ? real : `${real}/`))
    throw new UsageError(
      `--state-dir ${stateDir} lies in ${root}, which is served: clients could read the credentials; pass one outside of it, or none`,
      1,
    );
}

/**
 * Binds root and state to each other at their first opening, and refuses others later.
 * @param write false if nothing may be written into the root.
 * @throws UsageError naming both and the way out.
 */
export function bindState(root: string, stateDir: string, write: boolean, owner: Ownership | undefined): void {
  const state = realOf(stateDir);
  const inRoot = join(root, STATE_DIR, NAME_FILE);
  if (state === realOf(join(root, STATE_DIR))) {
    const name = read<RootName>(inRoot) ?? create<RootName>(inRoot, { id: newId() }, owner);
    if (name.stateDir !== undefined) throw otherState(root, name.stateDir, state);
    return;
  }
  checkState(root, stateDir);
  const elsewhere = join(state, NAME_FILE);
  const known = read<StateName>(elsewhere);
  const id = known?.id ?? newId();
  let name = read<RootName>(inRoot);
  if (!name && write) {
    try {
      makeStateDir(join(root, STATE_DIR), owner);
      name = create<RootName>(inRoot, { id, stateDir: state }, owner);
    } catch (error) {
      if (!['EACCES', 'EPERM', 'EROFS'].includes(errno(error) ?? '')) throw error;
    }
  }
  // two first openings at once: one of them has named the root
  if (name && name.id !== id && name.stateDir !== state) throw otherState(root, name.stateDir, state);
  const mount = mountPoint(root);
  const now: StateName = {
    id: name?.id ?? id,
    root,
    named: name !== undefined,
    ...(mount !== undefined && { mount, disk: diskAt(mount) }),
  };
  if (known && isDeepStrictEqual(known, now)) return;
  writeFileAtomic(elsewhere, `${JSON.stringify(now, null, 2)}\n`, owner);
}

/** Looks only, before anything is made in the state. @throws UsageError. */
export function checkState(root: string, stateDir: string): void {
  const real = realOf(root);
  const state = realOf(stateDir);
  const name = read<RootName>(join(real, STATE_DIR, NAME_FILE));
  if (state === realOf(join(real, STATE_DIR))) {
    if (name?.stateDir !== undefined) throw otherState(root, name.stateDir, state);
    return;
  }
  const known = read<StateName>(join(state, NAME_FILE));
  if (name ? name.id !== known?.id && (known !== undefined || name.stateDir !== state) : holdsSegments(real))
    throw otherState(root, name?.stateDir ?? join(real, STATE_DIR), state);
  if (known && !name && known.root === real && isAway(real, known))
    throw new UsageError(
      `${root} is not the directory that ${state} holds the state of: is its disk mounted? If it is right all the same, remove ${join(state, NAME_FILE)}`,
      1,
    );
  if (known && known.id !== name?.id && known.root !== real)
    throw new UsageError(
      `${state} holds the state of ${known.root}, not of ${root}; pass another --state-dir, or remove ${join(state, NAME_FILE)} if that directory was moved here`,
      1,
    );
}

/** Whether a root that bears no name now is the mount point of one, or another disk. */
function isAway(root: string, known: StateName): boolean {
  const { named, mount, disk } = known;
  if (looksVanished(root, mount, named)) return true;
  if (!named || mount === undefined) return false;
  // on the same disk the folder may have been made anew, or its name removed
  return mount !== mountPoint(root) || (disk !== undefined && disk !== diskAt(mount));
}

/** What tells the file system at a mount point from others. */
function diskAt(mount: string): string {
  const { ino, birthtimeNs } = statSync(mount, { bigint: true });
  return `${ino}:${birthtimeNs}`;
}

function otherState(root: string, own: string | undefined, other: string): UsageError {
  const mine = own ?? join(root, STATE_DIR);
  const said = `${root} keeps its state in ${mine}, not in ${other}`;
  const inside = own === undefined || basename(own) === STATE_DIR;
  if (inside && whyUnwritable(root) !== undefined)
    return new UsageError(`${said}, and cannot be written; ${MOVE_STATE}`, 1);
  const way = inside ? 'pass no --state-dir' : `pass --state-dir ${own}`;
  return new UsageError(`${said}; ${way}, or move the state there and remove ${join(root, STATE_DIR, NAME_FILE)}`, 1);
}

/** Whether a journal lies in the root's own `.gos3rve`. */
function holdsSegments(root: string): boolean {
  try {
    return readdirSync(join(root, STATE_DIR, 'journal')).length > 0;
  } catch {
    return false;
  }
}

/** Why nothing can be written into a root (EROFS, EACCES …); undefined if it can. */
export function whyUnwritable(root: string): string | undefined {
  for (const name of [join(STATE_DIR, 'staging'), STATE_DIR, '.']) {
    try {
      accessSync(join(root, name), constants.W_OK | constants.X_OK);
      return undefined;
    } catch (error) {
      if (errno(error) !== 'ENOENT') return errno(error);
    }
  }
  return 'ENOENT';
}

/** What to do with a state that lies where it cannot be written. */
export const MOVE_STATE =
  'copy it (cp -a) to a directory that can be written, outside of the root, and pass that with --state-dir';

/** Whether a directory is a state that lies elsewhere than in `.gos3rve`. */
function holdsState(dir: string): boolean {
  const is = (name: string): 'file' | 'dir' | undefined => {
    try {
      return statSync(join(dir, name)).isDirectory() ? 'dir' : 'file';
    } catch {
      return undefined;
    }
  };
  return (
    is('journal') === 'dir' && is('index') === 'dir' && (is(NAME_FILE) === 'file' || is('credentials.json') === 'file')
  );
}

/** Real path, as far as it exists. */
function realOf(path: string): string {
  try {
    return realpathSync.native(path);
  } catch {
    const parent = dirname(path);
    return parent === path ? path : join(realOf(parent), basename(path));
  }
}

function newId(): string {
  return randomBytes(16).toString('hex');
}

/** @throws UsageError if it is not what we wrote. */
function read<T extends { id: string }>(path: string): T | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    // a root that somebody else writes to, and we may not: it cannot tell us
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(errno(error) ?? '')) return undefined;
    throw new UsageError(`${path} cannot be read (${errno(error) ?? 'unknown error'})`, 1);
  }
  try {
    const name = JSON.parse(text) as T;
    if (typeof name.id === 'string') return name;
  } catch {
    // fall through
  }
  throw new UsageError(`${path} is damaged; it names the state of its directory: remove it if there is only one`, 1);
}

/** Puts the file whole, unless another process was first. @returns what stands there. */
function create<T extends { id: string }>(path: string, name: T, owner: Ownership | undefined): T {
  const text = `${JSON.stringify(name, null, 2)}\n`;
  const temporary = `${path}.${newId()}.tmp`;
  try {
    writeFileSync(temporary, text, { flag: 'wx', mode: 0o600 });
    syncFileSync(temporary);
    giveTo(temporary, owner);
    linkSync(temporary, path);
  } catch (error) {
    // a file system without hard links
    if (['EPERM', 'ENOTSUP', 'EOPNOTSUPP'].includes(errno(error) ?? '')) createPlainly(path, text, owner);
    else if (errno(error) !== 'EEXIST') throw error;
  } finally {
    rmSync(temporary, { force: true });
  }
  syncDirSync(dirname(path));
  return read<T>(path) ?? name;
}

function createPlainly(path: string, text: string, owner: Ownership | undefined): void {
  try {
    writeFileSync(path, text, { flag: 'wx', mode: 0o600 });
    giveTo(path, owner);
  } catch (error) {
    if (errno(error) !== 'EEXIST') throw error;
  }
}
