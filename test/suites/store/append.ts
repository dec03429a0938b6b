import { chmod, link, readFile, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { MakeStore } from './kit.js';
import { BUCKET, MIN_PART, body, brokenBody, list, put, putInParts, refuses, text, world } from './kit.js';

const TWO_PARTS: [number, string][] = [
  [1, 'a'.repeat(MIN_PART)],
  [2, 'b'],
];

export function appendContract(make: MakeStore): void {
  describe('append', () => {
    const w = world(make);

    it('creates at 0 and grows at the end, in place', async () => {
      await w.store.append(BUCKET, 'logs/l', 0, body('one,'), { facts: { contentType: 'text/log' } });
      const inode = (await stat(w.at('logs/l'))).ino;
      const info = await w.store.append(BUCKET, 'logs/l', 4, body('two'));
      expect(info.size).toBe(7);
      expect(info.facts.contentType).toBe('text/log');
      expect((await stat(w.at('logs/l'))).ino).toBe(inode);
      expect(await text(w.store, 'logs/l')).toBe('one,two');
      expect((await w.store.head(BUCKET, 'logs/l')).size).toBe(7);
    });

    it('gives another etag after each append', async () => {
      const first = await put(w.store, 'l', 'one');
      const second = await w.store.append(BUCKET, 'l', 3, body('two'));
      const third = await w.store.append(BUCKET, 'l', 6, body('three'));
      expect(new Set([first.etag, second.etag, third.etag]).size).toBe(3);
      expect((await w.store.head(BUCKET, 'l')).etag).toBe(third.etag);
    });

    it.each(['put', 'sent in parts', 'written by another program'])(
      'keeps its etag and parts when it was %s and other programs touch, rename and link it',
      async (made) => {
        if (made === 'written by another program') await w.foreign('d/l', 'theirs');
        else if (made === 'put') await put(w.store, 'd/l', 'ours');
        else await putInParts(w.store, 'd/l', TWO_PARTS);
        for (const piece of ['piece', 'another'])
          await w.store.append(BUCKET, 'd/l', (await stat(w.at('d/l'))).size, body(piece));
        const { etag, partCount } = await w.store.head(BUCKET, 'd/l');
        expect(etag.endsWith(`-${String(partCount)}`)).toBe(true);
        const told = async (key: string): Promise<void> =>
          expect(await w.store.head(BUCKET, key)).toMatchObject({ etag, partCount });
        await chmod(w.at('d/l'), 0o600);
        await told('d/l');
        await rename(w.at('d/l'), w.at('d/m'));
        await told('d/m');
        await link(w.at('d/m'), w.at('d/twin'));
        for (const key of ['d/m', 'd/twin']) await told(key);
        await rename(w.at('d'), w.at('e'));
        for (const key of ['e/m', 'e/twin']) await told(key);
      },
    );

    it('refuses any other offset', async () => {
      await put(w.store, 'l', 'four');
      for (const offset of [0, 3, 5])
        await refuses(w.store.append(BUCKET, 'l', offset, body('x')), 'InvalidWriteOffset');
      await refuses(w.store.append(BUCKET, 'none', 1, body('x')), 'InvalidWriteOffset', 'NoSuchKey');
      expect(await list(w.store)).toEqual(['l']);
      expect(await text(w.store, 'l')).toBe('four');
    });

    it('lets one of several appenders at an offset win', async () => {
      await put(w.store, 'l', 'head ');
      const results = await Promise.allSettled(
        ['aaaa', 'bbbb', 'cccc', 'dddd'].map((content) => w.store.append(BUCKET, 'l', 5, body(content))),
      );
      expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
      expect(await text(w.store, 'l')).toMatch(/^head (aaaa|bbbb|cccc|dddd)$/);
    });

    it('leaves the old length when the body breaks', async () => {
      await put(w.store, 'l', 'safe');
      await refuses(w.store.append(BUCKET, 'l', 4, brokenBody('torn')), 'IncompleteBody');
      await refuses(w.store.append(BUCKET, 'l', 4, body('short', 20)), 'IncompleteBody');
      expect(await text(w.store, 'l')).toBe('safe');
      expect((await stat(w.at('l'))).size).toBe(4);
    });

    /** Starts an append long enough to be met on its way. */
    const longAppend = async (
      key: string,
      meet: () => Promise<unknown>,
    ): Promise<{ size: number; outcome: string }> => {
      const piece = Buffer.alloc(48 << 20, 'x');
      async function* chunks(): AsyncGenerator<Uint8Array> {
        for (let at = 0; at < piece.length; at += 1 << 20) yield piece.subarray(at, at + (1 << 20));
      }
      const before = (await stat(w.at(key))).size;
      const append = w.store.append(BUCKET, key, before, { chunks: chunks() }).then(
        () => 'done',
        (error: Error) => error.name,
      );
      while ((await stat(w.at(key))).size === before) await new Promise((resolve) => setImmediate(resolve));
      await meet();
      return { size: before + piece.length, outcome: await append };
    };

    it('is not met half done by a move', { timeout: 60_000 }, async () => {
      await put(w.store, 'l', 'four');
      let moved = 'moved';
      const { size, outcome } = await longAppend('l', () =>
        w.store.move({ bucket: BUCKET, key: 'l' }, { bucket: BUCKET, key: 'm' }).catch((error: unknown) => {
          moved = String(error);
        }),
      );
      const key = moved === 'moved' ? 'm' : 'l';
      expect(await list(w.store)).toEqual([key]);
      expect((await w.store.head(BUCKET, key)).size).toBe(outcome === 'done' ? size : 4);
      expect((await stat(w.at(key))).size).toBe(outcome === 'done' ? size : 4);
    });

    it('is cut back where another program has renamed the file meanwhile', { timeout: 60_000 }, async () => {
      await put(w.store, 'l', 'four');
      const { outcome } = await longAppend('l', () => rename(w.at('l'), w.at('r')));
      expect(outcome).toBe('S3Error');
      expect(await readFile(w.at('r'), 'utf8')).toBe('four');
      expect(await list(w.store)).toEqual(['r']);
    });

    it('keeps what is known of a file that was cut back', { timeout: 60_000 }, async () => {
      const { etag } = await putInParts(w.store, 'l', TWO_PARTS);
      const { outcome } = await longAppend('l', () => rename(w.at('l'), w.at('r')));
      expect(outcome).toBe('S3Error');
      await rename(w.at('r'), w.at('l'));
      expect((await w.store.head(BUCKET, 'l')).etag).toBe(etag);
      await w.store.close();
      await rm(path.join(w.root, '.gos3rve', 'index'), { recursive: true });
      const again = await make({ root: w.root });
      try {
        expect(await again.store.head(BUCKET, 'l')).toMatchObject({ etag, partCount: 2 });
      } finally {
        await again.store.close();
      }
    });

    it('numbers the parts anew where the next number would be none, also without the index', async () => {
      await putInParts(w.store, 'l', [
        [7, 'a'.repeat(MIN_PART)],
        [9999, 'b'],
      ]);
      const numbers = async (store = w.store): Promise<number[]> => {
        const open = await store.open(BUCKET, 'l');
        const parts = await open.parts();
        await open.close();
        return parts.map(({ partNumber }) => partNumber);
      };
      const seen: number[][] = [];
      for (const offset of [1, 2, 3]) {
        await w.store.append(BUCKET, 'l', MIN_PART + offset, body('c'));
        seen.push(await numbers());
      }
      expect(seen).toEqual([
        [7, 9999, 10_000],
        [1, 2, 3, 4],
        [1, 2, 3, 4, 5],
      ]);
      await w.store.close();
      await rm(path.join(w.root, '.gos3rve', 'index'), { recursive: true });
      const again = await make({ root: w.root });
      try {
        expect(await numbers(again.store)).toEqual([1, 2, 3, 4, 5]);
      } finally {
        await again.store.close();
      }
    });

    /** An overflow object at `a/b`, and a real file of the same name. */
    const conflict = async (): Promise<() => Promise<void>> => {
      await put(w.store, 'a', 'file');
      await put(w.store, 'a/b', 'overflow');
      return async () => {
        await rm(w.at('a'));
        await w.foreign('a/b', 'real');
      };
    };

    it('to a real file at an overflow key is the end of the copy kept aside', async () => {
      await (
        await conflict()
      )();
      await w.store.append(BUCKET, 'a/b', 4, body(' more'));
      expect(await text(w.store, 'a/b')).toBe('real more');
      await rm(w.at('a/b'));
      await refuses(w.store.head(BUCKET, 'a/b'), 'NoSuchKey');
      expect(await list(w.store)).toEqual([]);
    });

    it('to an overflow object is refused when a real file appears meanwhile; both stay', async () => {
      const appear = await conflict();
      async function* chunks(): AsyncGenerator<Uint8Array> {
        yield Buffer.from(' mo');
        await appear();
        yield Buffer.from('re');
      }
      await refuses(w.store.append(BUCKET, 'a/b', 8, { chunks: chunks() }), 'InvalidWriteOffset');
      expect(await text(w.store, 'a/b')).toBe('real');
      await rm(w.at('a/b'));
      expect(await text(w.store, 'a/b')).toBe('overflow');
    });

    it('never grows the other name of a hard-linked file', async () => {
      await put(w.store, 'l', 'both');
      await link(w.at('l'), w.at('twin'));
      await w.store.append(BUCKET, 'l', 4, body(' mine'));
      expect(await readFile(w.at('twin'), 'utf8')).toBe('both');
      expect(await text(w.store, 'l')).toBe('both mine');
    });

    it('appends to keys that are no path and to foreign files', async () => {
      await put(w.store, 'odd//l', 'a');
      await w.store.append(BUCKET, 'odd//l', 1, body('b'));
      await w.foreign('theirs', 'a');
      await w.store.append(BUCKET, 'theirs', 1, body('b'));
      expect([await text(w.store, 'odd//l'), await text(w.store, 'theirs')]).toEqual(['ab', 'ab']);
    });
  });
}
