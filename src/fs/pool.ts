/**
 * Large buffers that are used again: garbage of their size would have the whole heap collected every few requests. What nobody has needed for a while is let go.
 */

/** Every so often (ms) what was free all the time since is let go. */
const LOOK_MS = 2000;

export interface PoolOptions {
  make(): Buffer;
  /** While so many are in use, others must do with small ones: hundreds of slow clients must not hold hundreds of MiB. */
  most: number;
  /** So many are kept for the next body. */
  kept: number;
}

export class BufferPool {
  private readonly free: Buffer[] = [];
  private inUse = 0;
  /** Fewest that were free since the last look. */
  private idle = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly options: PoolOptions) {}

  get isExhausted(): boolean {
    return this.inUse >= this.options.most;
  }

  /** With whatever is in it. Whoever takes it gives it back once nobody reads or writes it any more. */
  take(): Buffer {
    this.inUse++;
    const buffer = this.free.pop() ?? this.options.make();
    this.idle = Math.min(this.idle, this.free.length);
    return buffer;
  }

  give(buffer: Buffer): void {
    this.inUse--;
    if (this.free.length >= this.options.kept) return;
    this.free.push(buffer);
    this.timer ??= setInterval(() => this.look(), LOOK_MS).unref();
  }

  private look(): void {
    this.free.splice(0, this.idle);
    this.idle = this.free.length;
    if (this.free.length > 0) return;
    clearInterval(this.timer);
    this.timer = undefined;
  }
}
