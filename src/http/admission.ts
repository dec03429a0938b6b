/**
 * Graceful saturation: a process serves so many requests at once, whatever each of them holds (buffers, open files, a place in the thread pool). More wait
 * their turn, the oldest first, and whoever has waited too long is told to come again later (503 SlowDown, which S3 clients repeat by themselves): so
 * neither memory nor the time to an answer grows with the number of clients.
 */
import { S3Error } from '../base/errors.js';

/** ms a request waits at most, unless told. */
const PATIENCE_MS = 5000;

interface Waiter {
  admit(): void;
  refuse(error: S3Error): void;
}

export class Admission {
  private readonly inside = new Set<object>();
  /** The oldest first. */
  private readonly waiting = new Map<object, Waiter>();

  /** @param limit 0: none. */
  constructor(
    private readonly limit: number,
    private readonly patienceMs: number = PATIENCE_MS,
  ) {}

  /**
   * Takes a place, to be given back by {@link leave}. @returns undefined if there was one; else what resolves when there is.
   * @throws SlowDown after a while without one, or when the request has left.
   */
  enter(request: object): Promise<void> | undefined {
    if (this.limit === 0) return undefined;
    if (this.inside.size < this.limit) {
      this.inside.add(request);
      return undefined;
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.delete(request);
        reject(new S3Error('SlowDown', `All ${this.limit} places (--max-requests) are taken. Please try again.`));
      }, this.patienceMs);
      this.waiting.set(request, {
        admit: () => (clearTimeout(timer), resolve()),
        refuse: (error) => (clearTimeout(timer), reject(error)),
      });
    });
  }

  /** The request is answered, or its client gone; one that never entered may leave, too. */
  leave(request: object): void {
    const waiter = this.waiting.get(request);
    if (waiter) {
      this.waiting.delete(request);
      waiter.refuse(new S3Error('SlowDown'));
      return;
    }
    if (!this.inside.delete(request)) return;
    for (const [next, turn] of this.waiting) {
      this.waiting.delete(next);
      this.inside.add(next);
      turn.admit();
      return;
    }
  }
}
