import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { MakeStore } from './kit.js';
import { BUCKET, body, exists, list, put, refuses, text, world } from './kit.js';

export function bucketContract(make: MakeStore): void {
  describe('buckets', () => {
    const w = world(make);
    const names = async (): Promise<string[]> => (await w.store.listBuckets()).buckets.map((bucket) => bucket.name);

    it('creates a folder and refuses to create it again', async () => {
      const before = Date.now();
      const made = await w.store.createBucket('photos', { region: 'eu-west-1' });
      expect(made).toMatchObject({ name: 'photos', settings: { region: 'eu-west-1' } });
      expect(Math.abs(made.created - before)).toBeLessThan(60_000);
      expect(await exists(path.join(w.root, 'photos'))).toBe(true);
      await refuses(w.store.createBucket('photos', {}), 'BucketAlreadyExists', 'BucketAlreadyOwnedByYou');
      expect((await w.store.getBucket('photos')).settings.region).toBe('eu-west-1');
    });

    it('names a file that is in the way', async () => {
      await writeFile(path.join(w.root, 'notes'), 'x');
      const { message } = await refuses(w.store.createBucket('notes', {}), 'BucketAlreadyExists');
      expect(message).toContain('a file called notes');
    });

    it('lets one of several creators win', async () => {
      const results = await Promise.allSettled(Array.from({ length: 8 }, () => w.store.createBucket('race', {})));
      expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
    });

    it('sees folders come and go that others make', async () => {
      await mkdir(path.join(w.root, 'Holiday 2024'));
      expect(await names()).toEqual(['Holiday 2024', BUCKET]);
      expect((await w.store.getBucket('Holiday 2024')).created).toBeGreaterThan(0);
      await rm(path.join(w.root, 'Holiday 2024'), { recursive: true });
      expect(await names()).toEqual([BUCKET]);
      await refuses(w.store.getBucket('Holiday 2024'), 'NoSuchBucket');
    });

    it('pages in byte order and by prefix', async () => {
      for (const name of ['b2', 'a1', 'B0', 'b1', 'é']) await mkdir(path.join(w.root, name));
      expect(await names()).toEqual(['B0', 'a1', 'b1', 'b2', BUCKET, 'é']);
      const first = await w.store.listBuckets({ prefix: 'b', max: 2 });
      expect(first.buckets.map((bucket) => bucket.name)).toEqual(['b1', 'b2']);
      expect(first.next).toBe('b2');
      const rest = await w.store.listBuckets({ prefix: 'b', max: 2, after: 'b2' });
      expect(rest.buckets.map((bucket) => bucket.name)).toEqual([BUCKET]);
      expect(rest.next).toBeUndefined();
    });

    it('does not take top-level files, its own folder or links to elsewhere for buckets', async () => {
      await writeFile(path.join(w.root, 'loose.txt'), 'x');
      await symlink('/', path.join(w.root, 'everything'));
      expect(await names()).toEqual([BUCKET]);
      for (const name of ['loose.txt', '.gos3rve', 'everything', '..', '.', '', 'box/..', '../box', 'box\0']) {
        await refuses(w.store.getBucket(name), 'NoSuchBucket', 'InvalidBucketName');
      }
      await refuses(w.store.head('..', 'etc/passwd'), 'NoSuchBucket', 'InvalidBucketName');
      await refuses(w.store.put('.gos3rve', 'journal/x', body('x')), 'NoSuchBucket', 'InvalidBucketName');
      expect(await exists(path.join(w.root, '.gos3rve', 'journal', 'x'))).toBe(false);
    });

    it('refuses names that can be no folder', async () => {
      for (const name of ['', '.', '..', '.gos3rve', 'a/b', 'a\0b', 'x'.repeat(256)]) {
        await refuses(w.store.createBucket(name, {}), 'InvalidBucketName');
      }
      await writeFile(path.join(w.root, 'taken'), 'mine');
      await expect(w.store.createBucket('taken', {})).rejects.toThrow();
      expect(await exists(path.join(w.root, 'taken'))).toBe(true);
    });

    it('deletes an empty bucket with its settings', async () => {
      await w.store.createBucket('gone', { tags: [['a', 'b']] });
      await w.store.deleteBucket('gone');
      expect(await exists(path.join(w.root, 'gone'))).toBe(false);
      await refuses(w.store.deleteBucket('gone'), 'NoSuchBucket');
      expect((await w.store.createBucket('gone', {})).settings.tags).toBeUndefined();
    });

    it.each([
      ['a file', 'x.txt', (at: string) => writeFile(at, 'x')],
      ['a hidden file', '.hidden', (at: string) => writeFile(at, 'x')],
      ['junk that is not served', '.DS_Store', (at: string) => writeFile(at, 'x')],
      ['an empty folder', 'sub', (at: string) => mkdir(at)],
      ['a link', 'link', (at: string) => symlink('/nowhere', at)],
    ])('refuses to delete a bucket with %s in it, and names it', async (_what, name, place) => {
      await place(w.at(name));
      const error = await refuses(w.store.deleteBucket(BUCKET), 'BucketNotEmpty');
      expect(error.message).toContain(name);
      expect(await exists(w.at(name))).toBe(true);
    });

    it('refuses to delete a bucket that holds only an overflow object', async () => {
      await put(w.store, 'a//b', 'over');
      const error = await refuses(w.store.deleteBucket(BUCKET), 'BucketNotEmpty');
      expect(error.message).toContain('a//b');
      expect(await text(w.store, 'a//b')).toBe('over');
      await w.store.delete(BUCKET, 'a//b');
      await w.store.deleteBucket(BUCKET);
    });

    it('ends the uploads of a bucket with it', async () => {
      const upload = await w.store.createUpload(BUCKET, 'big', { initiator: { id: 'alice', displayName: 'alice' } });
      await w.store.putPart(BUCKET, 'big', upload.uploadId, 1, body('part'));
      await w.store.createBucket('box2', {});
      const other = await w.store.createUpload('box2', 'big', {});
      await put(w.store, 'k');
      await refuses(w.store.deleteBucket(BUCKET), 'BucketNotEmpty');
      expect((await w.store.listParts(BUCKET, 'big', upload.uploadId, { after: 0, max: 9 })).parts).toHaveLength(1);
      await w.store.delete(BUCKET, 'k');
      await w.store.deleteBucket(BUCKET);
      await w.store.createBucket(BUCKET, {});
      const query = { prefix: '', delimiter: '', keyMarker: '', uploadIdMarker: '', max: 9 };
      expect((await w.store.listUploads(BUCKET, query)).entries).toEqual([]);
      await refuses(w.store.putPart(BUCKET, 'big', upload.uploadId, 2, body('x')), 'NoSuchUpload');
      await refuses(w.store.listParts(BUCKET, 'big', upload.uploadId, { after: 0, max: 9 }), 'NoSuchUpload');
      expect((await w.store.getUpload('box2', 'big', other.uploadId)).uploadId).toBe(other.uploadId);
      expect(await exists(path.join(w.root, '.gos3rve/staging/uploads', upload.uploadId))).toBe(false);
      const again = await w.make({ root: w.root });
      expect((await again.store.listUploads(BUCKET, query)).entries).toEqual([]);
      await again.stop();
    });

    it('does not take over the uploads of a bucket whose folder another program removed', async () => {
      const upload = await w.store.createUpload(BUCKET, 'big', {});
      await rm(path.join(w.root, BUCKET), { recursive: true });
      await w.store.createBucket(BUCKET, {});
      await refuses(w.store.getUpload(BUCKET, 'big', upload.uploadId), 'NoSuchUpload');
      const again = await w.make({ root: w.root });
      await refuses(again.store.getUpload(BUCKET, 'big', upload.uploadId), 'NoSuchUpload');
      await again.stop();
    });

    it('forgets what was said of the keys of a deleted bucket', async () => {
      await w.store.put(BUCKET, 'k', body('1'), { facts: { metadata: { old: 'yes' } } });
      await w.store.delete(BUCKET, 'k');
      await w.store.deleteBucket(BUCKET);
      await w.store.createBucket(BUCKET, {});
      await w.foreign('k', 'new');
      expect((await w.store.head(BUCKET, 'k')).facts.metadata ?? {}).toEqual({});
    });

    it('changes settings without losing a concurrent change', async () => {
      await Promise.all(
        Array.from({ length: 12 }, (_, n) =>
          w.store.updateBucket(BUCKET, (settings) => ({
            ...settings,
            tags: [...(settings.tags ?? []), [`t${n}`, 'x'] as [string, string]],
          })),
        ),
      );
      const tags = (await w.store.getBucket(BUCKET)).settings.tags ?? [];
      expect(tags.map(([key]) => key).sort()).toEqual(Array.from({ length: 12 }, (_, n) => `t${n}`).sort());
      await refuses(
        w.store.updateBucket('nobody', (settings) => settings),
        'NoSuchBucket',
      );
    });

    it('answers NoSuchBucket everywhere', async () => {
      await refuses(list(w.store, {}, 'nobody'), 'NoSuchBucket');
      await refuses(w.store.head('nobody', 'k'), 'NoSuchBucket');
      await refuses(w.store.open('nobody', 'k'), 'NoSuchBucket');
      await refuses(w.store.put('nobody', 'k', body('x')), 'NoSuchBucket');
      await refuses(w.store.delete('nobody', 'k'), 'NoSuchBucket');
      await refuses(w.store.createUpload('nobody', 'k', {}), 'NoSuchBucket');
      await refuses(w.store.completeUpload('nobody', 'k', 'abc', []), 'NoSuchBucket', 'NoSuchUpload');
      expect(await exists(path.join(w.root, 'nobody'))).toBe(false);
    });
  });
}
