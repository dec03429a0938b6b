/** `--bucket alias=path`: which are taken, and that none leads out of the root or to our own files. */
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UsageError } from '../../src/base/errors.js';
import { openStore } from '../../src/store/open.js';
import { body, list, text } from '../suites/store/kit.js';

describe('aliases', () => {
  let root: string;
  beforeEach(async () => {
    root = await realpath(await mkdtemp(path.join(tmpdir(), 'gos3rve-alias-')));
    await mkdir(path.join(root, 'photos', 'Holiday 2024'), { recursive: true });
    await mkdir(path.join(root, '.gos3rve'));
    await writeFile(path.join(root, 'photos', 'Holiday 2024', 'sea.jpg'), 'blue');
    await writeFile(path.join(root, 'file'), 'x');
    await symlink('photos', path.join(root, 'link'));
  });
  afterEach(() => rm(root, { recursive: true }));

  it.each([
    ['holiday', 'photos/Holiday 2024', 'sea.jpg'],
    ['holiday', './photos//Holiday 2024/', 'sea.jpg'],
    ['everything', '.', 'photos/Holiday 2024/sea.jpg'],
  ])('serves %s=%s', async (alias, folder, key) => {
    const store = await openStore(root, { aliases: { [alias]: folder } });
    try {
      const page = await store.list(alias, { prefix: '', delimiter: '', after: '', max: 1000 });
      expect(page.entries.map((entry) => ('key' in entry ? entry.key : entry.prefix))).toContain(key);
      expect(page.entries.some((entry) => 'key' in entry && entry.key.includes('.gos3rve'))).toBe(false);
      expect((await store.listBuckets()).buckets.map(({ name }) => name)).toContain(alias);
    } finally {
      await store.close();
    }
  });

  it.each([
    ['x', '.gos3rve'],
    ['x', '.gos3rve/journal'],
    ['x', 'photos/../.gos3rve'],
    ['x', '.GOS3RVE'],
    ['x', '..'],
    ['x', '../'],
    ['x', '/etc'],
    ['x', 'nowhere'],
    ['x', 'file'],
    ['x', 'link'],
    ['x', 'link/Holiday 2024'],
    ['..', 'photos'],
    ['.gos3rve', 'photos'],
    ['a/b', 'photos'],
    ['', 'photos'],
  ])('refuses %j=%s', async (alias, folder) => {
    await expect(openStore(root, { aliases: { [alias]: folder } })).rejects.toThrow(UsageError);
  });

  it('shares objects whose key is no path between all names of a folder', async () => {
    const aliases = { one: 'photos/Holiday 2024', two: 'photos/Holiday 2024', pics: 'photos' };
    const store = await openStore(root, { aliases });
    try {
      for (const [from, to] of [
        ['one', 'two'],
        ['pics', 'photos'],
      ] as const) {
        await store.put(from, 'odd//key', body('shared'));
        expect(await text(store, 'odd//key', to)).toBe('shared');
        expect(await list(store, { prefix: 'odd' }, to)).toEqual(['odd//key']);
        expect(await store.delete(to, 'odd//key')).toBe(true);
        expect(await list(store, { prefix: 'odd' }, from)).toEqual([]);
      }
    } finally {
      await store.close();
    }
  });

  it('tells which folder an alias hides', async () => {
    const store = await openStore(root, { aliases: { photos: 'photos/Holiday 2024' } });
    try {
      expect((await store.notes()).shadowed).toEqual(['photos']);
      expect((await store.head('photos', 'sea.jpg')).size).toBe(4);
    } finally {
      await store.close();
    }
  });
});
