/** GetPublicAccessBlock, PutPublicAccessBlock, DeletePublicAccessBlock. What the block does stands in authorize.ts, owners.ts and policy.ts. */
import { S3Error } from '../base/errors.js';
import type { PublicAccessBlock } from '../store/contract.js';
import { childText, el, parseXml } from '../wire/xml.js';
import { without } from './input.js';
import type { OpContext, OpInput, OpResult } from './types.js';

export async function getPublicAccessBlock(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const block = ctx.bucket?.settings.publicAccessBlock;
  if (block === undefined) {
    throw new S3Error('NoSuchPublicAccessBlockConfiguration', undefined, { data: { BucketName: input.bucket } });
  }
  return {
    xml: el('PublicAccessBlockConfiguration', [
      el('BlockPublicAcls', block.blockPublicAcls),
      el('IgnorePublicAcls', block.ignorePublicAcls),
      el('BlockPublicPolicy', block.blockPublicPolicy),
      el('RestrictPublicBuckets', block.restrictPublicBuckets),
    ]),
  };
}

export async function putPublicAccessBlock(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const root = parseXml(input.text, 'PublicAccessBlockConfiguration');
  const flag = (name: string): boolean => {
    const text = childText(root, name)?.trim().toLowerCase();
    if (text === undefined || text === 'false') return false;
    if (text === 'true') return true;
    throw new S3Error('MalformedXML');
  };
  const publicAccessBlock: PublicAccessBlock = {
    blockPublicAcls: flag('BlockPublicAcls'),
    ignorePublicAcls: flag('IgnorePublicAcls'),
    blockPublicPolicy: flag('BlockPublicPolicy'),
    restrictPublicBuckets: flag('RestrictPublicBuckets'),
  };
  await ctx.store.updateBucket(input.bucket, (settings) => ({ ...settings, publicAccessBlock }));
  return {};
}

export async function deletePublicAccessBlock(ctx: OpContext, input: OpInput): Promise<OpResult> {
  await ctx.store.updateBucket(input.bucket, (settings) => without(settings, 'publicAccessBlock'));
  return { status: 204 };
}
