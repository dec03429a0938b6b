/**
 * Bucket policies that ask for tags, and requests that give two tags whose names differ in case only: S3 tells tags apart by it, and names of
 * condition keys not. At the HTTP door.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { signHeaders } from '../../src/auth/presign.js';
import { createServer, openStore, type GatewayServer, type LocalStore } from '../../src/index.js';
import { allow, deny, type Rule } from './policy-rules.js';

const ALICE = { accessKey: 'ALICE', secretKey: 'alice-secret', owner: { id: 'alice', displayName: 'Alice' } };
const BOB = { accessKey: 'BOBKEY', secretKey: 'bob-secret', owner: { id: 'bob', displayName: 'Bob' } };
type Tags = readonly (readonly [key: string, value: string])[];

let base: string;
let store: LocalStore;
let server: GatewayServer;
let url: string;
let folders = 0;
let key: string;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'gos3rve-policy-tags-'));
  await mkdir(join(base, 'box'));
  store = await openStore(base);
  server = createServer({ store, credentials: [ALICE, BOB], port: 0 });
  ({ url } = await server.listen());
});
afterAll(async () => {
  await server.close();
  await store.close();
  await rm(base, { recursive: true });
});
beforeEach(async () => {
  await store.updateBucket('box', () => ({}));
  key = `/box/${folders++}/k`;
});

async function ask(who: typeof ALICE, method: string, target: string, headers: Record<string, string>, body?: string) {
  const signed = signHeaders({ method, url: url + target, credential: who, region: 'us-east-1', headers });
  const answer = await fetch(url + target, { method, headers: signed.headers, ...(body !== undefined && { body }) });
  await answer.arrayBuffer();
  return answer.status;
}
const put = (who: typeof ALICE, tags: Tags) =>
  ask(who, 'PUT', key, { 'x-amz-tagging': tags.map((pair) => pair.join('=')).join('&') }, 'x');
const putTags = (who: typeof ALICE, tags: Tags) => {
  const set = tags.map(([name, value]) => `<Tag><Key>${name}</Key><Value>${value}</Value></Tag>`).join('');
  return ask(who, 'PUT', `${key}?tagging`, {}, `<Tagging><TagSet>${set}</TagSet></Tagging>`);
};
const get = (who: typeof ALICE) => ask(who, 'GET', key, {});

async function policy(...rules: Rule[]): Promise<void> {
  const Statement = rules.map((rule) => ({ Principal: '*', Resource: 'arn:aws:s3:::box/*', ...rule }));
  const text = JSON.stringify({ Version: '2012-10-17', Statement });
  expect(await ask(ALICE, 'PUT', '/box?policy', {}, text)).toBe(204);
}

const WRITING = ['s3:PutObject', 's3:PutObjectTagging'];
const REFUSED: readonly (readonly [Tags, string])[] = [
  [[['secret', 'yes']], 'alone'],
  [
    [
      ['secret', 'yes'],
      ['SECRET', 'no'],
    ],
    'first',
  ],
  [
    [
      ['SECRET', 'no'],
      ['secret', 'yes'],
    ],
    'last',
  ],
  [
    [
      ['Secret', 'yes'],
      ['secret', 'no'],
    ],
    'under another name',
  ],
  [
    [
      ['a', 'b'],
      ['Secret', 'no'],
      ['SECRET', 'no'],
      ['secret', 'yes'],
    ],
    'among several',
  ],
];

describe('a Deny sees every tag', () => {
  it.each(REFUSED)('that a request gives: %j, %s', async (tags) => {
    await ask(ALICE, 'PUT', key, {}, 'x');
    await policy(allow('s3:*'), deny(WRITING, { StringEquals: { 's3:RequestObjectTag/secret': 'yes' } }));
    expect([await putTags(BOB, tags), await put(BOB, tags), await put(ALICE, tags)]).toEqual([403, 403, 403]);
    expect(
      await putTags(BOB, [
        ['secret', 'no'],
        ['SECRET', 'no'],
      ]),
    ).toBe(200);
  });

  it.each(REFUSED)('that an object has: %j, %s', async (tags) => {
    await put(ALICE, tags);
    await policy(allow('s3:*'), deny('s3:GetObject', { StringEquals: { 's3:ExistingObjectTag/Secret': 'yes' } }));
    expect([await get(BOB), await get(ALICE)]).toEqual([403, 403]);
    expect(
      await putTags(BOB, [
        ['secret', 'no'],
        ['SECRET', 'no'],
      ]),
    ).toBe(200);
    expect(await get(BOB)).toBe(200);
  });
});

describe('an Allow needs every tag', () => {
  const dept = { StringEquals: { 's3:RequestObjectTag/dept': 'sales' } };

  it('that a request gives', async () => {
    await ask(ALICE, 'PUT', key, {}, 'x');
    await policy(allow(WRITING, dept));
    expect(await putTags(BOB, [['dept', 'sales']])).toBe(200);
    expect(await putTags(BOB, [['dept', 'hr']])).toBe(403);
    for (const tags of [
      [
        ['dept', 'hr'],
        ['Dept', 'sales'],
      ],
      [
        ['Dept', 'sales'],
        ['dept', 'hr'],
      ],
    ] as const) {
      expect([await putTags(BOB, tags), await put(BOB, tags)]).toEqual([403, 403]);
    }
  });

  it('that an object has', async () => {
    await policy(allow('s3:GetObject', { StringEquals: { 's3:ExistingObjectTag/dept': 'sales' } }));
    const seen = async (tags: Tags): Promise<number> => {
      await put(ALICE, tags);
      return get(BOB);
    };
    expect(await seen([['Dept', 'sales']])).toBe(200);
    expect(
      await seen([
        ['dept', 'hr'],
        ['dept2', 'sales'],
      ]),
    ).toBe(403);
    expect(
      await seen([
        ['Dept', 'hr'],
        ['dept', 'sales'],
      ]),
    ).toBe(403);
    expect(
      await seen([
        ['DEPT', 'sales'],
        ['dept', 'hr'],
      ]),
    ).toBe(403);
  });

  it('that s3:PutObject alone lets it give', async () => {
    await policy(allow('s3:PutObject', dept));
    expect(await put(BOB, [['dept', 'sales']])).toBe(200);
    expect(await put(BOB, [['Dept', 'sales']])).toBe(200);
    expect(
      await put(BOB, [
        ['dept', 'sales'],
        ['x', '1'],
      ]),
    ).toBe(403);
    expect(
      await put(BOB, [
        ['Dept', 'hr'],
        ['dept', 'sales'],
      ]),
    ).toBe(403);
    // two tags, of which the policy speaks of one
    expect(
      await put(BOB, [
        ['Dept', 'sales'],
        ['dept', 'sales'],
      ]),
    ).toBe(403);
  });

  it('that stands in a variable', async () => {
    await ask(ALICE, 'PUT', key, {}, 'x');
    const dir = key.split('/')[2] ?? '';
    await policy({ ...allow(WRITING), Resource: `arn:aws:s3:::box/\${s3:RequestObjectTag/dir, '${dir}'}/k` });
    expect(await putTags(BOB, [['dir', dir]])).toBe(200);
    expect(await putTags(BOB, [['other', dir]])).toBe(200);
    expect(
      await putTags(BOB, [
        ['dir', 'x'],
        ['Dir', dir],
      ]),
    ).toBe(403);
    expect(
      await putTags(BOB, [
        ['dir', dir],
        ['Dir', 'x'],
      ]),
    ).toBe(403);
  });
});
