/** S3's additional checksums: which to compute for a request, what to refuse, how they are shown, and how parts make a whole. */
import { S3Error } from '../base/errors.js';
import { CHECKSUM_ALGORITHMS } from '../base/model.js';
import type { Checksum, ChecksumAlgorithm, ChecksumType, DigestPlan, Digests } from '../base/model.js';
import { createHasher } from '../fs/hash.js';
import { combineCrcs } from './crc.js';
import type { CombinableAlgorithm } from './crc.js';
import type { Headers } from './headers.js';
import { el } from './xml.js';
import type { XmlElement } from './xml.js';

export type ChecksumLike = Checksum | { algorithm: ChecksumAlgorithm; value: string; type?: ChecksumType };

/** Digest sizes in bytes. */
const SIZES: Readonly<Record<ChecksumAlgorithm, number>> = {
  CRC32: 4,
  CRC32C: 4,
  CRC64NVME: 8,
  SHA1: 20,
  SHA256: 32,
  SHA512: 64,
  MD5: 16,
  XXHASH64: 8,
  XXHASH3: 8,
  XXHASH128: 16,
};

const NAMES = new Map(CHECKSUM_ALGORITHMS.map((a) => [a, `Checksum${a}`] as const));
const HEADER_NAMES = new Map(CHECKSUM_ALGORITHMS.map((a) => [a, `x-amz-checksum-${a.toLowerCase()}`] as const));
const BY_HEADER = new Map<string, ChecksumAlgorithm>(
  CHECKSUM_ALGORITHMS.map((a) => [`x-amz-checksum-${a.toLowerCase()}`, a] as const),
);

/** Element name: `ChecksumCRC32`. */
export function checksumName(algorithm: ChecksumAlgorithm): string {
  return NAMES.get(algorithm) ?? `Checksum${algorithm}`;
}

/** Header name: `x-amz-checksum-crc32`. */
export function checksumHeaderName(algorithm: ChecksumAlgorithm): string {
  return HEADER_NAMES.get(algorithm) ?? `x-amz-checksum-${algorithm.toLowerCase()}`;
}

/** An algorithm by its name in any case; undefined if there is no such. */
export function parseAlgorithm(name: string): ChecksumAlgorithm | undefined {
  const upper = name.trim().toUpperCase();
  return CHECKSUM_ALGORITHMS.find((a) => a === upper);
}

/** Bytes of a digest in base64, or undefined unless it is base64 of exactly `size` bytes. */
function decodeDigest(value: string, size: number): Buffer | undefined {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(value) || value.length % 4 !== 0) return undefined;
  const bytes = Buffer.from(value, 'base64');
  return bytes.length === size ? bytes : undefined;
}

/**
 * What to compute for a body, and the check of it, from Content-MD5, x-amz-checksum-*, x-amz-trailer and
 * x-amz-sdk-checksum-algorithm. `trailers` is read when the check runs, after the last byte.
 *
 * The headers speak of the body of this request: right for PutObject, UploadPart and XML bodies, wrong for CompleteMultipartUpload,
 * where they speak of the object ({@link declaredChecksum}).
 * @throws InvalidDigest (Content-MD5 malformed), InvalidRequest (several checksums, malformed or unknown ones). The check throws
 * BadDigest, InvalidRequest (malformed trailer), MalformedTrailerError (announced, but absent).
 */
export function planDigests(h: Headers, trailers: Headers): DigestPlan {
  const contentMd5 = h['content-md5'];
  const md5 = contentMd5 === undefined ? undefined : decodeDigest(contentMd5.trim(), SIZES.MD5);
  if (contentMd5 !== undefined && md5 === undefined) {
    throw new S3Error('InvalidDigest', 'The Content-MD5 you specified was invalid.', {
      data: { 'Content-MD5': contentMd5 },
    });
  }
  const inHeader = declaredChecksum(h);
  const inTrailer = announcedChecksum(h);
  if (inHeader !== undefined && inTrailer !== undefined) throw several();
  const algorithm = inHeader?.algorithm ?? inTrailer;
  checkSdkAlgorithm(h, algorithm);
  const expected = inHeader && decodeValue(inHeader.algorithm, inHeader.value);
  const check = (digests: Digests): void => {
    if (md5 !== undefined && !md5.equals(digests.MD5)) throw badMd5(md5, digests.MD5);
    if (algorithm === undefined) return;
    const value = expected ?? trailingValue(algorithm, trailers);
    if (digests[algorithm]?.equals(value) !== true) {
      throw new S3Error('BadDigest', `The ${algorithm} you specified did not match the calculated checksum.`);
    }
  };
  return {
    algorithms: algorithm === undefined ? [] : [algorithm],
    ...(algorithm !== undefined && { store: algorithm }),
    ...((md5 !== undefined || algorithm !== undefined) && { check }),
  };
}

/** Of all headers that begin so, these three carry no value of a checksum. */
const NO_VALUES = new Set(['x-amz-checksum-algorithm', 'x-amz-checksum-mode', 'x-amz-checksum-type']);

/** The one x-amz-checksum-* value header of a request, as given. @throws InvalidRequest if there are several, or one of an algorithm that is none. */
export function declaredChecksum(h: Headers): { algorithm: ChecksumAlgorithm; value: string } | undefined {
  for (const name in h) {
    // a client that asks for a check must not believe that it was made
    if (name.startsWith('x-amz-checksum-') && h[name] !== undefined && !BY_HEADER.has(name) && !NO_VALUES.has(name))
      throw new S3Error('InvalidRequest', 'The algorithm type you specified in x-amz-checksum- header is invalid.');
  }
  let found: { algorithm: ChecksumAlgorithm; value: string } | undefined;
  for (const [header, algorithm] of BY_HEADER) {
    const value = h[header];
    if (value === undefined) continue;
    if (found !== undefined) throw several();
    found = { algorithm, value: value.trim() };
  }
  return found;
}

/** The checksum that x-amz-trailer announces. */
function announcedChecksum(h: Headers): ChecksumAlgorithm | undefined {
  const names = (h['x-amz-trailer'] ?? '').split(',').map((n) => n.trim().toLowerCase());
  let found: ChecksumAlgorithm | undefined;
  for (const name of names) {
    if (!name.startsWith('x-amz-checksum-')) continue;
    const algorithm = BY_HEADER.get(name);
    if (algorithm === undefined) {
      throw new S3Error('InvalidRequest', 'The value specified in the x-amz-trailer header is not supported');
    }
    if (found !== undefined) throw several();
    found = algorithm;
  }
  return found;
}

function several(): S3Error {
  const message = 'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.';
  return new S3Error('InvalidRequest', message);
}

/** x-amz-sdk-checksum-algorithm only repeats what the checksum header or trailer says. */
function checkSdkAlgorithm(h: Headers, algorithm: ChecksumAlgorithm | undefined): void {
  const header = h['x-amz-sdk-checksum-algorithm'];
  if (header === undefined || header.trim() === '') return;
  const announced = parseAlgorithm(header);
  if (announced !== undefined && algorithm === undefined) {
    throw new S3Error(
      'InvalidRequest',
      'x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.',
    );
  }
  if (announced === undefined || announced !== algorithm) {
    throw new S3Error('InvalidRequest', 'Value for x-amz-sdk-checksum-algorithm header is invalid.');
  }
}

function decodeValue(algorithm: ChecksumAlgorithm, value: string): Buffer {
  const bytes = decodeDigest(value, SIZES[algorithm]);
  if (bytes !== undefined) return bytes;
  throw new S3Error('InvalidRequest', `Value for ${checksumHeaderName(algorithm)} header is invalid.`);
}

function trailingValue(algorithm: ChecksumAlgorithm, trailers: Headers): Buffer {
  const value = trailers[checksumHeaderName(algorithm)];
  if (value === undefined) throw new S3Error('MalformedTrailerError');
  const bytes = decodeDigest(value.trim(), SIZES[algorithm]);
  if (bytes !== undefined) return bytes;
  throw new S3Error('InvalidRequest', `Value for ${checksumHeaderName(algorithm)} trailing header is invalid.`);
}

function badMd5(expected: Buffer, calculated: Buffer): S3Error {
  return new S3Error('BadDigest', 'The Content-MD5 you specified did not match what we received.', {
    data: { ExpectedDigest: expected.toString('base64'), CalculatedDigest: calculated.toString('base64') },
  });
}

/** CRCs of parts combine; CRC64NVME does nothing else. All other digests exist for a multipart object only as digest of digests. */
const TYPES: Readonly<Record<ChecksumAlgorithm, readonly ChecksumType[]>> = {
  CRC32: ['COMPOSITE', 'FULL_OBJECT'],
  CRC32C: ['COMPOSITE', 'FULL_OBJECT'],
  CRC64NVME: ['FULL_OBJECT'],
  SHA1: ['COMPOSITE'],
  SHA256: ['COMPOSITE'],
  SHA512: ['COMPOSITE'],
  MD5: ['COMPOSITE'],
  XXHASH64: ['COMPOSITE'],
  XXHASH3: ['COMPOSITE'],
  XXHASH128: ['COMPOSITE'],
};

/**
 * The checksum that CreateMultipartUpload asks for by x-amz-checksum-algorithm and x-amz-checksum-type; undefined if by neither.
 * Without a type it is the first that the algorithm has.
 * @throws InvalidRequest: unknown algorithm or type, a type without algorithm, a pair that cannot be.
 */
export function requestedChecksum(h: Headers): { algorithm: ChecksumAlgorithm; type: ChecksumType } | undefined {
  const name = h['x-amz-checksum-algorithm']?.trim() ?? '';
  const wanted = h['x-amz-checksum-type']?.trim().toUpperCase() ?? '';
  if (wanted !== '' && wanted !== 'COMPOSITE' && wanted !== 'FULL_OBJECT') {
    throw new S3Error('InvalidRequest', 'Value for x-amz-checksum-type header is invalid.');
  }
  if (name === '') {
    if (wanted === '') return undefined;
    const message = 'The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.';
    throw new S3Error('InvalidRequest', message);
  }
  const algorithm = parseAlgorithm(name);
  if (algorithm === undefined) {
    const valid = CHECKSUM_ALGORITHMS.join(', ');
    const message = `Checksum algorithm provided is unsupported. Please try again with any of the valid types: [${valid}]`;
    throw new S3Error('InvalidRequest', message);
  }
  const types = TYPES[algorithm];
  const type = types.find((t) => wanted === '' || t === wanted);
  if (type === undefined) {
    const message = `The ${wanted} checksum type cannot be used with the ${algorithm.toLowerCase()} checksum algorithm.`;
    throw new S3Error('InvalidRequest', message);
  }
  return { algorithm, type };
}

/** Response headers: the value, and x-amz-checksum-type if it is known. */
export function checksumHeaders(c: ChecksumLike): Record<string, string> {
  const headers: Record<string, string> = { [checksumHeaderName(c.algorithm)]: c.value };
  if (c.type !== undefined) headers['x-amz-checksum-type'] = c.type;
  return headers;
}

/** `<ChecksumCRC32>…</ChecksumCRC32>`, and `<ChecksumType>` if it is known. */
export function checksumElements(c: ChecksumLike): XmlElement[] {
  const value = el(checksumName(c.algorithm), c.value);
  return c.type === undefined ? [value] : [value, el('ChecksumType', c.type)];
}

/**
 * The COMPOSITE checksum of a multipart object: the digest of the concatenated raw digests of its parts in base64, `-`, the number
 * of parts (S3 User Guide, "Checking object integrity"). @param parts base64, in order. @throws Error if one has the wrong length.
 */
export function compositeChecksum(algorithm: ChecksumAlgorithm, parts: readonly string[]): string {
  const hasher = createHasher([algorithm]);
  hasher.update(Buffer.concat(parts.map((value) => partDigest(algorithm, value))));
  const digest = hasher.digest()[algorithm];
  if (digest === undefined) throw new Error(`no digest for ${algorithm}`);
  return `${digest.toString('base64')}-${parts.length}`;
}

/**
 * The FULL_OBJECT checksum of a multipart object from the CRCs and sizes of its parts, without reading data: base64.
 * @throws Error if a value has the wrong length.
 */
export function combineChecksums(
  algorithm: CombinableAlgorithm,
  parts: readonly { value: string; size: number }[],
): string {
  const crcs = parts.map(({ value, size }) => ({ crc: partDigest(algorithm, value), size }));
  return combineCrcs(algorithm, crcs).toString('base64');
}

function partDigest(algorithm: ChecksumAlgorithm, value: string): Buffer {
  const bytes = decodeDigest(value, SIZES[algorithm]);
  if (bytes === undefined) throw new Error(`not a ${algorithm} in base64: ${value}`);
  return bytes;
}
