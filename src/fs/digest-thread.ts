/**
 * A thread that computes the digests of several bodies at once, so that the one that reads them from the network does not wait: MD5 alone takes longer
 * than all else that is done with a long body. It reads the buffers where they lie (fs/buffers.ts).
 */
import { Worker } from 'node:worker_threads';
import { scriptOf } from '../base/scripts.js';
import type { ChecksumAlgorithm, Digests } from '../base/model.js';
import { isShared } from './buffers.js';
import type { FromDigester, ToDigester } from './digest-protocol.js';
import type { BodyHasher } from './hash.js';

/** Its own heap stays small: what it hashes does not lie there. */
const HEAP = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64 };

/** One that is answered, without its number. */
type Question = ToDigester extends infer T ? (T extends { asked: number } ? Omit<T, 'asked'> : never) : never;

interface Asked {
  resolve: (answer: FromDigester) => void;
  reject: (error: Error) => void;
}

export class DigestThread {
  /** Whether it came up. Never rejects. */
  readonly started: Promise<boolean>;

  private readonly worker: Worker;
  private state: 'starting' | 'ready' | 'ended' = 'starting';
  /** By number. */
  private readonly asked = new Map<number, Asked>();
  private lastAsked = 0;
  private readonly slots = new Map<SharedArrayBuffer, number>();
  private readonly open = new Set<number>();
  private last = 0;

  /** @param script the compiled digest-worker.js. @param idle called whenever the last body is done with, or the thread has ended. */
  constructor(
    script: URL = scriptOf('fs/digest-worker.js'),
    private readonly idle: () => void = () => undefined,
  ) {
    this.worker = new Worker(script, { name: 'gos3rve-digest', resourceLimits: HEAP });
    this.worker.unref();
    this.started = new Promise((resolve) => {
      this.worker.on('message', (answer: FromDigester) => {
        if (answer.kind !== 'ready') {
          this.asked.get(answer.asked)?.resolve(answer);
          this.asked.delete(answer.asked);
          return;
        }
        this.state = 'ready';
        resolve(true);
      });
      const end = (cause: unknown): void => {
        this.ended(cause instanceof Error ? cause : new Error('the hashing thread has ended'));
        resolve(false);
      };
      this.worker.once('error', end).once('exit', end);
    });
  }

  get isReady(): boolean {
    return this.state === 'ready';
  }

  get hasEnded(): boolean {
    return this.state === 'ended';
  }

  /** Bodies that it is hashing. */
  get bodies(): number {
    return this.open.size;
  }

  /** Digests of one more body. What is asked of it rejects if the thread ends meanwhile. @param size of it, in bytes, if that is known. */
  openBody(algorithms: readonly ChecksumAlgorithm[], size?: number): BodyHasher {
    const body = ++this.last;
    this.open.add(body);
    // the process must not end while it waits for an answer
    this.worker.ref();
    this.tell({ kind: 'open', body, algorithms, size });
    return {
      update: (bytes) => this.update(body, bytes),
      digest: async () => {
        try {
          return digestsOf(await this.ask({ kind: 'digest', body }));
        } finally {
          this.close(body);
        }
      },
      drop: () => {
        if (!this.open.has(body)) return;
        this.tell({ kind: 'drop', body });
        this.close(body);
      },
    };
  }

  /** Ends it, whatever it is doing. */
  async stop(): Promise<void> {
    this.ended(new Error('the hashing thread was stopped'));
    await this.worker.terminate();
  }

  private async update(body: number, bytes: Uint8Array): Promise<void> {
    if (!isShared(bytes) || bytes.byteOffset !== 0) {
      await this.ask({ kind: 'copied', body, bytes });
      return;
    }
    const memory = bytes.buffer;
    const known = this.slots.get(memory);
    const slot = known ?? this.slots.size;
    if (known === undefined) this.slots.set(memory, slot);
    await this.ask({ kind: 'shared', body, slot, length: bytes.byteLength, ...(known === undefined && { memory }) });
  }

  private ask(message: Question): Promise<FromDigester> {
    return new Promise((resolve, reject) => {
      if (this.state === 'ended') {
        reject(new Error('the hashing thread has ended'));
        return;
      }
      const asked = ++this.lastAsked;
      this.asked.set(asked, { resolve, reject });
      this.tell({ ...message, asked });
    });
  }

  private tell(message: ToDigester): void {
    if (this.state !== 'ended') this.worker.postMessage(message);
  }

  private close(body: number): void {
    if (!this.open.delete(body) || this.open.size > 0) return;
    this.worker.unref();
    this.idle();
  }

  private ended(cause: Error): void {
    if (this.state === 'ended') return;
    this.state = 'ended';
    for (const { reject } of this.asked.values()) reject(cause);
    this.asked.clear();
    this.idle();
  }
}

function digestsOf(answer: FromDigester): Digests {
  if (answer.kind !== 'digests') throw new Error('the hashing thread gave another answer');
  const digests: Partial<Digests> = {};
  for (const [algorithm, { buffer, byteOffset, byteLength }] of Object.entries(answer.digests))
    digests[algorithm as ChecksumAlgorithm] = Buffer.from(buffer, byteOffset, byteLength);
  const { MD5 } = digests;
  if (MD5 === undefined) throw new Error('MD5 is always computed');
  return { ...digests, MD5 };
}
