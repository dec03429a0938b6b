/**
 * Access control lists: canned names, x-amz-grant-* headers, and whom a list lets in.
 * Source: Amazon S3 User Guide, "Access control list (ACL) overview".
 */
import { S3Error } from '../base/errors.js';
import type { Acl, Grant, Grantee, Owner, Permission } from '../base/model.js';
import {
  ALL_USERS,
  AUTHENTICATED_USERS,
  EC2_BUNDLER,
  invalidGrant,
  LOG_DELIVERY,
  resolveGrantee,
  userGrantee,
} from './grantees.js';
import type { Grantees } from './keyring.js';
import type { Identity } from './types.js';

export { aclXml, parseAclXml } from './acl-xml.js';
export { ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY } from './grantees.js';

const GRANT_HEADERS: readonly (readonly [header: string, permission: Permission])[] = [
  ['x-amz-grant-read', 'READ'],
  ['x-amz-grant-write', 'WRITE'],
  ['x-amz-grant-read-acp', 'READ_ACP'],
  ['x-amz-grant-write-acp', 'WRITE_ACP'],
  ['x-amz-grant-full-control', 'FULL_CONTROL'],
];

/** Names of the headers that set an ACL, of those that are there. */
export function aclHeaders(h: Readonly<Record<string, string | undefined>>): string[] {
  return ['x-amz-acl', ...GRANT_HEADERS.map(([name]) => name)].filter((name) => h[name] !== undefined);
}

/** The owner alone, with everything: S3's default. */
export function privateAcl(owner: Owner): Acl {
  return { owner, grants: [fullControl(owner)] };
}

/**
 * @param name value of x-amz-acl.
 * @param bucketOwner of the object's bucket; without it the bucket-owner-… names mean `private`, as S3 ignores them on buckets.
 * @throws InvalidArgument for a name that S3 does not know.
 */
export function cannedAcl(name: string, owner: Owner, bucketOwner?: Owner): Acl {
  const grants = cannedGrants(name, owner, bucketOwner);
  if (grants === undefined) {
    throw new S3Error('InvalidArgument', undefined, { data: { ArgumentName: 'x-amz-acl', ArgumentValue: name } });
  }
  return { owner, grants: [...grants, fullControl(owner)] };
}

/** What a canned name grants beyond the owner's full control. */
function cannedGrants(name: string, owner: Owner, bucketOwner: Owner | undefined): Grant[] | undefined {
  const other = bucketOwner === undefined || bucketOwner.id === owner.id ? [] : [userGrantee(bucketOwner)];
  switch (name) {
    case 'private':
      return [];
    case 'public-read':
      return [groupGrant(ALL_USERS, 'READ')];
    case 'public-read-write':
      return [groupGrant(ALL_USERS, 'READ'), groupGrant(ALL_USERS, 'WRITE')];
    case 'authenticated-read':
      return [groupGrant(AUTHENTICATED_USERS, 'READ')];
    case 'aws-exec-read':
      return [{ grantee: { type: 'CanonicalUser', id: EC2_BUNDLER }, permission: 'READ' }];
    case 'bucket-owner-read':
      return other.map((grantee) => ({ grantee, permission: 'READ' }));
    case 'bucket-owner-full-control':
      return other.map((grantee) => ({ grantee, permission: 'FULL_CONTROL' }));
    case 'log-delivery-write':
      return [groupGrant(LOG_DELIVERY, 'WRITE'), groupGrant(LOG_DELIVERY, 'READ_ACP')];
    default:
      return undefined;
  }
}

/**
 * The list that the headers x-amz-acl or x-amz-grant-* ask for; undefined if there are none.
 * @param grantees who may be named; without it any id is taken and no email address is known.
 * @throws InvalidArgument, UnresolvableGrantByEmailAddress; InvalidRequest when both kinds of header are there.
 */
export function aclFromHeaders(
  h: Readonly<Record<string, string | undefined>>,
  owner: Owner,
  bucketOwner?: Owner,
  grantees?: Grantees,
): Acl | undefined {
  const canned = h['x-amz-acl'];
  const grants: Grant[] = [];
  let given = false;
  for (const [header, permission] of GRANT_HEADERS) {
    const value = h[header];
    if (value === undefined) continue;
    given = true;
    for (const grantee of parseGrantees(header, value)) {
      grants.push({ grantee: resolveGrantee(grantee, grantees), permission });
    }
  }
  if (canned !== undefined && given) {
    throw new S3Error('InvalidRequest', 'Specifying both Canned ACLs and Header Grants is not allowed');
  }
  if (canned !== undefined) return cannedAcl(canned, owner, bucketOwner);
  return given ? { owner, grants } : undefined;
}

/** `id="…", uri="…", emailAddress="…"`; clients leave out the quotes, too. */
function parseGrantees(header: string, value: string): Grantee[] {
  const found: Grantee[] = [];
  const piece = /\s*(id|uri|emailAddress)\s*=\s*(?:"([^"]*)"|([^",\s]+))\s*(,|$)/iy;
  let at = 0;
  while (at < value.length) {
    piece.lastIndex = at;
    const match = piece.exec(value);
    const text = match?.[2] ?? match?.[3] ?? '';
    if (match === null || text === '' || (match[4] === ',' && piece.lastIndex === value.length)) {
      throw invalidGrant('Argument format not recognized', header, value);
    }
    at = piece.lastIndex;
    const type = (match[1] ?? '').toLowerCase();
    if (type === 'id') found.push({ type: 'CanonicalUser', id: text });
    else if (type === 'uri') found.push({ type: 'Group', uri: text });
    else found.push({ type: 'AmazonCustomerByEmail', email: text });
  }
  if (found.length === 0) throw invalidGrant('Argument format not recognized', header, value);
  return found;
}

/**
 * Whether the list grants `permission` (FULL_CONTROL includes the other four). The owner may always read and write the list itself,
 * even one without grants.
 */
export function aclAllows(acl: Acl, identity: Identity, permission: Permission): boolean {
  const isOwner = identity.kind === 'user' && identity.owner.id === acl.owner.id;
  if (isOwner && (permission === 'READ_ACP' || permission === 'WRITE_ACP')) return true;
  return acl.grants.some(
    (grant) =>
      (grant.permission === permission || grant.permission === 'FULL_CONTROL') && granteeIs(grant.grantee, identity),
  );
}

/** Whether the list lets in people beyond those it names: what BlockPublicAcls refuses and IgnorePublicAcls ignores. */
export function isPublicAcl(acl: Acl): boolean {
  return acl.grants.some(({ grantee }) => grantee.type === 'Group' && grantee.uri !== LOG_DELIVERY);
}

function granteeIs(grantee: Grantee, identity: Identity): boolean {
  switch (grantee.type) {
    case 'CanonicalUser':
      return identity.kind === 'user' && identity.owner.id === grantee.id;
    case 'Group':
      return grantee.uri === ALL_USERS || (grantee.uri === AUTHENTICATED_USERS && identity.kind === 'user');
    case 'AmazonCustomerByEmail':
      return false;
  }
}

function fullControl(owner: Owner): Grant {
  return { grantee: userGrantee(owner), permission: 'FULL_CONTROL' };
}

function groupGrant(uri: string, permission: Permission): Grant {
  return { grantee: { type: 'Group', uri }, permission };
}
