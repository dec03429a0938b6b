/** Renames by other programs: what is known of the bytes follows at once, what clients said of the key after a moment (DESIGN rule 4). */
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body, list, md5, refuses, text } from '../suites/store/kit.js';
import { ALL_FACTS } from '../suites/store/objects.js';

const OWNER = { id: 'someone', displayName: 'Someone' };
const { acl: _acl, owner: _owner, ...SAID } = ALL_FACTS;
const OWNED = { ...SAID, owner: OWNER, acl: { owner: OWNER, grants: [] } };
const BUCKET = 'box';
/** In full as many as the promise says. */
const FILES = process.env.GOS3RVE_FULL === '1' ? 10_000 : 1000;
/** Long enough for what has to come before it. */
const QUIET_MS = 600;
const OPTIONS = { durability: 'fast', quietMs: QUIET_MS } as const;

let root: string;
let store: LocalStore;

beforeEach(async () => {
  root = mkdtempSync(path.join(tmpdir(), 'gos3rve-renames-'));
  store = await openStore(root, OPTIONS);
  await store.createBucket(BUCKET, {});
});
afterEach(async () => {
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

const at = (...names: string[]): string => path.join(root, BUCKET, ...names);
const put = (key: string, content: string): Promise<unknown> => store.put(BUCKET, key, body(content), { facts: SAID });
const moment = (ms = QUIET_MS + 100): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const head = (key: string): ReturnType<typeof store.head> => store.head(BUCKET, key);

/** The index is lost; journal and tree stay. */
async function rebuild(): Promise<void> {
  await store.close();
  rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
  store = await openStore(root, OPTIONS);
}

describe('a folder that is renamed', () => {
  it.each([
    ['HEAD of a key that no listing has shown', (key: string) => head(key)],
    ['a listing', () => list(store)],
    ['a look of the watcher', () => store.live.lookAtDir([BUCKET])],
  ])('keeps all, found by %s', async (_how, look) => {
    await put('old/deep/k', 'x');
    const before = await head('old/deep/k');
    renameSync(at('old'), at('new'));
    await look('new/deep/k');
    const after = await head('new/deep/k');
    expect(after).toEqual({ ...before, key: 'new/deep/k' });
    await refuses(head('old/deep/k'), 'NoSuchKey');
    expect(await list(store)).toEqual(['new/deep/k']);
    await rebuild();
    expect(await head('new/deep/k')).toEqual(after);
    expect(store.live.hashes).toBe(0);
  });

  it(`of ${FILES} files hashes nothing, found by single requests`, async () => {
    mkdirSync(at('old/sub'), { recursive: true });
    for (let i = 0; i < FILES; i++) writeFileSync(at('old', i % 2 ? 'sub' : '', `f${i}`), `content ${i}`);
    await list(store);
    await list(store);
    const hashed = store.live.hashes;
    expect(hashed).toBe(FILES);
    renameSync(at('old'), at('new'));
    for (let i = 0; i < FILES; i += 37) {
      const key = i % 2 ? `new/sub/f${i}` : `new/f${i}`;
      expect((await head(key)).etag).toBe(md5(`content ${i}`));
    }
    expect((await list(store)).length).toBe(FILES);
    expect(store.live.hashes).toBe(hashed);
  }, 120_000);

  it('keeps the marker and the directories that we made', async () => {
    await store.put(BUCKET, 'old/dir/', body(''), { facts: SAID });
    await put('old/made/k', 'x');
    renameSync(at('old'), at('new'));
    expect((await head('new/dir/')).facts.metadata).toEqual(SAID.metadata);
    await store.delete(BUCKET, 'new/made/k');
    expect(existsSync(at('new/made'))).toBe(false);
    await refuses(head('old/dir/'), 'NoSuchKey');
  });

  it('keeps all when two are swapped, and when three change places', async () => {
    for (const name of ['a', 'b', 'c']) await put(`${name}/k`, name);
    const before = await Promise.all(['a', 'b', 'c'].map((name) => head(`${name}/k`)));
    const etags = before.map(({ etag }) => etag);
    renameSync(at('a'), at('t'));
    renameSync(at('b'), at('a'));
    renameSync(at('t'), at('b'));
    expect((await head('a/k')).etag).toBe(etags[1]);
    expect((await head('b/k')).etag).toBe(etags[0]);
    renameSync(at('a'), at('t'));
    renameSync(at('b'), at('a'));
    renameSync(at('c'), at('b'));
    renameSync(at('t'), at('c'));
    // a holds what was a, b what was c, c what was b
    for (const [key, from] of [
      ['c/k', 1],
      ['a/k', 0],
      ['b/k', 2],
    ] as const) {
      expect(await head(key)).toEqual({ ...before[from], key });
    }
    expect(store.live.hashes).toBe(0);
    await rebuild();
    expect((await head('b/k')).etag).toBe(etags[2]);
    expect((await head('b/k')).facts).toEqual(SAID);
  });

  it('keeps what is known of the bytes where another folder took the old name first', async () => {
    await put('old/k', 'x');
    renameSync(at('old'), at('new'));
    mkdirSync(at('old'));
    writeFileSync(at('old/other'), 'y');
    expect(await list(store)).toEqual(['new/k', 'old/other']);
    expect((await head('new/k')).etag).toBe(md5('x'));
    // only the other one was read
    expect(store.live.hashes).toBe(1);
  });

  it('takes a put into the renamed folder', async () => {
    await put('old/k', 'x');
    renameSync(at('old'), at('new'));
    await put('new/l', 'y');
    expect((await head('new/k')).facts).toEqual(SAID);
    expect(await list(store)).toEqual(['new/k', 'new/l']);
    await rebuild();
    expect((await head('new/k')).facts).toEqual(SAID);
    expect((await head('new/l')).facts).toEqual(SAID);
    expect(store.live.hashes).toBe(0);
  });

  it('that is a bucket keeps ETags and metadata, but neither owner nor ACL', async () => {
    await store.put(BUCKET, 'd/k', body('x'), { facts: OWNED });
    renameSync(path.join(root, BUCKET), path.join(root, 'crate'));
    const info = await store.head('crate', 'd/k');
    expect(info.etag).toBe(md5('x'));
    expect(info.facts).toEqual(SAID);
    renameSync(path.join(root, 'crate'), path.join(root, BUCKET));
    expect((await head('d/k')).facts).toEqual(OWNED);
    expect(store.live.hashes).toBe(0);
  });
});

// a small one is read once, before its ETag is told: a write just before the rename leaves no trace
describe('a file that is renamed', () => {
  it('keeps its hash at once and its metadata once the old path has stayed away', async () => {
    await put('a', 'x');
    renameSync(at('a'), at('b'));
    const early = await head('b');
    expect(early.etag).toBe(md5('x'));
    expect(early.facts.metadata).toBeUndefined();
    await moment();
    expect((await head('b')).facts).toEqual(SAID);
    await refuses(head('a'), 'NoSuchKey');
    expect(store.live.hashes).toBe(1);
    await rebuild();
    expect(await head('b')).toMatchObject({ etag: md5('x'), facts: SAID });
    expect(store.live.hashes).toBe(0);
  });

  it('keeps both at once when it was renamed a while ago', async () => {
    await put('a', 'x');
    renameSync(at('a'), at('b'));
    await moment();
    const page = await store.list(BUCKET, { prefix: '', delimiter: '', after: '', max: 10 });
    expect(page.entries).toMatchObject([{ key: 'b', etag: md5('x'), facts: SAID }]);
  });

  it('keeps its metadata through the background', async () => {
    await put('a', 'x');
    renameSync(at('a'), at('b'));
    await head('b');
    expect(await store.live.settleRenames()).toBe(0);
    await moment();
    expect(await store.live.settleRenames()).toBe(1);
    expect(await store.live.settleRenames()).toBe(0);
    expect((await head('b')).facts).toEqual(SAID);
  });

  it('leaves its metadata with the key when an editor saves by rename', async () => {
    await put('a', 'first');
    renameSync(at('a'), at('a~'));
    expect((await head('a~')).etag).toBe(md5('first'));
    writeFileSync(at('a'), 'second');
    await moment();
    expect(await head('a')).toMatchObject({ etag: md5('second'), facts: SAID });
    const backup = await head('a~');
    expect(backup.etag).toBe(md5('first'));
    expect(backup.facts.metadata).toBeUndefined();
    expect(store.live.hashes).toBe(2);
  });

  it('keeps its hash though the old path was looked at with other bytes first', async () => {
    await put('a', 'first');
    renameSync(at('a'), at('a~'));
    writeFileSync(at('a'), 'second');
    expect((await head('a')).etag).toBe(md5('second'));
    expect((await head('a~')).etag).toBe(md5('first'));
    expect(store.live.hashes).toBe(2);
  });

  it('keeps its hash though a client wrote to the old key first', async () => {
    await put('a', 'first');
    renameSync(at('a'), at('b'));
    await put('a', 'second');
    expect((await head('b')).etag).toBe(md5('first'));
    expect(store.live.hashes).toBe(1);
  });

  it('keeps hashes and leaves metadata with the keys when two are swapped', async () => {
    await store.put(BUCKET, 'a', body('one'), { facts: { contentType: 'text/a' } });
    await store.put(BUCKET, 'b', body('two'), { facts: { contentType: 'text/b' } });
    renameSync(at('a'), at('t'));
    renameSync(at('b'), at('a'));
    renameSync(at('t'), at('b'));
    expect(await head('a')).toMatchObject({ etag: md5('two'), facts: { contentType: 'text/a' } });
    expect(await head('b')).toMatchObject({ etag: md5('one'), facts: { contentType: 'text/b' } });
    expect(store.live.hashes).toBe(2);
  });

  it('copies what is known of the bytes to another name of the same file', async () => {
    await put('a', 'x');
    linkSync(at('a'), at('b'));
    expect((await head('b')).etag).toBe(md5('x'));
    expect((await head('b')).facts.metadata).toBeUndefined();
    expect(await head('a')).toMatchObject({ etag: md5('x'), facts: SAID });
    expect(store.live.hashes).toBe(1);
  });

  it('keeps parts and checksums', async () => {
    const { uploadId } = await store.createUpload(BUCKET, 'a', { facts: SAID });
    const part = await store.putPart(BUCKET, 'a', uploadId, 1, body('part'));
    const info = await store.completeUpload(BUCKET, 'a', uploadId, [{ partNumber: 1, etag: part.etag, checksums: {} }]);
    renameSync(at('a'), at('b'));
    expect(await head('b')).toMatchObject({ etag: info.etag, partCount: 1 });
    await moment();
    const open = await store.open(BUCKET, 'b');
    expect(await open.parts()).toMatchObject([{ partNumber: 1, size: 4 }]);
    expect(open.info.facts).toEqual(SAID);
    await open.close();
  });

  it('takes metadata to another bucket, but neither owner nor ACL', async () => {
    mkdirSync(path.join(root, 'crate'));
    await store.put(BUCKET, 'a', body('x'), { facts: OWNED });
    renameSync(at('a'), path.join(root, 'crate/a'));
    await moment();
    expect(await store.head('crate', 'a')).toMatchObject({ etag: md5('x') });
    expect((await store.head('crate', 'a')).facts).toEqual(SAID);
  });

  it('is not taken for the old one after a write behind the rename', async () => {
    await put('a', 'honest');
    const { mtime } = statSync(at('a'));
    renameSync(at('a'), at('b'));
    await moment(100);
    writeFileSync(at('b'), 'forged');
    utimesSync(at('b'), mtime, mtime);
    expect((await head('b')).etag).toBe(md5('forged'));
  });

  it('is told tags as soon as a client sets them', async () => {
    await put('a', 'x');
    renameSync(at('a'), at('b'));
    await head('b');
    await store.updateFacts(BUCKET, 'b', (facts) => ({ ...facts, tags: [['new', 'tag']] }));
    expect((await head('b')).facts).toEqual({ ...SAID, tags: [['new', 'tag']] });
  });
});

describe('a file that is gone', () => {
  it('finds what clients said of it when it comes back, and its hash when it was restored', async () => {
    const { uploadId } = await store.createUpload(BUCKET, 'd/k', { facts: OWNED });
    const part = await store.putPart(BUCKET, 'd/k', uploadId, 1, body('content'));
    const { etag } = await store.completeUpload(BUCKET, 'd/k', uploadId, [
      { partNumber: 1, etag: part.etag, checksums: {} },
    ]);
    const { mtime } = statSync(at('d/k'));
    const bytes = readFileSync(at('d/k'));
    rmSync(at('d'), { recursive: true });
    expect(await list(store)).toEqual([]);
    await store.live.lookAtDir([BUCKET]);
    mkdirSync(at('d'));
    writeFileSync(at('d/k'), bytes);
    // as rsync -a and cp -a do; a Date has no more than ms
    utimesSync(at('d/k'), mtime.getTime() / 1000, mtime.getTime() / 1000);
    const restored = await head('d/k');
    expect(restored.facts).toEqual(OWNED);
    expect([etag, md5('content')]).toContain(restored.etag);
    expect(await list(store)).toEqual(['d/k']);
  });

  it('is not looked for again as long as its folder stays as it is', async () => {
    for (let i = 0; i < 50; i++) await put(`d/k${i}`, 'x');
    await put('d/last', 'x');
    for (let i = 0; i < 50; i++) rmSync(at(`d/k${i}`));
    expect(await list(store)).toEqual(['d/last']);
    await moment(50);
    expect(await list(store)).toEqual(['d/last']);
    writeFileSync(at('d/k7'), 'back');
    expect(await list(store)).toEqual(['d/k7', 'd/last']);
    expect((await head('d/k7')).facts).toEqual(SAID);
    rmSync(at('d/k7'));
    expect(await store.live.lookAtDir([BUCKET, 'd'])).toMatchObject({ gone: 1 });
  });

  it('is forgotten when a client deletes it', async () => {
    await put('k', 'x');
    rmSync(at('k'));
    expect(await store.delete(BUCKET, 'k')).toBe(false);
    writeFileSync(at('k'), 'x');
    expect((await head('k')).facts.metadata).toBeUndefined();
    await rebuild();
    expect((await head('k')).facts.metadata).toBeUndefined();
  });
});

describe('the live index', () => {
  it('tells what it finds, once', async () => {
    mkdirSync(at('d/sub'), { recursive: true });
    writeFileSync(at('d/new'), 'x');
    await put('d/ours', 'y');
    expect(await store.live.lookAtDir([BUCKET, 'd'], { files: true })).toEqual({
      subdirs: ['sub'],
      added: 2,
      gone: 0,
      changed: 0,
    });
    expect(await store.live.lookAtFile([BUCKET, 'd'], 'new')).toMatchObject({ state: 'same', size: 1, hashed: false });
    expect(await store.live.lookAtFile([BUCKET, 'd'], 'ours')).toMatchObject({ state: 'same', hashed: true });
    writeFileSync(at('d/new'), 'longer');
    expect(await store.live.lookAtFile([BUCKET, 'd'], 'new')).toMatchObject({ state: 'changed', size: 6 });
    expect(await store.live.lookAtFile([BUCKET, 'd'], 'new')).toMatchObject({ state: 'same' });
    writeFileSync(at('d/new'), 'longer still');
    await head('d/new');
    expect(await store.live.lookAtFile([BUCKET, 'd'], 'new')).toMatchObject({ state: 'changed', hashed: true });
    expect(await store.live.lookAtFile([BUCKET, 'd'], 'new')).toMatchObject({ state: 'same' });
    writeFileSync(at('d/seen'), 'by a client first');
    await list(store);
    expect(await store.live.lookAtFile([BUCKET, 'd'], 'seen')).toMatchObject({ state: 'new' });
    rmSync(at('d/new'));
    expect(await store.live.lookAtFile([BUCKET, 'd'], 'new')).toMatchObject({ state: 'gone' });
    expect(await store.live.lookAtFile([BUCKET, 'd'], 'sub')).toEqual({ state: 'not-served' });
    expect(await store.live.lookAtDir([BUCKET, 'nothing'])).toBeUndefined();
  });

  it('finds what nobody has hashed, and hashes it', async () => {
    for (const name of readdirSync(root)) expect(name).toMatch(/box|\.gos3rve/);
    for (let i = 0; i < 5; i++) writeFileSync(at(`f${i}`), `content ${i}`);
    await put('ours', 'x');
    await store.live.lookAtDir([BUCKET]);
    const first = store.live.unhashed(undefined, 3);
    const second = store.live.unhashed(first.next, 3);
    expect([...first.entries, ...second.entries]).toEqual(
      [0, 1, 2, 3, 4].map((i) => ({ dirs: [BUCKET], name: `f${i}`, size: 9 })),
    );
    const asked: [string, number[]][] = [];
    const outcome = await store.live.hashFile([BUCKET], 'f1', async (file, ends) => {
      asked.push([readFileSync(file, 'utf8'), ends]);
      return [md5('content 1')];
    });
    expect(outcome).toBe('done');
    expect(asked).toEqual([['content 1', [9]]]);
    expect(await store.live.hashFile([BUCKET], 'f1')).toBe('known');
    expect(await store.live.hashFile([BUCKET], 'f9')).toBe('gone');
    expect(await store.live.hashFile([BUCKET], 'f2')).toBe('done');
    expect(store.live.unhashed(undefined, 9).entries.map(({ name }) => name)).toEqual(['f0', 'f3', 'f4']);
    const hashes = store.live.hashes;
    expect((await head('f2')).etag).toBe(md5('content 2'));
    expect(store.live.hashes).toBe(hashes);
  });

  it('finds a file in doubt, which keeps its hash if the bytes are the same', async () => {
    await put('k', 'x');
    const { atime, mtime } = statSync(at('k'));
    await moment(30);
    utimesSync(at('k'), atime, mtime);
    await store.live.lookAtFile([BUCKET], 'k');
    const { entries } = store.live.unhashed(undefined, 9);
    expect(entries.map(({ name }) => name)).toEqual(['k']);
    expect(await store.live.hashFile([BUCKET], 'k')).toBe('done');
    expect(store.live.unhashed(undefined, 9).entries).toEqual([]);
    expect(await text(store, 'k')).toBe('x');
  });
});

describe('an ETag that was told before the file was hashed', () => {
  const LARGE = Buffer.alloc((1 << 20) + 1, 'x');

  it('stays as long as somebody asks, and conditions take either', async () => {
    await store.close();
    store = await openStore(root, { durability: 'fast', etagGraceMs: 700 });
    writeFileSync(at('large'), LARGE);
    await moment(60);
    const told = (await head('large')).etag;
    expect(told).toMatch(/-1$/);
    while ((await store.live.hashFile([BUCKET], 'large')) !== 'known') await moment(20);
    const after = await head('large');
    expect(after.etag).toBe(told);
    expect(after.aliases).toEqual([md5(LARGE)]);
    const page = await store.list(BUCKET, { prefix: '', delimiter: '', after: '', max: 10 });
    expect(page.entries).toMatchObject([{ etag: told }]);
    await moment(800);
    const later = await head('large');
    expect(later.etag).toBe(md5(LARGE));
    expect(later.aliases).toEqual([told]);
  });

  it('stays when a client moves the object, hashed or not', async () => {
    await store.close();
    store = await openStore(root, { durability: 'fast', etagGraceMs: 2000 });
    writeFileSync(at('large'), LARGE);
    const told = (await head('large')).etag;
    expect((await store.move({ bucket: BUCKET, key: 'large' }, { bucket: BUCKET, key: 'there' })).etag).toBe(told);
    expect((await head('there')).etag).toBe(told);
    while ((await store.live.hashFile([BUCKET], 'there')) !== 'known') await moment(20);
    expect(await head('there')).toMatchObject({ etag: told });
    expect((await head('there')).aliases).toContain(md5(LARGE));
    await store.move({ bucket: BUCKET, key: 'there' }, { bucket: BUCKET, key: 'again' });
    expect(await head('again')).toMatchObject({ etag: told });
    await moment(2200);
    expect(await head('again')).toMatchObject({ etag: md5(LARGE) });
  });

  it('stays when a client moves the object where hashing is off', async () => {
    await store.close();
    store = await openStore(root, { durability: 'fast', hash: 'off', etagGraceMs: 2000 });
    for (const bytes of ['x', LARGE]) {
      writeFileSync(at('f'), bytes);
      const told = (await head('f')).etag;
      expect(told).toMatch(/-1$/);
      expect((await store.move({ bucket: BUCKET, key: 'f' }, { bucket: BUCKET, key: 'g' })).etag).toBe(told);
      expect((await head('g')).etag).toBe(told);
      await store.move({ bucket: BUCKET, key: 'g' }, { bucket: BUCKET, key: 'd/h' });
      expect((await head('d/h')).etag).toBe(told);
      const page = await store.list(BUCKET, { prefix: 'd/', delimiter: '', after: '', max: 10 });
      expect(page.entries).toMatchObject([{ etag: told }]);
      await moment(2200);
      expect((await head('d/h')).etag).toMatch(/-1$/);
      writeFileSync(at('d', 'h'), Buffer.from('y'.repeat(bytes.length)));
      expect((await head('d/h')).etag).not.toBe(told);
    }
    expect(store.live.hashes).toBe(0);
  });

  it('stays for whoever asks while a client moves the object', async () => {
    await store.close();
    store = await openStore(root);
    writeFileSync(at('f'), LARGE);
    const told = (await head('f')).etag;
    const seen = new Set<string>();
    for (let i = 0, [from, to] = ['f', 'g']; i < 10; i++, [from, to] = [to, from]) {
      const moving = store.move({ bucket: BUCKET, key: from }, { bucket: BUCKET, key: to });
      let moved = false;
      void moving.finally(() => (moved = true)).catch(() => undefined);
      while (!moved) {
        await head(to).then(
          ({ etag }) => seen.add(etag),
          () => undefined,
        );
        await new Promise((resolve) => setImmediate(resolve));
      }
      await moving;
      seen.add((await head(to)).etag);
    }
    expect([...seen]).toEqual([told]);
  });

  const hashed = async (key: string): Promise<void> => {
    const [name = '', ...dirs] = key.split('/').reverse();
    while ((await store.live.hashFile([BUCKET, ...dirs.reverse()], name)) !== 'known') await moment(20);
  };
  it.each([
    ['before the move', 'there'],
    ['before the index is lost', 'there'],
    ['afterwards', 'there'],
    ['before the move', 'over//there'],
    ['never', 'over//there'],
  ])('stays after a move when the index is lost, hashed %s (to "%s")', async (when, to) => {
    writeFileSync(at('large'), LARGE);
    const told = (await head('large')).etag;
    if (when === 'before the move') await hashed('large');
    await store.move({ bucket: BUCKET, key: 'large' }, { bucket: BUCKET, key: to });
    if (when === 'before the index is lost') await hashed(to);
    await rebuild();
    if (when === 'afterwards') await hashed(to);
    expect((await head(to)).etag).toBe(told);
    await store.move({ bucket: BUCKET, key: to }, { bucket: BUCKET, key: 'd//again' });
    await store.movePrefix({ bucket: BUCKET, key: 'd/' }, { bucket: BUCKET, key: 'e/' });
    expect((await head('e//again')).etag).toBe(told);
    await rebuild();
    expect((await head('e//again')).etag).toBe(told);
    await store.move({ bucket: BUCKET, key: 'e//again' }, { bucket: BUCKET, key: 'last' });
    await hashed('last');
    await rebuild();
    const last = await head('last');
    expect(last).toMatchObject({ etag: told });
    expect(last.aliases).toContain(md5(LARGE));
    writeFileSync(at('last'), Buffer.alloc(LARGE.length, 'y'));
    const now = await head('last');
    expect([now.etag, ...(now.aliases ?? [])]).not.toContain(told);
  });

  it('stays without a move when the index is lost, by a line that older versions write, too', async () => {
    writeFileSync(at('large'), LARGE);
    const told = (await head('large')).etag;
    await hashed('large');
    await store.close();
    const journal = path.join(root, '.gos3rve/journal');
    const lines = readdirSync(journal).map((name) => readFileSync(path.join(journal, name), 'utf8'));
    expect(lines.join('')).toMatch(/"op":"hash".*"told":\d+[,}]/);
    store = await openStore(root, OPTIONS);
    await rebuild();
    expect((await head('large')).etag).toBe(told);
  });

  it('stays no longer than promised when the index is lost', async () => {
    await store.close();
    store = await openStore(root, { durability: 'fast', etagGraceMs: 2000 });
    writeFileSync(at('large'), LARGE);
    const told = (await head('large')).etag;
    await store.move({ bucket: BUCKET, key: 'large' }, { bucket: BUCKET, key: 'there' });
    await hashed('there');
    expect((await head('there')).etag).toBe(told);
    await moment(2200);
    await rebuild();
    expect((await head('there')).etag).toBe(md5(LARGE));
  });

  it('does not stay when the bytes change after a move', async () => {
    writeFileSync(at('large'), LARGE);
    const told = (await head('large')).etag;
    await store.move({ bucket: BUCKET, key: 'large' }, { bucket: BUCKET, key: 'there' });
    writeFileSync(at('there'), Buffer.alloc(LARGE.length, 'y'));
    const now = await head('there');
    expect([now.etag, ...(now.aliases ?? [])]).not.toContain(told);
  });

  it('does not stay when the bytes change', async () => {
    writeFileSync(at('large'), LARGE);
    const told = (await head('large')).etag;
    writeFileSync(at('large'), Buffer.alloc(LARGE.length, 'y'));
    expect((await head('large')).etag).not.toBe(told);
  });

  it('is the only one where hashing is off', async () => {
    await store.close();
    store = await openStore(root, { durability: 'fast', hash: 'off' });
    writeFileSync(at('small'), 'x');
    expect((await head('small')).etag).toMatch(/-1$/);
    expect(await store.live.hashFile([BUCKET], 'small')).toBe('off');
    await list(store);
    expect(store.live.hashes).toBe(0);
  });
});

describe('a file that another program overwrites and then renames, where hashing is off and nobody watches', () => {
  beforeEach(async () => {
    await store.close();
    store = await openStore(root, { ...OPTIONS, hash: 'off' });
  });

  it.each<[string, string, () => Promise<unknown>]>([
    ['HEAD', 'rather longer', () => head('k')],
    ['HEAD', 'xyz', () => head('k')],
    ['a listing', 'rather longer', () => list(store)],
  ])('keeps what clients said of it once %s has told of %s', async (_how, content, look) => {
    await put('k', 'abc');
    const { etag } = await head('k');
    await moment(50);
    writeFileSync(at('k'), content);
    await look();
    expect((await head('k')).etag).not.toBe(etag);
    renameSync(at('k'), at('n'));
    await list(store);
    await moment();
    expect((await head('n')).facts).toEqual(SAID);
    expect(await text(store, 'n')).toBe(content);
    await refuses(head('k'), 'NoSuchKey');
    expect((await head('n')).etag).not.toBe(etag);
  });

  it('leaves an object alone that was put meanwhile', async () => {
    await put('k', 'abc');
    await moment(50);
    writeFileSync(at('k'), 'rather longer');
    await Promise.all([head('k'), put('k', 'new'), head('k'), list(store)]);
    expect((await head('k')).etag).toBe(md5('new'));
  });
});
