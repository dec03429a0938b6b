/** ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation, GetBucketVersioning. */
import { aclFromHeaders } from '../auth/acl.js';
import { S3Error } from '../base/errors.js';
import type { Tags } from '../base/model.js';
import type { Bucket, BucketSettings } from '../store/contract.js';
import { isoDate, validateTags } from '../wire/headers.js';
import { readTags } from '../wire/tagging.js';
import { child, childText, el, parseXml, type XmlElement } from '../wire/xml.js';
import { checkBucketName } from './bucket-names.js';
import { pageSize } from './input.js';
import { decodeToken, encodeToken } from './list-objects.js';
import { callerOwner, ownerElement, rootOwner } from './owners.js';
import { readOwnership } from './ownership.js';
import { MAX_BUCKET_TAGS } from './tagging.js';
import type { OpContext, OpInput, OpResult } from './types.js';

/** S3, ListBuckets: max-buckets. */
const MAX_BUCKETS = 10_000;

/** The caller's own buckets, in byte order. */
export async function listBuckets(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const { query } = input;
  const prefix = query.get('prefix') ?? '';
  const region = query.get('bucket-region');
  const max = maxBuckets(query.get('max-buckets'));
  const token = query.get('continuation-token');
  const paged = max !== undefined || prefix !== '' || region !== undefined || token !== undefined;
  const owner = callerOwner(ctx.identity);
  const mine = (bucket: Bucket): boolean =>
    (bucket.settings.owner ?? rootOwner(ctx.service)).id === owner.id &&
    (region === undefined || regionOf(ctx, bucket) === region);
  const { buckets, next } = await collect(ctx, {
    prefix,
    after: token === undefined || token === '' ? undefined : decodeToken(token),
    max: max ?? MAX_BUCKETS,
    mine,
  });
  return {
    xml: el('ListAllMyBucketsResult', [
      ownerElement(owner),
      el(
        'Buckets',
        buckets.map((bucket) =>
          el('Bucket', [
            el('Name', bucket.name),
            el('CreationDate', isoDate(bucket.created)),
            paged && el('BucketRegion', regionOf(ctx, bucket)),
          ]),
        ),
      ),
      prefix !== '' && el('Prefix', prefix),
      next !== undefined && el('ContinuationToken', encodeToken(next)),
    ]),
  };
}

function maxBuckets(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const max = pageSize(value, 'max-buckets', MAX_BUCKETS + 1);
  if (max >= 1 && max <= MAX_BUCKETS) return max;
  throw new S3Error('InvalidArgument', `max-buckets must be from 1 to ${MAX_BUCKETS}`, {
    data: { ArgumentName: 'max-buckets', ArgumentValue: value },
  });
}

interface Wanted {
  prefix: string;
  after: string | undefined;
  max: number;
  mine: (bucket: Bucket) => boolean;
}

/** Pages through the store until `max` buckets of the caller's are found; `next` is set only if one more exists. */
async function collect(ctx: OpContext, wanted: Wanted): Promise<{ buckets: Bucket[]; next?: string }> {
  const buckets: Bucket[] = [];
  let after = wanted.after;
  for (;;) {
    const page = await ctx.store.listBuckets({
      prefix: wanted.prefix,
      max: 1000,
      ...(after === undefined ? {} : { after }),
    });
    for (const bucket of page.buckets) {
      if (!wanted.mine(bucket)) continue;
      const last = buckets.at(-1);
      if (buckets.length === wanted.max && last !== undefined) return { buckets, next: last.name };
      buckets.push(bucket);
    }
    if (page.next === undefined) return { buckets };
    after = page.next;
  }
}

function regionOf(ctx: OpContext, bucket: Bucket | undefined): string {
  return bucket?.settings.region ?? ctx.service.region;
}

export async function createBucket(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const { bucket: name, headers } = input;
  const owner = callerOwner(ctx.identity);
  if (ctx.bucket !== undefined) throw taken(ctx, ctx.bucket);
  checkBucketName(name);
  if (headers['x-amz-bucket-object-lock-enabled']?.toLowerCase() === 'true') {
    throw new S3Error('NotImplemented', 'Object lock is not supported.');
  }
  const settings: BucketSettings = { owner };
  const { region, tags } = readConfiguration(input.text);
  if (region !== undefined) settings.region = region;
  if (tags !== undefined) settings.tags = tags;
  const ownership = headers['x-amz-object-ownership'];
  if (ownership !== undefined) settings.ownership = readOwnership(ownership);
  const acl = aclFromHeaders(headers, owner, owner, ctx.service.grantees);
  if (acl !== undefined) {
    if (settings.ownership === 'BucketOwnerEnforced') throw new S3Error('InvalidBucketAclWithObjectOwnership');
    settings.acl = acl;
  }
  try {
    await ctx.store.createBucket(name, settings);
  } catch (error) {
    if (!(error instanceof S3Error) || error.code !== 'BucketAlreadyExists') throw error;
    // Another request, or a folder of that name that appeared meanwhile; or a file, which is nobody's bucket.
    const there = await ctx.store.getBucket(name).catch((missing: unknown) => {
      if (missing instanceof S3Error && missing.code === 'NoSuchBucket') throw error;
      throw missing;
    });
    throw taken(ctx, there);
  }
  return { headers: { Location: `/${name}` } };
}

/** S3's two codes; us-east-1 would say 200 to the owner, but SDK users and other stores expect the 409 of all other regions. */
function taken(ctx: OpContext, bucket: Bucket): S3Error {
  const owner = bucket.settings.owner ?? rootOwner(ctx.service);
  const code = owner.id === callerOwner(ctx.identity).id ? 'BucketAlreadyOwnedByYou' : 'BucketAlreadyExists';
  return new S3Error(code, undefined, { data: { BucketName: bucket.name } });
}

/** CreateBucketConfiguration: the region and, since 2025, tags of the bucket. @throws MalformedXML, InvalidLocationConstraint, InvalidTag. */
function readConfiguration(text: string): { region?: string; tags?: Tags } {
  if (text.trim() === '') return {};
  const root = parseXml(text, 'CreateBucketConfiguration');
  if (child(root, 'Location') !== undefined || child(root, 'Bucket') !== undefined) {
    throw new S3Error('NotImplemented', 'Directory buckets are not supported.');
  }
  const region = locationConstraint(root);
  const set = child(root, 'Tags');
  const tags = set && readTags(set);
  if (tags) validateTags(tags, MAX_BUCKET_TAGS);
  return { ...(region !== undefined && { region }), ...(tags && tags.length > 0 && { tags }) };
}

/** Any well-formed region is taken and recorded: a directory is in every region. */
function locationConstraint(root: XmlElement): string | undefined {
  const region = childText(root, 'LocationConstraint')?.trim();
  if (region === undefined || region === '') return undefined;
  if (!/^(?:EU|[a-z0-9][a-z0-9-]{0,62})$/.test(region)) {
    throw new S3Error('InvalidLocationConstraint', undefined, { data: { LocationConstraint: region } });
  }
  return region;
}

export async function headBucket(ctx: OpContext, _input: OpInput): Promise<OpResult> {
  return { headers: { 'x-amz-bucket-region': regionOf(ctx, ctx.bucket), 'x-amz-access-point-alias': 'false' } };
}

export async function deleteBucket(ctx: OpContext, input: OpInput): Promise<OpResult> {
  await ctx.store.deleteBucket(input.bucket);
  return { status: 204 };
}

/** us-east-1 is written as an empty element (S3, GetBucketLocation). */
export async function getBucketLocation(ctx: OpContext, _input: OpInput): Promise<OpResult> {
  const region = regionOf(ctx, ctx.bucket);
  return { xml: el('LocationConstraint', region === 'us-east-1' ? '' : region) };
}

/** Never enabled: an empty configuration. */
export async function getBucketVersioning(_ctx: OpContext, _input: OpInput): Promise<OpResult> {
  return { xml: el('VersioningConfiguration', []) };
}
