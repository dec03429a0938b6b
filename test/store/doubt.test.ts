/** What is not certain of a file's bytes, and what is told meanwhile (DESIGN rule 4). */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type LocalStore, type StoreOptions } from '../../src/store/open.js';
import type { Verdict } from '../../src/store/verify.js';
import { body, get, list, md5 } from '../suites/store/kit.js';

const BUCKET = 'box';
const LARGE = 1_500_000;
let root: string;
let store: LocalStore;
const open = (options: StoreOptions = {}): Promise<LocalStore> =>
  openStore(root, { durability: 'fast', minPartSize: 1, ...options });
const at = (name: string): string => path.join(root, BUCKET, name);
const head = (key: string): ReturnType<typeof store.head> => store.head(BUCKET, key);

beforeEach(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-doubt-'));
  fs.mkdirSync(path.join(root, BUCKET));
  store = await open();
});
afterEach(async () => {
  await store.close();
  fs.rmSync(root, { recursive: true });
});

const verdictOf = (name: string): Promise<Verdict> =>
  store.verifier.check({ kind: 'tree', dirs: [BUCKET], name }, () => undefined);

async function loseIndex(): Promise<void> {
  await store.close();
  fs.rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
  store = await open();
}

async function compact(): Promise<void> {
  await store.collector.journal(1e9, { dryRun: false, signal: new AbortController().signal });
}

/** Other bytes of the same size in place, with the mtime put back: that of `roundTime`. */
function forge(name: string, content: string | Buffer): void {
  const { mtime, atime } = fs.statSync(at(name));
  fs.writeFileSync(at(name), content);
  fs.utimesSync(at(name), atime, mtime);
}

/** A large file `b` by the hash that it had as `a`. */
async function forgeLarge(): Promise<void> {
  fs.writeFileSync(at('a'), Buffer.alloc(LARGE, 'h'));
  roundTime('a');
  await store.live.hashFile([BUCKET], 'a');
  forge('a', Buffer.alloc(LARGE, 'f'));
  fs.renameSync(at('a'), at('b'));
  expect((await head('b')).etag).toBe(md5('h'.repeat(LARGE)));
}

/** So that Node, whose Dates count ms, can put it back. */
function roundTime(name: string): void {
  fs.utimesSync(at(name), 1_700_000_000, 1_700_000_000);
}

describe('a file that was rewritten in place, its mtime put back, and renamed', () => {
  /** A small file `b` by the hash that it had as `a`. */
  async function forgeSmall(): Promise<void> {
    fs.writeFileSync(at('a'), 'honest');
    roundTime('a');
    expect((await head('a')).etag).toBe(md5('honest'));
    forge('a', 'forged');
    fs.renameSync(at('a'), at('b'));
  }
  const [from, to] = [
    { bucket: BUCKET, key: 'b' },
    { bucket: BUCKET, key: 'c' },
  ];
  const told = {
    GET: async () => {
      const got = await get(store, 'b');
      expect(got.bytes.toString()).toBe('forged');
      return got.info.etag;
    },
    HEAD: async () => (await head('b')).etag,
    listing: async () => {
      const { entries } = await store.list(BUCKET, { prefix: '', delimiter: '', after: '', max: 9 });
      return entries.map((entry) => ('etag' in entry ? entry.etag : '')).join();
    },
  };

  it.each(Object.entries(told))('is read before a %s tells of it, if it is small', async (_how, etagOf) => {
    await forgeSmall();
    for (let i = 0; i < 2; i++) expect(await etagOf()).toBe(md5('forged'));
    expect(store.live.hashes).toBe(2);
  });

  it.each(Object.entries(told))('is read before any of several at once tells of it by a %s', async (_how, etagOf) => {
    await forgeSmall();
    const etags = await Promise.all([etagOf(), etagOf(), etagOf()]);
    expect(etags).toEqual(Array(3).fill(md5('forged')));
    expect(store.live.hashes).toBe(2);
  });

  it.each(Object.entries(told))('is read by a %s also if its mtime is put back meanwhile', async (_how, etagOf) => {
    fs.writeFileSync(at('a'), 'honest');
    roundTime('a');
    await head('a');
    fs.renameSync(at('a'), at('b'));
    fs.writeFileSync(at('b'), 'forged');
    // it is young: it is waited for before it is read
    setTimeout(() => {
      fs.mkdirSync(at('made'));
      roundTime('b');
    }, 8);
    // a listing waits for nobody: it may tell the ETag of a file that was not read yet
    expect(await etagOf()).toMatch(new RegExp(`^${md5('forged')}$|-`));
  });

  it('is read before a condition of a write is decided by it, if it is small', async () => {
    await forgeSmall();
    const ifMatch = [md5('honest')];
    await expect(store.put(BUCKET, 'b', body('mine'), { condition: { ifMatch } })).rejects.toThrow();
    await expect(store.delete(BUCKET, 'b', { condition: { ifMatch } })).rejects.toThrow();
    await expect(store.move(from, to, { sourceCondition: { ifMatch } })).rejects.toThrow();
    expect(fs.readFileSync(at('b'), 'utf8')).toBe('forged');
  });

  it('is read in the background, if it is small', async () => {
    await forgeSmall();
    // a look at it, without a read
    await store.live.lookAtFile([BUCKET], 'b');
    expect(store.live.unhashed(undefined, 9).entries).toMatchObject([{ name: 'b' }]);
    expect(await store.live.hashFile([BUCKET], 'b')).toBe('done');
    expect((await head('b')).etag).toBe(md5('forged'));
    expect(store.live.unhashed(undefined, 9).entries).toEqual([]);
  });

  it('is read no second time once it was found honest, and keeps parts', async () => {
    const { uploadId } = await store.createUpload(BUCKET, 'a', {});
    const part = await store.putPart(BUCKET, 'a', uploadId, 1, body('part'));
    const { etag } = await store.completeUpload(BUCKET, 'a', uploadId, [
      { partNumber: 1, etag: part.etag, checksums: {} },
    ]);
    fs.renameSync(at('a'), at('b'));
    for (let i = 0; i < 3; i++) expect((await get(store, 'b')).info).toMatchObject({ etag, partCount: 1 });
    expect(store.live.hashes).toBe(1);
    expect(store.live.unhashed(undefined, 9).entries).toEqual([]);
  });

  it.each([['' as const], ['compacted' as const]])('stays unproven when the index is lost %s', async (how) => {
    await forgeSmall();
    await store.live.lookAtFile([BUCKET], 'b');
    if (how === 'compacted') await compact();
    await loseIndex();
    expect(store.live.unhashed(undefined, 9).entries).toMatchObject([{ name: 'b' }]);
    const got = await get(store, 'b');
    expect([got.info.etag, got.bytes.toString()]).toEqual([md5('forged'), 'forged']);
  });

  it('stays unproven when a client moves it and the index is lost, and so does another name of it', async () => {
    fs.writeFileSync(at('a'), 'honest');
    roundTime('a');
    await head('a');
    forge('a', 'forged');
    fs.linkSync(at('a'), at('linked'));
    await store.live.lookAtFile([BUCKET], 'linked');
    await store.move({ bucket: BUCKET, key: 'linked' }, { bucket: BUCKET, key: 'moved' });
    await loseIndex();
    expect((await get(store, 'moved')).info.etag).toBe(md5('forged'));
  });

  it('is read no second time once it was found honest, though the index is lost', async () => {
    await store.put(BUCKET, 'a', body('honest'), { facts: { metadata: { a: 'b' } } });
    fs.renameSync(at('a'), at('b'));
    for (const lost of [false, true]) {
      if (lost) await loseIndex();
      expect((await get(store, 'b')).info).toMatchObject({ etag: md5('honest') });
      expect(store.live.hashes).toBe(lost ? 0 : 1);
      expect(store.live.unhashed(undefined, 9).entries).toEqual([]);
    }
  });

  it('gives a copy the hash of the bytes, though it is large', async () => {
    await forgeLarge();
    const [from, to] = ['b', 'copy'].map((key) => ({ bucket: BUCKET, key }));
    if (!from || !to) return;
    expect((await store.copy(from, to, { facts: () => ({}) })).etag).toBe(md5('f'.repeat(LARGE)));
  });

  it.each([['' as const], ['appended to' as const]])(
    'is no damage to verify after a loss of the index %s',
    async (how) => {
      await forgeLarge();
      const more = how === '' ? '' : 'more';
      if (more) await store.append(BUCKET, 'b', LARGE, body(more), {});
      await loseIndex();
      expect(await verdictOf('b')).toEqual({ state: 'changed' });
      expect((await head('b')).etag).toBe(md5('f'.repeat(LARGE) + more));
      expect(await verdictOf('b')).toEqual({ state: 'whole' });
    },
  );

  it('is proved by verify once and for all', async () => {
    await store.put(BUCKET, 'a', body('honest'));
    fs.renameSync(at('a'), at('b'));
    await head('b');
    expect(await verdictOf('b')).toEqual({ state: 'whole' });
    await loseIndex();
    expect((await get(store, 'b')).info.etag).toBe(md5('honest'));
    expect(store.live.hashes).toBe(0);
  });

  it('stays in doubt through the rename if the write was noticed', async () => {
    fs.writeFileSync(at('a'), Buffer.alloc(LARGE, 'h'));
    roundTime('a');
    await store.live.hashFile([BUCKET], 'a');
    const honest = (await head('a')).etag;
    forge('a', Buffer.alloc(LARGE, 'f'));
    await store.live.lookAtFile([BUCKET], 'a');
    fs.renameSync(at('a'), at('b'));
    expect((await head('b')).etag).not.toBe(honest);
    await store.live.hashFile([BUCKET], 'b');
    const info = await head('b');
    expect([info.etag, ...(info.aliases ?? [])]).toContain(md5('f'.repeat(LARGE)));
  });
});

describe('a file that was replaced by another one of its size and mtime', () => {
  it('stays in doubt when it is renamed, and the folder that it was in', async () => {
    const [honest, other] = ['h', 'o'].map((letter) => Buffer.alloc(LARGE, letter));
    if (!honest || !other) return;
    for (const folder of ['d', 'e']) fs.mkdirSync(at(folder));
    for (const [name, bytes] of [
      ['d/k', honest],
      ['other', other],
    ] as const) {
      fs.writeFileSync(at(name), bytes);
      roundTime(name);
    }
    await store.live.hashFile([BUCKET, 'd'], 'k');
    await list(store);
    fs.renameSync(at('other'), at('d/k'));
    await store.close();
    store = await open({ hash: 'off' });
    // known by its own inode now, with the hash of the other one
    await head('d/k');
    fs.renameSync(at('d/k'), at('e/k'));
    fs.renameSync(at('d'), at('d2'));
    await store.live.lookAtDir([BUCKET]);
    await store.live.lookAtDir([BUCKET, 'd2']);
    expect((await head('e/k')).etag).not.toBe(md5(honest.toString()));
  });
});

describe('what clients were told of a large file', () => {
  beforeEach(() => fs.writeFileSync(at('large'), Buffer.alloc(LARGE, 'x')));

  it('is told after a loss of the index, too', async () => {
    await store.close();
    store = await open({ hash: 'off' });
    const { etag } = await head('large');
    await store.close();
    fs.rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
    store = await open({ hash: 'off' });
    expect((await head('large')).etag).toBe(etag);
  });

  it.each([['', false] as const, [', compacted', true] as const])(
    'stays its ETag though it was hashed before the index was lost%s',
    async (_what, compacted) => {
      const { etag } = await head('large');
      expect(etag).toMatch(/-1$/);
      await store.live.hashFile([BUCKET], 'large');
      const before = await head('large');
      expect(before).toMatchObject({ etag, aliases: [md5('x'.repeat(LARGE))] });
      if (compacted) await compact();
      await loseIndex();
      expect(await head('large')).toEqual(before);
      const put = store.put(BUCKET, 'large', body('y'), { condition: { ifMatch: [etag] } });
      await expect(put).resolves.toMatchObject({ etag: md5('y') });
    },
  );
});

describe('after a loss of the index', () => {
  it('a folder that is renamed at once is known, with marker, metadata and parts, and nothing is hashed', async () => {
    await store.put(BUCKET, 'old/m/', body(''), { facts: { metadata: { of: 'marker' } } });
    await store.put(BUCKET, 'old/deep/k', body('x'), { facts: { metadata: { of: 'k' } } });
    await loseIndex();
    fs.renameSync(at('old'), at('new'));
    expect((await head('new/deep/k')).facts.metadata).toEqual({ of: 'k' });
    expect((await head('new/m/')).facts.metadata).toEqual({ of: 'marker' });
    expect(store.live.hashes).toBe(0);
  });

  it('bytes are known that were renamed away before a client wrote to their key', async () => {
    const { uploadId } = await store.createUpload(BUCKET, 'a', {});
    const part = await store.putPart(BUCKET, 'a', uploadId, 1, body('part'));
    const { etag } = await store.completeUpload(BUCKET, 'a', uploadId, [
      { partNumber: 1, etag: part.etag, checksums: {} },
    ]);
    for (const act of ['put', 'delete'] as const) {
      fs.renameSync(at('a'), at('b'));
      if (act === 'put') await store.put(BUCKET, 'a', body('other'));
      else await store.delete(BUCKET, 'a');
      await loseIndex();
      expect((await head('b')).etag).toBe(etag);
      // read once, for the rename's sake: its parts are known
      expect(store.live.hashes).toBe(1);
      fs.renameSync(at('b'), at('a'));
      expect((await head('a')).etag).toBe(etag);
    }
  });
});

describe('a folder that was away', () => {
  it('is listed with all that is in it when it comes back, though gc has missed its files', async () => {
    await store.put(BUCKET, 'd/sub/k', body('x'), { facts: { metadata: { a: 'b' } } });
    fs.writeFileSync(at('d/sub/foreign'), 'y');
    await new Promise((resolve) => setTimeout(resolve, 100));
    for (let i = 0; i < 2; i++) expect(await list(store)).toEqual(['d/sub/foreign', 'd/sub/k']);
    fs.renameSync(at('d'), path.join(root, '.gos3rve/away'));
    const { signal } = new AbortController();
    expect(await store.collector.ghosts(0, { dryRun: false, signal })).toMatchObject({ missing: 2 });
    expect(await list(store)).toEqual([]);
    fs.renameSync(path.join(root, '.gos3rve/away'), at('d'));
    expect(await list(store)).toEqual(['d/sub/foreign', 'd/sub/k']);
    expect((await head('d/sub/k')).facts.metadata).toEqual({ a: 'b' });
  });
});

describe('a file with two names that was rewritten in place, its mtime put back', () => {
  const SIZES: [string, number][] = [
    ['small', 2000],
    ['large', LARGE],
  ];
  const NAMES = ['x', 'y'];

  async function linked(size: number): Promise<void> {
    fs.writeFileSync(at('x'), Buffer.alloc(size, 'a'));
    roundTime('x');
    fs.linkSync(at('x'), at('y'));
    for (const name of NAMES) {
      await store.live.hashFile([BUCKET], name);
      expect((await head(name)).etag).toBe(md5(Buffer.alloc(size, 'a')));
    }
  }

  it.each(SIZES)('is not told by its old ETag although its folder changed as well (%s)', async (_size, size) => {
    const [old, now] = ['a', 'b'].map((letter) => md5(Buffer.alloc(size, letter)));
    await linked(size);
    forge('x', Buffer.alloc(size, 'b'));
    fs.writeFileSync(at('other'), '');
    for (const name of NAMES) {
      const { info, bytes } = await get(store, name);
      expect(bytes[0]).toBe(0x62);
      expect([info.etag, ...(info.aliases ?? [])]).not.toContain(old);
      const told = await head(name);
      expect([told.etag, ...(told.aliases ?? [])]).not.toContain(old);
    }
    for (const name of NAMES) await store.live.hashFile([BUCKET], name);
    for (const name of NAMES) {
      const { etag, aliases = [] } = await head(name);
      expect([etag, ...aliases]).toContain(now);
    }
  });

  it.each(SIZES)('is not told by its old ETag when its other name goes (%s)', async (_size, size) => {
    await linked(size);
    forge('x', Buffer.alloc(size, 'b'));
    fs.unlinkSync(at('y'));
    const { info } = await get(store, 'x');
    expect([info.etag, ...(info.aliases ?? [])]).not.toContain(md5(Buffer.alloc(size, 'a')));
  });
});
