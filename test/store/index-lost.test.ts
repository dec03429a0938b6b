/** DESIGN rule 2: the index is disposable. Whatever becomes of its file, the same is told afterwards, and nothing is hashed again. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bootId } from '../../src/base/process.js';
import { Index } from '../../src/catalog/lmdb.js';
import { rowKey } from '../../src/catalog/rows.js';
import { openStore, type LocalStore, type StoreOptions } from '../../src/store/open.js';
import { BUCKET, body, get, list, put, refuses } from '../suites/store/kit.js';

const OPTIONS: StoreOptions = { minPartSize: 4 };
const PAGE = 8192;
/** Token of a process in another container: nobody can say that it is dead. */
const ELSEWHERE = '00000000.1.0';

let base = '';
let root = '';
let directory = '';
let before: unknown;
let warnings: string[] = [];

const open = (options: StoreOptions = {}): Promise<LocalStore> =>
  openStore(root, {
    ...OPTIONS,
    log: (level, message) => void (level !== 'info' && warnings.push(message)),
    ...options,
  });
const file = (): string =>
  path.join(directory, fs.readdirSync(directory).find((name) => /^v\d+\.mdb$/.test(name)) ?? 'none');

beforeEach(async () => {
  base = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-index-'));
  root = path.join(base, 'root');
  directory = path.join(root, '.gos3rve/index');
  fs.mkdirSync(path.join(root, BUCKET, 'foreign'), { recursive: true });
  for (let n = 0; n < 40; n++) fs.writeFileSync(path.join(root, BUCKET, 'foreign', `f${n}`), `foreign ${n}`);
  const store = await open();
  for (let n = 0; n < 40; n++)
    await store.put(BUCKET, `dir${n % 3}/k${n}`, body(`body ${n}`), { facts: { metadata: { n: String(n) } } });
  await store.put(BUCKET, 'over//flow', body('overflow'), { facts: { metadata: { over: 'flow' } } });
  await store.put(BUCKET, 'marker/', body(''), {});
  await store.updateFacts(BUCKET, 'foreign/f3', (facts) => ({ ...facts, tags: [['t', 'v']] }));
  const { uploadId } = await store.createUpload(BUCKET, 'multi', {});
  const { etag } = await store.putPart(BUCKET, 'multi', uploadId, 1, body('part'));
  await store.completeUpload(BUCKET, 'multi', uploadId, [{ partNumber: 1, etag, checksums: {} }]);
  before = await look(store);
  await store.close();
  warnings = [];
});
afterEach(() => fs.rmSync(base, { recursive: true }));

/** What others may put where the folder of the index belongs. */
const INSTEAD: [string, () => void][] = [
  ['a plain file', () => fs.writeFileSync(directory, 'x')],
  ['a dangling link', () => fs.symlinkSync('nowhere', directory)],
  ['a link to a file', () => fs.symlinkSync('credentials.json', directory)],
  ['a link to itself', () => fs.symlinkSync('index', directory)],
];

async function look(store: LocalStore): Promise<unknown> {
  const seen: unknown[] = [];
  for (const key of await list(store)) {
    const { info, bytes } = await get(store, key);
    seen.push([key, info.etag, info.facts, info.partCount, info.incomplete, bytes.toString()]);
  }
  return seen;
}

/** Changes the closed index without its times telling. */
function spoil(change: (bytes: Buffer) => Buffer): void {
  const { atime, mtime } = fs.statSync(file());
  fs.writeFileSync(file(), change(fs.readFileSync(file())));
  fs.utimesSync(file(), atime, mtime);
}

/** In place, as a program that has nothing to do with it. */
function overwrite(path: string, at: number, bytes: Buffer): void {
  const fd = fs.openSync(path, 'r+');
  fs.writeSync(fd, bytes, 0, bytes.length, at);
  fs.closeSync(fd);
}

async function isAsBefore(): Promise<void> {
  const store = await open();
  try {
    expect(await look(store)).toEqual(before);
    expect(store.live.hashes).toBe(0);
    await put(store, 'after');
    expect(await list(store, { prefix: 'after' })).toEqual(['after']);
    await store.delete(BUCKET, 'after');
  } finally {
    await store.close();
  }
}

describe('an index that is found', () => {
  const flipped = (bytes: Buffer, at: number): Buffer => {
    bytes[at] = (bytes[at] ?? 0) ^ 0x55;
    return bytes;
  };
  it.each<[string, () => void]>([
    ['lost', () => fs.rmSync(directory, { recursive: true })],
    ['of zero length', () => spoil(() => Buffer.alloc(0))],
    ['cut in the middle', () => spoil((bytes) => bytes.subarray(0, bytes.length / 2))],
    ['cut by one byte', () => spoil((bytes) => bytes.subarray(0, -1))],
    ['garbage', () => spoil((bytes) => Buffer.from(bytes.map((_, n) => (n * 31) % 251)))],
    ['all zeros', () => spoil((bytes) => Buffer.alloc(bytes.length))],
    [
      'a directory',
      () => {
        fs.rmSync(file());
        fs.mkdirSync(path.join(directory, 'v3.mdb'));
      },
    ],
    ['without its lock file', () => fs.rmSync(`${file()}-lock`, { force: true })],
    ['with a lock file of garbage', () => fs.writeFileSync(`${file()}-lock`, Buffer.alloc(9000, 0xa5))],
  ])('%s is made anew', { timeout: 30_000 }, async (_what, change) => {
    change();
    await isAsBefore();
    await isAsBefore();
    expect(fs.readdirSync(directory).filter((name) => name.endsWith('.mdb.aside')).length).toBeLessThan(2);
  });

  it.each(INSTEAD)('with %s in the place of its folder is made anew', { timeout: 30_000 }, async (_what, instead) => {
    fs.writeFileSync(path.join(root, '.gos3rve/credentials.json'), '{}');
    for (let n = 0; n < 2; n++) {
      fs.rmSync(directory, { recursive: true });
      instead();
      warnings = [];
      await isAsBefore();
      expect(warnings).toEqual(['the index is set aside and made anew from the journal']);
    }
    expect(fs.existsSync(path.join(root, '.gos3rve/credentials.json'))).toBe(true);
  });

  it('with a byte flipped in any page is set aside, once', { timeout: 120_000 }, async () => {
    const { size } = fs.statSync(file());
    for (let page = 0; page < size / PAGE; page++) {
      spoil((bytes) => flipped(bytes, page * PAGE + ((page * 977) % PAGE)));
      warnings = [];
      const store = await open();
      expect(warnings, `page ${page}`).toHaveLength(1);
      if (page % 5 === 0) expect(await look(store), `page ${page}`).toEqual(before);
      await store.close();
    }
    expect(fs.readdirSync(directory).filter((name) => name.includes('aside'))).toHaveLength(2);
  });

  it('of a newer version is left alone, and what that version did is known', async () => {
    fs.renameSync(file(), path.join(directory, 'v9.mdb'));
    await isAsBefore();
    expect(fs.existsSync(path.join(directory, 'v9.mdb'))).toBe(true);
  });

  it('open in another version is not used beside it', async () => {
    const store = await open();
    const mark = fs.readdirSync(directory).find((name) => name.startsWith('open-')) ?? '';
    const text = fs.readFileSync(path.join(directory, mark), 'utf8');
    fs.writeFileSync(path.join(directory, mark), text.replace(/ v\d+$/, ' v9'));
    await expect(open()).rejects.toThrow('another version');
    await store.close();
  });
});

describe('an index in use', () => {
  let store: LocalStore;
  let other: LocalStore;
  beforeEach(async () => {
    store = await open();
    other = await open();
  });
  afterEach(async () => {
    await store.close();
    await other.close();
  });

  it.each<[string, () => void]>([
    ['is deleted', () => fs.rmSync(directory, { recursive: true })],
    ['is moved away', () => fs.renameSync(file(), path.join(base, 'away'))],
    [
      'is replaced by an old copy',
      () => {
        fs.copyFileSync(file(), path.join(base, 'copy'));
        fs.renameSync(path.join(base, 'copy'), file());
      },
    ],
  ])('that %s is made anew, for all that have it open', { timeout: 60_000 }, async (_what, change) => {
    change();
    expect(await look(store)).toEqual(before);
    await put(other, 'from/other');
    expect(await list(store, { prefix: 'from' })).toEqual(['from/other']);
    await put(store, 'from/store');
    expect(await list(other, { prefix: 'from' })).toEqual(['from/other', 'from/store']);
    expect(store.live.hashes + other.live.hashes).toBe(0);
  });

  it.each(INSTEAD)('with %s in the place of its folder is made anew', { timeout: 60_000 }, async (_what, instead) => {
    fs.writeFileSync(path.join(root, '.gos3rve/credentials.json'), '{}');
    fs.rmSync(directory, { recursive: true });
    instead();
    await put(other, 'from/other');
    expect(await list(store, { prefix: 'from' })).toEqual(['from/other']);
    await put(store, 'from/store');
    expect(await list(other, { prefix: 'from' })).toEqual(['from/other', 'from/store']);
    expect(store.live.hashes + other.live.hashes).toBe(0);
    expect(warnings).toEqual(['the index is set aside and made anew from the journal']);
  });

  it('with something else in the place of its folder is closed all the same', async () => {
    fs.rmSync(directory, { recursive: true });
    fs.writeFileSync(directory, 'x');
    await store.close();
    await other.close();
    await isAsBefore();
  });

  it('whose pages others overwrite is made anew before anything is told from them', { timeout: 120_000 }, async () => {
    // a later page each time, and other garbage
    for (let page = 0; ; page += 3) {
      if ((page + 1) * PAGE > fs.statSync(file()).size) break;
      warnings = [];
      overwrite(file(), page * PAGE, Buffer.alloc(PAGE, page % 2 === 0 ? 0xff : page));
      expect(await list(store), `page ${page}`).toEqual((before as unknown[][]).map(([key]) => key));
      if (page % 4 === 0) expect(await look(other), `page ${page}`).toEqual(before);
      expect(warnings.filter((text) => text.includes('damaged')).length, `page ${page}`).toBeGreaterThan(0);
    }
    expect(await look(store)).toEqual(before);
    await put(other, 'from/other');
    expect(await list(store, { prefix: 'from' })).toEqual(['from/other']);
    expect(store.live.hashes + other.live.hashes).toBe(0);
  });

  it.each([0, 1, PAGE, 2 * PAGE, 5 * PAGE, -1])('that is cut at %d is made anew', { timeout: 60_000 }, async (at) => {
    const { size } = fs.statSync(file());
    fs.truncateSync(file(), at < 0 ? size + at : at);
    // a server asks this four times a second, with or without requests
    expect(store.changes.wanted).toBe(false);
    expect(await look(store)).toEqual(before);
    expect(await look(other)).toEqual(before);
    await put(other, 'from/other');
    expect(await list(store, { prefix: 'from' })).toEqual(['from/other']);
    expect(warnings.filter((text) => text.includes('damaged')).length).toBeGreaterThan(0);
  });

  it('that others damage is made anew though nobody asks', { timeout: 60_000 }, async () => {
    overwrite(file(), 4 * PAGE, Buffer.alloc(PAGE, 0xff));
    await expect.poll(() => warnings.join(), { timeout: 20_000 }).toContain('damaged');
    await expect.poll(() => store.live.rebuilding, { timeout: 20_000 }).toBe(false);
    expect(await look(store)).toEqual(before);
  });

  it('that others damage while it is written refuses, and goes on', { timeout: 60_000 }, async () => {
    let done = 0;
    for (let n = 0; n < 30; n++) {
      const both = Promise.allSettled([put(store, `w/a${n}`), put(other, `w/b${n}`)]);
      if (n % 7 === 3) overwrite(file(), (2 + n) * PAGE, Buffer.alloc(PAGE, 0xff));
      for (const one of await both) {
        if (one.status === 'fulfilled') done++;
        else expect(one.reason).toMatchObject({ code: 'SlowDown' });
      }
    }
    expect(await list(store, { prefix: 'w/' })).toHaveLength(done);
    expect(await list(other, { prefix: 'w/' })).toHaveLength(done);
  });

  it('by several, as busily as it may be, is not taken for damaged', async () => {
    await Promise.all(
      [store, other].map(async (one, n) => {
        for (let i = 0; i < 100; i++) {
          await put(one, `busy/${n}/${i}`);
          await list(n === 0 ? other : store, { prefix: 'busy/' });
        }
      }),
    );
    expect(warnings).toEqual([]);
  });

  it('with a damaged row is made anew, without an error for who reads', { timeout: 60_000 }, async () => {
    const index = Index.open(file());
    const [bucketDir] = index.page('tree', rowKey(1, BUCKET), rowKey(2, ''), 1);
    const dir = bucketDir ? bucketDir.value.readUIntBE(2, 6) : 0;
    for (const spoilt of [rowKey(dir, 'multi'), rowKey(1, `${BUCKET}/`)]) {
      const old = index.get('tree', spoilt);
      expect(old).toBeDefined();
      const bytes = Buffer.from(old ?? '');
      bytes[9] = (bytes[9] ?? 0) ^ 1;
      index.write(() => index.put('tree', spoilt, bytes));
      expect((await get(store, 'multi')).info.etag).toMatch(/-1$/);
      expect(await look(store)).toEqual(before);
      expect(await look(other)).toEqual(before);
      index.refresh();
    }
    await index.close();
    expect(warnings.filter((text) => text.includes('damaged')).length).toBeGreaterThan(0);
  });

  it('waits with writes, and answers reads from the tree, while it is made', { timeout: 60_000 }, async () => {
    await store.close();
    await other.close();
    // somebody who lives has the work and does not get on with it
    fs.rmSync(directory, { recursive: true });
    fs.mkdirSync(directory);
    fs.writeFileSync(path.join(directory, `open-${ELSEWHERE}-x`), `${bootId()} v3`);
    const index = Index.open(path.join(directory, 'v3.mdb'));
    const builder = (time: number): void =>
      index.write(() => index.put('meta', Buffer.from('builder'), Buffer.from(`${ELSEWHERE}-x ${time}`)));
    builder(Date.now() + 60_000);
    store = await open({ patience: { open: 50, read: 50, write: 100 } });
    expect(store.live.rebuilding).toBe(true);
    const info = await store.head(BUCKET, 'dir0/k0', { incomplete: true });
    expect(info).toMatchObject({ size: 6, incomplete: true });
    expect(info.facts.metadata).toBeUndefined();
    await refuses(store.head(BUCKET, 'dir0/k0'), 'SlowDown');
    await refuses(store.head(BUCKET, 'never', { incomplete: true }), 'SlowDown');
    await refuses(put(store, 'new'), 'SlowDown');
    await refuses(store.list(BUCKET, { prefix: '', delimiter: '', after: '', max: 9 }), 'SlowDown');
    await store.createBucket('plain', {});
    fs.writeFileSync(path.join(root, 'plain/file'), 'x');
    expect(await list(store, {}, 'plain')).toEqual(['file']);
    expect((await store.listBuckets()).buckets).toHaveLength(2);
    // it is not heard of any more
    builder(1);
    await index.close();
    const written = (): Promise<boolean> =>
      put(store, 'new').then(
        () => true,
        () => false,
      );
    await expect.poll(written, { timeout: 20_000 }).toBe(true);
    expect(store.live.rebuilding).toBe(false);
    await store.delete(BUCKET, 'new');
    expect(await look(store)).toEqual(before);
    other = await open();
  });
});
