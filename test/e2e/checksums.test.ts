/** Checksums over the wire, above all of multipart uploads: every algorithm and type that S3 permits, by raw requests (most clients know only some). */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createXXHash128, createXXHash3, createXXHash64 } from 'hash-wasm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Bench } from './harness.js';
import { bench } from './harness.js';
import type { RawResponse } from './raw.js';
import { frame, send, sendBytes, sign } from './raw.js';

const PARTS = ['the first part, ', 'a second one that is longer, ', 'and the last'].map((text) => Buffer.from(text));
const WHOLE = Buffer.concat(PARTS);

type Digest = (data: Buffer) => Buffer;

/** A reflected CRC bit by bit, slow and plain, so that it shares nothing with the code under test. */
function crc(polynomial: bigint, bits: number): Digest {
  const ones = (1n << BigInt(bits)) - 1n;
  return (data) => {
    let value = ones;
    for (const byte of data) {
      value ^= BigInt(byte);
      for (let bit = 0; bit < 8; bit++) value = value & 1n ? (value >> 1n) ^ polynomial : value >> 1n;
    }
    return Buffer.from((value ^ ones).toString(16).padStart(bits / 4, '0'), 'hex');
  };
}
const node =
  (name: string): Digest =>
  (data) =>
    createHash(name).update(data).digest();

/** Algorithm -> its digest. */
const DIGESTS: Record<string, Digest> = {
  CRC32: crc(0xedb88320n, 32),
  CRC32C: crc(0x82f63b78n, 32),
  CRC64NVME: crc(0x9a6c9329ac4bc9b5n, 64),
  SHA1: node('sha1'),
  SHA256: node('sha256'),
  SHA512: node('sha512'),
  MD5: node('md5'),
};
const CRCS = ['CRC32', 'CRC32C', 'CRC64NVME'];
const ALGORITHMS = [...Object.keys(DIGESTS), 'XXHASH64', 'XXHASH3', 'XXHASH128'];
/** S3 User Guide, "Checking object integrity": CRCs over the whole object, all but CRC64NVME as digest of digests. */
const PERMITTED = ALGORITHMS.flatMap((algorithm) => [
  ...(algorithm === 'CRC64NVME' ? [] : [[algorithm, 'COMPOSITE'] as const]),
  ...(CRCS.includes(algorithm) ? [[algorithm, 'FULL_OBJECT'] as const] : []),
]);

beforeAll(async () => {
  const xx = { XXHASH64: createXXHash64, XXHASH3: createXXHash3, XXHASH128: createXXHash128 };
  for (const [name, create] of Object.entries(xx)) {
    const hasher = await create();
    DIGESTS[name] = (data) => Buffer.from(hasher.init().update(data).digest('binary'));
  }
});

const digest = (algorithm: string, data: Buffer): Buffer => {
  const found = DIGESTS[algorithm];
  if (found === undefined) throw new Error(`no ${algorithm}`);
  return found(data);
};
const base64 = (algorithm: string, data: Buffer): string => digest(algorithm, data).toString('base64');
const header = (algorithm: string): string => `x-amz-checksum-${algorithm.toLowerCase()}`;
const expected = (algorithm: string, type: string): string =>
  type === 'FULL_OBJECT'
    ? base64(algorithm, WHOLE)
    : `${base64(algorithm, Buffer.concat(PARTS.map((part) => digest(algorithm, part))))}-${PARTS.length}`;
const element = (text: string, name: string): string[] =>
  [...text.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, 'g'))].map((found) => found[1] ?? '');

let b: Bench;
beforeAll(async () => {
  b = await bench({ args: ['--min-part-size', '1'] }, async (root) => {
    await mkdir(path.join(root, 'box'));
  });
});
afterAll(() => b.end());

type Headers = Record<string, string>;
const call = (
  method: string,
  target: string,
  headers: Headers = {},
  body: string | Buffer = '',
): Promise<RawResponse> => send(b.server.port, { method, target, headers, body });

async function create(key: string, headers: Headers): Promise<RawResponse & { id: string }> {
  const answer = await call('POST', `/box/${key}?uploads`, headers);
  return { ...answer, id: element(answer.body, 'UploadId')[0] ?? '' };
}
const putPart = (
  key: string,
  id: string,
  n: number,
  headers: Headers,
  body = PARTS[n - 1] ?? '',
): Promise<RawResponse> => call('PUT', `/box/${key}?partNumber=${n}&uploadId=${id}`, headers, body);

/** A part with its checksum behind the body, as current SDKs send it. */
function putTrailing(key: string, id: string, n: number, algorithm: string, value: string): Promise<RawResponse> {
  const data = PARTS[n - 1] ?? Buffer.alloc(0);
  const target = `/box/${key}?partNumber=${n}&uploadId=${id}`;
  const body = `${data.length.toString(16)}\r\n${data.toString()}\r\n0\r\n${header(algorithm)}:${value}\r\n\r\n`;
  const request = {
    method: 'PUT',
    target,
    body,
    payload: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
    headers: {
      'content-encoding': 'aws-chunked',
      'x-amz-decoded-content-length': String(data.length),
      'x-amz-trailer': header(algorithm),
    },
  };
  return sendBytes(b.server.port, frame(request, sign(b.server.port, request).headers));
}

/** The list of parts; `checksums` by part, none if absent. */
function complete(
  key: string,
  id: string,
  algorithm: string,
  checksums: (string | undefined)[],
  headers: Headers = {},
): Promise<RawResponse> {
  const parts = PARTS.map((data, i) => {
    const etag = createHash('md5').update(data).digest('hex');
    const value = checksums[i];
    const more = value === undefined ? '' : `<Checksum${algorithm}>${value}</Checksum${algorithm}>`;
    return `<Part><ETag>${etag}</ETag><PartNumber>${i + 1}</PartNumber>${more}</Part>`;
  });
  const body = `<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`;
  return call('POST', `/box/${key}?uploadId=${id}`, headers, body);
}

describe.each(PERMITTED)('%s %s', (algorithm, type) => {
  const key = `${algorithm}-${type}`;
  const values = PARTS.map(() => '');
  const wrong = (): string => base64(algorithm, Buffer.from('something else'));
  const wanted = { 'x-amz-checksum-algorithm': algorithm, 'x-amz-checksum-type': type };
  let id = '';

  it('CreateMultipartUpload repeats it', async () => {
    PARTS.forEach((data, i) => (values[i] = base64(algorithm, data)));
    const answer = await create(key, wanted);
    expect(answer.status).toBe(200);
    expect(answer.headers).toMatchObject(wanted);
    ({ id } = answer);
  });

  it('UploadPart: wrong, of another algorithm, no digest at all', async () => {
    const bad = await putPart(key, id, 1, { [header(algorithm)]: wrong() });
    expect([bad.status, bad.code]).toEqual([400, 'BadDigest']);
    const trailing = await putTrailing(key, id, 1, algorithm, wrong());
    expect([trailing.status, trailing.code]).toEqual([400, 'BadDigest']);
    const other = algorithm === 'SHA1' ? 'SHA256' : 'SHA1';
    const foreign = await putPart(key, id, 1, { [header(other)]: base64(other, PARTS[0] ?? WHOLE) });
    expect([foreign.status, foreign.code]).toEqual([400, 'InvalidRequest']);
    const garbled = await putPart(key, id, 1, { [header(algorithm)]: 'AAA=' });
    expect([garbled.status, garbled.code]).toEqual([400, 'InvalidRequest']);
    expect(element((await call('GET', `/box/${key}?uploadId=${id}`)).body, 'PartNumber')).toEqual([]);
  });

  it('UploadPart: as header, as trailer, computed by us; ListParts tells them', async () => {
    const answers = [
      await putPart(key, id, 1, { [header(algorithm)]: values[0] ?? '' }),
      await putTrailing(key, id, 2, algorithm, values[1] ?? ''),
      await putPart(key, id, 3, {}),
    ];
    expect(answers.map(({ status, headers }) => [status, headers[header(algorithm)]])).toEqual(
      values.map((value) => [200, value]),
    );
    const { body } = await call('GET', `/box/${key}?uploadId=${id}`);
    expect(element(body, `Checksum${algorithm}`)).toEqual(values);
    expect([element(body, 'ChecksumAlgorithm'), element(body, 'ChecksumType')]).toEqual([[algorithm], [type]]);
  });

  it('CompleteMultipartUpload: a wrong part, a wrong whole, another type: refused, and no file', async () => {
    const part = await complete(key, id, algorithm, [values[0], wrong(), values[2]]);
    expect([part.status, part.code]).toEqual([400, 'InvalidPart']);
    const whole = await complete(key, id, algorithm, values, { [header(algorithm)]: wrong() });
    expect([whole.status, whole.code]).toEqual([400, 'BadDigest']);
    const otherType = type === 'COMPOSITE' ? 'FULL_OBJECT' : 'COMPOSITE';
    const mode = await complete(key, id, algorithm, values, { 'x-amz-checksum-type': otherType });
    expect([mode.status, mode.code]).toEqual([400, 'InvalidRequest']);
    expect(existsSync(path.join(b.server.root, 'box', key))).toBe(false);
  });

  it('CompleteMultipartUpload: right; GET, HEAD and GetObjectAttributes tell it', async () => {
    const sum = expected(algorithm, type);
    const done = await complete(key, id, algorithm, values, {
      [header(algorithm)]: sum,
      'x-amz-checksum-type': type,
      'x-amz-mp-object-size': String(WHOLE.length),
    });
    expect([done.status, element(done.body, `Checksum${algorithm}`), element(done.body, 'ChecksumType')]).toEqual([
      200,
      [sum],
      [type],
    ]);
    expect(await readFile(path.join(b.server.root, 'box', key))).toEqual(WHOLE);

    const mode = { 'x-amz-checksum-mode': 'ENABLED' };
    const shown = { [header(algorithm)]: sum, 'x-amz-checksum-type': type };
    const get = await call('GET', `/box/${key}`, mode);
    expect([get.status, get.body]).toEqual([200, WHOLE.toString()]);
    expect(get.headers).toMatchObject(shown);
    expect((await call('HEAD', `/box/${key}`, mode)).headers).toMatchObject(shown);
    expect((await call('HEAD', `/box/${key}`)).headers).not.toHaveProperty(header(algorithm));
    expect((await call('GET', `/box/${key}`, { ...mode, range: 'bytes=1-3' })).headers).not.toHaveProperty(
      header(algorithm),
    );
    const second = await call('GET', `/box/${key}?partNumber=2`, mode);
    expect([second.status, second.body, second.headers[header(algorithm)]]).toEqual([
      206,
      PARTS[1]?.toString(),
      values[1],
    ]);

    const attributes = await call('GET', `/box/${key}?attributes`, {
      'x-amz-object-attributes': 'Checksum,ObjectParts,ObjectSize',
    });
    expect(element(attributes.body, `Checksum${algorithm}`)).toEqual([sum, ...values]);
    expect(element(attributes.body, 'ChecksumType')).toEqual([type]);
    expect(element(attributes.body, 'PartsCount')).toEqual(['3']);
    expect(element(attributes.body, 'Size')).toEqual(PARTS.map(({ length }) => String(length)));
  });

  if (type === 'COMPOSITE') {
    it('CompleteMultipartUpload: checksums of some parts only are refused', async () => {
      const partly = await create(`partly/${key}`, wanted);
      for (const n of [1, 2, 3]) await putPart(`partly/${key}`, partly.id, n, {});
      const answer = await complete(`partly/${key}`, partly.id, algorithm, [values[0], undefined, values[2]]);
      expect([answer.status, answer.code]).toEqual([400, 'InvalidRequest']);
      expect(existsSync(path.join(b.server.root, 'box', 'partly'))).toBe(false);
    });
  }

  it('CompleteMultipartUpload without the checksum of the whole', async () => {
    const again = await create(`again/${key}`, wanted);
    for (const n of [1, 2, 3]) await putPart(`again/${key}`, again.id, n, {});
    const done = await complete(`again/${key}`, again.id, algorithm, values);
    expect([done.status, element(done.body, `Checksum${algorithm}`)]).toEqual([200, [expected(algorithm, type)]]);
  });
});

describe('CreateMultipartUpload', () => {
  it.each(ALGORITHMS.filter((name) => name !== 'CRC32' && name !== 'CRC32C'))(
    'refuses the type %s has not',
    async (algorithm) => {
      const type = algorithm === 'CRC64NVME' ? 'COMPOSITE' : 'FULL_OBJECT';
      const answer = await create('never', { 'x-amz-checksum-algorithm': algorithm, 'x-amz-checksum-type': type });
      expect([answer.status, answer.code]).toEqual([400, 'InvalidRequest']);
    },
  );

  it.each(ALGORITHMS)('%s without a type takes the one that S3 takes', async (algorithm) => {
    const answer = await create('typeless', { 'x-amz-checksum-algorithm': algorithm });
    expect(answer.headers['x-amz-checksum-type']).toBe(algorithm === 'CRC64NVME' ? 'FULL_OBJECT' : 'COMPOSITE');
  });

  it.each<[string, Headers]>([
    ['an unknown algorithm', { 'x-amz-checksum-algorithm': 'CRC16' }],
    ['an unknown type', { 'x-amz-checksum-algorithm': 'CRC32', 'x-amz-checksum-type': 'HALF' }],
    ['a type alone', { 'x-amz-checksum-type': 'COMPOSITE' }],
  ])('refuses %s', async (_name, headers) => {
    const answer = await create('never', headers);
    expect([answer.status, answer.code]).toEqual([400, 'InvalidRequest']);
  });
});

describe('DeleteObjects', () => {
  const body = '<Delete><Object><Key>doomed</Key></Object></Delete>';
  const file = (): string => path.join(b.server.root, 'box', 'doomed');
  const md5 = (text: string): string => base64('MD5', Buffer.from(text));

  it.each<[string, () => Headers, string]>([
    ['a wrong Content-MD5', () => ({ 'content-md5': md5('other') }), 'BadDigest'],
    ['a Content-MD5 that is none', () => ({ 'content-md5': 'abc' }), 'InvalidDigest'],
    ['a wrong CRC32C', () => ({ 'x-amz-checksum-crc32c': base64('CRC32C', Buffer.from('other')) }), 'BadDigest'],
    ['a wrong XXHASH3', () => ({ 'x-amz-checksum-xxhash3': base64('XXHASH3', Buffer.from('other')) }), 'BadDigest'],
  ])('refuses %s and deletes nothing', async (_name, headers, code) => {
    await writeFile(file(), 'x');
    const answer = await call('POST', '/box?delete', headers(), body);
    expect([answer.status, answer.code]).toEqual([400, code]);
    expect(existsSync(file())).toBe(true);
  });

  it.each<[string, () => Headers]>([
    ['the right Content-MD5', () => ({ 'content-md5': md5(body) })],
    ['the right SHA512', () => ({ 'x-amz-checksum-sha512': base64('SHA512', Buffer.from(body)) })],
    // Amazon S3 refuses this; x-amz-content-sha256 covers the body anyway (README, "Differences from Amazon S3").
    ['no digest', () => ({})],
  ])('takes %s', async (_name, headers) => {
    await writeFile(file(), 'x');
    expect((await call('POST', '/box?delete', headers(), body)).status).toBe(200);
    expect(existsSync(file())).toBe(false);
  });
});

it('a body that came without a checksum has none', async () => {
  await call('PUT', '/box/plain', {}, 'x');
  const { headers } = await call('HEAD', '/box/plain', { 'x-amz-checksum-mode': 'ENABLED' });
  expect(Object.keys(headers).filter((name) => name.startsWith('x-amz-checksum'))).toEqual([]);
});

describe('a body that is long enough to be hashed by a thread of its own', () => {
  const body = Buffer.alloc((17 << 20) + 12_345, 'sixteen bytes of');
  const file = (key: string): string => path.join(b.server.root, 'box', key);

  it('is kept with its MD5 and its checksum', async () => {
    const md5 = node('md5')(body);
    const sum = { [header('SHA256')]: base64('SHA256', body) };
    const answer = await call('PUT', '/box/long', { ...sum, 'content-md5': md5.toString('base64') }, body);
    expect([answer.status, answer.headers['etag']]).toEqual([200, `"${md5.toString('hex')}"`]);
    expect(answer.headers).toMatchObject(sum);
    expect((await readFile(file('long'))).equals(body)).toBe(true);
  });

  it('is kept as it is in chunks of any size, with its checksum behind them', async () => {
    const bytes = randomBytes(5 << 20);
    const pieces = [1, 99_999, 65_536, 1 << 20, 3 << 20].map((size, i, all) => {
      const from = all.slice(0, i).reduce((sum, n) => sum + n, 0);
      return bytes.subarray(from, from + size);
    });
    const data = Buffer.concat(pieces);
    const frames = pieces.flatMap((piece) => [`${piece.length.toString(16)}\r\n`, piece, '\r\n']);
    const end = `0\r\n${header('SHA1')}:${base64('SHA1', data)}\r\n\r\n`;
    const request = {
      method: 'PUT',
      target: '/box/in-chunks',
      body: Buffer.concat([...frames, end].map((part) => (typeof part === 'string' ? Buffer.from(part) : part))),
      payload: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
      headers: {
        'content-encoding': 'aws-chunked',
        'x-amz-decoded-content-length': String(data.length),
        'x-amz-trailer': header('SHA1'),
      },
    };
    const answer = await sendBytes(b.server.port, frame(request, sign(b.server.port, request).headers));
    expect([answer.status, answer.headers['etag']]).toEqual([200, `"${node('md5')(data).toString('hex')}"`]);
    expect((await readFile(file('in-chunks'))).equals(data)).toBe(true);
  });

  it.each([
    ['MD5', { 'content-md5': Buffer.alloc(16).toString('base64') }],
    ['SHA256', { [header('SHA256')]: Buffer.alloc(32).toString('base64') }],
  ])('is refused for a wrong %s, and leaves nothing', async (algorithm, headers) => {
    const answer = await call('PUT', `/box/wrong-${algorithm}`, headers, body);
    expect([answer.status, answer.code]).toEqual([400, 'BadDigest']);
    expect(existsSync(file(`wrong-${algorithm}`))).toBe(false);
  });
});
