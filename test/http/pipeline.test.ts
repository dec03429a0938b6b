import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { presignUrl } from '../../src/auth/presign.js';
import {
  Connection,
  CREDENTIAL,
  OTHER,
  codeOf,
  roundTrip,
  signedLines,
  signedRequest,
  startServer,
  type Fixture,
} from './harness.js';

let fixture: Fixture;
beforeEach(async () => {
  fixture = await startServer();
});
afterEach(() => fixture.server.close());

describe('authentication and authorization', () => {
  it('refuses strangers, and a browser at the root', async () => {
    for (const target of ['/', '/photos', '/photos/cat.jpg']) {
      const answer = await roundTrip(fixture.port, `GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`);
      expect([target, answer.status, codeOf(answer)]).toEqual([target, 403, 'AccessDenied']);
    }
  });

  it('tells strangers nothing of what is supported', async () => {
    const answer = await roundTrip(fixture.port, 'GET /photos?inventory&id=1 HTTP/1.1\r\nHost: x\r\n\r\n');
    expect([answer.status, codeOf(answer)]).toEqual([403, 'AccessDenied']);
    const signed = await roundTrip(fixture.port, signedRequest(fixture, 'GET', '/photos?inventory&id=1'));
    expect([signed.status, codeOf(signed)]).toEqual([501, 'NotImplemented']);
  });

  it('takes the answer of a Lambda function for what it is, not for a form', async () => {
    const sent = signedRequest(fixture, 'POST', '/WriteGetObjectResponse', {
      'x-amz-request-route': 'r',
      'x-amz-request-token': 't',
    });
    const answer = await roundTrip(fixture.port, sent);
    expect([answer.status, codeOf(answer)]).toEqual([501, 'NotImplemented']);
  });

  it('refuses another owner', async () => {
    const lines = signedLines(fixture, 'GET', '/photos/cat.jpg', {}, undefined, OTHER);
    const answer = await roundTrip(fixture.port, `GET /photos/cat.jpg HTTP/1.1\r\n${lines}\r\n`);
    expect(answer.status).toBe(403);
  });

  it('answers health without credentials, and 503 when the store is away', async () => {
    const request = 'GET /.gos3rve/health HTTP/1.1\r\nHost: x\r\n\r\n';
    expect(await roundTrip(fixture.port, request)).toMatchObject({ status: 200, body: '{"status":"ok"}\n' });
    fixture.store.listBuckets = () => Promise.reject(new Error('gone'));
    expect((await roundTrip(fixture.port, request)).status).toBe(503);
  });

  it('refuses writes when read-only, and serves reads', async () => {
    await fixture.server.close();
    fixture = await startServer({ readOnly: true });
    fixture.store.objects.set('photos/k', Buffer.from('x'));
    const put = await roundTrip(
      fixture.port,
      `${signedRequest(fixture, 'PUT', '/photos/k', {}, 'content-length: 1\r\n')}y`,
    );
    expect([put.status, codeOf(put)]).toEqual([403, 'AccessDenied']);
    expect((await roundTrip(fixture.port, signedRequest(fixture, 'GET', '/photos/k'))).body).toBe('x');
  });

  it('keeps the causes of internal errors for the log', async () => {
    fixture.store.head = () => Promise.reject(new Error('/secret/path exploded'));
    const answer = await roundTrip(fixture.port, signedRequest(fixture, 'GET', '/photos/k'));
    expect([answer.status, codeOf(answer)]).toEqual([500, 'InternalError']);
    expect(answer.body).not.toContain('secret');
    expect(fixture.faults[0]?.data?.['error']).toMatchObject({ message: '/secret/path exploded' });
  });
});

describe('targets', () => {
  it('decodes the key once and normalises nothing', async () => {
    const cases: [string, string][] = [
      ['/photos/a/../b', 'a/../b'],
      ['/photos//a//b', '/a//b'],
      ['/photos/a%2Fb%252e', 'a/b%2e'],
      ['/photos/a+b%20c', 'a+b c'],
      ['/photos/%E2%82%AC', '€'],
    ];
    for (const [target, key] of cases) {
      const text = signedRequest(fixture, 'PUT', target, {}, 'content-length: 1\r\n');
      expect((await roundTrip(fixture.port, `${text}x`)).status).toBe(200);
      expect([...fixture.store.objects.keys()].at(-1)).toBe(`photos/${key}`);
    }
  });

  it('takes the bucket from the host under a base domain', async () => {
    await fixture.server.close();
    fixture = await startServer({ baseDomains: ['s3.test', 'test'] });
    fixture.store.objects.set('photos/a/b', Buffer.from('virtual'));
    const url = presignUrl({
      method: 'GET',
      url: `http://photos.s3.test:${fixture.port}/a/b`,
      credential: CREDENTIAL,
      region: 'us-east-1',
      expires: 60,
    });
    const { pathname, search, host } = new URL(url);
    const answer = await roundTrip(fixture.port, `GET ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    expect(answer).toMatchObject({ status: 200, body: 'virtual' });
    // An absolute-form target stands for the Host header.
    const absolute = await roundTrip(fixture.port, `GET ${url} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    expect(absolute).toMatchObject({ status: 200, body: 'virtual' });
  });
});

describe('100-continue', () => {
  const expectLine = 'expect: 100-continue\r\ncontent-length: 5\r\n';

  it('comes only after all checks, when the body is wanted', async () => {
    const connection = new Connection(fixture.port);
    connection.send(signedRequest(fixture, 'PUT', '/photos/k', {}, expectLine));
    expect((await connection.answer()).status).toBe(100);
    connection.send('hello');
    expect((await connection.answer()).status).toBe(200);
    expect(fixture.store.objects.get('photos/k')?.toString()).toBe('hello');
    connection.destroy();
  });

  it.each([
    ['no credentials', () => `PUT /photos/k HTTP/1.1\r\nHost: x\r\n${expectLine}\r\n`, 403],
    ['no such bucket', () => signedRequest(fixture, 'PUT', '/nothing/k', {}, expectLine), 404],
    [
      'a precondition that fails',
      () => signedRequest(fixture, 'PUT', '/photos/there', { 'if-none-match': '*' }, expectLine),
      412,
    ],
  ])('is not sent with %s; the connection closes', async (_, text, status) => {
    fixture.store.objects.set('photos/there', Buffer.from('old'));
    const connection = new Connection(fixture.port);
    connection.send(text());
    const answer = await connection.answer();
    expect(answer.status).toBe(status);
    expect(answer.headers.get('connection')).toBe('close');
    connection.socket.end();
    await connection.closed();
  });

  it('ignores expectations that it does not know', async () => {
    const text = signedRequest(fixture, 'PUT', '/photos/k', {}, 'expect: 200\r\ncontent-length: 1\r\n');
    expect((await roundTrip(fixture.port, `${text}x`)).status).toBe(200);
  });
});

describe('answers', () => {
  it('HEAD errors have no body, and the connection goes on', async () => {
    const connection = new Connection(fixture.port);
    connection.send(
      signedRequest(fixture, 'HEAD', '/photos/nothing') + signedRequest(fixture, 'GET', '/photos/nothing'),
    );
    const head = await connection.answer(true);
    expect([head.status, head.headers.get('content-type')]).toEqual([404, 'application/xml']);
    const get = await connection.answer();
    expect([get.status, codeOf(get)]).toEqual([404, 'NoSuchKey']);
    connection.destroy();
  });

  it('304 has validators and no body', async () => {
    fixture.store.objects.set('photos/k', Buffer.from('x'));
    const etag = `"${createHash('md5').update('x').digest('hex')}"`;
    const connection = new Connection(fixture.port);
    connection.send(signedRequest(fixture, 'GET', '/photos/k', { 'if-none-match': etag }));
    const answer = await connection.answer();
    expect([answer.status, answer.headers.get('etag')]).toEqual([304, etag]);
    connection.send(signedRequest(fixture, 'GET', '/photos/k'));
    expect((await connection.answer()).body).toBe('x');
    connection.destroy();
  });

  it('keeps the connection after an error with a small unread body', async () => {
    const connection = new Connection(fixture.port);
    connection.send(
      `${signedRequest(fixture, 'PUT', '/nothing/k', {}, 'content-length: 1000\r\n')}${'x'.repeat(1000)}`,
    );
    expect(codeOf(await connection.answer())).toBe('NoSuchBucket');
    connection.send(signedRequest(fixture, 'GET', '/'));
    expect((await connection.answer()).status).toBe(200);
    connection.destroy();
  });

  it('keeps the connection after a form that is refused while its file arrives', async () => {
    const connection = new Connection(fixture.port);
    const fields = '--B\r\nContent-Disposition: form-data; name="key"\r\n\r\nk\r\n';
    const file = `--B\r\nContent-Disposition: form-data; name="file"\r\n\r\n${'x'.repeat(150_000)}\r\n--B--\r\n`;
    const length = fields.length + file.length;
    const lines = ['host: x', 'content-type: multipart/form-data; boundary=B', `content-length: ${length}`];
    connection.send(`POST /photos HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${fields}${file.slice(0, 1000)}`);
    expect(codeOf(await connection.answer())).toBe('AccessDenied');
    connection.send(file.slice(1000));
    connection.send(signedRequest(fixture, 'GET', '/'));
    expect((await connection.answer()).status).toBe(200);
    connection.destroy();
  });

  it('lets a client that is still sending see the refusal, then closes', async () => {
    const connection = new Connection(fixture.port);
    const size = 20 * 1024 * 1024;
    connection.send(signedRequest(fixture, 'PUT', '/nothing/k', {}, `content-length: ${size}\r\n`));
    const piece = Buffer.alloc(256 * 1024);
    for (let sent = 0; sent < size; sent += piece.length) connection.send(piece);
    const answer = await connection.answer();
    expect([codeOf(answer), answer.headers.get('connection')]).toEqual(['NoSuchBucket', 'close']);
    connection.socket.end();
    await connection.closed();
  });

  it('answers a client that has closed its sending side', async () => {
    fixture.store.objects.set('photos/k', Buffer.from('x'));
    const connection = new Connection(fixture.port);
    connection.socket.end(signedRequest(fixture, 'GET', '/photos/k'));
    expect((await connection.answer()).body).toBe('x');
    await connection.closed();
  });
});

describe('object bodies', () => {
  it('streams with back-pressure: a buffer is not used again before it has left', async () => {
    const bytes = Buffer.alloc(8 * 1024 * 1024, 'abcdefgh-');
    fixture.store.objects.set('photos/big', bytes);
    const connection = new Connection(fixture.port);
    connection.socket.pause();
    connection.send(signedRequest(fixture, 'GET', '/photos/big'));
    await new Promise((resolve) => setTimeout(resolve, 200));
    connection.socket.resume();
    const answer = await connection.answer();
    expect(answer.body === bytes.toString('latin1')).toBe(true);
    expect([fixture.store.opened, fixture.store.closed]).toEqual([1, 1]);
    connection.destroy();
  });

  it('cuts the connection when the object turns out torn, and never ends it cleanly', async () => {
    fixture.store.objects.set('photos/torn', Buffer.alloc(1000));
    fixture.store.read = async (_start, _end, sink) => {
      await sink(Buffer.alloc(400));
      throw new Error('changed meanwhile');
    };
    const connection = new Connection(fixture.port);
    connection.send(signedRequest(fixture, 'GET', '/photos/torn'));
    const answer = await connection.answer();
    expect(answer.status).toBe(200);
    expect(answer.body.length).toBeLessThan(1000);
    await connection.closed();
    expect(fixture.store.closed).toBe(1);
    expect(fixture.faults).toHaveLength(1);
  });

  it('stops reading and closes the object when the client goes away', async () => {
    fixture.store.objects.set('photos/endless', Buffer.alloc(1));
    fixture.store.head = async (bucket, key) => ({
      bucket,
      key,
      size: 2 ** 40,
      etag: 'e',
      lastModified: 1e12,
      versionId: 'null',
      facts: {},
    });
    const piece = Buffer.alloc(65536);
    fixture.store.read = async (start, end, sink) => {
      for (let at = start; at < end; at += piece.length) await sink(piece);
    };
    const connection = new Connection(fixture.port);
    connection.send(signedRequest(fixture, 'GET', '/photos/endless'));
    await new Promise((resolve) => setTimeout(resolve, 100));
    connection.destroy();
    await expect.poll(() => fixture.store.closed).toBe(1);
    await expect.poll(() => fixture.records.at(-1)?.status).toBe(499);
    expect(fixture.faults).toEqual([]);
  });
});

describe('XML bodies', () => {
  const target = '/photos?delete';
  const xml = '<Delete><Object><Key>k</Key></Object></Delete>';

  it('checks Content-MD5', async () => {
    const headers = { 'content-md5': createHash('md5').update('other').digest('base64') };
    const text = signedRequest(fixture, 'POST', target, headers, `content-length: ${xml.length}\r\n`);
    expect(codeOf(await roundTrip(fixture.port, text + xml))).toBe('BadDigest');
  });

  it('checks the signed payload hash', async () => {
    const lines = signedLines(fixture, 'POST', target, {}, createHash('sha256').update('other').digest('hex'));
    const answer = await roundTrip(
      fixture.port,
      `POST ${target} HTTP/1.1\r\n${lines}content-length: ${xml.length}\r\n\r\n${xml}`,
    );
    expect(codeOf(answer)).toBe('XAmzContentSHA256Mismatch');
  });

  it('refuses more than 4 MiB before reading it', async () => {
    const text = signedRequest(fixture, 'POST', target, {}, `content-length: ${5 * 1024 * 1024}\r\n`);
    expect(codeOf(await roundTrip(fixture.port, text))).toBe('MaxMessageLengthExceeded');
  });

  it('refuses more than 4 MiB that was not announced', async () => {
    const connection = new Connection(fixture.port);
    connection.send(signedRequest(fixture, 'POST', target, {}, 'transfer-encoding: chunked\r\n'));
    const piece = 'x'.repeat(1024 * 1024);
    for (let i = 0; i < 5; i++) connection.send(`100000\r\n${piece}\r\n`);
    expect(codeOf(await connection.answer())).toBe('MaxMessageLengthExceeded');
    connection.destroy();
  });

  it('refuses what is no UTF-8', async () => {
    const text = signedRequest(fixture, 'POST', target, {}, 'content-length: 2\r\n');
    const answer = await roundTrip(fixture.port, Buffer.concat([Buffer.from(text), Buffer.from([0xc0, 0xaf])]));
    expect(codeOf(answer)).toBe('MalformedXML');
  });
});

describe('bodies that take their time', () => {
  it('are not for the next bucket of the name', async () => {
    const text = '<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>';
    const headers = { 'content-md5': createHash('md5').update(text).digest('base64') };
    const { buckets } = fixture.store;
    let updated = false;
    Object.assign(fixture.store, {
      updateBucket: () => {
        updated = true;
        return Promise.resolve({ name: 'photos', created: 0, settings: {} });
      },
    });
    const lines = signedLines(fixture, 'PUT', '/photos?tagging', headers, 'UNSIGNED-PAYLOAD');
    const connection = new Connection(fixture.port);
    connection.send(
      `PUT /photos?tagging HTTP/1.1\r\n${lines}Content-Length: ${text.length}\r\n\r\n${text.slice(0, 9)}`,
    );
    await new Promise((resolve) => setTimeout(resolve, 100));
    buckets.set('photos', { owner: { id: 'bob', displayName: 'Bob' } });
    connection.send(text.slice(9));
    const answer = await connection.answer();
    expect([answer.status, codeOf(answer), updated]).toEqual([403, 'AccessDenied', false]);
    connection.socket.destroy();
  });

  it('are stored only as they are sent, never compressed on the way', async () => {
    const lines = signedLines(fixture, 'PUT', '/photos/k', {}, 'UNSIGNED-PAYLOAD');
    const request = `PUT /photos/k HTTP/1.1\r\n${lines}Transfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n`;
    const answer = await roundTrip(fixture.port, request);
    expect([answer.status, codeOf(answer)]).toEqual([501, 'NotImplemented']);
    expect([...fixture.store.objects.keys()]).toEqual([]);
  });
});

describe('CORS', () => {
  beforeEach(() => {
    const rule = {
      allowedOrigins: ['https://app.test'],
      allowedMethods: ['GET'],
      allowedHeaders: ['*'],
      exposeHeaders: ['ETag'],
    };
    fixture.store.buckets.set('photos', { cors: [rule] });
  });

  it('answers preflights without credentials', async () => {
    const ask = (origin: string) =>
      `OPTIONS /photos/k HTTP/1.1\r\nHost: x\r\nOrigin: ${origin}\r\nAccess-Control-Request-Method: GET\r\n\r\n`;
    const answer = await roundTrip(fixture.port, ask('https://app.test'));
    expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([200, 'https://app.test']);
    expect((await roundTrip(fixture.port, ask('https://evil.test'))).status).toBe(403);
  });

  it('adds its headers to errors too', async () => {
    const answer = await roundTrip(
      fixture.port,
      signedRequest(fixture, 'GET', '/photos/nothing', {}, 'origin: https://app.test\r\n'),
    );
    expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([404, 'https://app.test']);
  });
});

describe('record', () => {
  it('says who did what', async () => {
    const text = signedRequest(fixture, 'PUT', '/photos/k', {}, 'content-length: 5\r\n');
    const answer = await roundTrip(fixture.port, `${text}hello`);
    await expect.poll(() => fixture.records.length).toBe(1);
    expect(fixture.records[0]).toMatchObject({
      requestId: answer.headers.get('x-amz-request-id'),
      method: 'PUT',
      url: '/photos/k',
      status: 200,
      bytesIn: 5,
      remote: '127.0.0.1',
      accessKey: 'AKIATEST',
      operation: 'PutObject',
    });
  });
});
