/**
 * A process P is killed while the body of an overflow object that it has replaced, moved or removed still lies there; what another, Q, then does to the same key and
 * is told must hold: with the index as it is, and when it is made anew from the journal.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { BUCKET, body, get, list } from '../suites/store/kit.js';

export const DIST = path.resolve(import.meta.dirname, '../../dist');
const CHILD = path.join(import.meta.dirname, 'superseded-child.js');
const KEY = { bucket: BUCKET, key: 'p//a' };

/** What P was at, and what it would have left at the key. */
export const KILLED = { put: 'P two', again: 'P three', move: 'P third', from: 'first', delete: undefined } as const;
/** Before the old body goes (of a delete, nothing is left to go), or with all of its transaction done but the end. */
export const POINTS = ['discard', 'commit'] as const;
/** Q has the store open all the time or opens it afterwards; the index is kept or lost at the end. */
export const WAYS = ['open, kept', 'open, lost', 'late, lost'] as const;

type Act = (store: LocalStore) => Promise<unknown>;

const put =
  (key: string, text: string): Act =>
  (store) =>
    store.put(BUCKET, key, body(text), { facts: { metadata: { text }, tags: [['by', 'Q']] } });
const remove: Act = (store) => store.delete(BUCKET, KEY.key);

export const ACTS: Record<string, Act> = {
  nothing: () => Promise.resolve(),
  put: put(KEY.key, 'by Q'),
  'two puts': async (store) => {
    await put(KEY.key, 'Q one')(store);
    await put(KEY.key, 'Q two')(store);
  },
  delete: remove,
  'put and delete': async (store) => {
    await put(KEY.key, 'Q one')(store);
    await remove(store);
  },
  'put elsewhere and delete': async (store) => {
    await put('other', 'Q one')(store);
    await remove(store);
  },
  'move to a path': async (store) => {
    if (await isThere(store)) await store.move(KEY, { bucket: BUCKET, key: 'moved' });
  },
  'move aside': async (store) => {
    if (await isThere(store)) await store.move(KEY, { bucket: BUCKET, key: 'q//b' });
  },
  'move of its prefix': async (store) => {
    if (await isThere(store)) await store.movePrefix({ bucket: BUCKET, key: 'p/' }, { bucket: BUCKET, key: 'q/' });
  },
  'put of the source': put('d/c', 'source by Q'),
  complete: async (store) => {
    const { uploadId } = await store.createUpload(BUCKET, KEY.key, { facts: { metadata: { by: 'Q' } } });
    const { etag } = await store.putPart(BUCKET, KEY.key, uploadId, 1, body('part'));
    await store.completeUpload(BUCKET, KEY.key, uploadId, [{ partNumber: 1, etag, checksums: {} }]);
  },
  append: async (store) => {
    const size = (await isThere(store)) ? (await store.head(BUCKET, KEY.key)).size : 0;
    await store.append(BUCKET, KEY.key, size, body(', and Q'), {});
  },
  tags: async (store) => {
    if (await isThere(store)) await store.updateFacts(BUCKET, KEY.key, (facts) => ({ ...facts, tags: [['by', 'Q']] }));
  },
};

function isThere(store: LocalStore): Promise<boolean> {
  return store.head(BUCKET, KEY.key).then(
    () => true,
    () => false,
  );
}

async function view(store: LocalStore): Promise<Map<string, unknown>> {
  const all = new Map<string, unknown>();
  // the first one may end an interrupted move
  await list(store);
  for (const key of await list(store)) {
    const { info, bytes } = await get(store, key);
    all.set(key, { bytes: bytes.toString(), facts: info.facts, etag: info.etag });
  }
  return all;
}

/** Runs one case on a root of its own. */
export async function runs(
  killed: keyof typeof KILLED,
  point: (typeof POINTS)[number],
  act: string,
  way: (typeof WAYS)[number],
): Promise<void> {
  const root = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-superseded-'));
  let store: LocalStore | undefined;
  try {
    await mkdir(path.join(root, BUCKET));
    if (way.startsWith('open')) store = await openStore(root);
    const child = spawn(process.execPath, [CHILD, DIST, root, killed, point], { stdio: 'inherit' });
    expect((await once(child, 'close'))[1]).toBe('SIGKILL');
    store ??= await openStore(root);
    await ACTS[act]?.(store);
    const told = await view(store);
    await store.close();
    store = undefined;
    // twice: what was settled must be found settled
    for (let times = 0; times < 2; times++) {
      if (way.endsWith('lost')) await rm(path.join(root, '.gos3rve/index'), { recursive: true });
      store = await openStore(root);
      const seen = await view(store);
      await store.close();
      store = undefined;
      const free = act === 'nothing' || act === 'put of the source' || (killed === 'from' && act === 'tags');
      if (free && point === 'commit') expectOneOf(killed, told, seen);
      else expect(seen).toEqual(told);
      const bodies = await readdir(path.join(root, '.gos3rve/overflow', BUCKET)).catch(() => []);
      const aside = [...seen.keys()].filter((key) => key.includes('//'));
      expect(bodies).toHaveLength(aside.length);
    }
  } finally {
    await store?.close();
    await rm(root, { recursive: true });
  }
}

/** Nobody was told of P's last operation, and nobody has touched its key since: it has happened, or it has not. */
function expectOneOf(killed: keyof typeof KILLED, told: Map<string, unknown>, seen: Map<string, unknown>): void {
  const bytesOf = (of: Map<string, unknown>): unknown => (of.get(KEY.key) as { bytes: string } | undefined)?.bytes;
  expect([bytesOf(told), KILLED[killed]]).toContain(bytesOf(seen));
  for (const [key, one] of told) if (key !== KEY.key) expect(seen.get(key)).toEqual(one);
}
