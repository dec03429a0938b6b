/** Malformed, oversized and broken requests: the error that S3 gives, at once, without memory growing; the process lives. */
import { mkdir, readdir } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Bench } from './harness.js';
import { bench, MiB, SECRET_KEY } from './harness.js';
import type { RawRequest, RawResponse } from './raw.js';
import { compose, frame, send, sendBytes, sign, signedChunks } from './raw.js';

describe('bad input', () => {
  let b: Bench;
  let banner = 0;
  const ask = (request: RawRequest): Promise<RawResponse> => send(b.server.port, request);
  const post = (body: string | Buffer, target = '/box?delete'): Promise<RawResponse> =>
    ask({ method: 'POST', target, body });

  beforeAll(async () => {
    b = await bench({}, async (root) => {
      await mkdir(path.join(root, 'box'));
    });
    banner = b.server.output().length;
    expect((await ask({ method: 'PUT', target: '/box/k', body: 'safe' })).status).toBe(200);
  });
  afterEach(async () => {
    // Whatever was sent: the process lives, the object is whole, no other has appeared.
    expect(b.server.alive()).toBe(true);
    const listed = await ask({ method: 'GET', target: '/box?list-type=2' });
    expect([...listed.body.matchAll(/<Key>([^<]*)</g)].map((match) => match[1])).toEqual(['k']);
    expect((await ask({ method: 'GET', target: '/box/k' })).body).toBe('safe');
    expect(await readdir(path.join(b.server.root, 'box'))).toEqual(['k']);
  });
  afterAll(async () => {
    expect(await b.server.stop()).toBe(0);
    await b.end();
  });

  describe('XML', () => {
    const key = '<Object><Key>nothing</Key></Object>';
    const entities = `<!DOCTYPE d [<!ENTITY a0 "ha">${Array.from({ length: 20 }, (_, n) => `<!ENTITY a${n + 1} "&a${n};&a${n};">`).join('')}]>`;
    const documents: [string, string | Buffer][] = [
      ['nothing', ''],
      ['no XML', 'hello'],
      ['JSON', '{"Objects":[{"Key":"k"}]}'],
      ['an open tag', `<Delete>${key}`],
      ['crossed tags', '<Delete><Object><Key>k</Object></Key></Delete>'],
      ['another root', `<Erase>${key}</Erase>`],
      ['two roots', `<Delete>${key}</Delete><Delete>${key}</Delete>`],
      ['no keys', '<Delete></Delete>'],
      ['a key without text element', '<Delete><Object></Object></Delete>'],
      ['more than 1,000 keys', `<Delete>${key.repeat(1001)}</Delete>`],
      [
        'broken UTF-8',
        Buffer.concat([
          Buffer.from('<Delete><Object><Key>'),
          Buffer.from([0xff, 0xfe, 0xc0]),
          Buffer.from('</Key></Object></Delete>'),
        ]),
      ],
      ['an unknown entity', '<Delete><Object><Key>&nbsp;</Key></Object></Delete>'],
      ['a DOCTYPE', `<!DOCTYPE Delete><Delete>${key}</Delete>`],
      [
        'an external entity',
        `<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&x;</Key></Object></Delete>`,
      ],
      ['a billion laughs', `${entities}<Delete><Object><Key>&a20;</Key></Object></Delete>`],
      ['depth 10,000', `<Delete>${'<a>'.repeat(10_000)}${'</a>'.repeat(10_000)}</Delete>`],
      ['depth 10,000, never closed', `<Delete>${'<a>'.repeat(10_000)}`],
    ];
    it.each(documents)('refuses %s', async (_what, body) => {
      const answer = await post(body);
      expect(answer.status, answer.raw).toBe(400);
      expect(['MalformedXML', 'MissingRequestBodyError', 'UserKeyMustBeSpecified'], answer.raw).toContain(answer.code);
    });

    it.each([
      ['/box/k?tagging', 'PUT', 'MalformedXML'],
      ['/box/k?uploadId=nothing', 'POST', 'NoSuchUpload|MalformedXML'],
      ['/new-bucket', 'PUT', 'MalformedXML'],
      ['/box?tagging', 'PUT', 'MalformedXML'],
    ])('refuses broken XML to %s', async (target, method, code) => {
      for (const body of ['<Tagging', '<!DOCTYPE x><x/>', '<a>'.repeat(5000)]) {
        const answer = await ask({ method, target, body });
        expect(answer.code ?? answer.raw).toMatch(new RegExp(`^(${code})$`));
      }
    });

    it('refuses 5 MiB and a million entities without growing', { timeout: 60_000 }, async () => {
      const huge = `<Delete>${'<Object><Key>k</Key></Object>'.repeat(Math.ceil((5 * MiB) / 29))}</Delete>`;
      const million = `<Delete><Object><Key>${'&amp;'.repeat(1_000_000)}</Key></Object></Delete>`;
      const references = `<Delete><Object><Key>${'&#65;'.repeat(700_000)}</Key></Object></Delete>`;
      for (const body of [huge, million, references]) await post(body);
      const start = await b.server.rssAnon();
      for (let round = 0; round < 6; round++) {
        for (const body of [huge, million, references]) {
          const began = Date.now();
          const answer = await post(body);
          expect(answer.status, answer.raw.slice(0, 300)).toBe(400);
          expect(['MalformedXML', 'MaxMessageLengthExceeded', 'KeyTooLongError', 'EntityTooLarge']).toContain(
            answer.code,
          );
          expect(Date.now() - began).toBeLessThan(3000);
        }
      }
      if (process.platform === 'linux') expect((await b.server.rssAnon()) - start).toBeLessThan(64 * MiB);
    });
  });

  describe('framing', () => {
    const head = 'PUT /box/new HTTP/1.1\r\nHost: x\r\n';
    it.each([
      ['two lengths', `${head}Content-Length: 3\r\nContent-Length: 5\r\n\r\nabc`],
      ['a list of lengths', `${head}Content-Length: 3, 5\r\n\r\nabc`],
      ['a negative length', `${head}Content-Length: -1\r\n\r\nabc`],
      ['a length that is no number', `${head}Content-Length: abc\r\n\r\nabc`],
      ['a length beyond 64 bits', `${head}Content-Length: 99999999999999999999999\r\n\r\nabc`],
      ['length and chunked', `${head}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`],
      ['chunked twice', `${head}Transfer-Encoding: chunked, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`],
      ['an unknown transfer encoding', `${head}Transfer-Encoding: gzip\r\n\r\nabc`],
      ['no request line', '\r\n\r\n\r\n\r\nnonsense\r\n\r\n'],
      ['another protocol', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
      ['a space in the target', 'GET /box/a b HTTP/1.1\r\nHost: x\r\n\r\n'],
      ['a folded header', 'GET /box/k HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n'],
      ['a header without a name', 'GET /box/k HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n'],
      ['a NUL in a header', 'GET /box/k HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n'],
      ['a method that nobody knows', 'BREW /box/k HTTP/1.1\r\nHost: x\r\n\r\n'],
      ['no Host', 'GET /box/k HTTP/1.1\r\n\r\n'],
      ['a target that is no path', 'GET box/k HTTP/1.1\r\nHost: x\r\n\r\n'],
      ['broken percent escapes', 'GET /box/%zz HTTP/1.1\r\nHost: x\r\n\r\n'],
    ])('refuses %s', async (_what, bytes) => {
      const answer = await sendBytes(b.server.port, Buffer.from(bytes, 'latin1'), { fin: true });
      expect(answer.status, answer.raw).toBeGreaterThanOrEqual(400);
      expect(answer.status, answer.raw).toBeLessThan(502);
    });

    it('refuses more than 8 KiB of headers', async () => {
      const answer = await ask({ method: 'GET', target: '/box/k', headers: { 'x-amz-meta-long': 'x'.repeat(9000) } });
      expect([answer.status, answer.code]).toEqual([400, 'RequestHeaderSectionTooLarge']);
    });

    it('refuses a target of 100 KiB', async () => {
      const answer = await ask({ method: 'GET', target: `/box/${'x'.repeat(100_000)}` });
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
    });

    it('demands a length', async () => {
      const answer = await ask({ method: 'PUT', target: '/box/new', payload: 'UNSIGNED-PAYLOAD' });
      expect([answer.status, answer.code]).toEqual([411, 'MissingContentLength']);
    });

    it('publishes nothing of a body that ends early', async () => {
      for (const size of [0, 1, 500]) {
        const request = {
          method: 'PUT',
          target: '/box/new',
          payload: 'UNSIGNED-PAYLOAD',
          headers: { 'content-length': '1000' },
        };
        const bytes = Buffer.concat([compose(b.server.port, request), Buffer.alloc(size, 'x')]);
        const answer = await sendBytes(b.server.port, bytes, { fin: true });
        if (answer.status !== 0) expect(answer.status, answer.raw).toBe(400);
      }
      for (const cut of ['GET', 'PUT /box/new HTTP/1.1\r\nHos', '']) await sendBytes(b.server.port, cut, { fin: true });
    });
  });

  describe('signatures', () => {
    const request = { method: 'PUT', target: '/box/new', body: 'PWNED' };
    it.each<[string, Partial<RawRequest>, number, string]>([
      ['another secret', { secretKey: 'wrong' }, 403, 'SignatureDoesNotMatch'],
      ['an unknown key', { accessKey: 'AKIAUNKNOWNUNKNOWN00' }, 403, 'InvalidAccessKeyId'],
      ['a clock 16 minutes behind', { now: Date.now() - 16 * 60_000 }, 403, 'RequestTimeTooSkewed'],
      ['a clock 16 minutes ahead', { now: Date.now() + 16 * 60_000 }, 403, 'RequestTimeTooSkewed'],
      ['the hash of another body', { payload: 'a'.repeat(64) }, 400, 'XAmzContentSHA256Mismatch'],
      ['a Content-MD5 of another body', { headers: { 'content-md5': 'rL0Y20zC+Fzt72VPzMSk2A==' } }, 400, 'BadDigest'],
      ['a Content-MD5 that is none', { headers: { 'content-md5': 'nonsense' } }, 400, 'InvalidDigest'],
      ['a checksum of another body', { headers: { 'x-amz-checksum-crc32': 'AAAAAA==' } }, 400, 'BadDigest'],
      ['a checksum that is none', { headers: { 'x-amz-checksum-crc32': 'xx' } }, 400, 'InvalidRequest'],
      ['SigV4A', { payload: 'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD' }, 501, 'NotImplemented'],
    ])('refuses %s', async (_what, change, status, code) => {
      const answer = await ask({ ...request, ...change });
      expect([answer.status, answer.code], answer.raw).toEqual([status, code]);
    });

    it('refuses anonymous, SigV2 and garbage', async () => {
      const length = { host: 'x', 'content-length': '5' };
      for (const authorization of [
        undefined,
        'AWS AKIAE2ETESTE2ETESTE2:c2ln',
        'AWS4-HMAC-SHA256',
        'Basic eDp5',
        'AWS4-HMAC-SHA256 Credential=/////, SignedHeaders=, Signature=',
      ]) {
        const headers = authorization === undefined ? length : { ...length, authorization };
        const answer = await sendBytes(b.server.port, frame(request, headers));
        expect([400, 403], answer.raw).toContain(answer.status);
      }
    });

    it('refuses a target that was changed after signing', async () => {
      const { headers } = sign(b.server.port, { method: 'GET', target: '/box/other' });
      for (const target of ['/box/k', '/box/k?versionId=null']) {
        const answer = await sendBytes(b.server.port, frame({ method: 'GET', target }, headers));
        expect([answer.status, answer.code]).toEqual([403, 'SignatureDoesNotMatch']);
      }
    });

    it('does not ask for the body of a request that it refuses', async () => {
      const spoiled = {
        ...request,
        body: '',
        payload: 'UNSIGNED-PAYLOAD',
        secretKey: 'wrong',
        headers: { expect: '100-continue', 'content-length': '1000000' },
      };
      const answer = await sendBytes(b.server.port, compose(b.server.port, spoiled));
      expect(answer.raw).not.toContain('100 Continue');
      expect([answer.status, answer.code]).toEqual([403, 'SignatureDoesNotMatch']);
    });
  });

  describe('aws-chunked', () => {
    const chunks = ['x'.repeat(8192), 'y'.repeat(8192), 'tail'];
    const decoded = chunks.join('').length;
    /** A chunked upload whose frames `spoil` has changed. */
    const upload = (spoil?: (frame: string, n: number) => string, announced = decoded): Promise<RawResponse> => {
      const request: RawRequest = {
        method: 'PUT',
        target: '/box/new',
        payload: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
        headers: { 'content-encoding': 'aws-chunked', 'x-amz-decoded-content-length': String(announced) },
      };
      const signed = sign(b.server.port, request);
      const body = signedChunks(signed, chunks, spoil);
      return sendBytes(b.server.port, frame({ ...request, body }, signed.headers));
    };

    it('takes a good one', async () => {
      expect((await upload()).status).toBe(200);
      expect((await ask({ method: 'GET', target: '/box/new' })).body).toBe(chunks.join(''));
      expect((await ask({ method: 'DELETE', target: '/box/new' })).status).toBe(204);
    });

    it.each<[string, (frame: string, n: number) => string]>([
      ['a changed byte', (frame, n) => (n === 1 ? frame.replace('y', 'z') : frame)],
      ['a changed signature', (frame, n) => (n === 2 ? frame.replace(/signature=../, 'signature=00') : frame)],
      [
        'a changed last signature',
        (frame, n) => (n === 3 ? frame.replace(/signature=.{8}/, 'signature=00000000') : frame),
      ],
      ['no signature', (frame, n) => (n === 0 ? frame.replace(/;chunk-signature=\w+/, '') : frame)],
      ['a size too small', (frame, n) => (n === 0 ? frame.replace(/^2000/, '1fff') : frame)],
      ['a size too large', (frame, n) => (n === 1 ? frame.replace(/^2000/, '2001') : frame)],
      ['a size that is no number', (frame, n) => (n === 1 ? frame.replace(/^2000/, 'zzzz') : frame)],
      ['a negative size', (frame, n) => (n === 1 ? frame.replace(/^2000/, '-200') : frame)],
      ['a size beyond 64 bits', (frame, n) => (n === 1 ? frame.replace(/^2000/, 'f'.repeat(32)) : frame)],
      ['no line break after a chunk', (frame, n) => (n === 0 ? frame.slice(0, -2) : frame)],
      ['a missing chunk', (frame, n) => (n === 1 ? '' : frame)],
      ['a missing last chunk', (frame, n) => (n === 3 ? '' : frame)],
      ['chunks in another order', (frame, n) => (n === 0 ? '' : frame)],
      ['an endless chunk header', (frame, n) => (n === 1 ? 'a'.repeat(100_000) : frame)],
      ['plain bytes', (frame, n) => (n === 0 ? 'hello' : '')],
      ['nothing', () => ''],
    ])('refuses %s', async (_what, spoil) => {
      const answer = await upload(spoil);
      expect([400, 403, 411], answer.raw).toContain(answer.status);
      expect(answer.code).toBeDefined();
    });

    it('refuses another decoded length', async () => {
      for (const announced of [decoded - 1, decoded + 1, 0]) {
        const answer = await upload(undefined, announced);
        expect([400, 403], answer.raw).toContain(answer.status);
      }
    });

    it('refuses a wrong trailer', async () => {
      for (const trailer of [
        'x-amz-checksum-crc32:AAAAAA==',
        'x-amz-checksum-crc32:nonsense',
        '',
        'x-amz-checksum-sha1:AAAA',
        'x'.repeat(70_000),
      ]) {
        const request: RawRequest = {
          method: 'PUT',
          target: '/box/new',
          payload: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
          headers: {
            'content-encoding': 'aws-chunked',
            'x-amz-decoded-content-length': '5',
            'x-amz-trailer': 'x-amz-checksum-crc32',
          },
        };
        const body = `5\r\nhello\r\n0\r\n${trailer}${trailer === '' ? '' : '\r\n'}\r\n`;
        const { headers } = sign(b.server.port, request);
        const answer = await sendBytes(b.server.port, frame({ ...request, body }, headers));
        expect(answer.status, `${trailer.slice(0, 40)}: ${answer.raw}`).toBe(400);
      }
    });
  });

  describe('values', () => {
    it.each<[string, Partial<RawRequest> & { target: string }, number, string]>([
      [
        'a key of 1,025 bytes',
        { method: 'PUT', target: `/box/${'é'.repeat(512).replaceAll('é', '%C3%A9')}x`, body: 'x' },
        400,
        'KeyTooLongError',
      ],
      [
        'metadata over 2 KiB',
        { method: 'PUT', target: '/box/new', body: 'x', headers: { 'x-amz-meta-a': 'x'.repeat(2100) } },
        400,
        'MetadataTooLarge',
      ],
      [
        'part number 0',
        { method: 'PUT', target: '/box/new?partNumber=0&uploadId=x', body: 'x' },
        400,
        'InvalidArgument',
      ],
      [
        'part number 10,001',
        { method: 'PUT', target: '/box/new?partNumber=10001&uploadId=x', body: 'x' },
        400,
        'InvalidArgument',
      ],
      ['a negative max-keys', { target: '/box?max-keys=-1' }, 400, 'InvalidArgument'],
      ['max-keys that is no number', { target: '/box?list-type=2&max-keys=many' }, 400, 'InvalidArgument'],
      [
        'an invalid continuation token',
        { target: '/box?list-type=2&continuation-token=%00%FF' },
        400,
        'InvalidArgument|InvalidURI',
      ],
      ['an unknown encoding', { target: '/box?list-type=2&encoding-type=rot13' }, 400, 'InvalidArgument'],
      ['a range out of the object', { target: '/box/k', headers: { range: 'bytes=100-' } }, 416, 'InvalidRange'],
      ['a bucket name that S3 forbids', { method: 'PUT', target: '/Not_A_Bucket' }, 400, 'InvalidBucketName'],
      ['an operation that is not supported', { target: '/box?analytics&id=x' }, 501, 'NotImplemented'],
      ['a method that does not fit', { method: 'POST', target: '/box/k' }, 405, 'MethodNotAllowed'],
      ['a version that is not there', { target: '/box/k?versionId=3HL4kqtJlcpXroDTDmJ' }, 404, 'NoSuchVersion'],
    ])('refuses %s', async (_what, request, status, code) => {
      const answer = await ask({ method: 'GET', ...request });
      expect(answer.status, answer.raw).toBe(status);
      expect(answer.code ?? '').toMatch(new RegExp(`^(${code})$`));
    });
  });

  it('has errors with the ids that its headers carry', async () => {
    const answer = await ask({ method: 'GET', target: '/box/none' });
    expect(answer.status).toBe(404);
    expect(answer.body).toContain(`<RequestId>${answer.headers['x-amz-request-id']}</RequestId>`);
    expect(answer.body).toContain(`<HostId>${answer.headers['x-amz-id-2']}</HostId>`);
    expect(answer.body).toContain('<Key>none</Key>');
    const head = await ask({ method: 'HEAD', target: '/box/none' });
    expect([head.status, head.body]).toEqual([404, '']);
  });

  it('never wrote a secret to its log', () => {
    // The banner may show the keys; what is logged afterwards may not.
    const logged = b.server.output().slice(banner);
    expect(logged.length).toBeGreaterThan(1000);
    expect(logged).not.toContain(SECRET_KEY);
    expect(logged).not.toMatch(/Signature=[0-9a-f]{64}/);
  });
});
