import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { WriteCondition } from '../../../src/base/model.js';
import type { Part, PartRef, UploadPage } from '../../../src/store/contract.js';
import type { MakeStore } from './kit.js';
import {
  BUCKET,
  MIN_PART,
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
import { ALL_FACTS } from './objects.js';

const refs = (parts: Part[]): PartRef[] => parts.map(({ partNumber, etag }) => ({ partNumber, etag, checksums: {} }));
const part = (letter: string, size = MIN_PART): string => letter.repeat(size);

/** ETag of a multipart object: MD5 of the parts' MD5s, and their count. */
export function multipartEtag(contents: string[]): string {
  return `${md5(Buffer.concat(contents.map((content) => Buffer.from(md5(content), 'hex'))))}-${contents.length}`;
}
const crc = (content: string | Buffer): Buffer => {
  const digest = Buffer.alloc(4);
  digest.writeUInt32BE(crc32(content));
  return digest;
};

export function multipartContract(make: MakeStore): void {
  describe('multipart', () => {
    const w = world(make);
    const start = async (key = 'm'): Promise<string> => (await w.store.createUpload(BUCKET, key, {})).uploadId;

    it('makes one object of parts sent in any order, with the facts of its start', async () => {
      const upload = await w.store.createUpload(BUCKET, 'deep/m', { facts: ALL_FACTS });
      expect(upload.uploadId).toMatch(/^[\w-]+$/);
      const sent = await putParts(w.store, 'deep/m', upload.uploadId, [
        [7, part('c', 10)],
        [1, part('a')],
        [3, part('b', 3000)],
      ]);
      expect(await list(w.store)).toEqual([]);
      expect(await exists(w.at('deep'))).toBe(false);
      const ordered = [...sent].sort((a, b) => a.partNumber - b.partNumber);
      const info = await w.store.completeUpload(BUCKET, 'deep/m', upload.uploadId, refs(ordered));
      const contents = [part('a'), part('b', 3000), part('c', 10)];
      expect(info).toMatchObject({ key: 'deep/m', size: 4034, etag: multipartEtag(contents), partCount: 3 });
      expect(info.facts).toMatchObject(ALL_FACTS);
      expect(await readFile(w.at('deep/m'), 'utf8')).toBe(contents.join(''));
      expect(await w.store.head(BUCKET, 'deep/m')).toEqual(info);
      const open = await w.store.open(BUCKET, 'deep/m');
      expect((await open.parts()).map(({ size }) => size)).toEqual([1024, 3000, 10]);
      await open.close();
      await refuses(w.store.getUpload(BUCKET, 'deep/m', upload.uploadId), 'NoSuchUpload');
    });

    it('takes the last of parts sent twice, and keeps the old one when the second breaks', async () => {
      const id = await start();
      await putParts(w.store, 'm', id, [[1, part('x', 5000)]]);
      const [again] = await putParts(w.store, 'm', id, [[1, part('y')]]);
      await refuses(w.store.putPart(BUCKET, 'm', id, 1, brokenBody('zzz')), 'IncompleteBody');
      await refuses(w.store.putPart(BUCKET, 'm', id, 1, body('zzz', 9)), 'IncompleteBody');
      const { parts } = await w.store.listParts(BUCKET, 'm', id, { after: 0, max: 10 });
      expect(parts).toMatchObject([{ partNumber: 1, size: MIN_PART, etag: md5(part('y')) }]);
      if (again) await w.store.completeUpload(BUCKET, 'm', id, refs([again]));
      expect(await text(w.store, 'm')).toBe(part('y'));
    });

    it('never mixes parts that are sent at the same time', async () => {
      const id = await start();
      const letters = ['a', 'b', 'c', 'd', 'e', 'f'];
      await Promise.all(
        letters.flatMap((letter) => [1, 2].map((n) => w.store.putPart(BUCKET, 'm', id, n, body(part(letter, 50_000))))),
      );
      const { parts } = await w.store.listParts(BUCKET, 'm', id, { after: 0, max: 10 });
      await w.store.completeUpload(BUCKET, 'm', id, refs(parts));
      const whole = await text(w.store, 'm');
      for (const [n, one] of parts.entries()) expect(md5(whole.slice(n * 50_000, (n + 1) * 50_000))).toBe(one.etag);
    });

    it('gives the same answer when completed again, and to two at once', async () => {
      const id = await start();
      const parts = refs(await putParts(w.store, 'm', id, [[1, 'x']]));
      const twins = await Promise.all([1, 2].map(() => w.store.completeUpload(BUCKET, 'm', id, parts)));
      expect(twins[0]?.etag).toBe(twins[1]?.etag);
      expect((await w.store.completeUpload(BUCKET, 'm', id, parts)).etag).toBe(multipartEtag(['x']));
      expect(await list(w.store)).toEqual(['m']);
    });

    const DURING: [string, (n: number) => string, string[]][] = [
      ['takes a part that is sent again while the upload is completed', () => part('x'), ['done']],
      [
        'never mixes in a part that is replaced while the upload is completed',
        (n) => part(n % 2 ? 'y' : 'x'),
        ['done', 'InvalidPart'],
      ],
    ];
    it.each(DURING)('%s', async (_name, content, allowed) => {
      const numbers = Array.from({ length: 24 }, (_, i) => i + 1);
      const answers = new Set<string>();
      for (let round = 0; round < 3; round++) {
        const id = await start();
        const listed = refs(
          await putParts(
            w.store,
            'm',
            id,
            numbers.map((n) => [n, part('x')]),
          ),
        );
        const again = async (number: number): Promise<unknown> => {
          for (let n = 0; ; n++) await w.store.putPart(BUCKET, 'm', id, number, body(content(n)));
        };
        const sent = [12, 18, 24].map((number) => refuses(again(number), 'NoSuchUpload'));
        const answer = await w.store.completeUpload(BUCKET, 'm', id, listed).then(
          () => 'done',
          (error: Error & { code?: string }) => error.code ?? error.message,
        );
        answers.add(answer);
        if (answer === 'done') expect(md5(await text(w.store, 'm'))).toBe(md5(part('x', 24 * MIN_PART)));
        else await w.store.abortUpload(BUCKET, 'm', id);
        await Promise.all(sent);
        expect(await readdir(path.join(w.root, '.gos3rve', 'staging', 'uploads'))).toEqual([]);
      }
      expect([...answers].filter((one) => !allowed.includes(one))).toEqual([]);
    });

    it('leaves nothing of a part that is only begun when the upload is aborted', async () => {
      const id = await start();
      const sent = refuses(w.store.putPart(BUCKET, 'm', id, 1, body('late')), 'NoSuchUpload');
      await w.store.abortUpload(BUCKET, 'm', id);
      await sent;
      expect(await readdir(path.join(w.root, '.gos3rve', 'staging', 'uploads'))).toEqual([]);
    });

    it('tells before it joins the parts that its condition does not hold, and counts it once done', async () => {
      const uploadId = await start();
      const sent = refs(
        await putParts(w.store, 'm', uploadId, [
          [1, part('a')],
          [2, part('b')],
        ]),
      );
      let joined = 0;
      const complete = (condition: WriteCondition) =>
        w.store.completeUpload(BUCKET, 'm', uploadId, sent, { condition, onProgress: () => joined++ });
      await refuses(complete({ ifMatch: [md5('x')] }), 'NoSuchKey');
      await put(w.store, 'm', 'there');
      await refuses(complete({ ifNoneMatch: ['*'] }), 'PreconditionFailed');
      await refuses(complete({ ifMatch: [md5('x')] }), 'PreconditionFailed');
      expect(joined).toBe(0);
      await w.store.delete(BUCKET, 'm');
      const info = await complete({ ifNoneMatch: ['*'] });
      expect(joined).toBeGreaterThan(0);
      expect(await complete({ ifNoneMatch: ['*'] })).toMatchObject({ etag: info.etag });
    });

    it('publishes only the parts that are named', async () => {
      const id = await start();
      const parts = await putParts(w.store, 'm', id, [
        [1, part('a')],
        [2, part('b')],
        [3, part('c')],
      ]);
      await w.store.completeUpload(BUCKET, 'm', id, refs(parts.filter(({ partNumber }) => partNumber !== 2)));
      expect(await text(w.store, 'm')).toBe(part('a') + part('c'));
    });

    it('refuses what S3 refuses, and leaves the upload as it was', async () => {
      const id = await start();
      const parts = refs(
        await putParts(w.store, 'm', id, [
          [1, part('a', MIN_PART - 1)],
          [2, 'b'],
        ]),
      );
      const [one, two] = parts;
      if (!one || !two) throw new Error('two parts were sent');
      const complete = (list_: PartRef[], options = {}): Promise<unknown> =>
        w.store.completeUpload(BUCKET, 'm', id, list_, options);
      const before = await picture(w.root);
      await refuses(complete([one, two]), 'EntityTooSmall');
      await refuses(complete([two, one]), 'InvalidPartOrder');
      await refuses(complete([one, one]), 'InvalidPartOrder');
      await refuses(complete([{ ...one, etag: md5('else') }]), 'InvalidPart');
      await refuses(complete([one, { ...two, partNumber: 3 }]), 'InvalidPart');
      await refuses(complete([]), 'InvalidPart', 'MalformedXML', 'InvalidRequest');
      await refuses(complete([two], { size: 7 }), 'InvalidRequest', 'IncompleteBody', 'BadDigest');
      await refuses(
        complete([two], { checksum: { algorithm: 'CRC32', value: crc('no').toString('base64') } }),
        'BadDigest',
        'InvalidRequest',
      );
      expect(await picture(w.root)).toEqual(before);
      expect(await list(w.store)).toEqual([]);
      await complete([two], { size: 1 });
      expect(await text(w.store, 'm')).toBe('b');
    });

    it('knows an upload only by its own bucket, key and id', async () => {
      const id = await start();
      await w.store.createBucket('other', {});
      const ids = [
        id.slice(1),
        `${id}x`,
        'nothing',
        '..',
        '../..',
        `../${id}`,
        `${id}/`,
        `${id}/../${id}`,
        '',
        '.',
        '\0',
        '%2e%2e',
      ];
      for (const wrong of ids) {
        await refuses(w.store.getUpload(BUCKET, 'm', wrong), 'NoSuchUpload');
        await refuses(w.store.putPart(BUCKET, 'm', wrong, 1, body('x')), 'NoSuchUpload');
        await refuses(w.store.listParts(BUCKET, 'm', wrong, { after: 0, max: 1 }), 'NoSuchUpload');
        await refuses(w.store.completeUpload(BUCKET, 'm', wrong, []), 'NoSuchUpload');
        await refuses(w.store.abortUpload(BUCKET, 'm', wrong), 'NoSuchUpload');
      }
      await refuses(w.store.getUpload(BUCKET, 'n', id), 'NoSuchUpload');
      await refuses(w.store.getUpload('other', 'm', id), 'NoSuchUpload');
      await refuses(w.store.abortUpload('other', 'm', id), 'NoSuchUpload');
      expect((await w.store.getUpload(BUCKET, 'm', id)).uploadId).toBe(id);
    });

    it('aborts, leaving nothing', async () => {
      const id = await start();
      await putParts(w.store, 'm', id, [[1, part('a')]]);
      await w.store.abortUpload(BUCKET, 'm', id);
      await refuses(w.store.putPart(BUCKET, 'm', id, 2, body('x')), 'NoSuchUpload');
      await refuses(w.store.completeUpload(BUCKET, 'm', id, []), 'NoSuchUpload');
      expect(
        (await w.store.listUploads(BUCKET, { prefix: '', delimiter: '', keyMarker: '', uploadIdMarker: '', max: 10 }))
          .entries,
      ).toEqual([]);
    });

    it('lists parts page by page', async () => {
      const id = await start();
      await putParts(
        w.store,
        'm',
        id,
        [12, 2, 10000, 1, 100].map((n): [number, string] => [n, `part ${n}`]),
      );
      const first = await w.store.listParts(BUCKET, 'm', id, { after: 0, max: 2 });
      expect(first.parts.map(({ partNumber }) => partNumber)).toEqual([1, 2]);
      expect(first.truncated).toBe(true);
      const second = await w.store.listParts(BUCKET, 'm', id, { after: 2, max: 3 });
      expect(second.parts.map(({ partNumber, etag }) => [partNumber, etag])).toEqual(
        [12, 100, 10000].map((n) => [n, md5(`part ${n}`)]),
      );
      expect(second.truncated).toBe(false);
    });

    it('lists uploads by key and time, with prefix, delimiter and pages', async () => {
      const started: [string, string][] = [];
      for (const key of ['b', 'a/2', 'a/1', 'b', 'c//odd', '\u{1f600}', '\ufffd'])
        started.push([key, await start(key)]);
      const ask = (query = {}): Promise<UploadPage> =>
        w.store.listUploads(BUCKET, {
          prefix: '',
          delimiter: '',
          keyMarker: '',
          uploadIdMarker: '',
          max: 100,
          ...query,
        });
      const keys = (page: UploadPage): string[] =>
        page.entries.map((entry) => ('prefix' in entry ? entry.prefix : entry.key));
      const all = ['a/1', 'a/2', 'b', 'b', 'c//odd', '\ufffd', '\u{1f600}'];
      expect(keys(await ask())).toEqual(all);
      const twins = (await ask({ prefix: 'b' })).entries.map((entry) => ('uploadId' in entry ? entry.uploadId : ''));
      expect(twins.sort()).toEqual(
        started
          .filter(([key]) => key === 'b')
          .map(([, id]) => id)
          .sort(),
      );
      expect(keys(await ask({ delimiter: '/' }))).toEqual(['a/', 'b', 'b', 'c/', '\ufffd', '\u{1f600}']);
      const seen: string[] = [];
      let marker: { keyMarker: string; uploadIdMarker: string } = { keyMarker: '', uploadIdMarker: '' };
      for (let n = 0; n < 20; n++) {
        const page = await ask({ max: 2, ...marker });
        seen.push(...keys(page));
        if (page.nextKeyMarker === undefined) break;
        marker = { keyMarker: page.nextKeyMarker, uploadIdMarker: page.nextUploadIdMarker ?? '' };
      }
      expect(seen).toEqual(all);
      expect(keys(await ask({ keyMarker: 'b' }))).toEqual(['c//odd', '\ufffd', '\u{1f600}']);
    });

    it('keeps checksums of parts: composite and over the whole object', async () => {
      const contents = [part('a'), part('b', 2000)];
      const whole = crc(contents.join('')).toString('base64');
      const composite = `${crc(Buffer.concat(contents.map(crc))).toString('base64')}-2`;
      for (const [type, value] of [
        ['FULL_OBJECT', whole],
        ['COMPOSITE', composite],
      ] as const) {
        const { uploadId } = await w.store.createUpload(BUCKET, type, { checksum: { algorithm: 'CRC32', type } });
        const parts: PartRef[] = [];
        for (const [n, content] of contents.entries()) {
          const sent = await w.store.putPart(BUCKET, type, uploadId, n + 1, body(content), {
            digests: { algorithms: ['CRC32'], store: 'CRC32' },
          });
          expect(sent.checksum).toEqual({ algorithm: 'CRC32', value: crc(content).toString('base64') });
          parts.push({ partNumber: n + 1, etag: sent.etag, checksums: { CRC32: crc(content).toString('base64') } });
        }
        const wrong = parts.map((one) => ({ ...one, checksums: { CRC32: crc('no').toString('base64') } }));
        await refuses(w.store.completeUpload(BUCKET, type, uploadId, wrong), 'InvalidPart', 'BadDigest');
        const bare = parts.map(({ partNumber, etag }) => ({ partNumber, etag, checksums: {} }));
        if (type === 'COMPOSITE') {
          const half = parts.map((one, n) => (n === 0 ? one : { ...one, checksums: {} }));
          const { message } = await refuses(w.store.completeUpload(BUCKET, type, uploadId, half), 'InvalidRequest');
          expect(message).toContain('missing for part 2');
          // ceph s3-tests: a wrong checksum of the whole is told first
          const declared = { checksum: { algorithm: 'CRC32' as const, value: 'bad' } };
          await refuses(w.store.completeUpload(BUCKET, type, uploadId, bare, declared), 'BadDigest');
        }
        const info = await w.store.completeUpload(BUCKET, type, uploadId, bare);
        expect(info.checksum).toEqual({ algorithm: 'CRC32', type, value });
        expect((await w.store.head(BUCKET, type)).checksum).toEqual(info.checksum);
      }
    });

    it('refuses checksums of parts that were sent without one', async () => {
      const { uploadId } = await w.store.createUpload(BUCKET, 'k', {});
      const { etag } = await w.store.putPart(BUCKET, 'k', uploadId, 1, body('a'));
      const claimed = [{ partNumber: 1, etag, checksums: { CRC32: crc('a').toString('base64') } }];
      await refuses(w.store.completeUpload(BUCKET, 'k', uploadId, claimed), 'InvalidPart');
      await w.store.completeUpload(BUCKET, 'k', uploadId, [{ partNumber: 1, etag, checksums: {} }]);
    });

    it('replaces an object whole, and completes to keys that are no path', async () => {
      await put(w.store, 'm', 'old');
      for (const key of ['m', 'a//b', 'm/below']) {
        const id = await start(key);
        const parts = await putParts(w.store, key, id, [
          [1, part('a')],
          [2, 'z'],
        ]);
        if (key === 'm') expect(await text(w.store, 'm')).toBe('old');
        await w.store.completeUpload(BUCKET, key, id, refs(parts));
        const { info, bytes } = await get(w.store, key);
        expect([info.etag, bytes.toString()]).toEqual([multipartEtag([part('a'), 'z']), `${part('a')}z`]);
      }
    });

    it('completes 500 parts', { timeout: 60_000 }, async () => {
      const id = await start();
      const contents = Array.from({ length: 500 }, (_, n) => part(String.fromCharCode(97 + (n % 26))));
      const parts: Part[] = [];
      for (let n = 0; n < 500; n += 50) {
        parts.push(
          ...(await Promise.all(
            contents.slice(n, n + 50).map((content, at) => w.store.putPart(BUCKET, 'm', id, n + at + 1, body(content))),
          )),
        );
      }
      const info = await w.store.completeUpload(BUCKET, 'm', id, refs(parts));
      expect(info.etag).toBe(multipartEtag(contents));
      expect(md5((await get(w.store, 'm')).bytes)).toBe(md5(contents.join('')));
    });
  });
}
