/** Moves of prefixes: what is kept of them in index and journal. */
import { mkdir, mkdtemp, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { BUCKET, body, list, put, refuses, text } from '../suites/store/kit.js';

describe('a moved prefix', () => {
  let root: string;
  let store: LocalStore;
  beforeEach(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-prefix-'));
    store = await openStore(root);
    await store.createBucket(BUCKET, {});
  });
  afterEach(async () => {
    await store.close();
    await rm(root, { recursive: true, force: true });
  });

  const move = (from: string, to: string): Promise<unknown> =>
    store.movePrefix({ bucket: BUCKET, key: from }, { bucket: BUCKET, key: to });
  const reopen = async (lost: boolean): Promise<void> => {
    await store.close();
    if (lost) await rm(path.join(root, '.gos3rve/index'), { recursive: true });
    store = await openStore(root);
  };

  it.each([
    ['while it is open', undefined],
    ['after a restart', false],
    ['after the loss of the index', true],
  ])('is not hashed again, whether its keys are paths or not, %s', async (_when, lost) => {
    await put(store, 'a/one', 'one');
    await put(store, 'a//odd', 'odd');
    const before = store.live.hashes;
    await move('a/', 'z/');
    await move('z/', 'y/');
    expect(store.live.hashes).toBe(before);
    if (lost !== undefined) await reopen(lost);
    const { hashes } = store.live;
    const keys = await list(store);
    expect(keys).toEqual(['y//odd', 'y/one']);
    for (const key of keys) await store.head(BUCKET, key);
    expect(store.live.hashes).toBe(hashes);
  });

  it('is the same after the loss of the index, with what came to the old keys since', async () => {
    const facts = { tags: [['n', '1']] as [string, string][] };
    await store.put(BUCKET, 'a//odd', body('first'), { facts });
    await store.put(BUCKET, 'a/one', body('first'), { facts });
    await move('a/', 'b/');
    await put(store, 'a//odd', 'second');
    await put(store, 'a/one', 'second');
    await move('b/', 'c/d/');
    await move('a/', 'b/');
    await store.delete(BUCKET, 'b//odd');
    await put(store, 'a//odd', 'third');
    const look = async (): Promise<unknown> =>
      Promise.all(
        (await list(store)).map(async (key) => [key, await text(store, key), (await store.head(BUCKET, key)).facts]),
      );
    const before = await look();
    expect((await list(store)).join()).toBe('a//odd,b/one,c/d//odd,c/d/one');
    await reopen(true);
    expect(await look()).toEqual(before);
    await refuses(store.head(BUCKET, 'b//odd'), 'NoSuchKey');
  });
});

describe('links', () => {
  let root: string;
  let store: LocalStore;
  const at = (name: string): string => path.join(root, BUCKET, name);
  beforeEach(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-links-'));
    store = await openStore(root);
    await store.createBucket(BUCKET, {});
    for (const name of ['a', 'a/sub', 'b', 'b/sub']) await mkdir(at(name));
    await writeFile(at('a/f'), 'content');
  });
  afterEach(async () => {
    await store.close();
    await rm(root, { recursive: true, force: true });
  });

  it('go before what they lead to when folders are merged', async () => {
    await writeFile(at('b/sub/other'), 'other');
    await symlink('f', at('a/z'));
    await symlink('z', at('a/chained'));
    await symlink('../f', at('a/sub/up'));
    const report = await store.movePrefix(
      { bucket: BUCKET, key: 'a/' },
      { bucket: BUCKET, key: 'b/' },
      { force: true },
    );
    expect(report).toMatchObject({ objects: 4 });
    expect(report.gone).toBeUndefined();
    expect(await list(store)).toEqual(['b/chained', 'b/f', 'b/sub/other', 'b/sub/up', 'b/z']);
    for (const key of ['b/chained', 'b/f', 'b/sub/up', 'b/z']) expect(await text(store, key)).toBe('content');
  });

  it('stay links where they lead to the same file, and are its bytes elsewhere', async () => {
    await symlink('f', at('a/l'));
    await store.move({ bucket: BUCKET, key: 'a/l' }, { bucket: BUCKET, key: 'a/m' });
    expect(await readlink(at('a/m'))).toBe('f');
    await store.move({ bucket: BUCKET, key: 'a/m' }, { bucket: BUCKET, key: 'b/m' });
    expect(await list(store)).toEqual(['a/f', 'b/m']);
    expect(await text(store, 'b/m')).toBe('content');
  });
});
