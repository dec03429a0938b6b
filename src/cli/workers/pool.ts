/**
 * A server of several processes, each with a store of its own on the same root. This one, the primary, listens, watches, scans, collects and sends
 * events, and answers requests like the others, its workers: so it serves as soon as a single process would. Between them lies only what all
 * processes of a root share: tree, journal and index.
 *
 * All take connections from the one socket; the kernel wakes whichever is idle. A worker that ends by itself is replaced; what it had not answered its
 * clients try again, and what it had answered is on the disk.
 */
import cluster, { type Worker } from 'node:cluster';
import { fileURLToPath } from 'node:url';
import { S3Error } from '../../base/errors.js';
import type { Log } from '../../base/log.js';
import type { GatewayServer, Socketed } from '../../http/server.js';
import type { Notifier } from '../../jobs/events/targets.js';
import type { Assignment, Question, ToPrimary, ToWorker } from './messages.js';

export interface PoolOptions {
  log: Log;
  /** Takes what workers print, where a line that renews itself stands below; else they write to standard output themselves. */
  screen?: (text: string) => void;
}

/** ms before a worker is replaced, doubled each time until one has lived for a while. */
const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 10_000;
const LIVED_MS = 30_000;
/** To close a store after the last request. */
const GRACE_MS = 5_000;

interface Member {
  busy: boolean;
  /** ms */
  born: number;
}

/** MiB of each half of the young heap, which V8 lets grow to 16 by itself: a request leaves little that outlives it, and each worker has a heap of its own. */
const YOUNG_HEAP = '--max-semi-space-size=8';

export class WorkerPool implements GatewayServer {
  readonly #own: GatewayServer;
  readonly #assignment: Assignment;
  readonly #notifier: Notifier;
  readonly #options: PoolOptions;
  readonly #members = new Map<Worker, Member>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #ending = false;
  #delay = FIRST_DELAY_MS;
  #emptied: (() => void) | undefined;

  /** @param own of this process; it is listened on for all. @param notifier asked by workers too. */
  constructor(own: GatewayServer, assignment: Assignment, notifier: Notifier, options: PoolOptions) {
    this.#own = own;
    this.#assignment = assignment;
    this.#notifier = notifier;
    this.#options = options;
  }

  get socket(): Socketed {
    return this.#own.socket;
  }

  /** Resolves when this process answers; the others follow. */
  async listen(): Promise<{ url: string; port: number }> {
    const at = await this.#own.listen();
    cluster.setupPrimary({
      exec: fileURLToPath(new URL('./worker.js', import.meta.url)),
      args: [],
      execArgv: [...process.execArgv, YOUNG_HEAP],
      stdio: ['ignore', this.#options.screen ? 'pipe' : 'inherit', 'inherit', 'ipc'],
    });
    for (let i = 1; i < this.#assignment.settings.workers; i++) this.#fork();
    return at;
  }

  /** Requests of this process, and how many workers are serving some. */
  get underWay(): number {
    let count = this.#own.underWay;
    for (const { busy } of this.#members.values()) if (busy) count++;
    return count;
  }

  async close(): Promise<void> {
    this.#ending = true;
    for (const timer of this.#timers) clearTimeout(timer);
    for (const worker of this.#members.keys()) worker.process.kill('SIGTERM');
    await Promise.all([this.#own.close(), this.#gone()]);
  }

  async #gone(): Promise<void> {
    if (this.#members.size === 0) return;
    const timer = setTimeout(() => {
      for (const worker of this.#members.keys()) worker.process.kill('SIGKILL');
    }, this.#assignment.settings.drainTimeout + GRACE_MS);
    await new Promise<void>((resolve) => (this.#emptied = resolve));
    clearTimeout(timer);
  }

  #fork(): void {
    const worker = cluster.fork();
    this.#members.set(worker, { busy: false, born: Date.now() });
    const { screen } = this.#options;
    if (screen) worker.process.stdout?.setEncoding('utf8').on('data', byLine(screen));
    worker.on('message', (message: ToPrimary) => this.#hear(worker, message));
    worker.on('error', (error) => this.#options.log.error('a worker could not be reached', { error }));
    worker.once('exit', (code, signal) => this.#ended(worker, signal ?? code));
  }

  #hear(worker: Worker, message: ToPrimary): void {
    const member = this.#members.get(worker);
    switch (message.kind) {
      case 'here':
        if (!this.#ending) send(worker, { kind: 'start', assignment: this.#assignment }, this.#own.socket);
        return;
      case 'failed':
        this.#options.log.error('a worker could not start', { worker: worker.process.pid, error: message.message });
        return;
      case 'busy':
        if (member) member.busy = message.busy;
        return;
      case 'changed':
        this.#notifier.changed();
        return;
      case 'question':
        void this.#answer(worker, message.id, message.question);
    }
  }

  async #answer(worker: Worker, id: number, question: Question): Promise<void> {
    const notifier = this.#notifier;
    try {
      const value = question.method === 'settle' ? await notifier.settle() : 0;
      if (question.method === 'test') await notifier.test(question.target, question.message);
      send(worker, { kind: 'answer', id, value });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      send(worker, { kind: 'refusal', id, message, ...(error instanceof S3Error && { code: error.code }) });
    }
  }

  #ended(worker: Worker, how: string | number): void {
    const lived = Date.now() - (this.#members.get(worker)?.born ?? 0);
    this.#members.delete(worker);
    if (this.#members.size === 0) this.#emptied?.();
    if (this.#ending) return;
    if (lived > LIVED_MS) this.#delay = FIRST_DELAY_MS;
    this.#options.log.error('a worker has ended; another one takes its place', {
      worker: worker.process.pid,
      [typeof how === 'string' ? 'signal' : 'code']: how,
    });
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#fork();
    }, this.#delay);
    this.#timers.add(timer);
    this.#delay = Math.min(this.#delay * 2, MAX_DELAY_MS);
  }
}

/** A worker that is ending cannot be told anything, and need not be. */
function send(worker: Worker, message: ToWorker, socket?: Socketed): void {
  if (worker.isConnected()) worker.send(message, socket, () => undefined);
}

/** Hands on whole lines: those of several workers must not run into each other. */
function byLine(out: (text: string) => void): (chunk: string) => void {
  let rest = '';
  return (chunk) => {
    const end = chunk.lastIndexOf('\n') + 1;
    if (end > 0) out(rest + chunk.slice(0, end));
    rest = end > 0 ? chunk.slice(end) : rest + chunk;
  };
}
