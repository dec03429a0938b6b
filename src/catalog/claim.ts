/**
 * Deciding whether the index file can be trusted. It is disposable, so on any doubt it is moved aside and made anew: LMDB crashes the
 * process on a damaged file, or gives wrong values.
 *
 * - Every process that has it open leaves a mark with the boot's id. Marks of another boot: there was a power cut while it was open, and
 *   it is never synced.
 * - The last to close notes what it looked like. If nobody has it open and it looks otherwise: somebody else wrote to it, or cut it.
 * - If its last user was killed, another process reads it through first: better that one dies of it.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { accessSync, constants, existsSync, lstatSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crc32 } from '@node-rs/crc32';
import { UsageError, errno } from '../base/errors.js';
import { bootId, processToken, sleepSync, tokenAlive } from '../base/process.js';
import { scriptOf } from '../base/scripts.js';
import {
  isFull,
  leaveNote,
  makeStateDir,
  readNote,
  syncDirSync,
  syncFileSync,
  type Ownership,
} from '../fs/statefile.js';
import { clearPlace, setAside } from './index-files.js';
import { PAGE_SIZE, metaPages } from './witness.js';

/** Written into the index's file name: another format means another index, made anew from the journal. */
const FORMAT = 3;
const MARK = 'open-';
const CLOSED = 'closed';
/** An index up to this size (bytes) is read and summed up when it is closed and opened. */
const SUMMED = 64 << 20;
/** How long (ms) an index is looked through whose last user was killed. LMDB itself stands a kill: only the first signs of damage are looked for. */
const PROBE_MS = 3000;
/** How often, and how long (ms) each time, a file is waited for that root has made for the owner. */
const ACCESS_TRIES = 10;
const ACCESS_WAIT_MS = 20;

/** The index's file as this process has it open. */
export class Claim {
  private mark: string | undefined;
  /** Marks of processes that are known to have been killed. */
  private readonly dead = new Set<string>();
  /** Whether marks of killed processes were taken away: those that have the index open can no longer see that there were any. */
  buried = false;

  constructor(
    private readonly directory: string,
    private readonly owner: Ownership | undefined,
    private readonly log: (message: string, data: Record<string, unknown>) => void,
  ) {}

  /**
   * Marks the index as open, having moved aside one that cannot be trusted. @returns its path.
   * @throws UsageError if another version of gos3rve has it open.
   */
  take(): string {
    const { directory } = this;
    this.makePlace();
    const path = join(directory, `v${FORMAT}.mdb`);
    checkAccess(directory);
    const dead: string[] = [];
    const doubt = this.mark === undefined ? doubtOf(directory, path, dead) : undefined;
    // one that has opened it meanwhile has judged it too, and has changed it since
    if (doubt !== undefined && !isOpen(directory)) {
      this.tell(doubt);
      setAside(path);
    }
    if (this.mark === undefined || readNote(this.mark) === undefined) this.leaveMark();
    this.buried = dead.length > 0;
    // not before: whoever looked in between, or came after us if we are killed, would find neither
    for (const name of [...dead, CLOSED]) rmSync(join(directory, name), { force: true });
    return path;
  }

  /** Makes the folder of the index, whatever stands in its place. */
  makePlace(): void {
    const cleared = clearPlace(this.directory);
    if (cleared !== undefined) this.tell(cleared);
    makeStateDir(this.directory, this.owner);
  }

  private tell(why: string): void {
    this.log('the index is set aside and made anew from the journal', { why });
  }

  /** The same after the disk was away: another machine may have used the index meanwhile, and have removed our mark. */
  takeAgain(): string {
    if (this.mark !== undefined && !existsSync(this.mark)) this.mark = undefined;
    return this.take();
  }

  /** Whether a process that had the index open has been killed since this was last asked: LMDB stands what it had written of its transaction. */
  killed(): boolean {
    const dead = marks(this.directory).filter((name) => !this.dead.has(name) && !tokenAlive(tokenOf(name), 0));
    for (const name of dead) this.dead.add(name);
    return dead.length > 0;
  }

  /** After the index was closed: notes what it looks like, so that the next start can trust it. */
  release(): void {
    const path = join(this.directory, `v${FORMAT}.mdb`);
    try {
      clearPlace(this.directory);
      syncFileSync(path);
    } catch (error) {
      if (errno(error) !== 'ENOENT') throw error;
      // set aside, by us or by another process; or there was never room for it
      if (this.mark !== undefined) rmSync(this.mark, { force: true });
      return;
    }
    // before our mark goes: whoever opens it in between would find neither
    if (marks(this.directory).length === 1) this.noteClosed(path);
    if (this.mark !== undefined) rmSync(this.mark, { force: true });
    // of several that close it at once each has seen another's mark
    if (marks(this.directory).length === 0 && noted(this.directory) === undefined) this.noteClosed(path);
  }

  private noteClosed(path: string): void {
    const closed = join(this.directory, CLOSED);
    rmSync(closed, { force: true });
    try {
      leaveNote(closed, stateOf(path), this.owner);
    } catch (error) {
      // another process has noted the same at the same moment, or has set the index aside; or there is no inode left: then it is made anew
      if (errno(error) !== 'EEXIST' && errno(error) !== 'ENOENT' && !isFull(error)) throw error;
    }
  }

  private leaveMark(): void {
    const token = `${processToken()}-${randomBytes(4).toString('hex')}`;
    const mark = join(this.directory, `${MARK}${token}`);
    leaveNote(mark, `${bootId()} v${FORMAT}`, this.owner);
    syncDirSync(this.directory);
    this.mark = mark;
  }
}

/**
 * An index that we may not read is no damaged one: it may be in use.
 * @throws UsageError naming the file that belongs to somebody else.
 */
function checkAccess(directory: string): void {
  checkOwn(directory);
  for (const name of readdirSync(directory)) {
    if (!name.endsWith('.aside')) checkOwn(join(directory, name));
  }
}

function checkOwn(path: string): void {
  for (let n = 1; ; n++) {
    try {
      if (!lstatSync(path).isSymbolicLink()) accessSync(path, constants.R_OK | constants.W_OK);
      return;
    } catch (error) {
      if (errno(error) !== 'EACCES') return;
      // root has just made it, and is about to give it to the owner
      if (n < ACCESS_TRIES) sleepSync(ACCESS_WAIT_MS);
      else throw notOurs(path, error);
    }
  }
}
function notOurs(path: string, cause: unknown): UsageError {
  const state = dirname(dirname(path));
  return new UsageError(
    `${path} belongs to another user and may not be read and written (${errno(cause) ?? 'EACCES'}); give it to the owner of the root: chown -R --reference=${dirname(state)} ${state}`,
    1,
  );
}

/** Whether another process has the index open. */
function isOpen(directory: string): boolean {
  return marks(directory).some((name) => {
    const [boot, format] = readNote(join(directory, name))?.trim().split(' ') ?? [];
    return boot === bootId() && format === `v${FORMAT}` && tokenAlive(tokenOf(name), 0);
  });
}

function tokenOf(mark: string): string {
  return mark.slice(MARK.length, mark.lastIndexOf('-'));
}

/** Why the index cannot be trusted, or undefined. @param dead is given the marks of processes that are gone. */
function doubtOf(directory: string, path: string, dead: string[]): string | undefined {
  let doubt: string | undefined;
  let open = 0;
  let crashed = 0;
  for (const name of marks(directory)) {
    const note = readNote(join(directory, name));
    // its process has closed the index meanwhile
    if (note === undefined) continue;
    // made, and not written yet
    const [boot, format = 'v1'] = note === '' ? [bootId(), `v${FORMAT}`] : note.trim().split(' ');
    if (boot === bootId() && tokenAlive(tokenOf(name), 0)) {
      // two indexes would be two locks
      if (format !== `v${FORMAT}`)
        throw new UsageError(`another version of gos3rve has ${directory} open; stop it first`, 1);
      open++;
      continue;
    }
    if (boot !== bootId()) doubt = 'it was open when the machine went down';
    else crashed++;
    dead.push(name);
  }
  if (open > 0 || !existsSync(path)) return doubt;
  try {
    if (crashed === 0 && noted(directory) !== stateOf(path)) return 'it is not as it was left';
    if (doubt !== undefined) return doubt;
    if (!isWhole(path)) return 'it is no index, or a part of one';
    return crashed > 0 && !standsReading(path) ? 'it could not be read through' : undefined;
  } catch (error) {
    // says nothing of what is in it
    if (errno(error) === 'EACCES') throw error;
    return error instanceof Error ? error.message : 'it cannot be read';
  }
}

function marks(directory: string): string[] {
  return readdirSync(directory).filter((name) => name.startsWith(MARK));
}

function noted(directory: string): string | undefined {
  return readNote(join(directory, CLOSED));
}

/** Size and mtime; and of a small file a sum of its bytes, which also tells of a disk that forgets. */
function stateOf(path: string): string {
  const { size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
  return `${size}:${mtimeNs}:${size > SUMMED ? ctimeNs : crc32(readFileSync(path))}`;
}

/** Whether a file is an LMDB of ours with all its pages: a shorter one would end the process by SIGBUS. */
function isWhole(path: string): boolean {
  const { size } = statSync(path);
  return metaPages(path)?.every(({ pages }) => pages * PAGE_SIZE <= size) === true;
}

/** Has a child read the file. A probe that cannot be run says nothing against it. */
function standsReading(path: string): boolean {
  const script = fileURLToPath(scriptOf('catalog/probe.js'));
  if (!existsSync(script)) return true;
  const { status, signal, error } = spawnSync(process.execPath, [script, path, String(PROBE_MS)], {
    stdio: 'ignore',
    timeout: 4 * PROBE_MS,
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  if (error && signal === null) return true;
  return status === 0;
}
