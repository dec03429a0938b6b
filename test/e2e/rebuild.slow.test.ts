/** A long journal and no index: the server is ready at once, reads are right from the first one on, and afterwards all is as it was. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { BINARY, run, serve, type Server } from './harness.js';
import { ask, furnish, hashed, indexOf, lengthen, look } from './rebuild.js';

const FULL = process.env['GOS3RVE_FULL'] === '1';
const LINES = FULL ? 1_100_000 : 300_000;
const root = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-rebuild-'));
const WAIT = { timeout: 300_000, interval: 100 };
let server: Server | undefined;

afterAll(async () => {
  await server?.kill();
  fs.rmSync(root, { recursive: true, force: true });
});

it('answers reads from the tree while the index is made, and lets writes wait', async () => {
  await furnish(root);
  // ETags that were told of files just written are not remembered without it
  fs.rmSync(path.dirname(indexOf(root)), { recursive: true });
  server = await serve(root);
  const before = await look(server);
  await server.stop();
  lengthen(root, LINES);
  fs.rmSync(path.dirname(indexOf(root)), { recursive: true });
  const known = hashed(root);

  const began = performance.now();
  server = await serve(root);
  const ready = performance.now() - began;
  expect(server.output()).not.toMatch(/the index is up to date/);
  const get = await ask(server, 'GET', '/photos/d0/k0', { ms: 60_000 });
  const list = await ask(server, 'GET', '/photos?list-type=2', { ms: 60_000 });
  const answered = performance.now() - began;
  expect([get.status, get.body, list.status]).toEqual([200, 'body 0', 200]);
  expect(list.body.match(/<Key>/g)).toHaveLength(60);

  expect(server.output()).toMatch(/brought up to date/);
  const put = await ask(server, 'PUT', '/photos/new', { body: 'new', ms: 60_000 });
  expect([200, 503]).toContain(put.status);
  await expect.poll(() => server?.output(), { timeout: 300_000, interval: 100 }).toMatch(/the index is up to date/);
  const whole = performance.now() - began;
  if (put.status === 200) expect((await ask(server, 'DELETE', '/photos/new')).status).toBe(204);
  expect(await look(server)).toEqual(before);
  expect(hashed(root)).toBe(known);
  expect(await server.stop()).toBe(0);
  console.log(`${LINES} lines: ready ${ready | 0} ms, read and listed ${answered | 0} ms, index whole ${whole | 0} ms`);
});

it('is gone on with by a command, and by the next server, when the server that makes it is killed', async () => {
  const before = await (async () => {
    server = await serve(root);
    const seen = await look(server);
    await server.stop();
    return seen;
  })();
  fs.rmSync(path.dirname(indexOf(root)), { recursive: true });
  server = await serve(root);
  await expect.poll(() => server?.output(), { timeout: 60_000, interval: 20 }).toMatch(/brought up to date/);
  expect(server.output()).not.toMatch(/the index is up to date/);
  await server.kill();
  const other = run(process.execPath, [BINARY, 'ls', '--root', root, 'photos/d0/']);
  server = await serve(root);
  const list = await ask(server, 'GET', '/photos?list-type=2', { ms: 60_000 });
  expect(list.body.match(/<Key>/g)).toHaveLength(60);
  expect((await other).stdout).toMatch(/k0/);
  await expect
    .poll(async () => (await ask(server as Server, 'PUT', '/photos/new', { body: 'new', ms: 60_000 })).status, WAIT)
    .toBe(200);
  expect((await ask(server, 'DELETE', '/photos/new')).status).toBe(204);
  expect(await look(server)).toEqual(before);
  expect(await server.stop()).toBe(0);
});
