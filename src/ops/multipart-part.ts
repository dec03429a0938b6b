/** UploadPart and UploadPartCopy. */
import { S3Error } from '../base/errors.js';
import type { DigestPlan } from '../base/model.js';
import type { Part, Upload } from '../store/contract.js';
import { checksumElements, checksumHeaders, planDigests } from '../wire/checksums.js';
import { checkRead, copySourceConditions } from '../wire/conditions.js';
import { isoDate } from '../wire/headers.js';
import { parseCopyRange } from '../wire/ranges.js';
import { el } from '../wire/xml.js';
import { copySource } from './copy.js';
import { limitBody, MAX_SINGLE, partNumberOf, quoted, refuseEncryption } from './input.js';
import { patiently } from './patience.js';
import { pull } from './pull.js';
import type { OpContext, OpInput, OpResult } from './types.js';

/** Refuses before the body is sent: no such upload, bad part number, too large. */
export async function precheckPart(ctx: OpContext, input: OpInput): Promise<void> {
  limitBody(input.body);
  digestsFor(await uploadOf(ctx, input), planDigests(input.headers, input.trailers));
}

export async function uploadPart(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const { bucket, key } = input;
  const upload = await uploadOf(ctx, input);
  const number = partNumberOf(input.query.get('partNumber'));
  const digests = digestsFor(upload, planDigests(input.headers, input.trailers));
  const part = await ctx.store.putPart(bucket, key, upload.uploadId, number, limitBody(input.body), { digests });
  return { headers: { ETag: quoted(part.etag), ...partChecksum(part, checksumHeaders) } };
}

export async function uploadPartCopy(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const { bucket, key, headers } = input;
  const upload = await uploadOf(ctx, input);
  const number = partNumberOf(input.query.get('partNumber'));
  const from = await copySource(ctx, input);
  const open = await ctx.store.open(from.bucket, from.key);
  try {
    checkRead(copySourceConditions(headers), open.info, 'copy');
    const wanted = headers['x-amz-copy-source-range'];
    const { start, end } =
      wanted === undefined ? { start: 0, end: open.info.size } : parseCopyRange(wanted, open.info.size);
    if (end - start > MAX_SINGLE) {
      throw new S3Error(
        'InvalidRequest',
        `The specified copy source is larger than the maximum allowable size for a copy source: ${MAX_SINGLE}`,
      );
    }
    const body = { chunks: pull(open, start, end), size: end - start };
    const digests = digestsFor(upload, { algorithms: [] });
    const part = await patiently(ctx, () => ctx.store.putPart(bucket, key, upload.uploadId, number, body, { digests }));
    return {
      xml: el('CopyPartResult', [
        el('LastModified', isoDate(part.lastModified)),
        el('ETag', quoted(part.etag)),
        ...(part.checksum === undefined ? [] : checksumElements(part.checksum)),
      ]),
    };
  } finally {
    await open.close();
  }
}

async function uploadOf(ctx: OpContext, input: OpInput): Promise<Upload> {
  partNumberOf(input.query.get('partNumber'));
  refuseEncryption(input.headers);
  return ctx.store.getUpload(input.bucket, input.key, input.query.get('uploadId') ?? '');
}

/** The upload's algorithm is computed for a part that came without a value. @throws InvalidRequest for another algorithm. */
function digestsFor(upload: Upload, plan: DigestPlan): DigestPlan {
  const wanted = upload.checksum?.algorithm;
  if (wanted === undefined) return plan;
  if (plan.store === undefined) {
    return { ...plan, store: wanted, algorithms: [...new Set([...plan.algorithms, wanted])] };
  }
  if (plan.store !== wanted) {
    throw new S3Error(
      'InvalidRequest',
      `Checksum Type mismatch occurred, expected checksum Type: ${wanted.toLowerCase()}, actual checksum Type: ${plan.store.toLowerCase()}`,
    );
  }
  return plan;
}

function partChecksum<T>(part: Part, write: (checksum: NonNullable<Part['checksum']>) => T): T | Record<string, never> {
  return part.checksum === undefined ? {} : write(part.checksum);
}
