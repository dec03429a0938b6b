import { describe, expect, it } from 'vitest';
import { completeMultipartUpload } from '../../src/ops/multipart-complete.js';
import { listParts } from '../../src/ops/multipart-list.js';
import { uploadPart, uploadPartCopy } from '../../src/ops/multipart-part.js';
import type { DigestPlan } from '../../src/base/model.js';
import type { CompleteOptions, Part, PartRef, Upload } from '../../src/store/contract.js';
import { renderXml } from '../../src/wire/xml.js';
import { context, input, object, opened } from './stub.js';

const upload: Upload = {
  uploadId: 'U',
  bucket: 'photos',
  key: 'k',
  initiated: 0,
  facts: {},
  checksum: { algorithm: 'CRC32', type: 'COMPOSITE' },
};
const part = (partNumber: number): Part => ({ partNumber, size: 5, etag: 'p', lastModified: 0 });

describe('CompleteMultipartUpload', () => {
  async function complete(parts: string, headers: Record<string, string> = {}) {
    let seen: { parts: PartRef[]; options: CompleteOptions } | undefined;
    const ctx = context({
      getUpload: () => Promise.resolve(upload),
      completeUpload: (_b, _k, _id, refs, options) => {
        seen = { parts: refs, options: options ?? {} };
        return Promise.resolve(object('k'));
      },
    });
    const text = `<CompleteMultipartUpload>${parts}</CompleteMultipartUpload>`;
    const request = input({ key: 'a b/ä', query: 'uploadId=U', headers: { host: 'h:9000', ...headers }, text });
    const { xml } = await completeMultipartUpload(ctx, request);
    return { ...seen, xml: xml === undefined ? '' : renderXml(xml) };
  }
  const P = (n: number | string, more = '') => `<Part>${more}<ETag>"e${n}"</ETag><PartNumber>${n}</PartNumber></Part>`;

  it('hands on parts, size, checksum and conditions', async () => {
    const { parts, options, xml } = await complete(P(2, '<ChecksumCRC32>AAAAAA==</ChecksumCRC32>') + P(9), {
      'x-amz-mp-object-size': '10',
      'x-amz-checksum-crc32': 'BBBBBB==-2',
      'if-none-match': '*',
    });
    expect(parts).toEqual([
      { partNumber: 2, etag: 'e2', checksums: { CRC32: 'AAAAAA==' } },
      { partNumber: 9, etag: 'e9', checksums: {} },
    ]);
    expect(options).toMatchObject({
      size: 10,
      checksum: { algorithm: 'CRC32', value: 'BBBBBB==-2' },
      condition: { ifNoneMatch: ['*'] },
    });
    expect(xml).toContain('<Location>http://h:9000/photos/a%20b/%C3%A4</Location>');
  });

  it.each<[string, string, string, Record<string, string>?]>([
    ['no part', '', 'MalformedXML'],
    ['10,001 parts', Array.from({ length: 10_001 }, (_, i) => P(i + 1)).join(''), 'MalformedXML'],
    ['a part without ETag', '<Part><PartNumber>1</PartNumber></Part>', 'MalformedXML'],
    ['a number that is none', P('x'), 'MalformedXML'],
    ['number 0', P(0), 'InvalidArgument'],
    ['descending order', P(2) + P(1), 'InvalidPartOrder'],
    ['the same twice', P(1) + P(1), 'InvalidPartOrder'],
    ['another checksum type', P(1), 'InvalidRequest', { 'x-amz-checksum-type': 'FULL_OBJECT' }],
    ['a size that is none', P(1), 'InvalidArgument', { 'x-amz-mp-object-size': '-1' }],
  ])('refuses %s', async (_name, parts, code, headers) => {
    await expect(complete(parts, headers)).rejects.toMatchObject({ code });
  });
});

describe('UploadPart', () => {
  async function put(headers: Record<string, string>, query = 'partNumber=1&uploadId=U') {
    let digests: DigestPlan | undefined;
    const ctx = context({
      getUpload: () => Promise.resolve(upload),
      putPart: (_b, _k, _id, n, _body, options) => {
        digests = options?.digests;
        return Promise.resolve(part(n));
      },
    });
    await uploadPart(ctx, input({ key: 'k', query, headers }));
    return digests;
  }

  it('computes the upload’s checksum for a part that came without', async () => {
    expect(await put({})).toMatchObject({ algorithms: ['CRC32'], store: 'CRC32' });
  });

  it.each<[Record<string, string>, string, string]>([
    [{ 'x-amz-checksum-sha1': '2jmj7l5rSw0yVb/vlWAYkK/YBwk=' }, 'partNumber=1&uploadId=U', 'InvalidRequest'],
    [{}, 'partNumber=0&uploadId=U', 'InvalidArgument'],
    [{}, 'partNumber=10001&uploadId=U', 'InvalidArgument'],
    [{}, 'partNumber=1x&uploadId=U', 'InvalidArgument'],
  ])('refuses %j %s', async (headers, query, code) => {
    await expect(put(headers, query)).rejects.toMatchObject({ code });
  });

  it('ends a body of unknown size beyond 5 GiB', async () => {
    const huge = { length: 3 * 1024 ** 3 } as Uint8Array;
    const body = {
      chunks: (async function* () {
        yield huge;
        yield huge;
      })(),
    };
    const ctx = context({
      getUpload: () => Promise.resolve(upload),
      putPart: async (_b, _k, _id, n, { chunks }) => {
        let size = 0;
        for await (const chunk of chunks) size += chunk.length;
        return { ...part(n), size };
      },
    });
    const request = input({ key: 'k', query: 'partNumber=1&uploadId=U', body });
    await expect(uploadPart(ctx, request)).rejects.toMatchObject({ code: 'EntityTooLarge' });
  });
});

describe('UploadPartCopy', () => {
  const bytes = Buffer.from('0123456789');
  async function copy(headers: Record<string, string>) {
    const open = opened(object('src'), [], bytes, 3);
    let got = '';
    const ctx = context({
      getUpload: () => Promise.resolve(upload),
      open: () => Promise.resolve(open),
      putPart: async (_b, _k, _id, n, body) => {
        for await (const chunk of body.chunks) got += Buffer.from(chunk).toString();
        expect(body.size).toBe(got.length);
        return part(n);
      },
    });
    const request = input({
      key: 'k',
      query: 'partNumber=1&uploadId=U',
      headers: { 'x-amz-copy-source': 'photos/src', ...headers },
    });
    await uploadPartCopy(ctx, request).finally(() => expect(open.closed).toBe(1));
    return got;
  }

  it('copies all, or a range', async () => {
    expect(await copy({})).toBe('0123456789');
    expect(await copy({ 'x-amz-copy-source-range': 'bytes=2-7' })).toBe('234567');
  });

  it.each([
    ['bytes=0-10', 'InvalidRange'],
    ['bytes=5-', 'InvalidArgument'],
    ['0-5', 'InvalidArgument'],
  ])('refuses %s and closes the source', async (range, code) => {
    await expect(copy({ 'x-amz-copy-source-range': range })).rejects.toMatchObject({ code });
  });
});

it('ListParts writes a page', async () => {
  const ctx = context({
    getUpload: () => Promise.resolve(upload),
    listParts: (_b, _k, _id, query) => {
      expect(query).toEqual({ after: 3, max: 1 });
      return Promise.resolve({
        parts: [{ ...part(4), checksum: { algorithm: 'CRC32', value: 'AAAAAA==' } }],
        truncated: true,
      });
    },
  });
  const { xml } = await listParts(ctx, input({ key: 'k', query: 'uploadId=U&max-parts=1&part-number-marker=3' }));
  expect(xml && renderXml(xml, { xmlns: null, declaration: false }).replaceAll('&quot;', '"')).toBe(
    '<ListPartsResult><Bucket>photos</Bucket><Key>k</Key><UploadId>U</UploadId>' +
      '<Initiator><ID>alice-id</ID><DisplayName>alice</DisplayName></Initiator><Owner><ID>alice-id</ID><DisplayName>alice</DisplayName></Owner>' +
      '<StorageClass>STANDARD</StorageClass><PartNumberMarker>3</PartNumberMarker><NextPartNumberMarker>4</NextPartNumberMarker>' +
      '<MaxParts>1</MaxParts><IsTruncated>true</IsTruncated><ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>COMPOSITE</ChecksumType>' +
      '<Part><PartNumber>4</PartNumber><LastModified>1970-01-01T00:00:00.000Z</LastModified><ETag>"p"</ETag><Size>5</Size><ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part></ListPartsResult>',
  );
});
