/**
 * Every call of node:fs that `gc` and the compaction of the journal make fails once. They may break off with that error, or go on without it; what clients see
 * is then as before or as after, in each of its parts, nothing stays open, and the next run does the rest: it leaves nothing over, with or without the index.
 *
 * GOS3RVE_FULL=1 gives each call each error that the system may give it; without it each third call gets one, by turns.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { S3Error, errno } from '../../src/base/errors.js';
import { gc } from '../../src/jobs/gc.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { COLLECT_AGAIN, OPERATIONS, OPTIONS as PLAIN } from '../store/crash-operations.js';
import { differs, leftIn, opened, rubbishIn, same, staged, stateOf, type State } from '../store/crash-state.js';
import { Injector, openBelow, type Call, type Errno } from './inject.js';

const FULL = process.env.GOS3RVE_FULL === '1';
/** What gos3rve itself has renamed must not need the help of what knows renames of others. */
const OPTIONS = { ...PLAIN, quietMs: 3_600_000 };
const COLLECT = (store: LocalStore): Promise<unknown> => COLLECT_AGAIN.run(store, { ready: gc });
const WORK: Record<string, (store: LocalStore) => Promise<unknown>> = {
  'collect garbage': COLLECT,
  'compact the journal': (store) =>
    OPERATIONS['compact the journal']?.run(store, { ready: undefined }) ?? COLLECT(store),
};
let base = '';
let injector: Injector;
const points = { met: 0, brokenOff: 0 };

beforeAll(async () => {
  base = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-collect-errors-'));
  injector = new Injector(base);
  await injector.install();
});
afterAll(async () => {
  injector.uninstall();
  await rm(base, { recursive: true, force: true });
  console.log(JSON.stringify(points));
});

describe('a call that fails', () => {
  it.each(Object.keys(WORK))('%s', async (name) => {
    const work = WORK[name] ?? COLLECT;
    const first = await staged(base, name);
    const before = await stateOf(first);
    const { calls } = await failing(first, work, 0, 'EIO');
    const after = await stateOf(first);
    const wrong: string[] = [];
    for (const [n, code] of choose(calls)) {
      points.met++;
      const root = await staged(base, name);
      const { error } = await failing(root, work, n, code);
      if (error !== undefined) points.brokenOff++;
      const problem = (await wrongAfter(root, error, before, after)) ?? (await wrongOnceMore(root, after));
      const call = calls[n - 1];
      if (problem !== undefined)
        wrong.push(`${code} in call ${n} of ${calls.length}, ${call?.name} ${call?.on}: ${String(error)}, ${problem}`);
      await rm(root, { recursive: true });
    }
    expect(calls).not.toEqual([]);
    expect(wrong).toEqual([]);
  });
});

function choose(calls: Call[]): [number, Errno][] {
  return calls.flatMap(({ can }, i): [number, Errno][] => {
    if (FULL) return can.map((code): [number, Errno] => [i + 1, code]);
    return i % 3 > 0 ? [] : [[i + 1, can[(i / 3) % can.length] ?? 'EIO']];
  });
}

/** @param n which call fails; 0: none does. */
async function failing(
  root: string,
  work: (store: LocalStore) => Promise<unknown>,
  n: number,
  code: Errno,
): Promise<{ calls: Call[]; error: unknown }> {
  const store = await openStore(root, OPTIONS);
  try {
    injector.arm(root, n, code);
    const error = await work(store).then(
      () => undefined,
      (thrown: unknown) => thrown ?? new Error('nothing was thrown'),
    );
    return { calls: injector.disarm(), error };
  } finally {
    await store.close();
  }
}

/** @returns what is wrong, if anything. */
async function wrongAfter(root: string, error: unknown, before: State, after: State): Promise<string | undefined> {
  const cause = error instanceof S3Error ? error.cause : error;
  if (error !== undefined && !['EIO', 'ENOSPC', 'EMFILE', 'EACCES'].includes(String(errno(cause))))
    return 'which is not what has failed';
  const open = openBelow(root);
  if (open.length > 0) return `still open: ${JSON.stringify(open)}`;
  return differs(await stateOf(root), [before, after], ['one by one']);
}

async function wrongOnceMore(root: string, after: State): Promise<string | undefined> {
  await opened(root, COLLECT);
  const left = await opened(root, (store) => leftIn(store, root));
  const seen = await stateOf(root);
  if (!same(seen.objects, after.objects)) return `once more, it is ${JSON.stringify(seen)}`;
  const rubbish = left ?? (await rubbishIn(root));
  if (rubbish !== undefined) return `once more, ${rubbish}`;
  await rm(path.join(root, '.gos3rve/index'), { recursive: true });
  const again = await stateOf(root);
  return same(again, seen)
    ? undefined
    : `without the index it becomes ${JSON.stringify(again)}, was ${JSON.stringify(seen)}`;
}
