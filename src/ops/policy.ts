/** Bucket policies, and the public access block that limits them. */
import { isPublicAcl } from '../auth/acl.js';
import { checkActions } from '../auth/policy-actions.js';
import { checkHeaderKeys } from '../auth/policy-keys.js';
import { deniesNobody, isPublicPolicy, parsePolicy } from '../auth/policy.js';
import { S3Error } from '../base/errors.js';
import { el } from '../wire/xml.js';
import { without } from './input.js';
import { bucketAcl, bucketOwner } from './owners.js';
import type { OpContext, OpInput, OpResult } from './types.js';

/** S3: bytes of a bucket policy. */
const MAX_POLICY = 20 * 1024;

export async function getBucketPolicy(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const policy = ctx.bucket?.settings.policy;
  if (policy === undefined) {
    throw new S3Error('NoSuchBucketPolicy', undefined, { data: { BucketName: input.bucket } });
  }
  return { headers: { 'Content-Type': 'application/json' }, text: policy };
}

export async function putBucketPolicy(ctx: OpContext, input: OpInput): Promise<OpResult> {
  if (Buffer.byteLength(input.text) > MAX_POLICY) {
    throw new S3Error('MalformedPolicy', `Policies must be no longer than ${MAX_POLICY} bytes.`);
  }
  const policy = parsePolicy(input.text, input.bucket);
  checkActions(policy);
  checkHeaderKeys(policy);
  const { grantees } = ctx.service;
  if (grantees !== undefined && deniesNobody(policy, grantees.identities)) {
    throw new S3Error(
      'MalformedPolicy',
      'Invalid principal in policy: a Deny names somebody who has no credentials here.',
    );
  }
  const isPublic = isPublicPolicy(policy);
  await ctx.store.updateBucket(input.bucket, (settings) => {
    if (isPublic && settings.publicAccessBlock?.blockPublicPolicy === true) {
      throw new S3Error('AccessDenied', 'Public policies are blocked by the public access block of this bucket.');
    }
    return { ...settings, policy: input.text };
  });
  return { status: 204 };
}

export async function deleteBucketPolicy(ctx: OpContext, input: OpInput): Promise<OpResult> {
  await ctx.store.updateBucket(input.bucket, (settings) => without(settings, 'policy'));
  return { status: 204 };
}

/** Whether anyone at all may get in, by policy or by the bucket's ACL; a bucket without a policy is no error here. */
export async function getBucketPolicyStatus(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const settings = ctx.bucket?.settings ?? {};
  const byPolicy = settings.policy !== undefined && isPublicPolicy(parsePolicy(settings.policy, input.bucket));
  const ignored = settings.publicAccessBlock?.ignorePublicAcls === true;
  const byAcl = !ignored && isPublicAcl(bucketAcl(settings, bucketOwner(ctx)));
  return { xml: el('PolicyStatus', [el('IsPublic', byPolicy || byAcl)]) };
}
