/** Bucket ownership controls: whether ACLs count. */
import { S3Error } from '../base/errors.js';
import type { BucketSettings } from '../store/contract.js';
import { childrenOf, childText, el, parseXml } from '../wire/xml.js';
import { without } from './input.js';
import { bucketOwner } from './owners.js';
import type { OpContext, OpInput, OpResult } from './types.js';

type Ownership = NonNullable<BucketSettings['ownership']>;
const OWNERSHIPS: readonly Ownership[] = ['BucketOwnerEnforced', 'BucketOwnerPreferred', 'ObjectWriter'];

/** @throws InvalidArgument. */
export function readOwnership(value: string): Ownership {
  const known = OWNERSHIPS.find((ownership) => ownership === value);
  if (known !== undefined) return known;
  throw new S3Error('InvalidArgument', 'Invalid x-amz-object-ownership header', {
    data: { ArgumentName: 'x-amz-object-ownership', ArgumentValue: value },
  });
}

export async function getBucketOwnershipControls(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const ownership = ctx.bucket?.settings.ownership;
  if (ownership === undefined) {
    throw new S3Error('OwnershipControlsNotFoundError', undefined, { data: { BucketName: input.bucket } });
  }
  return { xml: el('OwnershipControls', [el('Rule', [el('ObjectOwnership', ownership)])]) };
}

export async function putBucketOwnershipControls(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const rules = childrenOf(parseXml(input.text, 'OwnershipControls'), 'Rule');
  const value = rules[0] === undefined ? undefined : childText(rules[0], 'ObjectOwnership');
  const ownership = OWNERSHIPS.find((known) => known === value);
  if (rules.length !== 1 || ownership === undefined) throw new S3Error('MalformedXML');
  const owner = bucketOwner(ctx);
  await ctx.store.updateBucket(input.bucket, (settings) => {
    // S3, Object Ownership: an ACL that grants to others must go before ACLs are switched off.
    const grantsToOthers = settings.acl?.grants.some(
      ({ grantee }) => grantee.type !== 'CanonicalUser' || grantee.id !== owner.id,
    );
    if (ownership === 'BucketOwnerEnforced' && grantsToOthers === true) {
      throw new S3Error('InvalidBucketAclWithObjectOwnership');
    }
    return { ...settings, ownership };
  });
  return {};
}

export async function deleteBucketOwnershipControls(ctx: OpContext, input: OpInput): Promise<OpResult> {
  await ctx.store.updateBucket(input.bucket, (settings) => without(settings, 'ownership'));
  return { status: 204 };
}
