/**
 * Where the digests of a body are computed: in this thread, together with those of other bodies if some come in, or, if it is long enough to be worth the words
 * between the two, in one beside it. That one is started with the first long body, and ended when none has come for a while.
 */
import { availableParallelism } from 'node:os';
import type { ChecksumAlgorithm } from '../base/model.js';
import { DigestThread } from './digest-thread.js';
import { prepareHashes, type BodyHasher } from './hash.js';
import { hashTogether } from './hash-together.js';

/** Announced length from which a body is given to the thread if that is up and has room: what passes between the two costs 0.5 ms a body. */
const LONG_BYTES = 4 << 20;
/** … and from which it waits until the thread is up, some 50 ms. */
const WAITING_BYTES = 16 << 20;
/** Bodies that the thread hashes at the same time; the others are hashed here. */
const MOST_BODIES = 8;
/** The thread ends after so long without a long body. */
const IDLE_MS = 30_000;

let thread: DigestThread | undefined;
/** It could not be started: there will be none. */
let without = availableParallelism() < 2;
let ending: NodeJS.Timeout | undefined;

/** @param size as announced; of a body that may be of any size nobody knows whether it is worth it. */
export async function openBodyHasher(algorithms: readonly ChecksumAlgorithm[], size?: number): Promise<BodyHasher> {
  const beside = size !== undefined && size >= LONG_BYTES ? await besideFor(size) : undefined;
  if (beside) return beside.openBody(algorithms, size);
  await prepareHashes();
  return hashTogether(algorithms, size);
}

/** The thread, if it can take a body now. */
async function besideFor(size: number): Promise<DigestThread | undefined> {
  if (without) return undefined;
  const beside = thread?.hasEnded === false ? thread : start();
  if (!beside) return undefined;
  if (!beside.isReady && (size < WAITING_BYTES || !(await beside.started))) return undefined;
  return beside.bodies < MOST_BODIES && !beside.hasEnded ? beside : undefined;
}

/** @returns undefined if the system has no more threads for us. */
function start(): DigestThread | undefined {
  try {
    thread = new DigestThread(undefined, endLater);
  } catch {
    without = true;
    return undefined;
  }
  void thread.started.then((up) => (without ||= !up));
  endLater();
  return thread;
}

function endLater(): void {
  clearTimeout(ending);
  ending = setTimeout(() => {
    if (!thread || thread.bodies > 0) return;
    void thread.stop();
    thread = undefined;
  }, IDLE_MS).unref();
}
