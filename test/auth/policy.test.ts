import { describe, expect, it } from 'vitest';
import { evaluatePolicy, isPublicPolicy, parsePolicy } from '../../src/auth/policy.js';
import type { Identity } from '../../src/auth/types.js';
import { ALICE, BOB, refused } from './fixtures.js';

const alice: Identity = { kind: 'user', accessKey: ALICE.accessKey, owner: ALICE.owner };
const bob: Identity = { kind: 'user', accessKey: BOB.accessKey, owner: BOB.owner };
const anyone: Identity = { kind: 'anonymous' };

type Fields = Record<string, unknown>;
const BASE: Fields = { Effect: 'Allow', Principal: '*', Action: 's3:GetObject', Resource: 'arn:aws:s3:::photos/*' };
const text = (...statements: Fields[]): string => JSON.stringify({ Version: '2012-10-17', Statement: statements });
const policy = (...statements: Fields[]) => parsePolicy(text(...statements.map((s) => ({ ...BASE, ...s }))), 'photos');

interface Ask {
  identity?: Identity;
  action?: string;
  key?: string;
  conditions?: Record<string, string[]>;
}
function verdict(statements: Fields[], { identity = anyone, action = 's3:GetObject', key, conditions = {} }: Ask = {}) {
  const resource = key === '' ? 'arn:aws:s3:::photos' : `arn:aws:s3:::photos/${key ?? '2024/cat.jpg'}`;
  return evaluatePolicy(policy(...statements), { identity, action, resource, conditions });
}

describe('verdict', () => {
  it('is undefined when nothing speaks of the request, and a Deny wins in any order', () => {
    expect(verdict([{}])).toBe('Allow');
    expect(verdict([{ Action: 's3:PutObject' }])).toBeUndefined();
    expect(verdict([{}, { Effect: 'Deny', Resource: 'arn:aws:s3:::photos/2024/*' }])).toBe('Deny');
    expect(verdict([{ Effect: 'Deny' }, {}])).toBe('Deny');
    expect(verdict([{ Effect: 'Deny' }, {}], { action: 's3:PutObject' })).toBeUndefined();
  });

  it.each<[string, unknown, [anyone: boolean, alice: boolean, bob: boolean]]>([
    ['everyone', '*', [true, true, true]],
    ['everyone by AWS', { AWS: '*' }, [true, true, true]],
    ['owner id', { AWS: 'bob-id' }, [false, false, true]],
    ['access key', { AWS: [ALICE.accessKey] }, [false, true, false]],
    ['canonical user', { CanonicalUser: 'alice-id' }, [false, true, false]],
    ['account', { AWS: 'arn:aws:iam::bob-id:root' }, [false, false, true]],
    ['account of nobody', { AWS: 'arn:aws:iam::tenant1:root' }, [false, false, false]],
    ['no account', { AWS: 'arn:aws:iam:::root' }, [false, false, false]],
    ['user', { AWS: 'arn:aws:iam::alice-id:user/AKIAIOSFODNN7EXAMPLE' }, [false, true, false]],
    ['user with a path', { AWS: 'arn:aws:iam::alice-id:user/team/alice-id' }, [false, true, false]],
    ['user of another account', { AWS: 'arn:aws:iam::bob-id:user/AKIAIOSFODNN7EXAMPLE' }, [false, false, false]],
    ['user without account', { AWS: 'arn:aws:iam:::user/bob-id' }, [false, false, true]],
    ['several', { AWS: ['bob-id', 'alice-id'] }, [false, true, true]],
    ['a display name is no id', { AWS: 'Bob' }, [false, false, false]],
    ['role', { AWS: 'arn:aws:iam::alice-id:role/admin' }, [false, false, false]],
    ['service', { Service: 'logging.s3.amazonaws.com' }, [false, false, false]],
  ])('principal: %s', (_, Principal, expected) => {
    const got = [anyone, alice, bob].map((identity) => verdict([{ Principal }], { identity }) === 'Allow');
    expect(got).toEqual(expected);
  });

  it('NotPrincipal denies all but those named', () => {
    const statement = { Effect: 'Deny', Principal: undefined, NotPrincipal: { AWS: 'bob-id' } };
    expect([anyone, alice, bob].map((identity) => verdict([statement], { identity }))).toEqual([
      'Deny',
      'Deny',
      undefined,
    ]);
  });

  it.each<[Fields, string, boolean]>([
    [{ Action: '*' }, 's3:PutObject', true],
    [{ Action: 's3:*' }, 's3:PutObject', true],
    [{ Action: 'S3:getobject' }, 's3:GetObject', true],
    [{ Action: 's3:Get*' }, 's3:GetObjectTagging', true],
    [{ Action: 's3:GetObject' }, 's3:GetObjectTagging', false],
    [{ Action: 's3:Get??ject' }, 's3:GetObject', true],
    [{ Action: ['s3:PutObject', 's3:DeleteObject'] }, 's3:DeleteObject', true],
    [{ Action: undefined, NotAction: 's3:Delete*' }, 's3:DeleteObject', false],
    [{ Action: undefined, NotAction: 's3:Delete*' }, 's3:GetObject', true],
  ])('action: %j on %s', (fields, action, allowed) => {
    expect(verdict([fields], { action }) === 'Allow').toBe(allowed);
  });

  it.each<[Fields, string, boolean]>([
    [{}, '', false],
    [{ Resource: 'arn:aws:s3:::photos' }, '', true],
    [{ Resource: 'arn:aws:s3:::photos' }, 'a', false],
    [{ Resource: 'arn:aws:s3:::*' }, 'a/b', true],
    [{ Resource: 'arn:aws:s3:::ph?tos/a/*' }, 'a/b/c', true],
    [{ Resource: 'arn:aws:s3:::photos/a/*' }, 'A/b', false],
    [{ Resource: 'arn:aws:s3:::photos/*.jpg' }, 'x/y.jpg', true],
    [{ Resource: 'arn:aws:s3:::photos/*.jpg' }, 'x/y.jpg/z', false],
    [{ Resource: 'arn:aws:s3:::photos/*a*b*c' }, 'xxaxxbxxbc', true],
    [{ Resource: 'arn:aws:s3:::photos/a.c' }, 'abc', false],
    [{ Resource: ['arn:aws:s3:::photos/x', 'arn:aws-cn:s3:::photos/y'] }, 'y', true],
    [{ Resource: undefined, NotResource: 'arn:aws:s3:::photos/secret/*' }, 'secret/a', false],
    [{ Resource: undefined, NotResource: 'arn:aws:s3:::photos/secret/*' }, 'open/a', true],
  ])('resource: %j on "%s"', (fields, key, allowed) => {
    expect(verdict([fields], { key }) === 'Allow').toBe(allowed);
  });

  it('takes hostile patterns and keys in bounded time', () => {
    const Resource = `arn:aws:s3:::photos/${'a*'.repeat(500)}b`;
    const start = performance.now();
    expect(verdict([{ Resource }], { key: 'a'.repeat(1024) })).toBeUndefined();
    expect(performance.now() - start).toBeLessThan(1000);
  });

  it('puts condition keys into ${…}, literally', () => {
    const home = [{ Resource: 'arn:aws:s3:::photos/home/${aws:username}/*' }];
    const as = (name: string) => ({ key: 'home/ann/x', conditions: { 'aws:UserName': [name] } });
    expect(verdict(home, as('ann'))).toBe('Allow');
    expect(verdict(home, as('bob'))).toBeUndefined();
    expect(verdict(home, as('*'))).toBeUndefined();
    expect(verdict(home, { key: 'home//x' })).toBeUndefined();
    expect(verdict([{ Resource: "arn:aws:s3:::photos/${aws:username, 'guest'}/*" }], { key: 'guest/x' })).toBe('Allow');
    expect(verdict([{ Resource: 'arn:aws:s3:::photos/a${*}' }], { key: 'a*' })).toBe('Allow');
    expect(verdict([{ Resource: 'arn:aws:s3:::photos/a${*}' }], { key: 'ab' })).toBeUndefined();
  });
});

describe('conditions', () => {
  const k = (...values: string[]): Record<string, string[]> => ({ 's3:x-amz-test': values });
  const none = {};

  it.each<[operator: string, expected: unknown, given: Record<string, string[]>, holds: boolean]>([
    ['StringEquals', 'a', k('a'), true],
    ['StringEquals', ['b', 'a'], k('a'), true],
    ['StringEquals', 'a', k('A'), false],
    ['StringEquals', 'a*', k('ab'), false],
    ['StringEquals', 'a', none, false],
    ['StringEquals', 'a', { 'S3:X-AMZ-Test': ['a'] }, true],
    ['StringNotEquals', ['a', 'b'], k('b'), false],
    ['StringNotEquals', ['a', 'b'], k('c'), true],
    ['StringNotEquals', 'a', none, true],
    ['StringNotEquals', 'a', k('b', 'a'), false],
    ['StringEqualsIgnoreCase', 'AbC', k('aBc'), true],
    ['StringNotEqualsIgnoreCase', 'AbC', k('aBc'), false],
    ['StringLike', 'a*c?', k('abbbcd'), true],
    ['StringLike', 'a*', k('ba'), false],
    ['StringNotLike', 'a*', k('ab'), false],
    ['StringLikeIfExists', 'a*', none, true],
    ['StringLikeIfExists', 'a*', k('b'), false],
    ['NumericEquals', 10, k('10.0'), true],
    ['NumericNotEquals', '10', k('10'), false],
    ['NumericLessThan', '10', k('9'), true],
    ['NumericLessThan', '10', k('10'), false],
    ['NumericLessThanEquals', '10', k('10'), true],
    ['NumericGreaterThan', '10', k('9'), false],
    ['NumericGreaterThanEquals', '10', k('ten'), false],
    ['DateEquals', '2024-01-01T00:00:00Z', k('1704067200'), true],
    ['DateLessThan', '2024-01-01T00:00:00Z', k('2023-12-31T23:59:59Z'), true],
    ['DateGreaterThan', '2024-01-01', k('2023-12-31T23:59:59Z'), false],
    ['DateGreaterThanEquals', '2024-01-01T01:00:00+01:00', k('2024-01-01T00:00:00Z'), true],
    ['DateNotEquals', '2024-01-01', k('2024-01-01T00:00:00Z'), false],
    ['Bool', true, k('true'), true],
    ['Bool', 'false', k('true'), false],
    ['Bool', 'false', none, false],
    ['BoolIfExists', 'false', none, true],
    ['BinaryEquals', 'QmFy', k('QmFy'), true],
    ['IpAddress', '192.0.2.0/24', k('192.0.2.77'), true],
    ['IpAddress', '192.0.2.0/24', k('192.0.3.1'), false],
    ['IpAddress', '192.0.2.7', k('192.0.2.7'), true],
    ['IpAddress', '192.0.2.0/24', k('::ffff:192.0.2.77'), true],
    ['IpAddress', ['2001:db8::/32', '192.0.2.1/32'], k('2001:db8:1::5'), true],
    ['IpAddress', '0.0.0.0/0', k('203.0.113.9'), true],
    ['IpAddress', '0.0.0.0/0', k('no address'), false],
    ['IpAddress', '192.0.2.0/24', none, false],
    ['NotIpAddress', '192.0.2.0/24', k('192.0.2.77'), false],
    ['NotIpAddress', '192.0.2.0/24', k('192.0.3.1'), true],
    ['ArnLike', 'arn:aws:s3:*:*:photos*', k('arn:aws:s3:::photos-1'), true],
    ['ArnEquals', 'arn:aws:*:x', k('arn:aws:s3:::x'), false],
    ['ArnNotLike', 'arn:aws:s3:::a*', k('arn:aws:s3:::ab'), false],
    ['ArnNotEquals', 'arn:aws:s3:::a', k('arn:aws:s3:::b'), true],
    ['Null', 'true', none, true],
    ['Null', 'true', k('a'), false],
    ['Null', false, k('a'), true],
    ['Null', 'false', none, false],
    ['ForAllValues:StringEquals', ['a', 'b'], k('a', 'b'), true],
    ['ForAllValues:StringEquals', ['a', 'b'], k('a', 'c'), false],
    ['ForAllValues:StringEquals', ['a'], none, true],
    ['ForAllValues:StringNotEquals', ['a'], k('b', 'c'), true],
    ['ForAnyValue:StringEquals', ['a', 'b'], k('c', 'b'), true],
    ['ForAnyValue:StringEquals', ['a'], k('c'), false],
    ['ForAnyValue:StringEquals', ['a'], none, false],
    ['ForAnyValue:StringNotEquals', ['a'], k('a', 'c'), true],
    ['ForAnyValue:StringNotEquals', ['a'], k('a'), false],
    ['ForAnyValue:StringLikeIfExists', ['a*'], none, true],
    ['StringEquals', '${aws:username}', { 's3:x-amz-test': ['ann'], 'aws:username': ['ann'] }, true],
    ['StringLike', '${aws:username}/*', { 's3:x-amz-test': ['ann/x'], 'aws:username': ['ann'] }, true],
  ])('%s %j on %j: %s', (operator, expected, conditions, holds) => {
    const statement = { Condition: { [operator]: { 's3:x-amz-test': expected } } };
    expect(verdict([statement], { conditions }) === 'Allow').toBe(holds);
  });

  it('must all hold', () => {
    const Condition = {
      StringEquals: { 's3:x-amz-x': '1', 's3:x-amz-y': '2' },
      Bool: { 'aws:SecureTransport': 'true' },
    };
    const good = { 's3:x-amz-x': ['1'], 's3:x-amz-y': ['2'], 'aws:SecureTransport': ['true'] };
    expect(verdict([{ Condition }], { conditions: good })).toBe('Allow');
    for (const key of Object.keys(good)) {
      expect(verdict([{ Condition }], { conditions: { ...good, [key]: ['no'] } })).toBeUndefined();
    }
  });
});

describe('a key that is given twice, in names that differ in case', () => {
  const yesNo = { 's3:RequestObjectTag/a': ['yes'], 's3:RequestObjectTag/A': ['no'] };
  const noYes = { 's3:RequestObjectTag/A': ['no'], 's3:RequestObjectTag/a': ['yes'] };
  const both = { 's3:RequestObjectTag/a': ['yes'], 's3:RequestObjectTag/A': ['yes'] };

  it.each<[operator: string, expected: unknown, given: Record<string, string[]>, denies: boolean, allows: boolean]>([
    ['StringEquals', 'yes', yesNo, true, false],
    ['StringEquals', 'no', yesNo, true, false],
    ['StringEquals', ['yes', 'no'], yesNo, true, true],
    ['StringEquals', 'yes', both, true, true],
    ['StringEquals', 'other', yesNo, false, false],
    ['StringNotEquals', 'yes', yesNo, true, false],
    ['StringNotEquals', ['yes', 'no'], yesNo, false, false],
    ['StringNotEquals', 'yes', both, false, false],
    ['StringNotEquals', 'other', yesNo, true, true],
    ['StringLike', 'y*', yesNo, true, false],
    ['StringNotLike', 'y*', yesNo, true, false],
    ['StringEqualsIfExists', 'yes', yesNo, true, false],
    ['StringNotEqualsIfExists', 'yes', yesNo, true, false],
    ['ForAllValues:StringEquals', 'yes', yesNo, true, false],
    ['ForAnyValue:StringEquals', 'yes', yesNo, true, false],
    ['ForAllValues:StringNotEquals', 'yes', yesNo, true, false],
    ['ForAnyValue:StringNotEquals', 'yes', yesNo, true, false],
    ['ForAnyValue:StringEquals', ['yes', 'no'], yesNo, true, true],
    ['Null', 'true', yesNo, false, false],
    ['Null', 'false', yesNo, true, true],
  ])('%s %j on %j', (operator, expected, given, denies, allows) => {
    const Condition = { [operator]: { 's3:RequestObjectTag/a': expected } };
    for (const conditions of given === yesNo ? [yesNo, noYes] : [given]) {
      expect(verdict([{ Effect: 'Deny', Condition }], { conditions })).toBe(denies ? 'Deny' : undefined);
      expect(verdict([{ Condition }], { conditions })).toBe(allows ? 'Allow' : undefined);
    }
  });

  it('has each of its values in a variable, too', () => {
    const Resource = "arn:aws:s3:::photos/${s3:RequestObjectTag/a, 'x'}";
    for (const conditions of [yesNo, noYes]) {
      for (const key of ['yes', 'no']) {
        expect(verdict([{ Effect: 'Deny', Resource }], { conditions, key })).toBe('Deny');
        expect(verdict([{ Resource }], { conditions, key })).toBeUndefined();
      }
      expect(verdict([{ Resource }], { conditions, key: 'x' })).toBeUndefined();
      const Condition = { ArnNotEquals: { 's3:x-amz-test': 'a:${b:${s3:RequestObjectTag/a}' } };
      const asked = { conditions: { ...conditions, 's3:x-amz-test': ['a:${b:yes'] } };
      expect(verdict([{ Effect: 'Deny', Condition }], asked)).toBe('Deny');
      expect(verdict([{ Condition }], asked)).toBeUndefined();
    }
    expect(verdict([{ Resource }], { conditions: both, key: 'yes' })).toBe('Allow');
  });

  it('is not one that a condition fixes', () => {
    const pins = (...names: string[]) => names.map((name) => `s3:RequestObjectTag/${name}`);
    const ask = { identity: anyone, action: 's3:GetObject', resource: 'arn:aws:s3:::photos/k', conditions: both };
    const fixed = policy({ Condition: { StringEquals: { 's3:RequestObjectTag/a': 'yes' } } });
    expect(evaluatePolicy(fixed, { ...ask, pins: pins('A') })).toBe('Allow');
    expect(evaluatePolicy(fixed, { ...ask, pins: pins('a', 'A') })).toBeUndefined();
  });

  it('grants nothing with more spellings than can be thought through', () => {
    const names = ['abc', 'abC', 'aBc', 'Abc', 'ABC'];
    const kinds = ['s3:RequestObjectTag/', 's3:RequestObjectTag/x', 's3:ExistingObjectTag/'];
    const conditions = Object.fromEntries(kinds.flatMap((kind) => names.map((name) => [kind + name, ['v']])));
    const fits = { StringEquals: Object.fromEntries(kinds.map((kind) => [`${kind}abc`, 'v'])) };
    const fitsNot = { StringEquals: Object.fromEntries(kinds.map((kind) => [`${kind}abc`, 'w'])) };
    expect(verdict([{ Condition: fits }], { conditions })).toBeUndefined();
    expect(verdict([{}, { Effect: 'Deny', Condition: fitsNot }], { conditions })).toBe('Deny');
    expect(verdict([{}, { Effect: 'Deny', Action: 's3:PutObject', Condition: fitsNot }], { conditions })).toBe('Allow');
    // what a statement does not ask for makes no doubt
    expect(verdict([{ Condition: { Null: { 's3:x-amz-acl': 'true' } } }], { conditions })).toBe('Allow');
  });
});

describe('parsePolicy', () => {
  const statement = (fields: Fields): string => text({ ...BASE, ...fields });

  it.each<[string, string]>([
    ['not JSON', "Policies must be valid JSON and the first byte must be '{'"],
    ['[]', "Policies must be valid JSON and the first byte must be '{'"],
    ['', "Policies must be valid JSON and the first byte must be '{'"],
    ['{"Version":"2012-10-17"}', 'Missing required field Statement'],
    ['{"Version":"2012-10-17","Statement":[]}', 'Statement is empty'],
    [`{"Version":"2020-01-01","Statement":[${JSON.stringify(BASE)}]}`, 'valid version string'],
    [`{"Foo":1,"Statement":[${JSON.stringify(BASE)}]}`, 'Unknown field Foo'],
    [statement({ Foo: 1 }), 'Unknown field Foo'],
    [statement({ Effect: undefined }), 'Missing required field Effect'],
    [statement({ Effect: 'allow' }), 'Invalid effect: "allow"'],
    [statement({ Principal: undefined }), 'Missing required field Principal'],
    [statement({ Principal: 'bob-id' }), 'Invalid principal in policy'],
    [statement({ Principal: { AWS: 'arn:aws:iam::*:root' } }), 'Invalid principal in policy'],
    [statement({ Principal: { AWS: [] } }), 'Invalid principal in policy'],
    [statement({ Principal: { Friend: 'x' } }), 'Invalid principal in policy'],
    [statement({ Principal: undefined, NotPrincipal: { AWS: 'x' } }), 'Allow with NotPrincipal is not allowed.'],
    [statement({ Action: undefined }), 'Missing required field Action'],
    [statement({ NotAction: 's3:*' }), 'both Action and NotAction'],
    [statement({ Action: 'ec2:RunInstances' }), 'Policy has invalid action'],
    [statement({ Action: [] }), 'Policy has invalid action'],
    [statement({ Resource: undefined }), 'Missing required field Resource'],
    [statement({ Resource: 'arn:aws:s3:::other/*' }), 'Policy has invalid resource'],
    [statement({ Resource: 'arn:aws:s3:::photos2/*' }), 'Policy has invalid resource'],
    [statement({ Resource: 'photos/*' }), 'Policy has invalid resource'],
    [statement({ Resource: ['arn:aws:s3:::photos/*', 7] }), 'Policy has invalid resource'],
    [statement({ Condition: { StringAlmost: { 'aws:Referer': 'c' } } }), 'Invalid Condition type : StringAlmost'],
    [statement({ Condition: { toString: { 'aws:Referer': 'c' } } }), 'Invalid Condition type : toString'],
    [statement({ Condition: { StringEquals: { b: 'c' } } }), 'invalid condition key'],
    [statement({ Condition: { StringEquals: { 's3:nonsense': 'c' } } }), 'invalid condition key'],
    [statement({ Condition: { StringEquals: { 's3:x-amz-': 'c' } } }), 'invalid condition key'],
    [statement({ Condition: { StringEquals: { 'jwt:sub': 'c' } } }), 'invalid condition key'],
    [statement({ Condition: { StringEquals: { 'aws:Referer': {} } } }), 'Invalid value of condition key aws:Referer'],
    [statement({ Condition: { IpAddress: { 'aws:SourceIp': '192.0.2.0/33' } } }), 'Invalid value of condition key'],
    [statement({ Condition: { IpAddress: { 'aws:SourceIp': 'home' } } }), 'Invalid value of condition key'],
    [statement({ Condition: { NumericLessThan: { 'aws:Referer': 'many' } } }), 'Invalid value of condition key'],
    [statement({ Condition: { DateLessThan: { 'aws:Referer': 'soon' } } }), 'Invalid value of condition key'],
    [text({ ...BASE, Sid: 'a' }, { ...BASE, Sid: 'a' }), 'must be unique'],
    [statement({ Sid: 'x'.repeat(21_000) }), 'no larger than 20480 bytes'],
  ])('refuses %s', (source, message) => {
    expect(refused('MalformedPolicy', () => parsePolicy(source, 'photos')).message).toContain(message);
  });

  it('takes one statement without a list, and variables as plain text before 2012', () => {
    const source = JSON.stringify({ Statement: { ...BASE, Resource: 'arn:aws:s3:::photos/${aws:username}' } });
    const parsed = parsePolicy(source, 'photos');
    const ask = { identity: anyone, action: 's3:GetObject', conditions: { 'aws:username': ['ann'] } };
    expect(evaluatePolicy(parsed, { ...ask, resource: 'arn:aws:s3:::photos/ann' })).toBeUndefined();
    expect(evaluatePolicy(parsed, { ...ask, resource: 'arn:aws:s3:::photos/${aws:username}' })).toBe('Allow');
  });
});

describe('isPublicPolicy', () => {
  it.each<[string, Fields, boolean]>([
    ['everyone', {}, true],
    ['everyone by AWS', { Principal: { AWS: ['bob-id', '*'] } }, true],
    ['a named user', { Principal: { AWS: 'bob-id' } }, false],
    ['denied to everyone', { Effect: 'Deny' }, false],
    ['one address', { Condition: { IpAddress: { 'aws:SourceIp': '10.0.0.0/32' } } }, false],
    ['a wide range', { Condition: { IpAddress: { 'aws:SourceIp': ['10.0.0.0/8', '0.0.0.0/1'] } } }, true],
    ['a wide IPv6 range', { Condition: { IpAddress: { 'aws:SourceIp': '2000::/3' } } }, true],
    ['all addresses but some', { Condition: { NotIpAddress: { 'aws:SourceIp': '192.0.2.0/24' } } }, true],
    ['a fixed account', { Condition: { StringEquals: { 'aws:SourceAccount': '1' } } }, false],
    ['a pattern', { Condition: { StringLike: { 'aws:userid': 'A*' } } }, true],
    ['a pattern operator with a fixed value', { Condition: { StringLike: { 'aws:userid': 'A' } } }, false],
    ['everybody without an account', { Condition: { StringEquals: { 'aws:userid': ['A', 'anonymous'] } } }, true],
    ['a variable', { Condition: { StringEquals: { 'aws:userid': '${aws:userid}' } } }, true],
    ['only if the key is there', { Condition: { StringEqualsIfExists: { 'aws:SourceVpc': 'v' } } }, true],
    ['for all values, or none', { Condition: { 'ForAllValues:StringEquals': { 'aws:SourceVpc': 'v' } } }, true],
    ['a key that says nothing of who', { Condition: { StringEquals: { 's3:prefix': 'public/' } } }, true],
    ['a referer, which anyone can send', { Condition: { StringEquals: { 'aws:Referer': 'x' } } }, true],
  ])('%s', (_, fields, isPublic) => {
    expect(isPublicPolicy(policy(fields))).toBe(isPublic);
  });
});
