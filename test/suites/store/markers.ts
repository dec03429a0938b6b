/** Markers, keys like `dir/` that were put empty: what is said of them stays, and they can be moved. */
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { DigestPlan } from '../../../src/base/model.js';
import type { MakeStore } from './kit.js';
import { BUCKET, body, exists, list, md5, put, refuses, text, world } from './kit.js';

const CRC32: DigestPlan = { algorithms: ['CRC32'], store: 'CRC32' };
const OF_NOTHING = { algorithm: 'CRC32', type: 'FULL_OBJECT', value: 'AAAAAA==' };

export function markerContract(make: MakeStore): void {
  describe('what is told of markers', () => {
    const w = world(make);
    const at = (key: string): { bucket: string; key: string } => ({ bucket: BUCKET, key });

    it('keeps the checksum that was asked for, through other facts, copies, moves and a new opening', async () => {
      const info = await w.store.put(BUCKET, 'd/', body(''), { digests: CRC32 });
      expect(crc32('')).toBe(0);
      expect(info.checksum).toEqual(OF_NOTHING);
      await w.store.updateFacts(BUCKET, 'd/', (facts) => ({ ...facts, tags: [['a', 'b']] }));
      expect((await w.store.head(BUCKET, 'd/')).checksum).toEqual(OF_NOTHING);
      expect((await w.store.copy(at('d/'), at('copy/'))).checksum).toEqual(OF_NOTHING);
      expect((await w.store.copy(at('d/'), at('file'))).checksum).toEqual(OF_NOTHING);
      expect((await w.store.copy(at('d/'), at('sha/'), { checksum: 'SHA1' })).checksum).toMatchObject({
        algorithm: 'SHA1',
        value: '2jmj7l5rSw0yVb/vlWAYkK/YBwk=',
      });
      expect((await w.store.move(at('d/'), at('moved/'))).checksum).toEqual(OF_NOTHING);
      const again = await w.make({ root: w.root });
      expect((await again.store.head(BUCKET, 'moved/')).checksum).toEqual(OF_NOTHING);
      await again.stop();
    });

    it('keeps it when it is appended to, as other empty objects do, and what was said', async () => {
      const facts = { metadata: { who: 'me' }, tags: [['t', '1']] as [string, string][] };
      const kinds: [string, DigestPlan, string][] = [
        ['CRC32', CRC32, 'NhCmhg=='],
        ['SHA256', { algorithms: ['SHA256'], store: 'SHA256' }, 'LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ='],
      ];
      for (const [algorithm, digests, value] of kinds) {
        for (const key of ['d/', 'plain']) {
          const before = await w.store.put(BUCKET, key, body(''), { digests, facts });
          await w.store.append(BUCKET, key, 0, body(''));
          expect(await w.store.head(BUCKET, key)).toMatchObject({ size: 0, checksum: before.checksum });
          await w.store.append(BUCKET, key, 0, body('hello'));
          const info = await w.store.head(BUCKET, key);
          expect(info).toMatchObject({
            size: 5,
            etag: md5('hello'),
            checksum: { algorithm, type: 'FULL_OBJECT', value },
          });
          expect([before.facts, info.facts]).toEqual([facts, facts]);
          await w.store.delete(BUCKET, key);
        }
      }
      await put(w.store, 'd/', '');
      await refuses(w.store.append(BUCKET, 'd/', 1, body('x')), 'InvalidWriteOffset');
    });

    it('names no content type that nobody gave, wherever a marker goes or comes from', async () => {
      for (const key of ['file', 'm/']) await put(w.store, key, '');
      await w.store.copy(at('file'), at('copy/'));
      await w.store.copy(at('m/'), at('copy'));
      await w.store.move(at('file'), at('moved/'));
      await w.store.move(at('m/'), at('moved'));
      await put(w.store, 'longer/', '');
      await w.store.append(BUCKET, 'longer/', 0, body('x'));
      for (const key of ['copy/', 'copy', 'moved/', 'moved', 'longer/'])
        expect([key, (await w.store.head(BUCKET, key)).facts.contentType]).toEqual([key, undefined]);
      const contentType = 'application/x-directory';
      await w.store.put(BUCKET, 's/', body(''), { facts: { contentType } });
      await w.store.append(BUCKET, 's/', 0, body('x'));
      expect((await w.store.head(BUCKET, 's/')).facts).toEqual({ contentType });
    });

    it('moves the marker alone: what the folder holds are other objects', async () => {
      await w.store.put(BUCKET, 'a/', body(''), { facts: { metadata: { who: 'me' }, tags: [['t', '1']] } });
      await put(w.store, 'a/inside', 'x');
      const info = await w.store.move(at('a/'), at('deep/er/b/'));
      expect(info).toMatchObject({
        key: 'deep/er/b/',
        size: 0,
        facts: { metadata: { who: 'me' }, tags: [['t', '1']] },
      });
      expect(await list(w.store)).toEqual(['a/inside', 'deep/er/b/']);
      await refuses(w.store.head(BUCKET, 'a/'), 'NoSuchKey');
      expect(await text(w.store, 'a/inside')).toBe('x');
      await w.store.move(at('deep/er/b/'), at('c/'));
      expect(await exists(w.at('deep'))).toBe(false);
      expect(await list(w.store)).toEqual(['a/inside', 'c/']);
      await w.store.delete(BUCKET, 'a/inside');
      expect(await exists(w.at('a'))).toBe(false);
      await w.store.delete(BUCKET, 'c/');
      await w.store.deleteBucket(BUCKET);
    });

    it('moves a marker into its own folder, and to a key that is none', async () => {
      await w.store.put(BUCKET, 'a/', body(''), { facts: { metadata: { who: 'me' } } });
      await w.store.move(at('a/'), at('a/b/'));
      expect(await list(w.store)).toEqual(['a/b/']);
      await w.store.move(at('a/b/'), at('file'));
      expect(await list(w.store)).toEqual(['file']);
      expect(await w.store.head(BUCKET, 'file')).toMatchObject({ etag: md5(''), facts: { metadata: { who: 'me' } } });
      expect(await exists(w.at('a'))).toBe(false);
    });

    it('keeps the conditions of a move, and of a put over an object with content', async () => {
      await put(w.store, 'a/', '');
      await put(w.store, 'b/', '');
      await put(w.store, 'full/', 'content');
      const free = { condition: { ifNoneMatch: ['*'] } };
      await refuses(w.store.move(at('a/'), at('b/'), free), 'PreconditionFailed');
      await refuses(w.store.move(at('a/'), at('full/'), free), 'PreconditionFailed');
      await refuses(w.store.put(BUCKET, 'full/', body(''), free), 'PreconditionFailed');
      await expect(
        w.store.move(at('a/'), at('c/'), { sourceCondition: { ifMatch: [md5('x')] } }),
      ).rejects.toMatchObject({ code: 'PreconditionFailed', data: { Condition: 'x-amz-rename-source-If-Match' } });
      expect(await text(w.store, 'full/')).toBe('content');
      await w.store.move(at('a/'), at('full/'), { condition: { ifMatch: [md5('content')] } });
      expect(await list(w.store)).toEqual(['b/', 'full/']);
      expect(await text(w.store, 'full/')).toBe('');
    });
  });
}
