/** Turns a store's pushed reads into a body that a store pulls: UploadPartCopy reads one object and writes a part at once. */
import type { OpenObject } from '../store/contract.js';

/**
 * Bytes `start` to `end` (exclusive) of an open object. One chunk is in flight: the reader waits while the consumer works
 * on it, so memory does not grow. Each chunk is the reader's buffer, until the next one is asked for.
 * Ending the iteration early ends the read.
 */
export async function* pull(open: OpenObject, start: number, end: number): AsyncGenerator<Uint8Array> {
  if (start >= end) return;
  const handoff = new Handoff();
  const reading = open
    .read(start, end, (chunk) => handoff.give(chunk))
    .then(
      () => handoff.finish(),
      (error: unknown) => handoff.finish(error),
    );
  try {
    for (;;) {
      const chunk = await handoff.take();
      if (chunk === undefined) return;
      yield chunk;
    }
  } finally {
    handoff.stop();
    await reading;
  }
}

class Handoff {
  private chunk: Buffer | undefined;
  /** The consumer works on the last chunk; the first one may be there before it asks at all. */
  private lent = false;
  private ended = false;
  private failure: { error: unknown } | undefined;
  private stopped = false;
  private wakeGiver: (() => void) | undefined;
  private wakeTaker: (() => void) | undefined;

  /** Resolves once the chunk was used and the next one is wanted; rejects when nobody wants more. */
  async give(chunk: Buffer): Promise<void> {
    if (!this.stopped) {
      this.chunk = chunk;
      const used = new Promise<void>((resolve) => (this.wakeGiver = resolve));
      this.wakeTaker?.();
      await used;
    }
    if (this.stopped) throw new Error('The reader of this object has gone.');
  }

  /** The next chunk, undefined at the end. @throws what the read threw. */
  async take(): Promise<Buffer | undefined> {
    if (this.lent) this.wakeGiver?.();
    this.lent = false;
    while (this.chunk === undefined) {
      if (this.failure !== undefined) throw this.failure.error;
      if (this.ended) return undefined;
      await new Promise<void>((resolve) => (this.wakeTaker = resolve));
    }
    const { chunk } = this;
    this.chunk = undefined;
    this.lent = true;
    return chunk;
  }

  finish(error?: unknown): void {
    this.ended = true;
    if (error !== undefined) this.failure = { error };
    this.wakeTaker?.();
  }

  stop(): void {
    this.stopped = true;
    this.wakeGiver?.();
  }
}
