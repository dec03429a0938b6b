/**
 * Files of which something was told wait here until they were left alone for `quietMs` by the file system's clock: only then are they hashed,
 * and only then is a change by another program an event. A removed file has to stay away as long, for editors save by rename.
 */
import type { Live } from '../../store/live-contract.js';
import type { OutsideChange } from './change.js';

const TICK_MS = 250;
/** Files looked at in one go before others get their turn. */
const SLICE = 64;
const LIMIT = 100_000;
/** Changes found by others that are taken up at a time. */
const TAKE_UP = 1000;

interface Waiting {
  dirs: readonly string[];
  name: string;
  due: number;
  /** Another program did this; absent: only to be hashed. */
  event?: OutsideChange['event'];
  /** Nobody knew of it before, and nobody has been told yet. */
  fresh?: boolean;
}

export interface QuietEvents {
  /** A file that nobody has hashed is quiet. */
  unhashed(dirs: readonly string[], name: string, size: number): void;
  changed(change: OutsideChange): Promise<void>;
  /** Whether anybody wants to hear of changes: those that others have found are taken up. */
  wanted(): boolean;
  /** Too many wait: this one was let go. */
  lost(): void;
  failed(error: unknown): void;
}

export class Quiet {
  private readonly waiting = new Map<string, Waiting>();
  private readonly timer: NodeJS.Timeout;
  private running: Promise<void> | undefined;
  private stopped = false;
  private after: Buffer | undefined;

  constructor(
    private readonly live: Live,
    private readonly events: QuietEvents,
  ) {
    this.timer = setInterval(() => this.tick(), TICK_MS);
    this.timer.unref();
  }

  get size(): number {
    return this.waiting.size;
  }

  /**
   * @param more for how long (ms) it has been quiet already, and whether nobody knew of the file before.
   */
  add(
    dirs: readonly string[],
    name: string,
    event: Waiting['event'],
    more: { quietForMs?: number; fresh?: boolean } = {},
  ): void {
    const path = [...dirs, name].join('/');
    const before = this.waiting.get(path);
    if (!before && this.waiting.size >= LIMIT) {
      this.events.lost();
      return;
    }
    this.waiting.delete(path);
    const fresh = more.fresh === true || before?.fresh === true;
    const what = event ?? before?.event;
    const due = performance.now() + Math.max(0, this.live.quietMs - (more.quietForMs ?? 0));
    this.waiting.set(path, { dirs, name, due, ...(what && { event: what }), ...(fresh && { fresh }) });
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearInterval(this.timer);
    await this.running;
  }

  private tick(): void {
    this.running ??= this.work()
      .catch((error: unknown) => this.events.failed(error))
      .finally(() => (this.running = undefined));
  }

  /** What requests, a scan, other processes or one that was killed have found. */
  private takeUp(): void {
    if (this.live.rebuilding || !this.events.wanted()) return;
    const { entries, next } = this.live.untold(this.after, TAKE_UP);
    this.after = next;
    for (const { dirs, name, event, fresh } of entries)
      if (this.waiting.size < LIMIT && !this.waiting.has([...dirs, name].join('/')))
        this.add(dirs, name, event, { fresh: fresh === true });
  }

  private async work(): Promise<void> {
    this.takeUp();
    const now = performance.now();
    let done = 0;
    for (const [path, entry] of this.waiting) {
      if (this.stopped) return;
      if (entry.due > now) continue;
      this.waiting.delete(path);
      await this.look(entry);
      if (++done % SLICE === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  private async look({ dirs, name, event, fresh }: Waiting): Promise<void> {
    const file = await this.live.lookAtFile(dirs, name);
    // requests, scans and this look, too, may have found more than what it waits for
    const untold = this.live.untoldOf(dirs, name);
    if (file.state === 'gone') {
      const isFresh = untold ? untold.fresh === true : fresh === true;
      if (event === 'removed') await this.events.changed({ dirs, name, event, ...(isFresh && { fresh: true }) });
      // it has to stay away as long as others have to be left alone
      else if (untold?.event === 'removed') this.add(dirs, name, 'removed', { fresh: isFresh });
      else this.live.forgetUntold(dirs, name);
      return;
    }
    if (file.state === 'not-served') {
      this.live.forgetUntold(dirs, name);
      return;
    }
    const { quietForMs = this.live.quietMs, size = 0 } = file;
    // removed and back as it was: nothing has happened
    const owed = (untold?.event ?? event) === 'created' ? 'created' : undefined;
    const what = file.state === 'same' ? owed : 'created';
    if (quietForMs < this.live.quietMs) {
      this.add(dirs, name, what, { quietForMs, fresh: fresh === true });
      return;
    }
    if (file.hashed === false) this.events.unhashed(dirs, name, size);
    if (what) await this.events.changed({ dirs, name, event: what, size });
    else this.live.forgetUntold(dirs, name);
  }
}
