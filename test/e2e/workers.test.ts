/** A server of several processes, as users start it: workers that die, a primary that dies, a stop while requests are under way, settings that all learn of. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createReadStream, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, open as openFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  CreateBucketCommand,
  DeleteBucketPolicyCommand,
  GetBucketNotificationConfigurationCommand,
  GetObjectCommand,
  PutBucketNotificationConfigurationCommand,
  PutBucketPolicyCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { afterEach, describe, expect, it } from 'vitest';
import { ACCESS_KEY, bench, MiB, REGION, SECRET_KEY, serve, type Bench, type ServeOptions } from './harness.js';

const Bucket = 'box';
const open: Bench[] = [];
const clients: S3Client[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  for (const one of open.splice(0)) await one.end();
});

async function start(options: ServeOptions = {}, prepare?: (root: string) => Promise<void>): Promise<Bench> {
  const made = await bench({ workers: 2, ...options }, prepare);
  open.push(made);
  await clientOf(made.server.url).send(new CreateBucketCommand({ Bucket }));
  return made;
}

function clientOf(endpoint: string, maxAttempts = 10): S3Client {
  const credentials = { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY };
  const client = new S3Client({ endpoint, region: REGION, forcePathStyle: true, maxAttempts, credentials });
  clients.push(client);
  return client;
}

/** Of processes that live. */
function childrenOf(pid: number): number[] {
  const written = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return written === '' ? [] : written.split(' ').map(Number);
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

const put = (s3: S3Client, Key: string, Body: string | Buffer = Key): Promise<unknown> =>
  s3.send(new PutObjectCommand({ Bucket, Key, Body }));
async function get(s3: S3Client, Key: string): Promise<string | undefined> {
  return (await s3.send(new GetObjectCommand({ Bucket, Key }))).Body?.transformToString();
}

describe.runIf(process.platform === 'linux')('a server of several processes (needs /proc)', () => {
  it('is as many processes as it was told', async () => {
    const [one, three] = [await start({ workers: 1 }), await start({ workers: 3 })];
    expect(childrenOf(one.server.pid)).toEqual([]);
    await expect.poll(() => childrenOf(three.server.pid)).toHaveLength(2);
  });

  it('answers by all of them', async () => {
    const { server } = await start();
    const ids = async (): Promise<Set<string>> => {
      const get = (): Promise<Response> => fetch(server.url, { headers: { connection: 'close' } });
      const answers = await Promise.all(Array.from({ length: 32 }, get));
      return new Set(answers.map(({ headers }) => headers.get('x-amz-id-2') ?? ''));
    };
    await expect.poll(ids, { timeout: 15_000 }).toHaveProperty('size', 2);
  });

  it('replaces workers that are killed; what was answered is there', async () => {
    const { server } = await start({ workers: 3 });
    const s3 = clientOf(server.url);
    const acknowledged: string[] = [];
    let killing = true;
    const writers = Array.from({ length: 4 }, async (_, w) => {
      for (let i = 0; killing; i++) {
        const key = `${w}/${i}`;
        await put(s3, key);
        acknowledged.push(key);
      }
    });
    await expect.poll(() => childrenOf(server.pid)).toHaveLength(2);
    const seen = new Set(childrenOf(server.pid));
    for (let round = 0; round < 3; round++) {
      await sleep(400);
      const [first] = childrenOf(server.pid);
      if (first !== undefined) process.kill(first, 'SIGKILL');
      await expect
        .poll(() => childrenOf(server.pid).filter((pid) => !seen.has(pid)), { timeout: 15_000 })
        .not.toEqual([]);
      for (const pid of childrenOf(server.pid)) seen.add(pid);
    }
    killing = false;
    await Promise.all(writers);
    expect(seen.size).toBeGreaterThanOrEqual(5);
    expect(acknowledged.length).toBeGreaterThan(0);
    for (const key of acknowledged) expect(await get(s3, key)).toBe(key);
    expect(server.output()).toContain('a worker has ended; another one takes its place');
  });

  it('lets requests end, and then all processes, when it is told to stop', async () => {
    const { server } = await start();
    const s3 = clientOf(server.url, 1);
    await put(s3, 'large', randomBytes(64 * MiB));
    const answer = await s3.send(new GetObjectCommand({ Bucket, Key: 'large' }));
    const pids = childrenOf(server.pid);
    const stopped = server.stop();
    await expect
      .poll(() => put(clientOf(server.url, 1), 'late').then(String, () => 'refused'), { timeout: 10_000 })
      .toBe('refused');
    expect((await answer.Body?.transformToByteArray())?.length).toBe(64 * MiB);
    expect(await stopped).toBe(0);
    expect(pids.filter(isAlive)).toEqual([]);
  });

  it('takes two signals at the same time for one: npx hands on what the terminal has sent to both', async () => {
    const { server } = await start();
    const s3 = clientOf(server.url, 1);
    await put(s3, 'large', randomBytes(64 * MiB));
    const answer = await s3.send(new GetObjectCommand({ Bucket, Key: 'large' }));
    const stopped = server.stop();
    await sleep(50);
    process.kill(server.pid, 'SIGTERM');
    await sleep(200);
    expect((await answer.Body?.transformToByteArray())?.length).toBe(64 * MiB);
    expect(await stopped).toBe(0);
  });

  it('does not wait for requests when it is told so twice', async () => {
    const { server } = await start();
    const s3 = clientOf(server.url, 1);
    await put(s3, 'large', randomBytes(64 * MiB));
    const answer = await s3.send(new GetObjectCommand({ Bucket, Key: 'large' }));
    const pids = childrenOf(server.pid);
    const first = server.stop();
    await sleep(1_000);
    process.kill(server.pid, 'SIGTERM');
    expect(await first).toBe(1);
    await expect.poll(() => pids.filter(isAlive), { timeout: 15_000 }).toEqual([]);
    await expect(answer.Body?.transformToByteArray()).rejects.toThrow();
  });

  it('ends when its primary is killed: workers after what is under way, and the next server finds everything', async () => {
    const { server } = await start();
    const s3 = clientOf(server.url);
    await put(s3, 'kept');
    await put(s3, 'large', randomBytes(64 * MiB));
    await expect.poll(() => childrenOf(server.pid)).toHaveLength(1);
    // each on a connection of its own, which either process may take
    const answers = await Promise.all(
      Array.from({ length: 6 }, () => clientOf(server.url).send(new GetObjectCommand({ Bucket, Key: 'large' }))),
    );
    const pids = childrenOf(server.pid);
    await server.kill();
    const lengths = await Promise.all(
      answers.map(({ Body }) =>
        (Body?.transformToByteArray() ?? Promise.reject(new Error())).then(
          ({ length }) => length,
          () => 'cut',
        ),
      ),
    );
    expect(lengths.filter((length) => length !== 64 * MiB && length !== 'cut')).toEqual([]);
    await expect.poll(() => pids.filter(isAlive), { timeout: 15_000 }).toEqual([]);
    const next = await serve(server.root, { workers: 2, args: ['--port', String(server.port)] });
    try {
      expect(await get(clientOf(next.url), 'kept')).toBe('kept');
    } finally {
      expect(await next.stop()).toBe(0);
    }
  });

  it('says once, and in one line, that its port is used', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    const { port } = other.address() as AddressInfo;
    const made = bench({ workers: 2, args: ['--port', String(port), '--log-level', 'error'] });
    await expect(made).rejects.toThrow(
      new RegExp(`^the server did not come up:\ngos3rve: port ${port} is in use; pass --port\n$`),
    );
    other.close();
  });

  it('tells all workers at once what bucket settings one of them took', async () => {
    const { server } = await start();
    const s3 = clientOf(server.url);
    await put(s3, 'page');
    const Policy = JSON.stringify({
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Principal: '*', Action: 's3:GetObject', Resource: `arn:aws:s3:::${Bucket}/*` }],
    });
    // each on a connection of its own, which either worker may take
    const codes = async (): Promise<Set<number>> => {
      const answers = await Promise.all(
        Array.from({ length: 12 }, () => fetch(`${server.url}/${Bucket}/page`, { headers: { connection: 'close' } })),
      );
      return new Set(answers.map(({ status }) => status));
    };
    for (let i = 0; i < 3; i++) {
      await s3.send(new PutBucketPolicyCommand({ Bucket, Policy }));
      expect(await codes()).toEqual(new Set([200]));
      await s3.send(new DeleteBucketPolicyCommand({ Bucket }));
      expect(await codes()).toEqual(new Set([403]));
    }
  });

  it('tears no log line of one process by those of another, however slowly they are read', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'gos3rve-log-'));
    const fifo = path.join(folder, 'log');
    execFileSync('mkfifo', [fifo]);
    const held = await openFile(fifo, 'r+');
    const made = await bench({ workers: 2, wrap: ['sh', '-c', `exec "$@" 2> '${fifo}'`, 'sh'] });
    let written = '';
    try {
      const { url } = made.server;
      const answering = new Set<string | null>();
      const meet = async (): Promise<number> => {
        const { headers } = await fetch(url, { headers: { connection: 'close' } });
        return answering.add(headers.get('x-amz-id-2')).size;
      };
      await expect.poll(meet, { timeout: 15_000, interval: 20 }).toBe(2);
      // more than a pipe holds, on connections that either process may take
      const ask = async (i: number): Promise<void> => {
        for (let n = 0; n < 40; n++)
          await fetch(`${url}/${'k'.repeat(900 + i)}`, { headers: { connection: 'close' } }).then((r) => r.text());
      };
      await Promise.all(Array.from({ length: 20 }, (_, i) => ask(i)));
      createReadStream(fifo, { highWaterMark: 1000 }).on('data', (chunk) => (written += String(chunk)));
      await expect.poll(() => written.match(/"msg":"request"/g)?.length, { timeout: 20_000 }).toBeGreaterThan(800);
    } finally {
      await made.end();
      await held.close();
      await rm(folder, { recursive: true });
    }
    const lines = written.split('\n').filter((line) => line !== '');
    const pids = new Set(lines.map((line) => (JSON.parse(line) as { pid: number }).pid));
    expect(pids.size).toBe(2);
  });

  it('stops where the disk is full that its log goes to', async () => {
    const { server } = await start({ wrap: ['sh', '-c', 'exec "$@" 2> /dev/full', 'sh'] });
    for (let i = 0; i < 4; i++) await fetch(server.url, { headers: { connection: 'close' } });
    expect(await server.stop()).toBe(0);
  });

  it('sends events of what any worker did', async () => {
    const heard: string[] = [];
    const hook = createServer((request, response) => {
      request.on('data', (chunk: Buffer) => heard.push(chunk.toString()));
      request.on('end', () => response.end());
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => hook.once('listening', resolve));
    const { port } = hook.address() as AddressInfo;
    const config = `notifications: { targets: { hook: { url: 'http://127.0.0.1:${port}/' } } }\n`;
    const { server } = await start({}, async (root) => {
      await mkdir(path.join(root, '.gos3rve'));
      await writeFile(path.join(root, '.gos3rve/config.yaml'), config);
    });
    const s3 = clientOf(server.url);
    const QueueArn = 'arn:gos3rve:sqs:us-east-1::hook';
    const NotificationConfiguration = { QueueConfigurations: [{ QueueArn, Events: ['s3:ObjectCreated:*' as const] }] };
    await s3.send(new PutBucketNotificationConfigurationCommand({ Bucket, NotificationConfiguration }));
    expect(heard.join()).toContain('s3:TestEvent');
    const found = await s3.send(new GetBucketNotificationConfigurationCommand({ Bucket }));
    expect(found.QueueConfigurations).toHaveLength(1);
    const keys = Array.from({ length: 20 }, (_, i) => `key-${i}`);
    await Promise.all(keys.map((key) => put(clientOf(server.url), key)));
    await expect.poll(() => keys.filter((key) => !heard.join().includes(`"${key}"`)), { timeout: 15_000 }).toEqual([]);
    await server.stop();
    hook.close();
  });
});
