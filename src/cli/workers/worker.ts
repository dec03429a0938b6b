/** A worker: one process that answers requests. The primary (pool.ts) tells it what to serve, and ends it by SIGTERM; without one it ends. */
import cluster from 'node:cluster';
import { Server } from 'node:net';
import { S3Error, UsageError, isErrorCode } from '../../base/errors.js';
import { openLog, type Log } from '../../base/log.js';
import type { GatewayServer, Socketed } from '../../http/server.js';
import type { Notifier } from '../../jobs/events/targets.js';
import type { LocalStore } from '../../store/open.js';
import { openServedStore, serverOf } from '../gateway.js';
import type { Assignment, Question, ToPrimary, ToWorker } from './messages.js';

/** ms between two words on whether requests are being served. */
const BUSY_MS = 250;

/** Asks the primary what only it can do. */
class Asking implements Notifier {
  readonly #waiting = new Map<number, { answer: (value: number) => void; refuse: (error: Error) => void }>();
  #last = 0;

  constructor(private readonly names: ReadonlySet<string>) {}

  has(target: string): boolean {
    return this.names.has(target);
  }

  async test(target: string, message: object): Promise<void> {
    await this.#ask({ method: 'test', target, message });
  }

  settle(): Promise<number> {
    return this.#ask({ method: 'settle' });
  }

  changed(): void {
    tell({ kind: 'changed' });
  }

  hear(message: ToWorker): void {
    if (message.kind !== 'answer' && message.kind !== 'refusal') return;
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.kind === 'answer') waiting?.answer(message.value);
    else if (isErrorCode(message.code)) waiting?.refuse(new S3Error(message.code, message.message));
    else waiting?.refuse(new Error(message.message));
  }

  #ask(question: Question): Promise<number> {
    return new Promise((answer, refuse) => {
      const id = ++this.#last;
      this.#waiting.set(id, { answer, refuse });
      tell({ kind: 'question', id, question });
    });
  }
}

interface Running {
  log?: Log;
  store?: LocalStore;
  server?: GatewayServer;
}

const running: Running = {};
let asking: Asking | undefined;
let ending = false;

function tell(message: ToPrimary): void {
  if (process.connected) process.send?.(message, () => undefined);
}

async function start({ root, stateDir, settings, credentials, terminal }: Assignment, shared: Socketed): Promise<void> {
  const log = await openLog({
    stdout: { write: (text) => process.stdout.write(text), isTTY: terminal },
    level: settings.quiet && settings.logLevel === 'info' ? 'warn' : settings.logLevel,
    format: settings.logFormat,
  });
  running.log = log;
  const store = await openServedStore({ root, stateDir, settings }, log);
  running.store = store;
  asking = new Asking(new Set(settings.targets.map(({ name }) => name)));
  const server = serverOf(store, settings, log, credentials, asking, shared);
  running.server = server;
  await server.listen();
  let busy = false;
  setInterval(() => {
    if (server.underWay > 0 === busy) return;
    busy = !busy;
    tell({ kind: 'busy', busy });
  }, BUSY_MS).unref();
}

async function end(code = 0): Promise<void> {
  if (ending) return;
  ending = true;
  try {
    await running.server?.close();
    await running.store?.close();
  } catch (error) {
    running.log?.error('the stop of a worker was not clean', { error });
    code = 1;
  }
  running.log?.flush();
  process.exit(code);
}

function failed(error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof UsageError)) running.log?.error('a worker could not start', { error });
  tell({ kind: 'failed', message });
  void end(1);
}

if (cluster.isWorker) {
  // a terminal sends these to all processes; the primary says when to stop
  for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined);
  process.on('SIGTERM', () => void end());
  // else node:cluster exits at once when the primary is gone, with requests under way
  if (cluster.worker) cluster.worker.exitedAfterDisconnect = true;
  // a primary that is told twice to stop does not wait
  process.on('disconnect', () => (ending ? process.exit(1) : void end()));
  process.stdout.on('error', () => undefined);
  process.on('unhandledRejection', (error) => running.log?.error('unhandled rejection (a bug in gos3rve)', { error }));
  process.on('uncaughtException', (error) => {
    running.log?.error('uncaught exception (a bug in gos3rve); stopping', { error });
    running.log?.flush();
    process.exit(1);
  });
  process.on('message', (message: ToWorker, shared: unknown) => {
    if (message.kind !== 'start') asking?.hear(message);
    else if (shared instanceof Server) void start(message.assignment, shared).catch(failed);
    // the primary has stopped listening meanwhile
    else void end();
  });
  tell({ kind: 'here' });
}
