/**
 * One process at a time opens or closes the index. LMDB lacks that: whoever closes it last destroys the locks that all share, and who opens it at that
 * moment goes on with destroyed ones - each write fails from then on - or with none, and two write at once.
 *
 * A file that is there while somebody is at it. It says who, so that one that was left by a killed process is known.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, linkSync, lstatSync, openSync, renameSync, rmSync, symlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { errno } from '../base/errors.js';
import { processToken, sleepSync, tokenAlive } from '../base/process.js';
import { giveOpen, readNote, type Ownership } from '../fs/statefile.js';

const NAME = 'door';
/** ms; opening takes some ten. */
const POLL_MS = 1;
/** Whoever is at it for so long (ms) was killed in another container, or stopped. */
const PATIENCE_MS = 10_000;

/** Directories of which this process is behind the door. */
const inside = new Set<string>();

/** Runs short, synchronous work on the index in a directory, while no other process does. May be nested. */
export function behindDoor<T>(directory: string, owner: Ownership | undefined, work: () => T): T {
  if (inside.has(directory)) return work();
  const path = join(directory, NAME);
  const entered = enter(path, owner);
  inside.add(directory);
  try {
    return work();
  } finally {
    inside.delete(directory);
    if (entered) rmSync(path, { force: true });
  }
}

/** @returns false if it goes without: where there can be no such file; nobody is waited for longer than that, either. */
function enter(path: string, owner: Ownership | undefined): boolean {
  for (const end = performance.now() + PATIENCE_MS; ; sleepSync(POLL_MS)) {
    try {
      if (!make(path, owner)) symlinkSync(processToken(), path);
      return true;
    } catch (error) {
      if (errno(error) !== 'EEXIST') return false;
    }
    if (!takeLeft(path) && performance.now() > end) return false;
  }
}

/** @returns false if there is no room for a name in it: a link needs none, and one that is left by a killed process must say so. @throws EEXIST. */
function make(path: string, owner: Ownership | undefined): boolean {
  const fd = openSync(path, 'wx', 0o644);
  try {
    giveOpen(fd, owner);
    writeSync(fd, processToken());
    return true;
  } catch {
    rmSync(path, { force: true });
    return false;
  } finally {
    closeSync(fd);
  }
}

/** Takes the file away that a killed process has left. @returns whether there was one. */
function takeLeft(path: string): boolean {
  const aside = `${path}-${randomBytes(4).toString('hex')}`;
  try {
    const token = readNote(path) ?? '';
    const old = Date.now() - lstatSync(path).mtimeMs > PATIENCE_MS;
    // none: not written yet
    if (!old && (token === '' || tokenAlive(token, 0))) return false;
    renameSync(path, aside);
    // somebody else has taken it away, and this is the one of who came next
    if (readNote(aside) !== token) linkSync(aside, path);
  } catch (error) {
    // gone, or taken away by another, meanwhile
    return errno(error) === 'ENOENT';
  } finally {
    rmSync(aside, { force: true });
  }
  return true;
}
