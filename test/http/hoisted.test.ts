/** Headers in the query of a presigned URL, and what a policy is told of the connection. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { presignUrl } from '../../src/auth/presign.js';
import { withHoisted } from '../../src/http/hoisted.js';
import { codeOf, CREDENTIAL, roundTrip, signedRequest, startServer, type Fixture, type RawAnswer } from './harness.js';

let fixture: Fixture;
beforeEach(async () => {
  fixture = await startServer();
});
afterEach(() => fixture.server.close());

/** PUT of `body` by a URL presigned with these parameters in its query. */
async function putPresigned(
  parameters: Record<string, string>,
  body: string,
  change: (search: string) => string = (search) => search,
): Promise<RawAnswer> {
  const query = new URLSearchParams(parameters).toString().replaceAll('+', '%20');
  const url = presignUrl({
    method: 'PUT',
    url: `${fixture.origin}/photos/k?${query}`,
    credential: CREDENTIAL,
    region: 'us-east-1',
    expires: 60,
  });
  const { pathname, search, host } = new URL(url);
  const head = `PUT ${pathname}${change(search)} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${body.length}\r\n\r\n`;
  return roundTrip(fixture.port, head + body);
}

describe('presigned uploads', () => {
  it('take what the SDK for JavaScript signs when it has no body at hand', async () => {
    const sdk = { 'x-amz-checksum-crc32': 'AAAAAA==', 'x-amz-sdk-checksum-algorithm': 'CRC32', 'x-id': 'PutObject' };
    expect((await putPresigned(sdk, 'hello')).status).toBe(200);
    expect(fixture.store.objects.get('photos/k')?.toString()).toBe('hello');
    expect((await putPresigned(sdk, '')).status).toBe(200);
  });

  it('hold the body to a digest that was signed', async () => {
    const right = { 'X-Amz-Checksum-Crc32': 'NhCmhg==' };
    expect((await putPresigned(right, 'hello')).status).toBe(200);
    fixture.store.objects.clear();
    const wrong = await putPresigned(right, 'hellO');
    expect([wrong.status, codeOf(wrong)]).toEqual([400, 'BadDigest']);
    expect(fixture.store.objects.size).toBe(0);
  });

  it('take metadata, ACL and other headers from the query', async () => {
    for (const [name, value, code] of [
      ['x-amz-acl', 'nobody', 'InvalidArgument'],
      ['x-amz-storage-class', 'CLAY', 'InvalidStorageClass'],
      ['x-amz-tagging', 'a=1&a=2', 'InvalidArgument'],
      ['x-amz-meta-a', 'x'.repeat(3000), 'MetadataTooLarge'],
      ['x-amz-meta-a', 'x\r\nSet-Cookie: y', 'InvalidArgument'],
      // A copy, whatever the presigner meant by it: not an empty upload.
      ['x-amz-copy-source', 'nowhere', 'InvalidArgument'],
    ] as const) {
      const answer = await putPresigned({ [name]: value }, 'hello');
      expect([name, answer.status, codeOf(answer)]).toEqual([name, 400, code]);
    }
    expect((await putPresigned({ 'x-amz-meta-name': 'Käse', 'x-amz-acl': 'private' }, 'hello')).status).toBe(200);
  });

  it('cannot be changed after signing', async () => {
    const added = await putPresigned({}, 'hello', (search) => `${search}&x-amz-acl=public-read`);
    expect([added.status, codeOf(added)]).toEqual([403, 'SignatureDoesNotMatch']);
  });

  it('leave requests that are not presigned alone', async () => {
    const target = '/photos/k?x-amz-storage-class=CLAY';
    const answer = await roundTrip(
      fixture.port,
      `${signedRequest(fixture, 'PUT', target, {}, 'content-length: 1\r\n')}y`,
    );
    expect(answer.status).toBe(200);
  });
});

describe('withHoisted', () => {
  it('lets a header that was sent go first, and gives values as bytes of the wire', async () => {
    const headers = await withHoisted(
      { 'x-amz-acl': 'private', host: 'h' },
      new Map([
        ['X-Amz-Acl', 'public-read'],
        ['x-amz-meta-a', 'é'],
        ['x-amz-meta-__proto__', 'p'],
        ['X-Amz-Date', '20240101T000000Z'],
        ['prefix', 'x'],
      ]),
    );
    expect({ ...headers }).toEqual({
      'x-amz-acl': 'private',
      host: 'h',
      'x-amz-meta-a': 'Ã©',
      'x-amz-meta-__proto__': 'p',
    });
  });

  it('gives back the same headers if the query has none', async () => {
    const headers = { host: 'h' };
    expect(await withHoisted(headers, new Map([['X-Amz-Signature', 's']]))).toBe(headers);
  });
});

it('tells policies of TLS in front of it, and only from this machine', async () => {
  const policy = JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Deny',
        Principal: '*',
        Action: 's3:GetObject',
        Resource: 'arn:aws:s3:::photos/*',
        Condition: { Bool: { 'aws:SecureTransport': 'false' } },
      },
    ],
  });
  fixture.store.buckets.set('photos', { policy });
  fixture.store.objects.set('photos/k', Buffer.from('x'));
  const get = async (lines: string): Promise<number> =>
    (await roundTrip(fixture.port, signedRequest(fixture, 'GET', '/photos/k', {}, lines))).status;
  expect(await get('')).toBe(403);
  expect(await get('x-forwarded-proto: http\r\n')).toBe(403);
  // What a client wrote stands to the left of what the proxy added.
  expect(await get('x-forwarded-proto: https, http\r\n')).toBe(403);
  expect(await get('x-forwarded-proto: https\r\n')).toBe(200);
});
