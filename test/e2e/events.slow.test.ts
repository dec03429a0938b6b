/** Notifications to webhooks and `gos3rve watch`, with the real server: failures of the target, kill -9, other programs. */
import { execFile, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  DeleteObjectCommand,
  GetBucketNotificationConfigurationCommand,
  ListObjectsV2Command,
  PutBucketNotificationConfigurationCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EventRecord } from '../../src/jobs/events/record.js';
import { signature } from '../../src/jobs/events/send.js';
import { ACCESS_KEY, BINARY, REGION, SECRET_KEY, cleanEnv, serve, type Server } from './harness.js';

const ARN = 'arn:gos3rve:sqs:us-east-1::hook';
const SECRET = 'webhook secret';

interface Hook {
  server: HttpServer;
  port: number;
  records: EventRecord[];
  tests: unknown[];
  /** What is answered, and after how many ms. */
  answer: { status: number; delay: number };
  badSignatures: number;
  attempts: number;
}

async function hook(port = 0): Promise<Hook> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { status, delay } = it_.answer;
      it_.attempts++;
      setTimeout(() => {
        response.writeHead(status, status === 302 ? { location: '/elsewhere' } : {}).end();
        if (status !== 200) return;
        const body = Buffer.concat(chunks).toString();
        if (!genuine(String(request.headers['x-gos3rve-signature']), body)) it_.badSignatures++;
        const message = JSON.parse(body) as { Records?: EventRecord[] };
        if (message.Records) it_.records.push(...message.Records);
        else it_.tests.push(message);
      }, delay);
    });
  });
  const it_: Hook = {
    server,
    port,
    records: [],
    tests: [],
    answer: { status: 200, delay: 0 },
    badSignatures: 0,
    attempts: 0,
  };
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  it_.port = (server.address() as AddressInfo).port;
  return it_;
}

function genuine(header: string, body: string): boolean {
  const [, time, given] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(header) ?? [];
  return given === createHmac('sha256', SECRET).update(`${time}.${body}`).digest('hex');
}

async function until(what: () => boolean, ms = 15_000): Promise<void> {
  for (const end = Date.now() + ms; !what() && Date.now() < end;) await sleep(20);
}

let base: string;
let server: Server;
let target: Hook;
let s3: S3Client;
const at = (...names: string[]): string => path.join(base, 'root', ...names);

async function start(...args: string[]): Promise<void> {
  server = await serve(at(), { args });
  const credentials = { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY };
  s3 = new S3Client({ endpoint: server.url, region: REGION, credentials, forcePathStyle: true, maxAttempts: 1 });
}
const configure = (more: object = {}, Events = ['s3:ObjectCreated:*', 's3:ObjectRemoved:*', 's3:ObjectTagging:*']) =>
  s3.send(
    new PutBucketNotificationConfigurationCommand({
      Bucket: 'box',
      NotificationConfiguration: {
        QueueConfigurations: [{ Id: 'all', QueueArn: ARN, Events: Events as 's3:ObjectCreated:*'[], ...more }],
      },
    }),
  );
const put = (Key: string, Body = Key) => s3.send(new PutObjectCommand({ Bucket: 'box', Key, Body }));
const told = (): string[] => target.records.map(({ eventName, s3: { object } }) => `${eventName} ${object.key}`);

beforeEach(async () => {
  base = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-events-'));
  target = await hook();
  await mkdir(at('.gos3rve'), { recursive: true });
  await mkdir(at('box'));
  await writeFile(
    at('.gos3rve/config.yaml'),
    `notifications: { targets: { hook: { url: 'http://127.0.0.1:${target.port}/in', secret: '${SECRET}', timeout: 1s },
      dead: { url: 'http://127.0.0.1:1/' } } }\n`,
  );
  await start();
});
afterEach(async () => {
  await server.kill();
  target.server.closeAllConnections();
  target.server.close();
  await rm(base, { recursive: true, force: true });
});

describe('notifications', () => {
  it('tell a webhook of what clients do, signed, in the form of S3', async () => {
    await put('before');
    await configure({ Filter: { Key: { FilterRules: [{ Name: 'prefix', Value: 'in/' }] } } });
    expect(target.tests).toMatchObject([{ Service: 'Amazon S3', Event: 's3:TestEvent', Bucket: 'box' }]);
    await put('in/a b+ü.txt', 'hello');
    await put('out/x');
    const Tagging = { TagSet: [{ Key: 'a', Value: 'b' }] };
    await s3.send(new PutObjectTaggingCommand({ Bucket: 'box', Key: 'in/a b+ü.txt', Tagging }));
    await s3.send(new DeleteObjectCommand({ Bucket: 'box', Key: 'in/a b+ü.txt' }));
    await until(() => target.records.length >= 3);
    const key = 'in/a+b%2B%C3%BC.txt';
    expect(told()).toEqual([`ObjectCreated:Put ${key}`, `ObjectTagging:Put ${key}`, `ObjectRemoved:Delete ${key}`]);
    expect(target.badSignatures).toBe(0);
    expect(target.records[0]).toMatchObject({
      eventVersion: '2.1',
      eventSource: 'aws:s3',
      awsRegion: 'us-east-1',
      userIdentity: { principalId: ACCESS_KEY },
      requestParameters: { sourceIPAddress: '127.0.0.1' },
      s3: {
        configurationId: 'all',
        bucket: { name: 'box', arn: 'arn:aws:s3:::box' },
        object: { size: 5, eTag: '5d41402abc4b2a76b9719d911017c592' },
      },
    });
    const answer = await s3.send(new GetBucketNotificationConfigurationCommand({ Bucket: 'box' }));
    expect(answer.QueueConfigurations?.[0]).toMatchObject({ Id: 'all', QueueArn: ARN });
    expect(server.output()).not.toContain(SECRET);
  });

  it('refuse targets that the server does not know, or that do not take the test', async () => {
    await expect(configure({ QueueArn: 'arn:aws:sqs:us-east-1:1:other' })).rejects.toMatchObject({
      name: 'InvalidArgument',
    });
    for (const status of [500, 302]) {
      target.answer.status = status;
      await expect(configure()).rejects.toMatchObject({ name: 'InvalidArgument' });
    }
    expect(target.records).toEqual([]);
  });

  it('wait for a target that fails, hangs and is down, and keep the order of each key', async () => {
    await configure();
    target.answer.status = 503;
    for (let n = 0; n < 12; n++) await put(`k${n % 3}`, `${n}`);
    await until(() => target.attempts >= 2);
    target.answer = { status: 200, delay: 5000 };
    await sleep(500);
    target.server.closeAllConnections();
    await new Promise((resolve) => target.server.close(resolve));
    await put('k0', 'last');
    const again = await hook(target.port);
    again.tests = target.tests;
    target = again;
    await until(() => new Set(target.records.map(({ s3: { object } }) => object.sequencer)).size >= 13, 30_000);
    for (const key of ['k0', 'k1', 'k2']) {
      const sequence = target.records
        .filter((record) => record.s3.object.key === key)
        .map((r) => r.s3.object.sequencer);
      expect(sequence).toEqual([...sequence].sort());
      expect(sequence).toHaveLength(key === 'k0' ? 5 : 4);
    }
  }, 60_000);

  it('lose nothing to kill -9 between the answer and the delivery', async () => {
    await configure();
    target.answer.status = 503;
    const sent = new Set<string>();
    for (let round = 0; round < 3; round++) {
      await Promise.all(
        Array.from({ length: 20 }, async (_, n) => {
          await put(`r${round}-${n}`);
          sent.add(`r${round}-${n}`);
        }),
      );
      await server.kill();
      await start();
    }
    target.answer.status = 200;
    const keys = (): Set<string> => new Set(target.records.map((record) => record.s3.object.key));
    await until(() => keys().size >= sent.size, 30_000);
    expect([...keys()].sort()).toEqual([...sent].sort());
  }, 60_000);

  it('reach one target while another is dead, by prefix and suffix', async () => {
    const rule = (Id: string, name: string, Value: string) => ({
      Id,
      QueueArn: ARN.replace('hook', name),
      Events: ['s3:ObjectCreated:*' as const],
      Filter: { Key: { FilterRules: [{ Name: 'suffix' as const, Value }] } },
    });
    const QueueConfigurations = [rule('pictures', 'hook', '.jpg'), rule('texts', 'dead', '.txt')];
    await s3.send(
      new PutBucketNotificationConfigurationCommand({
        Bucket: 'box',
        SkipDestinationValidation: true,
        NotificationConfiguration: { QueueConfigurations },
      }),
    );
    for (let n = 0; n < 5; n++) {
      await put(`${n}.txt`);
      await put(`${n}.jpg`);
    }
    await until(() => target.records.length >= 5);
    expect(told().sort()).toEqual([0, 1, 2, 3, 4].map((n) => `ObjectCreated:Put ${n}.jpg`));
    expect(target.records[0]?.s3.configurationId).toBe('pictures');
  });

  it('tell of all that lies below a folder that another program renames', async () => {
    await mkdir(at('box/old/deep'), { recursive: true });
    await writeFile(at('box/old/deep/one'), 'one');
    await writeFile(at('box/old/two'), 'two');
    await configure();
    await put('old/three');
    await until(() => told().includes('ObjectCreated:Put old/three'));
    await sleep(3000);
    target.records.length = 0;
    await rename(at('box/old'), at('box/new'));
    const keys = ['deep/one', 'three', 'two'];
    await until(() => told().length >= 6);
    await sleep(2500);
    expect(told().sort()).toEqual([
      ...keys.map((key) => `ObjectCreated:Put new/${key}`),
      ...keys.map((key) => `ObjectRemoved:Delete old/${key}`),
    ]);
  }, 60_000);

  it('are verified by the lines in the README', async () => {
    const readme = await readFile(path.join(import.meta.dirname, '../../README.md'), 'utf8');
    const [, lines = ''] = /```python\n(def genuine[^`]+)```/.exec(readme) ?? [];
    const body = JSON.stringify({ Records: [{ key: 'ü' }] });
    const now = Math.floor(Date.now() / 1000);
    const check = async (header: string): Promise<string> => {
      const script = `import hmac, sys, time\n${lines}\nprint(genuine(*[a.encode() if n != 1 else a for n, a in enumerate(sys.argv[1:])]))`;
      const { stdout } = await promisify(execFile)('python3', ['-X', 'utf8', '-c', script, SECRET, header, body]);
      return stdout.trim();
    };
    expect(lines).not.toBe('');
    expect(await check(signature(SECRET, body, now))).toBe('True');
    expect(await check(signature('another', body, now))).toBe('False');
    expect(await check(signature(SECRET, `${body} `, now))).toBe('False');
    expect(await check(signature(SECRET, body, now - 1000))).toBe('False');
  });

  it('tell of what other programs do once it is quiet, once', async () => {
    await configure();
    await sleep(500);
    await put('ours', 'by a client');
    await writeFile(at('box/cp.txt'), 'one');
    await sleep(300);
    await writeFile(at('box/cp.txt'), 'one two');
    await until(() => told().some((line) => line.includes('cp.txt')));
    await rename(at('box/cp.txt'), at('box/mv.txt'));
    await until(() => told().some((line) => line.includes('mv.txt')));
    await sleep(500);
    await unlink(at('box/mv.txt'));
    await until(() => told().includes('ObjectRemoved:Delete mv.txt'));
    await sleep(3000);
    expect(told().filter((line) => line.endsWith('ours'))).toEqual(['ObjectCreated:Put ours']);
    expect(told().filter((line) => line.endsWith('cp.txt'))).toEqual([
      'ObjectCreated:Put cp.txt',
      'ObjectRemoved:Delete cp.txt',
    ]);
    expect(told().filter((line) => line.endsWith('mv.txt'))).toEqual([
      'ObjectCreated:Put mv.txt',
      'ObjectRemoved:Delete mv.txt',
    ]);
    const outside = target.records.find(({ s3: { object } }) => object.key === 'cp.txt');
    expect(outside).toMatchObject({ userIdentity: { principalId: 'outside' }, s3: { object: { size: 7 } } });
  }, 60_000);
});

describe('changes by other programs while no server ran', () => {
  it.each([
    ['stopped, and clients ask at once', () => server.stop(), true],
    ['killed', () => server.kill(), false],
  ])(
    'reach webhooks: the server was %s',
    async (_how, end, asks) => {
      await mkdir(at('box/old'));
      for (const name of ['removed', 'changed', 'kept', 'old/renamed']) await writeFile(at('box', name), name);
      await configure();
      await put('ours');
      await put('old/ours');
      // all of it is known by now, directories too
      await until(() => told().includes('ObjectCreated:Put old/ours'));
      await until(() => server.output().includes('the tree is known'));
      await sleep(4000);
      target.records.length = 0;
      // found while it runs, and not quiet yet when it ends
      await writeFile(at('box/late'), 'late');
      await unlink(at('box/old/ours'));
      await sleep(800);
      await end();
      await unlink(at('box/removed'));
      await writeFile(at('box/changed'), 'changed by others');
      await writeFile(at('box/new'), 'new');
      await mkdir(at('box/made/deep'), { recursive: true });
      await writeFile(at('box/made/deep/new'), 'new');
      await rename(at('box/old'), at('box/renamed'));
      await unlink(at('box/ours'));
      await start();
      if (asks) {
        const asked = [s3.send(new ListObjectsV2Command({ Bucket: 'box', MaxKeys: 2 }))];
        await Promise.all(asked);
        await s3.send(new ListObjectsV2Command({ Bucket: 'box' }));
      }
      const expected = [
        'ObjectCreated:Put changed',
        'ObjectCreated:Put late',
        'ObjectCreated:Put made/deep/new',
        'ObjectCreated:Put new',
        'ObjectCreated:Put renamed/renamed',
        'ObjectRemoved:Delete old/ours',
        'ObjectRemoved:Delete old/renamed',
        'ObjectRemoved:Delete ours',
        'ObjectRemoved:Delete removed',
      ];
      await until(() => expected.every((line) => told().includes(line)));
      await sleep(2500);
      expect(told().sort()).toEqual(expected);
      // at the next start nothing is new
      await server.kill();
      target.records.length = 0;
      await start();
      await sleep(5000);
      expect(told()).toEqual([]);
    },
    90_000,
  );
});

describe('a server that changes nothing', () => {
  it('tells of what other programs do all the same', async () => {
    await configure();
    await put('gone');
    await until(() => told().includes('ObjectCreated:Put gone'));
    await server.stop();
    target.answer.status = 500;
    await start('--read-only');
    await sleep(1000);
    await writeFile(at('box/came'), 'x');
    await unlink(at('box/gone'));
    await until(() => target.attempts > 1, 30_000);
    target.answer.status = 200;
    await until(() => told().length >= 3, 30_000);
    expect(told().sort()).toEqual(['ObjectCreated:Put came', 'ObjectCreated:Put gone', 'ObjectRemoved:Delete gone']);
  }, 90_000);
});

describe('gos3rve watch', () => {
  function run(...args: string[]): {
    lines: () => EventRecord[];
    end: (signal: NodeJS.Signals) => Promise<number | null>;
    errors: () => string;
  } {
    const child = spawn(process.execPath, [BINARY, 'watch', '--root', at(), ...args], { env: cleanEnv() });
    let text = '';
    let errors = '';
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
    const exit = new Promise<number | null>((resolve) => child.once('exit', resolve));
    return {
      lines: () =>
        text
          .split('\n')
          .filter((line) => line.endsWith('}'))
          .map((line) => JSON.parse(line) as EventRecord),
      end: (signal) => (child.kill(signal), exit),
      errors: () => errors,
    };
  }
  const keys = (records: EventRecord[]): string[] => records.map((r) => `${r.eventName} ${r.s3.object.key}`);

  it.each([
    ['with a server', true],
    ['without one', false],
  ])(
    'prints changes %s',
    async (_what, running) => {
      if (!running) await server.stop();
      const watch = run('box/sub/');
      await sleep(2500);
      await mkdir(at('box/sub'), { recursive: true });
      await writeFile(at('box/sub/outside.txt'), 'x');
      await writeFile(at('box/other.txt'), 'x');
      if (running) await put('sub/client');
      await until(() => keys(watch.lines()).includes('ObjectCreated:Put sub/outside.txt'));
      await sleep(500);
      expect(keys(watch.lines()).sort()).toEqual([
        ...(running ? ['ObjectCreated:Put sub/client'] : []),
        'ObjectCreated:Put sub/outside.txt',
      ]);
      expect(await watch.end('SIGINT')).toBe(130);
      expect(watch.errors()).toBe('');
    },
    40_000,
  );

  it('goes on when the server is killed or ends, and when one starts', async () => {
    const watch = run();
    const seen = async (name: string): Promise<void> => {
      await writeFile(at('box', name), name);
      await until(() => keys(watch.lines()).includes(`ObjectCreated:Put ${name}`), 30_000);
      expect(keys(watch.lines())).toContain(`ObjectCreated:Put ${name}`);
    };
    await sleep(2500);
    await seen('served');
    await server.kill();
    await seen('killed');
    // its record still stands
    const second = run();
    await start();
    await sleep(1500);
    await seen('served-again');
    await put('client');
    await server.stop();
    await seen('ended');
    await until(() => keys(second.lines()).length >= 3);
    const all = ['served-again', 'client', 'ended'].map((name) => `ObjectCreated:Put ${name}`);
    expect(keys(second.lines())).toEqual(expect.arrayContaining(all));
    // at least once
    expect(new Set(keys(watch.lines())).size).toBe(5);
    for (const one of [watch, second]) expect(await one.end('SIGTERM')).toBe(143);
    expect(watch.errors()).toBe('');
  }, 150_000);

  it.each([
    ['while no server runs', true],
    ['under a server', false],
  ])(
    'loses nothing to an index that is lost %s',
    async (_when, ended) => {
      const watch = run('box/');
      await sleep(2500);
      for (const name of ['removed', 'changed']) await put(name);
      await until(() => keys(watch.lines()).length >= 2);
      await until(() => server.output().includes('the tree is known'));
      if (ended) await server.stop();
      await rm(at('.gos3rve/index'), { recursive: true });
      if (ended) await start();
      const listed = (): Promise<unknown> => s3.send(new ListObjectsV2Command({ Bucket: 'box' }));
      // until the index is there again
      await put('client');
      await until(() => server.output().includes('the tree is known'));
      await listed();
      await sleep(500);
      await unlink(at('box/removed'));
      await writeFile(at('box/changed'), 'changed by others');
      await writeFile(at('box/new'), 'new');
      await listed();
      const expected = ['ObjectCreated:Put changed', 'ObjectCreated:Put new', 'ObjectRemoved:Delete removed'];
      await until(() => expected.every((line) => keys(watch.lines()).includes(line)));
      expect(keys(watch.lines())).toEqual(expect.arrayContaining(expected));
      await watch.end('SIGTERM');
    },
    60_000,
  );

  it('prints that a file went that was renamed just before', async () => {
    await put('file');
    const watch = run('box/');
    await sleep(2500);
    await rename(at('box/file'), at('box/file~'));
    await s3.send(new ListObjectsV2Command({ Bucket: 'box' }));
    await until(() => keys(watch.lines()).includes('ObjectCreated:Put file~'));
    await unlink(at('box/file~'));
    await s3.send(new ListObjectsV2Command({ Bucket: 'box' }));
    await until(() => keys(watch.lines()).includes('ObjectRemoved:Delete file~'));
    await sleep(2500);
    expect(keys(watch.lines()).sort()).toEqual([
      'ObjectCreated:Put file~',
      'ObjectRemoved:Delete file',
      'ObjectRemoved:Delete file~',
    ]);
    await watch.end('SIGTERM');
  }, 60_000);

  it('watches itself when it starts right after a kill', async () => {
    await server.kill();
    const watch = run();
    // it does not say when it has begun, and what was there before is no event
    for (let n = 0; n < 8 && watch.lines().length === 0; n++) {
      await writeFile(at('box/late'), `x${n}`);
      await until(() => watch.lines().length > 0, 5_000);
    }
    expect(new Set(keys(watch.lines()))).toEqual(new Set(['ObjectCreated:Put late']));
    await watch.end('SIGTERM');
  }, 60_000);

  it('begins where it is told', async () => {
    for (const key of ['a', 'b', 'c']) await put(key);
    const watch = run('--since', '1');
    await until(() => watch.lines().length >= 2);
    expect(keys(watch.lines())).toEqual(['ObjectCreated:Put b', 'ObjectCreated:Put c']);
    await watch.end('SIGTERM');
  });
});
