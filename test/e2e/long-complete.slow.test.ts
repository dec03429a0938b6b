/** A CompleteMultipartUpload that takes longer than clients wait for a silent server: white space, then the answer or the error. */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createServer, openStore, S3Error } from '../../src/index.js';
import type { GatewayServer, LocalStore } from '../../src/index.js';
import { ACCESS_KEY, describeClient, pythonWithBoto3, REGION, run, SECRET_KEY } from './harness.js';
import { compose } from './raw.js';

/** Ms: two rounds of white space, each within the clients' patience, both together beyond it. */
const WORK = 24_000;
const PATIENCE = 14_000;

let root: string;
let store: LocalStore;
let server: GatewayServer;
let port: number;
let s3: S3Client;

beforeAll(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-e2e-'));
  await mkdir(path.join(root, 'box'));
  store = await openStore(root, { minPartSize: 1 });
  // The real store, joining parts as slowly as a slow disk would; keys `fail…` come to nothing in the end.
  const slow = new Proxy(store, {
    get(target, name) {
      if (name === 'completeUpload') {
        return async (...call: Parameters<LocalStore['completeUpload']>) => {
          await sleep(WORK);
          if (call[1].startsWith('fail')) throw new S3Error('InvalidPart', 'The disk lost a part.');
          return target.completeUpload(...call);
        };
      }
      const member: unknown = Reflect.get(target, name);
      return typeof member === 'function' ? (member.bind(target) as unknown) : member;
    },
  });
  const owner = { id: 'alice', displayName: 'Alice' };
  const credentials = [{ accessKey: ACCESS_KEY, secretKey: SECRET_KEY, owner }];
  server = createServer({ store: slow, credentials, port: 0 });
  ({ port } = await server.listen());
  s3 = new S3Client({
    endpoint: `http://127.0.0.1:${port}`,
    region: REGION,
    forcePathStyle: true,
    credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY },
    maxAttempts: 1,
    requestHandler: { socketTimeout: PATIENCE, requestTimeout: PATIENCE, throwOnRequestTimeout: true },
  });
});
afterAll(async () => {
  s3.destroy();
  await server.close();
  await store.close();
  await rm(root, { recursive: true, force: true });
});

async function upload(Key: string): Promise<{ UploadId: string; ETag: string }> {
  const { UploadId = '' } = await s3.send(new CreateMultipartUploadCommand({ Bucket: 'box', Key }));
  const { ETag = '' } = await s3.send(
    new UploadPartCommand({ Bucket: 'box', Key, UploadId, PartNumber: 1, Body: 'bytes' }),
  );
  return { UploadId, ETag };
}
const etag = `${createHash('md5').update(createHash('md5').update('bytes').digest()).digest('hex')}-1`;
const onDisk = (key: string): Promise<string> => readFile(path.join(root, 'box', key), 'utf8');

/** What came over the wire, with the milliseconds after which it came. */
async function raw(key: string): Promise<{ at: number; text: string }[]> {
  const { UploadId, ETag } = await upload(key);
  const body = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${ETag}</ETag></Part></CompleteMultipartUpload>`;
  const bytes = compose(port, { method: 'POST', target: `/box/${key}?uploadId=${UploadId}`, body });
  const began = Date.now();
  const got: { at: number; text: string }[] = [];
  const socket = net.connect({ port, host: '127.0.0.1' });
  socket.on('data', (chunk) => got.push({ at: Date.now() - began, text: chunk.toString() }));
  socket.write(bytes);
  await new Promise((resolve, reject) => socket.once('end', resolve).once('error', reject));
  return got;
}

describe.concurrent('a completion of 24 s', () => {
  it('sends status 200 and white space, then the result in one document', async () => {
    const got = await raw('raw');
    const first = got[0];
    expect(first?.at).toBeGreaterThan(8_000);
    expect(first?.at).toBeLessThan(PATIENCE);
    expect(first?.text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(first?.text).toMatch(/content-type: application\/xml/i);
    const gaps = got.map(({ at }, i) => at - (got[i - 1]?.at ?? 0));
    expect(Math.max(...gaps)).toBeLessThan(PATIENCE);
    const all = got.map(({ text }) => text).join('');
    // The frames of the chunked coding lie between the white space.
    const text = all.slice(all.indexOf('\r\n\r\n')).replace(/\r\n[0-9a-f]+\r\n/g, '');
    expect(text.match(/<\?xml/g)).toHaveLength(1);
    expect(text).toMatch(/^\s*<\?xml[^>]*>\s{2,}<CompleteMultipartUploadResult/);
    expect(text).toContain(etag);
  });

  it('ends in an Error document under status 200 if it fails', async () => {
    const all = (await raw('fail-raw')).map(({ text }) => text).join('');
    expect(all).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(all).toMatch(/<Error><Code>InvalidPart<\/Code><Message>The disk lost a part\.<\/Message>/);
    expect(all).not.toContain('CompleteMultipartUploadResult');
  });

  it('AWS SDK for JavaScript: waits, and reads the result', async () => {
    const { UploadId, ETag } = await upload('sdk');
    const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] };
    const done = await s3.send(
      new CompleteMultipartUploadCommand({ Bucket: 'box', Key: 'sdk', UploadId, MultipartUpload }),
    );
    expect([done.ETag, done.Key]).toEqual([`"${etag}"`, 'sdk']);
    expect(await onDisk('sdk')).toBe('bytes');
  });

  it('AWS SDK for JavaScript: throws what failed', async () => {
    const { UploadId, ETag } = await upload('fail-sdk');
    const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] };
    const command = new CompleteMultipartUploadCommand({ Bucket: 'box', Key: 'fail-sdk', UploadId, MultipartUpload });
    await expect(s3.send(command)).rejects.toMatchObject({ name: 'InvalidPart', message: 'The disk lost a part.' });
    await expect(s3.send(new HeadObjectCommand({ Bucket: 'box', Key: 'fail-sdk' }))).rejects.toMatchObject({
      name: 'NotFound',
    });
    await expect(stat(path.join(root, 'box', 'fail-sdk'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  describeClient('boto3', 'python3', (python) => {
    const script = `
import sys, boto3
from botocore.config import Config
from botocore.exceptions import ClientError
config = Config(read_timeout=${PATIENCE / 1000}, retries={"total_max_attempts": 1})
s3 = boto3.client("s3", endpoint_url=sys.argv[1], config=config)
place = {"Bucket": "box", "Key": sys.argv[2]}
upload = s3.create_multipart_upload(**place)["UploadId"]
etag = s3.upload_part(**place, UploadId=upload, PartNumber=1, Body=b"bytes")["ETag"]
try:
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    print(s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload=parts)["ETag"])
except ClientError as error:
    print(error.response["Error"]["Code"], error.response["Error"]["Message"])
`;
    const complete = async (key: string): Promise<string> => {
      const { stdout } = await run(await pythonWithBoto3(python), ['-c', script, `http://127.0.0.1:${port}`, key], {
        env: { AWS_ACCESS_KEY_ID: ACCESS_KEY, AWS_SECRET_ACCESS_KEY: SECRET_KEY, AWS_DEFAULT_REGION: REGION },
      });
      return stdout.trim();
    };

    it('waits, and reads the result', async () => {
      expect(await complete('boto')).toBe(`"${etag}"`);
      expect(await onDisk('boto')).toBe('bytes');
    });
    it('raises what failed', async () => {
      expect(await complete('fail-boto')).toBe('InvalidPart The disk lost a part.');
    });
  });
});
