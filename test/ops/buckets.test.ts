import { describe, expect, it } from 'vitest';
import { S3Error } from '../../src/base/errors.js';
import { checkBucketName } from '../../src/ops/bucket-names.js';
import { createBucket, getBucketLocation, listBuckets } from '../../src/ops/buckets.js';
import { without } from '../../src/ops/input.js';
import { putBucketOwnershipControls } from '../../src/ops/ownership.js';
import type { OpContext } from '../../src/ops/types.js';
import type { BucketSettings, ListBucketsQuery, Store } from '../../src/store/contract.js';
import { renderXml } from '../../src/wire/xml.js';
import { ALICE, bob, BOB, bucketOf, context, input } from './stub.js';

describe('bucket names', () => {
  it.each(['abc', 'a-b', 'a.b.c', 'a--b', '123', 'x'.repeat(63), '1.2.3.4.5', 'a1.2.3.4'])('takes %s', (name) => {
    expect(() => checkBucketName(name)).not.toThrow();
  });
  it.each([
    ...['ab', 'x'.repeat(64), 'Abc', 'a_b', 'a b', '-ab', 'ab-', '.ab', 'ab.', 'a..b', 'a.-b', 'a-.b', '192.168.5.4'],
    ...['xn--a', 'sthree-a', 'amzn-s3-demo-a', 'a-s3alias', 'a--ol-s3', 'a.mrap', 'a--x-s3', 'a--table-s3', 'ä-b', ''],
  ])('refuses %s', (name) => {
    expect(() => checkBucketName(name)).toThrow('bucket is not valid');
  });
});

describe('ListBuckets', () => {
  const all = Array.from({ length: 25 }, (_, i) =>
    bucketOf(i % 5 === 4 ? { owner: BOB } : i === 0 ? { region: 'eu-west-1' } : {}, `b${String(i).padStart(2, '0')}`),
  );
  /** Pages of three, whatever is asked for. */
  const store = {
    listBuckets({ prefix = '', after = '', max = 1000 }: ListBucketsQuery = {}) {
      const left = all.filter((b) => b.name > after && b.name.startsWith(prefix));
      const buckets = left.slice(0, Math.min(3, max));
      const next = buckets.at(-1)?.name;
      return Promise.resolve(left.length > buckets.length && next !== undefined ? { buckets, next } : { buckets });
    },
  };
  async function names(query: string, who?: typeof bob) {
    const { xml } = await listBuckets(context(store, who ? { identity: who } : {}), input({ query }));
    const text = xml === undefined ? '' : renderXml(xml);
    return {
      names: [...text.matchAll(/<Name>(.*?)<\/Name>/g)].map((m) => m[1]),
      token: /<ContinuationToken>(.*?)<\/ContinuationToken>/.exec(text)?.[1],
      text,
    };
  }

  it('shows a caller only own buckets', async () => {
    expect((await names('')).names).toHaveLength(20);
    expect((await names('', bob)).names).toEqual(['b04', 'b09', 'b14', 'b19', 'b24']);
    expect((await names('')).text).not.toContain('BucketRegion');
  });

  it('pages without gaps, and ends without a token', async () => {
    const seen: (string | undefined)[] = [];
    let token: string | undefined = '';
    let pages = 0;
    while (token !== undefined) {
      const page = await names(`max-buckets=4&continuation-token=${token}`);
      expect(page.names.length).toBeLessThanOrEqual(4);
      seen.push(...page.names);
      token = page.token;
      pages++;
    }
    expect(seen).toEqual((await names('')).names);
    expect(pages).toBe(5);
  });

  it('filters by prefix and region', async () => {
    expect((await names('prefix=b1')).names).toEqual(['b10', 'b11', 'b12', 'b13', 'b15', 'b16', 'b17', 'b18']);
    const { names: found, text } = await names('bucket-region=eu-west-1');
    expect(found).toEqual(['b00']);
    expect(text).toContain('<BucketRegion>eu-west-1</BucketRegion>');
  });

  it.each(['0', '10001', 'x'])('refuses max-buckets=%s', async (max) => {
    await expect(names(`max-buckets=${max}`)).rejects.toMatchObject({ code: 'InvalidArgument' });
  });
});

/** The context of a request for a bucket that does not exist. */
function bucketless(methods: Partial<Store>): OpContext {
  return without(context(methods), 'bucket');
}

describe('CreateBucket', () => {
  async function create(headers: Record<string, string> = {}, text = '') {
    let made: BucketSettings | undefined;
    const ctx = bucketless({
      createBucket: (name, settings) => {
        made = settings;
        return Promise.resolve(bucketOf(settings, name));
      },
    });
    await createBucket(ctx, input({ headers, text }));
    return made;
  }
  const at = (region: string) =>
    `<CreateBucketConfiguration><LocationConstraint>${region}</LocationConstraint></CreateBucketConfiguration>`;

  it('records owner, region, ownership and ACL', async () => {
    expect(await create()).toEqual({ owner: ALICE });
    expect(await create({ 'x-amz-object-ownership': 'ObjectWriter' }, at('eu-west-1'))).toEqual({
      owner: ALICE,
      region: 'eu-west-1',
      ownership: 'ObjectWriter',
    });
    expect((await create({ 'x-amz-acl': 'public-read' }))?.acl?.grants).toHaveLength(2);
  });

  it.each([
    [{}, at('Nowhere!'), 'InvalidLocationConstraint'],
    [{}, '<Create/>', 'MalformedXML'],
    [{ 'x-amz-acl': 'all' }, '', 'InvalidArgument'],
    [{ 'x-amz-object-ownership': 'Mine' }, '', 'InvalidArgument'],
    [
      { 'x-amz-object-ownership': 'BucketOwnerEnforced', 'x-amz-acl': 'public-read' },
      '',
      'InvalidBucketAclWithObjectOwnership',
    ],
    [{ 'x-amz-bucket-object-lock-enabled': 'true' }, '', 'NotImplemented'],
  ])('refuses %j %s', async (headers, text, code) => {
    await expect(create(headers as Record<string, string>, text)).rejects.toMatchObject({ code });
  });

  it('records tags, by the rules of PutBucketTagging', async () => {
    const tagged = (tags: string): string =>
      `<CreateBucketConfiguration><Tags>${tags}</Tags></CreateBucketConfiguration>`;
    const tag = (key: string): string => `<Tag><Key>${key}</Key><Value>v</Value></Tag>`;
    expect((await create({}, tagged(tag('a') + tag('b'))))?.tags).toEqual([
      ['a', 'v'],
      ['b', 'v'],
    ]);
    expect(await create({}, tagged(''))).toEqual({ owner: ALICE });
    await expect(create({}, tagged(tag('a') + tag('a')))).rejects.toMatchObject({ code: 'InvalidTag' });
    await expect(create({}, tagged('<Tag><Key>a</Key></Tag>'))).rejects.toMatchObject({ code: 'MalformedXML' });
  });

  it('tells what is in the way of a folder', async () => {
    const ctx = bucketless({
      createBucket: () => Promise.reject(new S3Error('BucketAlreadyExists', 'a file')),
      getBucket: () => Promise.reject(new S3Error('NoSuchBucket')),
    });
    await expect(createBucket(ctx, input({}))).rejects.toMatchObject({
      code: 'BucketAlreadyExists',
      message: 'a file',
    });
  });

  it('tells owners from others, also when another request was faster', async () => {
    const mine = context({}, { bucket: bucketOf({ owner: ALICE }) });
    await expect(createBucket(mine, input({}))).rejects.toMatchObject({ code: 'BucketAlreadyOwnedByYou' });
    await expect(createBucket({ ...mine, identity: bob }, input({}))).rejects.toMatchObject({
      code: 'BucketAlreadyExists',
    });
    const raced = bucketless({
      createBucket: () => Promise.reject(new S3Error('BucketAlreadyExists')),
      getBucket: () => Promise.resolve(bucketOf({ owner: ALICE })),
    });
    await expect(createBucket(raced, input({}))).rejects.toMatchObject({ code: 'BucketAlreadyOwnedByYou' });
  });
});

it('GetBucketLocation writes us-east-1 as nothing', async () => {
  const { xml } = await getBucketLocation(context({}), input({}));
  expect(xml?.children).toBe('');
  const west = await getBucketLocation(context({}, { bucket: bucketOf({ region: 'us-west-2' }) }), input({}));
  expect(west.xml?.children).toBe('us-west-2');
});

it('ACLs that grant to others keep BucketOwnerEnforced away', async () => {
  const text =
    '<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>';
  const put = (settings: BucketSettings) =>
    putBucketOwnershipControls(
      context({ updateBucket: async (_name, change) => bucketOf(change(settings)) }),
      input({ text }),
    );
  const grant = (id: string) => ({ grantee: { type: 'CanonicalUser' as const, id }, permission: 'READ' as const });
  await expect(put({ acl: { owner: ALICE, grants: [grant(BOB.id)] } })).rejects.toMatchObject({
    code: 'InvalidBucketAclWithObjectOwnership',
  });
  await expect(put({ acl: { owner: ALICE, grants: [grant(ALICE.id)] } })).resolves.toEqual({});
});
