import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import fc from '../fast-check.js';
import { CHECKSUM_ALGORITHMS } from '../../src/base/model.js';
import type { ChecksumAlgorithm } from '../../src/base/model.js';
import { createHasher, prepareHashes } from '../../src/fs/hash.js';
import {
  checksumElements,
  checksumHeaderName,
  checksumHeaders,
  checksumName,
  combineChecksums,
  compositeChecksum,
  declaredChecksum,
  planDigests,
  requestedChecksum,
} from '../../src/wire/checksums.js';
import type { Headers } from '../../src/wire/headers.js';
import { codeOf, errorOf } from './errors.js';

beforeAll(prepareHashes);

function digest(algorithm: ChecksumAlgorithm, data: Uint8Array | string): string {
  const hasher = createHasher([algorithm]);
  hasher.update(Buffer.from(data));
  return hasher.digest()[algorithm]?.toString('base64') ?? '';
}

/** Plans, hashes `body`, and runs the check, as a store does. */
function receive(h: Headers, body: string, trailers: Headers = {}): ChecksumAlgorithm | undefined {
  const plan = planDigests(h, trailers);
  const hasher = createHasher(plan.algorithms);
  hasher.update(Buffer.from(body));
  plan.check?.(hasher.digest(), Buffer.byteLength(body));
  return plan.store;
}

const MD5 = createHash('md5').update('body').digest('base64');

describe('Content-MD5', () => {
  it('is compared', () => {
    expect(receive({ 'content-md5': MD5 }, 'body')).toBeUndefined();
    const error = errorOf(() => receive({ 'content-md5': MD5 }, 'other'));
    expect(error.code).toBe('BadDigest');
    expect(error.data['ExpectedDigest']).toBe(MD5);
  });

  it.each(['', 'YWJyYWNhZGFicmE=', 'not base64!', MD5.slice(0, -2), `${MD5}====`])('%j is InvalidDigest', (value) => {
    expect(codeOf(() => planDigests({ 'content-md5': value }, {}))).toBe('InvalidDigest');
  });
});

describe('planDigests', () => {
  it('asks for nothing when nothing is asked', () => {
    expect(planDigests({ 'x-amz-checksum-mode': 'ENABLED', 'x-amz-checksum-type': 'FULL_OBJECT' }, {})).toEqual({
      algorithms: [],
    });
  });

  it.each(CHECKSUM_ALGORITHMS)('%s in a header', (algorithm) => {
    const header = checksumHeaderName(algorithm);
    const h = { [header]: digest(algorithm, 'body'), 'x-amz-sdk-checksum-algorithm': algorithm };
    expect(receive(h, 'body')).toBe(algorithm);
    expect(codeOf(() => receive(h, 'bodx'))).toBe('BadDigest');
    const malformed = errorOf(() => planDigests({ [header]: 'bad' }, {}));
    expect([malformed.code, malformed.message]).toEqual(['InvalidRequest', `Value for ${header} header is invalid.`]);
  });

  it.each(CHECKSUM_ALGORITHMS)('%s in a trailer', (algorithm) => {
    const trailer = checksumHeaderName(algorithm);
    const h = { 'x-amz-trailer': ` ${trailer.toUpperCase()} `, 'x-amz-sdk-checksum-algorithm': algorithm };
    expect(receive(h, 'body', { [trailer]: digest(algorithm, 'body') })).toBe(algorithm);
    expect(codeOf(() => receive(h, 'bodx', { [trailer]: digest(algorithm, 'body') }))).toBe('BadDigest');
    expect(codeOf(() => receive(h, 'body', { [trailer]: 'bad' }))).toBe('InvalidRequest');
    expect(codeOf(() => receive(h, 'body', {}))).toBe('MalformedTrailerError');
  });

  it('reads the trailers when the body is over, not before', () => {
    const trailers: Record<string, string> = {};
    const plan = planDigests({ 'x-amz-trailer': 'x-amz-checksum-crc32' }, trailers);
    trailers['x-amz-checksum-crc32'] = digest('CRC32', 'body');
    const hasher = createHasher(plan.algorithms);
    hasher.update(Buffer.from('body'));
    expect(() => plan.check?.(hasher.digest(), 4)).not.toThrow();
  });

  const crc = 'AAAAAA==';
  it.each<[string, Headers]>([
    ['two headers', { 'x-amz-checksum-crc32': crc, 'x-amz-checksum-crc32c': crc }],
    ['header and trailer', { 'x-amz-checksum-crc32': crc, 'x-amz-trailer': 'x-amz-checksum-crc32c' }],
    ['the same twice', { 'x-amz-checksum-crc32': crc, 'x-amz-trailer': 'x-amz-checksum-crc32' }],
    ['two trailers', { 'x-amz-trailer': 'x-amz-checksum-crc32,x-amz-checksum-sha1' }],
    ['an unknown trailer', { 'x-amz-trailer': 'x-amz-checksum-crc16' }],
    ['an SDK algorithm alone', { 'x-amz-sdk-checksum-algorithm': 'CRC32' }],
    ['an unknown SDK algorithm', { 'x-amz-sdk-checksum-algorithm': 'CRC16', 'x-amz-checksum-crc32': crc }],
    ['another SDK algorithm', { 'x-amz-sdk-checksum-algorithm': 'SHA1', 'x-amz-checksum-crc32': crc }],
    ['non-canonical length', { 'x-amz-checksum-crc32': 'AAAAAAA=' }],
  ])('refuses %s', (_what, h) => {
    expect(codeOf(() => planDigests(h, {}))).toBe('InvalidRequest');
  });

  it('checks Content-MD5 and a checksum together', () => {
    const h = { 'content-md5': MD5, 'x-amz-checksum-sha1': digest('SHA1', 'body') };
    expect(receive(h, 'body')).toBe('SHA1');
    expect(codeOf(() => receive({ ...h, 'content-md5': digest('MD5', 'x') }, 'body'))).toBe('BadDigest');
    expect(codeOf(() => receive({ ...h, 'x-amz-checksum-sha1': digest('SHA1', 'x') }, 'body'))).toBe('BadDigest');
  });
});

it('hands out the declared checksum of a whole object undecoded', () => {
  expect(declaredChecksum({ 'x-amz-checksum-sha256': ' abc=-3 ' })).toEqual({ algorithm: 'SHA256', value: 'abc=-3' });
  expect(declaredChecksum({ 'x-amz-checksum-type': 'COMPOSITE', 'x-amz-checksum-algorithm': 'CRC32' })).toBeUndefined();
});

describe('requestedChecksum', () => {
  const ask = (algorithm?: string, type?: string) =>
    requestedChecksum({ 'x-amz-checksum-algorithm': algorithm, 'x-amz-checksum-type': type });

  it.each<[string, string, string | undefined]>([
    ['CRC32', 'COMPOSITE', 'FULL_OBJECT'],
    ['CRC32C', 'COMPOSITE', 'FULL_OBJECT'],
    ['CRC64NVME', 'FULL_OBJECT', undefined],
    ['SHA1', 'COMPOSITE', undefined],
    ['SHA256', 'COMPOSITE', undefined],
    ['SHA512', 'COMPOSITE', undefined],
    ['MD5', 'COMPOSITE', undefined],
    ['XXHASH64', 'COMPOSITE', undefined],
    ['XXHASH3', 'COMPOSITE', undefined],
    ['XXHASH128', 'COMPOSITE', undefined],
  ])('%s is %s, or %s', (algorithm, first, second) => {
    expect(ask(algorithm)).toEqual({ algorithm, type: first });
    expect(ask(algorithm.toLowerCase(), first.toLowerCase())).toEqual({ algorithm, type: first });
    const other = first === 'COMPOSITE' ? 'FULL_OBJECT' : 'COMPOSITE';
    if (second === other) expect(ask(algorithm, other)).toEqual({ algorithm, type: other });
    else {
      const message = `The ${other} checksum type cannot be used with the ${algorithm.toLowerCase()} checksum algorithm.`;
      expect(errorOf(() => ask(algorithm, other)).message).toBe(message);
    }
  });

  it('refuses what makes no sense', () => {
    expect(ask()).toBeUndefined();
    for (const [algorithm, type] of [[undefined, 'COMPOSITE'], ['CRC16'], ['CRC32', 'PARTIAL']]) {
      expect(codeOf(() => ask(algorithm, type))).toBe('InvalidRequest');
    }
  });
});

it('shows checksums', () => {
  expect(checksumName('CRC64NVME')).toBe('ChecksumCRC64NVME');
  expect(checksumHeaders({ algorithm: 'SHA256', type: 'COMPOSITE', value: 'x-2' })).toEqual({
    'x-amz-checksum-sha256': 'x-2',
    'x-amz-checksum-type': 'COMPOSITE',
  });
  expect(checksumElements({ algorithm: 'CRC32', value: 'x' })).toEqual([{ name: 'ChecksumCRC32', children: 'x' }]);
});

describe('compositeChecksum', () => {
  it('is the digest of the digests', () => {
    // One part of 1,024 times "A": the value that ceph's s3-tests expect.
    const part = digest('SHA256', 'A'.repeat(1024));
    expect(part).toBe('arcu6553sHVAiX4MjW0j7I7vD4w6R+Gz9Ok0Q9lTa+0=');
    expect(compositeChecksum('SHA256', [part])).toBe('Ok6Cs5b96ux6+MWQkJO7UBT5sKPBeXBLwvj/hK89smg=-1');
  });

  it.each(CHECKSUM_ALGORITHMS)('%s of three parts', (algorithm) => {
    const parts = ['a', 'bc', ''].map((p) => digest(algorithm, p));
    const raw = Buffer.concat(parts.map((p) => Buffer.from(p, 'base64')));
    expect(compositeChecksum(algorithm, parts)).toBe(`${digest(algorithm, raw)}-3`);
  });

  it('refuses a digest of another size', () => {
    expect(() => compositeChecksum('SHA1', ['AAAA'])).toThrow('not a SHA1');
  });
});

describe('combineChecksums', () => {
  it.each(['CRC32', 'CRC32C', 'CRC64NVME'] as const)('%s of parts is the %s of the whole', (algorithm) => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 }), (parts) => {
        const sums = parts.map((p) => ({ value: digest(algorithm, p), size: p.length }));
        expect(combineChecksums(algorithm, sums)).toBe(digest(algorithm, Buffer.concat(parts)));
      }),
    );
  });

  it('holds for sizes beyond 32 bits', () => {
    // Zeros doubled from 1 MiB to 8 GiB; the first doublings are checked by hashing them.
    const MIB = 1 << 20;
    let whole = { value: digest('CRC32', Buffer.alloc(MIB)), size: MIB };
    for (let i = 1; i <= 13; i++) {
      whole = { value: combineChecksums('CRC32', [whole, whole]), size: 2 * whole.size };
      if (i <= 4) expect(whole.value).toBe(digest('CRC32', Buffer.alloc(whole.size)));
    }
    expect(whole.size).toBe(8 * 1024 ** 3);
    // Grouping must not matter: (a a) a = a (a a).
    const pair = { value: combineChecksums('CRC32', [whole, whole]), size: 2 * whole.size };
    expect(combineChecksums('CRC32', [whole, pair])).toBe(combineChecksums('CRC32', [pair, whole]));
    expect(combineChecksums('CRC32', [whole, pair])).toBe(combineChecksums('CRC32', [whole, whole, whole]));
  });

  it('does 10,000 parts in no time, even of 10,000 sizes', () => {
    const parts = Array.from({ length: 10_000 }, (_, i) => ({
      value: digest('CRC64NVME', `${i}`),
      size: 5 * 1024 ** 2 + i * 7919,
    }));
    const start = performance.now();
    combineChecksums('CRC64NVME', parts);
    expect(performance.now() - start).toBeLessThan(2000);
  });
});

describe('headers of no algorithm', () => {
  it('are refused, as S3 does, where a check is asked for in vain', () => {
    const error = errorOf(() => planDigests({ 'x-amz-checksum-crc31': 'AAAAAA==' }, {}));
    expect(error.code).toBe('InvalidRequest');
    expect(error.message).toContain('algorithm type');
    expect(codeOf(() => declaredChecksum({ 'x-amz-checksum-sha-256': 'x' }))).toBe('InvalidRequest');
  });

  it('are let pass where they name no value', () => {
    const others = {
      'x-amz-checksum-type': 'FULL_OBJECT',
      'x-amz-checksum-mode': 'ENABLED',
      'x-amz-checksum-algorithm': 'SHA1',
    };
    expect(planDigests(others, {}).algorithms).toEqual([]);
  });
});
