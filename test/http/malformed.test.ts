/** What is no HTTP, or not enough of it: an S3 error, and a server that lives. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Connection, codeOf, roundTrip, signedLines, signedRequest, startServer, type Fixture } from './harness.js';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await startServer({ idleBodyMs: 300 });
});
afterAll(() => fixture.server.close());

async function expectAlive(): Promise<void> {
  const answer = await roundTrip(fixture.port, 'GET /.gos3rve/health HTTP/1.1\r\nHost: x\r\n\r\n');
  expect(answer.status).toBe(200);
}

describe('malformed requests', () => {
  it.each([
    ['no HTTP at all', 'hello\r\n\r\n', 'BadRequest'],
    ['a TLS hello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 'BadRequest'],
    ['an unknown method', 'FROB / HTTP/1.1\r\nHost: x\r\n\r\n', 'BadRequest'],
    ['another protocol version', 'GET / HTTP/9.9\r\nHost: x\r\n\r\n', 'BadRequest'],
    ['a space in a header name', 'GET / HTTP/1.1\r\nHost: x\r\nbad name: 1\r\n\r\n', 'BadRequest'],
    ['a NUL in a header', 'GET / HTTP/1.1\r\nHost: x\r\na: b\0c\r\n\r\n', 'BadRequest'],
    ['a negative length', 'PUT /photos/k HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n', 'BadRequest'],
    ['an empty length', 'PUT /photos/k HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\n', 'BadRequest'],
    [
      'two different lengths',
      'PUT /photos/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
      'BadRequest',
    ],
    [
      'length and chunked together',
      'PUT /photos/k HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      'BadRequest',
    ],
    ['no Host', 'GET / HTTP/1.1\r\n\r\n', 'BadRequest'],
    ['two Hosts', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 'BadRequest'],
    ['a Host that is none', 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n', 'BadRequest'],
    [
      'headers over 8 KiB',
      `GET / HTTP/1.1\r\nHost: x\r\nX-Big: ${'a'.repeat(9000)}\r\n\r\n`,
      'RequestHeaderSectionTooLarge',
    ],
    ['a target over 8 KiB', `GET /${'a'.repeat(9000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 'RequestHeaderSectionTooLarge'],
    ['a broken escape', 'GET /photos/a%zz HTTP/1.1\r\nHost: x\r\n\r\n', 'InvalidURI'],
    ['an overlong slash', 'GET /photos/a%c0%af HTTP/1.1\r\nHost: x\r\n\r\n', 'InvalidURI'],
    ['a slash in the bucket', 'GET /a%2fb/c HTTP/1.1\r\nHost: x\r\n\r\n', 'InvalidBucketName'],
    ['a bucket that is ..', 'GET /%2e%2e/c HTTP/1.1\r\nHost: x\r\n\r\n', 'InvalidBucketName'],
    ['no bucket before the key', 'GET //etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n', 'InvalidBucketName'],
    ['a broken query', 'GET /photos?prefix=%ff HTTP/1.1\r\nHost: x\r\n\r\n', 'InvalidURI'],
    ['a key over 1024 bytes', `GET /photos/${'k'.repeat(1025)} HTTP/1.1\r\nHost: x\r\n\r\n`, 'KeyTooLongError'],
  ])('%s is answered by 400 and XML', async (_, text, code) => {
    const answer = await roundTrip(fixture.port, Buffer.from(text, 'latin1'));
    expect([answer.status, codeOf(answer)]).toEqual([400, code]);
    expect(answer.headers.get('content-type')).toBe('application/xml');
    expect(answer.headers.get('x-amz-request-id')).toMatch(/^[0-9A-F]{16}$/);
    expect(answer.body).toContain(`<RequestId>${answer.headers.get('x-amz-request-id')}</RequestId>`);
    await expectAlive();
  });

  it('closes after headers that are too large, without a reset before the answer', async () => {
    const connection = new Connection(fixture.port);
    connection.send(`GET / HTTP/1.1\r\nHost: x\r\n${`X-Big: ${'a'.repeat(1000)}\r\n`.repeat(500)}\r\n`);
    expect(codeOf(await connection.answer())).toBe('RequestHeaderSectionTooLarge');
    await connection.closed();
    connection.destroy();
  });

  it('early FIN within a body: IncompleteBody, and the body of the handler throws', async () => {
    const connection = new Connection(fixture.port);
    connection.send(signedRequest(fixture, 'PUT', '/photos/cut', {}, 'content-length: 10\r\n') + 'abc');
    await new Promise((resolve) => setTimeout(resolve, 50));
    connection.socket.end();
    const answer = await connection.answer();
    expect([answer.status, codeOf(answer)]).toEqual([400, 'IncompleteBody']);
    expect(fixture.store.bodyErrors.at(-1)).toMatchObject({ code: 'IncompleteBody' });
    expect(fixture.store.objects.has('photos/cut')).toBe(false);
    connection.destroy();
  });

  it('a client that vanishes within a body leaves no object', async () => {
    const before = fixture.store.bodyErrors.length;
    const connection = new Connection(fixture.port);
    connection.send(signedRequest(fixture, 'PUT', '/photos/gone', {}, 'content-length: 10\r\n') + 'abc');
    await new Promise((resolve) => setTimeout(resolve, 50));
    connection.socket.resetAndDestroy();
    await expect.poll(() => fixture.store.bodyErrors.length).toBe(before + 1);
    expect(fixture.store.bodyErrors.at(-1)).toMatchObject({ code: 'IncompleteBody' });
    expect(fixture.store.objects.has('photos/gone')).toBe(false);
    await expect.poll(() => fixture.records.find((r) => r.url === '/photos/gone')?.status).toBe(499);
  });

  it('a broken chunk within a chunked body', async () => {
    const text = signedRequest(fixture, 'PUT', '/photos/chunks', {}, 'transfer-encoding: chunked\r\n');
    const answer = await roundTrip(fixture.port, `${text}3\r\nabc\r\nzz\r\n`);
    expect([answer.status, codeOf(answer)]).toEqual([400, 'BadRequest']);
    expect(fixture.store.objects.has('photos/chunks')).toBe(false);
  });

  it('silence within a body: RequestTimeout, and the connection closes', async () => {
    const connection = new Connection(fixture.port);
    connection.send(signedRequest(fixture, 'PUT', '/photos/slow', {}, 'content-length: 10\r\n') + 'abc');
    const answer = await connection.answer();
    expect([answer.status, codeOf(answer)]).toEqual([400, 'RequestTimeout']);
    expect(answer.headers.get('connection')).toBe('close');
    connection.socket.end();
    await connection.closed();
  });

  it('garbage behind a good request: the good one is answered', async () => {
    fixture.store.objects.set('photos/ok', Buffer.from('fine'));
    const connection = new Connection(fixture.port);
    connection.send(`${signedRequest(fixture, 'GET', '/photos/ok')}garbage\r\n\r\n`);
    expect(await connection.answer()).toMatchObject({ status: 200, body: 'fine' });
    await connection.closed();
    connection.destroy();
  });

  it('an upload without a length is asked for one', async () => {
    const answer = await roundTrip(fixture.port, signedRequest(fixture, 'PUT', '/photos/k'));
    expect([answer.status, codeOf(answer)]).toEqual([411, 'MissingContentLength']);
  });

  it('aws-chunked without the decoded length is asked for one', async () => {
    const lines = signedLines(fixture, 'PUT', '/photos/k', {}, 'STREAMING-UNSIGNED-PAYLOAD-TRAILER');
    const answer = await roundTrip(
      fixture.port,
      `PUT /photos/k HTTP/1.1\r\n${lines}content-length: 5\r\n\r\n0\r\n\r\n`,
    );
    expect([answer.status, codeOf(answer)]).toEqual([411, 'MissingContentLength']);
  });
});
