/**
 * Directories whose names came and went: each is read into the index once, when it is quiet, so that the next listing need not. A large busy
 * directory is not read all the time: it rests many times as long as reading it took.
 */

const QUIET_MS = 1_000;
const LONGEST_MS = 10_000;
/** Reading one directory takes at most one part in so many of the time. */
const SHARE = 50;
/** What is beyond is read by the next listing. */
const LIMIT = 10_000;

export class Stale {
  private readonly dirs = new Map<string, { due: number; since: number }>();
  private readonly resting = new Map<string, number>();

  mark(dir: string, now = performance.now()): void {
    const entry = this.dirs.get(dir);
    if (entry) entry.due = Math.max(entry.due, Math.min(now + QUIET_MS, entry.since + LONGEST_MS));
    else if (this.dirs.size < LIMIT)
      this.dirs.set(dir, { since: now, due: Math.max(now + QUIET_MS, this.resting.get(dir) ?? 0) });
  }

  /** A directory whose time has come; else how long (ms) until there is one, undefined if none waits. */
  take(now = performance.now()): string | number | undefined {
    let next: number | undefined;
    for (const [dir, { due }] of this.dirs) {
      if (due <= now) {
        this.dirs.delete(dir);
        return dir;
      }
      next = Math.min(next ?? Infinity, due - now);
    }
    return next;
  }

  /** It was read, which took so long. */
  done(dir: string, ms: number, now = performance.now()): void {
    for (const [other, until] of this.resting) if (until <= now) this.resting.delete(other);
    if (ms * SHARE > QUIET_MS) this.resting.set(dir, now + ms * SHARE);
  }
}
