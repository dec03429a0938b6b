import { describe, expect, it } from 'vitest';
import { S3Error } from '../../src/base/errors.js';
import { deleteObject, deleteObjects } from '../../src/ops/delete.js';
import type { WriteCondition } from '../../src/base/model.js';
import { renderXml } from '../../src/wire/xml.js';
import { context, input } from './stub.js';

function request(objects: string, quiet = false) {
  return input({ query: 'delete', text: `<Delete>${quiet ? '<Quiet>true</Quiet>' : ''}${objects}</Delete>` });
}
const keys = (n: number) => Array.from({ length: n }, (_, i) => `<Object><Key>k${i}</Key></Object>`).join('');

describe('DeleteObjects', () => {
  it('answers in the order asked, each key by itself', async () => {
    const why: Record<string, Error> = {
      k5: new S3Error('PreconditionFailed', 'no'),
      k6: Object.assign(new Error('disk'), { code: 'ENOSPC' }),
    };
    const asked: string[][] = [];
    const ctx = context(
      {
        deleteEach(_bucket, removals) {
          asked.push(removals.map(({ key }) => key));
          return Promise.allSettled(
            removals.map(({ key }) => (why[key] ? Promise.reject(why[key]) : Promise.resolve(key !== 'k8'))),
          );
        },
      },
      {
        authorize: (_action, _bucket, key) =>
          key === 'k7' ? Promise.reject(new S3Error('AccessDenied')) : Promise.resolve(),
      },
    );
    const { xml } = await deleteObjects(ctx, request(keys(1000)));
    expect(asked.flat()).toHaveLength(999);
    expect(asked.flat()).not.toContain('k7');
    const children = (xml?.children ?? []) as { name: string; children: { name: string; children: string }[] }[];
    expect(children).toHaveLength(1000);
    children.forEach((child, i) => {
      expect(child.children[0]?.children).toBe(`k${i}`);
      expect(child.name).toBe(i >= 5 && i <= 7 ? 'Error' : 'Deleted');
    });
    const codes = children.slice(5, 8).map((child) => child.children.find((c) => c.name === 'Code')?.children);
    expect(codes).toEqual(['PreconditionFailed', 'InsufficientStorage', 'AccessDenied']);
  });

  it('says only errors when quiet', async () => {
    const ctx = context({ deleteEach: (_bucket, all) => Promise.allSettled(all.map(() => Promise.resolve(true))) });
    const { xml } = await deleteObjects(
      ctx,
      request(`${keys(2)}<Object><Key>a</Key><VersionId>v1</VersionId></Object>`, true),
    );
    expect(xml && renderXml(xml, { xmlns: null, declaration: false })).toMatch(
      /^<DeleteResult><Error><Key>a<\/Key><VersionId>v1<\/VersionId><Code>NoSuchVersion<\/Code>.*<\/Error><\/DeleteResult>$/,
    );
  });

  it('hands on the conditions of a key', async () => {
    const seen: (WriteCondition | undefined)[] = [];
    const ctx = context({
      deleteEach: (_bucket, removals) => {
        seen.push(...removals.map(({ condition }) => condition));
        return Promise.allSettled(removals.map(() => Promise.resolve(true)));
      },
    });
    const time = '<LastModifiedTime>Tue, 02 Jan 2024 03:04:05 GMT</LastModifiedTime>';
    await deleteObjects(ctx, request(`<Object><Key>a</Key><ETag>"x"</ETag><Size>0</Size>${time}</Object>`));
    expect(seen).toEqual([{ ifMatch: ['x'], ifSize: 0, ifLastModified: Date.UTC(2024, 0, 2, 3, 4, 5) }]);
    // A condition that cannot be read must not be dropped.
    const bad = await deleteObjects(ctx, request('<Object><Key>a</Key><Size>big</Size></Object>'));
    expect(seen).toHaveLength(1);
    expect(JSON.stringify(bad.xml)).toContain('InvalidArgument');
  });

  it.each([
    ['no key at all', ''],
    ['more than 1,000', keys(1001)],
    ['an object without a key', '<Object><VersionId>null</VersionId></Object>'],
  ])('refuses %s', async (_name, objects) => {
    await expect(deleteObjects(context({}), request(objects))).rejects.toMatchObject({ code: 'MalformedXML' });
  });
});

describe('DeleteObject', () => {
  it('is 204 whether or not there was one', async () => {
    const ctx = context({ delete: () => Promise.resolve(false) });
    expect(await deleteObject(ctx, input({ key: 'k', query: 'versionId=null' }))).toEqual({ status: 204 });
  });

  it('never deletes the null version in place of another', async () => {
    await expect(deleteObject(context({}), input({ key: 'k', query: 'versionId=3HL4' }))).rejects.toMatchObject({
      code: 'NoSuchVersion',
    });
  });
});
