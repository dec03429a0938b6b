import { describe, expect, it } from 'vitest';
import { checkActions } from '../../src/auth/policy-actions.js';
import { parsePolicy } from '../../src/auth/policy.js';
import { OPERATIONS } from '../../src/ops/table.js';

const BUCKET = 'arn:aws:s3:::photos';
const OBJECTS = `${BUCKET}/*`;
type Fields = Record<string, unknown>;

/** The message of the refusal, or `ok`. */
function verdict(fields: Fields): string {
  const statement: Fields = { Effect: 'Deny', Principal: '*', Resource: [BUCKET, OBJECTS], ...fields };
  try {
    checkActions(parsePolicy(JSON.stringify({ Version: '2012-10-17', Statement: [statement] }), 'photos'));
    return 'ok';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
const INVALID = 'Policy has invalid action';
const IDLE = 'Action does not apply to any resource(s) in statement';

describe('actions that do not exist', () => {
  it.each([
    ...[
      's3:DeleteObjects',
      's3:ListObjects',
      's3:HeadObject',
      's3:CopyObject',
      's3:GetObjct',
      's3:Foo*',
      's3:Get?Object',
    ],
    ...['s3:GetObject?', 's3:GetBucketEncryption', 's3:ListBuckets'],
  ])('are refused, whatever is said of them: %s', (action) => {
    expect(verdict({ Action: action })).toBe(INVALID);
    expect(verdict({ Action: ['s3:GetObject', action], Effect: 'Allow' })).toBe(INVALID);
    expect(verdict({ NotAction: ['s3:GetObject', action] })).toBe(INVALID);
  });

  it.each([
    ...['*', 's3:*', 'S3:getobject', 's3:Get?bjectAcl', 's3:GetObject*', 's3:*Tagging', 's3:?etObject'],
    // of operations that are not supported here
    ...['s3:GetObjectTorrent', 's3:ReplicateObject', 's3:PutInventoryConfiguration', 's3:RestoreObject'],
  ])('others are taken: %s', (action) => {
    expect(verdict({ Action: action })).toBe('ok');
    expect(verdict({ Action: action, Effect: 'Allow' })).toBe('ok');
  });
});

describe('what a Deny names', () => {
  it.each<[string, string | string[], string | string[], string]>([
    ['a bucket’s action on objects', 's3:ListBucket', OBJECTS, IDLE],
    ['an object’s action on the bucket', 's3:GetObject', BUCKET, IDLE],
    ['by a pattern', 's3:ListBucket*', OBJECTS, IDLE],
    ['one of several', ['s3:GetObject', 's3:ListBucket'], OBJECTS, IDLE],
    ['an account’s action', 's3:ListAllMyBuckets', [BUCKET, OBJECTS], IDLE],
    ['an object’s action on a bucket’s name with ?', 's3:GetObject', 'arn:aws:s3:::photo?', IDLE],
    ['a bucket’s action on its name with ?', 's3:ListBucket', 'arn:aws:s3:::photo?', 'ok'],
    ['a bucket’s action on a pattern of names', 's3:ListBucket', 'arn:aws:s3:::pho*', 'ok'],
    ['an object’s action on a pattern of names', 's3:GetObject', 'arn:aws:s3:::pho*', 'ok'],
    ['everything', 's3:GetObject', 'arn:aws:s3:::*', 'ok'],
    ['a pattern of which some are objects’', 's3:List*', OBJECTS, 'ok'],
    ['all actions', '*', BUCKET, 'ok'],
    ['all of S3', 's3:*', OBJECTS, 'ok'],
    ['a resource too many', 's3:GetObject', [BUCKET, OBJECTS], 'ok'],
    ['one key', 's3:DeleteObject', `${BUCKET}/a`, 'ok'],
  ])('must apply to some resource: %s', (_name, Action, Resource, expected) => {
    expect(verdict({ Action, Resource })).toBe(expected);
    // an Allow that applies to nothing lets nobody in
    expect(verdict({ Action, Resource, Effect: 'Allow' })).toBe('ok');
  });

  it('may apply to nothing where all but some are meant', () => {
    expect(verdict({ NotAction: 's3:ListBucket', Resource: OBJECTS })).toBe('ok');
    expect(verdict({ Action: 's3:ListBucket', Resource: undefined, NotResource: OBJECTS })).toBe('ok');
  });
});

it('every action that an operation asks for can be denied where it is asked', () => {
  for (const { name, action, level, handler } of OPERATIONS) {
    if (handler === undefined || level === 'service') continue;
    const ofKeys = level === 'object' || ['DeleteObjects', 'PostObject'].includes(name);
    expect([name, verdict({ Action: action, Resource: ofKeys ? OBJECTS : BUCKET })]).toEqual([name, 'ok']);
  }
});
