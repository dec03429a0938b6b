/** CreateMultipartUpload and AbortMultipartUpload. */
import { requestedChecksum } from '../wire/checksums.js';
import { readFacts } from '../wire/headers.js';
import { checkKey } from '../wire/keys.js';
import { el } from '../wire/xml.js';
import { refuseEncryption, refuseLock } from './input.js';
import { callerOwner, writeOwnership } from './owners.js';
import type { OpContext, OpInput, OpResult } from './types.js';

export async function createMultipartUpload(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const { bucket, key, headers } = input;
  checkKey(key);
  refuseEncryption(headers);
  refuseLock(headers);
  const checksum = requestedChecksum(headers);
  const { uploadId } = await ctx.store.createUpload(bucket, key, {
    facts: { ...readFacts(headers), ...writeOwnership(ctx, input) },
    initiator: callerOwner(ctx.identity),
    ...(checksum === undefined ? {} : { checksum }),
  });
  return {
    headers:
      checksum === undefined
        ? {}
        : { 'x-amz-checksum-algorithm': checksum.algorithm, 'x-amz-checksum-type': checksum.type },
    xml: el('InitiateMultipartUploadResult', [el('Bucket', bucket), el('Key', key), el('UploadId', uploadId)]),
  };
}

export async function abortMultipartUpload(ctx: OpContext, input: OpInput): Promise<OpResult> {
  await ctx.store.abortUpload(input.bucket, input.key, input.query.get('uploadId') ?? '');
  return { status: 204 };
}
