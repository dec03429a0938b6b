import { createHmac } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeliveryError, Sender, retryAfter } from '../../../src/jobs/events/send.js';
import type { EventTarget } from '../../../src/jobs/events/targets.js';

interface Got {
  headers: IncomingHttpHeaders;
  body: string;
}

let server: Server;
let got: Got[];
let answer: (response: ServerResponse) => void;
let sender: Sender;
let url: string;

beforeEach(async () => {
  got = [];
  answer = (response) => response.writeHead(204).end();
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      got.push({ headers: request.headers, body: Buffer.concat(chunks).toString() });
      answer(response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/a/secret/path`;
  sender = new Sender();
});
afterEach(async () => {
  await sender.close();
  server.closeAllConnections();
  server.close();
});

const target = (more: Partial<EventTarget> = {}): EventTarget => ({ name: 'hook', url, timeout: 300, ...more });
async function failure(done: Promise<void>): Promise<DeliveryError> {
  const error: unknown = await done.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof DeliveryError)) throw new Error('it was sent');
  return error;
}

describe('a message to a webhook', () => {
  it('is JSON by POST, unsigned without a secret', async () => {
    await sender.send(target({ authorization: 'Bearer x' }), { Records: [] });
    expect(got[0]).toMatchObject({
      body: '{"Records":[]}',
      headers: { 'content-type': 'application/json', authorization: 'Bearer x' },
    });
    expect(got[0]?.headers['x-gos3rve-signature']).toBeUndefined();
  });

  it('is signed with its time', async () => {
    await sender.send(target({ secret: 'ß secret' }), { a: 'ü' });
    const [, time = '', given] =
      /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(got[0]?.headers['x-gos3rve-signature'])) ?? [];
    expect(given).toBe(createHmac('sha256', 'ß secret').update(`${time}.{"a":"ü"}`).digest('hex'));
    expect(Math.abs(Number(time) - Date.now() / 1000)).toBeLessThan(60);
  });

  it.each([
    [400, false],
    [413, false],
    [422, false],
    [302, true],
    [401, true],
    [404, true],
    [429, true],
    [500, true],
    [503, true],
  ])('fails by %i; of the target itself: %s', async (status, down) => {
    answer = (response) => response.writeHead(status, { location: '/elsewhere' }).end('no');
    const error = await failure(sender.send(target(), {}));
    expect(error.down).toBe(down);
    expect(error.message).toBe(`it answered ${status}`);
    expect(got).toHaveLength(1);
  });

  it('hears for how long to wait', async () => {
    answer = (response) => response.writeHead(503, { 'retry-after': '120' }).end();
    expect((await failure(sender.send(target(), {}))).retryAfter).toBe(120_000);
  });

  it.each([
    ['nobody is there', () => new Promise<void>((resolve) => server.close(() => resolve()))],
    ['it hangs', () => (answer = () => undefined)],
    ['it hangs up', () => (answer = (response) => response.destroy())],
  ])('fails if %s, and names no path', async (_what, prepare) => {
    await prepare();
    const error = await failure(sender.send(target(), {}));
    expect(error.down).toBe(true);
    expect(error.message).not.toContain('secret');
  });

  it('ends in time although the body of the answer never does', async () => {
    answer = (response) => void response.writeHead(200).write('x');
    const began = Date.now();
    await sender.send(target(), {});
    expect(Date.now() - began).toBeLessThan(5000);
  });

  it('is ended by a stop', async () => {
    answer = () => undefined;
    const abort = new AbortController();
    const done = failure(sender.send(target({ timeout: 60_000 }), {}, abort.signal));
    setTimeout(() => abort.abort(), 50);
    expect((await done).down).toBe(true);
  });
});

describe('Retry-After', () => {
  it.each([
    ['5', 5000],
    ['999999', 3_600_000],
    ['0', undefined],
    ['-5', undefined],
    ['soon', undefined],
    [undefined, undefined],
    [new Date(Date.now() - 5000).toUTCString(), undefined],
  ])('%s', (written, ms) => {
    expect(retryAfter(written)).toBe(ms);
  });
  it('as a date', () => {
    const ms = retryAfter(new Date(Date.now() + 60_000).toUTCString()) ?? 0;
    expect(ms).toBeGreaterThan(50_000);
    expect(ms).toBeLessThanOrEqual(60_000);
  });
});
