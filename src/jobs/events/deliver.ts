/**
 * Takes events from a target's queue to the target: several at once, those of one key one after the other. What fails is tried again, later and
 * later, for a day. A target that is down gets one attempt at a time; one event that it does not take does not keep the others.
 */
import type { DiskQueue, Place, Queued } from './queue.js';
import { DeliveryError } from './send.js';

export interface DeliveryOptions {
  send: (event: Queued, signal: AbortSignal) => Promise<void>;
  warn: (message: string, data: Record<string, unknown>) => void;
  /** ms after the first failure. */
  firstDelay?: number;
  maxDelay?: number;
  /** ms; older events are given up. */
  maxAge?: number;
}

interface Pending {
  event: Queued;
  end: Place;
  attempts: number;
  notBefore: number;
  state: 'waiting' | 'sending' | 'done';
}

const CONCURRENCY = 8;
const WINDOW = 1000;
const DAY_MS = 86_400_000;

export class Delivery {
  private window: Pending[] = [];
  private active = 0;
  private failures = 0;
  private pausedUntil = 0;
  private expired = 0;
  private timer: NodeJS.Timeout | undefined;
  private readonly abort = new AbortController();
  private readonly running = new Set<Promise<void>>();

  constructor(
    private readonly queue: DiskQueue,
    private readonly options: DeliveryOptions,
  ) {}

  /** There may be something to do. */
  pump(): void {
    clearTimeout(this.timer);
    if (this.abort.signal.aborted) return;
    if (this.window.length < WINDOW) this.fill();
    const now = Date.now();
    let wake = Infinity;
    const busy = new Set<string>();
    for (const pending of this.window) {
      if (this.active >= (this.failures > 0 ? 1 : CONCURRENCY)) return;
      if (pending.state === 'done') continue;
      const { key, at } = pending.event;
      if (busy.has(key)) continue;
      busy.add(key);
      if (pending.state === 'sending') continue;
      if (now - at > (this.options.maxAge ?? DAY_MS)) {
        pending.state = 'done';
        this.giveUp();
        continue;
      }
      const due = Math.max(pending.notBefore, this.pausedUntil);
      if (due <= now) this.start(pending);
      else wake = Math.min(wake, due);
    }
    this.settle();
    if (wake < Infinity) this.timer = setTimeout(() => this.pump(), wake - now).unref();
  }

  async stop(): Promise<void> {
    clearTimeout(this.timer);
    this.abort.abort();
    await Promise.all(this.running);
  }

  private fill(): void {
    for (const { event, end } of this.queue.take(WINDOW - this.window.length))
      this.window.push({ event, end, attempts: 0, notBefore: 0, state: 'waiting' });
  }

  private start(pending: Pending): void {
    pending.state = 'sending';
    this.active++;
    const work = this.attempt(pending).finally(() => {
      this.active--;
      this.running.delete(work);
      this.pump();
    });
    this.running.add(work);
  }

  private async attempt(pending: Pending): Promise<void> {
    try {
      await this.options.send(pending.event, this.abort.signal);
      pending.state = 'done';
      if (this.failures > 1) this.options.warn('a target takes events again', { after: this.failures });
      this.failures = 0;
    } catch (error) {
      pending.state = 'waiting';
      if (this.abort.signal.aborted) return;
      pending.attempts++;
      pending.notBefore = Date.now() + this.delay(pending.attempts);
      if (!(error instanceof DeliveryError) || error.down) {
        this.failures++;
        this.pausedUntil = Date.now() + this.delay(this.failures);
      }
      const reason = error instanceof Error ? error.message : 'failed';
      if (pending.attempts === 1 && this.failures <= 1)
        this.options.warn('a target does not take events; trying again', { reason });
    }
  }

  /** Doubles each time, half of it by chance. */
  private delay(attempts: number): number {
    const { firstDelay = 1000, maxDelay = 300_000 } = this.options;
    const full = Math.min(maxDelay, firstDelay * 2 ** Math.min(attempts - 1, 20));
    return full / 2 + (Math.random() * full) / 2;
  }

  private giveUp(): void {
    if (this.expired++ === 0) this.options.warn('events are given up that a target did not take for a day', {});
  }

  /** Tells the queue what no longer needs to be kept. */
  private settle(): void {
    let done = 0;
    while (this.window[done]?.state === 'done') done++;
    const last = this.window[done - 1];
    if (!last) return;
    this.window = this.window.slice(done);
    this.queue.acknowledge(last.end, done);
    if (this.window.length < WINDOW / 2 && this.queue.length > this.window.length) setImmediate(() => this.pump());
  }
}
