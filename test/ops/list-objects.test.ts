import { describe, expect, it, vi } from 'vitest';
import fc from '../fast-check.js';
import { decodeToken, encodeToken, listObjects, listObjectsV2 } from '../../src/ops/list-objects.js';
import { listObjectVersions } from '../../src/ops/list-versions.js';
import type { OpResult } from '../../src/ops/types.js';
import type { ListPage, ListQuery } from '../../src/store/contract.js';
import { renderXml } from '../../src/wire/xml.js';
import { BOB, context, input, object } from './stub.js';

const NS = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">';
const E = '&quot;eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee&quot;';
const TIME = '2024-01-02T03:04:05.678Z';

function lister(page: ListPage) {
  const list = vi.fn((_bucket: string, _query: ListQuery) => Promise.resolve(page));
  return { list, ctx: context({ list }) };
}

function xml(result: OpResult): string {
  if (result.xml === undefined) throw new Error('no XML');
  return renderXml(result.xml, { declaration: false })
    .replaceAll('"eeee', '&quot;eeee')
    .replaceAll('eeee"', 'eeee&quot;');
}

describe('ListObjects', () => {
  it('writes every element, the marker only with a delimiter', async () => {
    const { ctx, list } = lister({ entries: [{ prefix: 'a b/' }, object('a+c')], next: 'a+c' });
    const result = await listObjects(ctx, input({ query: 'delimiter=/&marker=a&max-keys=2&encoding-type=url' }));
    expect(list).toHaveBeenCalledWith('photos', { prefix: '', delimiter: '/', max: 2, after: 'a' });
    expect(xml(result)).toBe(
      `${NS}<Name>photos</Name><Prefix></Prefix><Marker>a</Marker><NextMarker>a%2Bc</NextMarker><MaxKeys>2</MaxKeys>` +
        `<Delimiter>/</Delimiter><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>` +
        `<Contents><Key>a%2Bc</Key><LastModified>${TIME}</LastModified><ETag>${E}</ETag><Size>10</Size>` +
        `<Owner><ID>alice-id</ID><DisplayName>alice</DisplayName></Owner><StorageClass>STANDARD</StorageClass></Contents>` +
        `<CommonPrefixes><Prefix>a%20b/</Prefix></CommonPrefixes></ListBucketResult>`,
    );
    const plain = lister({ entries: [object('a')], next: 'a' });
    expect(xml(await listObjects(plain.ctx, input({})))).not.toContain('NextMarker');
  });

  it('gives an empty page for max-keys 0 without asking the store', async () => {
    const { ctx, list } = lister({ entries: [object('a')], next: 'a' });
    expect(xml(await listObjects(ctx, input({ query: 'max-keys=0' })))).toContain(
      '<MaxKeys>0</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>',
    );
    expect(list).not.toHaveBeenCalled();
  });

  it.each(['max-keys=x', 'max-keys=-1', 'max-keys=2147483648', 'max-keys=1.5', 'encoding-type=base64'])(
    'refuses %s',
    async (query) => {
      await expect(listObjects(lister({ entries: [] }).ctx, input({ query }))).rejects.toMatchObject({
        code: 'InvalidArgument',
      });
    },
  );

  it('never gives more than 1,000', async () => {
    const { ctx, list } = lister({ entries: [] });
    await listObjects(ctx, input({ query: 'max-keys=50000' }));
    expect(list.mock.calls[0]?.[1].max).toBe(1000);
  });
});

describe('ListObjectsV2', () => {
  it('writes every element; the token leads to the next page', async () => {
    const info = object('dir/ä', {
      facts: { owner: BOB, storageClass: 'GLACIER' },
      checksum: { algorithm: 'CRC32', type: 'FULL_OBJECT', value: 'AAAAAA==' },
    });
    const { ctx, list } = lister({ entries: [info, { prefix: 'dir/sub/' }], next: 'dir/sub/' });
    const token = encodeToken('dir/a');
    const query = `list-type=2&prefix=dir/&delimiter=/&start-after=dir/0&fetch-owner=true&continuation-token=${token}`;
    expect(xml(await listObjectsV2(ctx, input({ query })))).toBe(
      `${NS}<Name>photos</Name><Prefix>dir/</Prefix><ContinuationToken>${token}</ContinuationToken>` +
        `<NextContinuationToken>${encodeToken('dir/sub/')}</NextContinuationToken><StartAfter>dir/0</StartAfter>` +
        `<KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys><Delimiter>/</Delimiter><IsTruncated>true</IsTruncated>` +
        `<Contents><Key>dir/ä</Key><LastModified>${TIME}</LastModified><ETag>${E}</ETag>` +
        `<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>10</Size>` +
        `<Owner><ID>bob-id</ID><DisplayName>bob</DisplayName></Owner><StorageClass>GLACIER</StorageClass></Contents>` +
        `<CommonPrefixes><Prefix>dir/sub/</Prefix></CommonPrefixes></ListBucketResult>`,
    );
    expect(list.mock.calls[0]?.[1].after).toBe('dir/a');
  });

  it('starts after start-after when there is no token, or an empty one', async () => {
    const { ctx, list } = lister({ entries: [] });
    const text = xml(await listObjectsV2(ctx, input({ query: 'start-after=m&continuation-token=' })));
    expect(list.mock.calls[0]?.[1].after).toBe('m');
    expect(text).toContain('<ContinuationToken></ContinuationToken>');
    expect(text).not.toContain('<Owner>');
  });

  it('round-trips tokens for any key and refuses others', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', minLength: 1 }), (key) => decodeToken(encodeToken(key)) === key));
    for (const token of ['', '!', 'YQ==', '../..', '_w']) {
      expect(() => decodeToken(token)).toThrow('continuation token');
    }
  });
});

describe('ListObjectVersions', () => {
  it('shows null versions, and markers after a truncated page', async () => {
    const { ctx, list } = lister({ entries: [object('a')], next: 'a' });
    const text = xml(await listObjectVersions(ctx, input({ query: 'versions&key-marker=0&version-id-marker=null' })));
    expect(list.mock.calls[0]?.[1].after).toBe('0');
    expect(text).toContain('<NextKeyMarker>a</NextKeyMarker><NextVersionIdMarker>null</NextVersionIdMarker>');
    expect(text).toContain('<Version><Key>a</Key><VersionId>null</VersionId><IsLatest>true</IsLatest>');
  });

  it('refuses a version marker without a key', async () => {
    const { ctx } = lister({ entries: [] });
    await expect(listObjectVersions(ctx, input({ query: 'version-id-marker=null' }))).rejects.toMatchObject({
      code: 'InvalidArgument',
    });
  });
});
