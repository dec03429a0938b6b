/** What x-amz-content-sha256 says of the body. */
import { S3Error } from '../base/errors.js';
import type { ChunkSigning, PayloadMode, SignedRequest } from './types.js';

const UNSIGNED = 'UNSIGNED-PAYLOAD';
const UNSIGNED_TRAILER = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER';
const SIGNED_CHUNKS = 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD';
const SIGNED_CHUNKS_TRAILER = 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER';

/**
 * @param value of x-amz-content-sha256.
 * @param signing what the chunks of a signed body are checked with.
 * @throws NotImplemented for SigV4A bodies, InvalidArgument for anything unknown.
 */
export function payloadMode(value: string, signing: ChunkSigning): PayloadMode {
  switch (value) {
    case UNSIGNED:
      return { kind: 'unsigned' };
    case UNSIGNED_TRAILER:
      return { kind: 'chunked', trailer: true };
    case SIGNED_CHUNKS:
      return { kind: 'chunked', trailer: false, signing };
    case SIGNED_CHUNKS_TRAILER:
      return { kind: 'chunked', trailer: true, signing };
  }
  if (/^[0-9a-f]{64}$/i.test(value)) return { kind: 'sha256', hex: value.toLowerCase() };
  if (value.startsWith('STREAMING-AWS4-ECDSA-P256-SHA256')) {
    throw new S3Error('NotImplemented', `x-amz-content-sha256 ${value}: Signature Version 4A is not supported.`);
  }
  throw new S3Error(
    'InvalidArgument',
    'x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.',
    { data: { ArgumentName: 'x-amz-content-sha256', ArgumentValue: value } },
  );
}

/** What x-amz-content-sha256 would say of it: the value that policies ask for, however the request told it. */
export function payloadName(mode: PayloadMode): string {
  switch (mode.kind) {
    case 'unsigned':
      return UNSIGNED;
    case 'sha256':
      return mode.hex;
    case 'chunked':
      if (mode.signing === undefined) return UNSIGNED_TRAILER;
      return mode.trailer ? SIGNED_CHUNKS_TRAILER : SIGNED_CHUNKS;
  }
}

/** Mode of a request without a signature: signed chunks cannot be, a digest and unsigned chunks can. */
export function unsignedPayloadMode(headers: SignedRequest['headers']): PayloadMode {
  const value = headers['x-amz-content-sha256'];
  if (value === undefined || value === '') return { kind: 'unsigned' };
  if (value === SIGNED_CHUNKS || value === SIGNED_CHUNKS_TRAILER) {
    throw new S3Error('InvalidRequest', `x-amz-content-sha256 ${value} needs a request signed with AWS4-HMAC-SHA256.`);
  }
  return payloadMode(value, { key: Buffer.alloc(0), timestamp: '', scope: '', seed: '' });
}
