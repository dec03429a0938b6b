/** What clients said of a key follows a file that other programs rename more than once, or whose folder they rename, before the moment is over. */
import { execFileSync } from 'node:child_process';
import { cpSync, linkSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body, list, md5 } from '../suites/store/kit.js';
import { ALL_FACTS } from '../suites/store/objects.js';

const { acl: _acl, owner: _owner, ...SAID } = ALL_FACTS;
const BUCKET = 'box';
/** Long enough for what has to come before it. */
const QUIET_MS = 600;
const OPTIONS = { durability: 'fast', quietMs: QUIET_MS } as const;

let root: string;
let store: LocalStore;

beforeEach(async () => {
  root = mkdtempSync(path.join(tmpdir(), 'gos3rve-renamed-again-'));
  store = await openStore(root, OPTIONS);
  await store.createBucket(BUCKET, {});
});
afterEach(async () => {
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

const at = (...names: string[]): string => path.join(root, BUCKET, ...names);
const put = (key: string, content = 'x'): Promise<unknown> => store.put(BUCKET, key, body(content), { facts: SAID });
const head = (key: string): ReturnType<typeof store.head> => store.head(BUCKET, key);
const rename = (from: string, to: string): void => renameSync(at(from), at(to));

/** What has to happen in the background does. */
async function moment(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, QUIET_MS + 100));
  for (let i = 0; i < 2; i++) {
    await store.live.settleRenames();
    await list(store);
  }
}

/** The index is lost; journal and tree stay. */
async function rebuild(): Promise<void> {
  await store.close();
  rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
  store = await openStore(root, OPTIONS);
}

describe.each([
  ['at once', false],
  ['by way of an index that is made anew', true],
])('what was said of a key, %s,', (_how, anew) => {
  const settle = async (): Promise<void> => {
    if (anew) await rebuild();
    await moment();
  };

  it('follows a file that is renamed twice', async () => {
    await put('x');
    rename('x', 'y');
    await list(store);
    rename('y', 'z');
    await list(store);
    await settle();
    expect(await head('z')).toMatchObject({ etag: md5('x'), facts: SAID });
    await rebuild();
    expect(await head('z')).toMatchObject({ etag: md5('x'), facts: SAID });
    expect(store.live.hashes).toBe(0);
  });

  it('follows a file that is renamed three times and nobody has hashed', async () => {
    writeFileSync(at('x'), 'x');
    await store.close();
    store = await openStore(root, { ...OPTIONS, hash: 'off' });
    await store.updateFacts(BUCKET, 'x', () => SAID);
    for (const [from, to] of ['xy', 'yz', 'zw'] as const) {
      rename(from ?? '', to ?? '');
      await list(store);
    }
    if (anew) await rebuild();
    await moment();
    expect((await head('w')).facts).toEqual(SAID);
  });

  it('stays with the key when an editor saves by rename and its backup is renamed', async () => {
    await put('x', 'first');
    rename('x', 'x~');
    await list(store);
    rename('x~', 'x.old');
    writeFileSync(at('x'), 'second');
    await settle();
    expect(await head('x')).toMatchObject({ etag: md5('second'), facts: SAID });
    const backup = await head('x.old');
    expect(backup.etag).toBe(md5('first'));
    expect(backup.facts.metadata).toBeUndefined();
  });

  it('follows a file that comes back to the key that it had between', async () => {
    await put('x');
    for (const [from, to] of ['xy', 'yz', 'zy'] as const) {
      rename(from ?? '', to ?? '');
      await list(store);
    }
    await settle();
    expect((await head('y')).facts).toEqual(SAID);
  });

  it('stays with a key that its file comes back to by way of two others', async () => {
    await put('x');
    for (const [from, to] of ['xy', 'yz', 'zx'] as const) {
      rename(from ?? '', to ?? '');
      await list(store);
    }
    await settle();
    expect((await head('x')).facts).toEqual(SAID);
  });

  it.each([
    ['out of a folder', 'out/x', 'out/x'],
    ['within a folder', 'a/y', 'b/y'],
  ])('follows a file that was renamed %s, which is renamed then', async (_where, to, now) => {
    await put('a/x');
    await put('a/other', 'other');
    mkdirSync(at('out'));
    rename('a/x', to);
    await list(store);
    rename('a', 'b');
    await list(store);
    await settle();
    expect(await head(now)).toMatchObject({ etag: md5('x'), facts: SAID });
    await rebuild();
    expect(await head(now)).toMatchObject({ etag: md5('x'), facts: SAID });
    expect(store.live.hashes).toBe(0);
  });

  it('follows a file that was renamed twice, and then its folder', async () => {
    await put('a/x');
    await put('a/other', 'other');
    rename('a/x', 'a/y');
    await list(store);
    rename('a/y', 'a/z');
    rename('a', 'b');
    await list(store);
    await settle();
    expect(await head('b/z')).toMatchObject({ etag: md5('x'), facts: SAID });
  });

  it('stays with the key where a file was renamed out of a folder, which is renamed and made again with another file of that name', async () => {
    await put('a/x');
    await put('a/other', 'other');
    mkdirSync(at('out'));
    rename('a/x', 'out/x');
    await list(store);
    rename('a', 'b');
    mkdirSync(at('a'));
    writeFileSync(at('a/x'), 'another');
    await list(store);
    await settle();
    expect(await head('a/x')).toMatchObject({ etag: md5('another'), facts: SAID });
  });

  it('follows a file that was renamed out of a folder, which changes places with another', async () => {
    await put('a/x');
    await put('a/other', 'other');
    await put('b/k', 'k');
    mkdirSync(at('out'));
    rename('a/x', 'out/x');
    await list(store);
    rename('a', 't');
    rename('b', 'a');
    await list(store);
    rename('t', 'b');
    await list(store);
    await settle();
    expect((await head('out/x')).facts).toEqual(SAID);
  });

  it('follows a file that was renamed, and then its bucket', async () => {
    await put('x');
    await put('other', 'other');
    rename('x', 'y');
    await list(store);
    renameSync(at(), path.join(root, 'crate'));
    await store.list('crate', { prefix: '', delimiter: '', after: '', max: 9 });
    if (anew) await rebuild();
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS + 100));
    await store.live.settleRenames();
    expect(await store.head('crate', 'y')).toMatchObject({ etag: md5('x'), facts: SAID });
  });

  it('follows a file that was renamed, when a client moves its folder', async () => {
    await put('a/x');
    await put('a/other', 'other');
    rename('a/x', 'a/y');
    await list(store);
    await store.movePrefix({ bucket: BUCKET, key: 'a/' }, { bucket: BUCKET, key: 'b/' });
    await settle();
    expect((await head('b/y')).facts).toEqual(SAID);
  });
});

describe('what was said of a file that was renamed a moment ago', () => {
  it('goes along when a client moves it', async () => {
    await put('x');
    rename('x', 'y');
    await store.move({ bucket: BUCKET, key: 'y' }, { bucket: BUCKET, key: 'z' });
    expect(await head('z')).toMatchObject({ etag: md5('x'), facts: SAID });
    await rebuild();
    expect(await head('z')).toMatchObject({ etag: md5('x'), facts: SAID });
  });

  it('goes along when a client copies it', async () => {
    await put('x');
    rename('x', 'y');
    await store.copy({ bucket: BUCKET, key: 'y' }, { bucket: BUCKET, key: 'z' });
    expect((await head('z')).facts).toEqual(SAID);
    expect((await head('y')).facts).toEqual(SAID);
  });
});

describe('what was said of one of two names of a file', () => {
  it.each(['0', 'l'])('follows the file when the other, "%s", is removed and it is renamed', async (other) => {
    await put('a');
    linkSync(at('a'), at(other));
    for (const key of (await list(store)).reverse()) await head(key);
    await store.live.lookAtDir([BUCKET], { files: true });
    await store.close();
    rmSync(at(other));
    rename('a', 'c');
    store = await openStore(root, OPTIONS);
    await store.live.lookAtDir([BUCKET], { files: true, force: true });
    await moment();
    expect(await head('c')).toMatchObject({ etag: md5('x'), facts: SAID });
    await rebuild();
    expect((await head('c')).facts).toEqual(SAID);
  });

  it('follows that name, while the other stays', async () => {
    await put('a');
    linkSync(at('a'), at('l'));
    for (const key of await list(store)) await head(key);
    const { hashes } = store.live;
    rename('a', 'c');
    await moment();
    expect(await head('c')).toMatchObject({ etag: md5('x'), facts: SAID });
    expect((await head('l')).facts.metadata).toBeUndefined();
    // each is read once more, for its ctime has moved
    expect(store.live.hashes).toBe(hashes + 2);
  });

  it('is no reason to hash the other when that is renamed, or the first one is deleted', async () => {
    await put('a');
    linkSync(at('a'), at('l'));
    for (const key of await list(store)) await head(key);
    const { hashes } = store.live;
    rename('l', 'm');
    expect((await head('m')).etag).toBe(md5('x'));
    await store.delete(BUCKET, 'a');
    rename('m', 'n');
    expect((await head('n')).etag).toBe(md5('x'));
    // only that one, twice, for a write before a rename leaves no trace
    expect(store.live.hashes).toBe(hashes + 2);
  });
});

describe('a file that was restored and is renamed before it was hashed again', () => {
  const LARGE = 'x'.repeat((1 << 20) + 1);

  it.each([
    ['a request', () => head('k')],
    ['a listing', () => list(store)],
    ['a look of the watcher', () => store.live.lookAtDir([BUCKET], { files: true, force: true })],
  ])('keeps what was said of its key, seen by %s', async (_how, look) => {
    await store.close();
    store = await openStore(root, { ...OPTIONS, hash: 'off' });
    await put('k', LARGE);
    cpSync(at('k'), at('copy'), { preserveTimestamps: true });
    const { mtimeNs } = statSync(at('k'), { bigint: true });
    execFileSync('touch', ['-d', `@${stamp(mtimeNs)}`, at('copy')]);
    expect(statSync(at('copy'), { bigint: true }).mtimeNs).toBe(mtimeNs);
    rename('copy', 'k');
    await look();
    rename('k', 'l');
    await list(store);
    await moment();
    const info = await head('l');
    expect(info.facts).toEqual(SAID);
    // nobody has proved it
    expect(info.etag).not.toBe(md5(LARGE));
    expect(info.checksum).toBeUndefined();
    await store.close();
    store = await openStore(root, OPTIONS);
    expect(await store.live.hashFile([BUCKET], 'l')).toBe('done');
    expect((await head('l')).aliases ?? []).toContain(md5(LARGE));
  });
});

function stamp(ns: bigint): string {
  return `${ns / 1_000_000_000n}.${String(ns % 1_000_000_000n).padStart(9, '0')}`;
}
