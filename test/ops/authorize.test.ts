import { describe, expect, it } from 'vitest';
import type { Identity } from '../../src/auth/types.js';
import { S3Error } from '../../src/base/errors.js';
import type { Acl, KeyFacts } from '../../src/base/model.js';
import { makeAuthorize, type RequestFacts } from '../../src/ops/authorize.js';
import type { BucketSettings } from '../../src/store/contract.js';
import { ALICE, alice, anonymous, BOB, bob, bucketOf, object, stubStore } from './stub.js';

const EVERYONE = 'http://acs.amazonaws.com/groups/global/AllUsers';

function acl(...grants: Acl['grants']): Acl {
  return { owner: ALICE, grants };
}
const publicRead = acl({ grantee: { type: 'Group', uri: EVERYONE }, permission: 'READ' });
const publicWrite = acl({ grantee: { type: 'Group', uri: EVERYONE }, permission: 'WRITE' });
const bobReads = acl({ grantee: { type: 'CanonicalUser', id: BOB.id }, permission: 'READ' });

function policy(effect: 'Allow' | 'Deny', action: string, resource: string, condition?: object): string {
  return JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      {
        Effect: effect,
        Principal: '*',
        Action: action,
        Resource: `arn:aws:s3:::photos${resource}`,
        ...(condition === undefined ? {} : { Condition: condition }),
      },
    ],
  });
}

interface Ask {
  settings?: BucketSettings;
  who: Identity;
  action: string;
  key?: string;
  facts?: KeyFacts | null;
  request?: Partial<RequestFacts>;
}

/** `allowed`, or the error's code. */
async function verdict(ask: Ask): Promise<string> {
  const bucket = bucketOf(ask.settings);
  const store = stubStore({
    head: (_bucket, key) =>
      ask.facts === null
        ? Promise.reject(new S3Error('NoSuchKey'))
        : Promise.resolve(object(key, { facts: ask.facts ?? {} })),
  });
  const facts: RequestFacts = { headers: {}, query: new Map(), region: 'us-east-1', bucket, ...ask.request };
  try {
    await makeAuthorize(store, ALICE, ask.who, facts)(ask.action, 'photos', ask.key);
    return 'allowed';
  } catch (error) {
    return error instanceof S3Error ? error.code : String(error);
  }
}

const read = { action: 's3:GetObject', key: 'a/b.jpg' };
const write = { action: 's3:PutObject', key: 'a/b.jpg' };
const list = { action: 's3:ListBucket' };

describe('owners', () => {
  it.each<[string, Ask, string]>([
    ['the root owner owns what has no owner', { ...read, who: alice }, 'allowed'],
    ['others do not', { ...read, who: bob }, 'AccessDenied'],
    ['nobody does not', { ...read, who: anonymous }, 'AccessDenied'],
    ['a recorded owner', { ...write, who: bob, settings: { owner: BOB } }, 'allowed'],
    ['the root owner in the bucket of another', { ...read, who: alice, settings: { owner: BOB } }, 'AccessDenied'],
    ['anything at all for the owner', { action: 's3:PutBucketPolicy', who: alice }, 'allowed'],
    [
      'x-amz-expected-bucket-owner that fits',
      { ...read, who: alice, request: { headers: { 'x-amz-expected-bucket-owner': ALICE.id } } },
      'allowed',
    ],
    [
      'x-amz-expected-bucket-owner that does not',
      { ...read, who: alice, request: { headers: { 'x-amz-expected-bucket-owner': BOB.id } } },
      'AccessDenied',
    ],
  ])('%s', async (_name, ask, expected) => {
    expect(await verdict(ask)).toBe(expected);
  });

  it('asks the store nothing when the owner reads in an own bucket', async () => {
    const authorize = makeAuthorize(stubStore({}), ALICE, alice, {
      headers: {},
      query: new Map(),
      region: 'us-east-1',
      bucket: bucketOf(),
    });
    await expect(authorize('s3:GetObject', 'photos', 'k')).resolves.toBeUndefined();
  });

  it('loads a bucket other than the request’s, and lets NoSuchBucket through', async () => {
    const store = stubStore({ getBucket: () => Promise.reject(new S3Error('NoSuchBucket')) });
    const authorize = makeAuthorize(store, ALICE, alice, {
      headers: {},
      query: new Map(),
      region: 'us-east-1',
      bucket: bucketOf(),
    });
    await expect(authorize('s3:GetObject', 'other', 'k')).rejects.toMatchObject({ code: 'NoSuchBucket' });
  });

  it('lets only people with keys list or make buckets', async () => {
    const facts = { headers: {}, query: new Map(), region: 'us-east-1' };
    const by = (who: Identity) => makeAuthorize(stubStore({}), ALICE, who, facts);
    await expect(by(bob)('s3:ListAllMyBuckets', '')).resolves.toBeUndefined();
    await expect(by(bob)('s3:CreateBucket', 'new')).resolves.toBeUndefined();
    await expect(by(anonymous)('s3:ListAllMyBuckets', '')).rejects.toMatchObject({ code: 'AccessDenied' });
    await expect(by(anonymous)('s3:CreateBucket', 'new')).rejects.toMatchObject({ code: 'AccessDenied' });
  });
});

describe('policies', () => {
  it.each<[string, Ask, string]>([
    [
      'Allow lets strangers in',
      { ...read, who: anonymous, settings: { policy: policy('Allow', 's3:GetObject', '/*') } },
      'allowed',
    ],
    [
      'but only where it says',
      { ...read, who: anonymous, settings: { policy: policy('Allow', 's3:GetObject', '/x/*') } },
      'AccessDenied',
    ],
    [
      'and only to do what it says',
      { ...write, who: anonymous, settings: { policy: policy('Allow', 's3:GetObject', '/*') } },
      'AccessDenied',
    ],
    [
      'Deny beats an ACL',
      { ...read, who: bob, facts: { acl: bobReads }, settings: { policy: policy('Deny', 's3:GetObject', '/*') } },
      'AccessDenied',
    ],
    [
      'Deny binds the owner',
      { ...read, who: alice, settings: { policy: policy('Deny', 's3:GetObject', '/*') } },
      'AccessDenied',
    ],
    [
      'but not from mending the policy',
      { action: 's3:DeleteBucketPolicy', who: alice, settings: { policy: policy('Deny', 's3:*', '') } },
      'allowed',
    ],
    [
      'a policy of other things leaves the owner alone',
      { ...write, who: alice, settings: { policy: policy('Deny', 's3:GetObject', '/*') } },
      'allowed',
    ],
    [
      'RestrictPublicBuckets undoes a public policy',
      {
        ...read,
        who: bob,
        settings: {
          policy: policy('Allow', 's3:GetObject', '/*'),
          publicAccessBlock: {
            blockPublicAcls: false,
            ignorePublicAcls: false,
            blockPublicPolicy: false,
            restrictPublicBuckets: true,
          },
        },
      },
      'AccessDenied',
    ],
    [
      's3:prefix',
      {
        ...list,
        who: bob,
        request: { query: new Map([['prefix', 'pub/']]) },
        settings: { policy: policy('Allow', 's3:ListBucket', '', { StringEquals: { 's3:prefix': 'pub/' } }) },
      },
      'allowed',
    ],
    [
      's3:prefix, another one',
      {
        ...list,
        who: bob,
        request: { query: new Map([['prefix', 'priv/']]) },
        settings: { policy: policy('Allow', 's3:ListBucket', '', { StringEquals: { 's3:prefix': 'pub/' } }) },
      },
      'AccessDenied',
    ],
    [
      'a tag of the object',
      {
        ...read,
        who: bob,
        facts: { tags: [['level', 'open']] },
        settings: {
          policy: policy('Allow', 's3:GetObject', '/*', { StringEquals: { 's3:ExistingObjectTag/level': 'open' } }),
        },
      },
      'allowed',
    ],
    [
      'a tag of the object, another one',
      {
        ...read,
        who: bob,
        facts: { tags: [['level', 'shut']] },
        settings: {
          policy: policy('Allow', 's3:GetObject', '/*', { StringEquals: { 's3:ExistingObjectTag/level': 'open' } }),
        },
      },
      'AccessDenied',
    ],
    [
      'the peer’s address',
      {
        ...read,
        who: anonymous,
        request: { sourceIp: '10.1.2.3' },
        settings: { policy: policy('Allow', 's3:GetObject', '/*', { IpAddress: { 'aws:SourceIp': '10.0.0.0/8' } }) },
      },
      'allowed',
    ],
    [
      'the source of a copy',
      {
        ...write,
        who: bob,
        request: { headers: { 'x-amz-copy-source': '/src/public/a%20b' } },
        settings: {
          policy: policy('Allow', 's3:PutObject', '/*', { StringLike: { 's3:x-amz-copy-source': 'src/public/a b' } }),
        },
      },
      'allowed',
    ],
  ])('%s', async (_name, ask, expected) => {
    expect(await verdict(ask)).toBe(expected);
  });
});

describe('access control lists', () => {
  const block = {
    blockPublicAcls: false,
    ignorePublicAcls: true,
    blockPublicPolicy: false,
    restrictPublicBuckets: false,
  };
  it.each<[string, Ask, string]>([
    ['READ of a bucket lists it', { ...list, who: anonymous, settings: { acl: publicRead } }, 'allowed'],
    ['READ of a bucket opens no object', { ...read, who: anonymous, settings: { acl: publicRead } }, 'AccessDenied'],
    ['WRITE of a bucket writes', { ...write, who: anonymous, settings: { acl: publicWrite } }, 'allowed'],
    [
      'WRITE of a bucket deletes',
      { action: 's3:DeleteObject', key: 'k', who: bob, settings: { acl: publicWrite } },
      'allowed',
    ],
    [
      'WRITE of a bucket sets no policy',
      { action: 's3:PutBucketPolicy', who: bob, settings: { acl: publicWrite } },
      'AccessDenied',
    ],
    ['READ of an object', { ...read, who: bob, facts: { acl: bobReads } }, 'allowed'],
    ['READ of an object is for who is named', { ...read, who: anonymous, facts: { acl: bobReads } }, 'AccessDenied'],
    ['the object’s owner reads it', { ...read, who: bob, facts: { owner: BOB } }, 'allowed'],
    [
      'IgnorePublicAcls',
      { ...read, who: anonymous, facts: { acl: publicRead }, settings: { publicAccessBlock: block } },
      'AccessDenied',
    ],
    [
      'IgnorePublicAcls leaves grants to people',
      { ...read, who: bob, facts: { acl: bobReads }, settings: { publicAccessBlock: block } },
      'allowed',
    ],
    [
      'BucketOwnerEnforced: objects',
      { ...read, who: bob, facts: { acl: bobReads }, settings: { ownership: 'BucketOwnerEnforced' } },
      'AccessDenied',
    ],
    [
      'BucketOwnerEnforced: buckets',
      { ...list, who: bob, settings: { acl: publicRead, ownership: 'BucketOwnerEnforced' } },
      'AccessDenied',
    ],
    ['a missing key is a secret', { ...read, who: bob, facts: null }, 'AccessDenied'],
    ['but not from who may list', { ...read, who: bob, facts: null, settings: { acl: publicRead } }, 'NoSuchKey'],
    [
      'nor from who may list where it would be',
      {
        ...read,
        who: bob,
        facts: null,
        settings: { policy: policy('Allow', 's3:ListBucket', '', { StringLike: { 's3:prefix': 'a/*' } }) },
      },
      'NoSuchKey',
    ],
    [
      'but from who may list elsewhere',
      {
        ...read,
        who: bob,
        facts: null,
        settings: { policy: policy('Allow', 's3:ListBucket', '', { StringLike: { 's3:prefix': 'b/*' } }) },
        // A parameter of this request is no prefix of a listing.
        request: { query: new Map([['prefix', 'b/x']]) },
      },
      'AccessDenied',
    ],
    [
      'a missing key is a secret to who may read by a policy, too',
      { ...read, who: bob, facts: null, settings: { policy: policy('Allow', 's3:GetObject', '/*') } },
      'AccessDenied',
    ],
    [
      'what is there is not',
      { ...read, who: anonymous, settings: { policy: policy('Allow', 's3:GetObject', '/*') } },
      'allowed',
    ],
    [
      'whatever is read of it',
      {
        action: 's3:GetObjectTagging',
        key: 'none',
        who: anonymous,
        facts: null,
        settings: { policy: policy('Allow', 's3:*', '/*') },
      },
      'AccessDenied',
    ],
    [
      'but not if a policy lets both read and list',
      { ...read, who: bob, facts: null, settings: { policy: policy('Allow', 's3:*', '*') } },
      // the store says NoSuchKey
      'allowed',
    ],
    [
      'nor with READ of the bucket',
      {
        ...read,
        who: anonymous,
        facts: null,
        settings: { acl: publicRead, policy: policy('Allow', 's3:GetObject', '/*') },
      },
      'allowed',
    ],
    [
      'the owner learns it, unless the policy forbids the listing',
      { ...read, who: alice, facts: null, settings: { policy: policy('Deny', 's3:PutObject', '/*') } },
      'allowed',
    ],
    [
      'which it may',
      { ...read, who: alice, facts: null, settings: { policy: policy('Deny', 's3:ListBucket', '') } },
      'AccessDenied',
    ],
    [
      'a writer needs no permission to list',
      { ...write, who: bob, facts: null, settings: { policy: policy('Allow', 's3:PutObject', '/*') } },
      'allowed',
    ],
    ['keys of DeleteObjects are judged one by one', { action: 's3:DeleteObject', who: bob }, 'allowed'],
    ['and each of them is', { action: 's3:DeleteObject', key: 'k', who: bob }, 'AccessDenied'],
  ])('%s', async (_name, ask, expected) => {
    expect(await verdict(ask)).toBe(expected);
  });
});
