/** ListParts and ListMultipartUploads. */
import { isoDate } from '../wire/headers.js';
import { urlEncodeListing } from '../wire/keys.js';
import { checksumElements } from '../wire/checksums.js';
import type { Upload, UploadPage } from '../store/contract.js';
import { el, type XmlElement } from '../wire/xml.js';
import { numberMarker, pageSize, quoted, urlEncoding } from './input.js';
import { commonPrefixes } from './list-objects.js';
import { bucketOwner, ownerElement } from './owners.js';
import type { OpContext, OpInput, OpResult } from './types.js';

export async function listParts(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const { bucket, key, query } = input;
  const max = pageSize(query.get('max-parts'), 'max-parts');
  const after = numberMarker(query.get('part-number-marker'), 'part-number-marker');
  const encode = urlEncoding(query) ? urlEncodeListing : (name: string): string => name;
  const upload = await ctx.store.getUpload(bucket, key, query.get('uploadId') ?? '');
  const page =
    max === 0
      ? { parts: [], truncated: false }
      : await ctx.store.listParts(bucket, key, upload.uploadId, { after, max });
  const owner = bucketOwner(ctx);
  return {
    xml: el('ListPartsResult', [
      el('Bucket', bucket),
      el('Key', encode(key)),
      el('UploadId', upload.uploadId),
      ...people(upload, owner),
      el('StorageClass', upload.facts.storageClass ?? 'STANDARD'),
      el('PartNumberMarker', after),
      el('NextPartNumberMarker', page.parts.at(-1)?.partNumber ?? 0),
      el('MaxParts', max),
      el('IsTruncated', page.truncated),
      ...checksumKind(upload),
      ...page.parts.map((part) =>
        el('Part', [
          el('PartNumber', part.partNumber),
          el('LastModified', isoDate(part.lastModified)),
          el('ETag', quoted(part.etag)),
          el('Size', part.size),
          ...(part.checksum === undefined ? [] : checksumElements(part.checksum)),
        ]),
      ),
    ]),
  };
}

export async function listMultipartUploads(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const { bucket, query } = input;
  const url = urlEncoding(query);
  const encode = url ? urlEncodeListing : (name: string): string => name;
  const max = pageSize(query.get('max-uploads'), 'max-uploads');
  const prefix = query.get('prefix') ?? '';
  const delimiter = query.get('delimiter') ?? '';
  const keyMarker = query.get('key-marker') ?? '';
  // S3, ListMultipartUploads: without a key marker the upload id marker is ignored.
  const uploadIdMarker = keyMarker === '' ? '' : (query.get('upload-id-marker') ?? '');
  const page: UploadPage =
    max === 0
      ? { entries: [] }
      : await ctx.store.listUploads(bucket, { prefix, delimiter, keyMarker, uploadIdMarker, max });
  const owner = bucketOwner(ctx);
  return {
    xml: el('ListMultipartUploadsResult', [
      el('Bucket', bucket),
      el('KeyMarker', encode(keyMarker)),
      el('UploadIdMarker', uploadIdMarker),
      page.nextKeyMarker !== undefined && el('NextKeyMarker', encode(page.nextKeyMarker)),
      page.nextKeyMarker !== undefined && el('NextUploadIdMarker', page.nextUploadIdMarker ?? ''),
      delimiter !== '' && el('Delimiter', encode(delimiter)),
      el('Prefix', encode(prefix)),
      url && el('EncodingType', 'url'),
      el('MaxUploads', max),
      el('IsTruncated', page.nextKeyMarker !== undefined),
      ...page.entries.flatMap((entry) => {
        if ('prefix' in entry) return [];
        return [
          el('Upload', [
            el('Key', encode(entry.key)),
            el('UploadId', entry.uploadId),
            ...people(entry, owner),
            el('StorageClass', entry.facts.storageClass ?? 'STANDARD'),
            el('Initiated', isoDate(entry.initiated)),
            ...checksumKind(entry),
          ]),
        ];
      }),
      ...commonPrefixes(page.entries, encode),
    ]),
  };
}

function people(upload: Upload, ownerOfBucket: ReturnType<typeof bucketOwner>): XmlElement[] {
  return [
    ownerElement(upload.initiator ?? ownerOfBucket, 'Initiator'),
    ownerElement(upload.facts.owner ?? ownerOfBucket),
  ];
}

function checksumKind(upload: Upload): XmlElement[] {
  if (upload.checksum === undefined) return [];
  return [el('ChecksumAlgorithm', upload.checksum.algorithm), el('ChecksumType', upload.checksum.type)];
}
