/** Readers of what many operations take alike: numbers, encoding type, versions; and refusals of what is not supported. */
import { S3Error } from '../base/errors.js';
import type { Body } from '../base/model.js';
import type { OpInput } from './types.js';

const GIB = 1024 ** 3;
/** S3's limits in bytes: one PutObject, part or copied source; one object. */
export const MAX_SINGLE = 5 * GIB;
export const MAX_OBJECT = 5 * 1024 * GIB;
export const MAX_PARTS = 10_000;

/** An ETag as headers and XML carry it. */
export function quoted(etag: string): string {
  return `"${etag}"`;
}

export function unquoted(etag: string): string {
  return etag.trim().replace(/^"(.*)"$/s, '$1');
}

function notInteger(name: string, value: string): S3Error {
  return new S3Error('InvalidArgument', `Provided ${name} not an integer or within integer range`, {
    data: { ArgumentName: name, ArgumentValue: value },
  });
}

/** A page size (max-keys, max-parts …): absent or empty means `most`, and so does any larger number. @throws InvalidArgument. */
export function pageSize(value: string | undefined, name: string, most = 1000): number {
  if (value === undefined || value === '') return most;
  if (!/^\d{1,10}$/.test(value) || Number(value) > 2 ** 31 - 1) throw notInteger(name, value);
  return Math.min(Number(value), most);
}

/** A marker that is a number, 0 if absent. @throws InvalidArgument. */
export function numberMarker(value: string | undefined, name: string): number {
  if (value === undefined || value === '') return 0;
  if (!/^\d{1,10}$/.test(value) || Number(value) > 2 ** 31 - 1) throw notInteger(name, value);
  return Number(value);
}

/** @throws InvalidArgument unless 1 to 10,000. */
export function partNumberOf(value: string | undefined): number {
  const number = value !== undefined && /^\d{1,5}$/.test(value) ? Number(value) : 0;
  if (number < 1 || number > MAX_PARTS) {
    throw new S3Error('InvalidArgument', 'Part number must be an integer between 1 and 10000, inclusive', {
      data: { ArgumentName: 'partNumber', ArgumentValue: value ?? '' },
    });
  }
  return number;
}

/** A non-negative size or offset in a header. @throws InvalidArgument. */
export function sizeHeader(headers: OpInput['headers'], name: string): number | undefined {
  const value = headers[name];
  if (value === undefined) return undefined;
  if (!/^\d{1,15}$/.test(value)) {
    throw new S3Error('InvalidArgument', `The value of ${name} is no size in bytes.`, {
      data: { ArgumentName: name, ArgumentValue: value },
    });
  }
  return Number(value);
}

/** True for `encoding-type=url`. @throws InvalidArgument for any other. */
export function urlEncoding(query: OpInput['query']): boolean {
  const value = query.get('encoding-type');
  if (value === undefined || value === '') return false;
  if (value.toLowerCase() === 'url') return true;
  throw new S3Error('InvalidArgument', 'Invalid Encoding Method specified in Request', {
    data: { ArgumentName: 'encoding-type', ArgumentValue: value },
  });
}

/**
 * Lets pass a request for the null version (or for none): the only one that there is.
 * @throws NoSuchVersion for a well-formed id, InvalidArgument for a malformed one.
 */
export function checkVersion(versionId: string | undefined, key: string): void {
  if (versionId === undefined || versionId === 'null') return;
  // S3's ids are opaque; those seen are 32 characters of this alphabet.
  if (!/^[A-Za-z0-9._-]{1,1024}$/.test(versionId)) {
    throw new S3Error('InvalidArgument', 'Invalid version id specified', {
      data: { ArgumentName: 'versionId', ArgumentValue: versionId },
    });
  }
  throw new S3Error('NoSuchVersion', undefined, { data: { Key: key, VersionId: versionId } });
}

const SSE = 'x-amz-server-side-encryption';
const SSE_C = `${SSE}-customer-`;

/**
 * Encryption that is asked for but not given must not pass in silence.
 * @throws NotImplemented; InvalidArgument if the request is malformed even so; InvalidRequest when reading with a customer key.
 */
export function refuseEncryption(headers: OpInput['headers'], mode: 'read' | 'write' = 'write'): void {
  const algorithm = headers[`${SSE_C}algorithm`];
  const key = headers[`${SSE_C}key`];
  const md5 = headers[`${SSE_C}key-md5`];
  if (algorithm !== undefined || key !== undefined || md5 !== undefined) {
    if (algorithm === undefined || key === undefined || md5 === undefined) {
      throw new S3Error(
        'InvalidArgument',
        'Requests with customer keys must name the algorithm, the key and the MD5 of the key.',
      );
    }
    if (algorithm !== 'AES256') throw new S3Error('InvalidEncryptionAlgorithmError');
    if (headers[SSE] !== undefined) {
      throw new S3Error(
        'InvalidArgument',
        'Server Side Encryption with Customer provided key is incompatible with the encryption method specified',
        {
          data: { ArgumentName: SSE, ArgumentValue: headers[SSE] },
        },
      );
    }
    if (mode === 'read') {
      throw new S3Error('InvalidRequest', 'The encryption parameters are not applicable to this object.');
    }
    throw new S3Error('NotImplemented', 'Encryption with customer keys (SSE-C) is not supported.');
  }
  const sse = headers[SSE];
  if (sse === undefined) {
    if (headers[`${SSE}-aws-kms-key-id`] !== undefined) {
      throw new S3Error('InvalidArgument', `${SSE}-aws-kms-key-id needs ${SSE}: aws:kms`);
    }
    return;
  }
  if (mode === 'read') throw new S3Error('InvalidArgument', `${SSE} cannot be used when an object is read.`);
  const invalid = (message: string): S3Error =>
    new S3Error('InvalidArgument', message, { data: { ArgumentName: SSE, ArgumentValue: sse } });
  if (sse !== 'AES256' && sse !== 'aws:kms' && sse !== 'aws:kms:dsse') {
    throw invalid('The encryption method specified is not supported');
  }
  if (sse === 'AES256' && headers[`${SSE}-aws-kms-key-id`] !== undefined) {
    throw invalid(`${SSE}-aws-kms-key-id needs ${SSE}: aws:kms`);
  }
  throw new S3Error('NotImplemented', `Encryption on the server (${SSE}: ${sse}) is not supported.`);
}

/** Object lock: no bucket has it yet. @throws InvalidRequest, as S3 says of such a bucket. */
export function refuseLock(headers: OpInput['headers']): void {
  for (const name of ['mode', 'retain-until-date', 'legal-hold']) {
    const header = `x-amz-object-lock-${name}`;
    if (headers[header] !== undefined && !(name === 'legal-hold' && headers[header] === 'OFF')) {
      throw new S3Error('InvalidRequest', 'Bucket is missing Object Lock Configuration');
    }
  }
}

/** Ends a body that grows beyond `max` bytes, however it was announced. @throws EntityTooLarge. */
export function limitBody(body: Body, max = MAX_SINGLE): Body {
  const tooLarge = (size: number): S3Error =>
    new S3Error('EntityTooLarge', undefined, { data: { ProposedSize: size, MaxSizeAllowed: max } });
  if (body.size !== undefined) {
    if (body.size > max) throw tooLarge(body.size);
    return body;
  }
  async function* counted(): AsyncGenerator<Uint8Array> {
    let size = 0;
    for await (const chunk of body.chunks) {
      size += chunk.length;
      if (size > max) throw tooLarge(size);
      yield chunk;
    }
  }
  return { chunks: counted() };
}

/** A copy of `value` that lacks these members: how a setting or a fact is removed. */
export function without<T extends object>(value: T, ...members: (keyof T)[]): T {
  const copy = { ...value };
  for (const member of members) Reflect.deleteProperty(copy, member);
  return copy;
}
