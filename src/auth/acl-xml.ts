/** AccessControlPolicy, S3's XML form of an access control list. */
import { S3Error } from '../base/errors.js';
import type { Acl, Grant, Grantee, Permission } from '../base/model.js';
import { child, childrenOf, childText, el, parseXml, type XmlElement } from '../wire/xml.js';
import { resolveGrantee } from './grantees.js';
import type { Grantees } from './keyring.js';

const PERMISSIONS: readonly Permission[] = ['FULL_CONTROL', 'READ', 'WRITE', 'READ_ACP', 'WRITE_ACP'];
/** S3 User Guide: an ACL can have up to 100 grants. */
const MAX_GRANTS = 100;

export function aclXml(acl: Acl): XmlElement {
  return el('AccessControlPolicy', [
    el('Owner', [el('ID', acl.owner.id), el('DisplayName', acl.owner.displayName)]),
    el(
      'AccessControlList',
      acl.grants.map((grant) => el('Grant', [granteeXml(grant.grantee), el('Permission', grant.permission)])),
    ),
  ]);
}

function granteeXml(grantee: Grantee): XmlElement {
  const attributes = { 'xmlns:xsi': 'http://www.w3.org/2001/XMLSchema-instance', 'xsi:type': grantee.type };
  switch (grantee.type) {
    case 'CanonicalUser':
      return el(
        'Grantee',
        [el('ID', grantee.id), grantee.displayName !== undefined && el('DisplayName', grantee.displayName)],
        attributes,
      );
    case 'Group':
      return el('Grantee', [el('URI', grantee.uri)], attributes);
    case 'AmazonCustomerByEmail':
      return el('Grantee', [el('EmailAddress', grantee.email)], attributes);
  }
}

/**
 * Reads the body of PutBucketAcl and PutObjectAcl. That its owner is the resource's owner is the caller's to check.
 * @param grantees as for `aclFromHeaders`.
 * @throws MalformedACLError, InvalidArgument, UnresolvableGrantByEmailAddress
 */
export function parseAclXml(text: string, grantees?: Grantees): Acl {
  const root = parseRoot(text);
  const owner = child(root, 'Owner');
  const list = child(root, 'AccessControlList');
  const id = owner === undefined ? undefined : childText(owner, 'ID');
  if (owner === undefined || list === undefined || !id) throw new S3Error('MalformedACLError');
  const grants = childrenOf(list, 'Grant');
  if (grants.length > MAX_GRANTS) throw new S3Error('MalformedACLError', `An ACL has at most ${MAX_GRANTS} grants.`);
  const displayName = childText(owner, 'DisplayName') ?? grantees?.ownerById(id)?.displayName ?? '';
  return { owner: { id, displayName }, grants: grants.map((grant) => parseGrant(grant, grantees)) };
}

function parseRoot(text: string): XmlElement {
  try {
    return parseXml(text, 'AccessControlPolicy');
  } catch (error) {
    if (error instanceof S3Error && error.code === 'MalformedXML') {
      throw new S3Error('MalformedACLError', error.message, { cause: error });
    }
    throw error;
  }
}

function parseGrant(grant: XmlElement, grantees: Grantees | undefined): Grant {
  const text = childText(grant, 'Permission');
  const permission = PERMISSIONS.find((known) => known === text);
  const element = child(grant, 'Grantee');
  const grantee = element === undefined ? undefined : parseGrantee(element);
  if (permission === undefined || grantee === undefined) throw new S3Error('MalformedACLError');
  return { grantee: resolveGrantee(grantee, grantees), permission };
}

/** Told apart by what it holds; xsi:type, if given, must say the same. */
function parseGrantee(element: XmlElement): Grantee | undefined {
  const type = element.attributes?.type ?? element.attributes?.['xsi:type'];
  const id = childText(element, 'ID');
  const uri = childText(element, 'URI');
  const email = childText(element, 'EmailAddress');
  if (id && (type ?? 'CanonicalUser') === 'CanonicalUser') return { type: 'CanonicalUser', id };
  if (uri && (type ?? 'Group') === 'Group') return { type: 'Group', uri };
  if (email && (type ?? 'AmazonCustomerByEmail') === 'AmazonCustomerByEmail') {
    return { type: 'AmazonCustomerByEmail', email };
  }
  return undefined;
}
