import { describe, expect, it } from 'vitest';
import fc from '../fast-check.js';
import { Keyring } from '../../src/auth/keyring.js';
import { presignUrl, signHeaders } from '../../src/auth/presign.js';
import { hmac, signingKey, stringToSign } from '../../src/auth/signature.js';
import { authenticate, type AuthOptions } from '../../src/auth/sigv4.js';
import type { SignedRequest } from '../../src/auth/types.js';
import { ALICE, BOB, EMPTY, keyring, NOW, refused, SCOPE } from './fixtures.js';

const OPTIONS: AuthOptions = { region: 'us-east-1', now: NOW };
const HOST = 'examplebucket.s3.amazonaws.com';

function authorization(names: string, signature: string): string {
  return `AWS4-HMAC-SHA256 Credential=${ALICE.accessKey}/${SCOPE},SignedHeaders=${names},Signature=${signature}`;
}

/** Amazon S3 API Reference, "Examples: Signature Calculations". */
const PUBLISHED: Record<string, SignedRequest> = {
  'GET object with Range': {
    method: 'GET',
    url: '/test.txt',
    headers: {
      host: HOST,
      range: 'bytes=0-9',
      'x-amz-content-sha256': EMPTY,
      'x-amz-date': '20130524T000000Z',
      authorization: authorization(
        'host;range;x-amz-content-sha256;x-amz-date',
        'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
      ),
    },
  },
  'PUT object whose name needs encoding': {
    method: 'PUT',
    url: '/test$file.text',
    headers: {
      host: HOST,
      date: 'Fri, 24 May 2013 00:00:00 GMT',
      'x-amz-date': '20130524T000000Z',
      'x-amz-storage-class': 'REDUCED_REDUNDANCY',
      'x-amz-content-sha256': '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072',
      authorization: authorization(
        'date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class',
        '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
      ),
    },
  },
  'GET bucket lifecycle': {
    method: 'GET',
    url: '/?lifecycle',
    headers: {
      host: HOST,
      'x-amz-date': '20130524T000000Z',
      'x-amz-content-sha256': EMPTY,
      authorization: authorization(
        'host;x-amz-content-sha256;x-amz-date',
        'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543',
      ),
    },
  },
  'list objects': {
    method: 'GET',
    url: '/?max-keys=2&prefix=J',
    headers: {
      host: HOST,
      'x-amz-date': '20130524T000000Z',
      'x-amz-content-sha256': EMPTY,
      authorization: authorization(
        'host;x-amz-content-sha256;x-amz-date',
        '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
      ),
    },
  },
};

/** Signed by botocore (S3SigV4Auth) at the same instant with the same key. */
const BOTOCORE: [method: string, url: string, headers: Record<string, string>, signature: string][] = [
  ['GET', '/photos/2024//a/../b.jpg', {}, 'bd5e0b982860eea1ef20ef6460e8be2aea79a7f2f42b41eeec2cb78a2e044106'],
  ['GET', '/photos/%C3%A9%20%2B%28x%29~-._', {}, '0f09a77b3d2e059cd5d056673150ebcc28cf2eed017a48b89b0898eb6b7a7708'],
  [
    'GET',
    '/photos?list-type=2&prefix=a%2Fb%20c&delimiter=%2F&encoding-type=url',
    {},
    '1414d71cfa95573d897312567df270cb6fa627366bd7893c79a07073c692a771',
  ],
  ['GET', '/photos?a-b=2&a=1&a=0&A=3&uploads', {}, '49e2ae8190c05d422d0ee0c134abc88e928d5a66f08348392dcf4d6052bf1421'],
  [
    'PUT',
    '/photos/k',
    { 'x-amz-meta-note': ' two   words\t', 'content-type': 'text/plain', 'x-amz-acl': 'private' },
    '4e20f5fee0719ed6baf3c194995b6e4489c0f0038fe344d811d8353594c1fbfe',
  ],
];

function fromBotocore([method, url, headers, signature]: (typeof BOTOCORE)[number]): SignedRequest {
  const all: Record<string, string> = {
    ...headers,
    host: '127.0.0.1:9000',
    'x-amz-date': '20130524T000000Z',
    'x-amz-content-sha256': EMPTY,
  };
  return {
    method,
    url,
    headers: { ...all, authorization: authorization(Object.keys(all).sort().join(';'), signature) },
  };
}

describe('signature in the Authorization header', () => {
  it.each(Object.entries(PUBLISHED))("verifies AWS's example: %s", (_, request) => {
    const result = authenticate(request, keyring(), OPTIONS);
    expect(result.identity).toEqual({ kind: 'user', accessKey: ALICE.accessKey, owner: ALICE.owner });
    expect(result.via).toBe('header');
    expect(result.payload).toEqual({ kind: 'sha256', hex: request.headers['x-amz-content-sha256'] });
  });

  it.each(BOTOCORE)('verifies what botocore signed: %s %s', (...row) => {
    expect(authenticate(fromBotocore(row), keyring(), OPTIONS).via).toBe('header');
  });

  it('verifies again, from remembered keys, and still refuses a tampered request', () => {
    const ring = keyring();
    const [request] = Object.values(PUBLISHED);
    if (request === undefined) throw new Error('no example');
    authenticate(request, ring, OPTIONS);
    expect(ring.recallScope(`${ALICE.accessKey}/${SCOPE}`)).toBeDefined();
    authenticate(request, ring, OPTIONS);
    refused('SignatureDoesNotMatch', () => authenticate({ ...request, url: '/test2.txt' }, ring, OPTIONS));
    refused('AuthorizationHeaderMalformed', () => authenticate(request, ring, { ...OPTIONS, region: 'eu-west-1' }));
  });

  it('does not remember a scope whose signature was wrong', () => {
    const ring = keyring();
    const request = tamper({ url: '/other' });
    refused('SignatureDoesNotMatch', () => authenticate(request, ring, OPTIONS));
    expect(ring.recallScope(`${ALICE.accessKey}/${SCOPE}`)).toBeUndefined();
  });

  it.each<[string, Partial<SignedRequest>, Record<string, string>]>([
    ['method', { method: 'DELETE' }, {}],
    ['path', { url: '/test.txt2' }, {}],
    ['an encoded slash is not a slash', { url: '%2Ftest.txt' }, {}],
    ['query', { url: '/test.txt?acl' }, {}],
    ['signed header', {}, { range: 'bytes=0-99' }],
    ['host', {}, { host: 'evil.example' }],
    ['payload hash', {}, { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }],
    ['later in the day', {}, { 'x-amz-date': '20130524T000001Z' }],
  ])('refuses a changed request: %s', (_, change, headers) => {
    const error = refused('SignatureDoesNotMatch', () => authenticate(tamper(change, headers), keyring(), OPTIONS));
    expect(error.data.AWSAccessKeyId).toBe(ALICE.accessKey);
    expect(error.data.StringToSign).toMatch(
      /^AWS4-HMAC-SHA256\n20130524T00000\dZ\n20130524\/us-east-1\/s3\/aws4_request\n/,
    );
    expect(error.data.CanonicalRequest).toContain('host;range;x-amz-content-sha256;x-amz-date');
    expect(JSON.stringify(error.data)).not.toContain(ALICE.secretKey);
  });

  it("keeps a client's encryption key out of the error document, be it a header or a parameter", () => {
    const names = 'host;x-amz-copy-source-server-side-encryption-customer-key;x-amz-date';
    const request: SignedRequest = {
      method: 'GET',
      url: '/k?a=1&X-Amz-Server-Side-Encryption-Customer-Ke%79=sesame&x=2',
      headers: {
        host: HOST,
        'x-amz-copy-source-server-side-encryption-customer-key': 'sesame',
        'x-amz-content-sha256': EMPTY,
        'x-amz-date': '20130524T000000Z',
        authorization: authorization(`${names};x-amz-content-sha256`, 'f0e8'),
      },
    };
    const { data } = refused('SignatureDoesNotMatch', () => authenticate(request, keyring(), OPTIONS));
    expect(data.CanonicalRequest).toMatch(/Customer-Key=REDACTED&.*customer-key:REDACTED\n/s);
    expect(JSON.stringify(data)).not.toContain('sesame');
  });

  it('accepts equal spellings of the path: literal, lower-case and needless escapes', () => {
    const [, put] = Object.values(PUBLISHED);
    if (put === undefined) throw new Error('no example');
    for (const url of ['/test%24file.text', '/%74est$file.text', '/test$file%2etext']) {
      expect(authenticate({ ...put, url }, keyring(), OPTIONS).via).toBe('header');
    }
  });

  it.each<[string, string | undefined, string]>([
    ['no comma list', 'AWS4-HMAC-SHA256 nonsense', 'three components'],
    ['no signature', `AWS4-HMAC-SHA256 Credential=a/${SCOPE}, SignedHeaders=host`, 'three components'],
    ['short credential', 'AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0', 'mal-formed'],
    ['other service', credentialOf('20130524/us-east-1/ec2/aws4_request'), 'service "ec2"'],
    ['other terminal', credentialOf('20130524/us-east-1/s3/aws5'), 'terminal "aws5"'],
    ['other day', credentialOf('20130523/us-east-1/s3/aws4_request'), '"20130523"'],
    ['no date', credentialOf('2013/us-east-1/s3/aws4_request'), '"2013"'],
    ['other region', credentialOf('20130524/eu-west-1/s3/aws4_request'), "expecting 'us-east-1'"],
  ])('refuses a malformed header: %s', (_, value, message) => {
    const request = tamper({}, { authorization: value ?? '' });
    expect(refused('AuthorizationHeaderMalformed', () => authenticate(request, keyring(), OPTIONS)).message).toContain(
      message,
    );
  });

  it('names the region to use, and takes any when told so', () => {
    const signed = signHeaders({
      method: 'GET',
      url: 'http://h/b',
      credential: ALICE,
      region: 'mars-1',
      now: NOW,
      payload: EMPTY,
    });
    const request = { method: 'GET', url: '/b', headers: signed.headers };
    const error = refused('AuthorizationHeaderMalformed', () => authenticate(request, keyring(), OPTIONS));
    expect(error.data.Region).toBe('us-east-1');
    expect(authenticate(request, keyring(), { ...OPTIONS, region: 'any' }).via).toBe('header');
  });

  it('refuses a key that it does not know', () => {
    const value = credentialOf(SCOPE).replace(ALICE.accessKey, 'AKIANOBODY');
    const request = tamper({}, { authorization: value });
    const error = refused('InvalidAccessKeyId', () => authenticate(request, keyring(), OPTIONS));
    expect(error.data.AWSAccessKeyId).toBe('AKIANOBODY');
  });

  it.each(['20130524T001501Z', '20130523T234459Z', 'Thu, 23 May 2013 23:44:59 GMT'])(
    'refuses a clock more than 15 minutes off: %s',
    (date) => {
      const request = tamper({}, { 'x-amz-date': date });
      const error = refused('RequestTimeTooSkewed', () => authenticate(request, keyring(), OPTIONS));
      expect(error.data).toEqual({
        RequestTime: date,
        ServerTime: '2013-05-24T00:00:00Z',
        MaxAllowedSkewMilliseconds: 900_000,
      });
    },
  );

  it.each([undefined, '', 'Bad Date', '20130532T000000Z', '20130524T000000', 'Fri, 24 May 1950 00:00:00 GMT'])(
    'refuses a date that is none: %s',
    (date) => {
      const request = tamper({}, { 'x-amz-date': date });
      refused('AccessDenied', () => authenticate(request, keyring(), OPTIONS));
    },
  );

  it('takes the Date header where x-amz-date is missing', () => {
    const names = 'date;host;x-amz-content-sha256';
    const headers = { date: 'Fri, 24 May 2013 00:00:00 GMT', host: 'h', 'x-amz-content-sha256': EMPTY };
    const canonical = `GET\n/b\n\ndate:${headers.date}\nhost:h\nx-amz-content-sha256:${EMPTY}\n\n${names}\n${EMPTY}`;
    const key = signingKey(ALICE.secretKey, '20130524', 'us-east-1');
    const signature = hmac(key, stringToSign('20130524T000000Z', SCOPE, canonical)).toString('hex');
    const request = {
      method: 'GET',
      url: '/b',
      headers: { ...headers, authorization: authorization(names, signature) },
    };
    expect(authenticate(request, keyring(), OPTIONS).via).toBe('header');
  });

  it('demands that host and every x-amz- header be signed', () => {
    const extra = refused('AccessDenied', () =>
      authenticate(tamper({}, { 'x-amz-acl': 'public-read', 'x-amz-meta-a': '1' }), keyring(), OPTIONS),
    );
    expect(extra.data.HeadersNotSigned).toBe('x-amz-acl, x-amz-meta-a');
    const value = credentialOf(SCOPE, 'x-amz-content-sha256;x-amz-date');
    const noHost = refused('AccessDenied', () =>
      authenticate(tamper({}, { authorization: value }), keyring(), OPTIONS),
    );
    expect(noHost.data.HeadersNotSigned).toBe('host');
  });

  it.each([
    ['InvalidRequest', undefined],
    ['InvalidArgument', 'abc'],
    ['NotImplemented', 'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD'],
  ] as const)('%s for x-amz-content-sha256: %s', (code, value) => {
    refused(code, () => authenticate(tamper({}, { 'x-amz-content-sha256': value }), keyring(), OPTIONS));
  });

  it('refuses session tokens until they exist', () => {
    const request = tamper({}, { 'x-amz-security-token': 'token' });
    refused('InvalidToken', () => authenticate(request, keyring(), OPTIONS));
  });

  it('verifies whatever signHeaders signs, in any bytes', () => {
    const text = fc.string({ unit: 'binary', maxLength: 20 });
    const query = fc.array(fc.tuple(text, text), { maxLength: 4 });
    const ring = keyring();
    fc.assert(
      fc.property(text, query, fc.stringMatching(/^[ -~\t]{0,20}$/), (key, pairs, note) => {
        const target = `/b/${encodeURIComponent(key)}${pairs.length > 0 ? '?' : ''}${pairs
          .map(([n, v]) => `${encodeURIComponent(n)}=${encodeURIComponent(v)}`)
          .join('&')}`;
        const { headers } = signHeaders({
          method: 'PUT',
          url: `http://h:1${target}`,
          credential: ALICE,
          region: 'r',
          now: NOW,
          headers: { 'X-Amz-Meta-Note': note },
        });
        const request = { method: 'PUT', url: target, headers };
        expect(authenticate(request, ring, { region: 'any', now: NOW }).via).toBe('header');
        refused('SignatureDoesNotMatch', () =>
          authenticate({ ...request, url: `${target}${pairs.length > 0 ? '&' : '?'}zz` }, ring, {
            region: 'any',
            now: NOW,
          }),
        );
      }),
      { numRuns: 60 },
    );
  });
});

function credentialOf(scope: string, names = 'host;range;x-amz-content-sha256;x-amz-date'): string {
  return `AWS4-HMAC-SHA256 Credential=${ALICE.accessKey}/${scope}, SignedHeaders=${names}, Signature=${'0'.repeat(64)}`;
}

/** AWS's GET example, changed. */
function tamper(change: Partial<SignedRequest>, headers: Record<string, string | undefined> = {}): SignedRequest {
  const example = PUBLISHED['GET object with Range'];
  if (example === undefined) throw new Error('no example');
  return { ...example, ...change, headers: { ...example.headers, ...headers } };
}

describe('signature in the query', () => {
  const published =
    '/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request' +
    '&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host' +
    '&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404';
  const get = (url: string, headers: Record<string, string> = {}): SignedRequest => ({
    method: 'GET',
    url,
    headers: { host: HOST, ...headers },
  });

  it("verifies AWS's example, and makes the same URL", () => {
    const result = authenticate(get(published), keyring(), OPTIONS);
    expect(result).toMatchObject({
      via: 'query',
      payload: { kind: 'unsigned' },
      identity: { accessKey: ALICE.accessKey },
    });
    const url = presignUrl({
      method: 'GET',
      url: `https://${HOST}/test.txt`,
      credential: ALICE,
      region: 'us-east-1',
      now: NOW,
      expires: 86_400,
    });
    expect(url).toBe(`https://${HOST}${published}`);
  });

  it.each([
    [
      '/photos?list-type=2&prefix=a%2Fb%20c&delimiter=%2F&encoding-type=url',
      'e4732af52874ec15bffe391b5a938b9eb0e8dd1b2e6f2888a1d41c3c954f9805',
    ],
    ['/photos?a-b=2&a=1&A=3&uploads=', 'dd8c4f408dc01b695043285de72569ecd8ea7290c86e84d58e61c8c9e34703df'],
    ['/photos/2024//a/../b.jpg?', 'f0058f2fa018ac3c3a198bb5e1e61a476e4d2d1fa8b3424971e453983731e4bb'],
  ])('verifies what botocore presigned: %s', (target, signature) => {
    const rest = published
      .slice(published.indexOf('?') + 1)
      .replace('86400', '900')
      .replace(/[0-9a-f]{64}$/, signature);
    const url = `${target}${target.endsWith('?') ? '' : '&'}${rest}`;
    expect(authenticate(get(url, { host: '127.0.0.1:9000' }), keyring(), OPTIONS).via).toBe('query');
  });

  it('expires', () => {
    const last = NOW + 86_400_000;
    expect(authenticate(get(published), keyring(), { ...OPTIONS, now: last }).via).toBe('query');
    const error = refused('AccessDenied', () =>
      authenticate(get(published), keyring(), { ...OPTIONS, now: last + 1000 }),
    );
    expect(error.message).toBe('Request has expired');
    expect(error.data).toEqual({
      'X-Amz-Expires': 86_400,
      Expires: '2013-05-25T00:00:00Z',
      ServerTime: '2013-05-25T00:00:01Z',
    });
    const early = refused('AccessDenied', () =>
      authenticate(get(published), keyring(), { ...OPTIONS, now: NOW - 901_000 }),
    );
    expect(early.message).toBe('Request is not yet valid');
  });

  it.each<[string, (url: string) => string, string]>([
    ['no date', (url) => url.replace(/&X-Amz-Date=[^&]*/, ''), 'requires the X-Amz-Algorithm'],
    ['no signed headers', (url) => url.replace(/&X-Amz-SignedHeaders=[^&]*/, ''), 'requires the X-Amz-Algorithm'],
    ['no signature', (url) => url.replace(/&X-Amz-Signature=.*/, ''), 'requires the X-Amz-Algorithm'],
    ['algorithm', (url) => url.replace('HMAC-SHA256', 'HMAC-MD5'), 'X-Amz-Algorithm only supports'],
    ['date', (url) => url.replace('20130524T000000Z', '2013-05-24'), 'ISO8601'],
    ['expires no number', (url) => url.replace('86400', '1d'), 'should be a number'],
    ['expires negative', (url) => url.replace('86400', '-1'), 'non-negative'],
    ['expires over a week', (url) => url.replace('86400', '604801'), 'less than a week'],
    ['other region', (url) => url.replace('us-east-1', 'mars-1'), "the region 'mars-1' is wrong"],
    ['other day', (url) => url.replace('%2F20130524', '%2F20130523'), 'Invalid credential date'],
    ['short credential', (url) => url.replace('%2Fus-east-1', ''), 'mal-formed'],
  ])('refuses malformed parameters: %s', (_, change, message) => {
    const request = get(change(published));
    expect(
      refused('AuthorizationQueryParametersError', () => authenticate(request, keyring(), OPTIONS)).message,
    ).toContain(message);
  });

  it('refuses changes, unsigned x-amz- headers and expiry after 0 s', () => {
    refused('SignatureDoesNotMatch', () => authenticate(get(`${published}&versionId=1`), keyring(), OPTIONS));
    refused('SignatureDoesNotMatch', () => authenticate({ ...get(published), method: 'PUT' }, keyring(), OPTIONS));
    refused('SignatureDoesNotMatch', () => authenticate(get(published.replace('86400', '604800')), keyring(), OPTIONS));
    const error = refused('AccessDenied', () =>
      authenticate(get(published, { 'x-amz-acl': 'private' }), keyring(), OPTIONS),
    );
    expect(error.data.HeadersNotSigned).toBe('x-amz-acl');
    refused('AccessDenied', () => authenticate(get(published.replace('86400', '0')), keyring(), OPTIONS));
  });

  it('is checked each time, also of a URL that was right before', () => {
    const ring = keyring();
    const first = authenticate(get(published), ring, OPTIONS);
    expect(authenticate(get(published), ring, OPTIONS)).toEqual(first);
    const later = (seconds: number): { region: string; now: number } => ({ ...OPTIONS, now: NOW + seconds * 1000 });
    expect(authenticate(get(published), ring, later(86_400))).toEqual(first);
    refused('AccessDenied', () => authenticate(get(published), ring, later(86_401)));
    refused('AccessDenied', () => authenticate(get(published), ring, later(-901)));
    refused('AccessDenied', () => authenticate(get(published, { 'x-amz-acl': 'private' }), ring, OPTIONS));
    refused('SignatureDoesNotMatch', () => authenticate(get(published, { host: 'other' }), ring, OPTIONS));
    refused('SignatureDoesNotMatch', () => authenticate({ ...get(published), method: 'PUT' }, ring, OPTIONS));
    refused('SignatureDoesNotMatch', () => authenticate(get(`${published}&x=1`), ring, OPTIONS));
    refused('SignatureDoesNotMatch', () => authenticate(get(published.replace('aeee', 'beee')), ring, OPTIONS));
    refused('InvalidArgument', () => authenticate(get(published, { authorization: 'Bearer x' }), ring, OPTIONS));
    refused('InvalidToken', () => authenticate(get(published, { 'x-amz-security-token': 't' }), ring, OPTIONS));
    refused('InvalidAccessKeyId', () => authenticate(get(published), new Keyring([BOB]), OPTIONS));
  });

  it('takes signed headers and a signed payload hash', () => {
    const headers = { 'x-amz-content-sha256': EMPTY, 'content-type': 'text/plain' };
    const url = presignUrl({
      method: 'PUT',
      url: 'http://h/b/k',
      credential: ALICE,
      region: 'r',
      now: NOW,
      expires: 60,
      headers,
    });
    const request = { method: 'PUT', url: url.slice('http://h'.length), headers: { host: 'h', ...headers } };
    expect(authenticate(request, keyring(), { region: 'any', now: NOW }).payload).toEqual({
      kind: 'sha256',
      hex: EMPTY,
    });
    refused('SignatureDoesNotMatch', () =>
      authenticate({ ...request, headers: { ...request.headers, 'content-type': 'text/html' } }, keyring(), {
        region: 'any',
        now: NOW,
      }),
    );
  });
});

describe('other ways, and none', () => {
  const bare = (headers: Record<string, string>, url = '/b/k'): SignedRequest => ({
    method: 'GET',
    url,
    headers: { host: 'h', ...headers },
  });
  const date = { 'x-amz-date': '20130524T000000Z' };

  it('is anonymous without credentials', () => {
    expect(authenticate(bare({}), keyring(), OPTIONS)).toEqual({
      identity: { kind: 'anonymous' },
      payload: { kind: 'unsigned' },
      via: 'none',
    });
    expect(authenticate(bare({ authorization: '' }), keyring(), OPTIONS).via).toBe('none');
    const trailer = bare({ 'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER' });
    expect(authenticate(trailer, keyring(), OPTIONS).payload).toEqual({ kind: 'chunked', trailer: true });
    const signedChunks = bare({ 'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD' });
    refused('InvalidRequest', () => authenticate(signedChunks, keyring(), OPTIONS));
  });

  it('takes bearer tokens', () => {
    const result = authenticate(bare({ authorization: 'Bearer alice-token' }), keyring(), OPTIONS);
    expect(result).toMatchObject({ via: 'bearer', identity: { accessKey: ALICE.accessKey } });
    refused('InvalidToken', () => authenticate(bare({ authorization: 'Bearer alice-toke' }), keyring(), OPTIONS));
    refused('InvalidToken', () => authenticate(bare({ authorization: 'Bearer' }), keyring(), OPTIONS));
  });

  it('refuses Signature Version 2 and others by name', () => {
    const v2 = refused('InvalidRequest', () =>
      authenticate(bare({ ...date, authorization: 'AWS AKIABOB:c2lnbmF0dXJl' }), keyring(), OPTIONS),
    );
    expect(v2.message).toContain('Please use AWS4-HMAC-SHA256');
    refused('InvalidRequest', () =>
      authenticate(bare({}, '/b?AWSAccessKeyId=AKIABOB&Expires=1&Signature=x'), keyring(), OPTIONS),
    );
    refused('InvalidArgument', () => authenticate(bare({ ...date, authorization: 'AWS HAHAHA' }), keyring(), OPTIONS));
    refused('AccessDenied', () => authenticate(bare({ authorization: 'AWS a:b' }), keyring(), OPTIONS));
    refused('NotImplemented', () =>
      authenticate(bare({ ...date, authorization: 'AWS4-ECDSA-P256-SHA256 Credential=x' }), keyring(), OPTIONS),
    );
    const basic = refused('InvalidArgument', () =>
      authenticate(bare({ authorization: 'Basic c2VjcmV0' }), keyring(), OPTIONS),
    );
    expect(JSON.stringify([basic.message, basic.data])).not.toContain('c2VjcmV0');
  });

  it('refuses two mechanisms at once', () => {
    refused('InvalidArgument', () =>
      authenticate(bare({ authorization: 'Bearer alice-token' }, '/b?X-Amz-Signature=0'), keyring(), OPTIONS),
    );
  });
});
