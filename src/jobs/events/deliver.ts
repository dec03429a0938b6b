/**
 * Takes events from a target's queue to the target: several at once, those of one key one after the other. What fails is tried again, later and
 * later, for a day.
 *
 * A target that is down gets one attempt at a time. Whether it is, or only cannot take this one event, its status does not tell: a handler that
 * crashes answers 500, too. So it is not asked about the same event each time; and an event that it refuses again and again while it takes
 * others is given up, so that it cannot keep the others, or those of its key, for ever.
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
  /** An event is given up that failed so often, each time after others were taken. */
  maxRefusals?: number;
}

interface Pending {
  event: Queued;
  /** Behind it and what was taken since that lies directly behind it. */
  end: Place;
  /** Events up to `end`. */
  events: number;
  attempts: number;
  refusals: number;
  /** How many others had been taken when it was tried last. */
  takenBefore: number;
  notBefore: number;
  state: 'waiting' | 'sending' | 'done';
}

const CONCURRENCY = 8;
/** Events in memory that were not tried yet. */
const WINDOW = 1000;
/** Events in memory that failed: they take no room from others, up to this. */
const MAX_FAILED = 10_000;
const DAY_MS = 86_400_000;
/** With the delays below about 50 minutes. */
const MAX_REFUSALS = 20;
/** A queue that cannot be read is asked again after so many ms. */
const RETRY_MS = 1000;

export class Delivery {
  private window: Pending[] = [];
  private active = 0;
  /** Failures in a row that speak of the target. */
  private down = 0;
  private warned = false;
  private pausedUntil = 0;
  private taken = 0;
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
    try {
      for (let more = true; more;) {
        more = this.fill();
        this.giveUpOld();
        this.settle();
        more &&= this.window.length === 0;
      }
      const wake = this.startDue();
      if (wake < Infinity) this.wakeIn(wake - Date.now());
    } catch (error) {
      this.options.warn('the queue of a target cannot be read; trying again', { error });
      this.wakeIn(RETRY_MS);
    }
  }

  async stop(): Promise<void> {
    clearTimeout(this.timer);
    this.abort.abort();
    await Promise.all(this.running);
  }

  private wakeIn(ms: number): void {
    this.timer = setTimeout(() => this.pump(), ms).unref();
  }

  /** Events that failed take no room from others, up to a bound. @returns whether there were more. */
  private fill(): boolean {
    const failed = this.window.filter(({ attempts }) => attempts > 0).length;
    const fresh = this.window.length - failed;
    if (fresh > WINDOW / 2 || failed >= MAX_FAILED) return false;
    const more = this.queue.take(WINDOW - fresh);
    for (const { event, end } of more)
      this.window.push({
        event,
        end,
        events: 1,
        attempts: 0,
        refusals: 0,
        takenBefore: 0,
        notBefore: 0,
        state: 'waiting',
      });
    return more.length > 0;
  }

  private giveUpOld(): void {
    const oldest = Date.now() - (this.options.maxAge ?? DAY_MS);
    for (const pending of this.window) {
      if (pending.state !== 'waiting' || pending.event.at >= oldest) continue;
      pending.state = 'done';
      if (this.expired++ === 0) this.options.warn('events are given up that a target did not take for a day', {});
    }
  }

  /** @returns ms of the clock when the next attempt is due. */
  private startDue(): number {
    const now = Date.now();
    let wake = Infinity;
    const due: Pending[] = [];
    for (const pending of this.heads()) {
      const at = Math.max(pending.notBefore, this.pausedUntil);
      if (at <= now) due.push(pending);
      else wake = Math.min(wake, at);
    }
    if (this.down > 0) {
      const probe = this.active === 0 ? this.probe(due) : undefined;
      if (probe) this.start(probe);
    } else for (const pending of due.slice(0, Math.max(0, CONCURRENCY - this.active))) this.start(pending);
    return wake;
  }

  /** Which event a target that is down is asked about: the oldest of those tried least, and every second time any, lest many bad ones come first. */
  private probe(due: readonly Pending[]): Pending | undefined {
    if (this.down % 2 === 0) return due[Math.floor(Math.random() * due.length)];
    const least = Math.min(...due.map(({ attempts }) => attempts));
    return due.find(({ attempts }) => attempts === least);
  }

  /** What waits, only the first of each key. */
  private *heads(): Generator<Pending> {
    const busy = new Set<string>();
    for (const pending of this.window) {
      if (busy.has(pending.event.key)) continue;
      busy.add(pending.event.key);
      if (pending.state === 'waiting') yield pending;
    }
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
      this.taken++;
      if (this.down > 1) this.options.warn('a target takes events again', { after: this.down });
      if (this.down > 1) this.warned = false;
      this.down = 0;
      this.pausedUntil = 0;
    } catch (error) {
      pending.state = 'waiting';
      if (!this.abort.signal.aborted) this.failed(pending, error);
    }
  }

  private failed(pending: Pending, error: unknown): void {
    const reason = error instanceof Error ? error.message : 'failed';
    const retryAfter = error instanceof DeliveryError ? (error.retryAfter ?? 0) : 0;
    pending.attempts++;
    if (pending.attempts === 1 || this.taken > pending.takenBefore) pending.refusals++;
    pending.takenBefore = this.taken;
    pending.notBefore = Date.now() + Math.max(this.delay(pending.attempts), retryAfter);
    if (!this.warned) this.options.warn('a target does not take events; trying again', { reason });
    this.warned = true;
    if (!(error instanceof DeliveryError) || error.down) this.pause(retryAfter);
    if (pending.refusals < (this.options.maxRefusals ?? MAX_REFUSALS)) return;
    pending.state = 'done';
    const { bucket, object } = pending.event.record.s3;
    this.options.warn('an event is given up that a target refuses while it takes others', {
      reason,
      bucket: bucket.name,
      key: object.key,
      sequencer: object.sequencer,
    });
  }

  /** Several that were under way at once fail as one. */
  private pause(ms: number): void {
    const now = Date.now();
    if (this.pausedUntil <= now) this.down++;
    this.pausedUntil = Math.max(this.pausedUntil, now + Math.max(this.delay(this.down), ms));
  }

  /** Doubles each time, half of it by chance. */
  private delay(attempts: number): number {
    const { firstDelay = 1000, maxDelay = 300_000 } = this.options;
    const full = Math.min(maxDelay, firstDelay * 2 ** Math.min(attempts - 1, 20));
    return full / 2 + (Math.random() * full) / 2;
  }

  /** Forgets what was taken, and tells the queue what no longer needs to be kept. */
  private settle(): void {
    const left: Pending[] = [];
    for (const pending of this.window) {
      const before = left.at(-1);
      if (pending.state !== 'done') left.push(pending);
      else if (!before) this.queue.acknowledge(pending.end, pending.events);
      else {
        before.end = pending.end;
        before.events += pending.events;
      }
    }
    this.window = left;
  }
}
