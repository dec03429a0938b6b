import { link, readFile, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { S3Error } from '../../../src/base/errors.js';
import type { Body } from '../../../src/base/model.js';
import type { MakeStore } from './kit.js';
import { BUCKET, MIN_PART, body, list, put, putParts, refuses, text, world } from './kit.js';

/** A body whose first half has arrived when `meet` runs, and whose second half comes after it. */
function slow(content: string, meet: () => Promise<unknown>): Body {
  const half = Math.floor(content.length / 2);
  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(content.slice(0, half));
    await meet();
    yield Buffer.from(content.slice(half));
  }
  return { chunks: chunks(), size: content.length };
}

/** What others do while a write is under way: it is decided when the write is published, not when it began. */
export function meanwhileContract(make: MakeStore): void {
  describe('a write that takes its time', () => {
    const w = world(make);

    /** The key in the tree, as an overflow object, and as a file with two names: the ways in which an append is done. */
    const kinds: [string, string, () => Promise<void>][] = [
      ['a file', 'plain', async () => undefined],
      ['an overflow object', 'odd//key', async () => undefined],
      ['a file with two names', 'linked', () => link(w.at('linked'), w.at('twin'))],
    ];

    it('appends at 0 for one of several, and tells the others', async () => {
      const contents = ['aaaaaaaa', 'bbbbbbbb', 'cccccccc'];
      const results = await Promise.allSettled(contents.map((one) => w.store.append(BUCKET, 'l', 0, body(one))));
      const won = contents.filter((_, i) => results[i]?.status === 'fulfilled');
      expect(won).toHaveLength(1);
      expect(await text(w.store, 'l')).toBe(won[0]);
      const told = results.flatMap((one) => (one.status === 'rejected' ? [(one.reason as S3Error).code] : []));
      expect(told).toEqual(['InvalidWriteOffset', 'InvalidWriteOffset']);
    });

    it.each(['l', 'odd//l'])('does not append at 0 over what was put meanwhile: %s', async (key) => {
      const append = w.store.append(
        BUCKET,
        key,
        0,
        slow('late', () => put(w.store, key, 'precious')),
      );
      await refuses(append, 'InvalidWriteOffset');
      expect(await text(w.store, key)).toBe('precious');
    });

    it.each(['l', 'odd//l'])('appends to an empty object that keeps what was said of it: %s', async (key) => {
      const facts = { contentType: 'text/log', metadata: { a: '1' }, tags: [['b', '2']] as [string, string][] };
      await w.store.put(BUCKET, key, body(''), { facts });
      const info = await w.store.append(BUCKET, key, 0, body('one'), { facts: { contentType: 'image/png' } });
      expect(info).toMatchObject({ size: 3, facts, etag: 'f97c5d29941bfb1b2fdab0874906ab82' });
      expect((await w.store.head(BUCKET, key)).facts).toEqual(facts);
    });

    it.each(kinds)('appends with the tags set meanwhile: %s', async (_, key, prepare) => {
      await w.store.put(BUCKET, key, body('old '), { facts: { metadata: { a: '1' } } });
      await prepare();
      const tagged = { metadata: { a: '1' }, tags: [['legal', 'hold']] as [string, string][] };
      const tag = (): Promise<unknown> => w.store.updateFacts(BUCKET, key, () => tagged);
      await w.store.append(BUCKET, key, 4, slow('new', tag));
      expect(await text(w.store, key)).toBe('old new');
      expect((await w.store.head(BUCKET, key)).facts).toEqual(tagged);
      await w.store.close();
      await rm(path.join(w.root, '.gos3rve', 'index'), { recursive: true });
      const again = await make({ root: w.root });
      try {
        expect((await again.store.head(BUCKET, key)).facts).toEqual(tagged);
      } finally {
        await again.store.close();
      }
    });

    it.each(kinds)(
      'appends to nothing but the size it named, whatever the client asks beside: %s',
      async (_, key, make) => {
        for (const condition of [undefined, { ifMatch: ['*'] }]) {
          await put(w.store, key, 'head');
          if (condition === undefined) await make();
          const other = (): Promise<unknown> => w.store.append(BUCKET, key, 4, body(' acked'));
          const append = w.store.append(BUCKET, key, 4, slow('late', other), condition && { condition });
          await refuses(append, 'InvalidWriteOffset');
          expect(await text(w.store, key)).toBe('head acked');
        }
      },
    );

    it.each(kinds)('appends to what was put meanwhile, or not at all: %s', async (_, key, make) => {
      await put(w.store, key, 'head');
      await make();
      const condition = { ifMatch: ['*'] };
      await w.store.append(
        BUCKET,
        key,
        4,
        slow('late', () => put(w.store, key, 'HEAD')),
        { condition },
      );
      expect(await text(w.store, key)).toBe('HEADlate');
      const longer = (): Promise<unknown> => put(w.store, key, 'precious');
      await put(w.store, key, 'head');
      await refuses(w.store.append(BUCKET, key, 4, slow('late', longer), { condition }), 'InvalidWriteOffset');
      expect(await text(w.store, key)).toBe('precious');
    });

    it.each(kinds)('finds no object to append to that was deleted or renamed meanwhile: %s', async (_, key, make) => {
      await put(w.store, key, 'head');
      await make();
      const remove = (): Promise<unknown> => w.store.delete(BUCKET, key);
      await refuses(w.store.append(BUCKET, key, 4, slow('late', remove)), 'NoSuchKey');
      await put(w.store, key, 'head');
      const move = (): Promise<unknown> => w.store.move({ bucket: BUCKET, key }, { bucket: BUCKET, key: 'moved' });
      await refuses(w.store.append(BUCKET, key, 4, slow('late', move)), 'NoSuchKey');
      expect(await text(w.store, 'moved')).toBe('head');
    });

    it('leaves the type of a foreign file as it was guessed when it is appended to', async () => {
      await w.foreign('page.html', '<p>');
      await w.store.append(BUCKET, 'page.html', 3, body('</p>'));
      expect((await w.store.head(BUCKET, 'page.html')).facts.contentType).toBe('text/html');
    });

    it('copies an object onto itself with the tags set meanwhile, and never over newer bytes', async () => {
      await put(w.store, 'self', Buffer.alloc(8 << 20, 'x'));
      const object = { bucket: BUCKET, key: 'self' };
      let tagging: Promise<unknown> | undefined;
      await w.store.copy(object, object, {
        facts: ({ facts }) => {
          tagging ??= w.store.updateFacts(BUCKET, 'self', (old) => ({ ...old, tags: [['legal', 'hold']] }));
          return { ...facts, metadata: { fresh: '1' } };
        },
      });
      await tagging;
      expect((await w.store.head(BUCKET, 'self')).facts.tags).toEqual([['legal', 'hold']]);
      let putting: Promise<unknown> | undefined;
      await w.store.copy(object, object, {
        facts: ({ facts }) => {
          putting ??= put(w.store, 'self', 'newer');
          return facts;
        },
      });
      await putting;
      expect(await text(w.store, 'self')).toBe('newer');
    });

    it('copies what an append has not finished as it was before', { timeout: 60_000 }, async () => {
      await put(w.store, 'log', Buffer.alloc(3 << 20, 'a'));
      const before = await w.store.head(BUCKET, 'log');
      const append = w.store.append(BUCKET, 'log', before.size, body(Buffer.alloc(48 << 20, 'b')));
      while ((await stat(w.at('log'))).size === before.size) await new Promise((resolve) => setImmediate(resolve));
      const copy = await w.store.copy({ bucket: BUCKET, key: 'log' }, { bucket: BUCKET, key: 'copy' });
      await append;
      expect([before.size, before.size + (48 << 20)]).toContain(copy.size);
      expect((await readFile(w.at('copy'))).length).toBe(copy.size);
    });

    it('does not complete what was aborted meanwhile', async () => {
      await put(w.store, 'k', 'old');
      const { uploadId } = await w.store.createUpload(BUCKET, 'k', {});
      const refs = (await putParts(w.store, 'k', uploadId, [[1, 'a'.repeat(MIN_PART)]])).map((part) => ({
        partNumber: part.partNumber,
        etag: part.etag,
        checksums: {},
      }));
      let abort: Promise<unknown> | undefined;
      const onProgress = (): void => {
        abort ??= w.store.abortUpload(BUCKET, 'k', uploadId);
      };
      await refuses(w.store.completeUpload(BUCKET, 'k', uploadId, refs, { onProgress }), 'NoSuchUpload');
      await abort;
      expect(await text(w.store, 'k')).toBe('old');
    });

    it('does not abort what was completed', async () => {
      const { uploadId } = await w.store.createUpload(BUCKET, 'k', {});
      const [part] = await putParts(w.store, 'k', uploadId, [[1, 'a']]);
      const refs = [{ partNumber: 1, etag: part?.etag ?? '', checksums: {} }];
      await w.store.completeUpload(BUCKET, 'k', uploadId, refs);
      await refuses(w.store.abortUpload(BUCKET, 'k', uploadId), 'NoSuchUpload');
      await refuses(w.store.putPart(BUCKET, 'k', uploadId, 2, body('b')), 'NoSuchUpload');
    });
  });

  describe('a bucket that is deleted and made again meanwhile', () => {
    const w = world(make);
    const NEXT = 'next';
    const again = async (): Promise<void> => {
      await w.store.deleteBucket(NEXT);
      await w.store.createBucket(NEXT, {});
    };
    const fresh = async (): Promise<void> => {
      await w.store.createBucket(NEXT, {});
    };

    it.each(['k', 'dir/k', 'odd//k', 'dir/'])('gets no put, and no append, that began before: %s', async (key) => {
      await fresh();
      await refuses(w.store.put(NEXT, key, slow('late', again)), 'NoSuchBucket');
      await refuses(w.store.append(NEXT, key, 0, slow('late', again)), 'NoSuchBucket');
      expect(await list(w.store, {}, NEXT)).toEqual([]);
    });

    it('gets no copy that began before', async () => {
      await fresh();
      await put(w.store, 'big', Buffer.alloc(16 << 20, 'x'));
      let work: Promise<unknown> | undefined;
      const copy = w.store.copy(
        { bucket: BUCKET, key: 'big' },
        { bucket: NEXT, key: 'k' },
        {
          facts: () => {
            work ??= again();
            return {};
          },
        },
      );
      await refuses(copy, 'NoSuchBucket');
      await work;
      expect(await list(w.store, {}, NEXT)).toEqual([]);
    });

    it('gets no object of an upload to the one before', async () => {
      await fresh();
      const { uploadId } = await w.store.createUpload(NEXT, 'k', {});
      const part = await w.store.putPart(NEXT, 'k', uploadId, 1, body('a'));
      let work: Promise<unknown> | undefined;
      const onProgress = (): void => {
        work ??= again();
      };
      const refs = [{ partNumber: 1, etag: part.etag, checksums: {} }];
      await refuses(w.store.completeUpload(NEXT, 'k', uploadId, refs, { onProgress }), 'NoSuchBucket', 'NoSuchUpload');
      await work;
      expect(await list(w.store, {}, NEXT)).toEqual([]);
    });
  });
}
