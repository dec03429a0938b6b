/** Many keys that are deleted by one call, under shared locks: each is as if it had been deleted alone. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { S3Error } from '../../src/base/errors.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { BUCKET, body, list, picture, put } from '../suites/store/kit.js';

const DIST = path.resolve(import.meta.dirname, '../../dist');
const CHILD = path.join(import.meta.dirname, 'delete-together-child.js');
const { unlinkSync } = fs;

let root = '';
let store: LocalStore;
const at = (...names: string[]): string => path.join(root, BUCKET, ...names);

beforeEach(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-together-'));
  store = await openStore(root);
  await store.createBucket(BUCKET, {});
});
afterEach(async () => {
  fs.unlinkSync = unlinkSync;
  syncBuiltinESMExports();
  await store.close();
  fs.rmSync(root, { recursive: true });
});

async function deleteAll(...keys: string[]): Promise<unknown[]> {
  const outcomes = await store.deleteEach(
    BUCKET,
    keys.map((key) => ({ key })),
  );
  return outcomes.map((one) => (one.status === 'fulfilled' ? one.value : (one.reason as S3Error).code));
}

/** What a store says that knows the journal alone. */
async function withoutIndex(): Promise<string[]> {
  await store.close();
  fs.rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
  store = await openStore(root);
  return list(store);
}

describe('folders', () => {
  const names = ['1', '2', '3', '4', '5'];
  it.each([
    ['in their order', '12345'],
    ['from the end', '54321'],
    ['the ends first', '15243'],
    ['the middle first', '31524'],
  ])('that fall empty go, whatever the order: %s', async (_order, order) => {
    for (const name of names) for (const folder of ['a/b', 'c']) await put(store, `${folder}/${name}`);
    await put(store, 'd/stays');
    const keys = [...order].flatMap((name) => [`a/b/${name}`, `c/${name}`]);
    expect(await deleteAll('d/none', ...keys)).toEqual([false, ...keys.map(() => true)]);
    expect(await picture(at())).toEqual({ d: 'directory', 'd/stays': expect.anything() as unknown });
    expect(await withoutIndex()).toEqual(['d/stays']);
  });

  it('stay with what is left in them, and those that others have made', async () => {
    fs.mkdirSync(at('theirs'));
    fs.mkdirSync(at('mixed'));
    for (const name of names) for (const folder of ['a', 'theirs', 'mixed/b']) await put(store, `${folder}/${name}`);
    await put(store, 'a/sub/one');
    fs.writeFileSync(at('mixed/b/.DS_Store'), 'junk');
    const keys = names.flatMap((name) => [`a/${name}`, `theirs/${name}`, `mixed/b/${name}`]);
    expect(await deleteAll(...keys)).toEqual(keys.map(() => true));
    expect(fs.readdirSync(at(), { recursive: true }).map(String).sort()).toEqual([
      'a',
      'a/sub',
      'a/sub/one',
      'mixed',
      'mixed/b',
      'mixed/b/.DS_Store',
      'theirs',
    ]);
  });
});

it('takes the copies with it that were kept aside, and no others', async () => {
  for (const key of ['a', 'b']) {
    await put(store, `${key}/below`);
    await put(store, key, 'no path: a folder is there');
    fs.rmSync(at(key), { recursive: true });
    fs.writeFileSync(at(key), 'of another');
  }
  expect(await deleteAll('a', 'none')).toEqual([true, false]);
  expect(await list(store)).toEqual(['b']);
  expect(await withoutIndex()).toEqual(['b']);
  fs.unlinkSync(at('b'));
  expect(await list(store)).toEqual(['b']);
});

it.each([
  ['EACCES', 'AccessDenied'],
  ['EIO', 'InternalError'],
])('%s of one file is told of its key alone', async (code, told) => {
  const keys = Array.from({ length: 9 }, (_, n) => `d/${n}`);
  for (const key of keys) {
    await store.put(BUCKET, key, body(key), { facts: { metadata: { version: key } } });
  }
  fs.unlinkSync = (name) => {
    if (String(name).endsWith('/4')) throw Object.assign(new Error(`${code}: injected`), { code });
    unlinkSync(name);
  };
  syncBuiltinESMExports();
  const outcomes = await deleteAll(...keys);
  expect(outcomes[4]).toBe(told);
  expect(outcomes.filter((one) => typeof one !== 'boolean')).toHaveLength(1);
  fs.unlinkSync = unlinkSync;
  syncBuiltinESMExports();
  for (const known of [await list(store), await withoutIndex()]) expect(known).toEqual(['d/4']);
  expect((await store.head(BUCKET, 'd/4')).facts.metadata).toEqual({ version: 'd/4' });
  expect(await deleteAll(...keys)).toEqual(keys.map((key) => key === 'd/4'));
  expect(fs.readdirSync(at())).toEqual([]);
});

it('two servers that delete the same keys at once delete each of them once', async () => {
  const keys = Array.from({ length: 200 }, (_, n) => (n % 50 === 0 ? `over//${n}` : `d${n % 3}/${n}`));
  await Promise.all(keys.map((key) => put(store, key)));
  const children = [keys, [...keys].reverse()].map((each) =>
    spawn(process.execPath, [CHILD, DIST, root, BUCKET, ...each], { stdio: ['pipe', 'pipe', 'inherit'] }),
  );
  const lines = children.map((child) => createInterface(child.stdout)[Symbol.asyncIterator]());
  for (const line of lines) expect((await line.next()).value).toBe('ready');
  for (const child of children) child.stdin.end('go\n');
  const [one = [], other = []] = await Promise.all(
    lines.map(async (line) => JSON.parse(String((await line.next()).value)) as unknown[]),
  );
  for (const child of children) if (child.exitCode === null) await once(child, 'exit');
  expect(keys.map((_key, n) => [one[n], other.at(-1 - n)].sort())).toEqual(keys.map(() => [false, true]));
  expect(fs.readdirSync(at())).toEqual([]);
  const journal = path.join(root, '.gos3rve/journal');
  const deletes = fs.readdirSync(journal).flatMap((name) =>
    fs
      .readFileSync(path.join(journal, name), 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('{"op":"delete"'))
      .map((line) => JSON.parse(line) as { seq: number; path?: string; key?: string }),
  );
  const named = deletes.map((line) => line.key ?? line.path?.slice(BUCKET.length + 1));
  expect(named.sort()).toEqual([...keys].sort());
  expect(new Set(deletes.map(({ seq }) => seq)).size).toBe(keys.length);
  expect(await withoutIndex()).toEqual([]);
});
