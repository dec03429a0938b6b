/** Tags of objects and of buckets. */
import { S3Error } from '../base/errors.js';
import { validateTags } from '../wire/headers.js';
import { parseTagsXml, tagsXml } from '../wire/tagging.js';
import { checkVersion, without } from './input.js';
import type { OpContext, OpInput, OpResult } from './types.js';

/** S3: tags of a bucket; an object has at most 10. */
export const MAX_BUCKET_TAGS = 50;

export async function getObjectTagging(ctx: OpContext, input: OpInput): Promise<OpResult> {
  checkVersion(input.query.get('versionId'), input.key);
  const { facts } = await ctx.store.head(input.bucket, input.key);
  return { xml: tagsXml(facts.tags ?? []) };
}

export async function putObjectTagging(ctx: OpContext, input: OpInput): Promise<OpResult> {
  checkVersion(input.query.get('versionId'), input.key);
  const tags = parseTagsXml(input.text);
  validateTags(tags);
  await ctx.store.updateFacts(input.bucket, input.key, (facts) => ({ ...facts, tags }), {
    via: { ...ctx.via, event: 'ObjectTagging:Put' },
  });
  return {};
}

export async function deleteObjectTagging(ctx: OpContext, input: OpInput): Promise<OpResult> {
  checkVersion(input.query.get('versionId'), input.key);
  await ctx.store.updateFacts(input.bucket, input.key, (facts) => without(facts, 'tags'), {
    via: { ...ctx.via, event: 'ObjectTagging:Delete' },
  });
  return { status: 204 };
}

export async function getBucketTagging(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const tags = ctx.bucket?.settings.tags;
  if (tags === undefined) throw new S3Error('NoSuchTagSet', undefined, { data: { BucketName: input.bucket } });
  return { xml: tagsXml(tags) };
}

export async function putBucketTagging(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const tags = parseTagsXml(input.text);
  validateTags(tags, MAX_BUCKET_TAGS);
  await ctx.store.updateBucket(input.bucket, (settings) => ({ ...settings, tags }));
  return { status: 204 };
}

export async function deleteBucketTagging(ctx: OpContext, input: OpInput): Promise<OpResult> {
  await ctx.store.updateBucket(input.bucket, (settings) => without(settings, 'tags'));
  return { status: 204 };
}
