/**
 * DESIGN rule 3, old whole or new whole: an operation is killed with -9 before and after each of its changes of the file system. Then the store
 * is opened again - with the index as it was left, without it, and by another process that had it open all the time - and must be
 * exactly as before the operation or exactly as after it: objects with their own facts, directories, uploads, settings; nothing left over.
 *
 * GOS3RVE_CRASH=all kills at every point in every way of opening; without it each point is met once, by turns.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openStore } from '../../src/store/open.js';
import { OPERATIONS, OPTIONS } from './crash-operations.js';
import { differs, isStepwise, leftOver, look, same, staged, stateOf, type State } from './crash-state.js';

const DOOR = path.resolve(import.meta.dirname, '../../dist/store/open.js');
const CHILD = path.join(import.meta.dirname, 'crash-child.js');
const WAYS = ['index kept', 'index lost', 'other store open'] as const;
type Way = (typeof WAYS)[number];
const KILLS = ['before', 'after', 'torn'] as const;
type Kill = (typeof KILLS)[number];
const ALL = process.env.GOS3RVE_CRASH === 'all';

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

  it.each(Object.keys(OPERATIONS))('%s is done whole or not at all', async (name) => {
    const before = await stateOf(await staged(base, name));
    const finished = await staged(base, name);
    const calls = (await die(finished, name, 'before', 0)) ?? [];
    const after = await stateOf(finished);
    expect(calls).not.toEqual([]);
    expect(after).not.toEqual(before);
    const wrong: string[] = [];
    for (const [n, kill, way] of points(calls)) {
      met++;
      const root = await staged(base, name);
      const problem = await crash(root, name, n, kill, way, before, after);
      if (problem !== undefined) wrong.push(`${kill} ${n} (${calls[n - 1]}) of ${calls.length}, ${way}: ${problem}`);
      await rm(root, { recursive: true });
    }
    expect(wrong).toEqual([]);
  });
});

/** Every call; before, after and, if it writes, in the middle: all of these, or one by turns. */
function points(calls: string[]): [number, Kill, Way][] {
  const out: [number, Kill, Way][] = [];
  for (const [i, call] of calls.entries()) {
    const kills = call.startsWith('write') ? KILLS : KILLS.slice(0, 2);
    const kill = kills[i % kills.length] ?? 'before';
    const way = WAYS[(i + Math.floor(i / 3)) % WAYS.length] ?? 'index kept';
    if (ALL) for (const one of kills) out.push(...WAYS.map((each): [number, Kill, Way] => [i + 1, one, each]));
    else out.push([i + 1, kill, way]);
  }
  return out;
}

/** Runs the operation in a child until it dies. @returns the names of its calls if it answered. */
async function die(root: string, name: string, kill: Kill, n: number): Promise<string[] | undefined> {
  const child = spawn(process.execPath, [CHILD, DOOR, root, name, kill, String(n)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let errors = '';
  child.stdout.on('data', (chunk) => (out += String(chunk)));
  child.stderr.on('data', (chunk) => (errors += String(chunk)));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (signal !== 'SIGKILL') throw new Error(`the child ended by itself (${code ?? signal}): ${errors}`);
  return out.startsWith('done ') ? out.slice(5).trim().split(' ') : undefined;
}

/** @returns what is wrong, if anything. */
async function crash(
  root: string,
  name: string,
  n: number,
  kill: Kill,
  way: Way,
  before: State,
  after: State,
): Promise<string | undefined> {
  const other = way === 'other store open' ? await openStore(root, OPTIONS) : undefined;
  try {
    const answered = (await die(root, name, kill, n)) !== undefined;
    const allowed = answered ? [after] : [before, after];
    if (other) {
      const { objects, buckets } = await look(other, root);
      // the first look at the new name takes the old one away
      const twice = OPERATIONS[name]?.between?.includes('both names') && objects.length === 2;
      const stepwise = OPERATIONS[name]?.between?.includes('objects one by one');
      if (
        !twice &&
        !(stepwise && isStepwise({ objects }, before, after)) &&
        !allowed.some((state) => same({ objects, buckets }, { objects: state.objects, buckets: state.buckets }))
      )
        return `the other store sees ${JSON.stringify(objects)}`;
    }
    if (way === 'index lost') await rm(path.join(root, '.gos3rve/index'), { recursive: true });
    let seen = await stateOf(root);
    const problem = differs(seen, allowed, OPERATIONS[name]?.between ?? []) ?? (await leftOver(root));
    if (problem !== undefined) return problem;
    // and it stays so, also when the index is made anew afterwards
    await rm(path.join(root, '.gos3rve/index'), { recursive: true });
    const again = await stateOf(root);
    if (!same(again, seen)) return `without the index it becomes ${JSON.stringify(again)}, was ${JSON.stringify(seen)}`;
    seen = again;
    return undefined;
  } finally {
    await other?.close();
  }
}
