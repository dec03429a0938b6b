import { describe, expect, it, vi } from 'vitest';
import type { BucketSettings, PutOptions } from '../../src/store/contract.js';
import { S3Error } from '../../src/base/errors.js';
import { putObjectAcl } from '../../src/ops/acl.js';
import { precheckPut, putObject } from '../../src/ops/objects-put.js';
import { patiently } from '../../src/ops/patience.js';
import { renameObject } from '../../src/ops/rename.js';
import { ALICE, bob, BOB, bucketOf, context, input, object } from './stub.js';

async function put(headers: Record<string, string>, settings: BucketSettings = {}, who?: typeof bob) {
  let options: PutOptions = {};
  const ctx = context(
    {
      put: (_bucket, _key, _body, given) => {
        options = given ?? {};
        return Promise.resolve(
          object('k', { checksum: { algorithm: 'CRC32', type: 'FULL_OBJECT', value: 'AAAAAA==' } }),
        );
      },
    },
    { bucket: bucketOf(settings), ...(who ? { identity: who } : {}) },
  );
  const result = await putObject(ctx, input({ key: 'k', headers }));
  return { ...options, headers: result.headers };
}

describe('PutObject', () => {
  it('hands on facts and conditions', async () => {
    const { facts, condition, headers } = await put({
      'content-type': 'a/b',
      'x-amz-tagging': 'a=b',
      'if-none-match': '*',
    });
    expect(facts).toEqual({ contentType: 'a/b', tags: [['a', 'b']] });
    expect(condition).toEqual({ ifNoneMatch: ['*'] });
    expect(headers).toMatchObject({ ETag: `"${'e'.repeat(32)}"`, 'x-amz-checksum-crc32': 'AAAAAA==' });
  });

  it('records an owner only where it is not the bucket’s', async () => {
    expect((await put({}, {}, bob)).facts).toEqual({ owner: BOB });
    expect((await put({}, { ownership: 'BucketOwnerEnforced' }, bob)).facts).toEqual({});
    const preferred: BucketSettings = { ownership: 'BucketOwnerPreferred' };
    expect((await put({ 'x-amz-acl': 'bucket-owner-full-control' }, preferred, bob)).facts).toEqual({});
    expect((await put({}, preferred, bob)).facts).toEqual({ owner: BOB });
  });

  const blocked = {
    blockPublicAcls: true,
    ignorePublicAcls: false,
    blockPublicPolicy: false,
    restrictPublicBuckets: false,
  };
  const customerKey = {
    'x-amz-server-side-encryption-customer-algorithm': 'AES256',
    'x-amz-server-side-encryption-customer-key': 'k',
    'x-amz-server-side-encryption-customer-key-md5': 'm',
  };
  it.each<[Record<string, string>, string, BucketSettings?]>([
    [{ 'x-amz-acl': 'everyone' }, 'InvalidArgument'],
    [{ 'x-amz-acl': 'public-read' }, 'AccessDenied', { publicAccessBlock: blocked }],
    [{ 'x-amz-acl': 'public-read' }, 'AccessControlListNotSupported', { ownership: 'BucketOwnerEnforced' }],
    [{ 'x-amz-server-side-encryption': 'aws:kms' }, 'NotImplemented'],
    [{ 'x-amz-server-side-encryption': 'ROT13' }, 'InvalidArgument'],
    [
      { 'x-amz-server-side-encryption': 'AES256', 'x-amz-server-side-encryption-aws-kms-key-id': 'k' },
      'InvalidArgument',
    ],
    [{ ...customerKey, 'x-amz-server-side-encryption': 'AES256' }, 'InvalidArgument'],
    [customerKey, 'NotImplemented'],
    [{ 'x-amz-object-lock-legal-hold': 'ON' }, 'InvalidRequest'],
    [{ 'x-amz-write-offset-bytes': '-1' }, 'InvalidArgument'],
    [{ 'content-md5': 'x' }, 'InvalidDigest'],
  ])('refuses %j with %s', async (headers, code, settings) => {
    await expect(put(headers, settings)).rejects.toMatchObject({ code });
  });

  it.each(['partNumber=1', 'versionId=null'])('never makes an object of a request with ?%s', async (query) => {
    await expect(putObject(context({}), input({ key: 'k', query }))).rejects.toMatchObject({ code: 'InvalidArgument' });
  });

  it('appends, with facts only for the first bytes', async () => {
    const append = vi.fn((..._args: unknown[]) => Promise.resolve(object('k', { size: 30 })));
    const at = (offset: string) =>
      putObject(
        context({ append }),
        input({ key: 'k', headers: { 'x-amz-write-offset-bytes': offset, 'content-type': 'a/b' } }),
      );
    expect((await at('20')).headers).toMatchObject({ 'x-amz-object-size': '30' });
    await at('0');
    expect(append.mock.calls[0]?.[2]).toBe(20);
    expect(append.mock.calls[0]?.[4]).not.toHaveProperty('facts');
    expect(append.mock.calls[1]?.[4]).toMatchObject({ facts: { contentType: 'a/b' } });
  });

  it('refuses before the body comes', async () => {
    const there = context({ head: () => Promise.resolve(object('k')) });
    const none = context({ head: () => Promise.reject(new S3Error('NoSuchKey')) });
    const ifNone = input({ key: 'k', headers: { 'if-none-match': '*' } });
    await expect(precheckPut(there, ifNone)).rejects.toMatchObject({ code: 'PreconditionFailed' });
    await expect(precheckPut(none, ifNone)).resolves.toBeUndefined();
    const huge = input({ key: 'k', body: { chunks: (async function* () {})(), size: 5 * 1024 ** 3 + 1 } });
    await expect(precheckPut(context({}), huge)).rejects.toMatchObject({ code: 'EntityTooLarge' });
    const some = { chunks: (async function* () {})(), size: 1 };
    const atEnd = input({ key: 'k', headers: { 'x-amz-write-offset-bytes': String(5 * 1024 ** 4) }, body: some });
    await expect(precheckPut(context({}), atEnd)).rejects.toMatchObject({ code: 'EntityTooLarge' });
    await expect(putObject(context({}), atEnd)).rejects.toMatchObject({ code: 'EntityTooLarge' });
    const long = input({ key: 'k'.repeat(1025) });
    await expect(precheckPut(context({}), long)).rejects.toMatchObject({ code: 'KeyTooLongError' });
  });
});

describe('PutObjectAcl', () => {
  const ctx = context({
    head: () => Promise.resolve(object('k')),
    updateFacts: async (_b, _k, change) => object('k', { facts: change({}, object('k')) }),
  });
  it.each<[string, Record<string, string>, string, string]>([
    ['neither headers nor body', {}, '', 'MissingSecurityHeader'],
    ['both', { 'x-amz-acl': 'private' }, '<AccessControlPolicy/>', 'UnexpectedContent'],
    [
      'a change of owner',
      {},
      `<AccessControlPolicy><Owner><ID>${BOB.id}</ID></Owner><AccessControlList/></AccessControlPolicy>`,
      'AccessDenied',
    ],
  ])('refuses %s', async (_name, headers, text, code) => {
    await expect(putObjectAcl(ctx, input({ key: 'k', headers, text }))).rejects.toMatchObject({ code });
  });

  it('takes a body that names the owner', async () => {
    const text = `<AccessControlPolicy><Owner><ID>${ALICE.id}</ID></Owner><AccessControlList/></AccessControlPolicy>`;
    await expect(putObjectAcl(ctx, input({ key: 'k', text }))).resolves.toEqual({});
  });
});

describe('RenameObject', () => {
  function renamer() {
    const move = vi.fn((..._args: unknown[]) => Promise.resolve(object('new')));
    const asked: unknown[] = [];
    const wasMoved = vi.fn((..._args: unknown[]) => Promise.resolve(false));
    const ctx = context({ move, wasMoved }, { authorize: (...args) => Promise.resolve(void asked.push(args)) });
    const rename = (source: string, headers: Record<string, string> = {}) =>
      renameObject(ctx, input({ key: 'new', headers: { 'x-amz-rename-source': source, ...headers } }));
    return { move, wasMoved, asked, rename };
  }

  it.each([
    ['a%20b/c', 'a b/c'],
    ['/a', '/a'],
    ['//a', '//a'],
    ['%2Fa', '/a'],
    ['/photos/a', '/photos/a'],
    ['photos/a', 'photos/a'],
    ['a%2520b', 'a%20b'],
  ])('reads the source %s as %s, decoded once', async (header, key) => {
    const { move, asked, rename } = renamer();
    await rename(header);
    expect(move.mock.calls[0]?.[0]).toEqual({ bucket: 'photos', key });
    expect(asked.map((args) => (args as unknown[]).slice(0, 3))).toEqual([
      ['s3:GetObject', 'photos', key],
      ['s3:DeleteObject', 'photos', key],
      ['s3:DeleteObjectVersion', 'photos', key],
      ['s3:PutObjectAcl', 'photos', 'new'],
      ['s3:PutObjectTagging', 'photos', 'new'],
    ]);
  });

  it('asks for nothing once a token’s rename is done, also if that is done meanwhile', async () => {
    const { move, wasMoved, asked, rename } = renamer();
    const token = { 'x-amz-client-token': 'token-1' };
    wasMoved.mockResolvedValueOnce(true);
    await rename('old', token);
    expect([move.mock.calls, asked]).toEqual([[], []]);
    wasMoved.mockResolvedValueOnce(false).mockResolvedValueOnce(true);
    move.mockRejectedValueOnce(new S3Error('NoSuchKey'));
    await rename('old', token);
    expect(move).toHaveBeenCalledTimes(1);
    wasMoved.mockResolvedValueOnce(false).mockResolvedValueOnce(true);
    move.mockRejectedValueOnce(new S3Error('InternalError'));
    await expect(rename('old', token)).rejects.toMatchObject({ code: 'InternalError' });
  });

  it('tells requests of one token apart by all that they ask for', async () => {
    const { wasMoved, rename } = renamer();
    const token = { 'x-amz-client-token': 'token-1' };
    await rename('old', token);
    await rename('old', { ...token, 'x-amz-date': 'later' });
    await rename('older', token);
    await rename('old', { ...token, 'if-none-match': '*' });
    await rename('old', { ...token, 'x-amz-rename-source-if-match': 'x' });
    const requests = wasMoved.mock.calls.map(([, , asked]) => (asked as { request: string }).request);
    expect(new Set(requests).size).toBe(4);
    expect(requests[1]).toBe(requests[0]);
  });

  it.each(['', 'a b', 'é', 'x'.repeat(65)])('refuses the token %j', async (token) => {
    await expect(renamer().rename('old', { 'x-amz-client-token': token })).rejects.toMatchObject({
      code: 'InvalidArgument',
    });
  });

  it.each(['', 'new', 'a%FF'])('refuses the source %j', async (source) => {
    await expect(renamer().rename(source)).rejects.toBeInstanceOf(S3Error);
  });
});

it('long work sends white space, short work none', async () => {
  vi.useFakeTimers();
  try {
    let sent = 0;
    const ctx = context({}, { keepAlive: () => sent++ });
    const after = (ms: number) =>
      patiently(ctx, () => new Promise<string>((resolve) => setTimeout(() => resolve('done'), ms)));
    const short = after(9_000);
    await vi.advanceTimersByTimeAsync(9_000);
    expect(await short).toBe('done');
    expect(sent).toBe(0);
    const long = after(35_000);
    await vi.advanceTimersByTimeAsync(35_000);
    expect(await long).toBe('done');
    expect(sent).toBe(3);
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});

it('sends each round of white space, also when the timer fires a moment early', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout'] });
  let now = 0;
  const clocks = [vi.spyOn(Date, 'now'), vi.spyOn(performance, 'now')];
  for (const clock of clocks) clock.mockImplementation(() => now);
  try {
    let sent = 0;
    const work = patiently(
      context({}, { keepAlive: () => sent++ }),
      () => new Promise((done) => setTimeout(done, 40_000)),
    );
    for (let round = 1; round <= 3; round++) {
      now += 9_999;
      await vi.advanceTimersByTimeAsync(10_000);
      expect(sent).toBe(round);
    }
    await vi.advanceTimersByTimeAsync(10_000);
    await work;
  } finally {
    for (const clock of clocks) clock.mockRestore();
    vi.useRealTimers();
  }
});
