/** What is measured: the data, and one function for each case that loads a server and returns its figures. */
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import {
  CreateBucketCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { Agent, request } from 'undici';
import { KEYS } from './servers.mjs';

const run = promisify(execFile);
const REPLAY = path.join(import.meta.dirname, 'replay.lua');
const Bucket = 'bench';
const KIB = 1024;
const MIB = 1 << 20;

const name = (folder, i) => `${folder}/${String(i).padStart(6, '0')}`;
const names = (folder, count) => Array.from({ length: count }, (_, i) => name(folder, i));

/** Objects that are there before anything is measured: folder, how many, bytes each. */
export const DATA = [
  { folder: 'small', count: 1000, size: KIB },
  { folder: 'medium', count: 200, size: 10 * KIB },
  { folder: 'large', count: 32, size: MIB },
  { folder: 'list', count: 10_000, size: 16 },
];

export function clientOf({ endpoint }) {
  return new S3Client({
    endpoint,
    credentials: KEYS,
    region: 'us-east-1',
    forcePathStyle: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
}

const sign = (client, command) => getSignedUrl(client, command, { expiresIn: 86_400 });

/** Work for all items, `width` at a time. */
async function each(items, width, work) {
  const queue = items.values();
  await Promise.all(
    Array.from({ length: width }, async () => {
      for (const item of queue) await work(item);
    }),
  );
}

const agent = new Agent({ connections: 64, pipelining: 1 });

async function upload(client, Key, body) {
  const url = await sign(client, new PutObjectCommand({ Bucket, Key }));
  const answer = await request(url, { method: 'PUT', body, dispatcher: agent });
  const text = await answer.body.text();
  if (answer.statusCode !== 200) throw new Error(`PUT ${Key}: ${answer.statusCode} ${text}`);
}

/** Puts the data through S3, so that each server keeps it as it likes. */
export async function seed(server, { big }) {
  const client = clientOf(server);
  await client.send(new CreateBucketCommand({ Bucket }));
  for (const { folder, count, size } of DATA) {
    const body = Buffer.alloc(size, folder);
    await each(names(folder, count), 32, (key) => upload(client, key, body));
  }
  if (big > 0) await upload(client, 'big/one', Buffer.alloc(big, 'big'));
}

/** The same as plain files, for a server that knows no S3. */
export function seedPlain(root, { big }) {
  for (const { folder, count, size } of DATA) {
    mkdirSync(path.join(root, Bucket, folder), { recursive: true });
    for (const key of names(folder, count)) writeFileSync(path.join(root, Bucket, key), Buffer.alloc(size, folder));
  }
  mkdirSync(path.join(root, Bucket, 'big'), { recursive: true });
  if (big > 0) writeFileSync(path.join(root, Bucket, 'big/one'), Buffer.alloc(big, 'big'));
}

/** Targets to replay, presigned; plain paths for a server that knows no S3. Returns the file's name. */
async function targets(server, folder, commands) {
  const client = server.plain ? undefined : clientOf(server);
  const lines = [];
  for (const command of commands) {
    const url = client ? new URL(await sign(client, command)) : undefined;
    lines.push(url ? url.pathname + url.search : `/${Bucket}/${command.input.Key}`);
  }
  const file = path.join(server.folder, `${folder}.txt`);
  writeFileSync(file, `${lines.join('\n')}\n`);
  return file;
}

async function wrk(server, { method, file, size = 0, connections, seconds }) {
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '30s', '-s', REPLAY, server.endpoint];
  const { stdout } = await run('wrk', [...args, '--', method, file, String(size)], { maxBuffer: MIB });
  const { requests, seconds: took, bytes, p50, p99, errors } = JSON.parse(stdout.trim().split('\n').at(-1));
  return { rate: requests / took, megabytes: (size > 0 ? requests * size : bytes) / took / 1e6, p50, p99, errors };
}

const gets = (folder, count) => names(folder, count).map((Key) => new GetObjectCommand({ Bucket, Key }));
const puts = (folder, count) => names(folder, count).map((Key) => new PutObjectCommand({ Bucket, Key }));
const lists = (MaxKeys, stride) =>
  Array.from(
    { length: 100 },
    (_, i) => new ListObjectsV2Command({ Bucket, Prefix: 'list/', MaxKeys, StartAfter: name('list', i * stride) }),
  );

const replayed = (commands, options) => {
  const prepared = new WeakMap();
  return async (server, seconds) => {
    if (!prepared.has(server)) prepared.set(server, await targets(server, options.folder, commands));
    return wrk(server, { ...options, seconds, file: prepared.get(server) });
  };
};

/** wrk cannot read an answer to HEAD; ab can, of one target. */
async function head(server, seconds) {
  const url = await sign(clientOf(server), new HeadObjectCommand({ Bucket, Key: name('small', 1) }));
  const args = ['-i', '-k', '-q', '-c', '32', '-t', String(seconds), '-n', '10000000', url];
  const { stdout } = await run('ab', args, { maxBuffer: MIB });
  const number = (pattern) => Number(pattern.exec(stdout)?.[1] ?? 0);
  return {
    rate: number(/Requests per second:\s+([\d.]+)/),
    p50: number(/^\s+50%\s+(\d+)/m),
    p99: number(/^\s+99%\s+(\d+)/m),
    errors: number(/Failed requests:\s+(\d+)/) + number(/Non-2xx responses:\s+(\d+)/),
  };
}

/** One stream of one long object, by curl. */
const stream =
  (method) =>
  async (server, _seconds, { big }) => {
    const Key = method === 'GET' ? 'big/one' : 'big/put';
    const command = method === 'GET' ? new GetObjectCommand({ Bucket, Key }) : new PutObjectCommand({ Bucket, Key });
    const url = server.plain ? `${server.endpoint}/${Bucket}/${Key}` : await sign(clientOf(server), command);
    const source = path.join(server.folder, 'big.bin');
    if (method === 'PUT') writeFileSync(source, Buffer.alloc(big, 'put'));
    const args = ['-sS', '--fail', '--noproxy', '*', '-o', '/dev/null', '-w', '%{time_total}'];
    const { stdout } = await run('curl', [...args, ...(method === 'PUT' ? ['-T', source] : []), url]);
    return { megabytes: big / Number(stdout) / 1e6, errors: 0 };
  };

async function deleteThousand(server) {
  const client = clientOf(server);
  const keys = names('gone', 1000);
  await each(keys, 32, (key) => upload(client, key, Buffer.from('gone')));
  const command = new DeleteObjectsCommand({ Bucket, Delete: { Objects: keys.map((Key) => ({ Key })), Quiet: true } });
  const began = performance.now();
  const { Errors = [] } = await client.send(command);
  return { ms: performance.now() - began, errors: Errors.length };
}

/** `unit`: which of the figures is compared; `less`: the smaller, the better; `plain`: a server that knows no S3 can do it; `writes`: durability matters. */
export const CASES = {
  'get-1k': {
    unit: 'rate',
    plain: true,
    run: replayed(gets('small', 1000), { folder: 'small', method: 'GET', connections: 32 }),
  },
  'get-10k': {
    unit: 'rate',
    plain: true,
    run: replayed(gets('medium', 200), { folder: 'medium', method: 'GET', connections: 32 }),
  },
  'head-1k': { unit: 'rate', run: head },
  'get-1m': {
    unit: 'megabytes',
    plain: true,
    run: replayed(gets('large', 32), { folder: 'large', method: 'GET', connections: 8 }),
  },
  'get-1g': { unit: 'megabytes', plain: true, run: stream('GET') },
  'put-1k': {
    unit: 'rate',
    writes: true,
    run: replayed(puts('put', 20_000), { folder: 'put', method: 'PUT', connections: 32, size: KIB }),
  },
  'put-1m': {
    unit: 'megabytes',
    writes: true,
    run: replayed(puts('putm', 64), { folder: 'putm', method: 'PUT', connections: 8, size: MIB }),
  },
  'put-1g': { unit: 'megabytes', writes: true, run: stream('PUT') },
  'list-100': { unit: 'rate', run: replayed(lists(100, 97), { folder: 'list100', method: 'GET', connections: 32 }) },
  'list-1000': { unit: 'rate', run: replayed(lists(1000, 90), { folder: 'list1000', method: 'GET', connections: 32 }) },
  'delete-1000': { unit: 'ms', less: true, writes: true, run: deleteThousand },
};
