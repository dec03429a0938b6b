/** POST policies: a form does what its maker allowed, for as long as that, and nothing else. */
import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { Keyring } from '../../src/auth/keyring.js';
import { authenticatePost, signPost } from '../../src/auth/post.js';
import { formatTimestamp, parseTimestamp, signingKey } from '../../src/auth/signature.js';

const NOW = Date.UTC(2026, 10, 21, 12);
const credential = { accessKey: 'AKIDEXAMPLE', secretKey: 'secret', owner: { id: 'o', displayName: 'o' } };
const keyring = new Keyring([credential]);
const options = { region: 'any', now: NOW };
const common = { bucket: 'photos', credential, region: 'us-east-1', expires: 600, now: NOW };

function judge(fields: Record<string, string>, bucket = 'photos', now = NOW) {
  const lower = new Map(Object.entries(fields).map(([name, value]) => [name.toLowerCase(), value]));
  return authenticatePost(bucket, lower, keyring, { ...options, now });
}

function code(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    return (error as { code: string }).code;
  }
  return undefined;
}

/** A form whose policy is this text. */
function signed(document: unknown, fields: Record<string, string> = {}): Record<string, string> {
  const policy = Buffer.from(typeof document === 'string' ? document : JSON.stringify(document)).toString('base64');
  const day = formatTimestamp(NOW).slice(0, 8);
  const names = {
    'x-amz-algorithm': 'AWS4-HMAC-SHA256',
    'x-amz-credential': `AKIDEXAMPLE/${day}/us-east-1/s3/aws4_request`,
    'x-amz-date': formatTimestamp(NOW),
  };
  const signature = createHmac('sha256', signingKey('secret', day, 'us-east-1'))
    .update(policy)
    .digest('hex');
  return { key: 'k', ...names, ...fields, policy, 'x-amz-signature': signature };
}
const ANY = [
  ['starts-with', '$key', ''],
  ['starts-with', '$x-amz-algorithm', ''],
  ['starts-with', '$x-amz-credential', ''],
  ['starts-with', '$x-amz-date', ''],
];
const policy = (...conditions: unknown[]) => ({
  expiration: '2026-11-21T13:00:00Z',
  conditions: [{ bucket: 'photos' }, ...ANY, ...conditions],
});

describe('forms that we make', () => {
  it('are accepted, and name their maker and their sizes', () => {
    const fields = signPost({
      ...common,
      key: 'a/${filename}',
      fields: { 'Content-Type': 'image/png' },
      size: { min: 1, max: 9 },
    });
    expect(judge({ ...fields, key: 'a/cat.png' })).toEqual({
      identity: { kind: 'user', accessKey: 'AKIDEXAMPLE', owner: credential.owner },
      signature: { version: 'AWS4-HMAC-SHA256', at: parseTimestamp(fields['x-amz-date'] ?? '') },
      size: { min: 1, max: 9 },
    });
  });

  const fields = signPost({ ...common, key: 'a/cat.png', fields: { 'Content-Type': 'image/png' } });
  it.each([
    ['another key', { ...fields, key: 'a/dog.png' }, 'photos', NOW],
    ['another type', { ...fields, 'Content-Type': 'text/html' }, 'photos', NOW],
    ['another bucket', fields, 'other', NOW],
    ['a field that nobody allowed', { ...fields, acl: 'public-read' }, 'photos', NOW],
    ['later', fields, 'photos', NOW + 600_000],
  ])('do not work for %s', (_, changed, bucket, now) => {
    expect(code(() => judge(changed, bucket, now))).toBe('AccessDenied');
  });

  it('do not work with a changed policy, a wrong key pair, or without signature', () => {
    const widened = Buffer.from(
      Buffer.from(fields.policy ?? '', 'base64')
        .toString()
        .replace('cat', 'dog'),
    ).toString('base64');
    expect(code(() => judge({ ...fields, policy: widened }))).toBe('SignatureDoesNotMatch');
    expect(code(() => judge({ ...fields, 'x-amz-credential': 'OTHER/20261121/us-east-1/s3/aws4_request' }))).toBe(
      'InvalidAccessKeyId',
    );
    const { policy: _, ...noPolicy } = fields;
    expect(code(() => judge(noPolicy))).toBe('InvalidArgument');
    const { 'x-amz-signature': __, ...noSignature } = fields;
    expect(code(() => judge(noSignature))).toBe('InvalidArgument');
  });
});

it('a form without any signature is anonymous', () => {
  expect(judge({ key: 'k' })).toEqual({ identity: { kind: 'anonymous' } });
});

describe('version 2', () => {
  const text = Buffer.from(
    JSON.stringify({ expiration: '2026-11-21T13:00:00Z', conditions: [{ bucket: 'photos' }, { key: 'k' }] }),
  ).toString('base64');
  const signature = createHmac('sha1', 'secret').update(text).digest('base64');
  const fields = { key: 'k', AWSAccessKeyId: 'AKIDEXAMPLE', policy: text, signature };
  it('is accepted', () => expect(judge(fields).identity).toMatchObject({ accessKey: 'AKIDEXAMPLE' }));
  it('is checked', () => {
    expect(code(() => judge({ ...fields, signature: createHmac('sha1', 'other').update(text).digest('base64') }))).toBe(
      'SignatureDoesNotMatch',
    );
    expect(code(() => judge({ ...fields, signature: '' }))).toBe('SignatureDoesNotMatch');
    expect(code(() => judge({ ...fields, AWSAccessKeyId: 'OTHER' }))).toBe('InvalidAccessKeyId');
  });
});

describe('conditions', () => {
  it.each([
    ['a start', [['starts-with', '$Content-Type', 'image/']], { 'content-type': 'image/png' }, undefined],
    ['any value', [['Starts-With', '$Content-Type', '']], { 'content-type': 'x' }, undefined],
    [
      'a list of types',
      [['starts-with', '$Content-Type', 'image/']],
      { 'content-type': 'image/png, image/gif' },
      undefined,
    ],
    [
      'a list with another type',
      [['starts-with', '$Content-Type', 'image/']],
      { 'content-type': 'image/png,text/html' },
      'AccessDenied',
    ],
    ['an equal value', [['eq', '$x-amz-meta-a', '1']], { 'x-amz-meta-a': '1' }, undefined],
    ['a missing field', [['eq', '$x-amz-meta-a', '1']], {}, 'AccessDenied'],
    ['an ignored field', [], { 'x-ignore-me': '1' }, undefined],
    [
      'ranges that narrow each other',
      [
        ['content-length-range', 1, 9],
        ['content-length-range', 3, '20'],
      ],
      {},
      undefined,
    ],
    ['a negative range', [['content-length-range', -1, 9]], {}, 'InvalidPolicyDocument'],
    ['half a range', [['content-length-range', 1]], {}, 'InvalidPolicyDocument'],
    ['an unknown operator', [['like', '$key', 'a']], {}, 'InvalidPolicyDocument'],
    ['a name without $', [['eq', 'key', 'k']], {}, 'InvalidPolicyDocument'],
    ['a number', [{ key: 1 }], {}, 'InvalidPolicyDocument'],
    ['nothing', [{}], {}, 'InvalidPolicyDocument'],
    ['null', [null], {}, 'InvalidPolicyDocument'],
  ])('%s', (_, conditions, fields, expected) => {
    expect(code(() => judge(signed(policy(...conditions), fields)))).toBe(expected);
  });

  it('meet in the narrowest range', () => {
    const found = judge(signed(policy(['content-length-range', 1, 9], ['content-length-range', 3, 20])));
    expect(found.size).toEqual({ min: 3, max: 9 });
  });

  it('must name the bucket', () => {
    expect(code(() => judge(signed({ expiration: '2026-11-21T13:00:00Z', conditions: ANY })))).toBe('AccessDenied');
  });

  it.each([
    ['no JSON', 'hello'],
    ['a list', '[]'],
    ['no expiration', '{"conditions":[{"key":"k"}]}'],
    ['an expiration in capitals', '{"EXPIRATION":"2026-11-21T13:00:00Z","conditions":[{"key":"k"}]}'],
    ['a date of another form', '{"expiration":"21 Nov 2026","conditions":[{"key":"k"}]}'],
    ['no conditions', '{"expiration":"2026-11-21T13:00:00Z"}'],
    ['conditions that are no list', '{"expiration":"2026-11-21T13:00:00Z","conditions":{}}'],
  ])('refuses a policy that is or has %s', (_, text) => {
    expect(code(() => judge(signed(text)))).toBe('InvalidPolicyDocument');
  });
});
