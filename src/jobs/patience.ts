/**
 * Low priority for work on the main thread: between pieces of work the event loop gets its turn, and while requests are being served
 * the work rests three times as long as it took.
 */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';

/** Work that took less than this, ms, needs no pause when nobody waits. */
const SLICE_MS = 5;
const REST_FACTOR = 3;
const LONGEST_REST_MS = 1_000;

export class Patience {
  private since = performance.now();

  constructor(
    private readonly busy: () => boolean,
    private readonly signal: AbortSignal,
  ) {}

  /** Between two pieces of work. Resolves at once when told to stop. */
  async turn(): Promise<void> {
    const worked = performance.now() - this.since;
    if (this.busy()) await pause(Math.min(worked * REST_FACTOR, LONGEST_REST_MS), this.signal);
    else if (worked >= SLICE_MS) await nextTurn();
    else return;
    this.since = performance.now();
  }
}

/** Sleeps `ms`, or until told to stop. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal, ref: false }).catch(() => undefined);
}

/** Wakes one loop; rings that come while it works are not lost. */
export class Bell {
  private rung = false;
  private answer: (() => void) | undefined;

  ring(): void {
    this.rung = true;
    this.answer?.();
  }

  /** Resolves at a ring, or after `ms`. */
  async wait(ms: number): Promise<void> {
    if (!this.rung) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms).unref();
        this.answer = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.answer = undefined;
    }
    this.rung = false;
  }
}
