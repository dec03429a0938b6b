/**
 * A server of several processes: workers answer requests, each with a store of its own on the same root; this process, the primary, watches, scans,
 * collects and sends events. Between them lies only what all processes of a root share: tree, journal and index.
 *
 * Connections are taken by whichever worker the kernel wakes (`SCHED_NONE`). A worker that ends by itself is replaced; what it had not answered its
 * clients try again, and what it had answered is on the disk.
 */
import cluster, { type Worker } from 'node:cluster';
import { createServer, type AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { S3Error, UsageError } from '../../base/errors.js';
import type { Log } from '../../base/log.js';
import type { GatewayServer } from '../../http/server.js';
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
  /** It hears what it is told. */
  here: boolean;
  busy: boolean;
  /** ms */
  born: number;
}

/** Where the pool stands: waiting for its first worker, serving, or ending. */
type Phase =
  { listening: (at: { url: string; port: number }) => void; failed: (error: Error) => void } | 'up' | 'ending';

export class WorkerPool implements GatewayServer {
  readonly #assignment: Assignment;
  readonly #options: PoolOptions;
  readonly #members = new Map<Worker, Member>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #up: Promise<{ url: string; port: number }>;
  readonly #notifier: Promise<Notifier>;
  #resolveNotifier: (notifier: Notifier) => void = () => undefined;
  #phase: Phase;
  /** undefined until workers may begin. */
  #start: ToWorker | undefined;
  #delay = FIRST_DELAY_MS;
  #emptied: (() => void) | undefined;

  /** Starts a first process, which loads its code and waits for {@link listen}: until it is ready it has the processor for itself. */
  constructor(assignment: Assignment, options: PoolOptions) {
    this.#assignment = assignment;
    this.#options = options;
    let phase: Phase = 'up';
    this.#up = new Promise((listening, failed) => (phase = { listening, failed }));
    // it may fail before anybody waits
    this.#up.catch(() => undefined);
    this.#phase = phase;
    this.#notifier = new Promise((resolve) => (this.#resolveNotifier = resolve));
    cluster.schedulingPolicy = cluster.SCHED_NONE;
    cluster.setupPrimary({
      exec: fileURLToPath(new URL('./worker.js', import.meta.url)),
      args: [],
      stdio: ['ignore', options.screen ? 'pipe' : 'inherit', 'inherit', 'ipc'],
    });
    this.#fork();
  }

  /** What workers ask of the primary is answered from now on; it waits until then. */
  serve(notifier: Notifier): void {
    this.#resolveNotifier(notifier);
  }

  async listen(): Promise<{ url: string; port: number }> {
    const { settings } = this.#assignment;
    // of port 0 each generation of workers would take another one
    const port = settings.port === 0 ? await freePort(settings.host) : settings.port;
    this.#start = { kind: 'start', assignment: { ...this.#assignment, settings: { ...settings, port } } };
    for (const [worker, { here }] of this.#members) if (here) send(worker, this.#start);
    return this.#up;
  }

  /** How many workers are serving requests. */
  get underWay(): number {
    let count = 0;
    for (const { busy } of this.#members.values()) if (busy) count++;
    return count;
  }

  async close(): Promise<void> {
    this.#phase = 'ending';
    for (const timer of this.#timers) clearTimeout(timer);
    for (const worker of this.#members.keys()) worker.process.kill('SIGTERM');
    if (this.#members.size === 0) return;
    const timer = setTimeout(() => {
      for (const worker of this.#members.keys()) worker.process.kill('SIGKILL');
    }, this.#assignment.settings.drainTimeout + GRACE_MS);
    await new Promise<void>((resolve) => (this.#emptied = resolve));
    clearTimeout(timer);
  }

  #fork(): void {
    const worker = cluster.fork();
    this.#members.set(worker, { here: false, busy: false, born: Date.now() });
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
        if (member) member.here = true;
        if (this.#start) send(worker, this.#start);
        return;
      case 'ready':
        if (typeof this.#phase !== 'object') return;
        this.#phase.listening(message);
        this.#phase = 'up';
        for (let i = 1; i < this.#assignment.settings.workers; i++) this.#fork();
        return;
      case 'failed':
        if (typeof this.#phase !== 'object') return;
        this.#phase.failed(new UsageError(message.message, message.exitCode));
        this.#phase = 'ending';
        return;
      case 'busy':
        if (member) member.busy = message.busy;
        return;
      case 'changed':
        void this.#notifier.then((notifier) => notifier.changed());
        return;
      case 'question':
        void this.#answer(worker, message.id, message.question);
    }
  }

  async #answer(worker: Worker, id: number, question: Question): Promise<void> {
    const notifier = await this.#notifier;
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
    if (this.#phase === 'ending') return;
    if (typeof this.#phase === 'object') {
      this.#phase.failed(new UsageError(`a worker ended (${how}) before it could serve`, 1));
      return;
    }
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

/** A port that nobody listens on now; 0 where `host` is no address of ours, of which the workers will complain. */
async function freePort(host: string): Promise<number> {
  const probe = createServer();
  return new Promise((resolve) => {
    probe.once('error', () => resolve(0));
    probe.listen(0, host, () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}

/** A worker that is ending cannot be told anything, and need not be. */
function send(worker: Worker, message: ToWorker): void {
  if (worker.isConnected()) worker.send(message, () => undefined);
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
