/** The index is disposable, also while a file is made longer in place: readers see the old object or the new one, and an append that is refused leaves nothing. */
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type LocalStore, type StoreOptions } from '../../src/store/open.js';
import { body, refuses } from '../suites/store/kit.js';

const OLD = 2 << 20;
const ADDED = 96 << 20;

let root: string;
let stores: LocalStore[];
const open = async (options: StoreOptions = {}): Promise<LocalStore> => {
  const store = await openStore(root, options);
  stores.push(store);
  return store;
};
const index = (): string => join(root, '.gos3rve/index');
const size = (): number => statSync(join(root, 'b', 'log')).size;

beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'gos3rve-append-')));
  mkdirSync(join(root, 'b'));
  stores = [];
});
afterEach(async () => {
  await Promise.all(stores.map((store) => store.close()));
  rmSync(root, { recursive: true, force: true });
});

/** Of an upload of two parts, so that no hash of its bytes makes its ETag again. */
async function parts(store: LocalStore): Promise<void> {
  const { uploadId } = await store.createUpload('b', 'log', {});
  const { etag } = await store.putPart('b', 'log', uploadId, 1, body(Buffer.alloc(OLD, 'a')));
  await store.completeUpload('b', 'log', uploadId, [{ partNumber: 1, etag, checksums: {} }]);
}

/** What each way of asking tells. */
async function seen(at: LocalStore): Promise<string[]> {
  const head = await at.head('b', 'log');
  const listed = (await at.list('b', { prefix: '', delimiter: '', after: '', max: 10 })).entries[0];
  return [head, listed].map((one) => (one && 'size' in one ? `${one.size} ${one.etag}` : 'missing'));
}

function append(store: LocalStore): Promise<string> {
  return store.append('b', 'log', OLD, body(Buffer.alloc(ADDED, 'b'))).then(
    ({ size, etag }) => `${size} ${etag}`,
    (error: Error & { code?: string }) => error.code ?? String(error),
  );
}

describe('an index that is lost while an object is appended to', { timeout: 60_000 }, () => {
  it.each(['the same', 'another'])('never shows the half of it, to %s store', async (who) => {
    const store = await open({ minPartSize: 1 });
    const reader = who === 'another' ? await open() : store;
    await parts(store);
    const old = (await seen(store))[0];
    let done = false;
    const appended = append(store).finally(() => (done = true));
    while (size() === OLD) await turn();
    rmSync(index(), { recursive: true });
    const observed = new Set<string>();
    while (!done) {
      for (const one of await seen(reader)) observed.add(one);
      await turn();
    }
    const answer = await appended;
    const after = answer === 'SlowDown' ? old : answer;
    expect([...observed].filter((one) => one !== old && one !== after)).toEqual([]);
    for (const at of [store, reader]) expect(await seen(at)).toEqual([after, after]);
    expect(size()).toBe(answer === 'SlowDown' ? OLD : OLD + ADDED);
    const from = size();
    expect((await reader.append('b', 'log', from, body('more'))).size).toBe(from + 4);
  });

  it('again and again leaves nothing of an append that is refused, and all that was known before', async () => {
    const store = await open({ minPartSize: 1, patience: { write: 100 } });
    await parts(store);
    const old = (await seen(store))[0];
    let done = false;
    const appended = append(store).finally(() => (done = true));
    while (size() === OLD) await turn();
    while (!done) {
      rmSync(index(), { recursive: true, force: true });
      await turn();
    }
    const answer = await appended;
    await expect.poll(() => store.live.rebuilding, { timeout: 20_000 }).toBe(false);
    const after = answer === 'SlowDown' ? old : answer;
    expect(await seen(store)).toEqual([after, after]);
    expect(size()).toBe(answer === 'SlowDown' ? OLD : OLD + ADDED);
    if (answer === 'SlowDown') expect(readFileSync(join(root, 'b', 'log')).equals(Buffer.alloc(OLD, 'a'))).toBe(true);
    const from = size();
    expect((await store.append('b', 'log', from, body('more'))).size).toBe(from + 4);
  });
});

it('an append to an object that only the index knows is not told that there is none while the index is made anew', async () => {
  const store = await open();
  await store.append('b', 'over//flow', 0, body('old'));
  const piece = {
    size: 4,
    chunks: (async function* () {
      yield Buffer.from('more');
      await turn();
      rmSync(index(), { recursive: true });
    })(),
  };
  await refuses(store.append('b', 'over//flow', 3, piece), 'SlowDown');
  expect((await store.append('b', 'over//flow', 3, body('more'))).size).toBe(7);
});

it('an index that is made anew by a store that may not write knows the uploads under way', async () => {
  const store = await open({ minPartSize: 1 });
  const { uploadId } = await store.createUpload('b', 'k', {});
  await store.putPart('b', 'k', uploadId, 1, body('part'));
  const reader = await open({ readOnly: true });
  rmSync(index(), { recursive: true });
  await refuses(reader.head('b', 'k'), 'NoSuchKey');
  expect((await store.listParts('b', 'k', uploadId, { after: 0, max: 10 })).parts).toHaveLength(1);
  await store.abortUpload('b', 'k', uploadId);
});
