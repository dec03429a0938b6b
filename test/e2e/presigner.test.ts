/** Links of @aws-sdk/s3-request-presigner, fetched by plain fetch as a browser or a script would. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Bench } from './harness.js';
import { ACCESS_KEY, bench, REGION, SECRET_KEY } from './harness.js';

const Bucket = 'box';
const WEEK = 7 * 24 * 3600;

describe('presigner of the AWS SDK for JavaScript', () => {
  let b: Bench;
  let s3: S3Client;
  const at = (...names: string[]): string => path.join(b.server.root, Bucket, ...names);
  const ago = (seconds: number): Date => new Date(Date.now() - seconds * 1000);
  const codeOf = async (answer: Response): Promise<string | undefined> =>
    /<Code>([^<]*)<\/Code>/.exec(await answer.text())?.[1];

  beforeAll(async () => {
    b = await bench({}, async (root) => {
      await mkdir(path.join(root, Bucket));
      await writeFile(path.join(root, Bucket, 'ünï & côdé+%41.txt'), 'meow');
    });
    s3 = new S3Client({
      endpoint: b.server.url,
      region: REGION,
      forcePathStyle: true,
      credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY },
    });
  });
  afterAll(async () => {
    s3.destroy();
    await b.end();
  });

  it('GET: any key, overrides, ranges; for no other key, no other method, no added header', async () => {
    const command = new GetObjectCommand({
      Bucket,
      Key: 'ünï & côdé+%41.txt',
      ResponseContentType: 'text/x-cat',
      ResponseContentDisposition: 'attachment; filename="c a t.txt"',
    });
    const url = await getSignedUrl(s3, command, { expiresIn: 60 });
    const answer = await fetch(url);
    expect([answer.status, await answer.text()]).toEqual([200, 'meow']);
    expect(answer.headers.get('content-type')).toBe('text/x-cat');
    expect(answer.headers.get('content-disposition')).toBe('attachment; filename="c a t.txt"');
    const range = await fetch(url, { headers: { range: 'bytes=1-2' } });
    expect([range.status, await range.text()]).toEqual([206, 'eo']);

    await writeFile(at('other.txt'), 'other');
    const other = await fetch(url.replace(/\/box\/[^?]*/, '/box/other.txt'));
    expect([other.status, await codeOf(other)]).toEqual([403, 'SignatureDoesNotMatch']);
    expect((await fetch(url, { method: 'DELETE' })).status).toBe(403);
    const header = await fetch(url, { headers: { 'x-amz-expected-bucket-owner': 'x' } });
    expect([header.status, await codeOf(header)]).toEqual([403, 'AccessDenied']);
    expect(await readFile(at('ünï & côdé+%41.txt'), 'utf8')).toBe('meow');
  });

  it('PUT: with a content type, signed or not, and with metadata', async () => {
    const put = new PutObjectCommand({ Bucket, Key: 'up/a.bin', ContentType: 'text/x-a', Metadata: { cat: 'tom' } });
    const url = await getSignedUrl(s3, put, { expiresIn: 60, signableHeaders: new Set(['content-type']) });
    expect(new URL(url).searchParams.get('X-Amz-SignedHeaders')).toContain('content-type');
    const wrong = await fetch(url, { method: 'PUT', body: 'bytes', headers: { 'content-type': 'text/x-b' } });
    expect([wrong.status, await codeOf(wrong)]).toEqual([403, 'SignatureDoesNotMatch']);
    const right = await fetch(url, { method: 'PUT', body: 'bytes', headers: { 'content-type': 'text/x-a' } });
    expect([right.status, await right.text()]).toEqual([200, '']);
    expect(await readFile(at('up', 'a.bin'), 'utf8')).toBe('bytes');
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'up/a.bin' }));
    expect([head.ContentType, head.Metadata]).toEqual(['text/x-a', { cat: 'tom' }]);

    // Without signableHeaders the presigner leaves the content type to whoever uploads.
    const free = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: 'up/b.bin' }), { expiresIn: 60 });
    const sent = await fetch(free, { method: 'PUT', body: 'free', headers: { 'content-type': 'text/x-free' } });
    expect([sent.status, await sent.text()]).toEqual([200, '']);
    expect((await s3.send(new HeadObjectCommand({ Bucket, Key: 'up/b.bin' }))).ContentType).toBe('text/x-free');
    expect(await readFile(at('up', 'b.bin'), 'utf8')).toBe('free');
  });

  it('PUT: signed headers must be sent', async () => {
    const put = new PutObjectCommand({ Bucket, Key: 'up/once.bin', IfNoneMatch: '*' });
    const url = await getSignedUrl(s3, put, { expiresIn: 60, unhoistableHeaders: new Set(['if-none-match']) });
    const headers = { 'if-none-match': '*' };
    expect((await fetch(url, { method: 'PUT', body: '1', headers })).status).toBe(200);
    const again = await fetch(url, { method: 'PUT', body: '2', headers });
    expect([again.status, await codeOf(again)]).toEqual([412, 'PreconditionFailed']);
    expect(await readFile(at('up', 'once.bin'), 'utf8')).toBe('1');
  });

  it('HEAD and DELETE', async () => {
    await writeFile(at('gone.txt'), 'gone');
    const head = await fetch(await getSignedUrl(s3, new HeadObjectCommand({ Bucket, Key: 'gone.txt' })), {
      method: 'HEAD',
    });
    expect([head.status, head.headers.get('content-length')]).toEqual([200, '4']);
    const url = await getSignedUrl(s3, new DeleteObjectCommand({ Bucket, Key: 'gone.txt' }));
    expect((await fetch(url, { method: 'DELETE' })).status).toBe(204);
    await expect(readFile(at('gone.txt'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('UploadPart: of no such upload', async () => {
    const part = new UploadPartCommand({ Bucket, Key: 'k', UploadId: 'nothing', PartNumber: 1 });
    const answer = await fetch(await getSignedUrl(s3, part), { method: 'PUT', body: 'x' });
    expect([answer.status, await codeOf(answer)]).toEqual([404, 'NoSuchUpload']);
  });

  it.each<[string, number, number, number, string?]>([
    ['seven days, new', WEEK, 0, 200],
    ['seven days, near their end', WEEK, WEEK - 60, 200],
    ['seven days, over', WEEK, WEEK + 1, 403, 'AccessDenied'],
    ['a minute, over', 60, 61, 403, 'AccessDenied'],
    ['made 20 minutes ahead of our clock', 3600, -20 * 60, 403, 'AccessDenied'],
  ])('expiry: %s', async (_name, expiresIn, age, status, code) => {
    await writeFile(at('dated.txt'), 'dated');
    const command = new GetObjectCommand({ Bucket, Key: 'dated.txt' });
    const answer = await fetch(await getSignedUrl(s3, command, { expiresIn, signingDate: ago(age) }));
    const text = await answer.text();
    expect([answer.status, /<Code>([^<]*)/.exec(text)?.[1]]).toEqual([status, code]);
    if (age > expiresIn) expect(text).toContain('<Message>Request has expired</Message>');
  });

  it('expiry: over seven days is refused, whoever signs it', async () => {
    const command = new GetObjectCommand({ Bucket, Key: 'dated.txt' });
    await expect(getSignedUrl(s3, command, { expiresIn: WEEK + 1 })).rejects.toThrow(/one week/);
    const url = (await getSignedUrl(s3, command, { expiresIn: WEEK })).replace('=604800', '=604801');
    const answer = await fetch(url);
    expect([answer.status, await codeOf(answer)]).toEqual([400, 'AuthorizationQueryParametersError']);
  });
});
