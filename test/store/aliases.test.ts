/** `--bucket alias=path`: which are taken, and that none leads out of the root or to our own files. */
import { mkdir, mkdtemp, readdir, realpath, rm, symlink, writeFile } from 'node:fs/promises';
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

  it('keeps the folder of an alias when it falls empty, whoever empties it', async () => {
    let store = await openStore(root);
    await store.put('photos', 'made/deep/x', body('x'));
    await store.put('photos', 'made/deep/below/y', body('y'));
    await store.put('photos', 'other/z', body('z'));
    await store.close();
    const aliases = { made: 'photos/made/deep', all: '.' };
    store = await openStore(root, { aliases });
    const upload = await store.createUpload('made', 'late', {});
    const part = await store.putPart('made', 'late', upload.uploadId, 1, body('late'));
    await store.delete('made', 'below/y');
    await store.delete('all', 'photos/made/deep/x');
    await store.move({ bucket: 'photos', key: 'other/z' }, { bucket: 'made', key: 'z' });
    await store.movePrefix({ bucket: 'made', key: 'z' }, { bucket: 'photos', key: 'again' });
    await store.collector.directories({ dryRun: false, signal: new AbortController().signal });
    await expect(store.deleteBucket('made')).rejects.toMatchObject({ code: 'AccessDenied' });
    await store.close();
    expect(await readdir(path.join(root, 'photos'))).toEqual(['Holiday 2024', 'again', 'made']);
    expect(await readdir(path.join(root, 'photos/made'))).toEqual(['deep']);
    store = await openStore(root, { aliases });
    expect(await list(store, {}, 'made')).toEqual([]);
    await store.completeUpload('made', 'late', upload.uploadId, [{ ...part, checksums: {} }]);
    await store.delete('made', 'late');
    await store.close();
    // an alias no more
    store = await openStore(root);
    await store.collector.directories({ dryRun: false, signal: new AbortController().signal });
    await store.close();
    expect(await readdir(path.join(root, 'photos'))).toEqual(['Holiday 2024', 'again']);
  });

  it('does not delete a bucket whose folder an alias shows', async () => {
    await mkdir(path.join(root, 'empty'));
    const store = await openStore(root, { aliases: { other: 'empty' } });
    await expect(store.deleteBucket('empty')).rejects.toMatchObject({ code: 'AccessDenied' });
    expect((await store.getBucket('other')).name).toBe('other');
    await store.close();
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
