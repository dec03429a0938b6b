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
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ObjectInfo, Store } from '../../src/store/contract.js';
import { openStore } from '../../src/store/open.js';
import { get, list, picture } from '../suites/store/kit.js';
import { BUCKET, OPERATIONS, OPTIONS, uploadsOf } from './crash-operations.js';

const DOOR = path.resolve(import.meta.dirname, '../../dist/store/open.js');
const CHILD = path.join(import.meta.dirname, 'crash-child.js');
const WAYS = ['index kept', 'index lost', 'other store open'] as const;
type Way = (typeof WAYS)[number];
const KILLS = ['before', 'after', 'torn'] as const;
type Kill = (typeof KILLS)[number];
const ALL = process.env.GOS3RVE_CRASH === 'all';

/** All that a client or the owner of the disk can see. */
interface State {
  objects: unknown[];
  uploads: unknown[];
  buckets: unknown[];
  tree: Record<string, string>;
  overflow: number;
}

describe.skipIf(!existsSync(DOOR))('after kill -9', () => {
  let base = '';
  beforeAll(async () => {
    base = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-crash-'));
  });
  afterAll(async () => {
    await rm(base, { recursive: true, force: true });
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

/** A root on which the operation can run. */
async function staged(base: string, name: string): Promise<string> {
  const root = await mkdtemp(path.join(base, 'root-'));
  await opened(root, async (store) => {
    await store.createBucket(BUCKET, {});
    await OPERATIONS[name]?.setup(store);
  });
  return root;
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
      if (
        !twice &&
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

/** @param between in which ways an interrupted operation may rightly be half done. */
function differs(seen: State, allowed: State[], between: readonly string[]): string | undefined {
  if (allowed.some((state) => same(seen, state))) return undefined;
  const [before, after] = [allowed[0], allowed.at(-1)];
  if (before && after && before !== after) {
    if (
      between.includes('directories left') &&
      same({ ...seen, tree: {} }, { ...after, tree: {} }) &&
      filesOf(seen) === filesOf(after)
    )
      return undefined;
  }
  return `it is ${JSON.stringify(seen)}`;
}

function filesOf({ tree }: State): string {
  return JSON.stringify(Object.entries(tree).filter(([, what]) => what !== 'directory'));
}

/** Staging files and folders of uploads that nobody knows. */
async function leftOver(root: string): Promise<string | undefined> {
  const staging = path.join(root, '.gos3rve/staging');
  const names = (await readdir(staging)).filter((name) => name !== 'clock' && name !== 'uploads');
  if (names.length > 0) return `left in staging: ${names.join(' ')}`;
  const known = await opened(root, (store) => uploadsOf(store));
  const ids = new Set(known.map((entry) => ('uploadId' in entry ? entry.uploadId : '')));
  const folders = existsSync(path.join(staging, 'uploads')) ? await readdir(path.join(staging, 'uploads')) : [];
  const stray = folders.filter((id) => !ids.has(id));
  if (stray.length > 0) return `uploads left in staging: ${stray.join(' ')}`;
  for (const id of folders) {
    const parts = (await readdir(path.join(staging, 'uploads', id))).filter((name) => name !== 'upload.json');
    const entry = known.find((one) => 'uploadId' in one && one.uploadId === id);
    const key = entry && 'key' in entry ? entry.key : '';
    const listed = await opened(root, (store) => store.listParts(BUCKET, key, id, { after: 0, max: 10 }));
    if (parts.length !== listed.parts.length) return `files of parts: ${parts.join(' ')}`;
  }
  return undefined;
}

async function opened<T>(root: string, work: (store: Store) => Promise<T>): Promise<T> {
  const store = await openStore(root, OPTIONS);
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

function stateOf(root: string): Promise<State> {
  return opened(root, (store) => look(store, root));
}

async function look(store: Store, root: string): Promise<State> {
  const objects = [];
  for (const key of await list(store)) objects.push(await objectOf(store, key));
  const uploads = [];
  for (const entry of await uploadsOf(store)) {
    if (!('uploadId' in entry)) continue;
    const { parts } = await store.listParts(BUCKET, entry.key, entry.uploadId, { after: 0, max: 10 });
    uploads.push([entry.key, entry.facts, parts.map(({ partNumber, etag, size }) => [partNumber, etag, size])]);
  }
  const { buckets } = await store.listBuckets();
  return {
    objects,
    uploads,
    buckets: buckets.map(({ name, settings: { created: _created, ...settings } }) => [name, settings]),
    tree: await picture(root),
    overflow: await countOverflow(root),
  };
}

async function objectOf(store: Store, key: string): Promise<unknown> {
  const head = await store.head(BUCKET, key);
  const { info, bytes } = await get(store, key);
  expect(plain(head)).toEqual(plain(info));
  return { ...plain(info), bytes: bytes.toString() };
}

function plain({ lastModified: _mtime, aliases: _aliases, ...rest }: ObjectInfo): object {
  return rest;
}

async function countOverflow(root: string): Promise<number> {
  const folder = path.join(root, '.gos3rve/overflow');
  if (!existsSync(folder)) return 0;
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).length;
}

function same(a: unknown, b: unknown): boolean {
  return canonical(a) === canonical(b);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
