import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { S3Error } from '../../../src/base/errors.js';
import type { KeyFacts } from '../../../src/base/model.js';
import type { MakeStore } from './kit.js';
import {
  BUCKET,
  body,
  brokenBody,
  exists,
  get,
  list,
  md5,
  picture,
  put,
  putParts,
  refuses,
  text,
  world,
} from './kit.js';

/** One of everything that a client can say of a key. */
export const ALL_FACTS: KeyFacts = {
  contentType: 'image/x-odd; charset=utf-8',
  contentEncoding: 'br',
  contentDisposition: 'attachment; filename="ü.jpg"',
  contentLanguage: 'de, en',
  cacheControl: 'max-age=60',
  expires: 'not a date',
  websiteRedirect: '/elsewhere',
  storageClass: 'STANDARD_IA',
  metadata: { colour: 'grün', empty: '' },
  tags: [
    ['zeta', '1'],
    ['alpha', 'two words'],
  ],
  owner: { id: 'o1', displayName: 'Owner One' },
  acl: {
    owner: { id: 'o1', displayName: 'Owner One' },
    grants: [{ grantee: { type: 'CanonicalUser', id: 'o2' }, permission: 'READ' }],
  },
};

export function objectContract(make: MakeStore): void {
  describe('objects', () => {
    const w = world(make);

    it('puts a file at its path, with the facts that head and list tell', async () => {
      const before = Date.now();
      const info = await put(w.store, 'a/b/c.txt', 'hello');
      expect(await readFile(w.at('a/b/c.txt'), 'utf8')).toBe('hello');
      expect(info).toMatchObject({ bucket: BUCKET, key: 'a/b/c.txt', size: 5, etag: md5('hello'), versionId: 'null' });
      expect(Math.abs(info.lastModified - before)).toBeLessThan(60_000);
      const file = await stat(w.at('a/b/c.txt'));
      expect(Math.abs(file.mtimeMs - info.lastModified)).toBeLessThan(1000);
      expect(await w.store.head(BUCKET, 'a/b/c.txt')).toEqual(info);
      const page = await w.store.list(BUCKET, { prefix: '', delimiter: '', after: '', max: 10 });
      expect(page.entries[0]).toMatchObject({ key: 'a/b/c.txt', size: 5, etag: md5('hello') });
    });

    it('keeps an empty object apart from none', async () => {
      expect(await put(w.store, 'empty', '')).toMatchObject({ size: 0, etag: md5('') });
      expect(await text(w.store, 'empty')).toBe('');
      await refuses(w.store.head(BUCKET, 'nothing'), 'NoSuchKey');
      await refuses(w.store.open(BUCKET, 'nothing'), 'NoSuchKey');
    });

    it('reads any range in order, one chunk at a time', async () => {
      const bytes = Buffer.alloc(3 * 1024 * 1024 + 17);
      for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(at, Math.min(at, bytes.length - 4));
      await put(w.store, 'big', bytes);
      const open = await w.store.open(BUCKET, 'big');
      try {
        for (const [start, end] of [
          [0, bytes.length],
          [1, 2],
          [524_287, 1_048_577],
          [bytes.length - 1, bytes.length],
          [5, 5],
        ] as const) {
          const got: Buffer[] = [];
          let inside = 0;
          await open.read(start, end, async (chunk) => {
            expect(++inside).toBe(1);
            await new Promise((resolve) => setImmediate(resolve));
            got.push(Buffer.from(chunk));
            inside--;
          });
          expect(Buffer.concat(got).equals(bytes.subarray(start, end))).toBe(true);
        }
      } finally {
        await open.close();
      }
    });

    it('stops reading when the sink throws', async () => {
      await put(w.store, 'big', Buffer.alloc(2_000_000, 'x'));
      const open = await w.store.open(BUCKET, 'big');
      await expect(open.read(0, 2_000_000, () => Promise.reject(new Error('client left')))).rejects.toThrow(
        'client left',
      );
      await open.close();
      expect((await get(w.store, 'big')).bytes).toHaveLength(2_000_000);
    });

    it('keeps whatever a client says of a key', async () => {
      await w.store.put(BUCKET, 'k', body('x'), { facts: ALL_FACTS });
      expect((await w.store.head(BUCKET, 'k')).facts).toMatchObject(ALL_FACTS);
      expect((await get(w.store, 'k')).info.facts).toMatchObject(ALL_FACTS);
      await put(w.store, 'k', 'y');
      const facts = (await w.store.head(BUCKET, 'k')).facts;
      expect(facts.metadata ?? {}).toEqual({});
      expect(facts.tags ?? []).toEqual([]);
      // Without one from the client it may be guessed.
      expect(facts.contentType).not.toBe(ALL_FACTS.contentType);
    });

    it('drops the set-id bits of a file that it overwrites: bytes of a client must not run as its owner', async () => {
      const { uploadId } = await w.store.createUpload(BUCKET, 'complete', {});
      const parts = await putParts(w.store, 'complete', uploadId, [[1, 'a client']]);
      await put(w.store, 'source', 'a client');
      for (const key of ['put', 'copy', 'complete']) {
        await w.foreign(key, 'a program');
        await chmod(w.at(key), 0o6755);
      }
      await put(w.store, 'put', 'a client');
      await w.store.copy({ bucket: BUCKET, key: 'source' }, { bucket: BUCKET, key: 'copy' }, { facts: () => ({}) });
      await w.store.completeUpload(
        BUCKET,
        'complete',
        uploadId,
        parts.map(({ partNumber, etag }) => ({ partNumber, etag, checksums: {} })),
      );
      for (const key of ['put', 'copy', 'complete']) {
        expect(await text(w.store, key)).toBe('a client');
        expect((await stat(w.at(key))).mode & 0o7777).toBe(0o755);
      }
    });

    it('overwrites whole, keeping the mode of the file', async () => {
      await put(w.store, 'k', 'one');
      await chmod(w.at('k'), 0o640);
      await put(w.store, 'k', 'second');
      expect(await readFile(w.at('k'), 'utf8')).toBe('second');
      expect((await stat(w.at('k'))).mode & 0o777).toBe(0o640);
      expect((await w.store.head(BUCKET, 'k')).etag).toBe(md5('second'));
    });

    it('lets a reader that opened the old object read it to its end', async () => {
      await put(w.store, 'k', 'old '.repeat(100_000));
      const open = await w.store.open(BUCKET, 'k');
      await put(w.store, 'k', 'new');
      const got: Buffer[] = [];
      await open.read(0, open.info.size, (chunk) => {
        got.push(Buffer.from(chunk));
      });
      await open.close();
      expect(Buffer.concat(got).toString()).toBe('old '.repeat(100_000));
    });

    it('deletes, tells whether there was anything, and forgets the facts', async () => {
      await w.store.put(BUCKET, 'k', body('x'), { facts: ALL_FACTS });
      expect(await w.store.delete(BUCKET, 'k')).toBe(true);
      expect(await w.store.delete(BUCKET, 'k')).toBe(false);
      expect(await exists(w.at('k'))).toBe(false);
      await refuses(w.store.head(BUCKET, 'k'), 'NoSuchKey');
      await w.foreign('k', 'of another');
      expect((await w.store.head(BUCKET, 'k')).facts.metadata ?? {}).toEqual({});
    });

    it('deletes many at once, each by itself', async () => {
      const many = Array.from({ length: 150 }, (_, n) => `many/${n % 7}/${n}`);
      for (const key of many) await put(w.store, key, key);
      await put(w.store, 'many/1', 'no path: a folder is there');
      await put(w.store, 'marker/', '');
      await w.foreign('foreign', 'of another');
      const { etag } = await put(w.store, 'matches', 'x');
      await put(w.store, 'differs', 'x');
      const outcomes = await w.store.deleteEach(BUCKET, [
        { key: 'never' },
        { key: 'matches', condition: { ifMatch: [etag] } },
        { key: 'differs', condition: { ifMatch: [md5('y')] } },
        { key: 'gone', condition: { ifMatch: [etag] } },
        { key: 'marker/' },
        { key: 'foreign' },
        ...many.map((key) => ({ key })),
        { key: 'many/1' },
        { key: 'many/2/2' },
      ]);
      const told = outcomes.map((one) => (one.status === 'fulfilled' ? one.value : (one.reason as S3Error).code));
      expect(told.slice(0, 6)).toEqual([false, true, 'PreconditionFailed', 'NoSuchKey', true, true]);
      expect(told.slice(6)).toEqual([...many.map(() => true), true, false]);
      expect(await list(w.store)).toEqual(['differs']);
      expect(await readdir(w.at())).toEqual(['differs']);
      expect(await w.store.deleteEach(BUCKET, [])).toEqual([]);
    });

    it('lets others have their turn while many are deleted', async () => {
      const many = Array.from({ length: 400 }, (_, n) => `k${n}`);
      for (const key of many) await w.foreign(key, key);
      let turns = 0;
      const others = setInterval(() => turns++, 0);
      await w.store.deleteEach(
        BUCKET,
        many.map((key) => ({ key })),
      );
      clearInterval(others);
      expect(turns).toBeGreaterThan(3);
      expect(await list(w.store)).toEqual([]);
    });

    it('refuses each of many where none may be deleted', async () => {
      const outcomes = await w.store.deleteEach('nowhere', [{ key: 'a' }, { key: 'b' }]);
      expect(outcomes.map((one) => one.status === 'rejected' && (one.reason as S3Error).code)).toEqual([
        'NoSuchBucket',
        'NoSuchBucket',
      ]);
    });

    it('removes the folders that it made and no others', async () => {
      await put(w.store, 'mine/deep/k', 'x');
      await w.store.delete(BUCKET, 'mine/deep/k');
      expect(await readdir(w.at())).toEqual([]);

      await mkdir(w.at('yours'));
      await put(w.store, 'yours/mine/k', 'x');
      await w.store.delete(BUCKET, 'yours/mine/k');
      expect(await picture(w.at())).toEqual({ yours: 'directory' });

      await put(w.store, 'shared/k', 'x');
      await writeFile(w.at('shared/.DS_Store'), 'junk');
      await w.store.delete(BUCKET, 'shared/k');
      expect(await exists(w.at('shared/.DS_Store'))).toBe(true);
    });

    it('publishes nothing of a body that breaks, is short or is long', async () => {
      await put(w.store, 'k', 'whole');
      const before = await picture(w.root);
      for (const key of ['k', 'new/folder/k', 'over//flow']) {
        await refuses(w.store.put(BUCKET, key, brokenBody('half')), 'IncompleteBody');
        await refuses(w.store.put(BUCKET, key, body('half', 10)), 'IncompleteBody');
        await expect(w.store.put(BUCKET, key, body('much too long', 3))).rejects.toThrow(S3Error);
      }
      expect(await picture(w.root)).toEqual(before);
      expect(await list(w.store)).toEqual(['k']);
      expect(await text(w.store, 'k')).toBe('whole');
      expect(await leftInStaging(w.root)).toEqual([]);
    });

    it('hands digests to the check, keeps the one to store, and publishes nothing if the check refuses', async () => {
      let seen: Record<string, string> = {};
      await w.store.put(BUCKET, 'k', body('123456789'), {
        digests: {
          algorithms: ['CRC32', 'SHA256', 'CRC64NVME', 'CRC32C'],
          store: 'CRC64NVME',
          check: (digests, size) => {
            expect(size).toBe(9);
            seen = Object.fromEntries(Object.entries(digests).map(([name, value]) => [name, value.toString('hex')]));
          },
        },
      });
      // The published check values of the CRC catalogue over "123456789".
      expect(seen).toMatchObject({
        CRC32: 'cbf43926',
        CRC32C: 'e3069283',
        CRC64NVME: 'ae8b14860a799888',
        MD5: md5('123456789'),
      });
      expect((await w.store.head(BUCKET, 'k')).checksum).toEqual({
        algorithm: 'CRC64NVME',
        type: 'FULL_OBJECT',
        value: Buffer.from('ae8b14860a799888', 'hex').toString('base64'),
      });
      const refused = w.store.put(BUCKET, 'other', body('x'), {
        digests: {
          algorithms: [],
          check: () => {
            throw new S3Error('BadDigest');
          },
        },
      });
      await refuses(refused, 'BadDigest');
      expect(await list(w.store)).toEqual(['k']);
      expect(await exists(w.at('other'))).toBe(false);
    });

    it('drops the checksum of a key that is overwritten without one, inside or outside', async () => {
      const digests = { algorithms: ['CRC32'] as ['CRC32'], store: 'CRC32' as const };
      await w.store.put(BUCKET, 'k', body('one'), { digests });
      const first = (await w.store.head(BUCKET, 'k')).checksum;
      expect(first?.algorithm).toBe('CRC32');
      await put(w.store, 'k', 'two');
      expect((await w.store.head(BUCKET, 'k')).checksum).not.toEqual(first);
      await w.store.put(BUCKET, 'k', body('one'), { digests });
      await w.foreign('k', 'changed outside');
      expect((await w.store.head(BUCKET, 'k')).checksum).toBeUndefined();
    });

    it('never mixes concurrent puts of one key', async () => {
      const bodies = Array.from({ length: 12 }, (_, n) => String.fromCharCode(97 + n).repeat(200_000 + n));
      const tags = new Map(bodies.map((content) => [md5(content), content]));
      await put(w.store, 'k', bodies[0] ?? '');
      let writing = true;
      const reader = async (): Promise<number> => {
        let reads = 0;
        while (writing) {
          const { info, bytes } = await get(w.store, 'k');
          expect(tags.get(info.etag)?.length).toBe(info.size);
          expect(md5(bytes)).toBe(info.etag);
          reads++;
          // A store that answers from memory must leave the writers a turn.
          await new Promise((resolve) => setImmediate(resolve));
        }
        return reads;
      };
      const readers = [reader(), reader()];
      await Promise.all(
        bodies.map((content, n) => w.store.put(BUCKET, 'k', body(content), { facts: { metadata: { n: String(n) } } })),
      );
      writing = false;
      for (const reads of await Promise.all(readers)) expect(reads).toBeGreaterThan(0);
      const { info, bytes } = await get(w.store, 'k');
      expect(bytes.toString()).toBe(bodies[Number(info.facts.metadata?.n)]);
      expect(await leftInStaging(w.root)).toEqual([]);
    });

    it('survives puts and deletes that make and remove the same folders', async () => {
      const work = Array.from({ length: 8 }, async (_, n) => {
        for (let round = 0; round < 6; round++) {
          await put(w.store, `d/e/${n}`, `${n}-${round}`);
          expect(await text(w.store, `d/e/${n}`)).toBe(`${n}-${round}`);
          expect(await w.store.delete(BUCKET, `d/e/${n}`)).toBe(true);
        }
      });
      await Promise.all(work);
      expect(await list(w.store)).toEqual([]);
      expect(await readdir(w.at())).toEqual([]);
    });

    it('changes facts without touching the bytes, and loses no concurrent change', async () => {
      const before = await put(w.store, 'k', 'x');
      await Promise.all(
        Array.from({ length: 10 }, (_, n) =>
          w.store.updateFacts(BUCKET, 'k', (facts, info) => {
            expect(info.etag).toBe(before.etag);
            return { ...facts, tags: [...(facts.tags ?? []), [`t${n}`, ''] as [string, string]] };
          }),
        ),
      );
      const after = await w.store.head(BUCKET, 'k');
      expect(after.facts.tags?.map(([key]) => key).sort()).toEqual(Array.from({ length: 10 }, (_, n) => `t${n}`));
      expect({ ...after, facts: {} }).toEqual({ ...before, facts: {} });
      await refuses(
        w.store.updateFacts(BUCKET, 'none', (facts) => facts),
        'NoSuchKey',
      );
      await w.foreign('theirs', 'x');
      await w.store.updateFacts(BUCKET, 'theirs', (facts) => ({ ...facts, tags: [['a', 'b']] }));
      expect((await w.store.head(BUCKET, 'theirs')).facts.tags).toEqual([['a', 'b']]);
    });
  });
}

/** Bodies that were left behind. Files that the local store keeps there for its own use are not meant. */
async function leftInStaging(root: string): Promise<string[]> {
  const staging = path.join(root, '.gos3rve', 'staging');
  const found = await readdir(staging, { recursive: true, withFileTypes: true }).catch(() => []);
  return found.filter((entry) => entry.isFile() && entry.name !== 'clock').map((entry) => entry.name);
}
