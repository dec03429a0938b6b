/** Which directory a command works on: it is told, or found as git finds its repository, or is the only one there is. */
import { accessSync, constants, realpathSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { UsageError, errno } from '../base/errors.js';
import { STATE_DIR } from '../fs/keypath.js';
import { checkMounted, servedRoots, type ServedRoot } from '../fs/roots.js';

export interface Root {
  /** Real path. */
  path: string;
  stateDir: string;
}

export interface RootQuestion {
  /** Given as an argument. */
  named?: string | undefined;
  /** --root. */
  flag?: string | undefined;
  /** --state-dir. */
  stateDir?: string | undefined;
  /** Look in these paths and above, one after the other, then in the working directory. */
  near?: readonly string[] | undefined;
  env: Readonly<Record<string, string | undefined>>;
  cwd: string;
}

/** @throws UsageError naming what was tried. */
export function findRoot(question: RootQuestion): Root {
  const { env, cwd } = question;
  const served = servedRoots(env);
  const told = question.named ?? question.flag ?? (env['GOS3RVE_ROOT'] || undefined);
  const stateDir = question.stateDir ?? (env['GOS3RVE_STATE_DIR'] || undefined);
  const settle = (path: string, asWritten: string): Root => {
    const real = checkDirectory(path, asWritten);
    checkMounted(real, env);
    return { path: real, stateDir: stateDirOf(real, stateDir && resolve(cwd, stateDir), served) };
  };
  if (told !== undefined) return settle(resolve(cwd, told), told);
  const starts = [...(question.near ?? []), cwd].map((path) => resolve(cwd, path));
  for (const start of starts) {
    const above = walkUp(start, served);
    if (above !== undefined) return settle(above, above);
  }
  const [only, ...others] = served;
  if (only !== undefined && others.length === 0) return settle(only.root, only.root);
  throw new UsageError(
    'which directory? pass --root, or set GOS3RVE_ROOT; ' +
      `there is no ${STATE_DIR} in ${tilde(starts[0] ?? cwd)} or above, and ` +
      (served.length === 0
        ? 'none was served by this user'
        : `${served.length} were served by this user: ${few(served)}`),
  );
}

/** @throws UsageError unless `path` is a directory that can be read. Returns its real path. */
export function checkDirectory(path: string, asWritten: string): string {
  try {
    if (!statSync(path).isDirectory()) throw new UsageError(`${asWritten} is not a directory`, 1);
    accessSync(path, constants.R_OK | constants.X_OK);
    return realpathSync.native(path);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    if (errno(error) === 'ENOENT')
      throw new UsageError(`${asWritten} does not exist; make it, or pass another directory`, 1);
    if (errno(error) === 'ENOTDIR') throw new UsageError(`${asWritten} is not a directory`, 1);
    throw new UsageError(`${asWritten} cannot be read (${errno(error) ?? 'unknown error'})`, 1);
  }
}

/** `~/media` for people. */
export function tilde(path: string): string {
  const home = homedir();
  return home !== '/' && path.startsWith(`${home}/`) ? `~${path.slice(home.length)}` : path;
}

function stateDirOf(root: string, told: string | undefined, served: readonly ServedRoot[]): string {
  return told ?? served.find((entry) => entry.root === root)?.stateDir ?? join(root, STATE_DIR);
}

function walkUp(start: string, served: readonly ServedRoot[]): string | undefined {
  for (let dir = nearestReal(start); ; dir = dirname(dir)) {
    if (served.some(({ root }) => root === dir) || holdsState(dir)) return dir;
    if (dirname(dir) === dir) return undefined;
  }
}

/** The real path of the nearest directory on the way up that exists: an argument may name what is yet to be made. */
function nearestReal(path: string): string {
  for (let at = path; ; at = dirname(at)) {
    try {
      return realpathSync.native(at);
    } catch {
      if (dirname(at) === at) return at;
    }
  }
}

/**
 * A journal makes a root: other mounts below a root have a `.gos3rve` too, with a staging folder only. It must belong to this user or to the
 * directory's owner: whoever may write to /tmp must not choose what others work on there.
 */
function holdsState(dir: string): boolean {
  try {
    const journal = statSync(join(dir, STATE_DIR, 'journal'));
    const mine = process.getuid === undefined || journal.uid === process.getuid() || journal.uid === statSync(dir).uid;
    return journal.isDirectory() && mine;
  } catch {
    return false;
  }
}

function few(served: readonly ServedRoot[]): string {
  const shown = served.slice(0, 3).map(({ root }) => tilde(root));
  return shown.join(', ') + (served.length > shown.length ? ' …' : '');
}
