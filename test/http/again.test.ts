/** Requests that come again in the same words: answered as the first time, byte by byte, as long as all is as it was. */
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi, type MockInstance } from 'vitest';
import { presignUrl } from '../../src/auth/presign.js';
import { KnownRequests } from '../../src/http/again.js';
import type { BucketSettings } from '../../src/store/contract.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body } from '../suites/store/kit.js';
import { Connection, CREDENTIAL, OTHER, OWNER, signedRequest, startServer, type Fixture } from './harness.js';

const CONTENT = 'once and again, the very same';
const SOME_TIME = 1_700_000_000;

let root: string;
let store: LocalStore;
let fixture: Fixture;
/** ms by which it is later than it is. */
let later: number;
let answered: MockInstance<KnownRequests['answer']>;

/** Whether each request since was answered by what was known of it. */
function known(): boolean[] {
  return answered.mock.results.map(({ type, value }) => type === 'return' && value === true);
}

const file = (): string => join(root, 'photos/d/cat.txt');

beforeEach(async () => {
  const real = Date.now;
  later = 60_000;
  vi.spyOn(Date, 'now').mockImplementation(() => real() + later);
  answered = vi.spyOn(KnownRequests.prototype, 'answer');
  root = realpathSync(mkdtempSync(join(tmpdir(), 'gos3rve-again-')));
  mkdirSync(join(root, 'photos/d'), { recursive: true });
  writeFileSync(file(), CONTENT);
  utimesSync(file(), SOME_TIME, SOME_TIME);
  store = await openStore(root);
  await store.updateBucket('photos', () => ({ owner: OWNER }));
  fixture = await startServer({ store });
});
afterEach(async () => {
  await fixture.server.close();
  await store.close();
  vi.restoreAllMocks();
  rmSync(root, { recursive: true, force: true });
});

interface Asked {
  method?: string;
  query?: string;
  key?: string;
  /** Lines that are sent. */
  headers?: Record<string, string>;
  /** Headers that are sent, and signed. */
  signed?: Record<string, string>;
  credential?: typeof CREDENTIAL;
  expires?: number;
  version?: string;
  rest?: string;
}

/** The bytes of a request by presigned URL. */
function words({
  method = 'GET',
  query = '',
  key = 'd/cat.txt',
  headers,
  signed,
  version = '1.1',
  ...more
}: Asked): string {
  const { credential = CREDENTIAL, expires = 3600, rest = '' } = more;
  const url = `${fixture.origin}/photos/${key}${query}`;
  const target = presignUrl({
    method,
    url,
    credential,
    region: 'us-east-1',
    expires,
    ...(signed && { headers: signed }),
  });
  const lines = Object.entries({ Host: `127.0.0.1:${fixture.port}`, ...signed, ...headers });
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return `${method} ${target.slice(fixture.origin.length)} HTTP/${version}\r\n${head}\r\n${rest}`;
}

/** What comes back, without what differs each time. */
async function bytesOf(request: string): Promise<string> {
  const socket = connect({ port: fixture.port, host: '127.0.0.1' });
  await once(socket, 'connect');
  socket.write(request, 'latin1');
  let text = '';
  const whole = (): boolean => {
    const end = text.indexOf('\r\n\r\n');
    if (end < 0) return false;
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(text)?.[1] ?? 0);
    return request.startsWith('HEAD') || text.startsWith('HTTP/1.1 304') || text.length >= end + 4 + length;
  };
  try {
    while (!whole()) {
      const [chunk] = (await Promise.race([once(socket, 'data'), once(socket, 'close').then(() => [])])) as Buffer[];
      if (!chunk) break;
      text += chunk.toString('latin1');
    }
  } finally {
    socket.destroy();
  }
  return text
    .replace(/^(x-amz-request-id|Date): .*$/gim, '$1')
    .replace(/<RequestId>\w+/, '<RequestId>')
    .replace(/<ServerTime>[^<]*/, '<ServerTime>');
}

/** The same request three times. */
async function thrice(asked: Asked | string): Promise<string[]> {
  const request = typeof asked === 'string' ? asked : words(asked);
  return [await bytesOf(request), await bytesOf(request), await bytesOf(request)];
}

const DENY: BucketSettings['policy'] = JSON.stringify({
  Version: '2012-10-17',
  Statement: [{ Effect: 'Deny', Principal: '*', Action: 's3:GetObject', Resource: 'arn:aws:s3:::photos/*' }],
});

describe('is answered the same, by what is known of it:', () => {
  it.each<[string, Asked, RegExp]>([
    ['GET', {}, /^HTTP\/1.1 200 OK[^]*\n\r\nonce and again, the very same$/],
    ['HEAD', { method: 'HEAD' }, /^HTTP\/1.1 200 OK[^]*Content-Length: 29\r\n[^]*\r\n\r\n$/],
    ['a range', { headers: { Range: 'bytes=5-7' } }, /^HTTP\/1.1 206 [^]*Content-Range: bytes 5-7\/29[^]*\n\r\nand$/],
    ['the end', { headers: { Range: 'bytes=-4' } }, /^HTTP\/1.1 206 [^]*\n\r\nsame$/],
    ['a range of HEAD', { method: 'HEAD', headers: { Range: 'bytes=5-7' } }, /^HTTP\/1.1 206 /],
    ['several ranges', { headers: { Range: 'bytes=0-1,3-4' } }, /^HTTP\/1.1 200 /],
    ['a condition that holds', { headers: { 'If-None-Match': '"other"' } }, /^HTTP\/1.1 200 /],
    ['a date that holds', { headers: { 'If-Unmodified-Since': 'Wed, 21 Oct 2037 07:28:00 GMT' } }, /^HTTP\/1.1 200 /],
    ['If-Range of another', { headers: { Range: 'bytes=0-1', 'If-Range': '"other"' } }, /^HTTP\/1.1 200 /],
    ['overrides', { query: '?response-content-type=a%2Fb&response-expires=%C3%A9' }, /Content-Type: a\/b\r\n/],
    [
      'an odd file name',
      { query: '?response-content-disposition=%C3%A9%22' },
      /Content-Disposition: \u00c3\u00a9"\r\n/,
    ],
    ['the null version', { query: '?versionId=null' }, /^HTTP\/1.1 200 /],
    ['parameters unknown', { query: '?x-id=GetObject&v=1' }, /^HTTP\/1.1 200 /],
    ['a header that is signed', { signed: { 'x-amz-checksum-mode': 'ENABLED' } }, /^HTTP\/1.1 200 /],
    ['headers of a browser', { headers: { Accept: '*/*', Cookie: 'a=b', 'User-Agent': 'x' } }, /^HTTP\/1.1 200 /],
    ['HTTP/1.0', { version: '1.0' }, /Connection: close\r\n/],
    ['the last one', { headers: { Connection: 'close' } }, /Connection: close\r\n/],
  ])('%s', async (_, asked, like) => {
    // read as a whole once, and so at hand
    await bytesOf(words({ query: '?first' }));
    answered.mockClear();
    fixture.records.length = 0;
    const [first, second, third] = await thrice(asked);
    expect(first).toMatch(like);
    expect([second, third]).toEqual([first, first]);
    expect(known()).toEqual([false, true, true]);
    const records = fixture.records.map(({ requestId: _id, ms: _ms, ...rest }) => rest);
    expect(records[2]).toEqual(records[0]);
  });
});

describe('goes the whole way, each time:', () => {
  it.each<[string, Asked, RegExp]>([
    ['not modified', { headers: { 'If-Modified-Since': 'Wed, 21 Oct 2037 07:28:00 GMT' } }, /^HTTP\/1.1 304 /],
    ['a condition that does not hold', { headers: { 'If-Match': '"other"' } }, /^HTTP\/1.1 412 /],
    ['a range behind the end', { headers: { Range: 'bytes=100-' } }, /^HTTP\/1.1 416 /],
    ['another version', { query: '?versionId=abc' }, /^HTTP\/1.1 404 [^]*NoSuchVersion/],
    ['a part', { query: '?partNumber=1' }, /^HTTP\/1.1 206 /],
    ['no part', { query: '?partNumber=2' }, /^HTTP\/1.1 416 /],
    ['an override that no header can be', { query: '?response-expires=a%0Ab' }, /^HTTP\/1.1 400 /],
    [
      'a key of the client',
      { signed: { 'x-amz-server-side-encryption-customer-algorithm': 'AES256' } },
      /^HTTP\/1.1 400 /,
    ],
    ['a header that is not signed', { headers: { 'x-amz-meta-a': 'b' } }, /^HTTP\/1.1 403 [^]*HeadersNotSigned/],
    ['another owner', { credential: OTHER }, /^HTTP\/1.1 403 [^]*AccessDenied/],
    [
      'a key that is unknown',
      { credential: { ...CREDENTIAL, accessKey: 'AKIANOBODY' } },
      /^HTTP\/1.1 403 [^]*InvalidAccessKeyId/,
    ],
    [
      'the wrong secret',
      { credential: { ...CREDENTIAL, secretKey: 'wrong' } },
      /^HTTP\/1.1 403 [^]*SignatureDoesNotMatch/,
    ],
    ['nothing there', { key: 'd/dog.txt' }, /^HTTP\/1.1 404 [^]*NoSuchKey/],
    ['a browser elsewhere', { headers: { Origin: 'https://example.com' } }, /^HTTP\/1.1 200 /],
    ['a body', { headers: { 'Content-Length': '2' }, rest: 'hi' }, /^HTTP\/1.1 200 /],
    ['an owner expected', { signed: { 'x-amz-expected-bucket-owner': OWNER.id } }, /^HTTP\/1.1 200 /],
    [
      'another method',
      { method: 'PUT', headers: { 'Content-Length': '2' }, key: 'new', rest: 'hi' },
      /^HTTP\/1.1 200 /,
    ],
  ])('%s', async (_, asked, like) => {
    const [first, second, third] = await thrice(asked);
    expect(first).toMatch(like);
    expect([second, third]).toEqual([first, first]);
    expect(known()).toEqual([false, false, false]);
  });

  it('nobody', async () => {
    const request = `GET /photos/d/cat.txt HTTP/1.1\r\nHost: 127.0.0.1:${fixture.port}\r\n\r\n`;
    expect((await thrice(request)).map((text) => text.slice(9, 12))).toEqual(['403', '403', '403']);
    expect(known()).toEqual([false, false, false]);
  });

  it('what is signed in a header', async () => {
    const [first, second, third] = await thrice(signedRequest(fixture, 'GET', '/photos/d/cat.txt'));
    expect(first).toMatch(/^HTTP\/1.1 200 /);
    expect([second, third]).toEqual([first, first]);
    expect(known()).toEqual([false, false, false]);
  });
});

describe('is not answered by what was known, when', () => {
  let request: string;
  beforeEach(async () => {
    request = words({});
    await thrice(request);
    expect(known()).toEqual([false, true, true]);
    answered.mockClear();
  });
  const now = async (): Promise<string> => (await bytesOf(request)).replace(/\r\n[^]*\r\n\r\n/, '|');

  it('the file has changed', async () => {
    writeFileSync(file(), 'something else');
    expect(await now()).toBe('HTTP/1.1 200 OK|something else');
    expect(known()).toEqual([false]);
  });

  it('the file has gone', async () => {
    rmSync(file());
    expect(await now()).toMatch(/^HTTP\/1.1 404 /);
  });

  it('a client has put something there, or said something of it', async () => {
    await store.updateFacts('photos', 'd/cat.txt', (facts) => ({ ...facts, tags: [['a', 'b']] }));
    expect(await bytesOf(request)).toContain('x-amz-tagging-count: 1\r\n');
    await store.put('photos', 'd/cat.txt', body('put'), { facts: { contentType: 'a/b' } });
    expect(await bytesOf(request)).toMatch(/Content-Type: a\/b\r\n[^]*\r\n\r\nput$/);
  });

  it('another process has said something of it', async () => {
    const other = await openStore(root);
    try {
      await other.updateFacts('photos', 'd/cat.txt', (facts) => ({ ...facts, tags: [['a', 'b']] }));
      expect(await bytesOf(request)).toContain('x-amz-tagging-count: 1\r\n');
      await other.updateBucket('photos', () => ({ owner: OWNER, policy: DENY ?? '' }));
      expect(await now()).toMatch(/^HTTP\/1.1 403 /);
    } finally {
      await other.close();
    }
  });

  it('a policy denies it, until it does not any more', async () => {
    await store.updateBucket('photos', () => ({ owner: OWNER, policy: DENY ?? '' }));
    expect(await now()).toMatch(/^HTTP\/1.1 403 [^]*AccessDenied/);
    await store.updateBucket('photos', () => ({ owner: OWNER }));
    expect(await now()).toBe(`HTTP/1.1 200 OK|${CONTENT}`);
    expect(known()).toEqual([false, true]);
  });

  it('the bucket is another owner’s, or gone', async () => {
    await store.updateBucket('photos', () => ({ owner: OTHER.owner }));
    expect(await now()).toMatch(/^HTTP\/1.1 403 [^]*AccessDenied/);
    rmSync(join(root, 'photos'), { recursive: true });
    expect(await now()).toMatch(/^HTTP\/1.1 404 [^]*NoSuchBucket/);
  });

  it('the signature has expired, or is not valid yet', async () => {
    later += 3599_000;
    expect(await now()).toBe(`HTTP/1.1 200 OK|${CONTENT}`);
    later += 2_000;
    expect(await now()).toMatch(/^HTTP\/1.1 403 [^]*Request has expired/);
    later -= 2 * 3_600_000;
    expect(await now()).toMatch(/^HTTP\/1.1 403 [^]*Request is not yet valid/);
  });

  it('a letter of it is another one', async () => {
    const last = request.indexOf(' HTTP/1.1') - 1;
    const other = request[last] === '0' ? '1' : '0';
    const forged = request.slice(0, last) + other + request.slice(last + 1);
    expect(await bytesOf(forged)).toMatch(/^HTTP\/1.1 403 [^]*SignatureDoesNotMatch/);
    expect(await bytesOf(request.replace('Host: 127.0.0.1', 'Host: 127.0.0.2'))).toMatch(/^HTTP\/1.1 403 /);
    expect(await bytesOf(request.replace('GET', 'HEAD'))).toMatch(/^HTTP\/1.1 403 /);
    expect(known()).toEqual([false, false, false]);
  });
});

it('answers one after the other on one connection, others between them', async () => {
  const get = words({});
  const put = words({ method: 'PUT', headers: { 'Content-Length': '3' }, rest: 'put' });
  await thrice(get);
  const connection = new Connection(fixture.port);
  await once(connection.socket, 'connect');
  connection.send(get + get + put + get + get);
  const bodies: string[] = [];
  for (let i = 0; i < 5; i++) bodies.push((await connection.answer()).body);
  connection.destroy();
  expect(bodies).toEqual([CONTENT, CONTENT, '', 'put', 'put']);
  expect(fixture.server.underWay).toBe(0);
});
