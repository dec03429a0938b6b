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
  it('answers in the order asked, each key by itself, with bounded concurrency', async () => {
    let running = 0;
    let most = 0;
    const ctx = context(
      {
        async delete(_bucket, key) {
          most = Math.max(most, ++running);
          await new Promise((resolve) => setTimeout(resolve, key === 'k0' ? 20 : 1));
          running--;
          if (key === 'k5') throw new S3Error('PreconditionFailed', 'no');
          if (key === 'k6') throw Object.assign(new Error('disk'), { code: 'ENOSPC' });
          return true;
        },
      },
      {
        authorize: (_action, _bucket, key) =>
          key === 'k7' ? Promise.reject(new S3Error('AccessDenied')) : Promise.resolve(),
      },
    );
    const { xml } = await deleteObjects(ctx, request(keys(1000)));
    expect(most).toBeGreaterThan(4);
    expect(most).toBeLessThanOrEqual(32);
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
    const ctx = context({ delete: () => Promise.resolve(true) });
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
      delete: (_bucket, _key, options) => {
        seen.push(options?.condition);
        return Promise.resolve(true);
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

describe('DeleteObjects beside other requests', () => {
  it('gives them their turn between two keys', async () => {
    let turns = 0;
    const others = setInterval(() => turns++, 1);
    const seen: number[] = [];
    const ctx = context({
      delete() {
        for (const until = performance.now() + 4; performance.now() < until;);
        seen.push(turns);
        return Promise.resolve(true);
      },
    });
    await deleteObjects(ctx, request(keys(40)));
    clearInterval(others);
    expect(new Set(seen).size).toBeGreaterThan(20);
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
