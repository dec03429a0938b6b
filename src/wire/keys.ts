/** Object keys on the wire. A key is decoded once, here, and is plain Unicode everywhere else (DESIGN rule 5). */
import { S3Error } from '../base/errors.js';

/** Bytes in UTF-8 (S3 User Guide, "Object key naming guidelines"). */
const MAX_KEY = 1024;

/**
 * Decodes a percent-encoded path, once: `%252e` stays `%2e`. Bytes above 0x7F that came unencoded count as if they were encoded;
 * `+` is a plus (RFC 3986).
 * @throws InvalidURI: broken escapes, bytes that are no UTF-8 (overlong forms and surrogates among them).
 */
export function decodeKey(raw: string): string {
  if (/^[ -$&-~]*$/.test(raw)) return raw;
  const ascii = raw.replace(/[\u0080-\u00ff]/g, (c) => `%${c.charCodeAt(0).toString(16)}`);
  try {
    return decodeURIComponent(ascii);
  } catch (error) {
    throw new S3Error('InvalidURI', undefined, { data: { URI: raw.slice(0, 3 * MAX_KEY) }, cause: error });
  }
}

/** Percent-encodes all but the unreserved characters of RFC 3986 section 2.3, and `/` if it is to stay. @throws InvalidURI (lone surrogate) */
export function encodeKey(key: string, keepSlash = true): string {
  if (/^[A-Za-z0-9\-._~/]*$/.test(key)) return keepSlash ? key : key.replace(/\//g, '%2F');
  let encoded: string;
  try {
    encoded = encodeURIComponent(key);
  } catch (error) {
    throw new S3Error('InvalidURI', undefined, { cause: error });
  }
  encoded = encoded.replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  return keepSlash ? encoded.replace(/%2F/g, '/') : encoded;
}

/**
 * Keys and prefixes in a listing with encoding-type=url. A space is `%20` and a plus `%2B`, which clients that decode query strings
 * and clients that decode paths read alike.
 */
export function urlEncodeListing(s: string): string {
  return encodeKey(s, true);
}

/** @throws KeyTooLongError over 1,024 bytes, InvalidURI if it is no well-formed Unicode, InvalidArgument if it is empty. */
export function checkKey(key: string): void {
  if (key === '')
    throw new S3Error('InvalidArgument', 'The object key must not be empty.', { data: { ArgumentName: 'Key' } });
  const size = Buffer.byteLength(key);
  if (size > MAX_KEY) {
    throw new S3Error('KeyTooLongError', undefined, { data: { Size: size, MaxSizeAllowed: MAX_KEY } });
  }
  if (/\p{Surrogate}/u.test(key)) throw new S3Error('InvalidURI', 'The key is not well-formed Unicode.');
}

export interface CopySource {
  bucket: string;
  key: string;
  versionId?: string;
}

/**
 * Reads x-amz-copy-source: `bucket/key` or `/bucket/key`, percent-encoded, with `?versionId=` behind it.
 * The whole is decoded once, so the first slash may be encoded too; a `?` of the key has to be.
 * @throws InvalidArgument; KeyTooLongError.
 */
export function parseCopySource(header: string): CopySource {
  const match = /^(.*?)(?:\?versionId=([^?]*))?$/s.exec(header.trim());
  const [, path = '', version] = match ?? [];
  const decoded = decodePart(path, header).replace(/^\//, '');
  const slash = decoded.indexOf('/');
  const bucket = slash === -1 ? decoded : decoded.slice(0, slash);
  const key = slash === -1 ? '' : decoded.slice(slash + 1);
  if (bucket === '' || key === '') throw invalid('Invalid copy source object key', header);
  checkKey(key);
  if (version === undefined) return { bucket, key };
  if (version === '') throw invalid('Version id cannot be the empty string', header);
  return { bucket, key, versionId: decodePart(version, header) };
}

function decodePart(raw: string, header: string): string {
  try {
    return decodeKey(raw);
  } catch (error) {
    throw error instanceof S3Error && error.code === 'InvalidURI'
      ? invalid('Invalid copy source encoding', header)
      : error;
  }
}

function invalid(message: string, header: string): S3Error {
  const data = { ArgumentName: 'x-amz-copy-source', ArgumentValue: header.slice(0, 3 * MAX_KEY) };
  return new S3Error('InvalidArgument', message, { data });
}
