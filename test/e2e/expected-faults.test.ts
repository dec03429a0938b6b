/** What clients, disks and other programs do is no fault of ours: one line in the log tells of it, or none, and never where in the code it was met. */
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MiB, bench, type Bench } from './harness.js';
import { compose, send } from './raw.js';

const SIZE = 64 * MiB;

describe('the log of a server', () => {
  let b: Bench;
  let file = '';
  beforeEach(async () => {
    b = await bench({}, async (root) => {
      fs.mkdirSync(path.join(root, 'box'));
      file = path.join(root, 'box/big "one".bin');
      fs.writeFileSync(file, Buffer.alloc(SIZE, 1));
      const old = Date.now() / 1000 - 3600;
      fs.utimesSync(file, old, old);
      return Promise.resolve();
    });
  });
  afterEach(() => b.end());

  const complaints = (): Record<string, unknown>[] =>
    b.server
      .output()
      .split('\n')
      .filter((line) => /"level":"(warn|error)"/.test(line))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const requests = (): string[] =>
    b.server
      .output()
      .split('\n')
      .filter((line) => line.includes('"msg":"request"'));

  /** Sends a request and reads a little of its answer. */
  const begun = (request: Parameters<typeof compose>[1]): Promise<net.Socket> =>
    new Promise((resolve, reject) => {
      const socket = net.connect(b.server.port, '127.0.0.1');
      socket.on('error', reject);
      socket.once('data', () => {
        socket.pause();
        socket.off('error', reject);
        socket.on('error', () => undefined);
        resolve(socket);
      });
      socket.write(compose(b.server.port, request));
    });

  it.each<[string, string, () => void]>([
    ['changed', 'changed by another program', () => fs.appendFileSync(file, 'more')],
    ['cut', 'cut short by another program', () => fs.truncateSync(file, SIZE / 2)],
  ])('names the object that was %s while it was read, and why, on one line', async (_what, cause, change) => {
    const socket = await begun({ method: 'GET', target: '/box/big%20%22one%22.bin' });
    change();
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.resume();
    await closed;
    await expect.poll(requests).toHaveLength(1);
    expect(complaints()).toEqual([
      expect.objectContaining({
        level: 'warn',
        operation: 'GetObject',
        object: 'box/big "one".bin',
        cause: expect.stringContaining(cause) as string,
      }),
    ]);
    expect(b.server.output()).not.toMatch(/\\n {4}at /);
  });

  it('says nothing of clients that go away', async () => {
    (await begun({ method: 'GET', target: '/box/big%20%22one%22.bin' })).resetAndDestroy();
    const put = net.connect(b.server.port, '127.0.0.1');
    const whole = compose(b.server.port, { method: 'PUT', target: '/box/put', body: 'x'.repeat(100_000) });
    put.write(whole.subarray(0, 50_000), () => setTimeout(() => put.resetAndDestroy(), 100));
    await expect.poll(requests).toHaveLength(2);
    expect(complaints()).toEqual([]);
  });

  it('tells of a fault of the system by its name, and not where it was met', async () => {
    fs.renameSync(path.join(b.server.root, '.gos3rve/staging'), path.join(b.server.root, '.gos3rve/was'));
    fs.writeFileSync(path.join(b.server.root, '.gos3rve/staging'), 'no folder');
    const answer = await send(b.server.port, { method: 'PUT', target: '/box/put', body: 'x' });
    expect(answer.status).toBe(500);
    await expect.poll(requests).toHaveLength(1);
    expect(complaints()).toEqual([
      expect.objectContaining({ object: 'box/put', error: expect.stringContaining('ENOTDIR') as string }),
    ]);
    expect(b.server.output()).not.toMatch(/\\n {4}at /);
  });
});
