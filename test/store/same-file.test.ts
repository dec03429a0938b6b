/** Two keys that lead to one file - a folder mounted twice, a link: nothing moves onto itself, and no byte is lost. */
import { execFileSync } from 'node:child_process';
import { link, mkdir, mkdtemp, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ObjectRef } from '../../src/store/contract.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body, list } from '../suites/store/kit.js';

const at = (bucket: string, key: string): ObjectRef => ({ bucket, key });
const refused = { code: 'InvalidRequest' };

let root: string;
let store: LocalStore;
let mounted: string[];
beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-same-'));
  mounted = [];
});
afterEach(async () => {
  await store.close();
  for (const point of mounted) execFileSync('umount', ['-l', path.join(root, point)]);
  await rm(root, { recursive: true, force: true });
});

const mount = (point: string, ...args: string[]): void => {
  execFileSync('mount', [...args, path.join(root, point)], { stdio: 'ignore' });
  mounted.push(point);
};
const files = async (folder: string): Promise<void> => {
  await mkdir(path.join(root, folder), { recursive: true });
  for (const n of [1, 2, 3]) await writeFile(path.join(root, folder, `${n}`), `data ${n}`);
};
/** Inodes and bytes: nothing was moved, nothing was made anew. */
const state = async (folder: string): Promise<unknown[]> =>
  Promise.all(
    [1, 2, 3].map(async (n) => {
      const file = path.join(root, folder, `${n}`);
      return [(await stat(file)).ino, await readFile(file, 'utf8')];
    }),
  );

describe.skipIf(!canMount())('one file behind two mounts (needs root, for mount)', () => {
  beforeEach(async () => {
    await files('one/p');
    await mkdir(path.join(root, 'two'));
    mount('two', '--bind', path.join(root, 'one'));
    store = await openStore(root);
  });

  it.each([
    ['a folder', 'p/', 'p/', false],
    ['a folder, merging', 'p/', 'p/', true],
    ['a prefix', 'p', 'p', false],
    ['a prefix, merging', 'p', 'p', true],
    ['a folder into itself', 'p/', 'p/below/', false],
  ])('is not moved onto itself: %s', async (_what, from, to, force) => {
    const before = await state('one/p');
    for (const key of await list(store, {}, 'one')) await store.head('one', key);
    const move = (dryRun: boolean): Promise<unknown> =>
      store.movePrefix(at('one', from), at('two', to), { force, dryRun });
    await expect(move(true)).rejects.toMatchObject(refused);
    await expect(move(false)).rejects.toMatchObject(refused);
    expect(await state('one/p')).toEqual(before);
  });

  it('is not moved onto itself as one object', async () => {
    const before = await state('one/p');
    await expect(store.move(at('one', 'p/1'), at('two', 'p/1'))).rejects.toMatchObject(refused);
    const free = { condition: { ifNoneMatch: ['*'] }, resume: true };
    await expect(store.move(at('one', 'p/1'), at('two', 'p/1'), free)).rejects.toBeDefined();
    expect(await state('one/p')).toEqual(before);
  });

  it('is copied onto itself without a loss', async () => {
    await store.copy(at('one', 'p/1'), at('two', 'p/1'));
    expect((await state('one/p')).map((one) => (one as unknown[])[1])).toEqual(['data 1', 'data 2', 'data 3']);
  });

  it('moves to another place of the same folder', async () => {
    await store.movePrefix(at('one', 'p/'), at('two', 'q/'));
    expect((await state('one/q')).map((one) => (one as unknown[])[1])).toEqual(['data 1', 'data 2', 'data 3']);
    expect(await list(store, {}, 'one')).toEqual(['q/1', 'q/2', 'q/3']);
  });
});

describe.skipIf(!canMount())('a second view that counts inodes by itself (needs root, for overlayfs)', () => {
  it('is not taken for a copy', async ({ skip }) => {
    await files('one/p');
    for (const name of ['two', '.none']) await mkdir(path.join(root, name));
    store = await openStore(root);
    const lower = `lowerdir=${path.join(root, 'one')}:${path.join(root, '.none')}`;
    try {
      mount('two', '-t', 'overlay', '-o', lower, 'overlay');
    } catch {
      return skip('overlayfs cannot be mounted here');
    }
    const before = await state('one/p');
    for (const bucket of ['one', 'two']) for (const key of await list(store, {}, bucket)) await store.head(bucket, key);
    for (const force of [false, true])
      await expect(store.movePrefix(at('one', 'p/'), at('two', 'p/'), { force })).rejects.toBeDefined();
    expect(await state('one/p')).toEqual(before);
  });
});

describe.skipIf(!canMount())('links on another mount (need root, for mount)', () => {
  beforeEach(async () => {
    await files('b/p');
    await mkdir(path.join(root, 'b/mnt'));
    mount('b/mnt', '-t', 'tmpfs', '-o', 'size=16m', 'tmpfs');
    await mkdir(path.join(root, 'b/mnt/p'));
    for (const n of [1, 2, 3]) await symlink(`../../p/${n}`, path.join(root, `b/mnt/p/${n}`));
    store = await openStore(root);
  });

  it.each([
    ['to its links', 'p/', 'mnt/p/', false],
    ['to its links, merging', 'p/', 'mnt/p/', true],
    ['from its links', 'mnt/p/', 'p/', false],
    ['from its links, merging', 'mnt/p/', 'p/', true],
  ])('keep their file when it is moved %s', async (_what, from, to, force) => {
    const before = await state('b/p');
    for (const key of await list(store, {}, 'b')) await store.head('b', key);
    await expect(store.movePrefix(at('b', from), at('b', to), { force })).rejects.toMatchObject(refused);
    const single = store.move(at('b', `${from}1`), at('b', `${to}1`));
    await expect(single).rejects.toMatchObject(refused);
    expect(await state('b/p')).toEqual(before);
    expect(await readlink(path.join(root, 'b/mnt/p/1'))).toBe('../../p/1');
  });
});

describe('links on one mount', () => {
  beforeEach(async () => {
    await files('b/p');
    await mkdir(path.join(root, 'b/q'));
    for (const n of [1, 2, 3]) await symlink(`../p/${n}`, path.join(root, `b/q/${n}`));
    store = await openStore(root);
  });

  it('are not moved over the file that they lead to', async () => {
    const before = await state('b/p');
    await expect(store.move(at('b', 'q/1'), at('b', 'p/1'))).rejects.toMatchObject(refused);
    await expect(store.movePrefix(at('b', 'q/'), at('b', 'p/'), { force: true })).rejects.toMatchObject(refused);
    expect(await state('b/p')).toEqual(before);
    expect(await state('b/q')).toEqual(before);
  });

  it('make way for the file that they lead to, and other names of a file for each other', async () => {
    await store.move(at('b', 'p/1'), at('b', 'q/1'));
    expect(await readFile(path.join(root, 'b/q/1'), 'utf8')).toBe('data 1');
    await link(path.join(root, 'b/p/2'), path.join(root, 'b/p/2b'));
    await store.move(at('b', 'p/2'), at('b', 'p/2b'));
    expect(await readFile(path.join(root, 'b/p/2b'), 'utf8')).toBe('data 2');
    await store.put('b', 'new', body('new'));
    expect(await list(store, {}, 'b')).toEqual(['new', 'p/2b', 'p/3', 'q/1', 'q/3']);
  });
});

function canMount(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  try {
    execFileSync('unshare', ['-m', 'true'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
