/** CompleteMultipartUpload. */
import { S3Error } from '../base/errors.js';
import { CHECKSUM_ALGORITHMS } from '../base/model.js';
import type { CompleteOptions, ObjectInfo, PartRef } from '../store/contract.js';
import { checksumElements, checksumName, declaredChecksum } from '../wire/checksums.js';
import { writeConditions } from '../wire/conditions.js';
import { childrenOf, childText, el, parseXml, type XmlElement } from '../wire/xml.js';
import { MAX_OBJECT, MAX_PARTS, quoted, refuseEncryption, sizeHeader, unquoted } from './input.js';
import { objectUrl } from './location.js';
import { patiently } from './patience.js';
import type { OpContext, OpInput, OpResult } from './types.js';

export async function completeMultipartUpload(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const { bucket, key, headers } = input;
  const uploadId = input.query.get('uploadId') ?? '';
  refuseEncryption(headers);
  const parts = readParts(input.text);
  const options = completeOptions(headers);
  await checkType(ctx, input, uploadId);
  const info = await patiently(ctx, (tick) =>
    ctx.store.completeUpload(bucket, key, uploadId, parts, { ...options, via: ctx.via, onProgress: tick }),
  );
  return { xml: resultXml(ctx, input, info) };
}

function resultXml(ctx: OpContext, input: OpInput, info: ObjectInfo): XmlElement {
  return el('CompleteMultipartUploadResult', [
    el('Location', objectUrl(ctx, input)),
    el('Bucket', input.bucket),
    el('Key', input.key),
    el('ETag', quoted(info.etag)),
    ...(info.checksum === undefined ? [] : checksumElements(info.checksum)),
  ]);
}

/** The list of parts. @throws MalformedXML, InvalidArgument, InvalidPartOrder. */
function readParts(text: string): PartRef[] {
  const elements = childrenOf(parseXml(text, ['CompleteMultipartUpload', 'CompletedMultipartUpload']), 'Part');
  if (elements.length === 0 || elements.length > MAX_PARTS) throw new S3Error('MalformedXML');
  const parts = elements.map(readPart);
  let last = 0;
  for (const { partNumber } of parts) {
    if (partNumber <= last) throw new S3Error('InvalidPartOrder');
    last = partNumber;
  }
  return parts;
}

function readPart(part: XmlElement): PartRef {
  const number = childText(part, 'PartNumber')?.trim();
  const etag = childText(part, 'ETag');
  if (number === undefined || etag === undefined || !/^\d{1,10}$/.test(number)) throw new S3Error('MalformedXML');
  const partNumber = Number(number);
  if (partNumber < 1 || partNumber > MAX_PARTS) {
    throw new S3Error('InvalidArgument', 'PartNumber must be >= 1 and <= 10000', {
      data: { ArgumentName: 'PartNumber', ArgumentValue: number },
    });
  }
  const checksums: PartRef['checksums'] = {};
  for (const algorithm of CHECKSUM_ALGORITHMS) {
    const value = childText(part, checksumName(algorithm))?.trim();
    if (value !== undefined && value !== '') checksums[algorithm] = value;
  }
  return { partNumber, etag: unquoted(etag), checksums };
}

/** Conditions, and what the client says of the whole object: its size and checksum. */
function completeOptions(headers: OpInput['headers']): CompleteOptions {
  const options: CompleteOptions = {};
  const condition = writeConditions(headers);
  if (condition !== undefined) options.condition = condition;
  const size = sizeHeader(headers, 'x-amz-mp-object-size');
  if (size !== undefined) {
    if (size > MAX_OBJECT) {
      throw new S3Error('EntityTooLarge', undefined, { data: { ProposedSize: size, MaxSizeAllowed: MAX_OBJECT } });
    }
    options.size = size;
  }
  const checksum = declaredChecksum(headers);
  if (checksum !== undefined) options.checksum = checksum;
  return options;
}

/** x-amz-checksum-type must be what the upload was created with. A completed upload is gone: its retry is not checked again. */
async function checkType(ctx: OpContext, input: OpInput, uploadId: string): Promise<void> {
  const type = input.headers['x-amz-checksum-type'];
  if (type === undefined) return;
  let created: string | undefined;
  try {
    created = (await ctx.store.getUpload(input.bucket, input.key, uploadId)).checksum?.type;
  } catch (error) {
    if (error instanceof S3Error && error.code === 'NoSuchUpload') return;
    throw error;
  }
  if (created !== undefined && created !== type.toUpperCase()) {
    throw new S3Error(
      'InvalidRequest',
      `The upload was created using the ${created} checksum mode. The complete request must use the same checksum mode.`,
    );
  }
}
