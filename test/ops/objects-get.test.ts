import { describe, expect, it } from 'vitest';
import { getObject, headObject } from '../../src/ops/objects-get.js';
import { anonymous, context, input, object, opened } from './stub.js';

const info = object('k', {
  size: 10,
  facts: { contentType: 'text/plain', tags: [['a', 'b']], metadata: { colour: 'red' } },
  checksum: { algorithm: 'CRC32', type: 'COMPOSITE', value: 'AAAAAA==-2' },
  partCount: 2,
});
const PARTS = [
  { partNumber: 3, size: 6, checksum: 'BBBBBB==' },
  { partNumber: 7, size: 4, checksum: 'CCCCCC==' },
];

async function get(query: string, headers: Record<string, string> = {}, of = info) {
  const open = opened(of, of.partCount === undefined ? [] : PARTS);
  const result = await getObject(
    context({ open: () => Promise.resolve(open) }),
    input({ key: 'k', query, headers }),
  ).catch((error: unknown) => {
    expect(open.closed, 'an object must be closed when the request is refused').toBe(1);
    throw error;
  });
  return { ...result, range: [result.object?.start, result.object?.end], headers: result.headers ?? {}, open };
}

describe('GetObject', () => {
  it('describes the object and leaves it open for the responder', async () => {
    const { status, headers, range, open } = await get('');
    expect(status).toBe(200);
    expect(range).toEqual([0, 10]);
    expect(open.closed).toBe(0);
    expect(headers).toEqual({
      'Content-Type': 'text/plain',
      'Content-Length': '10',
      ETag: `"${'e'.repeat(32)}"`,
      'Last-Modified': 'Tue, 02 Jan 2024 03:04:05 GMT',
      'Accept-Ranges': 'bytes',
      'x-amz-meta-colour': 'red',
      'x-amz-tagging-count': '1',
    });
  });

  it.each([
    ['bytes=2-4', 206, [2, 5], 'bytes 2-4/10'],
    ['bytes=-3', 206, [7, 10], 'bytes 7-9/10'],
    ['bytes=8-', 206, [8, 10], 'bytes 8-9/10'],
    ['bytes=0-1,3-4', 200, [0, 10], undefined],
  ])('serves %s as %i', async (range, status, bytes, contentRange) => {
    const found = await get('', { range });
    expect(found.status).toBe(status);
    expect(found.range).toEqual(bytes);
    expect(found.headers['Content-Range']).toBe(contentRange);
  });

  it('serves the whole if If-Range does not fit', async () => {
    expect((await get('', { range: 'bytes=0-1', 'if-range': '"other"' })).status).toBe(200);
    expect((await get('', { range: 'bytes=0-1', 'if-range': `"${info.etag}"` })).status).toBe(206);
    expect((await get('', { range: 'bytes=0-1', 'if-range': 'Tue, 02 Jan 2024 03:04:05 GMT' })).status).toBe(206);
    expect((await get('', { range: 'bytes=0-1', 'if-range': 'Tue, 02 Jan 2024 03:04:06 GMT' })).status).toBe(200);
  });

  it('finds parts by the numbers they were sent with', async () => {
    const second = await get('partNumber=7', { 'x-amz-checksum-mode': 'ENABLED' });
    expect(second.status).toBe(206);
    expect(second.range).toEqual([6, 10]);
    expect(second.headers).toMatchObject({
      'Content-Range': 'bytes 6-9/10',
      'x-amz-mp-parts-count': '2',
      'x-amz-checksum-crc32': 'CCCCCC==',
    });
    const single = object('k', { size: 10 });
    expect((await get('partNumber=1', {}, single)).range).toEqual([0, 10]);
    await expect(get('partNumber=2', {}, single)).rejects.toMatchObject({ code: 'InvalidPartNumber' });
    await expect(get('partNumber=1')).rejects.toMatchObject({ code: 'InvalidPartNumber' });
    expect((await get('partNumber=1', {}, object('k', { size: 0 }))).status).toBe(200);
  });

  it('gives the checksum of the whole, not of a range', async () => {
    const mode = { 'x-amz-checksum-mode': 'ENABLED' };
    expect((await get('', mode)).headers['x-amz-checksum-crc32']).toBe('AAAAAA==-2');
    expect((await get('', { ...mode, range: 'bytes=0-4' })).headers).not.toHaveProperty('x-amz-checksum-crc32');
  });

  it('overrides headers, as bytes that a header can carry', async () => {
    const { headers } = await get('response-content-type=a/b&response-content-disposition=attachment; filename="ä"');
    expect(headers['Content-Type']).toBe('a/b');
    expect(Buffer.from(headers['Content-Disposition'] ?? '', 'latin1').toString()).toBe('attachment; filename="ä"');
    await expect(get('response-expires=a%0d%0aSet-Cookie: x')).rejects.toMatchObject({ code: 'InvalidArgument' });
  });

  it.each([
    ['partNumber=0', {}, 'InvalidArgument'],
    ['partNumber=10001', {}, 'InvalidArgument'],
    ['partNumber=3', { range: 'bytes=0-1' }, 'InvalidRequest'],
    ['versionId=abc', {}, 'NoSuchVersion'],
    ['versionId=', {}, 'InvalidArgument'],
    ['', { range: 'bytes=10-' }, 'InvalidRange'],
    ['', { 'if-none-match': `"${info.etag}"` }, 'NotModified'],
    ['', { 'if-match': '"x"' }, 'PreconditionFailed'],
    ['', { 'x-amz-server-side-encryption-customer-algorithm': 'AES256' }, 'InvalidArgument'],
  ])('refuses %s %j with %s', async (query, headers, code) => {
    const open = opened(info, PARTS);
    const request = input({ key: 'k', query, headers: headers });
    await expect(getObject(context({ open: () => Promise.resolve(open) }), request)).rejects.toMatchObject({ code });
  });

  it('says of caching in a 304 what the 200 would say', async () => {
    const cached = {
      ...info,
      facts: { ...info.facts, cacheControl: 'max-age=60', expires: 'Thu, 01 Jan 2099 00:00:00 GMT' },
    };
    const ask = (query: string) => get(query, { 'if-none-match': `"${info.etag}"` }, cached);
    const told = {
      ETag: `"${info.etag}"`,
      'Last-Modified': 'Tue, 02 Jan 2024 03:04:05 GMT',
      'Cache-Control': 'max-age=60',
      Expires: 'Thu, 01 Jan 2099 00:00:00 GMT',
    };
    await expect(ask('')).rejects.toMatchObject({ code: 'NotModified', headers: told });
    const error: unknown = await ask('response-cache-control=no-cache').catch((thrown: unknown) => thrown);
    expect(error).toHaveProperty('headers', { ...told, 'Cache-Control': 'no-cache' });
  });

  it('gives strangers no overrides', async () => {
    const ctx = context({}, { identity: anonymous });
    await expect(getObject(ctx, input({ key: 'k', query: 'response-expires=1' }))).rejects.toMatchObject({
      code: 'InvalidRequest',
    });
  });
});

describe('an object at hand', () => {
  const bytes = Buffer.from('0123456789');
  const ctx = context({ atHand: () => ({ info, bytes }), head: () => Promise.resolve(info) });

  it.each([{}, { range: 'bytes=2-4' }, { range: 'bytes=-3' }, { 'x-amz-checksum-mode': 'ENABLED' }])(
    'is told as one that is opened: %j',
    async (headers: Record<string, string>) => {
      const there = await getObject(ctx, input({ key: 'k', headers }));
      const opened = await get('', headers);
      expect({ status: there.status, headers: there.headers }).toEqual({
        status: opened.status,
        headers: opened.headers,
      });
      expect(there.bytes?.toString()).toBe(bytes.toString('utf8', ...opened.range));
      expect(await headObject(ctx, input({ key: 'k', headers }))).toEqual({
        status: there.status,
        headers: there.headers,
      });
    },
  );

  it('is refused as one', async () => {
    const headers = { 'if-none-match': `"${info.etag}"` };
    await expect(getObject(ctx, input({ key: 'k', headers }))).rejects.toMatchObject({ code: 'NotModified' });
    await expect(getObject(ctx, input({ key: 'k', query: 'response-expires=%00' }))).rejects.toMatchObject({
      code: 'InvalidArgument',
    });
  });

  it('is opened for one of its parts', async () => {
    const open = opened(info, PARTS);
    const both = context({ atHand: () => ({ info, bytes }), open: () => Promise.resolve(open) });
    const result = await getObject(both, input({ key: 'k', query: 'partNumber=7' }));
    expect([result.object?.start, result.object?.end]).toEqual([6, 10]);
  });
});

describe('HeadObject', () => {
  it('answers as GetObject does, without opening the file', async () => {
    const ctx = context({ head: () => Promise.resolve(info) });
    const head = await headObject(ctx, input({ key: 'k', headers: { range: 'bytes=0-3' } }));
    const got = await get('', { range: 'bytes=0-3' });
    expect(head).toEqual({ status: got.status, headers: got.headers });
  });

  it('closes what it opened for a part', async () => {
    const open = opened(info, PARTS);
    const ctx = context({ open: () => Promise.resolve(open) });
    const head = await headObject(ctx, input({ key: 'k', query: 'partNumber=3' }));
    expect(head.headers).toMatchObject({ 'Content-Length': '6', 'x-amz-mp-parts-count': '2' });
    expect(open.closed).toBe(1);
  });
});
