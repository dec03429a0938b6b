/**
 * Hashes in the background what other programs wrote: files named by the watcher, and all that the index knows without a hash, so that a restart
 * goes on where the last one stopped. Small files first, large ones last; requests go before.
 */
import { errno } from '../../base/errors.js';
import type { LogData } from '../../base/log.js';
import type { Live } from '../../store/live-contract.js';
import { Bell, Patience } from '../patience.js';
import { Progress, type Totals } from './progress.js';
import { HashQueue, LARGE_BYTES, type ToHash } from './queue.js';
import { HashThread } from './thread.js';

/** Smaller files are read on the main thread: telling another one costs more. Bytes. */
const INLINE_BYTES = 256 << 10;
/** Small files read side by side. */
const LANES = 4;
const PAGE = 512;
/** Searching the index takes at most one part in so many of the time. */
const SWEEP_SHARE = 20;
const SWEEP_REST_MS = 1_000;
const BUSY_POLL_MS = 50;

export interface HasherOptions {
  live: Live;
  busy: () => boolean;
  log: (level: 'debug' | 'info' | 'warn', message: string, data?: LogData) => void;
  /** Shown where the last one was; '' when done. Only on terminals. */
  status?: ((text: string) => void) | undefined;
  /** Compiled worker; tests from sources name it. */
  script?: URL;
  /** A file was written while it was read: come back when it is quiet. */
  onRestless?: (dirs: readonly string[], name: string) => void;
}

export class Hasher {
  private readonly abort = new AbortController();
  private readonly queue = new HashQueue();
  private readonly thread: HashThread;
  private readonly bell = new Bell();
  private readonly patience: Patience;
  private readonly progress: Progress;
  private readonly timer: NodeJS.Timeout;
  private running: Promise<void> | undefined;
  private sweepWanted = false;
  private sweepAfter = 0;
  private complained = 0;

  constructor(private readonly options: HasherOptions) {
    this.thread = new HashThread(options.script);
    this.patience = new Patience(options.busy, this.abort.signal);
    this.progress = new Progress(options.log, options.status);
    this.timer = setInterval(() => this.thread.rest(options.busy()), BUSY_POLL_MS).unref();
  }

  start(): void {
    this.running ??= this.loop();
  }

  /** A quiet file that nobody has hashed. */
  add(dirs: readonly string[], name: string, size: number): void {
    if (!this.queue.add({ dirs, name, size })) this.sweepWanted = true;
    this.bell.ring();
  }

  /** The index may know of more. */
  sweepSoon(): void {
    this.sweepWanted = true;
    this.bell.ring();
  }

  /** Nothing is left to do, as far as is known. */
  get idle(): boolean {
    return !this.progress.active && !this.sweepWanted && this.queue.size === 0;
  }

  /** At once: the file under way is given up. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    this.abort.abort();
    this.bell.ring();
    await this.thread.stop();
    await this.running;
    this.progress.end();
  }

  private async loop(): Promise<void> {
    const { signal } = this.abort;
    while (!signal.aborted) {
      const now = performance.now();
      if (this.sweepWanted && now >= this.sweepAfter) await this.sweep();
      else if (this.queue.size > 0) await this.drain();
      else await this.bell.wait(this.sweepWanted ? this.sweepAfter - now : 60_000);
    }
  }

  /** All that the index knows without a hash: counted, then hashed, large ones last. */
  private async sweep(): Promise<void> {
    this.sweepWanted = false;
    const began = performance.now();
    let searchMs = 0;
    try {
      const totals = await this.count();
      searchMs = performance.now() - began;
      this.progress.begin(totals);
      for await (const page of this.pages()) {
        for (const file of page.filter(({ size }) => size >= LARGE_BYTES)) {
          if (!this.queue.add(file)) this.sweepWanted = true;
        }
        await this.hashAll(page.filter(({ size }) => size < LARGE_BYTES));
      }
      await this.drain();
    } catch (error) {
      this.failed(undefined, error);
    }
    this.sweepAfter = performance.now() + Math.max(SWEEP_REST_MS, searchMs * SWEEP_SHARE);
    this.progress.end();
  }

  private async count(): Promise<Totals> {
    const totals: Totals = { files: 0, bytes: 0 };
    for await (const page of this.pages()) {
      totals.files += page.length;
      for (const { size } of page) totals.bytes += size;
    }
    return totals;
  }

  private async *pages(): AsyncGenerator<ToHash[]> {
    let after: Buffer | undefined;
    do {
      const { entries, next } = this.options.live.unhashed(after, PAGE);
      // what lies at the top is in no bucket
      yield entries.filter(({ dirs }) => dirs.length > 0);
      await this.patience.turn();
      after = next;
    } while (after && !this.abort.signal.aborted);
  }

  private async drain(): Promise<void> {
    const { signal } = this.abort;
    while (!signal.aborted) {
      const small: ToHash[] = [];
      for (let file = this.queue.takeSmall(); file; file = this.queue.takeSmall()) {
        small.push(file);
        if (small.length >= PAGE) break;
      }
      if (small.length > 0) await this.hashAll(small);
      else {
        const large = this.queue.takeLarge();
        if (!large) return;
        await this.hashOne(large);
      }
    }
  }

  private async hashAll(files: ToHash[]): Promise<void> {
    const rest = files.values();
    const lane = async (): Promise<void> => {
      for (const file of rest) {
        if (this.abort.signal.aborted) return;
        await this.hashOne(file);
        await this.patience.turn();
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
  }

  private async hashOne({ dirs, name, size }: ToHash): Promise<void> {
    const { live } = this.options;
    try {
      // a large file that is being written would be read for nothing
      const quietForMs = size < INLINE_BYTES ? undefined : (await live.lookAtFile(dirs, name)).quietForMs;
      if (quietForMs !== undefined && quietForMs < live.quietMs) {
        this.options.onRestless?.(dirs, name);
        return;
      }
      const outcome = await live.hashFile(dirs, name, size < INLINE_BYTES ? undefined : this.thread.md5);
      if (outcome === 'changed' && !this.abort.signal.aborted) this.options.onRestless?.(dirs, name);
    } catch (error) {
      this.failed([...dirs, name].join('/'), error);
    }
    this.progress.done(size);
  }

  /** A few are named, then no more: a bad disk has many. */
  private failed(file: string | undefined, error: unknown): void {
    if (this.abort.signal.aborted || this.complained++ > 10) return;
    const cause = errno(error) ?? (error instanceof Error ? error.message : String(error));
    this.options.log('warn', 'a file could not be read for its ETag', { ...(file !== undefined && { file }), cause });
  }
}
