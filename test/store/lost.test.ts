/**
 * A power cut that kept a line of the journal and lost the rename or unlink that it tells of, as file systems without an order of their own may: the
 * file that was replaced, the very inode, stands at its key. It must have its own facts still, also after the next loss of the index.
 */
import { linkSync, renameSync, rmSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Store } from '../../src/store/contract.js';
import { openStore } from '../../src/store/open.js';
import { BUCKET, body } from '../suites/store/kit.js';

let base = '';
let root = '';
beforeEach(async () => {
  base = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-lost-'));
  root = path.join(base, 'root');
  await mkdir(path.join(root, BUCKET), { recursive: true });
});
afterEach(() => rm(base, { recursive: true, force: true }));

const at = (key: string): string => path.join(root, BUCKET, key);
const put = (store: Store, key: string, text: string): Promise<unknown> =>
  store.put(BUCKET, key, body(text), { facts: { metadata: { text } } });

/** What a store finds with the index lost: key -> text of the bytes' metadata. */
async function found(keys: string[]): Promise<(string | undefined)[]> {
  rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
  const store = await openStore(root);
  try {
    return await Promise.all(
      keys.map((key) =>
        store.head(BUCKET, key).then(
          ({ facts, size }) => `${facts.metadata?.text} ${size}`,
          () => undefined,
        ),
      ),
    );
  } finally {
    await store.close();
  }
}

/** Does it with the file at `key` kept, which then stands there again. */
async function lost(key: string, work: (store: Store) => Promise<unknown>): Promise<void> {
  const store = await openStore(root);
  await put(store, key, 'old');
  linkSync(at(key), path.join(base, 'kept'));
  await work(store);
  await store.close();
  renameSync(path.join(base, 'kept'), at(key));
}

describe('what was lost by a power cut, but not its line,', () => {
  it('is no put', async () => {
    await lost('a', (store) => put(store, 'a', 'newer'));
    expect(await found(['a'])).toEqual(['old 3']);
    expect(await found(['a'])).toEqual(['old 3']);
  });
  it('is no delete', async () => {
    await lost('a', (store) => store.delete(BUCKET, 'a'));
    expect(await found(['a'])).toEqual(['old 3']);
    expect(await found(['a'])).toEqual(['old 3']);
  });
  it('is no move', async () => {
    await lost('a', async (store) => {
      await store.move({ bucket: BUCKET, key: 'a' }, { bucket: BUCKET, key: 'b' });
      rmSync(at('b'));
    });
    expect(await found(['a', 'b'])).toEqual(['old 3', undefined]);
    expect(await found(['a', 'b'])).toEqual(['old 3', undefined]);
  });
  it('is none of several puts', async () => {
    await lost('a', async (store) => {
      await put(store, 'a', 'second');
      await put(store, 'a', 'third');
    });
    expect(await found(['a'])).toEqual(['old 3']);
  });
});

it('what happened is told as ever', async () => {
  const store = await openStore(root);
  await put(store, 'a', 'old');
  await put(store, 'a', 'newer');
  await put(store, 'b', 'gone');
  await store.delete(BUCKET, 'b');
  await put(store, 'c', 'moved');
  await store.move({ bucket: BUCKET, key: 'c' }, { bucket: BUCKET, key: 'd' });
  await store.updateFacts(BUCKET, 'd', (facts) => ({ ...facts, metadata: { text: 'said later' } }));
  await store.close();
  expect(await found(['a', 'b', 'c', 'd'])).toEqual(['newer 5', undefined, undefined, 'said later 5']);
});
