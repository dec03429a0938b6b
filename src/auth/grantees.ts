/** Whom a grant can name: owners by id or email address, and S3's predefined groups. */
import { S3Error } from '../base/errors.js';
import type { Grantee, Owner } from '../base/model.js';
import type { Grantees } from './keyring.js';

export const ALL_USERS = 'http://acs.amazonaws.com/groups/global/AllUsers';
export const AUTHENTICATED_USERS = 'http://acs.amazonaws.com/groups/global/AuthenticatedUsers';
export const LOG_DELIVERY = 'http://acs.amazonaws.com/groups/s3/LogDelivery';
const GROUPS: ReadonlySet<string> = new Set([ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY]);

/** Canonical id of Amazon EC2's image service, whom `aws-exec-read` names; nobody here has it. */
export const EC2_BUNDLER = '6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c';

/**
 * Checks that a grantee exists; an email address becomes the id of its owner, an id gets its display name.
 * @throws InvalidArgument, UnresolvableGrantByEmailAddress
 */
export function resolveGrantee(grantee: Grantee, grantees: Grantees | undefined): Grantee {
  switch (grantee.type) {
    case 'Group':
      if (!GROUPS.has(grantee.uri)) throw invalidGrant('Invalid group uri', 'uri', grantee.uri);
      return grantee;
    case 'AmazonCustomerByEmail': {
      const owner = grantees?.ownerByEmail(grantee.email);
      if (owner === undefined) throw new S3Error('UnresolvableGrantByEmailAddress');
      return userGrantee(owner);
    }
    case 'CanonicalUser': {
      if (grantees === undefined || grantee.id === EC2_BUNDLER) return grantee;
      const owner = grantees.ownerById(grantee.id);
      if (owner === undefined) throw invalidGrant('Invalid id', 'CanonicalUser/ID', grantee.id);
      return userGrantee(owner);
    }
  }
}

export function userGrantee(owner: Owner): Grantee {
  return { type: 'CanonicalUser', id: owner.id, displayName: owner.displayName };
}

/** InvalidArgument as S3 words it, with the argument's name and value. */
export function invalidGrant(message: string, name: string, value: string): S3Error {
  return new S3Error('InvalidArgument', message, { data: { ArgumentName: name, ArgumentValue: value } });
}
