/**
 * Mode and owner of folders that are made. Those of a move object by object take them from the folders moved, so that a private folder is
 * not opened by a move to another file system; all others take the process's umask, and those that root makes the owner of their parent.
 */
import { chmodSync, constants, mkdirSync, openSync, rmdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { closeQuietly } from '../fs/close.js';
import { applyInherit, givenByRoot, openAgain, type Inherit } from '../fs/stage.js';
import type { Dir } from '../fs/dirs.js';
import { isEmptyDir, lstatOf } from '../fs/stat.js';

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;

export class Likeness {
  /** What the absolute paths of all that is under way begin with, before and after; it ends in `/` where all of a folder moves. */
  private readonly moves = new Set<{ from: string; to: string }>();

  async during<T>(from: string, to: string, work: () => Promise<T>): Promise<T> {
    const move = { from, to };
    this.moves.add(move);
    try {
      return await work();
    } finally {
      this.moves.delete(move);
    }
  }

  /** Mode and owner of the folder that one is about to be made for; none where only keys, and no folder, begin with its path. */
  of(path: string): Inherit | undefined {
    for (const { from, to } of this.moves) {
      const old = formerly(path, from, to);
      const there = old === undefined ? undefined : lstatOf(old);
      if (there?.isDirectory()) return { mode: Number(there.mode), uid: Number(there.uid), gid: Number(there.gid) };
    }
    return undefined;
  }
}

/** Where the folder stands that this one is to be like. */
function formerly(path: string, from: string, to: string): string | undefined {
  if (path === dirname(`${to}.`)) return dirname(`${from}.`);
  return path.length > to.length && path.startsWith(to) ? from + path.slice(to.length) : undefined;
}

/** Makes a folder like another: nobody else gets in before it has its mode. @throws EEXIST. */
export function makeDirLike(parent: Dir, name: string, like: Inherit): void {
  mkdirSync(parent.at(name), 0o700);
  give(parent, name, like);
}

/** Makes a folder as a new one: the process's umask applies, unless one was given; root gives it to the owner of the folder that it lies in. @throws EEXIST. */
export function makeNewDir(parent: Dir, name: string, umask: number | undefined): void {
  const wanted = 0o777 & ~(umask ?? 0);
  // before it is made: what fails leaves nothing
  const owner = givenByRoot(statSync(parent.at('.')));
  mkdirSync(parent.at(name), wanted);
  if (owner) give(parent, name, owner);
  if (umask === undefined) return;
  // a set-group-id bit comes from the parent, and who is not of that group must not touch the mode: it would go
  const { mode } = statSync(parent.at(name));
  if ((mode & 0o777) !== wanted) chmodSync(parent.at(name), (mode & 0o7000) | wanted);
}

/**
 * The owner of a folder may have put another one of root's into the place of the one that we have just made: it is given away only if nothing is in it.
 * @throws the system's error; the folder is gone again then.
 */
function give(parent: Dir, name: string, inherit: Inherit): void {
  let fd: number | undefined;
  try {
    fd = openSync(parent.at(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (isEmptyDir(openAgain(fd, parent.at(name)))) applyInherit(fd, inherit);
  } catch (error) {
    removeEmpty(parent.at(name));
    throw error;
  } finally {
    if (fd !== undefined) closeQuietly(fd);
  }
}

/** Removes a directory; one that others put something into stays. */
export function removeEmpty(path: string): void {
  try {
    rmdirSync(path);
  } catch {
    // gc takes it away when it falls empty
  }
}
