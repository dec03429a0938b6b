import { describe, expect, it } from 'vitest';
import {
  aclAllows,
  aclFromHeaders,
  aclXml,
  ALL_USERS,
  AUTHENTICATED_USERS,
  cannedAcl,
  isPublicAcl,
  LOG_DELIVERY,
  parseAclXml,
} from '../../src/auth/acl.js';
import type { Identity } from '../../src/auth/types.js';
import type { Acl, Permission } from '../../src/base/model.js';
import { renderXml } from '../../src/wire/xml.js';
import { ALICE, BOB, keyring, refused } from './fixtures.js';

const alice: Identity = { kind: 'user', accessKey: ALICE.accessKey, owner: ALICE.owner };
const bob: Identity = { kind: 'user', accessKey: BOB.accessKey, owner: BOB.owner };
const anyone: Identity = { kind: 'anonymous' };
const who = { alice, bob, anyone };
const ALL: Permission[] = ['READ', 'WRITE', 'READ_ACP', 'WRITE_ACP', 'FULL_CONTROL'];

/** What each may do under an ACL, as `R W r w F`. */
function verdicts(acl: Acl): Record<string, string> {
  const letters: Record<Permission, string> = {
    READ: 'R',
    WRITE: 'W',
    READ_ACP: 'r',
    WRITE_ACP: 'w',
    FULL_CONTROL: 'F',
  };
  return Object.fromEntries(
    Object.entries(who).map(([name, identity]) => [
      name,
      ALL.filter((permission) => aclAllows(acl, identity, permission))
        .map((permission) => letters[permission])
        .join(''),
    ]),
  );
}

describe('canned ACLs', () => {
  it.each<[string, string, string, boolean]>([
    // name, what Bob (the bucket's owner) may do to Alice's object, what a stranger may do, public
    ['private', '', '', false],
    ['public-read', 'R', 'R', true],
    ['public-read-write', 'RW', 'RW', true],
    ['authenticated-read', 'R', '', true],
    ['aws-exec-read', '', '', false],
    ['bucket-owner-read', 'R', '', false],
    ['bucket-owner-full-control', 'RWrwF', '', false],
    ['log-delivery-write', '', '', false],
  ])('%s', (name, forBob, forAnyone, isPublic) => {
    const acl = cannedAcl(name, ALICE.owner, BOB.owner);
    expect(verdicts(acl)).toEqual({ alice: 'RWrwF', bob: forBob, anyone: forAnyone });
    expect(isPublicAcl(acl)).toBe(isPublic);
  });

  it('gives the bucket owner nothing twice', () => {
    expect(cannedAcl('bucket-owner-full-control', ALICE.owner, ALICE.owner).grants).toHaveLength(1);
    expect(cannedAcl('bucket-owner-read', ALICE.owner).grants).toHaveLength(1);
  });

  it('refuses a name that S3 does not know', () => {
    const error = refused('InvalidArgument', () => aclFromHeaders({ 'x-amz-acl': 'public-ready' }, ALICE.owner));
    expect(error.data).toEqual({ ArgumentName: 'x-amz-acl', ArgumentValue: 'public-ready' });
    refused('InvalidArgument', () => aclFromHeaders({ 'x-amz-acl': '' }, ALICE.owner));
  });
});

describe('x-amz-grant-* headers', () => {
  const grants = (h: Record<string, string>): Acl | undefined => aclFromHeaders(h, ALICE.owner, ALICE.owner, keyring());

  it('is undefined without any', () => {
    expect(grants({ 'content-type': 'text/plain' })).toBeUndefined();
  });

  it('reads ids, groups and email addresses, with quotes and without', () => {
    const acl = grants({
      'x-amz-grant-read': `id="bob-id", uri="${ALL_USERS}"`,
      'x-amz-grant-write-acp': 'id=bob-id',
      'x-amz-grant-full-control': 'emailAddress="alice@example.com"',
    });
    expect(acl).toEqual({
      owner: ALICE.owner,
      grants: [
        { grantee: { type: 'CanonicalUser', id: 'bob-id', displayName: 'Bob' }, permission: 'READ' },
        { grantee: { type: 'Group', uri: ALL_USERS }, permission: 'READ' },
        { grantee: { type: 'CanonicalUser', id: 'bob-id', displayName: 'Bob' }, permission: 'WRITE_ACP' },
        { grantee: { type: 'CanonicalUser', id: 'alice-id', displayName: 'Alice' }, permission: 'FULL_CONTROL' },
      ],
    });
    expect(acl && verdicts(acl)).toEqual({ alice: 'RWrwF', bob: 'Rw', anyone: 'R' });
  });

  it('does not give the owner what is not granted, but always the list itself', () => {
    const acl = grants({ 'x-amz-grant-read': 'id=bob-id' });
    expect(acl && verdicts(acl)).toEqual({ alice: 'rw', bob: 'R', anyone: '' });
  });

  it.each([
    ['InvalidArgument', { 'x-amz-grant-read': 'bob-id' }],
    ['InvalidArgument', { 'x-amz-grant-read': '' }],
    ['InvalidArgument', { 'x-amz-grant-read': 'id=bob-id,' }],
    ['InvalidArgument', { 'x-amz-grant-read': 'id="bob-id' }],
    ['InvalidArgument', { 'x-amz-grant-read': 'id=nobody' }],
    ['InvalidArgument', { 'x-amz-grant-read': 'uri="http://acs.amazonaws.com/groups/global/Nobody"' }],
    ['UnresolvableGrantByEmailAddress', { 'x-amz-grant-read': 'emailAddress=nobody@example.com' }],
    ['InvalidRequest', { 'x-amz-grant-read': 'id=bob-id', 'x-amz-acl': 'private' }],
  ] as const)('%s for %j', (code, headers) => {
    refused(code, () => grants(headers));
  });
});

describe('AccessControlPolicy', () => {
  const acl: Acl = {
    owner: ALICE.owner,
    grants: [
      { grantee: { type: 'CanonicalUser', id: 'bob-id', displayName: 'Bob' }, permission: 'READ' },
      { grantee: { type: 'Group', uri: AUTHENTICATED_USERS }, permission: 'READ_ACP' },
      { grantee: { type: 'Group', uri: LOG_DELIVERY }, permission: 'WRITE' },
    ],
  };

  it('renders as S3 does', () => {
    expect(renderXml(aclXml({ owner: ALICE.owner, grants: acl.grants.slice(0, 1) }), { declaration: false })).toBe(
      '<AccessControlPolicy xmlns="http://s3.amazonaws.com/doc/2006-03-01/">' +
        '<Owner><ID>alice-id</ID><DisplayName>Alice</DisplayName></Owner><AccessControlList><Grant>' +
        '<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>bob-id</ID><DisplayName>Bob</DisplayName></Grantee>' +
        '<Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>',
    );
  });

  it('reads what it renders', () => {
    expect(parseAclXml(renderXml(aclXml(acl)), keyring())).toEqual(acl);
  });

  it('takes an empty list', () => {
    const text = '<AccessControlPolicy><Owner><ID>alice-id</ID></Owner><AccessControlList/></AccessControlPolicy>';
    expect(parseAclXml(text, keyring())).toEqual({ owner: ALICE.owner, grants: [] });
  });

  const grant = (content: string): string =>
    `<AccessControlPolicy><Owner><ID>alice-id</ID></Owner><AccessControlList><Grant>${content}</Grant></AccessControlList></AccessControlPolicy>`;
  const grantee = (type: string, content: string): string =>
    `<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="${type}">${content}</Grantee>`;

  it.each([
    ['MalformedACLError', 'not XML'],
    ['MalformedACLError', '<Tagging/>'],
    ['MalformedACLError', '<AccessControlPolicy><AccessControlList/></AccessControlPolicy>'],
    ['MalformedACLError', '<AccessControlPolicy><Owner><ID>alice-id</ID></Owner></AccessControlPolicy>'],
    ['MalformedACLError', grant('<Permission>READ</Permission>')],
    ['MalformedACLError', grant(`${grantee('CanonicalUser', '<ID>bob-id</ID>')}<Permission>ALL</Permission>`)],
    ['MalformedACLError', grant(`${grantee('Group', '<ID>bob-id</ID>')}<Permission>READ</Permission>`)],
    ['InvalidArgument', grant(`${grantee('CanonicalUser', '<ID>_foo</ID>')}<Permission>READ</Permission>`)],
    [
      'UnresolvableGrantByEmailAddress',
      grant(
        `${grantee('AmazonCustomerByEmail', '<EmailAddress>no@example.com</EmailAddress>')}<Permission>READ</Permission>`,
      ),
    ],
    [
      'MalformedACLError',
      grant(`${grantee('CanonicalUser', '<ID>bob-id</ID>')}<Permission>READ</Permission>`).replace(
        /<Grant>.*<\/Grant>/,
        (one) => one.repeat(101),
      ),
    ],
  ] as const)('%s', (code, text) => {
    refused(code, () => parseAclXml(text, keyring()));
  });
});
