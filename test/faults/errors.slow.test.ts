/**
 * Every call of node:fs that an operation makes fails once with EIO, and with ENOSPC, EMFILE and EACCES where the system may give them. The
 * answer must be the right S3 error (or the operation succeeds all the same), the objects as before or as after, nothing leaked; and the store goes on.
 *
 * GOS3RVE_FULL=1 gives each call each error; without it each call gets one, by turns, and of operations that go much the way of another one each
 * third.
 */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { S3Error, type ErrorCode } from '../../src/base/errors.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { BUCKET, OPERATIONS, OPTIONS as PLAIN, uploadsOf, type Operation } from '../store/crash-operations.js';
import { differs, isStepwise, look, same, staged, stateOf, type State } from '../store/crash-state.js';
import { get, list, put } from '../suites/store/kit.js';
import { Injector, openBelow, type Call, type Errno } from './inject.js';

const FULL = process.env.GOS3RVE_FULL === '1';
const EXPECTED: Record<Errno, ErrorCode[]> = {
  EIO: ['InternalError', 'ServiceUnavailable'],
  ENOSPC: ['InsufficientStorage'],
  EMFILE: ['SlowDown'],
  EACCES: ['AccessDenied'],
};
/** Ms after which an operation is taken to hang. */
const PATIENCE = 20_000;

const READS: Record<string, Operation> = {
  'read an object': {
    setup: (store) => put(store, 'a/k', 'x'.repeat(100_000)),
    run: (store) => get(store, 'a/k'),
  },
  'read an overflow object': {
    setup: (store) => put(store, 'x//k', 'bytes'),
    run: (store) => get(store, 'x//k'),
  },
  'look at an object': { setup: (store) => put(store, 'a/k'), run: (store) => store.head(BUCKET, 'a/k') },
  'list objects': {
    setup: async (store) => {
      for (const key of ['a/1', 'a/2', 'b/c/3', 'x//y', 'm/']) await put(store, key, key === 'm/' ? '' : key);
    },
    run: (store) => list(store),
  },
  'list uploads': {
    setup: (store) => store.createUpload(BUCKET, 'multi', {}),
    run: (store) => uploadsOf(store),
  },
  'list buckets': { setup: async () => undefined, run: (store) => store.listBuckets() },
};

/** Those that need no more than a store. */
const plain = Object.entries(OPERATIONS).filter(([, one]) => !one.ready && one.unseen !== true);
const all: Record<string, Operation> = { ...Object.fromEntries(plain), ...READS };
/** What gos3rve itself has renamed must not need the help of what knows renames of others. */
const OPTIONS = { ...PLAIN, quietMs: 3_600_000 };
const NOTHING = { ready: undefined };
let base = '';
let injector: Injector;
const points = { met: 0, refused: 0, done: 0, failedButDone: 0 };

beforeAll(async () => {
  base = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-errors-'));
  injector = new Injector(base);
  await injector.install();
});
afterAll(async () => {
  injector.uninstall();
  await rm(base, { recursive: true, force: true });
  console.log(JSON.stringify(points));
});

describe('a call that fails', () => {
  it.each(Object.keys(all))('%s', async (name) => {
    const operation = all[name];
    if (!operation) throw new Error(name);
    const first = await stage(operation);
    const before = await stateOf(first);
    const store = await openStore(first, OPTIONS);
    injector.arm(first, 0, 'EIO');
    await operation.run(store, NOTHING);
    const calls = injector.disarm();
    await store.close();
    const after = await stateOf(first);
    expect(calls).not.toEqual([]);
    const wrong: string[] = [];
    for (const [n, code] of choose(calls, operation)) {
      const problem = await failing(operation, n, code, before, after);
      const call = calls[n - 1];
      if (problem !== undefined)
        wrong.push(`${code} in call ${n} of ${calls.length}, ${call?.name} ${call?.on}: ${problem}`);
    }
    expect(wrong).toEqual([]);
  });
});

function choose(calls: Call[], { sampled = false }: Operation): [number, Errno][] {
  return calls.flatMap(({ can }, i): [number, Errno][] =>
    FULL
      ? can.map((code): [number, Errno] => [i + 1, code])
      : sampled && i % 3 > 0
        ? []
        : [[i + 1, can[(sampled ? i / 3 : i) % can.length] ?? 'EIO']],
  );
}

async function stage(operation: Operation): Promise<string> {
  const root = await staged(base, '');
  const store = await openStore(root, OPTIONS);
  await operation.setup(store, root);
  await store.close();
  return root;
}

/** @returns what is wrong, if anything. */
async function failing(
  operation: Operation,
  n: number,
  code: Errno,
  before: State,
  after: State,
): Promise<string | undefined> {
  points.met++;
  const root = await stage(operation);
  const store = await openStore(root, OPTIONS);
  let failed: Call | undefined;
  try {
    injector.arm(root, n, code);
    const error = await outcome(operation.run(store, NOTHING));
    failed = injector.disarm()[n - 1];
    const seen = await look(store, root);
    const problem =
      wrongAnswer(error, injector.code, failed) ??
      wrongState(seen, failed, error, operation, before, after) ??
      (await leaks(root, failed)) ??
      (await goesOn(store, root, failed, operation, after));
    if (problem !== undefined) return problem;
  } finally {
    await outcome(store.close());
  }
  const left = openBelow(root);
  if (left.length > 0) return `still open after the store was closed: ${JSON.stringify(left)}`;
  await rm(path.join(root, '.gos3rve/index'), { recursive: true });
  const again = await stateOf(root);
  if (!isDone(again, failed, operation, after)) return `without the index it becomes ${JSON.stringify(again)}`;
  await rm(root, { recursive: true });
  return undefined;
}

function wrongAnswer(error: unknown, code: Errno, failed: Call | undefined): string | undefined {
  if (error === undefined) return undefined;
  // whoever reads the message is the operator, not the client
  if (failed?.name === 'readFileSync' && error instanceof S3Error && error.code === 'InternalError') return undefined;
  if (error instanceof S3Error && EXPECTED[code].includes(error.code)) return undefined;
  return `the answer is ${shown(error)}`;
}

function wrongState(
  seen: State,
  failed: Call | undefined,
  error: unknown,
  operation: Operation,
  before: State,
  after: State,
): string | undefined {
  const undone = same(excuse(seen, failed), excuse(before, failed));
  if (error === undefined) points.done++;
  else if (undone) points.refused++;
  else points.failedButDone++;
  if (error !== undefined && undone) return undefined;
  // a completion whose upload could not be removed is completed again
  if (error !== undefined && same({ ...seen, uploads: [] }, { ...after, uploads: [] })) return undefined;
  // what fails in the midst of several steps has done some of them
  const stepwise = operation.between?.includes('objects one by one') === true && isStepwise(seen, before, after);
  if (error !== undefined && stepwise) return undefined;
  return isDone(seen, failed, operation, after) ? undefined : `${shown(error)}, and it is ${JSON.stringify(seen)}`;
}

function isDone(seen: State, failed: Call | undefined, operation: Operation, after: State): boolean {
  const excused = excuse(after, failed);
  // what is not known to be on the disk supersedes nothing: the older body stays, and is quarantined by `gc`
  const kept = operation.supersedes === true && failed !== undefined && seen.overflow === after.overflow + 1;
  const told = kept ? { ...seen, overflow: after.overflow } : seen;
  return differs(excuse(told, failed), [excused, { ...excused }], operation.between ?? []) === undefined;
}

/** The operation can be done now, if it was not; either way it is as if nothing had failed. */
async function goesOn(
  store: LocalStore,
  root: string,
  failed: Call | undefined,
  operation: Operation,
  after: State,
): Promise<string | undefined> {
  if (!isDone(await look(store, root), failed, operation, after)) {
    const error = await outcome(operation.run(store, NOTHING));
    if (error !== undefined) return `once more, it fails: ${shown(error)}`;
  }
  const seen = await look(store, root);
  return isDone(seen, failed, operation, after) ? undefined : `once more, it is ${JSON.stringify(seen)}`;
}

/** A file or directory that could not be removed stays until `gc`. */
function excuse(seen: State, failed: Call | undefined): State {
  if (failed === undefined) return seen;
  const folder = /^(rmdir|opendir|open|lstat|readdir)/.test(failed.name);
  const overflow = failed.name === 'unlinkSync' && failed.on.includes('/overflow/');
  return {
    ...seen,
    ...(folder && { tree: Object.fromEntries(Object.entries(seen.tree).filter(([, what]) => what !== 'directory')) }),
    ...(overflow && { overflow: 0 }),
  };
}

/** What was thrown, if anything was. */
async function outcome(work: Promise<unknown>): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((resolve) => (timer = setTimeout(() => resolve(new Error('it hangs')), PATIENCE)));
  const result = work.then(
    () => undefined,
    (error: unknown) => error ?? new Error('nothing was thrown'),
  );
  return Promise.race([result, late]).finally(() => clearTimeout(timer));
}

async function leaks(root: string, failed: Call | undefined): Promise<string | undefined> {
  // evicted directories are closed after the turn
  await new Promise((resolve) => setImmediate(resolve));
  const ours = /^\.gos3rve\/(journal|index|staging\/clock|clock)\b/;
  const files = openBelow(root).filter(({ name, isDirectory }) => !isDirectory && !ours.test(name));
  if (files.length > 0) return `still open: ${JSON.stringify(files)}`;
  const directories = openBelow(root).flatMap(({ name, isDirectory }) => (isDirectory ? [name] : []));
  // those that are gone wait in the cache of directories, and so do those that were renamed, under their old path
  const times = (name: string): number => directories.filter((one) => one === name).length;
  const twice = directories.filter((name) => !name.endsWith(' (deleted)') && times(name) > 2);
  if (twice.length > 0) return `open again and again: ${twice.join(', ')}`;
  const staging = path.join(root, '.gos3rve/staging');
  const left = (await readdir(staging)).filter((name) => name !== 'clock' && name !== 'uploads');
  const isFree = /^(unlink|rm)/.test(failed?.name ?? '') && failed?.on.includes('/staging/');
  return left.length > 0 && !isFree ? `left in staging: ${left.join(' ')}` : undefined;
}

function shown(error: unknown): string {
  return error instanceof Error ? [error, error.cause ?? ''].map(String).join(' ') : 'no Error';
}
