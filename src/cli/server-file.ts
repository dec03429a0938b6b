/**
 * `<state>/server.json`: the one running server of a root. It names endpoint, process, boot and pid namespace, and is written anew
 * every 5 s. No two servers can both hold it:
 *
 * - The first claim is a link(2), which fails if the file exists.
 * - A record that is dead is taken over under a ticket, a file named after the record's id and made by link(2) too: only one
 *   process can hold the ticket of a record, and it replaces server.json only if that is still the record judged dead. A ticket
 *   whose holder died is taken over in the same way.
 * - A process of the same boot and pid namespace is dead when it is gone (or its pid is another process now: start times differ).
 *   Of any other - another container, another host on a network root - only the heartbeat tells: 15 s without one, by the
 *   clock of the file system, since clocks of hosts differ. So it is for a record that found no room on a full disk and is empty.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  linkSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { UsageError, errno } from '../base/errors.js';
import { bootId, namespace, processState, processToken, startOf, type ProcessIdentity } from '../base/process.js';
export { bootId } from '../base/process.js';
import { Reserve } from '../catalog/reserve.js';
import { giveOpen, giveTo, isFull, ownershipOf, type Ownership } from '../fs/statefile.js';

export interface ServerRecord {
  /** Random; names this claim. */
  id: string;
  /** '' while the server starts. */
  endpoint: string;
  pid: number;
  /** Start of the process in clock ticks since boot, where the system tells. */
  pidStart?: string;
  bootId: string;
  /** Of the pids. */
  namespace: string;
  host: string;
  /** ISO date. */
  started: string;
  /** ms since 1970. */
  heartbeat: number;
}

export const HEARTBEAT_MS = 5_000;
export const STALE_MS = 15_000;
/** Records are padded to this: overwriting in place never changes the length. */
const RECORD_SIZE = 1024;
/** Id of a record that cannot be read, before its inode. */
const BROKEN = 'broken-';
const TICKET = 'server.takeover-';

export interface ClaimOptions {
  owner?: Ownership;
  /** Called once when the claim must wait for a heartbeat to appear or not. */
  onWait?: (record: ServerRecord) => void;
  /** Called when another process has taken the record away: this one must stop. */
  onLost?: () => void;
  /** Whether the disk of the record is away: then the record says nothing. */
  isAway?: () => boolean;
}

/** The claim of this process. */
export class ServerFile {
  readonly #path: string;
  /** undefined while the disk is away. */
  #fd: number | undefined;
  readonly #record: ServerRecord;
  readonly #options: ClaimOptions;
  /** See {@link inodeAt}. */
  readonly #inode: string;
  readonly #timer: NodeJS.Timeout;

  private constructor(path: string, record: ServerRecord, options: ClaimOptions) {
    this.#path = path;
    this.#record = record;
    this.#options = options;
    this.#fd = openSync(path, 'r+');
    this.#inode = inodeAt(path);
    this.#timer = setInterval(() => {
      if (!this.beat()) this.#lose();
    }, HEARTBEAT_MS).unref();
  }

  /**
   * Claims the root. Waits up to 15 s where only the heartbeat can tell whether another server lives.
   * @throws UsageError (exit code 1) when one does.
   */
  static async claim(stateDir: string, options: ClaimOptions = {}): Promise<ServerFile> {
    const path = join(stateDir, 'server.json');
    const record = ownRecord();
    // named as temporary files are: who starts next, and `gc`, take it away if this process is killed
    const candidate = join(stateDir, `server.json.${processToken()}-${record.id}.tmp`);
    try {
      writeRecord(candidate, record, options.owner);
      // an empty record says that somebody is there, and not who: who comes after one that was killed would wait for its heartbeat
      const reserve = new Reserve(join(stateDir, 'reserve'), options.owner);
      while (isEmpty(candidate) && reserve.release()) writeTo(candidate, record);
      while (!publish(candidate, path)) {
        const other = readRecord(path);
        if (!other) continue;
        if (await isAlive(path, candidate, other, options.onWait)) throw inUse(other);
        if (takeOver(stateDir, path, candidate, other)) break;
      }
      sweepTickets(stateDir, record.id);
      return new ServerFile(path, record, options);
    } catch (error) {
      if (error instanceof UsageError) throw error;
      throw new UsageError(
        `cannot claim ${stateDir} for this server (${errno(error) ?? String(error)}); ` +
          'make room or make it writable, or pass --state-dir with another directory',
        1,
      );
    } finally {
      remove(candidate);
    }
  }

  /** False on a disk too full for the record: then only the heartbeat tells that this server lives, and commands do not learn where. */
  get recorded(): boolean {
    return this.#fd === undefined || fstatSync(this.#fd).size > 0;
  }

  /** Records where clients find the server. */
  announce(endpoint: string): void {
    this.#record.endpoint = endpoint;
    this.beat();
  }

  /** Writes the heartbeat; false when server.json is no longer ours. Writing goes to our own inode, so it can harm nobody. */
  beat(): boolean {
    if (this.#fd === undefined) return true;
    this.#record.heartbeat = Date.now();
    try {
      overwrite(this.#fd, this.#record);
      return this.#isOurs() || this.#options.isAway?.() === true;
    } catch {
      // A vanished disk: the next beat tries again.
      return true;
    }
  }

  release(): void {
    clearInterval(this.#timer);
    if (this.#isOurs()) remove(this.#path);
    this.suspend();
  }

  /** The disk is away: the record's file is let go of. */
  suspend(): void {
    if (this.#fd === undefined) return;
    try {
      closeSync(this.#fd);
    } catch {
      // EIO of a disk that was pulled out
    }
    this.#fd = undefined;
  }

  /** The disk is back: the record is taken up again, unless another server has used it meanwhile; then this one must stop. */
  resume(): void {
    if (this.#fd !== undefined) return;
    try {
      if (this.#takeUp()) this.#fd = openSync(this.#path, 'r+');
    } catch {
      // taken for lost
    }
    if (this.#fd === undefined || !this.beat()) this.#lose();
  }

  /** @returns whether the record there is ours. */
  #takeUp(): boolean {
    const there = readRecord(this.#path);
    if (!there) {
      // it was never flushed
      writeRecord(this.#path, this.#record, this.#options.owner);
      return true;
    }
    // a full disk had no room for what it says: then the file itself, which is never written by others, tells whose it is
    return there.id === this.#record.id || (isBroken(there) && inodeAt(this.#path) === this.#inode);
  }

  #lose(): void {
    clearInterval(this.#timer);
    this.#options.onLost?.();
  }

  #isOurs(): boolean {
    if (this.#fd === undefined) return false;
    try {
      return statSync(this.#path).ino === fstatSync(this.#fd).ino;
    } catch {
      return false;
    }
  }
}

/** The recorded server, or undefined if there is none. A record that cannot be read has the id `broken-<inode>` and pid 0. */
export function readRecord(path: string): ServerRecord | undefined {
  try {
    const fd = openSync(path, 'r');
    try {
      return decode(readFileSync(fd, 'utf8'), fstatSync(fd).ino);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (errno(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function decode(text: string, inode: number): ServerRecord {
  try {
    const record = JSON.parse(text) as Partial<ServerRecord>;
    if (typeof record.id === 'string' && /^[0-9a-f]+$/.test(record.id) && typeof record.pid === 'number')
      return {
        endpoint: '',
        bootId: '',
        namespace: '',
        host: '',
        started: '',
        heartbeat: 0,
        ...record,
        id: record.id,
        pid: record.pid,
      };
  } catch {
    // fall through
  }
  return {
    id: `${BROKEN}${inode}`,
    endpoint: '',
    pid: 0,
    bootId: '',
    namespace: '',
    host: '',
    started: '',
    heartbeat: 0,
  };
}

/** Whether a server holds the record of a root: of a process on this machine the process table tells, of others the heartbeat. */
export function serverRuns(stateDir: string): boolean {
  const record = readRecord(join(stateDir, 'server.json'));
  if (record === undefined) return false;
  const state = processState(identityOf(record));
  if (state === 'alive' || state === 'dead') return state === 'alive';
  return Date.now() - record.heartbeat < STALE_MS;
}

function isBroken({ id }: ServerRecord): boolean {
  return id.startsWith(BROKEN);
}

/** Which file stands there, whatever the device is called now. */
function inodeAt(path: string): string {
  const { ino, birthtimeNs } = statSync(path, { bigint: true });
  return `${ino}:${birthtimeNs}`;
}

function encode(record: ServerRecord): string {
  return `${JSON.stringify(record).padEnd(RECORD_SIZE - 1)}\n`;
}

function ownRecord(): ServerRecord {
  const start = startOf(process.pid);
  return {
    id: randomBytes(12).toString('hex'),
    endpoint: '',
    pid: process.pid,
    ...(start === undefined ? {} : { pidStart: start }),
    bootId: bootId(),
    namespace: namespace(),
    host: hostname(),
    started: new Date().toISOString(),
    heartbeat: Date.now(),
  };
}

function identityOf(record: ServerRecord): ProcessIdentity {
  return { pid: record.pid, start: record.pidStart, boot: record.bootId, namespace: record.namespace };
}

async function isAlive(
  path: string,
  candidate: string,
  record: ServerRecord,
  onWait?: (record: ServerRecord) => void,
): Promise<boolean> {
  const state = processState(identityOf(record));
  if (state === 'alive' || state === 'dead') return state === 'alive';
  const first = stamp(path);
  if (first === undefined || touch(candidate) - first > STALE_MS) return false;
  if (state === 'present') return true;
  onWait?.(record);
  for (;;) {
    await sleep(500);
    const now = stamp(path);
    if (now === undefined) return false;
    if (now !== first) return true;
    if (touch(candidate) - now > STALE_MS) return false;
  }
}

/** Last heartbeat by the file system's clock, ms. */
function stamp(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs;
}

/** Writes to the candidate, and so learns the time of the file system. */
function touch(candidate: string): number {
  const fd = openSync(candidate, 'r+');
  try {
    const text = readFileSync(fd, 'utf8');
    if (text === '') ftruncateSync(fd);
    else overwrite(fd, { ...decode(text, 0), heartbeat: Date.now() });
    return fstatSync(fd).mtimeMs;
  } finally {
    closeSync(fd);
  }
}

/** Replaces the dead record by ours. False if somebody else was faster; then look again. */
function takeOver(stateDir: string, path: string, candidate: string, dead: ServerRecord): boolean {
  const tickets: string[] = [];
  try {
    for (let id = dead.id; ;) {
      const ticket = join(stateDir, `${TICKET}${id}`);
      if (publish(candidate, ticket)) {
        tickets.push(ticket);
        break;
      }
      const holder = readRecord(ticket);
      if (!holder) return false;
      const age = touch(candidate) - (stamp(ticket) ?? 0);
      const state = processState(identityOf(holder));
      if (state === 'alive' || (state !== 'dead' && age <= STALE_MS)) throw inUse(holder);
      id = holder.id;
    }
    if (readRecord(path)?.id !== dead.id) return false;
    renameSync(candidate, path);
    return true;
  } finally {
    tickets.forEach(remove);
  }
}

/** After a take-over the tickets of earlier records bind nobody. */
function sweepTickets(stateDir: string, ownId: string): void {
  for (const name of readdirSync(stateDir))
    if (name.startsWith(TICKET) && name !== TICKET + ownId) remove(join(stateDir, name));
}

/** Gives the candidate the name `path` too, unless that is taken: atomic. */
function publish(candidate: string, path: string): boolean {
  try {
    linkSync(candidate, path);
    return true;
  } catch (error) {
    if (errno(error) === 'EEXIST') return false;
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(errno(error) ?? '')) throw error;
  }
  // No hard links here (SMB, exFAT): O_EXCL is as atomic, but the file is empty for a moment.
  try {
    const fd = openSync(path, 'wx', 0o600);
    try {
      giveOpen(fd, ownershipOf(candidate));
      overwrite(fd, readRecord(candidate) ?? ownRecord());
    } finally {
      closeSync(fd);
    }
    return true;
  } catch (error) {
    if (errno(error) === 'EEXIST') return false;
    throw error;
  }
}

function writeRecord(path: string, record: ServerRecord, owner: Ownership | undefined): void {
  const fd = openSync(path, 'wx', 0o600);
  try {
    overwrite(fd, record);
  } finally {
    closeSync(fd);
  }
  giveTo(path, owner);
}

function isEmpty(path: string): boolean {
  return statSync(path).size === 0;
}

function writeTo(path: string, record: ServerRecord): void {
  const fd = openSync(path, 'r+');
  try {
    overwrite(fd, record);
  } finally {
    closeSync(fd);
  }
}

/** On a full disk a record that was never written stays empty, which says no less than that somebody is there; its mtime says when. */
function overwrite(fd: number, record: ServerRecord): void {
  try {
    const text = encode(record);
    if (writeSync(fd, text, 0) < text.length) ftruncateSync(fd);
  } catch (error) {
    if (!isFull(error)) throw error;
    // sets the mtime even if the size stays (POSIX)
    ftruncateSync(fd, fstatSync(fd).size);
  }
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // gone already
  }
}

function inUse(record: ServerRecord): UsageError {
  const who =
    record.pid > 0 ? `pid ${record.pid}${record.host === hostname() ? '' : ` on ${record.host}`}` : 'unknown process';
  const where = record.endpoint === '' ? '' : ` at ${record.endpoint}`;
  return new UsageError(`this directory is served already${where} (${who}); stop that server first`, 1);
}
