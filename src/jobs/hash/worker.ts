/**
 * The thread that computes MD5: one file at a time, at the lowest priority that the system has, piece by piece. Says nothing but answers to
 * {@link Job}; told to rest or to stop through shared memory, between two reads.
 */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, readlinkSync } from 'node:fs';
import { setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { RUN, STOP, type Answer, type Job } from './protocol.js';

const CHUNK_BYTES = 1 << 20;
const LOWEST_PRIORITY = 19;
/** While requests are busy, this many times as long as the work took is rested. */
const REST_FACTOR = 3;

const control = new Int32Array(workerData as SharedArrayBuffer);
const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);

lowerPriority();
parentPort?.on('message', (job: Job) => parentPort?.postMessage(perform(job)));

/** Linux counts threads as processes here; elsewhere the whole process would be slowed down. */
function lowerPriority(): void {
  if (process.platform !== 'linux') return;
  try {
    const thread = Number(readlinkSync('/proc/thread-self').split('/').at(-1));
    if (thread > 0 && thread !== process.pid) setPriority(thread, LOWEST_PRIORITY);
  } catch {
    // no procfs, or not allowed: it gives way to requests all the same
  }
}

function perform({ id, path, ends }: Job): Answer {
  try {
    return { id, digests: digestsOf(path, ends) };
  } catch (error) {
    const { code = 'EIO', message } = error as NodeJS.ErrnoException;
    return { id, error: { code, message } };
  }
}

/** MD5 of each piece; fewer if told to stop, or if the file is shorter. */
function digestsOf(path: string, ends: number[]): string[] {
  const fd = openSync(path, 'r');
  try {
    const digests: string[] = [];
    let at = 0;
    for (const end of ends) {
      const md5 = createHash('md5');
      while (at < end) {
        const began = performance.now();
        const bytes = readSync(fd, buffer, 0, Math.min(CHUNK_BYTES, end - at), at);
        if (bytes === 0) return digests;
        md5.update(buffer.subarray(0, bytes));
        at += bytes;
        if (!goOn(performance.now() - began)) return digests;
      }
      digests.push(md5.digest('hex'));
    }
    return digests;
  } finally {
    closeSync(fd);
  }
}

function goOn(workedMs: number): boolean {
  const state = Atomics.load(control, 0);
  if (state === RUN) return true;
  if (state !== STOP) Atomics.wait(control, 0, state, workedMs * REST_FACTOR);
  return Atomics.load(control, 0) !== STOP;
}
