import { describe, expect, it } from 'vitest';
import type { MakeStore } from './kit.js';
import { BUCKET, body, exists, md5, put, refuses, text, world } from './kit.js';

export function conditionContract(make: MakeStore): void {
  describe('conditional writes', () => {
    const w = world(make);

    it('If-None-Match: * lets exactly one of many creators win', async () => {
      const bodies = Array.from({ length: 10 }, (_, n) => `writer ${n}`);
      for (const key of ['deep/k', 'over//flow']) {
        const results = await Promise.allSettled(
          bodies.map((content) => w.store.put(BUCKET, key, body(content), { condition: { ifNoneMatch: ['*'] } })),
        );
        const winners = results.flatMap((result, n) => (result.status === 'fulfilled' ? [bodies[n]] : []));
        expect(winners).toEqual([await text(w.store, key)]);
        for (const result of results) {
          if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'PreconditionFailed' });
        }
      }
    });

    it('If-None-Match: * does not replace a file of another program', async () => {
      await w.foreign('theirs', 'precious');
      await refuses(
        w.store.put(BUCKET, 'theirs', body('x'), { condition: { ifNoneMatch: ['*'] } }),
        'PreconditionFailed',
      );
      expect(await text(w.store, 'theirs')).toBe('precious');
    });

    it('If-Match replaces only what the client saw', async () => {
      const first = await put(w.store, 'k', 'one');
      await w.store.put(BUCKET, 'k', body('two'), { condition: { ifMatch: [md5('zero'), first.etag] } });
      await refuses(
        w.store.put(BUCKET, 'k', body('three'), { condition: { ifMatch: [first.etag] } }),
        'PreconditionFailed',
      );
      expect(await text(w.store, 'k')).toBe('two');
      await w.store.put(BUCKET, 'k', body('four'), { condition: { ifMatch: ['*'] } });
      await refuses(
        w.store.put(BUCKET, 'none', body('x'), { condition: { ifMatch: ['*'] } }),
        'NoSuchKey',
        'PreconditionFailed',
      );
      await refuses(w.store.put(BUCKET, 'none', body('x'), { condition: { ifMatch: [first.etag] } }), 'NoSuchKey');
      expect(await exists(w.at('none'))).toBe(false);
    });

    it('If-Match sees a change made outside', async () => {
      const first = await put(w.store, 'k', 'one');
      await w.foreign('k', 'edited with an editor');
      await refuses(
        w.store.put(BUCKET, 'k', body('two'), { condition: { ifMatch: [first.etag] } }),
        'PreconditionFailed',
      );
      expect(await text(w.store, 'k')).toBe('edited with an editor');
    });

    it('If-Match gives one winner per round, a compare-and-swap counter', async () => {
      await put(w.store, 'n', '0');
      const add = async (): Promise<void> => {
        for (;;) {
          const { etag } = await w.store.head(BUCKET, 'n');
          const value = await text(w.store, 'n');
          if (md5(value) !== etag) continue;
          try {
            await w.store.put(BUCKET, 'n', body(String(Number(value) + 1)), { condition: { ifMatch: [etag] } });
            return;
          } catch (error) {
            expect(error).toMatchObject({
              code: expect.stringMatching(/PreconditionFailed|ConditionalRequestConflict/) as string,
            });
          }
        }
      };
      await Promise.all(Array.from({ length: 6 }, add));
      expect(await text(w.store, 'n')).toBe('6');
    });

    it('deletes under a condition', async () => {
      const info = await put(w.store, 'k', 'one');
      const seconds = Math.floor(info.lastModified / 1000) * 1000;
      await refuses(w.store.delete(BUCKET, 'k', { condition: { ifMatch: [md5('zero')] } }), 'PreconditionFailed');
      await refuses(w.store.delete(BUCKET, 'k', { condition: { ifSize: 4 } }), 'PreconditionFailed');
      await refuses(
        w.store.delete(BUCKET, 'k', { condition: { ifLastModified: seconds - 1000 } }),
        'PreconditionFailed',
      );
      expect(await text(w.store, 'k')).toBe('one');
      expect(
        await w.store.delete(BUCKET, 'k', { condition: { ifMatch: [info.etag], ifSize: 3, ifLastModified: seconds } }),
      ).toBe(true);
      expect(await exists(w.at('k'))).toBe(false);
    });

    it('completes an upload under a condition and leaves it usable when refused', async () => {
      await put(w.store, 'k', 'there');
      const { uploadId } = await w.store.createUpload(BUCKET, 'k', {});
      const part = await w.store.putPart(BUCKET, 'k', uploadId, 1, body('fresh'));
      const parts = [{ partNumber: 1, etag: part.etag, checksums: {} }];
      await refuses(
        w.store.completeUpload(BUCKET, 'k', uploadId, parts, { condition: { ifNoneMatch: ['*'] } }),
        'PreconditionFailed',
      );
      expect(await text(w.store, 'k')).toBe('there');
      await w.store.completeUpload(BUCKET, 'k', uploadId, parts, { condition: { ifMatch: [md5('there')] } });
      expect(await text(w.store, 'k')).toBe('fresh');
    });
  });
}
