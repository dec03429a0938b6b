/**
 * Directories held open, so that no swap of a parent by a link can lead a request out of its bucket.
 *
 * On Linux a directory is opened once, its true path is read back from `/proc/self/fd/N` at each use and must be the path that we meant,
 * and every file operation goes through `/proc/self/fd/N/name`: whatever others rename meanwhile, we act in that directory. Elsewhere
 * there is no such path; realpath(3) is compared instead, which leaves a short race (the README says so).
 */
import {
  closeSync,
  constants,
  fstatSync,
  fsync,
  lstatSync,
  openSync,
  readlinkSync,
  realpathSync,
  statSync,
  type BigIntStats,
} from 'node:fs';
import { join } from 'node:path';
import { errno } from '../base/errors.js';
import { Shared } from '../base/shared.js';
import { Seen, forgetSeen } from '../base/turn.js';
import { knowsNoDirSync } from './statefile.js';

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants;
const LINUX = process.platform === 'linux';
/** A mount over a directory is noticed within this time; it takes a look at the path itself. */
const SIGHT_MS = 250;
/** What nobody has asked for in this time is closed: an open directory keeps its disk from being unmounted. */
const IDLE_MS = 5000;

/** A directory that was verified to lie where its path says. Valid until the next await, unless pinned. */
export interface Dir {
  readonly path: string;
  /** Path by which to reach `name` in exactly this directory. */
  at(name: string): string;
  /** Which directory it is, wherever it is moved: as {@link idOf} its stat. */
  readonly id: string;
  /** Its stat as it was opened: device, inode and birth time never change. */
  readonly born: BigIntStats;
}

/** What tells a directory from any other, as long as it is open. */
export function idOf({ dev, ino }: { dev: bigint; ino: bigint }): string {
  return `${dev}:${ino}`;
}

class OpenDir implements Dir {
  pins = 0;
  evicted = false;
  private known: BigIntStats | undefined;
  /** When its path was last seen to lead to it. */
  private seen = performance.now();
  /** fsync(2): one run serves all that have changed its entries before. */
  readonly flush = new Shared(() => this.sync());
  constructor(
    readonly path: string,
    readonly fd: number,
  ) {}
  get id(): string {
    return idOf(this.opened);
  }
  get born(): BigIntStats {
    // elsewhere what is reached by the path may be another one than what is open
    return LINUX ? this.opened : lstatSync(this.path, { bigint: true });
  }
  private get opened(): BigIntStats {
    return (this.known ??= fstatSync(this.fd, { bigint: true }));
  }
  at(name: string): string {
    return LINUX ? `/proc/self/fd/${this.fd}/${name}` : join(this.path, name);
  }
  /** Whether the open directory still has the path that it was opened by, and its path leads to it. */
  holds(): boolean {
    try {
      const path = LINUX ? readlinkSync(`/proc/self/fd/${this.fd}`) : realpathSync.native(this.path);
      return path === this.path && this.isInSight();
    } catch {
      return false;
    }
  }

  get idle(): boolean {
    return performance.now() - this.seen > IDLE_MS;
  }

  private sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fsync(this.fd, (error) => (error && !knowsNoDirSync(error) ? reject(error) : resolve()));
    });
  }

  /** Not so of one that a file system was mounted over since: its own path is as before, but nobody else can see what is done in it. */
  private isInSight(): boolean {
    const now = performance.now();
    if (now - this.seen < SIGHT_MS) return true;
    const there = statSync(this.path, { bigint: true, throwIfNoEntry: false });
    if (there === undefined || idOf(there) !== this.id) return false;
    this.seen = now;
    return true;
  }
}

/** A bounded cache of open directories, least recently used out first. */
export class Dirs {
  private readonly open = new Map<string, OpenDir>();
  private evicted: OpenDir[] = [];
  /** What was seen to hold in this {@link together}. */
  private looked: Set<OpenDir> | undefined;
  private readonly turn = new Seen<Dir>();
  /** What was seen to hold in this turn. */
  private readonly lookedInTurn = new Seen<Set<OpenDir>>();

  constructor(private readonly limit = 256) {}

  /**
   * @param path absolute, without links.
   * @throws ENOENT, ENOTDIR (also if any component is a link), EACCES.
   */
  get(path: string): Dir {
    const cached = this.open.get(path);
    if (cached) {
      if (this.looked?.has(cached)) return cached;
      if (cached.holds()) {
        this.looked?.add(cached);
        this.open.delete(path);
        this.open.set(path, cached);
        return cached;
      }
      this.evict(cached);
    }
    const fd = openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK);
    const dir = new OpenDir(path, fd);
    if (!dir.holds()) {
      closeSync(fd);
      throw Object.assign(new Error(`ENOTDIR: a link or another folder is in the way, '${path}'`), { code: 'ENOTDIR' });
    }
    this.open.set(path, dir);
    this.looked?.add(dir);
    if (this.open.size > this.limit) this.evictOldest();
    return dir;
  }

  /** The same for a read: where it was seen to lie in this turn will do. */
  seen(path: string): Dir {
    return this.turn.get(path, () => this.get(path));
  }

  /**
   * Runs `work` that asks for the same directories several times for one decision: each is looked at once. Short and synchronous; what it does to a
   * directory it does through the one that it got, wherever others move it.
   */
  together<T>(work: () => T): T {
    return this.lookingAt(() => new Set(), work);
  }

  /** The same for what is decided again later, under the lock: what was seen in this turn will do. */
  beforehand<T>(work: () => T): T {
    return this.lookingAt(() => this.lookedInTurn.get('', () => new Set()), work);
  }

  private lookingAt<T>(looked: () => Set<OpenDir>, work: () => T): T {
    if (this.looked) return work();
    this.looked = looked();
    try {
      return work();
    } finally {
      this.looked = undefined;
    }
  }

  /** Whether a directory still lies where its path says. */
  stands(dir: Dir): boolean {
    return dir instanceof OpenDir && dir.holds();
  }

  /** Flushes the directory's entries: fsync(2) of the directory. Directories that are gone need none. */
  async sync(dir: Dir): Promise<void> {
    if (!(dir instanceof OpenDir)) return;
    dir.pins++;
    try {
      await dir.flush.run();
    } finally {
      dir.pins--;
      if (dir.evicted && dir.pins === 0) close(dir);
    }
  }

  /** Gets and flushes; a directory that has vanished is flushed enough. */
  async syncPath(path: string): Promise<void> {
    let dir: Dir;
    try {
      dir = this.get(path);
    } catch (error) {
      if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR' || errno(error) === 'ELOOP') return;
      throw error;
    }
    await this.sync(dir);
  }

  close(): void {
    forgetSeen();
    for (const dir of [...this.open.values()]) this.evict(dir);
    this.closeEvicted();
  }

  /** Closes what was of no use lately. */
  closeIdle(): void {
    for (const dir of [...this.open.values()]) if (dir.idle) this.evict(dir);
  }

  private evictOldest(): void {
    for (const dir of this.open.values()) {
      this.evict(dir);
      return;
    }
  }

  private evict(dir: OpenDir): void {
    this.open.delete(dir.path);
    this.looked?.delete(dir);
    dir.evicted = true;
    if (dir.pins > 0) return;
    // not at once: a deep path evicts many, and its number, used again, would lead a `Dir` of this turn to another directory
    if (this.evicted.push(dir) === 1) setImmediate(() => this.closeEvicted());
  }

  private closeEvicted(): void {
    for (const dir of this.evicted.splice(0)) {
      if (dir.pins === 0) close(dir);
    }
  }
}

/** Nothing was written through it: an error says nothing to anybody, and on Linux the number is free all the same. */
function close(dir: OpenDir): void {
  try {
    closeSync(dir.fd);
  } catch {
    // EIO of a network file system
  }
}
