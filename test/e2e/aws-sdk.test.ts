/** AWS SDK for JavaScript v3, unmodified, default checksums on. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketLocationCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListMultipartUploadsCommand,
  ListObjectsCommand,
  ListPartsCommand,
  paginateListObjectsV2,
  PutObjectCommand,
  PutObjectTaggingCommand,
  S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Bench } from './harness.js';
import { ACCESS_KEY, bench, MiB, REGION, SECRET_KEY } from './harness.js';

const Bucket = 'box';
const md5 = (bytes: Buffer | string): string => createHash('md5').update(bytes).digest('hex');

describe('AWS SDK for JavaScript', () => {
  let b: Bench;
  let s3: S3Client;
  const at = (...names: string[]): string => path.join(b.server.root, Bucket, ...names);
  const put = (Key: string, Body: string | Buffer): Promise<unknown> =>
    s3.send(new PutObjectCommand({ Bucket, Key, Body }));
  const get = async (Key: string, more = {}): Promise<Buffer> => {
    const answer = await s3.send(new GetObjectCommand({ Bucket, Key, ...more }));
    return Buffer.from((await answer.Body?.transformToByteArray()) ?? []);
  };
  const keys = async (query = {}): Promise<(string | undefined)[]> => {
    const found = [];
    for await (const page of paginateListObjectsV2({ client: s3 }, { Bucket, ...query })) {
      found.push(
        ...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix),
        ...(page.Contents ?? []).map(({ Key }) => Key),
      );
    }
    return found;
  };

  beforeAll(async () => {
    b = await bench({ workers: 2 }, async (root) => {
      await mkdir(path.join(root, 'Old Photos'));
      await writeFile(path.join(root, 'Old Photos', 'cat.txt'), 'meow');
    });
    s3 = new S3Client({
      endpoint: b.server.url,
      region: REGION,
      forcePathStyle: true,
      credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY },
    });
    await s3.send(new CreateBucketCommand({ Bucket }));
  });
  afterAll(async () => {
    s3.destroy();
    expect(await b.server.stop()).toBe(0);
    await b.end();
  });

  it('sees the folders that were there as buckets', async () => {
    const { Buckets, Owner } = await s3.send(new ListBucketsCommand({}));
    expect(Buckets?.map(({ Name }) => Name)).toEqual(['Old Photos', Bucket]);
    expect(Owner?.ID).toBeTruthy();
    await s3.send(new HeadBucketCommand({ Bucket }));
    expect((await s3.send(new GetBucketLocationCommand({ Bucket }))).LocationConstraint ?? '').toBe('');
    const there = await s3.send(new GetObjectCommand({ Bucket: 'Old Photos', Key: 'cat.txt' }));
    expect(await there.Body?.transformToString()).toBe('meow');
    expect(there.ContentType).toBe('text/plain');
  });

  it('puts, heads, gets, ranges and deletes', async () => {
    const bytes = randomBytes(300_000);
    const answer = await s3.send(
      new PutObjectCommand({
        Bucket,
        Key: 'a/ü 😀+%.bin',
        Body: bytes,
        ContentType: 'x/y',
        CacheControl: 'no-cache',
        Metadata: { colour: 'green', 'with-dash': 'two  words' },
        Tagging: 'a=1&b=two%20words',
      }),
    );
    expect(answer.ETag).toBe(`"${md5(bytes)}"`);
    expect((await readFile(at('a/ü 😀+%.bin'))).equals(bytes)).toBe(true);
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'a/ü 😀+%.bin', ChecksumMode: 'ENABLED' }));
    expect(head).toMatchObject({
      ContentLength: 300_000,
      ContentType: 'x/y',
      CacheControl: 'no-cache',
      AcceptRanges: 'bytes',
    });
    expect(head.Metadata).toEqual({ colour: 'green', 'with-dash': 'two  words' });
    expect(head.ChecksumCRC32).toBeTruthy();
    expect((await get('a/ü 😀+%.bin')).equals(bytes)).toBe(true);
    expect((await get('a/ü 😀+%.bin', { Range: 'bytes=-5' })).equals(bytes.subarray(-5))).toBe(true);
    expect((await get('a/ü 😀+%.bin', { Range: 'bytes=10-19' })).equals(bytes.subarray(10, 20))).toBe(true);
    const { TagSet } = await s3.send(new GetObjectTaggingCommand({ Bucket, Key: 'a/ü 😀+%.bin' }));
    expect(TagSet).toEqual([
      { Key: 'a', Value: '1' },
      { Key: 'b', Value: 'two words' },
    ]);
    await s3.send(
      new PutObjectTaggingCommand({ Bucket, Key: 'a/ü 😀+%.bin', Tagging: { TagSet: [{ Key: 'c', Value: '' }] } }),
    );
    expect((await s3.send(new HeadObjectCommand({ Bucket, Key: 'a/ü 😀+%.bin' }))).TagCount).toBe(1);
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'a/ü 😀+%.bin' }));
    await expect(get('a/ü 😀+%.bin')).rejects.toMatchObject({ name: 'NoSuchKey' });
    expect(await keys()).toEqual([]);
  });

  it('sends a stream with a trailing checksum', async () => {
    const bytes = randomBytes(700_000);
    await s3.send(
      new PutObjectCommand({
        Bucket,
        Key: 'stream',
        Body: Readable.from([bytes]),
        ContentLength: bytes.length,
        ChecksumAlgorithm: 'CRC32C',
      }),
    );
    expect((await get('stream', { ChecksumMode: 'ENABLED' })).equals(bytes)).toBe(true);
    const attributes = await s3.send(
      new GetObjectAttributesCommand({
        Bucket,
        Key: 'stream',
        ObjectAttributes: ['ETag', 'Checksum', 'ObjectSize', 'StorageClass'],
      }),
    );
    expect(attributes).toMatchObject({ ETag: md5(bytes), ObjectSize: bytes.length });
    expect(attributes.Checksum?.ChecksumCRC32C).toBeTruthy();
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'stream' }));
  });

  it.each(['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const)(
    'checks and returns %s',
    async (ChecksumAlgorithm) => {
      await s3.send(new PutObjectCommand({ Bucket, Key: 'sum', Body: 'checked', ChecksumAlgorithm }));
      const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'sum', ChecksumMode: 'ENABLED' }));
      expect(head[`Checksum${ChecksumAlgorithm}`]).toBeTruthy();
      expect(head.ChecksumType).toBe('FULL_OBJECT');
      expect((await get('sum', { ChecksumMode: 'ENABLED' })).toString()).toBe('checked');
      await s3.send(new DeleteObjectCommand({ Bucket, Key: 'sum' }));
    },
  );

  it('answers conditional requests', async () => {
    await put('c', 'one');
    const etag = `"${md5('one')}"`;
    await expect(
      s3.send(new PutObjectCommand({ Bucket, Key: 'c', Body: 'x', IfNoneMatch: '*' })),
    ).rejects.toMatchObject({ name: 'PreconditionFailed' });
    await s3.send(new PutObjectCommand({ Bucket, Key: 'c', Body: 'two', IfMatch: etag }));
    await expect(s3.send(new PutObjectCommand({ Bucket, Key: 'c', Body: 'x', IfMatch: etag }))).rejects.toMatchObject({
      name: 'PreconditionFailed',
    });
    await expect(get('c', { IfNoneMatch: `"${md5('two')}"` })).rejects.toMatchObject({
      $metadata: { httpStatusCode: 304 },
    });
    await expect(get('c', { IfMatch: etag })).rejects.toMatchObject({ $metadata: { httpStatusCode: 412 } });
    expect((await get('c')).toString()).toBe('two');
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'c' }));
  });

  it('lists in pages, by prefix and delimiter, v1 and v2', async () => {
    const names = ['a', 'a/1', 'a/2', 'b/c/d', 'é', '\ufffd', '\u{1f600}', 'dir/', 'with space'];
    await Promise.all(names.map((name) => put(name, name.endsWith('/') ? '' : name)));
    const sorted = [...names].sort((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y)));
    expect(await keys({ MaxKeys: 2 })).toEqual(sorted);
    expect(await keys({ Prefix: 'a/' })).toEqual(['a/1', 'a/2']);
    expect((await keys({ Delimiter: '/', Prefix: '' })).sort()).toEqual(
      ['a', 'a/', 'b/', 'dir/', 'é', '\ufffd', '\u{1f600}', 'with space'].sort(),
    );
    expect(await keys({ StartAfter: 'b' })).toEqual(
      sorted.filter((name) => Buffer.compare(Buffer.from(name), Buffer.from('b')) > 0),
    );
    const first = await s3.send(new ListObjectsCommand({ Bucket, MaxKeys: 3, Delimiter: '/' }));
    expect(first).toMatchObject({ IsTruncated: true, NextMarker: 'b/', MaxKeys: 3 });
    const { Errors, Deleted } = await s3.send(
      new DeleteObjectsCommand({ Bucket, Delete: { Objects: names.map((Key) => ({ Key })) } }),
    );
    expect(Errors ?? []).toEqual([]);
    expect(Deleted).toHaveLength(names.length);
    expect(await keys()).toEqual([]);
  });

  it('copies, to itself with new metadata too', async () => {
    await s3.send(
      new PutObjectCommand({ Bucket, Key: 'from ü', Body: 'bytes', Metadata: { v: '1' }, ContentType: 'x/y' }),
    );
    const CopySource = `${Bucket}/${encodeURIComponent('from ü')}`;
    const copied = await s3.send(new CopyObjectCommand({ Bucket, Key: 'to', CopySource }));
    expect(copied.CopyObjectResult?.ETag).toBe(`"${md5('bytes')}"`);
    expect(await s3.send(new HeadObjectCommand({ Bucket, Key: 'to' }))).toMatchObject({
      ContentType: 'x/y',
      Metadata: { v: '1' },
    });
    await expect(s3.send(new CopyObjectCommand({ Bucket, Key: 'from ü', CopySource }))).rejects.toMatchObject({
      name: 'InvalidRequest',
    });
    await s3.send(
      new CopyObjectCommand({ Bucket, Key: 'from ü', CopySource, MetadataDirective: 'REPLACE', Metadata: { v: '2' } }),
    );
    expect((await s3.send(new HeadObjectCommand({ Bucket, Key: 'from ü' }))).Metadata).toEqual({ v: '2' });
    await s3.send(
      new DeleteObjectsCommand({ Bucket, Delete: { Quiet: true, Objects: [{ Key: 'to' }, { Key: 'from ü' }] } }),
    );
  });

  it('uploads 64 MiB in parts, copies a part, lists, reads by part and aborts', { timeout: 120_000 }, async () => {
    const Key = 'deep/64MiB.bin';
    const parts = Array.from({ length: 8 }, () => randomBytes(8 * MiB));
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, Metadata: { big: 'yes' } }));
    const sent = await Promise.all(
      parts.map(async (Body, n) => {
        const { ETag, ChecksumCRC32 } = await s3.send(
          new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: n + 1, Body }),
        );
        return { ETag, ChecksumCRC32, PartNumber: n + 1 };
      }),
    );
    const { Uploads } = await s3.send(new ListMultipartUploadsCommand({ Bucket }));
    expect(Uploads?.map((upload) => [upload.Key, upload.UploadId])).toEqual([[Key, UploadId]]);
    const listed = await s3.send(new ListPartsCommand({ Bucket, Key, UploadId, MaxParts: 5 }));
    expect(listed).toMatchObject({ IsTruncated: true, NextPartNumberMarker: '5' });
    const done = await s3.send(
      new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts: sent } }),
    );
    const etags = Buffer.concat(parts.map((part) => Buffer.from(md5(part), 'hex')));
    expect(done.ETag).toBe(`"${md5(etags)}-8"`);
    expect((await readFile(at(Key))).equals(Buffer.concat(parts))).toBe(true);
    expect((await get(Key)).equals(Buffer.concat(parts))).toBe(true);
    expect((await get(Key, { PartNumber: 3 })).equals(parts[2] ?? Buffer.alloc(0))).toBe(true);
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key, PartNumber: 1 }));
    expect(head).toMatchObject({ PartsCount: 8, ContentLength: 8 * MiB, Metadata: { big: 'yes' } });

    const second = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'copy' }));
    const target = { Bucket, Key: 'copy', UploadId: second.UploadId };
    const ranged = await s3.send(
      new UploadPartCopyCommand({
        ...target,
        PartNumber: 1,
        CopySource: `${Bucket}/${Key}`,
        CopySourceRange: `bytes=1-${6 * MiB}`,
      }),
    );
    const Parts = [{ PartNumber: 1, ETag: ranged.CopyPartResult?.ETag }];
    await s3.send(new CompleteMultipartUploadCommand({ ...target, MultipartUpload: { Parts } }));
    expect((await get('copy')).equals(Buffer.concat(parts).subarray(1, 6 * MiB + 1))).toBe(true);

    const third = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'never' }));
    await s3.send(new AbortMultipartUploadCommand({ Bucket, Key: 'never', UploadId: third.UploadId }));
    expect((await s3.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads ?? []).toEqual([]);
    await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key }, { Key: 'copy' }] } }));
  });

  it('never tears an object under 100 clients at once', { timeout: 120_000 }, async () => {
    const bodies = new Map(
      Array.from({ length: 50 }, (_, n): [string, string] => {
        const content = String.fromCharCode(65 + (n % 26)).repeat(20_000 + n);
        return [`"${md5(content)}"`, content];
      }),
    );
    await put('busy', [...bodies.values()][0] ?? '');
    const writers = [...bodies.values()].map((content) => put('busy', content));
    const readers = Array.from({ length: 50 }, async () => {
      const answer = await s3.send(new GetObjectCommand({ Bucket, Key: 'busy' }));
      expect(await answer.Body?.transformToString()).toBe(bodies.get(answer.ETag ?? ''));
    });
    await Promise.all([...writers, ...readers]);
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'busy' }));
  });

  it('sees what another program does, and deletes the bucket only when nothing is left', async () => {
    await writeFile(at('foreign.html'), '<p>');
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'foreign.html' }));
    expect(head).toMatchObject({ ContentType: 'text/html', ContentLength: 3 });
    await expect(s3.send(new DeleteBucketCommand({ Bucket }))).rejects.toMatchObject({ name: 'BucketNotEmpty' });
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'foreign.html' }));
    await s3.send(new DeleteBucketCommand({ Bucket }));
    await expect(s3.send(new HeadBucketCommand({ Bucket }))).rejects.toMatchObject({
      $metadata: { httpStatusCode: 404 },
    });
  });
});
