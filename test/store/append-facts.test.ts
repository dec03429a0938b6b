/** What is known of an object stays known when it is appended to, as far as it can be told of the longer one. */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ChecksumAlgorithm, ChecksumType, DigestPlan } from '../../src/base/model.js';
import type { ObjectPart } from '../../src/store/contract.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body } from '../suites/store/kit.js';

let root: string;
let store: LocalStore;
const open = (): Promise<LocalStore> => openStore(root, { durability: 'fast', minPartSize: 1 });

beforeEach(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-facts-'));
  fs.mkdirSync(path.join(root, 'b'));
  store = await open();
});
afterEach(async () => {
  await store.close();
  fs.rmSync(root, { recursive: true });
});

const plan = (algorithm?: ChecksumAlgorithm): { digests: DigestPlan } => ({
  digests: algorithm ? { algorithms: [algorithm], store: algorithm } : { algorithms: [] },
});
const CRC32 = (text: string): string => {
  const value = Buffer.alloc(4);
  value.writeUInt32BE(crc32(text));
  return value.toString('base64');
};
const SHA256 = (text: string | Buffer): string => createHash('sha256').update(text).digest('base64');
const put = (text: string, algorithm?: ChecksumAlgorithm): Promise<unknown> =>
  store.put('b', 'k', body(text), plan(algorithm));
const append = async (text: string, algorithm?: ChecksumAlgorithm): Promise<unknown> =>
  store.append('b', 'k', (await store.head('b', 'k')).size, body(text), plan(algorithm));
const checksum = async (): Promise<unknown> => (await store.head('b', 'k')).checksum;
async function parts(): Promise<ObjectPart[]> {
  const open = await store.open('b', 'k');
  try {
    return await open.parts();
  } finally {
    await open.close();
  }
}
async function upload(
  of: [number, string][],
  algorithm?: ChecksumAlgorithm,
  type: ChecksumType = 'FULL_OBJECT',
): Promise<void> {
  const { uploadId } = await store.createUpload('b', 'k', algorithm ? { checksum: { algorithm, type } } : {});
  const list = [];
  for (const [partNumber, text] of of) {
    const { etag } = await store.putPart('b', 'k', uploadId, partNumber, body(text), plan(algorithm));
    list.push({ partNumber, etag, checksums: {} });
  }
  await store.completeUpload('b', 'k', uploadId, list);
}
const full = (algorithm: ChecksumAlgorithm, value: string): unknown => ({ algorithm, type: 'FULL_OBJECT', value });

describe('an object that is appended to', { timeout: 60_000 }, () => {
  it.each([undefined, 'SHA1', 'CRC32', 'CRC64NVME'] as const)(
    'keeps its CRC, whatever the piece came with (%s)',
    async (algorithm) => {
      await put('one', 'CRC32');
      await append('two', algorithm);
      await append('three', algorithm);
      expect(await checksum()).toEqual(full('CRC32', CRC32('onetwothree')));
      expect(await parts()).toEqual(
        ['one', 'two', 'three'].map((text, i) => ({ partNumber: i + 1, size: text.length, checksum: CRC32(text) })),
      );
      await store.close();
      fs.rmSync(path.join(root, '.gos3rve', 'index'), { recursive: true });
      store = await open();
      expect(await checksum()).toEqual(full('CRC32', CRC32('onetwothree')));
    },
  );

  it('keeps the CRC of what another client put while the piece was on its way', async () => {
    await put('one', 'SHA256');
    async function* chunks(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('t');
      await put('eno', 'CRC32');
      yield Buffer.from('wo');
    }
    await store.append('b', 'k', 3, { chunks: chunks(), size: 3 }, plan('SHA1'));
    expect(await checksum()).toEqual(full('CRC32', CRC32('enotwo')));
  });

  it('loses a digest that cannot go on over a piece', async () => {
    await put('one', 'SHA256');
    await append('two', 'SHA256');
    expect(await checksum()).toBeUndefined();
  });

  it('has no checksum if it had none, or nobody knows that it holds', async () => {
    await put('one');
    await append('two', 'CRC32');
    expect(await checksum()).toBeUndefined();
    await put('one', 'CRC32');
    fs.writeFileSync(path.join(root, 'b', 'k'), 'theirs');
    await append('two', 'CRC32');
    expect(await checksum()).toBeUndefined();
  });

  it('is its first piece if it was empty, in the algorithm that it had', async () => {
    await put('', 'SHA256');
    await append('one');
    expect(await checksum()).toEqual(full('SHA256', SHA256('one')));
    await put('');
    await append('one', 'CRC32');
    expect(await checksum()).toEqual(full('CRC32', CRC32('one')));
  });

  it('keeps the numbers of its parts, and the piece is the next one', async () => {
    await upload([
      [2, 'two'],
      [7, 'seven'],
    ]);
    await append('eight');
    await append('nine');
    expect(await parts()).toEqual([
      { partNumber: 2, size: 3 },
      { partNumber: 7, size: 5 },
      { partNumber: 8, size: 5 },
      { partNumber: 9, size: 4 },
    ]);
  });

  it('keeps the checksums of its parts, and goes on with both kinds', async () => {
    await upload(
      [
        [2, 'two'],
        [7, 'seven'],
      ],
      'CRC32',
    );
    await append('eight', 'SHA1');
    expect(await checksum()).toEqual(full('CRC32', CRC32('twoseveneight')));
    const numbered = (digest: (text: string) => string): ObjectPart[] =>
      (
        [
          [2, 'two'],
          [7, 'seven'],
          [8, 'eight'],
        ] as const
      ).map(([partNumber, text]) => ({ partNumber, size: text.length, checksum: digest(text) }));
    expect(await parts()).toEqual(numbered(CRC32));

    await upload(
      [
        [2, 'two'],
        [7, 'seven'],
      ],
      'SHA256',
      'COMPOSITE',
    );
    await append('eight');
    const digests = ['two', 'seven', 'eight'].map((text) => Buffer.from(SHA256(text), 'base64'));
    expect(await checksum()).toEqual({
      algorithm: 'SHA256',
      type: 'COMPOSITE',
      value: `${SHA256(Buffer.concat(digests))}-3`,
    });
    expect(await parts()).toEqual(numbered(SHA256));
  });

  it('keeps all of it in a file with two names, which is copied', async () => {
    await upload(
      [
        [2, 'two'],
        [7, 'seven'],
      ],
      'CRC32',
    );
    fs.linkSync(path.join(root, 'b', 'k'), path.join(root, 'b', 'twin'));
    await append('eight');
    expect(await checksum()).toEqual(full('CRC32', CRC32('twoseveneight')));
    expect((await parts()).map(({ partNumber }) => partNumber)).toEqual([2, 7, 8]);
  });
});
