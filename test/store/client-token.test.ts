/** A move that is asked for by a client token is done once, and known as done for a day: to all processes, without the index, and after a compaction. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { BUCKET, list, put, refuses } from '../suites/store/kit.js';

let root: string;
let store: LocalStore;
const at = (...names: string[]): string => path.join(root, BUCKET, ...names);
const ref = (key: string): { bucket: string; key: string } => ({ bucket: BUCKET, key });

beforeEach(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-token-'));
  store = await openStore(root);
  await store.createBucket(BUCKET, {});
});
afterEach(async () => {
  vi.useRealTimers();
  await store.close();
  fs.rmSync(root, { recursive: true });
});

async function compacted(): Promise<void> {
  await store.close();
  store = await openStore(root);
  const { kept } = await store.collector.journal(1, { dryRun: false, signal: new AbortController().signal });
  expect(kept).toEqual([]);
}

async function withoutIndex(): Promise<void> {
  await store.close();
  fs.rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
  store = await openStore(root);
}

const token = { token: 'token-1', request: 'a to b' };

describe.each<[string, string, string, () => Promise<unknown>]>([
  ['a file', 'from', 'to', () => put(store, 'from')],
  ['an overflow object', 'a//from', 'b//to', () => put(store, 'a//from')],
  ['a marker', 'from/', 'to/', () => put(store, 'from/', '')],
  [
    'a marker that can be none there',
    'from/',
    'file/to/',
    () => put(store, 'file').then(() => put(store, 'from/', '')),
  ],
  [
    'a link that becomes a file',
    'dir/from',
    'to',
    async () => {
      await put(store, 'dir/other');
      fs.symlinkSync('other', at('dir/from'));
    },
  ],
])('a client token, by which %s was moved', (_what, from, to, prepare) => {
  const move = (): Promise<unknown> => store.move(ref(from), ref(to), { clientToken: token });
  const wasMoved = (request = token.request): Promise<boolean> =>
    store.wasMoved(ref(from), ref(to), { ...token, request });

  it('is known to another process, without the index, and after compactions', async () => {
    expect(await wasMoved()).toBe(false);
    await refuses(move(), 'NoSuchKey');
    expect(await wasMoved()).toBe(false);
    await prepare();
    await move();
    const after = await list(store);
    const other = await openStore(root);
    expect(await other.wasMoved(ref(from), ref(to), token)).toBe(true);
    await refuses(other.wasMoved(ref(from), ref(to), { ...token, request: 'another' }), 'IdempotencyParameterMismatch');
    await prepare();
    await refuses(other.move(ref(from), ref(to), { clientToken: token }), 'OperationAborted');
    await other.close();
    for (const change of [withoutIndex, compacted, withoutIndex, compacted]) {
      await change();
      expect(await wasMoved()).toBe(true);
      await refuses(wasMoved('another'), 'IdempotencyParameterMismatch');
    }
    expect(await list(store)).toEqual(expect.arrayContaining([...after, from]));
  });

  it('is forgotten after a day', async () => {
    await prepare();
    await move();
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 25 * 3_600_000 });
    for (const change of [compacted, withoutIndex]) {
      await change();
      expect(await wasMoved()).toBe(false);
    }
  });
});

it('is of one bucket, and forgotten with it', async () => {
  const move = (bucket: string): Promise<unknown> =>
    store.move({ bucket, key: 'a' }, { bucket, key: 'b' }, { clientToken: token });
  const wasMoved = (bucket: string): Promise<boolean> =>
    store.wasMoved({ bucket, key: 'a' }, { bucket, key: 'b' }, token);
  await store.createBucket('second', {});
  for (const bucket of [BUCKET, 'second']) {
    await put(store, 'a', 'x', bucket);
    await move(bucket);
  }
  await store.delete(BUCKET, 'b');
  await store.deleteBucket(BUCKET);
  await store.createBucket(BUCKET, {});
  for (const change of [() => Promise.resolve(), withoutIndex]) {
    await change();
    expect([await wasMoved(BUCKET), await wasMoved('second')]).toEqual([false, true]);
  }
});
