/** GetObjectAttributes. */
import { S3Error } from '../base/errors.js';
import type { Checksum } from '../base/model.js';
import type { ObjectPart, OpenObject } from '../store/contract.js';
import { checksumElements, checksumName } from '../wire/checksums.js';
import { httpDate } from '../wire/headers.js';
import { el, type XmlElement } from '../wire/xml.js';
import { checkVersion, numberMarker, pageSize, refuseEncryption } from './input.js';
import type { OpContext, OpInput, OpResult } from './types.js';

const ATTRIBUTES = ['ETag', 'Checksum', 'ObjectParts', 'StorageClass', 'ObjectSize'] as const;
type Attribute = (typeof ATTRIBUTES)[number];

export async function getObjectAttributes(ctx: OpContext, input: OpInput): Promise<OpResult> {
  checkVersion(input.query.get('versionId'), input.key);
  refuseEncryption(input.headers, 'read');
  const wanted = readAttributes(input.headers['x-amz-object-attributes']);
  const open = await ctx.store.open(input.bucket, input.key);
  try {
    const { info } = open;
    return {
      headers: { 'Last-Modified': httpDate(info.lastModified) },
      xml: el('GetObjectAttributesResponse', [
        // Here, and only here, S3 writes the ETag without quotes.
        wanted.has('ETag') && el('ETag', info.etag),
        wanted.has('Checksum') && info.checksum !== undefined && el('Checksum', checksumElements(info.checksum)),
        wanted.has('ObjectParts') && (await partsElement(open, input)),
        wanted.has('StorageClass') && el('StorageClass', info.facts.storageClass ?? 'STANDARD'),
        wanted.has('ObjectSize') && el('ObjectSize', info.size),
      ]),
    };
  } finally {
    await open.close();
  }
}

/** @throws InvalidArgument for an unknown attribute, InvalidRequest if none is named. */
function readAttributes(header: string | undefined): ReadonlySet<Attribute> {
  const names = (header ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  if (names.length === 0) {
    throw new S3Error(
      'InvalidRequest',
      'The x-amz-object-attributes header specifying the attributes to be retrieved is required.',
    );
  }
  const known = new Set<Attribute>();
  for (const name of names) {
    const attribute = ATTRIBUTES.find((a) => a === name);
    if (attribute === undefined) {
      throw new S3Error('InvalidArgument', 'Invalid attribute name specified.', {
        data: { ArgumentName: 'x-amz-object-attributes', ArgumentValue: name },
      });
    }
    known.add(attribute);
  }
  return known;
}

/** A page of the parts of a multipart object; nothing for others. */
async function partsElement(open: OpenObject, input: OpInput): Promise<XmlElement | undefined> {
  if (open.info.partCount === undefined) return undefined;
  const max = pageSize(input.headers['x-amz-max-parts'], 'x-amz-max-parts');
  const marker = numberMarker(input.headers['x-amz-part-number-marker'], 'x-amz-part-number-marker');
  const all = await open.parts();
  const after = all.filter((part) => part.partNumber > marker);
  const page = after.slice(0, max);
  const { checksum } = open.info;
  return el('ObjectParts', [
    el('PartsCount', all.length),
    el('PartNumberMarker', marker),
    el('NextPartNumberMarker', page.at(-1)?.partNumber ?? 0),
    el('MaxParts', max),
    el('IsTruncated', max > 0 && after.length > max),
    ...page.map((part) => partElement(part, checksum)),
  ]);
}

function partElement(part: ObjectPart, checksum: Checksum | undefined): XmlElement {
  return el('Part', [
    el('PartNumber', part.partNumber),
    el('Size', part.size),
    checksum !== undefined && part.checksum !== undefined && el(checksumName(checksum.algorithm), part.checksum),
  ]);
}
