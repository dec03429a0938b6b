/**
 * The roots that this user has ever served: `$XDG_STATE_HOME/gos3rve/roots/`, one small JSON file each, named by a digest of the root's path.
 * One file each and not one for all: two servers that start at once need no lock, since neither touches what the other writes.
 *
 * The registry is a convenience: that it cannot be read or written never stops anybody.
 */
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, statSync, unlinkSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { UsageError } from '../base/errors.js';
import { makeStateDir, ownershipOf, writeFileAtomic } from './statefile.js';
import { looksVanished, mountPoint } from './vanished.js';

export interface ServedRoot {
  /** Real path. */
  root: string;
  /** Absolute; absent if it is `<root>/.gos3rve`. */
  stateDir?: string;
  /** When it was last served, ISO date. */
  served: string;
  /** Mount point that it lay on; absent where there is no mount table. */
  mount?: string;
}

/** Roots that are gone are kept for a year: a disk may come back. */
const FORGET_MS = 366 * 86_400_000;

type Environment = Readonly<Record<string, string | undefined>>;

/** XDG Base Directory Specification: $XDG_STATE_HOME, if absolute, else ~/.local/state. */
function folder(env: Environment): string {
  const told = env['XDG_STATE_HOME'];
  const base = told !== undefined && isAbsolute(told) ? told : join(env['HOME'] || homedir(), '.local/state');
  return join(base, 'gos3rve/roots');
}

/** Notes that `root` is served now. Nothing happens where it cannot be noted. */
export function rememberRoot(root: string, stateDir: string | undefined, env: Environment = process.env): void {
  const mount = mountPoint(root);
  const known: ServedRoot = {
    root,
    ...(mount !== undefined && { mount }),
    ...(stateDir === undefined ? {} : { stateDir }),
    served: new Date().toISOString(),
  };
  try {
    const dir = folder(env);
    // With sudo, HOME may be another user's: what we leave there is theirs.
    const owner = ownershipOf(env['HOME'] || homedir());
    makeStateDir(dir, owner);
    writeFileAtomic(entryPath(root, env), `${JSON.stringify(known, null, 2)}\n`, owner);
    forgetOld(dir);
  } catch {
    // no home, or one that cannot be written
  }
}

function entryPath(root: string, env: Environment): string {
  return join(folder(env), `${createHash('sha256').update(root).digest('hex').slice(0, 24)}.json`);
}

/**
 * Refuses the empty mount point of a root that was served before (DESIGN rule 6).
 * @param root real path. @throws UsageError naming the way out.
 */
export function checkMounted(root: string, env: Environment = process.env): void {
  const path = entryPath(root, env);
  const known = readEntry(path);
  if (known?.root !== root || !looksVanished(root, known.mount, known.stateDir === undefined)) return;
  throw new UsageError(
    `${root} is empty, but was not when it was served on ${known.served.slice(0, 10)}: is its disk mounted? To begin anew there, remove ${path}`,
    1,
  );
}

/** Roots that are directories now, the last served first. */
export function servedRoots(env: Environment = process.env): ServedRoot[] {
  return readAll(folder(env))
    .map(({ entry }) => entry)
    .filter(({ root }) => isDirectory(root))
    .sort((a, b) => (a.served < b.served ? 1 : -1));
}

function readAll(dir: string): { path: string; entry: ServedRoot }[] {
  let names: string[];
  try {
    names = readdirSync(dir);
  } catch {
    return [];
  }
  return names
    .filter((name) => name.endsWith('.json'))
    .flatMap((name) => {
      const path = join(dir, name);
      const entry = readEntry(path);
      return entry === undefined ? [] : [{ path, entry }];
    });
}

function readEntry(path: string): ServedRoot | undefined {
  try {
    const { root, stateDir, served, mount } = JSON.parse(readFileSync(path, 'utf8')) as Partial<ServedRoot>;
    if (typeof root !== 'string' || !isAbsolute(root) || typeof served !== 'string') return undefined;
    return {
      root,
      served,
      ...(typeof stateDir === 'string' && isAbsolute(stateDir) && { stateDir }),
      ...(typeof mount === 'string' && { mount }),
    };
  } catch {
    return undefined;
  }
}

function forgetOld(dir: string): void {
  for (const { path, entry } of readAll(dir))
    if (!isDirectory(entry.root) && Date.now() - Date.parse(entry.served) > FORGET_MS) unlinkSync(path);
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
