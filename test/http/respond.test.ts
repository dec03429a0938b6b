/** White space that keeps a client waiting, and what may come behind it. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { S3Error } from '../../src/base/errors.js';
import { Exchange } from '../../src/http/exchange.js';
import { keepAlive, sendError, sendResult } from '../../src/http/respond.js';
import type { OpenObject } from '../../src/store/contract.js';
import { el } from '../../src/wire/xml.js';
import { roundTrip } from './harness.js';

let server: Server | undefined;
afterEach(() => server?.closeAllConnections());

async function answerOf(serve: (exchange: Exchange) => Promise<void>, method = 'POST') {
  server = createServer((request, response) => {
    void serve(new Exchange(request, response, { awaitsContinue: false, idleMs: 1000 }));
  });
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const answer = await roundTrip(port, `${method} /photos/k?uploadId=1 HTTP/1.1\r\nHost: x\r\n\r\n`, method === 'HEAD');
  server.close();
  return answer;
}

describe('keepAlive', () => {
  it('is followed by the result without a second declaration', async () => {
    const answer = await answerOf(async (exchange) => {
      keepAlive(exchange);
      keepAlive(exchange);
      await sendResult(exchange, {
        xml: el('CompleteMultipartUploadResult', [el('Key', 'k')]),
        headers: { ETag: '"late"' },
      });
    });
    expect(answer.status).toBe(200);
    expect(answer.body).toMatch(
      /^<\?xml version="1.0" encoding="UTF-8"\?>\n {2}<CompleteMultipartUploadResult [^>]*><Key>k</,
    );
  });

  it('is followed by the error document with status 200', async () => {
    const answer = await answerOf(async (exchange) => {
      keepAlive(exchange);
      await sendError(exchange, new S3Error('PreconditionFailed'), '/photos/k');
    });
    expect(answer.status).toBe(200);
    expect(answer.body.match(/<\?xml/g)).toHaveLength(1);
    expect(answer.body).toContain(' <Error><Code>PreconditionFailed</Code>');
  });
});

describe('sendError', () => {
  it('asks clients to slow down by Retry-After', async () => {
    const answer = await answerOf((exchange) => sendError(exchange, new S3Error('SlowDown'), '/photos/k'));
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1']);
  });

  it('turns a header that cannot be sent into an internal error, not a crash', async () => {
    const answer = await answerOf((exchange) =>
      sendResult(exchange, { headers: { 'x-amz-meta-a': 'snow ☃' } }).catch((error: unknown) =>
        sendError(exchange, error, '/'),
      ),
    );
    expect(answer.status).toBe(500);
    expect(answer.reason).toBe('Internal Server Error');
  });
});

describe('sendResult', () => {
  it.each(['GET', 'HEAD'])('sends the bytes of a Content-Disposition as they are: %s', async (method) => {
    const disposition = 'attachment; filename="日本 – é.txt"';
    const open = {
      read: (_start: number, _end: number, sink: (chunk: Buffer) => Promise<void>) => sink(Buffer.from('hello')),
      close: () => Promise.resolve(),
    } as unknown as OpenObject;
    const answer = await answerOf(
      (exchange) =>
        sendResult(exchange, {
          headers: { 'Content-Disposition': Buffer.from(disposition).toString('latin1'), 'Content-Length': '5' },
          object: { open, start: 0, end: 5 },
        }).catch((error: unknown) => sendError(exchange, error, '/')),
      method,
    );
    expect([answer.status, answer.body]).toEqual([200, method === 'GET' ? 'hello' : '']);
    expect(Buffer.from(answer.headers.get('content-disposition') ?? '', 'latin1').toString()).toBe(disposition);
  });
});
