/**
 * Files that others removed from a folder, and the folder renamed before anybody looked: what was said of a lost key stays with that key (DESIGN
 * rule 4), and it is that key whose removal is told.
 */
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ChangeReader } from '../../src/store/changes-contract.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body, list, refuses } from '../suites/store/kit.js';

const BUCKET = 'box';
const QUIET_MS = 300;
/** Time stamps are older than the granularity of the clock (clock.ts) by then. */
const YOUNG_MS = 100;
const OPTIONS = { durability: 'fast', quietMs: QUIET_MS } as const;

let root: string;
let store: LocalStore;
let feed: ChangeReader;

beforeEach(async () => {
  root = mkdtempSync(path.join(tmpdir(), 'gos3rve-left-'));
  store = await openStore(root, OPTIONS);
  await store.createBucket(BUCKET, {});
});
afterEach(async () => {
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

const at = (...names: string[]): string => path.join(root, BUCKET, ...names);
const put = (key: string, said = key): Promise<unknown> =>
  store.put(BUCKET, key, body(`content of ${key}`), { facts: { metadata: { said } } });
const write = (...names: string[]): void => writeFileSync(at(...names), 'of another program');
const look = (...dirs: string[]): Promise<unknown> => store.live.lookAtDir([BUCKET, ...dirs], { files: true });
const said = async (key: string): Promise<string | undefined> => (await store.head(BUCKET, key)).facts.metadata?.said;
const moment = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, QUIET_MS + 100));
/** Every directory was read, and was old enough to be believed what it says. */
const settled = async (): Promise<void> => {
  await list(store);
  await new Promise((resolve) => setTimeout(resolve, YOUNG_MS));
  await list(store);
};
/** From here on. */
const listen = (): void => {
  store.changes.want(600_000);
  feed = store.changes.read('now');
};
const told = (): string[] =>
  feed
    .next(1000)
    .map(({ event, names }) => `${event.split(':')[0] ?? ''} ${names[0]?.key ?? ''}`)
    .sort();
const moved = (from: string, to: string): string[] => [`ObjectCreated ${to}`, `ObjectRemoved ${from}`].sort();

async function rebuild(): Promise<void> {
  await store.close();
  rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
  store = await openStore(root, OPTIONS);
}

describe.each([
  ['with the index', () => Promise.resolve()],
  ['with the index lost afterwards', rebuild],
])('a folder that was renamed, %s', (_how, after) => {
  it.each([
    ['removed before', () => (rmSync(at('dir/f')), renameSync(at('dir'), at('dir2')))],
    ['removed after', () => (renameSync(at('dir'), at('dir2')), rmSync(at('dir2/f')))],
  ])('leaves the key of a file that was %s where it was', async (_when, act) => {
    await put('dir/f');
    await put('dir/kept');
    await put('dir/deep/f');
    await look();
    listen();
    act();
    await look();
    await look('dir2');
    expect(told()).toEqual([
      ...moved('dir/deep/f', 'dir2/deep/f').slice(0, 1),
      'ObjectCreated dir2/kept',
      'ObjectRemoved dir/deep/f',
      'ObjectRemoved dir/f',
      'ObjectRemoved dir/kept',
    ]);
    await after();
    expect(await list(store)).toEqual(['dir2/deep/f', 'dir2/kept']);
    write('dir2', 'f');
    mkdirSync(at('dir'));
    write('dir', 'f');
    expect(await said('dir2/f')).toBeUndefined();
    expect(await said('dir/f')).toBe('dir/f');
    expect(await said('dir2/kept')).toBe('dir/kept');
    expect(await said('dir2/deep/f')).toBe('dir/deep/f');
  });

  it('leaves the key of a file that was missed long before', async () => {
    await put('dir/f');
    await put('dir/kept');
    rmSync(at('dir/f'));
    await list(store);
    renameSync(at('dir'), at('dir2'));
    await list(store);
    await after();
    write('dir2', 'f');
    mkdirSync(at('dir'));
    write('dir', 'f');
    expect(await said('dir2/f')).toBeUndefined();
    expect(await said('dir/f')).toBe('dir/f');
  });

  it('leaves keys deep below', async () => {
    await put('dir/a/b/f');
    await put('dir/a/b/kept');
    await look();
    await look('dir', 'a', 'b');
    listen();
    rmSync(at('dir/a/b/f'));
    renameSync(at('dir'), at('dir2'));
    await look();
    await after();
    write('dir2/a/b', 'f');
    expect(await said('dir2/a/b/f')).toBeUndefined();
    mkdirSync(at('dir/a/b'), { recursive: true });
    write('dir/a/b', 'f');
    expect(await said('dir/a/b/f')).toBe('dir/a/b/f');
  });

  it('takes along a file that was renamed within it before', async () => {
    await put('dir/f');
    await put('dir/kept');
    listen();
    renameSync(at('dir/f'), at('dir/g'));
    renameSync(at('dir'), at('dir2'));
    await look();
    const first = told();
    await look('dir2');
    expect([...first, ...told()].filter((one) => /\/[fg]$/.test(one)).sort()).toEqual([
      'ObjectCreated dir2/g',
      'ObjectRemoved dir/f',
    ]);
    await moment();
    await look('dir2');
    await store.live.settleRenames();
    await after();
    expect(store.live.hashes).toBe(0);
    expect(await said('dir2/g')).toBe('dir/f');
    // a small file that was renamed itself is read once before its ETag is told
    expect(store.live.hashes).toBe(1);
  });

  it('goes through several names in one moment', async () => {
    await put('a/f');
    await put('a/kept');
    listen();
    rmSync(at('a/f'));
    renameSync(at('a'), at('b'));
    write('b', 'new');
    renameSync(at('b'), at('c'));
    await look();
    expect(told()).toEqual(['ObjectCreated c/kept', 'ObjectRemoved a/f', 'ObjectRemoved a/kept']);
    await after();
    expect(await list(store)).toEqual(['c/kept', 'c/new']);
    expect(await said('c/kept')).toBe('a/kept');
    write('c', 'f');
    expect(await said('c/f')).toBeUndefined();
  });

  it('leaves keys where two were swapped, each under its own name', async () => {
    for (const key of ['x/f', 'x/kept', 'y/f', 'y/g', 'y/kept']) await put(key);
    await look();
    rmSync(at('x/f'));
    rmSync(at('y/g'));
    renameSync(at('x'), at('swap'));
    renameSync(at('y'), at('x'));
    renameSync(at('swap'), at('y'));
    await look();
    await look('x');
    await look('y');
    await after();
    expect(await list(store)).toEqual(['x/f', 'x/kept', 'y/kept']);
    expect(await said('x/f')).toBe('y/f');
    expect(await said('x/kept')).toBe('y/kept');
    expect(await said('y/kept')).toBe('x/kept');
    write('y', 'g');
    expect(await said('y/g')).toBe('y/g');
  });

  it('tells of what another folder had under a name that was taken, which went on', async () => {
    for (const key of ['dir/same', 'dir/one', 'dir2/same', 'dir2/other']) await put(key);
    for (const dirs of [[], ['dir'], ['dir2']]) await look(...dirs);
    listen();
    renameSync(at('dir2'), at('old'));
    renameSync(at('dir'), at('dir2'));
    // its own old name is looked at first
    await look('dir2');
    await look('old');
    expect(told()).toEqual([
      'ObjectCreated dir2/one',
      'ObjectCreated dir2/same',
      'ObjectCreated old/other',
      'ObjectCreated old/same',
      'ObjectRemoved dir/one',
      'ObjectRemoved dir/same',
      'ObjectRemoved dir2/other',
    ]);
    await moment();
    await store.live.settleRenames();
    expect(told()).toEqual([]);
    await after();
    for (const [now, before] of Object.entries({
      'dir2/same': 'dir/same',
      'old/same': 'dir2/same',
      'old/other': 'dir2/other',
    }))
      expect(await said(now)).toBe(before);
  });

  it('tells of what went with a folder whose name it took', async () => {
    for (const key of ['dir/same', 'dir/one', 'dir2/same', 'dir2/other']) await put(key);
    await look();
    await look('dir');
    await look('dir2');
    listen();
    rmSync(at('dir2'), { recursive: true });
    renameSync(at('dir'), at('dir2'));
    await look('dir2');
    expect(told()).toEqual([
      'ObjectCreated dir2/one',
      'ObjectCreated dir2/same',
      'ObjectRemoved dir/one',
      'ObjectRemoved dir/same',
    ]);
    await moment();
    await store.live.settleRenames();
    expect(told()).toEqual(['ObjectRemoved dir2/other']);
    await after();
    expect(await said('dir2/same')).toBe('dir/same');
    await refuses(store.head(BUCKET, 'dir2/other'), 'NoSuchKey');
    write('dir2', 'other');
    expect(await said('dir2/other')).toBe('dir2/other');
    expect(existsSync(at('dir'))).toBe(false);
  });

  it.each<[string, string[], [string, string][], Record<string, string>]>([
    [
      'one inside was renamed',
      ['d/2/r/y', 'd/2/y'],
      [
        ['d/2', 'd/3'],
        ['d', 'e'],
      ],
      { 'e/3/r/y': 'd/2/r/y', 'e/3/y': 'd/2/y' },
    ],
    [
      'one was moved out',
      ['d/2/r/y', 'd/kept'],
      [
        ['d/2', 'z'],
        ['d', 'e'],
      ],
      { 'e/kept': 'd/kept', 'z/r/y': 'd/2/r/y' },
    ],
    [
      'one inside took the name of another',
      ['d/old/r/x', 'd/new/r/y'],
      [
        ['d/old', 'd/older'],
        ['d/new', 'd/old'],
        ['d', 'e'],
      ],
      { 'e/old/r/y': 'd/new/r/y', 'e/older/r/x': 'd/old/r/x' },
    ],
    [
      'names were rotated',
      ['d/1/r/x', 'd/2/r/y'],
      [
        ['d/2', 'd/3'],
        ['d/1', 'd/2'],
        ['d', 'e'],
      ],
      { 'e/2/r/x': 'd/1/r/x', 'e/3/r/y': 'd/2/r/y' },
    ],
    [
      'one was moved to the name of another',
      ['b/n/r/x', 'a/n/r/y', 'z'],
      [
        ['b/n', 'b/old'],
        ['a/n', 'b/n'],
        ['a', 'c'],
      ],
      { 'b/n/r/y': 'a/n/r/y', 'b/old/r/x': 'b/n/r/x', z: 'z' },
    ],
    [
      'one deep below was moved up, and the one above it out',
      ['d/1/2/r/y', 'd/1/x'],
      [
        ['d/1/2', 'd/2'],
        ['d/1', 'one'],
        ['d', 'e'],
      ],
      { 'e/2/r/y': 'd/1/2/r/y', 'one/x': 'd/1/x' },
    ],
  ])('keeps all of the folders in it when %s before', async (_what, keys, renames, facts) => {
    for (const key of keys) await put(key);
    await settled();
    for (const [from, to] of renames) renameSync(at(from), at(to));
    expect(await list(store)).toEqual(Object.keys(facts).sort());
    await moment();
    await store.live.settleRenames();
    await after();
    expect(await list(store)).toEqual(Object.keys(facts).sort());
    for (const [key, before] of Object.entries(facts)) expect(await said(key)).toBe(before);
    expect(store.live.hashes).toBe(0);
  });

  it('keeps all of a folder that went to another bucket before', async () => {
    await store.createBucket('other', {});
    await put('d/2/r/y');
    await put('d/kept');
    await settled();
    renameSync(at('d/2'), path.join(root, 'other/z'));
    renameSync(at('d'), at('e'));
    expect(await list(store)).toEqual(['e/kept']);
    expect(await list(store, {}, 'other')).toEqual(['z/r/y']);
    await moment();
    await store.live.settleRenames();
    expect((await store.head('other', 'z/r/y')).facts.metadata?.said).toBe('d/2/r/y');
    await after();
    expect((await store.head('other', 'z/r/y')).facts.metadata?.said).toBe('d/2/r/y');
    expect(store.live.hashes).toBe(0);
  });

  it('finds a folder that went from it though it was away for long', async () => {
    await put('d/2/r/y');
    await put('d/kept');
    await put('q/z');
    await settled();
    listen();
    renameSync(at('d/2'), at('q/3'));
    renameSync(at('d'), at('e'));
    await look();
    expect(told()).toEqual(moved('d/kept', 'e/kept'));
    await moment();
    await store.live.settleRenames();
    expect(told()).toEqual(['ObjectRemoved d/2/r/y']);
    await after();
    expect(await list(store)).toEqual(['e/kept', 'q/3/r/y', 'q/z']);
    await moment();
    await store.live.settleRenames();
    expect(await said('q/3/r/y')).toBe('d/2/r/y');
    expect(store.live.hashes).toBe(0);
  });

  it('leaves what was said of another file that came to the old key', async () => {
    await put('d/2/y');
    await settled();
    renameSync(at('d/2'), at('d/3'));
    renameSync(at('d'), at('e'));
    mkdirSync(at('d/2'), { recursive: true });
    write('d/2', 'y');
    expect(await list(store)).toEqual(['d/2/y', 'e/3/y']);
    await moment();
    await store.live.settleRenames();
    await after();
    expect(await said('d/2/y')).toBeUndefined();
    expect(await said('e/3/y')).toBe('d/2/y');
  });

  it('leaves the keys of a folder that was removed from it before', async () => {
    await put('d/2/r/y');
    await put('d/kept');
    await settled();
    listen();
    rmSync(at('d/2'), { recursive: true });
    renameSync(at('d'), at('e'));
    await look();
    await look('e');
    await moment();
    await store.live.settleRenames();
    expect(told()).toEqual(['ObjectCreated e/kept', 'ObjectRemoved d/2/r/y', 'ObjectRemoved d/kept']);
    await after();
    mkdirSync(at('d/2/r'), { recursive: true });
    write('d/2/r', 'y');
    expect(await said('d/2/r/y')).toBe('d/2/r/y');
    mkdirSync(at('e/2/r'), { recursive: true });
    write('e/2/r', 'y');
    expect(await said('e/2/r/y')).toBeUndefined();
  });

  it('finds all of a folder whose name was taken, though it was lost for long', async () => {
    for (const key of ['dir/f', 'dir2/r/y', 'z/a']) await put(key);
    await settled();
    renameSync(at('dir2'), at('z/old'));
    renameSync(at('dir'), at('dir2'));
    await look();
    await look('dir2');
    await moment();
    await store.live.settleRenames();
    await after();
    expect(await list(store)).toEqual(['dir2/f', 'z/a', 'z/old/r/y']);
    await moment();
    await store.live.settleRenames();
    expect(await said('z/old/r/y')).toBe('dir2/r/y');
    expect(store.live.hashes).toBe(0);
  });
});

describe.each([
  ['with the index', () => Promise.resolve()],
  ['with the index lost afterwards', rebuild],
])('a prefix that we moved, %s', (_how, after) => {
  const move = (from: string, to: string): Promise<unknown> =>
    store.movePrefix({ bucket: BUCKET, key: from }, { bucket: BUCKET, key: to });

  it.each([
    ['that nobody missed', () => Promise.resolve()],
    ['that was missed', () => look('d')],
  ])('leaves the key of a removed file %s where it was', async (_when, miss) => {
    for (const key of ['d/x', 'd/kept', 'd/deep/x', 'd/deep/kept']) await put(key);
    await look('d');
    rmSync(at('d/x'));
    rmSync(at('d/deep/x'));
    await moment();
    await miss();
    await move('d/', 'd2/');
    await after();
    expect(await list(store)).toEqual(['d2/deep/kept', 'd2/kept']);
    expect(await said('d2/kept')).toBe('d/kept');
    for (const [dir, key] of [
      ['d', 'd/x'],
      ['d/deep', 'd/deep/x'],
    ] as const) {
      mkdirSync(at(dir), { recursive: true });
      write(dir, 'x');
      write(dir.replace('d', 'd2'), 'x');
      expect(await said(key)).toBe(key);
    }
    expect(await said('d2/x')).toBeUndefined();
    expect(await said('d2/deep/x')).toBeUndefined();
  });

  it('tells of the removal, under the key that was lost', async () => {
    await put('d/x');
    await put('d/kept');
    await look('d');
    listen();
    rmSync(at('d/x'));
    await move('d/', 'd2/');
    expect(told()).toEqual(['ObjectCreated d2/kept', 'ObjectRemoved d/kept', 'ObjectRemoved d/x']);
  });
});
