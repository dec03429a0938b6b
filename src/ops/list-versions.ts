/** ListObjectVersions: every object has one version, the null version. */
import { S3Error } from '../base/errors.js';
import type { ListPage } from '../store/contract.js';
import { isoDate } from '../wire/headers.js';
import { el } from '../wire/xml.js';
import { quoted } from './input.js';
import { checksumSummary, commonPrefixes, isPrefix, readListing } from './list-objects.js';
import { objectOwner, ownerElement } from './owners.js';
import type { OpContext, OpInput, OpResult } from './types.js';

export async function listObjectVersions(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const listing = readListing(input);
  const { prefix, delimiter, max, encode } = listing;
  const keyMarker = input.query.get('key-marker') ?? '';
  const versionMarker = input.query.get('version-id-marker') ?? '';
  if (versionMarker !== '' && keyMarker === '') {
    throw new S3Error('InvalidArgument', 'A version-id marker cannot be specified without a key marker.', {
      data: { ArgumentName: 'version-id-marker', ArgumentValue: versionMarker },
    });
  }
  // With one version to a key, "after this version" is "after this key".
  const page: ListPage =
    max === 0 ? { entries: [] } : await ctx.store.list(input.bucket, { prefix, delimiter, max, after: keyMarker });
  const last = page.entries.at(-1);
  return {
    xml: el('ListVersionsResult', [
      el('Name', input.bucket),
      el('Prefix', encode(prefix)),
      el('KeyMarker', encode(keyMarker)),
      el('VersionIdMarker', versionMarker),
      page.next !== undefined && el('NextKeyMarker', encode(page.next)),
      page.next !== undefined && last !== undefined && !isPrefix(last) && el('NextVersionIdMarker', 'null'),
      el('MaxKeys', max),
      delimiter !== '' && el('Delimiter', encode(delimiter)),
      listing.encodingType,
      el('IsTruncated', page.next !== undefined),
      ...page.entries.flatMap((entry) => {
        if (isPrefix(entry)) return [];
        return [
          el('Version', [
            el('Key', encode(entry.key)),
            el('VersionId', entry.versionId),
            el('IsLatest', true),
            el('LastModified', isoDate(entry.lastModified)),
            el('ETag', quoted(entry.etag)),
            ...checksumSummary(entry),
            el('Size', entry.size),
            ownerElement(objectOwner(ctx, entry.facts)),
            el('StorageClass', entry.facts.storageClass ?? 'STANDARD'),
          ]),
        ];
      }),
      ...commonPrefixes(page.entries, encode),
    ]),
  };
}
