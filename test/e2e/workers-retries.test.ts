/** Requests that are sent twice, to two processes of one server: S3 calls them idempotent, whichever process takes them. */
import { Agent } from 'node:http';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  PutObjectCommand,
  RenameObjectCommand,
  S3Client,
  UploadPartCommand,
  type CompleteMultipartUploadCommandInput,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ACCESS_KEY, bench, REGION, SECRET_KEY, type Bench } from './harness.js';

const Bucket = 'box';
const CLIENTS = 6;
let made: Bench;
let clients: S3Client[] = [];

beforeAll(async () => {
  made = await bench({ workers: 2 });
  const credentials = { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY };
  const options = { endpoint: made.server.url, region: REGION, forcePathStyle: true, maxAttempts: 1, credentials };
  // each request on a connection of its own, which either process may take
  const requestHandler = { httpAgent: new Agent({ keepAlive: false }) };
  clients = Array.from({ length: CLIENTS }, () => new S3Client({ ...options, requestHandler }));
  await one().send(new CreateBucketCommand({ Bucket }));
});
afterAll(async () => {
  for (const client of clients) client.destroy();
  await made.end();
});

function one(n = 0): S3Client {
  const client = clients[n % CLIENTS];
  if (!client) throw new Error('no client');
  return client;
}

/** Status and code of what was answered. */
const told = (what: Promise<unknown>): Promise<string> =>
  what.then(
    () => '200',
    ({ name, $metadata }: { name: string; $metadata?: { httpStatusCode?: number } }) =>
      `${$metadata?.httpStatusCode} ${name}`,
  );
const counted = (answers: string[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const answer of answers) counts[answer] = (counts[answer] ?? 0) + 1;
  return counts;
};

/** An upload of one part, ready to be completed. */
async function upload(Key: string, size: number): Promise<CompleteMultipartUploadCommandInput & { UploadId: string }> {
  const { UploadId = '' } = await one().send(new CreateMultipartUploadCommand({ Bucket, Key }));
  const part = { Bucket, Key, UploadId, PartNumber: 1, Body: Buffer.alloc(size, 'z') };
  const { ETag } = await one().send(new UploadPartCommand(part));
  return { Bucket, Key, UploadId, MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] } };
}

describe('two processes', () => {
  it.each<[string, (Key: string) => Promise<Pick<CompleteMultipartUploadCommandInput, 'IfMatch' | 'IfNoneMatch'>>]>([
    ['no condition', () => Promise.resolve({})],
    ['If-None-Match', () => Promise.resolve({ IfNoneMatch: '*' })],
    [
      'If-Match',
      async (Key) => {
        const { ETag } = await one().send(new PutObjectCommand({ Bucket, Key, Body: 'old' }));
        return ETag === undefined ? {} : { IfMatch: ETag };
      },
    ],
  ])('give all completions of an upload that are sent at once one answer, with %s', async (_what, conditionOf) => {
    const answers: string[] = [];
    for (let round = 0; round < 12; round++) {
      const Key = `twins-${_what}-${round}`;
      const condition = await conditionOf(Key);
      const input = { ...(await upload(Key, round % 2 ? 2000 : 1 << 20)), ...condition };
      const sent = clients.map((client) => told(client.send(new CompleteMultipartUploadCommand(input))));
      answers.push(...(await Promise.all(sent)));
    }
    expect(counted(answers)).toEqual({ 200: 12 * CLIENTS });
  });

  it('do a rename by one client token once, and tell all that ask for it that it is done', async () => {
    const answers: string[] = [];
    for (let round = 0; round < 12; round++) {
      const [from, Key] = [`from-${round}`, `to-${round}`];
      await one().send(new PutObjectCommand({ Bucket, Key: from, Body: 'old' }));
      const input = { Bucket, Key, RenameSource: from, ClientToken: `token-${round}`, DestinationIfNoneMatch: '*' };
      const all = (): Promise<string[]> =>
        Promise.all(clients.map((client) => told(client.send(new RenameObjectCommand(input)))));
      answers.push(...(await all()));
      // another object at the source is not the one that was to be renamed
      await one().send(new PutObjectCommand({ Bucket, Key: from, Body: 'new' }));
      answers.push(...(await all()));
      expect(await told(one(round).send(new HeadObjectCommand({ Bucket, Key: from })))).toBe('200');
      const other = new RenameObjectCommand({ ...input, Key: 'another' });
      expect(await told(one(round).send(other))).toBe('400 IdempotencyParameterMismatch');
    }
    expect(counted(answers)).toEqual({ 200: 2 * 12 * CLIENTS });
  });

  it('tell of a part that is sent while its upload ends that there is no such upload', async () => {
    const answers: string[] = [];
    for (let round = 0; round < 60; round++) {
      const { MultipartUpload, ...named } = await upload(`ends-${round}`, 1000);
      const sent = [2, 3, 4, 5].map((PartNumber) =>
        told(one(PartNumber).send(new UploadPartCommand({ ...named, PartNumber, Body: Buffer.alloc(50_000) }))),
      );
      const wait = (round % 12) - 4;
      if (wait >= 0) await new Promise((resolve) => setTimeout(resolve, wait));
      const end =
        round % 2
          ? new CompleteMultipartUploadCommand({ ...named, MultipartUpload })
          : new AbortMultipartUploadCommand(named);
      expect(await told(one().send(end))).toBe('200');
      answers.push(...(await Promise.all(sent)));
    }
    const { 200: _taken, '404 NoSuchUpload': _late, ...others } = counted(answers);
    expect(others).toEqual({});
  });
});
