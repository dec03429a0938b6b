/** What a request needs beyond its row's action: a Deny of a right must not be walked around by a header, a field, a copy or a rename. */
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { request, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  ListObjectsCommand,
  PutBucketPolicyCommand,
  PutBucketAclCommand,
  PutObjectAclCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
  RenameObjectCommand,
  S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createServer, openStore, type GatewayServer, type LocalStore } from '../../src/index.js';
import { allow, deny, type Rule } from './policy-rules.js';

const ALICE = { accessKey: 'ALICE', secretKey: 'alice-secret', owner: { id: 'alice', displayName: 'alice' } };
const BOB = { accessKey: 'BOB', secretKey: 'bob-secret', owner: { id: 'bob', displayName: 'bob' } };
const Bucket = 'box';

let base: string;
let store: LocalStore;
let server: GatewayServer;
let url: string;
let alice: S3Client;
let bob: S3Client;
let folders = 0;
/** Of this test. */
let dir: string;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'gos3rve-rights-'));
  await mkdir(join(base, Bucket));
  store = await openStore(base);
  server = createServer({ store, credentials: [ALICE, BOB], port: 0 });
  ({ url } = await server.listen());
  const client = ({ accessKey, secretKey }: typeof ALICE): S3Client =>
    new S3Client({
      endpoint: url,
      region: 'us-east-1',
      forcePathStyle: true,
      maxAttempts: 1,
      credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
    });
  alice = client(ALICE);
  bob = client(BOB);
});
afterAll(async () => {
  alice.destroy();
  bob.destroy();
  await server.close();
  await store.close();
  await rm(base, { recursive: true });
});
beforeEach(() => {
  dir = `${folders++}`;
});
afterEach(async () => {
  await store.updateBucket(Bucket, () => ({}));
});

async function policy(...rules: Rule[]): Promise<void> {
  const Resource = [`arn:aws:s3:::${Bucket}`, `arn:aws:s3:::${Bucket}/*`];
  const Statement = rules.map((rule) => ({ Principal: '*', Resource, ...rule }));
  await alice.send(
    new PutBucketPolicyCommand({ Bucket, Policy: JSON.stringify({ Version: '2012-10-17', Statement }) }),
  );
}

/** `ok`, or the error's code. */
async function outcome(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'ok';
  } catch (error) {
    return error instanceof Error ? error.name : String(error);
  }
}

const at = (name: string): { Bucket: string; Key: string } => ({ Bucket, Key: `${dir}/${name}` });
const from = (name: string): string => `${Bucket}/${dir}/${name}`;
const put = (name: string, more: Partial<PutObjectCommand['input']> = {}): PutObjectCommand =>
  new PutObjectCommand({ ...at(name), Body: 'x', ...more });
const copy = (source: string, name: string, more: Partial<CopyObjectCommand['input']> = {}): CopyObjectCommand =>
  new CopyObjectCommand({ ...at(name), CopySource: from(source), ...more });
const initiate = (name: string, more: Partial<CreateMultipartUploadCommand['input']> = {}) =>
  new CreateMultipartUploadCommand({ ...at(name), ...more });
const rename = (source: string, name: string): RenameObjectCommand =>
  new RenameObjectCommand({ ...at(name), RenameSource: `${dir}/${source}` });

type Write = PutObjectCommand | CopyObjectCommand | RenameObjectCommand | CompleteMultipartUploadCommand;
function send(client: S3Client, write: Write): Promise<unknown> {
  return client.send(write as PutObjectCommand);
}

/** A form without credentials. */
async function post(name: string, fields: Record<string, string>): Promise<number> {
  const data = new FormData();
  for (const [field, value] of Object.entries({ key: at(name).Key, ...fields })) data.append(field, value);
  data.append('file', new Blob(['x']), 'file');
  // in one piece: fetch breaks off what is answered before it was sent
  const form = new Response(data);
  const headers = { 'content-type': form.headers.get('content-type') ?? '' };
  return (await fetch(`${url}/${Bucket}`, { method: 'POST', body: await form.arrayBuffer(), headers })).status;
}
const tagXml = (key: string, value: string): string =>
  `<Tagging><TagSet><Tag><Key>${key}</Key><Value>${value}</Value></Tag></TagSet></Tagging>`;

const WRITING = ['s3:PutObject', 's3:GetObject', 's3:DeleteObject', 's3:ListBucket'];

describe.each([
  ['bob, whom the policy lets write', () => bob],
  ['alice, the owner', () => alice],
])('a Deny binds %s:', (_who, who) => {
  it('s3:PutObjectAcl', async () => {
    await policy(allow(WRITING), deny('s3:PutObjectAcl'));
    const grant = { GrantRead: 'uri="http://acs.amazonaws.com/groups/global/AllUsers"' };
    expect(await outcome(who().send(put('a')))).toBe('ok');
    for (const acl of [{ ACL: 'public-read' as const }, grant]) {
      expect(await outcome(who().send(put('b', acl)))).toBe('AccessDenied');
      expect(await outcome(who().send(copy('a', 'b', acl)))).toBe('AccessDenied');
      expect(await outcome(who().send(initiate('b', acl)))).toBe('AccessDenied');
    }
    expect(await post('b', { acl: 'public-read' })).toBe(403);
    expect(await post('b', { 'x-amz-grant-read': grant.GrantRead })).toBe(403);
    expect(await outcome(who().send(new GetObjectCommand(at('b'))))).toBe('NoSuchKey');
  });

  it('s3:PutObjectTagging', async () => {
    await alice.send(put('tagged', { Tagging: 'a=b' }));
    await policy(allow([...WRITING, 's3:GetObjectTagging']), deny('s3:PutObjectTagging'));
    expect(await outcome(who().send(put('a')))).toBe('ok');
    expect(await outcome(who().send(copy('a', 'c')))).toBe('ok');
    expect(await outcome(who().send(put('b', { Tagging: 'a=b' })))).toBe('AccessDenied');
    expect(await outcome(who().send(initiate('b', { Tagging: 'a=b' })))).toBe('AccessDenied');
    expect(await outcome(who().send(copy('tagged', 'b')))).toBe('AccessDenied');
    const replace = { TaggingDirective: 'REPLACE' as const };
    expect(await outcome(who().send(copy('a', 'b', { ...replace, Tagging: 'a=b' })))).toBe('AccessDenied');
    expect(await outcome(who().send(rename('tagged', 'b')))).toBe('AccessDenied');
    expect(await post('b', { tagging: tagXml('a', 'b') })).toBe(403);
    expect(await post('b', { 'x-amz-tagging': 'a=b' })).toBe(403);
    // without the tags
    expect(await outcome(who().send(copy('tagged', 'd', replace)))).toBe('ok');
  });

  it('s3:GetObjectTagging, of what is copied with its tags', async () => {
    await alice.send(put('tagged', { Tagging: 'a=b' }));
    await alice.send(put('plain'));
    await policy(allow([...WRITING, 's3:PutObjectTagging']), deny('s3:GetObjectTagging'));
    expect(await outcome(who().send(copy('tagged', 'b')))).toBe('AccessDenied');
    expect(await outcome(who().send(copy('plain', 'b')))).toBe('ok');
    expect(await outcome(who().send(copy('tagged', 'b', { TaggingDirective: 'REPLACE' })))).toBe('ok');
  });

  it('s3:GetObject, of what is copied', async () => {
    await alice.send(put('secret/a'));
    await policy(allow(WRITING), { ...deny('s3:GetObject'), Resource: `arn:aws:s3:::${Bucket}/${dir}/secret/*` });
    const { UploadId } = await who().send(initiate('b'));
    const part = new UploadPartCopyCommand({ ...at('b'), UploadId, PartNumber: 1, CopySource: from('secret/a') });
    expect(await outcome(who().send(part))).toBe('AccessDenied');
    expect(await outcome(who().send(copy('secret/a', 'b')))).toBe('AccessDenied');
    expect(await outcome(who().send(rename('secret/a', 'b')))).toBe('AccessDenied');
  });

  it('s3:GetObject, of what is written over by its ETag', async () => {
    const ETag = (await alice.send(put('a'))).ETag ?? '';
    await alice.send(put('free'));
    const isNot = '"00000000000000000000000000000000"';
    await policy(allow(WRITING), { ...deny('s3:GetObject'), Resource: `arn:aws:s3:::${Bucket}/${dir}/a` });
    const writes = (tag: string) => [
      put('a', { IfMatch: tag }),
      put('a', { IfNoneMatch: tag }),
      put('a', { IfMatch: tag, WriteOffsetBytes: 1 }),
      copy('free', 'a', { IfMatch: tag }),
      new RenameObjectCommand({ ...at('a'), RenameSource: `${dir}/free`, DestinationIfMatch: tag }),
      new CompleteMultipartUploadCommand({ ...at('a'), UploadId, MultipartUpload, IfMatch: tag }),
    ];
    const { UploadId } = await who().send(initiate('a'));
    const part = await who().send(new UploadPartCommand({ ...at('a'), UploadId, PartNumber: 1, Body: 'part' }));
    const MultipartUpload = { Parts: [{ PartNumber: 1, ETag: part.ETag }] };
    for (const tag of [ETag, isNot]) {
      for (const write of writes(tag)) expect(await outcome(send(who(), write))).toBe('AccessDenied');
    }
    // that something is there is for who may write to know
    expect(await outcome(who().send(put('a', { IfNoneMatch: '*' })))).toBe('PreconditionFailed');
    expect(await outcome(who().send(put('a', { IfMatch: '*' })))).toBe('ok');
    await policy(allow(WRITING));
    for (const write of writes(isNot).filter((_, i) => i !== 1))
      expect(await outcome(send(who(), write))).toBe('PreconditionFailed');
  });

  it('s3:GetObjectAttributes', async () => {
    await alice.send(put('a'));
    await policy(allow([...WRITING, 's3:GetObjectAttributes']), deny('s3:GetObjectAttributes'));
    const attributes = new GetObjectAttributesCommand({ ...at('a'), ObjectAttributes: ['ETag'] });
    expect(await outcome(who().send(attributes))).toBe('AccessDenied');
  });

  it('actions on versions', async () => {
    await alice.send(put('a'));
    const versions = ['s3:GetObjectVersion', 's3:DeleteObjectVersion', 's3:GetObjectVersionTagging'];
    await policy(allow([...WRITING, 's3:GetObjectTagging']), deny(versions));
    const VersionId = 'null';
    expect(await outcome(who().send(new GetObjectCommand(at('a'))))).toBe('ok');
    expect(await outcome(who().send(new GetObjectCommand({ ...at('a'), VersionId })))).toBe('AccessDenied');
    expect(await outcome(who().send(new GetObjectTaggingCommand({ ...at('a'), VersionId })))).toBe('AccessDenied');
    expect(await outcome(who().send(copy('a', 'b', { CopySource: `${from('a')}?versionId=null` })))).toBe(
      'AccessDenied',
    );
    expect(await outcome(who().send(new DeleteObjectCommand(at('a'))))).toBe('AccessDenied');
    const { Errors } = await who().send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [at('a')] } }));
    expect(Errors?.map(({ Code }) => Code)).toEqual(['AccessDenied']);
    expect(await outcome(who().send(rename('a', 'b')))).toBe('AccessDenied');
  });

  it('of tags by their values, wherever they come from', async () => {
    await alice.send(put('secret', { Tagging: 'level=secret' }));
    await alice.send(put('open', { Tagging: 'level=open' }));
    const secret = { StringEquals: { 's3:RequestObjectTag/level': 'secret' } };
    await policy(allow([...WRITING, 's3:*Tagging']), deny('s3:PutObjectTagging', secret));
    for (const [level, expected, status] of [
      ['open', 'ok', 204],
      ['secret', 'AccessDenied', 403],
    ] as const) {
      const Tagging = `level=${level}`;
      expect(await outcome(who().send(put('b', { Tagging })))).toBe(expected);
      expect(await outcome(who().send(copy(level, 'b')))).toBe(expected);
      // the header counts for nothing: the tags are copied
      expect(await outcome(who().send(copy(level, 'b', { Tagging: 'level=open' })))).toBe(expected);
      const Set = { TagSet: [{ Key: 'level', Value: level }] };
      expect(await outcome(who().send(new PutObjectTaggingCommand({ ...at('open'), Tagging: Set })))).toBe(expected);
      expect(await post('b', { tagging: tagXml('level', level) })).toBe(status);
      expect(await post('b', { tagging: tagXml('level', level), 'x-amz-tagging': 'level=open' })).toBe(status);
    }
  });
});

describe('what a policy can ask of a request', () => {
  const get = (name: string): GetObjectCommand => new GetObjectCommand(at(name));
  const presigned = async (name: string): Promise<number> =>
    (await fetch(await getSignedUrl(alice, get(name), { expiresIn: 600 }))).status;

  it('how it is signed', async () => {
    await alice.send(put('a'));
    await policy(deny('s3:GetObject', { StringEquals: { 's3:authType': 'REST-QUERY-STRING' } }));
    expect(await presigned('a')).toBe(403);
    expect(await outcome(alice.send(get('a')))).toBe('ok');
    await policy(deny('s3:GetObject', { StringNotEquals: { 's3:authType': 'REST-QUERY-STRING' } }));
    expect(await presigned('a')).toBe(200);
    expect(await outcome(alice.send(get('a')))).toBe('AccessDenied');
    await policy(deny('s3:GetObject', { StringNotEquals: { 's3:signatureversion': 'AWS4-HMAC-SHA256' } }));
    expect(await presigned('a')).toBe(200);
    await policy(deny('s3:GetObject', { StringEquals: { 's3:signatureversion': 'AWS4-HMAC-SHA256' } }));
    expect(await outcome(alice.send(get('a')))).toBe('AccessDenied');
  });

  it('how long ago', async () => {
    await alice.send(put('a'));
    const signingDate = new Date(Date.now() - 60_000);
    const url = await getSignedUrl(alice, get('a'), { expiresIn: 600, signingDate });
    await policy(deny('s3:GetObject', { NumericGreaterThan: { 's3:signatureAge': '3600000' } }));
    expect((await fetch(url)).status).toBe(200);
    await policy(deny('s3:GetObject', { NumericGreaterThan: { 's3:signatureAge': '30000' } }));
    expect((await fetch(url)).status).toBe(403);
  });

  it('that objects are made only where none is', async () => {
    const Condition = { Null: { 's3:if-none-match': 'true' }, Bool: { 's3:ObjectCreationOperation': 'true' } };
    await policy(deny('s3:PutObject', Condition));
    expect(await outcome(alice.send(put('a')))).toBe('AccessDenied');
    expect(await outcome(alice.send(put('a', { IfNoneMatch: '*' })))).toBe('ok');
    expect(await outcome(alice.send(initiate('b')))).toBe('ok');
  });

  it('whose bucket it is, and who asks', async () => {
    const Condition = { StringNotEquals: { 'aws:PrincipalAccount': '${aws:ResourceAccount}' } };
    await policy(allow(WRITING), deny('s3:PutObject', Condition));
    expect(await outcome(alice.send(put('a')))).toBe('ok');
    expect(await outcome(bob.send(put('a')))).toBe('AccessDenied');
  });
});

it('names the owner of the bucket for all objects where ACLs are off', async () => {
  await policy(allow(WRITING));
  await bob.send(put('bobs'));
  const owner = async (): Promise<string | undefined> =>
    (await alice.send(new ListObjectsCommand({ Bucket, Prefix: `${dir}/` }))).Contents?.[0]?.Owner?.ID;
  expect(await owner()).toBe(BOB.owner.id);
  await store.updateBucket(Bucket, (settings) => ({ ...settings, ownership: 'BucketOwnerEnforced' }));
  expect(await owner()).not.toBe(BOB.owner.id);
});

describe('rights beyond the first', () => {
  it('are the owner’s, with a policy of other things and without one', async () => {
    for (const rules of [[], [allow('s3:GetObject')], [deny('s3:PutBucketCORS')]]) {
      if (rules.length > 0) await policy(...rules);
      const acl = { ACL: 'public-read' as const };
      expect(await outcome(alice.send(put('a', { ...acl, Tagging: 'a=b' })))).toBe('ok');
      expect(await outcome(alice.send(copy('a', 'b', acl)))).toBe('ok');
      expect(await outcome(alice.send(initiate('c', { ...acl, Tagging: 'a=b' })))).toBe('ok');
      expect(await outcome(alice.send(rename('b', 'd')))).toBe('ok');
      expect(
        await outcome(alice.send(new GetObjectAttributesCommand({ ...at('a'), ObjectAttributes: ['ETag'] }))),
      ).toBe('ok');
    }
  });

  it('must be allowed to others', async () => {
    await alice.send(put('tagged', { Tagging: 'a=b' }));
    await policy(allow(WRITING));
    const attributes = new GetObjectAttributesCommand({ ...at('tagged'), ObjectAttributes: ['ETag'] });
    const asks = () => [
      bob.send(put('b', { ACL: 'public-read' })),
      bob.send(put('b', { Tagging: 'a=b' })),
      bob.send(copy('tagged', 'b')),
      bob.send(attributes),
    ];
    expect(await Promise.all(asks().map(outcome))).toEqual(Array(4).fill('AccessDenied'));
    await policy(allow([...WRITING, 's3:PutObjectAcl', 's3:*Tagging', 's3:GetObjectAttributes']));
    expect(await Promise.all(asks().map(outcome))).toEqual(Array(4).fill('ok'));
  });

  it('are allowed with the writing by a statement that fixes what the headers say', async () => {
    const tag = { StringEquals: { 's3:RequestObjectTag/level': 'open' } };
    await policy(allow('s3:PutObject', tag));
    expect(await outcome(bob.send(put('a', { Tagging: 'level=open' })))).toBe('ok');
    expect(await outcome(bob.send(put('a', { Tagging: 'level=shut' })))).toBe('AccessDenied');
    expect(await outcome(bob.send(put('a', { Tagging: 'level=open&other=1' })))).toBe('AccessDenied');
    await policy(allow('s3:PutObject', { StringEquals: { 's3:x-amz-acl': 'bucket-owner-full-control' } }));
    expect(await outcome(bob.send(put('b', { ACL: 'bucket-owner-full-control' })))).toBe('ok');
    expect(await outcome(bob.send(put('b', { ACL: 'public-read' })))).toBe('AccessDenied');
    await policy(allow('s3:PutObject', { StringNotEquals: { 's3:x-amz-acl': 'public-read' } }));
    expect(await outcome(bob.send(put('c', { ACL: 'authenticated-read' })))).toBe('AccessDenied');
  });

  it('go with the writing that an ACL allows, until a policy denies them', async () => {
    await alice.send(new PutBucketAclCommand({ Bucket, ACL: 'public-read-write' }));
    const own = put('a', { ACL: 'public-read', Tagging: 'a=b' });
    expect(await outcome(bob.send(own))).toBe('ok');
    expect(await post('b', { acl: 'public-read', tagging: tagXml('a', 'b') })).toBe(204);
    expect(await outcome(bob.send(new GetObjectAttributesCommand({ ...at('b'), ObjectAttributes: ['ETag'] })))).toBe(
      'ok',
    );
    await policy(deny('s3:PutObjectAcl'));
    expect(await outcome(bob.send(own))).toBe('AccessDenied');
    expect(await outcome(bob.send(new PutObjectAclCommand({ ...at('a'), ACL: 'private' })))).toBe('AccessDenied');
  });

  it('keep an ACL from a folder where none may be set, also by a rename', async () => {
    await alice.send(put('a', { ACL: 'public-read' }));
    await alice.send(put('b'));
    await policy({ ...deny('s3:PutObjectAcl'), Resource: `arn:aws:s3:::${Bucket}/${dir}/in/*` });
    expect(await outcome(alice.send(rename('a', 'in/a')))).toBe('AccessDenied');
    expect(await outcome(alice.send(rename('b', 'in/b')))).toBe('ok');
  });

  it('are refused before the body is sent', async () => {
    await policy(allow(WRITING), deny('s3:PutObjectTagging'));
    const headers = { 'x-amz-tagging': 'a=b', 'content-length': 10, expect: '100-continue' };
    const asking = request(`${url}/${Bucket}/${dir}/a`, { method: 'PUT', headers });
    asking.once('continue', () => asking.end('0123456789'));
    asking.flushHeaders();
    const [answer] = (await once(asking, 'response')) as [IncomingMessage];
    expect([answer.statusCode, asking.writableEnded]).toEqual([403, false]);
    asking.destroy();
  });
});
