/** Signing keys, strings to sign and dates of Signature Version 4. Source: Amazon S3 API Reference, "Authenticating Requests". */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { ChunkSigning, Signature } from './types.js';

export const ALGORITHM = 'AWS4-HMAC-SHA256';
/** SHA-256 of no bytes, hex. */
export const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

const SIGNATURE = /^[0-9a-f]{64}$/;

/** The derived key for one day, region and service: 32 bytes. */
export function signingKey(secretKey: string, date: string, region: string, service = 's3'): Buffer {
  return hmac(hmac(hmac(hmac(`AWS4${secretKey}`, date), region), service), 'aws4_request');
}

/** @param text a byte string (Latin-1), as node:http gives headers and request targets. */
export function sha256Hex(text: string): string {
  return createHash('sha256').update(text, 'latin1').digest('hex');
}

/** @param timestamp `YYYYMMDDTHHMMSSZ` */
export function stringToSign(timestamp: string, scope: string, canonicalRequest: string): string {
  return `${ALGORITHM}\n${timestamp}\n${scope}\n${sha256Hex(canonicalRequest)}`;
}

export function hmac(key: Buffer | string, text: string): Buffer {
  return createHmac('sha256', key).update(text, 'utf8').digest();
}

/** Signature of one chunk of STREAMING-AWS4-HMAC-SHA256-PAYLOAD. @param sha256 of the chunk's data, hex. */
export function chunkSignature(signing: ChunkSigning, previous: string, sha256: string): Buffer {
  const text = `${ALGORITHM}-PAYLOAD\n${signing.timestamp}\n${signing.scope}\n${previous}\n${EMPTY_SHA256}\n${sha256}`;
  return hmac(signing.key, text);
}

/** Signature of the trailer. @param trailers `name:value\n` for each, names in lower case. */
export function trailerSignature(signing: ChunkSigning, previous: string, trailers: string): Buffer {
  const text = `${ALGORITHM}-TRAILER\n${signing.timestamp}\n${signing.scope}\n${previous}\n${sha256Hex(trailers)}`;
  return hmac(signing.key, text);
}

/** Compares in constant time; false for anything but 64 lower-case hex digits. */
export function signatureEquals(expected: Buffer, provided: string): boolean {
  return SIGNATURE.test(provided) && timingSafeEqual(expected, Buffer.from(provided, 'hex'));
}

/** What was asked last, and was one: requests of one second all say the same. */
let last: { text: string; ms: number } | undefined;

/** `YYYYMMDDTHHMMSSZ` to ms; undefined if it is not that, or no date that exists. */
export function parseTimestamp(text: string): number | undefined {
  if (last?.text === text) return last.ms;
  const ms = readTimestamp(text);
  if (ms !== undefined) last = { text, ms };
  return ms;
}

function readTimestamp(text: string): number | undefined {
  const m = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (m === null) return undefined;
  const ms = Date.UTC(Number(m[1]), Number(m[2]) - 1, Number(m[3]), Number(m[4]), Number(m[5]), Number(m[6]));
  return formatTimestamp(ms) === text && ms >= 0 ? ms : undefined;
}

/** A signature of version 4. @param at when it was made, ms. */
export function signatureOf(at: number | undefined): Signature {
  return { version: ALGORITHM, ...(at === undefined ? {} : { at }) };
}

/** ms to `YYYYMMDDTHHMMSSZ`. */
export function formatTimestamp(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace(/[-:]/g, '')}Z`;
}
