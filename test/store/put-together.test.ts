/** Writes that wait at the same moment and share a lock: each is decided as if it had come alone. */
import { createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { S3Error } from '../../src/base/errors.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { BUCKET, body, list } from '../suites/store/kit.js';

const real = { fsync: fs.fsync, renameSync: fs.renameSync, mkdirSync: fs.mkdirSync };
let root = '';
let store: LocalStore;
const at = (...names: string[]): string => path.join(root, BUCKET, ...names);

beforeEach(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-together-'));
  store = await openStore(root);
  await store.createBucket(BUCKET, {});
});
afterEach(async () => {
  Object.assign(fs, real);
  syncBuiltinESMExports();
  await store.close();
  fs.rmSync(root, { recursive: true });
});

/** What came of writes that were begun together: an ETag, or an error's code. */
async function outcomes(writes: Promise<{ etag: string }>[]): Promise<string[]> {
  const ended = await Promise.allSettled(writes);
  return ended.map((one) => (one.status === 'fulfilled' ? one.value.etag : (one.reason as S3Error).code));
}

const numbers = Array.from({ length: 40 }, (_, n) => String(n));
const staged = (): string[] => fs.readdirSync(path.join(root, '.gos3rve/staging')).filter((name) => name !== 'uploads');

/** All that is said of all objects. */
async function picture(): Promise<unknown[]> {
  const heads = (await list(store)).map((key) => store.head(BUCKET, key));
  return Promise.all(heads);
}

/** The same without the index: by the journal alone. */
async function pictureWithoutIndex(): Promise<unknown[]> {
  await store.close();
  fs.rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
  store = await openStore(root);
  return picture();
}

it('stand each with its own facts, also by the journal alone', async () => {
  await Promise.all(
    numbers.map((n) => store.put(BUCKET, `${Number(n) % 3}/${n}`, body(n), { facts: { contentType: `x/${n}` } })),
  );
  await Promise.all(numbers.map((n) => store.put(BUCKET, `${Number(n) % 3}/${n}`, body(`again ${n}`))));
  const before = await picture();
  for (const n of numbers) expect(fs.readFileSync(at(String(Number(n) % 3), n), 'utf8')).toBe(`again ${n}`);
  expect(await pictureWithoutIndex()).toEqual(before);
  expect(staged()).toEqual([]);
});

it('of bodies that are hashed together have each the MD5 of its own bytes, whatever becomes of the others', async () => {
  const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');
  const bodies = numbers.slice(0, 24).map((n) => randomBytes(70_000 + Number(n) * 61_003));
  const cut = async function* (bytes: Buffer, n: number): AsyncGenerator<Uint8Array> {
    for (let from = 0; from < bytes.length; from += 30_001 + n) {
      if (n % 3 === 0) await new Promise(setImmediate);
      if (n % 8 === 7 && from > bytes.length / 2) throw new S3Error('IncompleteBody');
      yield bytes.subarray(from, from + 30_001 + n);
    }
  };
  const check = (digests: { MD5: Buffer }, n: number): void => {
    if (n % 8 === 5) throw new S3Error('BadDigest', digests.MD5.toString('hex'));
  };
  const ended = await Promise.allSettled(
    bodies.map((bytes, n) =>
      store.put(
        BUCKET,
        `long/${n}`,
        { size: bytes.length, chunks: cut(bytes, n) },
        { digests: { algorithms: ['CRC32'], store: 'CRC32', check: (digests) => check(digests, n) } },
      ),
    ),
  );
  for (const [n, one] of ended.entries()) {
    const bytes = bodies[n] ?? Buffer.alloc(0);
    if (n % 8 === 7) expect(one).toMatchObject({ reason: { code: 'IncompleteBody' } });
    else if (n % 8 === 5) expect(one).toMatchObject({ reason: { code: 'BadDigest', message: md5(bytes) } });
    else {
      expect(one).toMatchObject({ value: { etag: md5(bytes) } });
      expect(fs.readFileSync(at('long', String(n))).equals(bytes)).toBe(true);
    }
  }
  expect(staged()).toEqual([]);
});

it('to one key that nobody may have yet are won by one', async () => {
  const ended = await outcomes(
    numbers.map((n) => store.put(BUCKET, 'new/key', body(n), { condition: { ifNoneMatch: ['*'] } })),
  );
  const [etag] = ended.filter((one) => one !== 'PreconditionFailed');
  expect(ended.filter((one) => one === 'PreconditionFailed')).toHaveLength(numbers.length - 1);
  expect((await store.head(BUCKET, 'new/key')).etag).toBe(etag);
  expect(staged()).toEqual([]);
});

it('to one key are in one order for the tree, the index and the journal', async () => {
  await Promise.all(numbers.map((n) => store.put(BUCKET, 'key', body(n), { facts: { contentType: `x/${n}` } })));
  const last = fs.readFileSync(at('key'), 'utf8');
  expect((await store.head(BUCKET, 'key')).facts.contentType).toBe(`x/${last}`);
  const before = await picture();
  expect(await pictureWithoutIndex()).toEqual(before);
});

describe('of which one fails', () => {
  it('at its rename: its key is as it was, and the others stand', async () => {
    await store.put(BUCKET, 'k/7', body('old'), { facts: { contentType: 'x/old' } });
    fs.renameSync = ((from: string, to: string) => {
      if (to.endsWith('/7')) throw Object.assign(new Error('EIO: rename'), { code: 'EIO' });
      real.renameSync(from, to);
    }) as typeof fs.renameSync;
    syncBuiltinESMExports();
    const ended = await outcomes(numbers.map((n) => store.put(BUCKET, `k/${n}`, body(`new ${n}`))));
    Object.assign(fs, real);
    syncBuiltinESMExports();
    expect(ended.filter((one) => one === 'InternalError')).toHaveLength(1);
    expect(await store.head(BUCKET, 'k/7')).toMatchObject({ size: 3, facts: { contentType: 'x/old' } });
    for (const n of numbers.filter((one) => one !== '7'))
      expect(await store.head(BUCKET, `k/${n}`)).toMatchObject({ etag: ended[Number(n)] });
    const before = await picture();
    expect(await pictureWithoutIndex()).toEqual(before);
    expect(staged()).toEqual([]);
  });

  it('at the flush of its body: it is not there, and the others are', async () => {
    let bodies = 0;
    fs.fsync = ((fd: number, done: (error: Error | null) => void) => {
      const staging = fs.readlinkSync(`/proc/self/fd/${fd}`).includes('/staging/');
      if (staging && ++bodies === 5) done(Object.assign(new Error('EIO: fsync'), { code: 'EIO' }));
      else real.fsync(fd, done);
    }) as typeof fs.fsync;
    syncBuiltinESMExports();
    const ended = await outcomes(numbers.map((n) => store.put(BUCKET, `k/${n}`, body(n))));
    Object.assign(fs, real);
    syncBuiltinESMExports();
    const failed = numbers.filter((_, n) => ended[n] === 'InternalError');
    expect(failed).toHaveLength(1);
    expect(new Set(fs.readdirSync(at('k')))).toEqual(new Set(numbers.filter((n) => !failed.includes(n))));
    expect(staged()).toEqual([]);
  });
});

it('are renamed only once their bodies are flushed', async () => {
  const open: (() => void)[] = [];
  fs.fsync = ((fd: number, done: (error: Error | null) => void) => {
    if (fs.readlinkSync(`/proc/self/fd/${fd}`).includes('/staging/')) open.push(() => real.fsync(fd, done));
    else real.fsync(fd, done);
  }) as typeof fs.fsync;
  syncBuiltinESMExports();
  const writes = ['a', 'b'].map((key) => store.put(BUCKET, key, body(key)));
  await expect.poll(() => open.length).toBe(2);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(fs.readdirSync(at())).toEqual([]);
  open[1]?.();
  await writes[1];
  expect(fs.readdirSync(at())).toEqual(['b']);
  open[0]?.();
  await writes[0];
  expect(fs.readdirSync(at())).toEqual(['a', 'b']);
});

it('survive that another program takes their folder away between two of them', async () => {
  await store.put(BUCKET, 'd/there', body('there'));
  let renames = 0;
  fs.renameSync = ((from: string, to: string) => {
    if (++renames === 3) fs.rmSync(at('d'), { recursive: true });
    real.renameSync(from, to);
  }) as typeof fs.renameSync;
  syncBuiltinESMExports();
  const ended = await outcomes(numbers.slice(0, 8).map((n) => store.put(BUCKET, `d/${n}`, body(n))));
  Object.assign(fs, real);
  syncBuiltinESMExports();
  expect(ended).not.toContain('InternalError');
  expect(ended).not.toContain('NoSuchKey');
  expect(fs.readdirSync(at('d'))).toHaveLength(6);
});
