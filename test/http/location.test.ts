/** The Location that uploads are answered with leads to the object, in the style of the request. */
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { request, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createServer, openStore, type GatewayServer, type LocalStore } from '../../src/index.js';

const CREDENTIAL = { accessKey: 'A', secretKey: 's', owner: { id: 'a', displayName: 'a' } };
const PUBLIC = {
  Version: '2012-10-17',
  Statement: [
    { Effect: 'Allow', Principal: '*', Action: 's3:*', Resource: ['arn:aws:s3:::box', 'arn:aws:s3:::box/*'] },
  ],
};

let base: string;
let store: LocalStore;
const servers: GatewayServer[] = [];

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'gos3rve-location-'));
  await mkdir(join(base, 'box'));
  store = await openStore(base);
  await store.updateBucket('box', () => ({ policy: JSON.stringify(PUBLIC) }));
});
afterAll(async () => {
  for (const server of servers) await server.close();
  await store.close();
  await rm(base, { recursive: true });
});

interface Answer {
  status: number | undefined;
  location: string | undefined;
  body: string;
}

/** @returns the port. */
async function listen(publicUrl?: string): Promise<number> {
  const server = createServer({
    store,
    credentials: [CREDENTIAL],
    port: 0,
    baseDomains: ['s3.local'],
    ...(publicUrl === undefined ? {} : { publicUrl }),
  });
  servers.push(server);
  return Number(new URL((await server.listen()).url).port);
}

async function ask(
  port: number,
  method: string,
  path: string,
  headers: Record<string, string>,
  body = '',
): Promise<Answer> {
  const asking = request({ host: '127.0.0.1', port, method, path, headers, agent: false });
  asking.end(body);
  const [answer] = (await once(asking, 'response')) as [IncomingMessage];
  return { status: answer.statusCode, location: answer.headers.location, body: await text(answer) };
}

const element = (xml: string, name: string): string => new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1] ?? '';

/** Completes an upload of `key` by way of `host`; `start` is the path before it. @returns the Location. */
async function complete(port: number, host: string, start: string, key: string): Promise<string> {
  const path = start + key;
  const UploadId = element((await ask(port, 'POST', `${path}?uploads`, { host })).body, 'UploadId');
  await ask(port, 'PUT', `${path}?partNumber=1&uploadId=${UploadId}`, { host }, 'abc');
  const part = '<Part><PartNumber>1</PartNumber><ETag>900150983cd24fb0d6963f7d28e17f72</ETag></Part>';
  const xml = `<CompleteMultipartUpload>${part}</CompleteMultipartUpload>`;
  return element((await ask(port, 'POST', `${path}?uploadId=${UploadId}`, { host }, xml)).body, 'Location');
}

/** Sends a form. @returns the Location of the header and of the document. */
async function post(port: number, host: string, path: string, key: string): Promise<(string | undefined)[]> {
  const field = (name: string, value: string): string =>
    `--B\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;
  const body = `${field('key', key)}${field('success_action_status', '201')}${field('file', 'abc')}--B--\r\n`;
  const answer = await ask(port, 'POST', path, { host, 'content-type': 'multipart/form-data; boundary=B' }, body);
  return [answer.location, element(answer.body, 'Location')];
}

describe('Location', () => {
  // a b/ä?&é, with a slash in front where it says so
  const KEYS: [string, string][] = [
    ['v/mp', 'v/mp'],
    ['a%20b/%C3%A4%3F%26%2B%25', 'a b/ä?&+%'],
    ['/x', '/x'],
  ];
  it.each(KEYS)('in virtual-hosted style names no bucket in its path: %s', async (encoded, key) => {
    const port = await listen();
    const host = `box.s3.local:${port}`;
    const location = `http://${host}/${encoded}`;
    expect(await complete(port, host, '/', encoded)).toBe(location);
    expect((await ask(port, 'GET', new URL(location).pathname, { host })).body).toBe('abc');
    expect(await post(port, host, '/', key)).toEqual([location, location]);
  });

  it.each(KEYS)('in path style names it: %s', async (encoded, key) => {
    const port = await listen();
    const host = `s3.local:${port}`;
    const location = `http://${host}/box/${encoded}`;
    expect(await complete(port, host, '/box/', encoded)).toBe(location);
    expect((await ask(port, 'GET', new URL(location).pathname, { host })).body).toBe('abc');
    expect(await post(port, host, '/box', key)).toEqual([location, location]);
  });

  it.each([
    ['https://s3.local', 'box.s3.local', 'https://box.s3.local/k'],
    ['https://s3.local:8443', 'box.s3.local', 'https://box.s3.local:8443/k'],
    ['https://s3.local/s3', 'BOX.s3.local', 'https://box.s3.local/s3/k'],
    // that host may know no buckets before it
    ['https://media.example', 'box.s3.local', 'https://media.example/box/k'],
    ['https://s3.local', 's3.local', 'https://s3.local/box/k'],
    ['https://s3.local/s3', '127.0.0.1', 'https://s3.local/s3/box/k'],
  ])('with --public-url %s, asked as %s, is %s', async (publicUrl, host, location) => {
    const port = await listen(publicUrl);
    const virtual = host.toLowerCase().startsWith('box.');
    expect(await complete(port, host, virtual ? '/' : '/box/', 'k')).toBe(location);
    expect(await post(port, host, virtual ? '/' : '/box', 'k')).toEqual([location, location]);
  });

  it('speaks of TLS where a proxy on this machine says so', async () => {
    const port = await listen();
    const headers = { host: 'box.s3.local', 'x-forwarded-proto': 'https' };
    const UploadId = element((await ask(port, 'POST', '/k?uploads', headers)).body, 'UploadId');
    await ask(port, 'PUT', `/k?partNumber=1&uploadId=${UploadId}`, headers, 'abc');
    const xml =
      '<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>900150983cd24fb0d6963f7d28e17f72</ETag></Part></CompleteMultipartUpload>';
    const { body } = await ask(port, 'POST', `/k?uploadId=${UploadId}`, headers, xml);
    expect(element(body, 'Location')).toBe('https://box.s3.local/k');
  });
});
