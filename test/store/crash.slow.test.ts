/**
 * DESIGN rule 3, old whole or new whole: an operation is killed with -9 before and after each of its changes of the file system. Then the store
 * is opened again - with the index as it was left, without it, and by another process that had it open all the time - and must be
 * exactly as before the operation or exactly as after it: objects with their own facts, directories, uploads, settings. `gc` changes none of it and
 * leaves no file that nobody needs; and it is the same when the index is made anew from what `gc` left of the journal.
 *
 * GOS3RVE_FULL=1 kills at every point in every way of opening; without it each point is met once, by turns, and of operations that go much
 * the way of another one each third.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { gc } from '../../src/jobs/gc.js';
import { openStore } from '../../src/store/open.js';
import { AGAIN, DAY, OPERATIONS, OPTIONS, type Operation } from './crash-operations.js';
import { DOOR, die, killsOf, sideBySide, type Kill } from './crash-run.js';
import { differs, leftIn, look, opened, rubbishIn, same, staged, stateOf, type State } from './crash-state.js';

const WAYS = ['index kept', 'index lost', 'other store open'] as const;
type Way = (typeof WAYS)[number];
const ALL = process.env.GOS3RVE_FULL === '1';
const COLLECTS = 'collect garbage';
const GC = { dryRun: false, signal: new AbortController().signal, olderThan: 7 * DAY, keepGone: 30 * DAY };

/** A call, numbered from 1, and how it is met. */
interface Point {
  n: number;
  call: string;
  kill: Kill;
  way: Way;
}
interface Case {
  name: string;
  operation: Operation;
  before: State;
  after: State;
}

describe.skipIf(!existsSync(DOOR))('after kill -9', () => {
  let base = '';
  let met = 0;
  beforeAll(async () => {
    base = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-crash-'));
  });
  afterAll(async () => {
    await rm(base, { recursive: true, force: true });
    console.log(`killed at ${met} points`);
  });

  it.each(Object.entries(OPERATIONS))('%s is done whole or not at all', async (name, operation) => {
    const before = await stateOf(await staged(base, name));
    const finished = await staged(base, name);
    const calls = (await die(finished, name, 'before', 0)) ?? [];
    const after = await stateOf(finished);
    expect(calls).not.toEqual([]);
    expect(same(after, before)).toBe(operation.unseen === true);
    const wrong: string[] = [];
    await sideBySide(points(calls, operation), async (point) => {
      met++;
      const root = await staged(base, name);
      const problem = await crash(root, { name, operation, before, after }, point);
      if (problem !== undefined)
        wrong.push(`${point.kill} ${point.n} (${point.call}) of ${calls.length}, ${point.way}: ${problem}`);
      await rm(root, { recursive: true });
    });
    expect(wrong).toEqual([]);
  });
});

/** Every call; before, after and, if it writes, in the middle: all of these, or one by turns. */
function points(calls: string[], { sampled = false }: Operation): Point[] {
  const out: Point[] = [];
  for (const [i, call] of calls.entries()) {
    const kills = killsOf(call);
    const kill = kills[i % kills.length] ?? 'before';
    const way = WAYS[(i + Math.floor(i / 3)) % WAYS.length] ?? 'index kept';
    if (ALL) for (const one of kills) out.push(...WAYS.map((each) => ({ n: i + 1, call, kill: one, way: each })));
    else if (!sampled || i % 3 === 0) out.push({ n: i + 1, call, kill, way });
  }
  return out;
}

/** @returns what is wrong, if anything. */
async function crash(root: string, one: Case, { n, kill, way }: Point): Promise<string | undefined> {
  const { name, operation, before, after } = one;
  const other = way === 'other store open' ? await openStore(root, OPTIONS) : undefined;
  let allowed: State[];
  try {
    const answered = (await die(root, name, kill, n)) !== undefined;
    allowed = answered ? [after] : [before, after];
    if (other) {
      const { objects, buckets } = await look(other, root);
      // the first look at the new name takes the old one away
      const twice = operation.between?.includes('both names') && objects.length === 2;
      const seen = (state: State): State => ({ ...state, objects, buckets });
      if (
        !twice &&
        differs(seen(after), allowed, operation.between) &&
        differs(seen(before), allowed, operation.between)
      )
        return `the other store sees ${JSON.stringify(objects)}`;
    }
  } finally {
    await other?.close();
  }
  if (way === 'index lost') await rm(path.join(root, '.gos3rve/index'), { recursive: true });
  return settled(root, one, allowed);
}

/** Opens the root again, has garbage collected, and loses the index: it must be as allowed and stay so. */
async function settled(root: string, one: Case, allowed: State[]): Promise<string | undefined> {
  const { name, operation, after } = one;
  const first = await opened(root, async (store) => {
    const wrong = differs(await look(store, root), allowed, operation.between) ?? (await leftIn(store, root));
    if (wrong === undefined && name !== COLLECTS) await gc(store.collector, GC);
    return wrong;
  });
  if (first !== undefined) return first;
  if (name === COLLECTS) await die(root, AGAIN, 'before', 0);
  const [goals, between] =
    name === COLLECTS ? [[after], []] : [allowed, operation.between?.filter((way) => way.endsWith('one by one'))];
  let seen: State | undefined;
  const second = await opened(root, async (store) => {
    seen = await look(store, root);
    return differs(seen, goals, between) ?? (await leftIn(store, root));
  });
  const rubbish = second ?? (await rubbishIn(root));
  if (rubbish !== undefined) return `after gc ${rubbish}`;
  await rm(path.join(root, '.gos3rve/index'), { recursive: true });
  const again = await stateOf(root);
  if (same(again, seen)) return undefined;
  return `without the index it becomes ${JSON.stringify(again)}, was ${JSON.stringify(seen)}`;
}
