/**
 * Who owns what, and which ACL a new object or bucket gets (S3 Object Ownership).
 *
 * An owner or ACL is recorded only where it differs from the default - the bucket's owner with FULL_CONTROL - so
 * that a tree without ACLs has none in its journal.
 */
import { aclFromHeaders, ALL_USERS, AUTHENTICATED_USERS, isPublicAcl, privateAcl } from '../auth/acl.js';
import type { Identity } from '../auth/types.js';
import { S3Error } from '../base/errors.js';
import type { Acl, Grant, KeyFacts, Owner } from '../base/model.js';
import type { BucketSettings } from '../store/contract.js';
import { el, type XmlElement } from '../wire/xml.js';
import type { OpContext, OpInput, ServiceConfig } from './types.js';

/** S3's canonical id of the unauthenticated user: owns what anonymous writers put. */
export const ANONYMOUS: Owner = {
  id: '65a011a29cdf8ec533ec3d1ccaae921c',
  displayName: 'anonymous',
};

export function callerOwner(identity: Identity): Owner {
  return identity.kind === 'user' ? identity.owner : ANONYMOUS;
}

/** A bucket without recorded owner (a folder nobody made through S3) belongs to the first credential's owner. */
export function rootOwner(service: ServiceConfig): Owner {
  return service.rootOwner ?? { id: 'gos3rve', displayName: 'gos3rve' };
}

export function bucketOwner(ctx: OpContext): Owner {
  return ctx.bucket?.settings.owner ?? rootOwner(ctx.service);
}

export function ownerElement(owner: Owner, name = 'Owner'): XmlElement {
  return el(name, [el('ID', owner.id), el('DisplayName', owner.displayName)]);
}

/** The ACL in force of an object: recorded, or its owner's alone. With BucketOwnerEnforced, recorded ACLs are without effect. */
export function objectAcl(facts: KeyFacts, settings: BucketSettings, ownerOfBucket: Owner): Acl {
  if (settings.ownership === 'BucketOwnerEnforced') return privateAcl(ownerOfBucket);
  return facts.acl ?? privateAcl(facts.owner ?? ownerOfBucket);
}

/** Who is told to own an object: with BucketOwnerEnforced the bucket's owner, whoever wrote it. */
export function objectOwner(ctx: OpContext, facts: KeyFacts): Owner {
  const owner = bucketOwner(ctx);
  return ctx.bucket?.settings.ownership === 'BucketOwnerEnforced' ? owner : (facts.owner ?? owner);
}

/** The ACL in force of a bucket. */
export function bucketAcl(settings: BucketSettings, ownerOfBucket: Owner): Acl {
  if (settings.ownership === 'BucketOwnerEnforced') return privateAcl(ownerOfBucket);
  return settings.acl ?? privateAcl(ownerOfBucket);
}

/** What IgnorePublicAcls leaves out. */
export function isPublicGrant(grant: Grant): boolean {
  const { grantee } = grant;
  return grantee.type === 'Group' && (grantee.uri === ALL_USERS || grantee.uri === AUTHENTICATED_USERS);
}

/** BlockPublicAcls: refuses an ACL that grants to everyone. @throws AccessDenied. */
export function refusePublicAcl(acl: Acl, settings: BucketSettings): void {
  if (settings.publicAccessBlock?.blockPublicAcls !== true) return;
  if (isPublicAcl(acl)) {
    throw new S3Error('AccessDenied', 'Public ACLs are blocked by the public access block of this bucket.');
  }
}

/**
 * Owner and ACL of an object being written, from x-amz-acl or x-amz-grant-*.
 * @throws AccessControlListNotSupported under BucketOwnerEnforced, InvalidArgument for an unknown ACL, AccessDenied for
 *   a public one where these are blocked.
 */
export function writeOwnership(ctx: OpContext, input: OpInput): Pick<KeyFacts, 'acl' | 'owner'> {
  const settings = ctx.bucket?.settings ?? {};
  const owner = bucketOwner(ctx);
  const caller = callerOwner(ctx.identity);
  const canned = input.headers['x-amz-acl'];
  const acl = aclFromHeaders(input.headers, caller, owner, ctx.service.grantees);
  if (settings.ownership === 'BucketOwnerEnforced') {
    if (acl !== undefined && canned !== 'bucket-owner-full-control') {
      throw new S3Error('AccessControlListNotSupported');
    }
    return {};
  }
  if (acl !== undefined) refusePublicAcl(acl, settings);
  // BucketOwnerPreferred: full control for the bucket's owner makes it the object's owner.
  if (settings.ownership === 'BucketOwnerPreferred' && canned === 'bucket-owner-full-control') return {};
  return {
    ...(caller.id === owner.id ? {} : { owner: caller }),
    ...(acl === undefined ? {} : { acl }),
  };
}
