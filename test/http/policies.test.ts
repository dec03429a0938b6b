/** Bucket policies against requests that are spelled to walk around them: headers as they come over the wire, at the HTTP door. */
import { createHmac } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { presignUrl, signHeaders } from '../../src/auth/presign.js';
import { createServer, openStore, type GatewayServer, type LocalStore } from '../../src/index.js';
import { allow, deny, type Rule } from './policy-rules.js';

const ALICE = { accessKey: 'ALICE', secretKey: 'alice-secret', owner: { id: 'alice', displayName: 'Alice' } };
/** His name is not his id, and has a slash: aws:PrincipalArn has it. */
const BOB = { accessKey: 'BOBKEY', secretKey: 'bob-secret', owner: { id: 'bob', displayName: 'Bob/B' } };
const CAROL = { accessKey: 'CAROL', secretKey: 'carol-secret', owner: { id: 'carol', displayName: 'Carol' } };
const ANYONE = undefined;
type Who = typeof ALICE | undefined;
const REGION = 'us-east-1';
const ALL = [`arn:aws:s3:::box`, `arn:aws:s3:::box/*`];

let base: string;
let store: LocalStore;
let server: GatewayServer;
let url: string;
let folders = 0;
/** Of this test. */
let at: (name: string) => string;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'gos3rve-policies-'));
  for (const bucket of ['box', 'safe']) await mkdir(join(base, bucket));
  store = await openStore(base);
  server = createServer({ store, credentials: [ALICE, BOB, CAROL], port: 0, minPartSize: 1 });
  ({ url } = await server.listen());
});
afterAll(async () => {
  await server.close();
  await store.close();
  await rm(base, { recursive: true });
});
beforeEach(() => {
  const dir = folders++;
  at = (name) => `/box/${dir}/${name}`;
});
afterEach(async () => {
  await store.updateBucket('box', () => ({}));
});

interface Answer {
  status: number;
  text: string;
  etag: string;
}
type Headers = Record<string, string>;

/** One request, its target and headers sent byte by byte as they are given (as Latin-1). */
function exchange(method: string, target: string, headers: Headers, body: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const length = body === '' ? {} : { 'content-length': Buffer.byteLength(body) };
    const options = { method, hostname, port, path: target, headers: { ...headers, ...length }, agent: false };
    const asking = request(options, (answer) => {
      const pieces: Buffer[] = [];
      answer.on('data', (piece: Buffer) => pieces.push(piece));
      answer.on('error', reject);
      answer.on('end', () => {
        const text = Buffer.concat(pieces).toString();
        resolve({ status: answer.statusCode ?? 0, text, etag: answer.headers.etag ?? '' });
      });
    });
    asking.on('error', reject);
    asking.end(body);
  });
}

function ask(who: Who, method: string, target: string, headers: Headers = {}, body = ''): Promise<Answer> {
  if (who === undefined) return exchange(method, target, headers, body);
  const signed = signHeaders({ method, url: url + target, credential: who, region: REGION, headers });
  return exchange(method, target, signed.headers, body);
}

/** Status, and the error's code if there is one: `403 AccessDenied`. */
async function outcome(answer: Promise<Answer> | Answer): Promise<string> {
  const { status, text } = await answer;
  const code = status < 300 && !text.includes('<Error>') ? undefined : /<Code>([^<]*)</.exec(text)?.[1];
  return code === undefined ? String(status) : `${status} ${code}`;
}
const told = async (...asked: Parameters<typeof ask>): Promise<string> => outcome(ask(...asked));
const DENIED = '403 AccessDenied';

const BOBS = { AWS: 'arn:aws:iam::bob:root' };
const policyText = (...rules: Rule[]): string =>
  JSON.stringify({
    Version: '2012-10-17',
    Statement: rules.map((rule) => ({ Principal: '*', Resource: ALL, ...rule })),
  });
const putPolicy = (...rules: Rule[]): Promise<string> => told(ALICE, 'PUT', '/box?policy', {}, policyText(...rules));
async function policy(...rules: Rule[]): Promise<void> {
  expect(await putPolicy(...rules)).toBe('204');
}
const put = (name: string, body = 'x'): Promise<Answer> => ask(ALICE, 'PUT', at(name), {}, body);
const content = async (name: string): Promise<string> => (await ask(ALICE, 'GET', at(name))).text;

it('give nobody but the bucket’s owner the policy itself', async () => {
  await policy(allow('s3:*'));
  for (const who of [BOB, ANYONE]) {
    for (const [method, body] of [
      ['GET', ''],
      ['PUT', policyText(allow('s3:GetObject'))],
      ['DELETE', ''],
    ] as const) {
      expect([method, await told(who, method, '/box?policy', {}, body)]).toEqual([method, '405 MethodNotAllowed']);
    }
    expect(await told(who, 'GET', '/box?policyStatus')).toBe('200');
  }
  await policy(allow('s3:GetObject'));
  expect(await told(BOB, 'GET', '/box?policy')).toBe(DENIED);
  await policy(deny('s3:*BucketPolicy'));
  expect(await told(BOB, 'GET', '/box?policy')).toBe(DENIED);
  expect(await told(ALICE, 'GET', '/box?policy')).toBe('200');
});

it('of a bucket that another program has renamed are the owner’s to replace, and let nobody in until then', async () => {
  await put('k');
  const other = policyText({ ...allow('s3:*'), Resource: 'arn:aws:s3:::before/*' });
  for (const [method, body] of [
    ['GET', ''],
    ['DELETE', ''],
    ['PUT', policyText(allow('s3:GetObject'))],
  ] as const) {
    await store.updateBucket('box', () => ({ policy: other }));
    expect(await told(BOB, 'GET', at('k'))).toBe('400 MalformedPolicy');
    expect([method, await told(BOB, method, '/box?policy', {}, body)]).toEqual([method, '400 MalformedPolicy']);
    expect([method, await told(ALICE, method, '/box?policy', {}, body)]).toEqual([
      method,
      method === 'GET' ? '200' : '204',
    ]);
  }
  expect(await told(BOB, 'GET', at('k'))).toBe('200');
});

describe('write-once', () => {
  /** S3 User Guide, "Enforce conditional writes": what CompleteMultipartUpload comes after is exempt. */
  const once = [
    allow('s3:PutObject', { Null: { 's3:if-none-match': 'false' } }),
    allow('s3:PutObject', { Bool: { 's3:ObjectCreationOperation': 'false' } }),
    allow(['s3:GetObject', 's3:DeleteObject']),
  ].map((rule) => ({ ...rule, Principal: BOBS }));
  const loose = { Null: { 's3:if-none-match': 'true' }, Bool: { 's3:ObjectCreationOperation': 'true' } };

  it.each([
    ['by what it allows', BOB, once],
    ['by what it denies, the owner too', ALICE, [deny('s3:PutObject', loose)]],
  ])('%s', async (_name, who, rules) => {
    await put('k', 'first');
    await put('other');
    await policy(...rules);
    const begun = await ask(who, 'POST', `${at('k')}?uploads`);
    const uploadId = /<UploadId>([^<]*)</.exec(begun.text)?.[1] ?? '';
    const { etag } = await ask(who, 'PUT', `${at('k')}?partNumber=1&uploadId=${uploadId}`, {}, 'second');
    const parts = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${etag}</ETag></Part></CompleteMultipartUpload>`;
    const source = { 'x-amz-copy-source': at('other') };
    const renamed = { 'x-amz-rename-source': at('other').slice('/box/'.length) };
    const writes = (condition: Headers) => [
      told(who, 'PUT', at('k'), condition, 'second'),
      told(who, 'PUT', at('k'), { ...condition, 'x-amz-write-offset-bytes': '5' }, 'second'),
      told(who, 'PUT', at('k'), { ...condition, ...source }),
      told(who, 'PUT', `${at('k')}?renameObject`, { ...condition, ...renamed }),
      told(who, 'POST', `${at('k')}?uploadId=${uploadId}`, condition, parts),
    ];
    for (const value of ['"no-such-etag"', 'x', '', ',', ' , ', 'W/"x"', '"x", "y"']) {
      const told = await Promise.all(writes({ 'if-none-match': value }));
      expect([value, ...told]).toEqual([value, ...Array<string>(5).fill(DENIED)]);
    }
    expect(await Promise.all(writes({}))).toEqual(Array(5).fill(DENIED));
    expect(await Promise.all(writes({ 'if-none-match': '*' }))).toEqual(Array(5).fill('412 PreconditionFailed'));
    expect(await content('k')).toBe('first');
    expect(await told(who, 'PUT', at('new'), { 'if-none-match': '*' }, 'x')).toBe('200');
  });
});

describe('conditional headers that say nothing', () => {
  it.each(['', ',', ' , ,'])('are refused where a write would go on without its condition: %j', async (value) => {
    await put('k', 'first');
    for (const name of ['if-match', 'if-none-match']) {
      expect(await told(ALICE, 'PUT', at('k'), { [name]: value }, 'second')).toBe('400 InvalidArgument');
      expect(await told(ALICE, 'DELETE', at('k'), { [name]: value })).toBe('400 InvalidArgument');
    }
    const source = { 'x-amz-copy-source': at('k'), 'x-amz-copy-source-if-match': value };
    expect(await told(ALICE, 'PUT', at('copy'), source)).toBe('400 InvalidArgument');
    for (const name of ['x-amz-if-match-size', 'x-amz-if-match-last-modified-time'])
      expect(await told(ALICE, 'DELETE', at('k'), { [name]: value })).toBe('400 InvalidArgument');
    expect(await content('k')).toBe('first');
  });

  it('are none to a policy', async () => {
    await put('k', 'first');
    await policy(deny(['s3:PutObject', 's3:DeleteObject'], { Null: { 's3:if-match': 'true' } }));
    for (const headers of [{}, { 'if-match': '' }]) {
      expect(await told(ALICE, 'PUT', at('k'), headers, 'second')).toBe(DENIED);
      expect(await told(ALICE, 'DELETE', at('k'), headers)).toBe(DENIED);
    }
    // they speak of nothing here
    await policy(deny('s3:PutObjectTagging', { Null: { 's3:if-match': 'true' } }));
    const tags = '<Tagging><TagSet></TagSet></Tagging>';
    expect(await told(ALICE, 'PUT', `${at('k')}?tagging`, { 'if-match': '"x"' }, tags)).toBe(DENIED);
    expect(await content('k')).toBe('first');
  });
});

describe('conditional deletes', () => {
  const entry = (name: string, more: string): string =>
    `<Delete><Object><Key>${at(name).slice('/box/'.length)}</Key>${more}</Object></Delete>`;
  /** The code of the entry's error, or `Deleted`. */
  const deletes = async (who: Who, name: string, more: string, headers: Headers = {}): Promise<string> => {
    const { text } = await ask(who, 'POST', '/box?delete', headers, entry(name, more));
    return /<Code>([^<]*)</.exec(text)?.[1] ?? (text.includes('<Deleted>') ? 'Deleted' : text);
  };

  it('of many keys are judged by the ETag of each entry', async () => {
    const { etag } = await put('k');
    await policy(deny('s3:DeleteObject', { Null: { 's3:if-match': 'true' } }));
    expect(await deletes(ALICE, 'k', '', { 'if-match': '"zzz"' })).toBe('AccessDenied');
    expect(await deletes(ALICE, 'k', '', { 'if-match': etag })).toBe('AccessDenied');
    expect(await deletes(ALICE, 'k', '<ETag></ETag>')).not.toBe('Deleted');
    expect(await deletes(ALICE, 'k', '<ETag>"zzz"</ETag>')).toBe('PreconditionFailed');
    expect(await deletes(ALICE, 'k', `<ETag>${etag}</ETag>`)).toBe('Deleted');
    await put('k');
    expect(await deletes(ALICE, 'k', '<ETag>*</ETag>')).toBe('Deleted');
  });

  it('need s3:GetObject too, unless they ask only whether something is there', async () => {
    const { etag } = await put('k');
    await policy(allow(['s3:DeleteObject', 's3:ListBucket']));
    for (const headers of [{ 'if-match': etag }, { 'if-match': '"x"' }, { 'x-amz-if-match-size': '1' }])
      expect(await told(BOB, 'DELETE', at('k'), headers)).toBe(DENIED);
    for (const more of [`<ETag>${etag}</ETag>`, '<ETag>x</ETag>', '<Size>1</Size>'])
      expect(await deletes(BOB, 'k', more)).toBe('AccessDenied');
    expect(await told(BOB, 'DELETE', at('k'), { 'if-match': '*' })).toBe('204');
    await put('k');
    expect(await deletes(BOB, 'k', '<ETag>*</ETag>')).toBe('Deleted');
    await put('k');
    await policy(allow(['s3:DeleteObject', 's3:ListBucket', 's3:GetObject']));
    expect(await told(BOB, 'DELETE', at('k'), { 'if-match': etag })).toBe('204');
    await put('k');
    expect(await deletes(BOB, 'k', `<ETag>${etag}</ETag>`)).toBe('Deleted');
  });

  it('cannot be walked around by a rename that names another object’s ETag', async () => {
    const { etag } = await put('k');
    const other = await put('other', 'y');
    await policy(deny('s3:DeleteObject', { Null: { 's3:if-match': 'true' } }));
    const rename = (headers: Headers): Promise<string> =>
      told(ALICE, 'PUT', `${at('other')}?renameObject`, {
        'x-amz-rename-source': at('k').slice('/box/'.length),
        ...headers,
      });
    expect(await rename({})).toBe(DENIED);
    expect(await rename({ 'if-match': other.etag })).toBe(DENIED);
    expect(await rename({ 'x-amz-rename-source-if-match': '' })).toBe(DENIED);
    expect(await rename({ 'x-amz-rename-source-if-match': other.etag })).toBe('412 PreconditionFailed');
    expect(await rename({ 'x-amz-rename-source-if-match': etag })).toBe('200');
  });
});

it('know a copy’s source however it is spelled', async () => {
  await ask(ALICE, 'PUT', '/safe/geh%20%C3%A9im/k', {}, 'secret');
  await policy(deny('s3:PutObject', { StringLike: { 's3:x-amz-copy-source': 'safe/geh éim/*' } }));
  const begun = await ask(ALICE, 'POST', `${at('parts')}?uploads`);
  const uploadId = /<UploadId>([^<]*)</.exec(begun.text)?.[1] ?? '';
  for (const source of [
    'safe/geh%20%C3%A9im/k',
    '/safe/geh%20%C3%A9im/k',
    '%2Fsafe%2Fgeh%20%C3%A9im%2Fk',
    's%61fe/geh éim/k',
    '/safe/geh éim/k?versionId=null',
  ]) {
    const headers = { 'x-amz-copy-source': Buffer.from(source).toString('latin1') };
    expect([source, await told(ALICE, 'PUT', at('copy'), headers)]).toEqual([source, DENIED]);
    const part = `${at('parts')}?partNumber=1&uploadId=${uploadId}`;
    expect([source, await told(ALICE, 'PUT', part, headers)]).toEqual([source, DENIED]);
  }
  await put('open');
  expect(await told(ALICE, 'PUT', at('copy'), { 'x-amz-copy-source': at('open') })).toBe('200');
});

it('read headers as the operations do, as UTF-8', async () => {
  const key = 's3:x-amz-website-redirect-location';
  await policy(deny('s3:PutObject', { StringLike: { [key]: '/é/*' } }));
  const utf8 = Buffer.from('/é/x').toString('latin1');
  expect(await told(ALICE, 'PUT', at('k'), { 'x-amz-website-redirect-location': utf8 })).toBe(DENIED);
  expect(await told(ALICE, 'PUT', at('k'), { 'x-amz-website-redirect-location': '/e/x' })).toBe('200');
});

it('know the version of a copy’s source, and of each key to be deleted', async () => {
  await put('k');
  const nullVersion = { StringEquals: { 's3:VersionId': 'null' } };
  await policy(deny(['s3:GetObject', 's3:DeleteObject'], nullVersion));
  expect(await told(ALICE, 'GET', `${at('k')}?versionId=null`)).toBe(DENIED);
  expect(await told(ALICE, 'PUT', at('copy'), { 'x-amz-copy-source': `${at('k')}?versionId=null` })).toBe(DENIED);
  const key = at('k').slice('/box/'.length);
  const entry = `<Delete><Object><Key>${key}</Key><VersionId>null</VersionId></Object></Delete>`;
  expect((await ask(ALICE, 'POST', '/box?delete', {}, entry)).text).toContain('<Code>AccessDenied</Code>');
  expect(await told(ALICE, 'PUT', at('copy'), { 'x-amz-copy-source': at('k') })).toBe('200');
});

/** A form of the policy's making; version 2 is HMAC-SHA1 over it. */
async function postForm(name: string, version: 2 | undefined): Promise<number> {
  const fields: Headers = { key: at(name).slice('/box/'.length) };
  if (version === 2) {
    const expiration = new Date(Date.now() + 60_000).toISOString();
    fields.policy = Buffer.from(
      JSON.stringify({ expiration, conditions: [{ bucket: 'box' }, ['starts-with', '$key', '']] }),
    ).toString('base64');
    fields.AWSAccessKeyId = ALICE.accessKey;
    fields.signature = createHmac('sha1', ALICE.secretKey).update(fields.policy).digest('base64');
  }
  const boundary = 'b0undary';
  const part = (field: string, value: string): string =>
    `--${boundary}\r\nContent-Disposition: form-data; name="${field}"${field === 'file' ? '; filename="f"' : ''}\r\n\r\n${value}\r\n`;
  const body = [...Object.entries(fields), ['file', 'x'] as const].map(([field, value]) => part(field, value)).join('');
  const headers = { 'content-type': `multipart/form-data; boundary=${boundary}` };
  return (await exchange('POST', '/box', headers, `${body}--${boundary}--\r\n`)).status;
}

describe('know of a signature', () => {
  it('that it does not cover the body', async () => {
    await policy(
      allow('s3:PutObject'),
      deny('s3:PutObject', { StringEquals: { 's3:x-amz-content-sha256': 'UNSIGNED-PAYLOAD' } }),
    );
    const target = at('k');
    const presigned = presignUrl({ method: 'PUT', url: url + target, credential: ALICE, region: REGION, expires: 60 });
    expect(await outcome(exchange('PUT', presigned.slice(url.length), {}, 'x'))).toBe(DENIED);
    expect(await told(ALICE, 'PUT', target, {}, 'x')).toBe(DENIED);
    expect(await told(ANYONE, 'PUT', target, {}, 'x')).toBe(DENIED);
    expect(await postForm('k', undefined)).toBe(403);
    expect(await postForm('k', 2)).toBe(403);
    const sha256 = '2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881';
    const credential = ALICE;
    const signed = signHeaders({ method: 'PUT', url: url + target, credential, region: REGION, payload: sha256 });
    expect(await outcome(exchange('PUT', target, signed.headers, 'x'))).toBe('200');
    const headers = { 'x-amz-content-sha256': sha256 };
    const promised = presignUrl({ method: 'PUT', url: url + target, credential, region: REGION, expires: 60, headers });
    expect(await outcome(exchange('PUT', promised.slice(url.length), headers, 'x'))).toBe('200');
  });

  it('how old it is, whichever header says when it was made', async () => {
    await put('k');
    await policy(deny('s3:GetObject', { NumericGreaterThan: { 's3:signatureAge': '60000' } }));
    const now = Date.now() - 300_000;
    const stamp = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19).replace(/[-:]/g, '')}Z`;
    const old = (target: string): Promise<string> => {
      const signed = signHeaders({ method: 'GET', url: url + target, credential: ALICE, region: REGION, now });
      return outcome(exchange('GET', target, signed.headers, ''));
    };
    expect(await old(at('k'))).toBe(DENIED);
    // a parameter of the query says nothing where the header is what is signed by
    expect(await old(`${at('k')}?X-Amz-Date=${stamp(Date.now())}`)).toBe(DENIED);
    expect(await told(ALICE, 'GET', at('k'))).toBe('200');
  });

  it('its version, and whether there is one', async () => {
    await policy(
      allow('s3:PutObject'),
      deny('s3:PutObject', { StringNotEquals: { 's3:signatureversion': 'AWS4-HMAC-SHA256' } }),
    );
    expect(await told(ALICE, 'PUT', at('k'), {}, 'x')).toBe('200');
    expect(await told(ANYONE, 'PUT', at('k'), {}, 'x')).toBe(DENIED);
    expect(await postForm('k', undefined)).toBe(403);
    expect(await postForm('k', 2)).toBe(403);
    await policy(allow('s3:PutObject'));
    expect(await postForm('k', undefined)).toBe(204);
    expect(await postForm('k', 2)).toBe(204);
  });
});

describe('actions', () => {
  const refusal = async (rule: Rule): Promise<string> => {
    const { status, text } = await ask(ALICE, 'PUT', '/box?policy', {}, policyText(rule));
    return status === 204
      ? '204'
      : `${status} ${/<Code>(.*)<\/Message>/.exec(text)?.[1]?.split('</Code><Message>').join(': ') ?? ''}`;
  };

  it.each(['s3:DeleteObjects', 's3:ListObjects', 's3:HeadObject', 's3:CopyObject', 's3:GetObjct', 's3:Foo*'])(
    'that do not exist are refused: %s',
    async (action) => {
      const invalid = '400 MalformedPolicy: Policy has invalid action';
      expect(await refusal(deny(action))).toBe(invalid);
      expect(await refusal(allow(['s3:GetObject', action]))).toBe(invalid);
    },
  );

  it('that apply to no resource are refused in a Deny, which would protect nothing', async () => {
    const idle = '400 MalformedPolicy: Action does not apply to any resource(s) in statement';
    const [bucket, objects] = ['arn:aws:s3:::box', 'arn:aws:s3:::box/*'];
    expect(await refusal({ ...deny('s3:ListBucket'), Resource: objects })).toBe(idle);
    expect(await refusal({ ...deny(['s3:ListBucket', 's3:GetObject']), Resource: bucket })).toBe(idle);
    expect(await refusal({ ...deny('s3:*'), Resource: bucket })).toBe('204');
    expect(await refusal({ ...allow('s3:PutObject'), Resource: bucket })).toBe('204');
  });

  it('that an earlier version took leave the bucket to its owner', async () => {
    await put('k');
    await store.updateBucket('box', () => ({ policy: policyText(allow('s3:GetObject'), deny('s3:HeadObject')) }));
    expect([await told(BOB, 'GET', at('k')), await told(ALICE, 'DELETE', '/box?policy')]).toEqual(['200', '204']);
  });
});

describe('conditions on keys that every request has', () => {
  const elsewhere = { NotIpAddress: { 'aws:SourceIp': ['192.0.2.0/24'] } };

  it.each<[string, object]>([
    ['aws:CurrentTime', { DateGreaterThan: { 'aws:CurrentTime': '2020-01-01' } }],
    ['aws:EpochTime', { NumericGreaterThan: { 'aws:EpochTime': '1577836800' } }],
    ['aws:PrincipalAccount', { StringEquals: { 'aws:PrincipalAccount': ['bob', 'anonymous'] } }],
    ['aws:PrincipalIsAWSService', { Bool: { 'aws:PrincipalIsAWSService': 'false' } }],
    ['aws:PrincipalType', { StringEquals: { 'aws:PrincipalType': ['User', 'Anonymous'] } }],
    ['aws:RequestedRegion', { StringEquals: { 'aws:RequestedRegion': REGION } }],
    ['aws:ResourceAccount', { StringEquals: { 'aws:ResourceAccount': 'alice' } }],
    ['s3:ResourceAccount', { StringEquals: { 's3:ResourceAccount': 'alice' } }],
    ['aws:SecureTransport', { Bool: { 'aws:SecureTransport': 'false' } }],
    ['aws:SourceIp', { IpAddress: { 'aws:SourceIp': '127.0.0.0/8' } }],
    ['aws:userid', { StringEquals: { 'aws:userid': ['bob', 'anonymous'] } }],
    ['aws:ViaAWSService', { Bool: { 'aws:ViaAWSService': 'false' } }],
  ])('deny signed requests and strangers: %s', async (key, condition) => {
    await put('k');
    await policy(allow('s3:GetObject'));
    expect([await told(BOB, 'GET', at('k')), await told(ANYONE, 'GET', at('k'))]).toEqual(['200', '200']);
    await policy(allow('s3:GetObject'), deny('s3:*', { ...elsewhere, ...condition }));
    expect([key, await told(BOB, 'GET', at('k')), await told(ANYONE, 'GET', at('k'))]).toEqual([key, DENIED, DENIED]);
    await policy(allow('s3:GetObject'), deny('s3:*', { Null: { [key]: 'true' } }));
    expect([key, await told(BOB, 'GET', at('k')), await told(ANYONE, 'GET', at('k'))]).toEqual([key, '200', '200']);
  });

  it.each(['s3:x-amz-meta-level', 's3:x-amz-server-side-encrypton', 's3:x-amz-tagging'])(
    'others of headers are refused, for no request has them: %s',
    async (key) => {
      expect(await putPolicy(deny('s3:PutObject', { StringEquals: { [key]: 'x' } }))).toBe('400 MalformedPolicy');
      expect(await putPolicy(deny('s3:PutObject', { StringEquals: { 's3:X-Amz-Storage-Class': 'x' } }))).toBe('204');
    },
  );

  it('say which region a bucket is told to lie in, whatever a signature says', async () => {
    await put('k');
    const other = { StringNotEquals: { 'aws:RequestedRegion': 'eu-central-1' } };
    await policy(allow('s3:GetObject'), deny('s3:GetObject', other));
    const target = at('k');
    const far = signHeaders({ method: 'GET', url: url + target, credential: BOB, region: 'eu-central-1' });
    expect(await outcome(exchange('GET', target, far.headers, ''))).toBe(DENIED);
    await store.updateBucket('box', (settings) => ({ ...settings, region: 'eu-central-1' }));
    expect(await told(BOB, 'GET', target)).toBe('200');
  });
});

describe('principals', () => {
  it('are met by every name that the server gives them', async () => {
    await put('k');
    for (const name of [
      'bob',
      'BOBKEY',
      'arn:aws:iam::bob:root',
      'arn:aws:iam::bob:user/bob',
      'arn:aws:iam::bob:user/BOBKEY',
      'arn:aws:iam::bob:user/Bob/B',
      'arn:aws:iam::bob:user/team/bob',
    ]) {
      await policy(allow('s3:GetObject'), { ...deny('s3:GetObject'), Principal: { AWS: name } });
      expect([name, await told(BOB, 'GET', at('k'))]).toEqual([name, DENIED]);
      expect(await told(CAROL, 'GET', at('k'))).toBe('200');
    }
    const arn = { ArnEquals: { 'aws:PrincipalArn': 'arn:aws:iam::bob:user/Bob/B' } };
    await policy(allow('s3:GetObject'), deny('s3:GetObject', arn));
    expect(await told(BOB, 'GET', at('k'))).toBe(DENIED);
  });

  it.each([
    'nosuch',
    'Bob/B',
    'arn:aws:iam::nosuch:root',
    'arn:aws:iam::bob:user/nosuch',
    'arn:aws:iam::carol:user/Bob/B',
    'arn:aws:iam::bob:role/x',
  ])('that nobody is are refused in a Deny, which would protect nothing: %s', async (name) => {
    const Principal = { AWS: ['bob', name] };
    expect(await putPolicy({ ...deny('s3:GetObject'), Principal })).toBe('400 MalformedPolicy');
    // these let nobody in, by a mistake or not
    expect(await putPolicy({ ...allow('s3:GetObject'), Principal })).toBe('204');
  });
});

it('take any character for a question mark, also one of four bytes', async () => {
  await policy({ ...deny('s3:GetObject'), Resource: `arn:aws:s3:::box/*/pic?.jpg` });
  for (const name of ['picx.jpg', 'pic%C3%A9.jpg', 'pic%F0%9F%98%80.jpg']) {
    await put(name);
    expect([name, await told(ALICE, 'GET', at(name))]).toEqual([name, DENIED]);
  }
  await put('pic%F0%9F%98%80x.jpg');
  expect(await told(ALICE, 'GET', at('pic%F0%9F%98%80x.jpg'))).toBe('200');
});

it('look tags up however the policy spells that it asks for them', async () => {
  await ask(ALICE, 'PUT', at('k'), { 'x-amz-tagging': 'level=secret' }, 'x');
  const secret = { StringEquals: { 's3:ExistingObjectTag/level': 'secret' } };
  const given = { StringEquals: { 's3:RequestObjectTag/level': 'secret' } };
  const text = policyText(deny('s3:GetObject', secret), deny('s3:PutObject', given)).replaceAll(
    'ObjectTag',
    'O\\u0062jectTag',
  );
  expect(await told(ALICE, 'PUT', '/box?policy', {}, text)).toBe('204');
  expect(await told(ALICE, 'GET', at('k'))).toBe(DENIED);
  expect(await told(ALICE, 'PUT', at('k2'), { 'x-amz-tagging': 'level=secret' }, 'x')).toBe(DENIED);
});

describe('uploads', () => {
  const begin = async (who: Who): Promise<string> =>
    /<UploadId>([^<]*)</.exec((await ask(who, 'POST', `${at('k')}?uploads`)).text)?.[1] ?? '';
  const list = (who: Who, id: string) => told(who, 'GET', `${at('k')}?uploadId=${id}`);
  const abort = (who: Who, id: string) => told(who, 'DELETE', `${at('k')}?uploadId=${id}`);
  const part = (who: Who, id: string, body = 'x') =>
    ask(who, 'PUT', `${at('k')}?partNumber=1&uploadId=${id}`, {}, body);
  const copyPart = (who: Who, id: string, source: string) =>
    told(who, 'PUT', `${at('k')}?partNumber=1&uploadId=${id}`, { 'x-amz-copy-source': at(source) });
  const complete = (who: Who, id: string, etag: string) =>
    told(
      who,
      'POST',
      `${at('k')}?uploadId=${id}`,
      {},
      `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${etag}</ETag></Part></CompleteMultipartUpload>`,
    );
  const openAcl = () =>
    ask(ALICE, 'PUT', '/box?acl', {
      'x-amz-grant-read': 'id=bob,id=carol',
      'x-amz-grant-write': 'id=bob,id=carol',
      'x-amz-grant-full-control': 'id=alice',
    });

  it('may be listed and aborted by who began them and by the owner, unless denied', async () => {
    await policy({ ...allow('s3:PutObject'), Principal: { AWS: ['bob', 'carol'] } });
    const id = await begin(BOB);
    expect(await list(BOB, id)).toBe('200');
    expect(await list(ALICE, id)).toBe('200');
    expect(await list(CAROL, id)).toBe(DENIED);
    expect(await abort(CAROL, id)).toBe(DENIED);
    expect(await list(ANYONE, id)).toBe(DENIED);
    expect(await abort(BOB, id)).toBe('204');
    const second = await begin(BOB);
    await policy(deny(['s3:AbortMultipartUpload', 's3:ListMultipartUploadParts']));
    expect([await list(BOB, second), await abort(BOB, second), await abort(ALICE, second)]).toEqual([
      DENIED,
      DENIED,
      DENIED,
    ]);
    await policy({ ...allow(['s3:AbortMultipartUpload', 's3:ListMultipartUploadParts']), Principal: { AWS: 'carol' } });
    expect([await list(CAROL, second), await abort(CAROL, second)]).toEqual(['200', '204']);
    expect(await list(BOB, second)).toBe(DENIED);
  });

  it('are nobody’s but theirs who began them, where a bucket’s ACL lets others write', async () => {
    await openAcl();
    await ask(BOB, 'PUT', at('bobs'), {}, 'EVIL');
    for (const owner of [ALICE, CAROL]) {
      const id = await begin(owner);
      const { etag } = await part(owner, id, 'good');
      expect(await list(BOB, id)).toBe(DENIED);
      expect(await outcome(part(BOB, id, 'EVIL'))).toBe(DENIED);
      expect(await copyPart(BOB, id, 'bobs')).toBe(DENIED);
      expect(await complete(BOB, id, etag)).toBe(DENIED);
      expect(await abort(BOB, id)).toBe(DENIED);
      expect(await list(owner, id)).toBe('200');
      expect(await complete(owner, id, etag)).toBe('200');
      // its retry, too
      expect(await complete(owner, id, etag)).toBe('200');
    }
    const id = await begin(BOB);
    const { etag } = await part(BOB, id);
    expect([await list(BOB, id), await complete(BOB, id, etag)]).toEqual(['200', '200']);
    expect(await abort(BOB, 'nosuchuploadnosuchupload')).toBe('404 NoSuchUpload');
    expect(await abort(BOB, await begin(BOB))).toBe('204');
  });
});
