/** ListObjects and ListObjectsV2: the same page, written in two ways. */
import { S3Error } from '../base/errors.js';
import type { Owner } from '../base/model.js';
import type { ListEntry, ListPage, ObjectInfo } from '../store/contract.js';
import { isoDate } from '../wire/headers.js';
import { urlEncodeListing } from '../wire/keys.js';
import { el, leaf, written, type XmlElement } from '../wire/xml.js';
import { pageSize, quoted, urlEncoding } from './input.js';
import { objectOwner } from './owners.js';
import type { OpContext, OpInput, OpResult } from './types.js';

/** What all listings of keys share: the query, and how names are written. */
export interface Listing {
  prefix: string;
  delimiter: string;
  max: number;
  /** `url` encoded if asked for: prefixes, delimiters and keys alike. */
  encode: (name: string) => string;
  encodingType: XmlElement | undefined;
}

/** @throws InvalidArgument (max-keys, encoding-type). */
export function readListing(input: OpInput): Listing {
  const url = urlEncoding(input.query);
  return {
    prefix: input.query.get('prefix') ?? '',
    delimiter: input.query.get('delimiter') ?? '',
    max: pageSize(input.query.get('max-keys'), 'max-keys'),
    encode: url ? urlEncodeListing : (name) => name,
    encodingType: url ? el('EncodingType', 'url') : undefined,
  };
}

/** A page; max-keys 0 is an empty page that is not truncated. */
async function pageOf(ctx: OpContext, bucket: string, listing: Listing, after: string): Promise<ListPage> {
  if (listing.max === 0) return { entries: [] };
  const { prefix, delimiter, max } = listing;
  return ctx.store.list(bucket, { prefix, delimiter, max, after });
}

export function isPrefix(entry: ListEntry | { prefix: string }): entry is { prefix: string } {
  return 'prefix' in entry;
}

export function commonPrefixes(entries: readonly object[], encode: Listing['encode']): XmlElement[] {
  return entries.flatMap((entry) =>
    'prefix' in entry && typeof entry.prefix === 'string'
      ? [el('CommonPrefixes', [el('Prefix', encode(entry.prefix))])]
      : [],
  );
}

export async function listObjects(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const listing = readListing(input);
  const { encode } = listing;
  const marker = input.query.get('marker') ?? '';
  const page = await pageOf(ctx, input.bucket, listing, marker);
  // S3, ListObjects: NextMarker only with a delimiter; without one the last key is the marker.
  const nextMarker = listing.delimiter !== '' && page.next !== undefined && el('NextMarker', encode(page.next));
  return {
    xml: el('ListBucketResult', [
      el('Name', input.bucket),
      el('Prefix', encode(listing.prefix)),
      el('Marker', encode(marker)),
      nextMarker,
      el('MaxKeys', listing.max),
      listing.delimiter !== '' && el('Delimiter', encode(listing.delimiter)),
      listing.encodingType,
      el('IsTruncated', page.next !== undefined),
      contents(ctx, page.entries, encode, true),
      ...commonPrefixes(page.entries, encode),
    ]),
  };
}

export async function listObjectsV2(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const listing = readListing(input);
  const { encode } = listing;
  const token = input.query.get('continuation-token');
  const startAfter = input.query.get('start-after');
  const after = token === undefined || token === '' ? (startAfter ?? '') : decodeToken(token);
  const page = await pageOf(ctx, input.bucket, listing, after);
  return {
    xml: el('ListBucketResult', [
      el('Name', input.bucket),
      el('Prefix', encode(listing.prefix)),
      token !== undefined && el('ContinuationToken', token),
      page.next !== undefined && el('NextContinuationToken', encodeToken(page.next)),
      startAfter !== undefined && el('StartAfter', encode(startAfter)),
      el('KeyCount', page.entries.length),
      el('MaxKeys', listing.max),
      listing.delimiter !== '' && el('Delimiter', encode(listing.delimiter)),
      listing.encodingType,
      el('IsTruncated', page.next !== undefined),
      contents(ctx, page.entries, encode, input.query.get('fetch-owner') === 'true'),
      ...commonPrefixes(page.entries, encode),
    ]),
  };
}

/** The hot path of a listing: text at once, without a tree of elements. */
function contents(
  ctx: OpContext,
  entries: readonly ListEntry[],
  encode: Listing['encode'],
  withOwner: boolean,
): XmlElement {
  // whose it is depends on more than the entry
  const kept = withOwner ? undefined : encode === urlEncodeListing ? URL_ENCODED : PLAIN;
  let text = '';
  for (const entry of entries) {
    if (isPrefix(entry)) continue;
    let one = kept?.get(entry);
    if (one === undefined) {
      one = contentText(entry, encode, withOwner ? ownerText(objectOwner(ctx, entry.facts)) : '');
      // flat: a string made of many parts takes the memory of all of them
      if (kept && Object.isFrozen(entry)) kept.set(entry, (one = Buffer.from(one).toString()));
    }
    text += one;
  }
  return written(text);
}

/** What was written of entries that the store keeps, and gives again as long as all is the same. */
const PLAIN = new WeakMap<ObjectInfo, string>();
const URL_ENCODED = new WeakMap<ObjectInfo, string>();

function contentText(entry: ObjectInfo, encode: Listing['encode'], owner: string): string {
  const { checksum, facts } = entry;
  let text = '<Contents>';
  text += leaf('Key', encode(entry.key));
  text += leaf('LastModified', isoDate(entry.lastModified));
  text += leaf('ETag', quoted(entry.etag));
  if (checksum) text += leaf('ChecksumAlgorithm', checksum.algorithm) + leaf('ChecksumType', checksum.type);
  text += leaf('Size', entry.size);
  text += owner;
  text += leaf('StorageClass', facts.storageClass ?? 'STANDARD');
  return `${text}</Contents>`;
}

function ownerText({ id, displayName }: Owner): string {
  return `<Owner>${leaf('ID', id)}${leaf('DisplayName', displayName)}</Owner>`;
}

/** Listings name a checksum's kind, not its value. */
export function checksumSummary(info: ObjectInfo): XmlElement[] {
  if (info.checksum === undefined) return [];
  return [el('ChecksumAlgorithm', info.checksum.algorithm), el('ChecksumType', info.checksum.type)];
}

/** Opaque to clients: base64url of the last key or common prefix of a page. */
export function encodeToken(last: string): string {
  return Buffer.from(last, 'utf8').toString('base64url');
}

/** @throws InvalidArgument for what encodeToken never made. */
export function decodeToken(token: string): string {
  const last = Buffer.from(token, 'base64url').toString('utf8');
  if (last !== '' && encodeToken(last) === token) return last;
  throw new S3Error('InvalidArgument', 'The continuation token provided is incorrect', {
    data: { ArgumentName: 'continuation-token' },
  });
}
