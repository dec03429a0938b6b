/**
 * The system's watches, one a directory (inotify on Linux, through fs.watch), none for files. Who calls decides which directories: they are known
 * from the index, so nothing is read here. A watch follows the directory's inode, not its name: after renames
 * {@link Watches.keep} finds out and starts anew.
 */
import { readFileSync, watch, type BigIntStats, type FSWatcher } from 'node:fs';
import { basename, dirname } from 'node:path';
import { errno } from '../../base/errors.js';
import { decodeName } from '../../fs/keypath.js';
import { lstatOf } from '../../fs/stat.js';

/** Directories beyond this are left to the scan: a watch costs 3 KiB here and 1 KiB of the kernel. */
const WATCHES_LIMIT = 32_768;
/** Share of our watches that is given back when the system has no more: other programs of this user want some. */
const GIVE_BACK = 8;
/** One that was made so long (ms) before it was watched is told by its birth time from one that gets its inode number. */
const DISTINCT_MS = 1_000;

export interface WatchEvents {
  /** @param name absent: something in the directory. @param moved whether the name came or went; else its content changed. */
  hint(dir: string, name: string | undefined, moved: boolean): void;
  /** No more watches: told once, with the cause. */
  exhausted(cause: string): void;
  /** The system's queue may have run over: events were lost. */
  overflow(): void;
}

interface Watched {
  /** Inode numbers are used again at once, so the birth time belongs to it. */
  id: string;
  /** Nothing else has, or will have, this id. */
  distinct: boolean;
  handle: FSWatcher;
  /** The directory may be gone, and the watch with it. */
  ended?: boolean;
}

export class Watches {
  private readonly watched = new Map<string, Watched>();
  private full = false;
  private closed = false;
  /** Events since the loop last turned: the kernel's queue is emptied in one go, so as many as it holds means that it was full. */
  private burst = 0;
  private readonly queueLimit = queueLimit();

  constructor(
    private readonly root: string,
    private readonly events: WatchEvents,
  ) {}

  /** Directories that are watched. */
  get size(): number {
    return this.watched.size;
  }

  /** All directories that were asked for are watched. */
  get complete(): boolean {
    return !this.full;
  }

  has(dir: string): boolean {
    return this.watched.has(dir);
  }

  /**
   * Watches a directory (path below the root), if it is not watched already.
   * @returns whether it is another one than before, or gone: what lies in it has to be looked at.
   */
  keep(dir: string): boolean {
    if (this.closed) return false;
    const path = dir === '' ? this.root : `${this.root}/${dir}`;
    const stat = lstatOf(path);
    const known = this.watched.get(dir);
    if (!stat?.isDirectory()) {
      if (known) this.drop(dir);
      return known !== undefined;
    }
    const id = `${stat.dev}:${stat.ino}:${stat.birthtimeNs}`;
    const same = known?.id === id;
    if (same && known?.ended !== true) return false;
    if (known && !same) this.drop(dir);
    this.start(dir, path, { id, distinct: isDistinct(stat) });
    return !same || known?.distinct !== true;
  }

  /** Ends the watches of a directory and of all below it. */
  drop(dir: string): void {
    this.end(dir);
    const prefix = dir === '' ? '' : `${dir}/`;
    for (const other of this.watched.keys()) if (other.startsWith(prefix)) this.end(other);
  }

  close(): void {
    this.closed = true;
    for (const { handle } of this.watched.values()) handle.close();
    this.watched.clear();
  }

  /** In place of the watch that it had, if it had one. */
  private start(dir: string, path: string, what: Pick<Watched, 'id' | 'distinct'>): void {
    const before = this.watched.get(dir);
    this.watched.delete(dir);
    this.open(dir, path, what);
    // last, for the new one goes on with what the old one was to be told of, if the directory has not ended
    before?.handle.close();
  }

  private open(dir: string, path: string, what: Pick<Watched, 'id' | 'distinct'>): void {
    if (this.full) return;
    if (this.watched.size >= WATCHES_LIMIT) {
      this.exhaust(`there are more than ${WATCHES_LIMIT.toLocaleString('en')} folders`);
      return;
    }
    try {
      const handle = watch(path, { persistent: false, encoding: 'buffer' }, (event, name) =>
        this.told(dir, event === 'rename', name),
      );
      handle.on('error', () => {
        this.end(dir);
        this.events.overflow();
      });
      this.watched.set(dir, { ...what, handle });
    } catch (error) {
      const code = errno(error);
      if (code === 'ENOSPC') {
        this.giveBack();
        this.exhaust('the watches of this user are used up (fs.inotify.max_user_watches)');
      } else if (code === 'EMFILE' || code === 'ENFILE') {
        this.exhaust('open files or inotify instances are used up (ulimit -n, fs.inotify.max_user_instances)');
      } else if (code === 'ENOSYS' || code === 'ENOTSUP' || code === 'EINVAL') {
        this.exhaust('this system gives none for such a folder');
      }
      // gone, or not to be read: nothing to be told of
    }
  }

  private told(dir: string, moved: boolean, name: Buffer | null): void {
    if (this.burst++ === 0) setImmediate(() => (this.burst = 0));
    if (this.burst === this.queueLimit) this.events.overflow();
    if (name === null) this.events.hint(dir, undefined, moved);
    else {
      const text = decodeName(name);
      if (text === undefined) return;
      this.events.hint(dir, text, moved);
      if (moved && dir !== '' && text === basename(dir)) this.mayHaveEnded(dir);
    }
  }

  /** A name as the directory's own came or went in it, or the directory itself did: both are told alike. */
  private mayHaveEnded(dir: string): void {
    const watched = this.watched.get(dir);
    if (watched) watched.ended = true;
    const above = dirname(dir);
    this.events.hint(above === '.' ? '' : above, basename(dir), false);
  }

  private end(dir: string): void {
    this.watched.get(dir)?.handle.close();
    this.watched.delete(dir);
  }

  private giveBack(): void {
    const spare = Math.ceil(this.watched.size / GIVE_BACK);
    for (const dir of [...this.watched.keys()].slice(-spare)) this.end(dir);
  }

  private exhaust(cause: string): void {
    this.full = true;
    this.events.exhausted(cause);
  }
}

function isDistinct({ birthtimeNs }: BigIntStats): boolean {
  return birthtimeNs > 0n && Date.now() - Number(birthtimeNs / 1_000_000n) > DISTINCT_MS;
}

/** Events that the kernel keeps for us, less a margin for those that never reach us. */
function queueLimit(): number {
  try {
    return Math.max(64, Math.floor(Number(readFileSync('/proc/sys/fs/inotify/max_queued_events', 'utf8')) * 0.8));
  } catch {
    return 16_384;
  }
}
