/** Hundreds of clients that do not go on reading or sending: memory stays bounded, others are served, and beyond `--max-requests` told to come again. */
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import net, { type Socket } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { bench, MiB, type Bench } from './harness.js';
import { send, sign } from './raw.js';

const CLIENTS = 300;
const SIZE = 32 * MiB;

let b: Bench | undefined;
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await b?.end();
});

/** Sends a request's head, and so many bytes of its body; reads nothing. */
async function stuck(port: number, method: 'GET' | 'PUT', target: string, sent = 0): Promise<Socket> {
  const { headers } = sign(port, { method, target, payload: 'UNSIGNED-PAYLOAD' });
  const all = { ...headers, ...(method === 'PUT' && { 'content-length': String(SIZE) }) };
  const head = [`${method} ${target} HTTP/1.1`, ...Object.entries(all).map(([name, value]) => `${name}: ${value}`)];
  const socket = net.connect({ port, host: '127.0.0.1' });
  sockets.push(socket);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.pause();
  socket.write(`${head.join('\r\n')}\r\n\r\n`);
  if (sent > 0) socket.write(Buffer.alloc(sent, 'x'));
  return socket;
}

describe('clients that are stuck in the middle', () => {
  it.each<['GET' | 'PUT', number]>([
    ['GET', 0],
    // more than one buffer, which is then being filled
    ['PUT', 700_000],
  ])('cost little memory each: %s', async (method, sent) => {
    b = await bench({ args: ['--log-level', 'error'] }, async (root) => {
      await mkdir(path.join(root, 'box'));
      await writeFile(path.join(root, 'box/large'), Buffer.alloc(SIZE, 'l'));
      await writeFile(path.join(root, 'box/small'), 'bytes');
    });
    const { port } = b.server;
    const small = { method: 'GET', target: '/box/small' };
    expect((await send(port, small)).body).toBe('bytes');
    const before = await b.server.rssAnon();
    for (let i = 0; i < CLIENTS; i++) await stuck(port, method, method === 'GET' ? '/box/large' : `/box/p${i}`, sent);
    await sleep(3000);
    expect((await send(port, small)).body).toBe('bytes');
    const grown = (await b.server.rssAnon()) - before;
    console.log(method, `${CLIENTS} clients`, `${Math.round(grown / MiB)} MiB`);
    // with buffers of 512 KiB for each it would be 300 MiB
    expect(grown).toBeLessThan(160 * MiB);
    for (const socket of sockets.splice(0)) socket.destroy();
    expect((await send(port, { method: 'PUT', target: '/box/new', body: 'v' })).status).toBe(200);
  });

  it('beyond --max-requests others are told to come again, until places are free', async () => {
    b = await bench({ args: ['--log-level', 'error', '--max-requests', '20', '--create-bucket', 'box'] });
    const { port } = b.server;
    for (let i = 0; i < 20; i++) await stuck(port, 'PUT', `/box/p${i}`, 10);
    await sleep(300);
    const refused = await send(port, { method: 'GET', target: '/box?list-type=2' });
    expect([refused.status, refused.code, refused.headers['retry-after']]).toEqual([503, 'SlowDown', '1']);
    expect((await send(port, { method: 'GET', target: '/.gos3rve/health' })).status).toBe(200);
    for (const socket of sockets.splice(0, 5)) socket.destroy();
    expect((await send(port, { method: 'GET', target: '/box?list-type=2' })).status).toBe(200);
  });
});
