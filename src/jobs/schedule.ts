/** Jobs that a server runs by the clock: one at a time, each stopped when the server stops. */
import type { Log } from '../base/log.js';
import type { LocalStore } from '../store/local.js';
import { didSomething, gc } from './gc.js';

export interface Job {
  name: string;
  /** ms from the start of the server, and from one run to the next. */
  first: number;
  every: number;
  /** Resolves to what is worth a line in the log. */
  run(context: { store: LocalStore; signal: AbortSignal; dryRun: boolean }): Promise<object | undefined>;
}

const MINUTE = 60_000;
const DAY = 1440 * MINUTE;

export const JOBS: readonly Job[] = [
  {
    name: 'gc',
    first: 5 * MINUTE,
    every: 60 * MINUTE,
    async run({ store, signal, dryRun }) {
      const report = await gc(store.collector, { dryRun, signal, olderThan: 7 * DAY, keepGone: 30 * DAY });
      return didSomething(report) ? report : undefined;
    },
  },
];

/** Starts the clock. @returns how to stop it; resolves when the job under way has ended. */
export function startJobs(store: LocalStore, log: Log, jobs: readonly Job[] = JOBS): () => Promise<void> {
  const abort = new AbortController();
  let last: Promise<void> = Promise.resolve();
  const timers = new Map<string, NodeJS.Timeout>();
  const plan = (job: Job, wait: number): void => {
    const timer = setTimeout(() => {
      last = last.then(() => runOne(job)).finally(() => plan(job, job.every));
    }, wait);
    timer.unref();
    timers.set(job.name, timer);
  };
  const runOne = async (job: Job): Promise<void> => {
    if (abort.signal.aborted) return;
    try {
      const report = await job.run({ store, signal: abort.signal, dryRun: false });
      if (report) log.info(`${job.name} has run`, { ...report });
    } catch (error) {
      if (!abort.signal.aborted) log.warn(`${job.name} could not be done`, { error: String(error) });
    }
  };
  for (const job of jobs) plan(job, job.first);
  return async () => {
    abort.abort(new Error('the server stops'));
    for (const timer of timers.values()) clearTimeout(timer);
    await last;
    for (const timer of timers.values()) clearTimeout(timer);
  };
}
