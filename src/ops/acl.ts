/** GetBucketAcl, PutBucketAcl, GetObjectAcl, PutObjectAcl. */
import { aclFromHeaders, aclXml, parseAclXml } from '../auth/acl.js';
import { S3Error } from '../base/errors.js';
import type { Acl, Owner } from '../base/model.js';
import { checkVersion } from './input.js';
import { bucketAcl, bucketOwner, objectAcl, refusePublicAcl } from './owners.js';
import type { OpContext, OpInput, OpResult } from './types.js';

export async function getBucketAcl(ctx: OpContext, _input: OpInput): Promise<OpResult> {
  return { xml: aclXml(bucketAcl(ctx.bucket?.settings ?? {}, bucketOwner(ctx))) };
}

export async function putBucketAcl(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const owner = bucketOwner(ctx);
  const acl = givenAcl(ctx, input, owner);
  await ctx.store.updateBucket(input.bucket, (settings) => ({ ...settings, acl }));
  return {};
}

export async function getObjectAcl(ctx: OpContext, input: OpInput): Promise<OpResult> {
  checkVersion(input.query.get('versionId'), input.key);
  const { facts } = await ctx.store.head(input.bucket, input.key);
  return { xml: aclXml(objectAcl(facts, ctx.bucket?.settings ?? {}, bucketOwner(ctx))) };
}

export async function putObjectAcl(ctx: OpContext, input: OpInput): Promise<OpResult> {
  checkVersion(input.query.get('versionId'), input.key);
  const { facts } = await ctx.store.head(input.bucket, input.key);
  const owner = facts.acl?.owner ?? facts.owner ?? bucketOwner(ctx);
  const acl = givenAcl(ctx, input, owner);
  await ctx.store.updateFacts(input.bucket, input.key, (current) => ({ ...current, acl }), {
    via: { ...ctx.via, event: 'ObjectAcl:Put' },
  });
  return {};
}

/**
 * The ACL of the body or of the headers, one of them. The owner cannot be changed by it.
 * @throws AccessControlListNotSupported, UnexpectedContent, MissingSecurityHeader, MalformedACLError, AccessDenied.
 */
function givenAcl(ctx: OpContext, input: OpInput, owner: Owner): Acl {
  const settings = ctx.bucket?.settings ?? {};
  if (settings.ownership === 'BucketOwnerEnforced') throw new S3Error('AccessControlListNotSupported');
  const byHeaders = aclFromHeaders(input.headers, owner, bucketOwner(ctx), ctx.service.grantees);
  const hasBody = input.text.trim() !== '';
  if (byHeaders !== undefined && hasBody) throw new S3Error('UnexpectedContent');
  if (byHeaders === undefined && !hasBody) {
    throw new S3Error('MissingSecurityHeader', 'Your request was missing a required header', {
      data: { MissingHeaderName: 'x-amz-acl' },
    });
  }
  const acl = byHeaders ?? parseAclXml(input.text, ctx.service.grantees);
  if (acl.owner.id !== owner.id) {
    throw new S3Error('AccessDenied', 'The owner that the ACL names is not the owner of this resource.');
  }
  refusePublicAcl(acl, settings);
  return { ...acl, owner };
}
