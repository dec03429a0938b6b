/** The hashing thread as the main thread sees it: started with the first file, again if it dies. */
import { Worker } from 'node:worker_threads';
import { scriptOf } from '../../base/scripts.js';
import { REST, RUN, STOP, type Answer, type Job } from './protocol.js';

interface Pending {
  resolve: (digests: string[]) => void;
  reject: (error: Error) => void;
}

export class HashThread {
  private readonly shared = new SharedArrayBuffer(4);
  private readonly control = new Int32Array(this.shared);
  private readonly pending = new Map<number, Pending>();
  private worker: Worker | undefined;
  private next = 1;

  /** @param script the compiled worker.js. */
  constructor(private readonly script: URL = scriptOf('jobs/hash/worker.js')) {}

  /**
   * MD5 in hex of each piece of a file; fewer when told to stop or when the file is shorter. Fits store's `Md5`.
   * @throws Error with the system's code.
   */
  readonly md5 = (path: string, ends: number[]): Promise<string[]> => {
    if (Atomics.load(this.control, 0) === STOP) return Promise.resolve([]);
    const worker = (this.worker ??= this.start());
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve, reject });
      worker.postMessage({ id, path, ends } satisfies Job);
    });
  };

  /** Whether to give way to requests. */
  rest(resting: boolean): void {
    const state = resting ? REST : RUN;
    if (Atomics.load(this.control, 0) === STOP || Atomics.exchange(this.control, 0, state) === state) return;
    Atomics.notify(this.control, 0);
  }

  /** What is under way is given up between two reads; resolves when the thread has ended. */
  async stop(): Promise<void> {
    Atomics.store(this.control, 0, STOP);
    Atomics.notify(this.control, 0);
    const { worker } = this;
    this.worker = undefined;
    for (const { resolve } of this.pending.values()) resolve([]);
    this.pending.clear();
    await worker?.terminate();
  }

  private start(): Worker {
    const worker = new Worker(this.script, { workerData: this.shared, name: 'gos3rve-hash' });
    worker.unref();
    worker.on('message', (answer: Answer) => {
      const asked = this.pending.get(answer.id);
      this.pending.delete(answer.id);
      if ('digests' in answer) asked?.resolve(answer.digests);
      else asked?.reject(Object.assign(new Error(answer.error.message), { code: answer.error.code }));
    });
    worker.on('error', (error) => this.died(worker, error));
    worker.on('exit', () => this.died(worker, new Error('the hashing thread has ended')));
    return worker;
  }

  private died(worker: Worker, error: unknown): void {
    if (this.worker !== worker) return;
    this.worker = undefined;
    const cause = error instanceof Error ? error : new Error(String(error));
    for (const { reject } of this.pending.values()) reject(cause);
    this.pending.clear();
  }
}
