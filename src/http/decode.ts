/** The stage between the socket and a handler: aws-chunked framing, payload hashes and checksums come off here. */
import { decodeBody } from '../auth/chunked.js';
import type { PayloadMode } from '../auth/types.js';
import { S3Error } from '../base/errors.js';
import type { Body } from '../base/model.js';
import { createHasher, prepareHashes } from '../fs/hash.js';
import type { OpInput, Operation } from '../ops/types.js';
import { planDigests } from '../wire/checksums.js';
import type { RequestBody } from './body.js';
import type { Headers } from './request.js';

/** Largest XML body: 10,000 parts with a checksum each are about 2 MiB. */
export const MAX_XML = 4 * 1024 * 1024;

const NOTHING: AsyncIterable<Uint8Array> = {
  [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve({ done: true, value: undefined }) }),
};
const EMPTY: Body = { chunks: NOTHING, size: 0 };

/**
 * The body after transfer decoding. Nothing is read before the first chunk is asked for.
 * @param trailers filled when the body was read to its end.
 * @throws MissingContentLength when an upload does not say how long it is (S3: Content-Length, or x-amz-decoded-content-length
 *   for aws-chunked), InvalidArgument when it says no number, NotImplemented for any transfer coding but chunked.
 */
export function decodedBody(
  operation: Operation,
  headers: Headers,
  raw: RequestBody,
  payload: PayloadMode,
  trailers: Record<string, string>,
): Body {
  const stream = operation.body === 'stream';
  if (operation.body === 'none' && raw.length === 0) return EMPTY;
  const decodedLength = payload.kind === 'chunked' ? lengthOf(headers['x-amz-decoded-content-length']) : undefined;
  const coding = headers['transfer-encoding'];
  // RFC 9112 section 6.1: what was compressed on its way would be stored as it is
  if (coding !== undefined && coding.trim().toLowerCase() !== 'chunked')
    throw new S3Error(
      'NotImplemented',
      `Transfer-Encoding "${coding}" is not supported; send the body chunked, or with its length.`,
    );
  const framed = coding !== undefined;
  if (stream && headers['content-length'] === undefined && !framed) throw new S3Error('MissingContentLength');
  // Without it the end of an aws-chunked body could not be told from its being cut off between two chunks.
  if (stream && payload.kind === 'chunked' && decodedLength === undefined) throw new S3Error('MissingContentLength');
  const chunks = decodeBody(raw.read(), payload, {
    ...(decodedLength === undefined ? {} : { decodedLength }),
    ...(raw.length === undefined ? {} : { contentLength: raw.length }),
    announcedTrailers: (headers['x-amz-trailer'] ?? '')
      .split(',')
      .map((name) => name.trim().toLowerCase())
      .filter((name) => name !== ''),
    onTrailers: (found) => Object.assign(trailers, found),
  });
  const size = payload.kind === 'chunked' ? decodedLength : raw.length;
  return size === undefined ? { chunks } : { chunks, size };
}

/**
 * A whole XML (or JSON) body as text, its digests checked.
 * @throws MaxMessageLengthExceeded over 4 MiB - before reading, if the length is announced -, MalformedXML if it is no UTF-8, BadDigest.
 */
export async function readText(operation: Operation, input: OpInput): Promise<string> {
  const tooLong = () =>
    new S3Error('MaxMessageLengthExceeded', undefined, { data: { MaxMessageLengthBytes: MAX_XML } });
  if ((input.body.size ?? 0) > MAX_XML) throw tooLong();
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of input.body.chunks) {
    size += chunk.length;
    if (size > MAX_XML) throw tooLong();
    pieces.push(Buffer.from(chunk));
  }
  const bytes = Buffer.concat(pieces, size);
  await checkDigests(operation, input, bytes);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new S3Error('MalformedXML', undefined, { cause: error });
  }
}

/** Content-MD5 and x-amz-checksum-* of the body itself. CompleteMultipartUpload's checksum headers speak of the object instead. */
async function checkDigests(operation: Operation, input: OpInput, bytes: Buffer): Promise<void> {
  const { headers, trailers } = input;
  const ofObject = operation.name === 'CompleteMultipartUpload';
  const plan = planDigests(ofObject ? { 'content-md5': headers['content-md5'] } : headers, ofObject ? {} : trailers);
  if (!plan.check) return;
  await prepareHashes();
  const hasher = createHasher(plan.algorithms);
  hasher.update(bytes);
  plan.check(hasher.digest(), bytes.length);
}

function lengthOf(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (!/^\d{1,15}$/.test(value))
    throw new S3Error('InvalidArgument', 'x-amz-decoded-content-length is no length.', {
      data: { ArgumentName: 'x-amz-decoded-content-length', ArgumentValue: value },
    });
  return Number(value);
}
