/**
 * Reads of objects that nobody has at hand (at-hand.ts). Who asks for the same one meanwhile waits until the first has read it, and looks again: so a
 * hundred that come at once open and read a small file once. Nothing is believed for that: what is at hand then is looked at like any other time.
 */
import { nameOf } from './at-hand.js';

export class FirstReads {
  private readonly running = new Map<string, FirstRead>();

  /** Resolves when the read that is under way is of no more use to others; nothing if there is none. */
  of(bucket: string, key: string): Promise<void> | undefined {
    return this.running.get(nameOf(bucket, key))?.ended();
  }

  begin(bucket: string, key: string): FirstRead {
    const name = nameOf(bucket, key);
    const read = new FirstRead(() => this.running.delete(name));
    this.running.set(name, read);
    return read;
  }
}

export class FirstRead {
  private isEnded = false;
  private reading = false;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly forget: () => void) {}

  ended(): Promise<void> {
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  /** The object is open: nobody waits for one who does not go on to read it at once. */
  opened(): void {
    if (this.isEnded) return;
    setImmediate(() => {
      if (!this.reading) this.end();
    });
  }

  begun(): void {
    this.reading = true;
  }

  /** Its bytes are at hand, or will not be. */
  end(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.forget();
    for (const resolve of this.waiting) resolve();
  }
}
