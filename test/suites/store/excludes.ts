/** What --exclude leaves out by its path: listings, reads and buckets agree; what clients put stays. */
import { mkdir, rename } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { MakeStore } from './kit.js';
import { BUCKET, list, put, refuses, text, world } from './kit.js';

export function excludeContract(make: MakeStore): void {
  describe('paths that are excluded', () => {
    const w = world(make, { exclude: ['raw/*.dng', '/box/private', 'cache/', '/secret', '*.tmp'] });

    it('are neither listed nor read', async () => {
      for (const key of ['raw/1.dng', 'raw/1.jpg', 'private/a', 'x/private/a', 'x/cache/a', 'cache', 'a.tmp'])
        await w.foreign(key, key);
      const shown = ['cache', 'raw/1.jpg', 'x/private/a'];
      expect(await list(w.store)).toEqual(shown);
      expect(await list(w.store)).toEqual(shown);
      for (const key of shown) expect(await text(w.store, key)).toBe(key);
      for (const key of ['raw/1.dng', 'private/a', 'x/cache/a', 'a.tmp']) {
        await refuses(w.store.head(BUCKET, key), 'NoSuchKey');
        await refuses(w.store.open(BUCKET, key), 'NoSuchKey');
      }
      await rename(w.at('raw'), w.at('developed'));
      expect(await list(w.store, { prefix: 'developed/' })).toEqual(['developed/1.dng', 'developed/1.jpg']);
    });

    it('are shown where a client put them', async () => {
      await w.foreign('raw/1.dng', 'theirs');
      await put(w.store, 'raw/2.dng', 'mine');
      await put(w.store, 'private/a', 'mine');
      expect(await list(w.store)).toEqual(['private/a', 'raw/2.dng']);
      expect(await text(w.store, 'raw/2.dng')).toBe('mine');
    });

    it('are shown where a client moved them, as what they were', async () => {
      await w.foreign('1.jpg', 'theirs');
      await w.foreign('2.jpg', 'theirs');
      for (const [from, to] of [
        ['1.jpg', 'raw/1.dng'],
        ['2.jpg', 'a.tmp'],
      ] as const)
        expect(await w.store.move({ bucket: BUCKET, key: from }, { bucket: BUCKET, key: to })).toMatchObject({
          key: to,
          facts: { contentType: 'image/jpeg' },
        });
      expect(await list(w.store)).toEqual(['a.tmp', 'raw/1.dng']);
      expect(await text(w.store, 'raw/1.dng')).toBe('theirs');
      expect((await w.store.head(BUCKET, 'a.tmp')).facts.contentType).toBe('image/jpeg');
    });

    it('are no place for a folder, with what it holds', async () => {
      await w.foreign('new/1.jpg', 'theirs');
      const moved = (key: string): Promise<unknown> =>
        w.store.movePrefix({ bucket: BUCKET, key: 'new/' }, { bucket: BUCKET, key });
      for (const key of ['private/', 'private/x/', 'cache/', 'x/cache/', 'b.tmp/'])
        await refuses(moved(key), 'InvalidRequest');
      expect(await list(w.store)).toEqual(['new/1.jpg']);
      await moved('x/private/');
      expect(await list(w.store)).toEqual(['x/private/1.jpg']);
    });

    it('may be folders at the top', async () => {
      await mkdir(path.join(w.root, 'secret'));
      await mkdir(path.join(w.root, 'cache'));
      expect((await w.store.listBuckets()).buckets.map(({ name }) => name)).toEqual([BUCKET]);
      await refuses(w.store.getBucket('secret'), 'NoSuchBucket');
      await refuses(w.store.createBucket('cache', {}), 'InvalidBucketName');
    });
  });

  describe('names of characters that other patterns know', () => {
    const exclude = ['Photo (copy)*', 'secret (old).key', '[!0-9].log', 'x?', '{a,b}'];
    const w = world(make, { exclude });

    it('are read as in a .gitignore', async () => {
      const hidden = ['Photo (copy) 2.jpg', 'secret (old).key', 'a.log', 'x😀', 'xé', '{a,b}', 'd/{a,b}'];
      const shown = ['5.log', 'Photo copy', 'a', 'secret old.key', 'xyz'];
      for (const key of [...hidden, ...shown]) await w.foreign(key, key);
      expect(await list(w.store)).toEqual(shown);
      for (const key of hidden) await refuses(w.store.head(BUCKET, key), 'NoSuchKey');
      for (const key of shown) expect(await text(w.store, key)).toBe(key);
    });
  });
}
