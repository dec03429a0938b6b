/**
 * A power cut that kept a line of the journal and lost the rename or unlink that it tells of, as file systems without an order of their own may: the
 * file that was replaced, the very inode, stands at its key. It must have its own facts still, also after the next loss of the index.
 */
import { linkSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Store } from '../../src/store/contract.js';
import { Core } from '../../src/store/core.js';
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
  it('is no move, also when something else stands at the source later', async () => {
    await lost('a', async (store) => {
      await put(store, 'b', 'there');
      linkSync(at('b'), path.join(base, 'there'));
      await store.move({ bucket: BUCKET, key: 'a' }, { bucket: BUCKET, key: 'b' });
      renameSync(path.join(base, 'there'), at('b'));
    });
    expect(await found(['a', 'b'])).toEqual(['old 3', 'there 5']);
    const store = await openStore(root);
    await put(store, 'a', 'new');
    await store.close();
    expect(await found(['a', 'b'])).toEqual(['new 3', 'there 5']);
  });
  it('is no move to where nothing is', async () => {
    await lost('a', async (store) => {
      await store.move({ bucket: BUCKET, key: 'a' }, { bucket: BUCKET, key: 'b' });
      rmSync(at('b'));
    });
    expect(await found(['a', 'b'])).toEqual(['old 3', undefined]);
    const store = await openStore(root);
    await store.delete(BUCKET, 'a');
    await store.close();
    writeFileSync(at('b'), 'a file of others');
    expect(await found(['a', 'b'])).toEqual([undefined, 'undefined 16']);
  });
  it('is half a move: the loss of the old name', async () => {
    await lost('a', (store) => store.move({ bucket: BUCKET, key: 'a' }, { bucket: BUCKET, key: 'b' }));
    linkSync(at('a'), path.join(base, 'twin'));
    renameSync(path.join(base, 'twin'), at('b'));
    expect(await found(['a', 'b'])).toEqual(['old 3', 'old 3']);
    expect(await found(['a', 'b'])).toEqual(['old 3', 'old 3']);
  });
  it('is none of several puts', async () => {
    await lost('a', async (store) => {
      await put(store, 'a', 'second');
      await put(store, 'a', 'third');
    });
    expect(await found(['a'])).toEqual(['old 3']);
  });
});

describe('what a power cut lost of objects whose key is no path', () => {
  const KEY = 'a//b';
  const bodies = path.join('.gos3rve/overflow', BUCKET);
  const names = (): string[] => readdirSync(path.join(root, bodies));

  /** Does it with the one body of KEY kept, which then stands there again, and that of its successor lost. */
  async function lostBody(work: (store: Store) => Promise<unknown>): Promise<void> {
    const store = await openStore(root);
    await put(store, KEY, 'old');
    const [name = ''] = names();
    linkSync(path.join(root, bodies, name), path.join(base, 'kept'));
    await work(store);
    await store.close();
    for (const one of names()) rmSync(path.join(root, bodies, one));
    renameSync(path.join(base, 'kept'), path.join(root, bodies, name));
  }

  it('is no put', async () => {
    await lostBody((store) => put(store, KEY, 'newer'));
    expect(await found([KEY])).toEqual(['old 3']);
    expect(await found([KEY])).toEqual(['old 3']);
  });
  it('is no delete', async () => {
    await lostBody((store) => store.delete(BUCKET, KEY));
    expect(await found([KEY])).toEqual(['old 3']);
  });
  it('is no move to a path', async () => {
    await lostBody(async (store) => {
      await store.move({ bucket: BUCKET, key: KEY }, { bucket: BUCKET, key: 'c' });
      rmSync(at('c'));
    });
    expect(await found([KEY, 'c'])).toEqual(['old 3', undefined]);
  });
  it('is no move from a path', async () => {
    await lost('c', (store) => store.move({ bucket: BUCKET, key: 'c' }, { bucket: BUCKET, key: KEY }));
    for (const one of names()) rmSync(path.join(root, bodies, one));
    expect(await found([KEY, 'c'])).toEqual([undefined, 'old 3']);
  });
  it('never brings back what was replaced and then deleted', async () => {
    await lostBody(async (store) => {
      await put(store, KEY, 'newer');
      await store.delete(BUCKET, KEY);
    });
    expect(await found([KEY])).toEqual([undefined]);
  });
});

/** Records the order of what removes bodies and what makes their successors safe. */
it('an overflow copy goes only once the file that supersedes it is flushed', async () => {
  const store = await openStore(root);
  await put(store, 'x/y', 'directory');
  await put(store, 'x', 'old');
  await store.delete(BUCKET, 'x/y');
  const held = (): string[] => readdirSync(path.join(root, '.gos3rve/overflow', BUCKET));
  expect(held()).toHaveLength(1);
  const seen: [string, number][] = [];
  const syncDirs = Reflect.get(Core.prototype, 'syncDirs') as (this: Core, paths: string[]) => Promise<void>;
  const spy = vi.spyOn(Core.prototype, 'syncDirs').mockImplementation(async function (this: Core, paths) {
    const all = [...paths];
    seen.push([all.map((one) => path.relative(root, one)).join(), held().length]);
    return syncDirs.call(this, all);
  });
  try {
    await put(store, 'x', 'newer');
    await put(store, 'z//', 'first');
    await put(store, 'z//', 'second');
  } finally {
    spy.mockRestore();
    await store.close();
  }
  const overflow = path.join('.gos3rve/overflow', BUCKET);
  expect(seen).toEqual([
    [BUCKET, 1],
    [overflow, 0],
    [overflow, 1],
    [overflow, 2],
  ]);
  expect(held()).toHaveLength(1);
  expect(await found(['x', 'z//'])).toEqual(['newer 5', 'second 6']);
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
