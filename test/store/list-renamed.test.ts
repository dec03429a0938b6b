/** The first listing after another program has renamed a folder: it shows the objects below it whose keys are no paths, too, under the new name. */
import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Journal } from '../../src/catalog/journal.js';
import type { JournalLine } from '../../src/catalog/lines.js';
import { Tracker } from '../../src/store/identity.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { BUCKET, body, byteOrder, list, put, text } from '../suites/store/kit.js';

/** More than two pages of overflow rows. */
const MANY = Array.from({ length: 300 }, (_, n) => `/${String(n).padStart(3, '0')}`);
const LONG = 'n'.repeat(255);

let root = '';
let store: LocalStore;

beforeEach(async () => {
  root = mkdtempSync(path.join(os.tmpdir(), 'gos3rve-renamed-'));
  store = await openStore(root, { durability: 'fast' });
  await store.createBucket(BUCKET, {});
});
afterEach(async () => {
  vi.restoreAllMocks();
  await store.close();
  rmSync(root, { recursive: true });
});

function rename(from: string, to: string): void {
  mkdirSync(path.dirname(path.join(root, BUCKET, to)), { recursive: true });
  renameSync(path.join(root, BUCKET, from), path.join(root, BUCKET, to));
}

/** Objects in a folder, which has been read. */
async function make(folder: string, keys: readonly string[]): Promise<void> {
  for (const key of keys) await put(store, `${folder}/${key}`);
  await list(store);
}

const below = (folder: string, keys: readonly string[]): string[] =>
  keys.map((key) => `${folder}/${key}`).sort(byteOrder);

describe('after another program has renamed a folder', () => {
  const keys = ['/z', LONG + 'n', 'plain', 'sub//x', 'sub/y'];

  it.each(['a', 'x'])('the first listing shows all of it, renamed from m to %s', async (to) => {
    await put(store, 'b');
    await put(store, 'n//n');
    await make('m', keys);
    rename('m', to);
    const all = ['b', 'n//n', ...below(to, keys)].sort(byteOrder);
    expect(await list(store)).toEqual(all);
    expect(await list(store)).toEqual(all);
  });

  it.each([
    ['', '/', ['x/']],
    ['x/', '', below('x', keys)],
    ['x/', '/', ['x//', `x/${LONG}n`, 'x/plain', 'x/sub/']],
    ['x//', '', ['x//z']],
    ['x/n', '', [`x/${LONG}n`]],
    ['x/sub/', '', ['x/sub//x', 'x/sub/y']],
    ['x/sub//', '/', ['x/sub//x']],
  ])('so it does with a prefix ("%s", delimiter "%s")', async (prefix, delimiter, shown) => {
    await make('m', keys);
    rename('m', 'x');
    expect(await list(store, { prefix, delimiter })).toEqual(shown);
  });

  it('so it does from any key on', async () => {
    const all = below('x', keys);
    for (const [at, after] of all.entries()) {
      await make('m', keys);
      rename('m', 'x');
      expect(await list(store, { after })).toEqual(all.slice(at + 1));
      rename('x', 'm');
      await list(store);
    }
  });

  it('so it does where nobody had looked at the folder', async () => {
    mkdirSync(path.join(root, BUCKET, 'm/sub'), { recursive: true });
    for (const key of ['/z', 'sub//x']) await put(store, `m/${key}`);
    rename('m', 'x');
    expect(await list(store)).toEqual(['x//z', 'x/sub//x']);
  });

  it('so it does where nothing else is in the folder', async () => {
    await make('m', ['plain', '/z']);
    await store.delete(BUCKET, 'm/plain');
    mkdirSync(path.join(root, BUCKET, 'm'), { recursive: true });
    await list(store);
    rename('m', 'x');
    expect(await list(store, { delimiter: '/' })).toEqual(['x/']);
    rename('x', 'y');
    expect(await list(store)).toEqual(['y//z']);
  });

  it('so it does where the folder lies further on, and of more than fit a page', { timeout: 60_000 }, async () => {
    for (const key of MANY) await put(store, `a/${key}`);
    await make('k/m', [...keys, ...MANY]);
    await put(store, 'z//z');
    rename('k/m', 'k/x');
    const all = [...below('a', MANY), ...below('k/x', [...keys, ...MANY]), 'z//z'].sort(byteOrder);
    expect(await list(store)).toEqual(all);
  });

  it('so it does of several folders', async () => {
    for (const folder of ['c/1', 'c/2', 'd']) await make(folder, keys);
    for (const folder of ['c/1', 'd']) rename(folder, `${folder}x`);
    rename('c', 'e');
    const all = ['dx', 'e/1x', 'e/2'].flatMap((folder) => below(folder, keys)).sort(byteOrder);
    expect(await list(store)).toEqual(all);
  });

  it('so it does of a bucket, renamed while no store was open', async () => {
    await make('m', keys);
    await store.close();
    renameSync(path.join(root, BUCKET), path.join(root, 'other'));
    store = await openStore(root, { durability: 'fast' });
    const { entries } = await store.list('other', { prefix: '', delimiter: '', after: '', max: 100 });
    expect(entries.map((entry) => ('key' in entry ? entry.key : ''))).toEqual(below('m', keys));
  });
});

describe('after another program has given a folder the name of another one', () => {
  const keys = ['/z', 'sub//x', 'plain'];
  const ROTATION = [
    ['m', 'o'],
    ['n', 'm'],
  ];
  const EXCHANGE = [
    ['m', 't'],
    ['n', 'm'],
    ['t', 'n'],
  ];
  const ROUND = [
    ['m', 't'],
    ['n', 'm'],
    ['p', 'n'],
    ['t', 'p'],
  ];
  const apply = (plan: string[][]): void => plan.forEach(([from = '', to = '']) => rename(from, to));
  const after = (plan: string[][], folder: string): string =>
    plan.reduce((now, [from = '', to = '']) => (now === from ? to : now), folder);
  /** Each object says in which folder it was put. */
  const said = async (key: string): Promise<unknown> => (await store.head(BUCKET, key)).facts.metadata;

  async function expectMoved(plan: string[][], folders: readonly string[], of = keys): Promise<void> {
    const all = folders.flatMap((folder) => below(after(plan, folder), of)).sort(byteOrder);
    expect(await list(store)).toEqual(all);
    expect(await list(store)).toEqual(all);
    for (const folder of folders)
      for (const key of of) expect(await said(`${after(plan, folder)}/${key}`)).toEqual({ folder });
  }

  async function fill(folders: readonly string[], of = keys): Promise<void> {
    for (const folder of folders)
      for (const key of of) await store.put(BUCKET, `${folder}/${key}`, body(key), { facts: { metadata: { folder } } });
    await list(store);
  }

  describe.each([
    ['and the other one a new one', ROTATION],
    ['and the other one the first', EXCHANGE],
    ['and so on, around', ROUND],
  ])('%s', (_how, plan) => {
    it.each(['m/', 'n/', 'o/', 'p/', ''])(
      'each keeps what is no path, whatever is listed first ("%s")',
      async (prefix) => {
        await fill(['m', 'n', 'p']);
        apply(plan);
        await list(store, { prefix });
        await expectMoved(plan, ['m', 'n', 'p']);
      },
    );

    it.each(['m', 'n', 'p'])('so it does where something is looked for there first (%s)', async (folder) => {
      await fill(['m', 'n', 'p']);
      apply(plan);
      await store.head(BUCKET, `${folder}/plain`).catch(() => undefined);
      await expectMoved(plan, ['m', 'n', 'p']);
    });

    it.each(['m', 'n'])('so it does where something is put there first (%s)', async (folder) => {
      await fill(['m', 'n', 'p']);
      apply(plan);
      await put(store, `${folder}/new`);
      await store.delete(BUCKET, `${folder}/new`);
      await expectMoved(plan, ['m', 'n', 'p']);
    });

    it('so it does where nothing else is in a folder, and once the index is lost', async () => {
      for (const folder of ['m', 'n', 'p']) mkdirSync(path.join(root, BUCKET, folder));
      await fill(['m', 'n', 'p'], ['/z']);
      apply(plan);
      await list(store, { prefix: 'm/' });
      await expectMoved(plan, ['m', 'n', 'p'], ['/z']);
      await store.close();
      rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
      store = await openStore(root, { durability: 'fast' });
      await expectMoved(plan, ['m', 'n', 'p'], ['/z']);
    });
  });

  it('what it had goes back to its keys if it goes at that very moment', async () => {
    await store.close();
    store = await openStore(root, { durability: 'fast', quietMs: 1 });
    await fill(['m'], ['/z', 'plain']);
    await fill(['n'], ['/a', 'plain']);
    apply(ROTATION);
    const prototype = Tracker.prototype as unknown as Record<'refugeOf', (...args: unknown[]) => unknown>;
    const original = prototype.refugeOf;
    vi.spyOn(prototype, 'refugeOf').mockImplementation(function (this: Tracker, ...args) {
      const found = Reflect.apply(original, this, args);
      if (found) rmSync(path.join(root, BUCKET, 'o'), { recursive: true });
      return found;
    });
    await store.head(BUCKET, 'm/plain');
    expect(await list(store, { prefix: 'm/' })).toEqual(['m//a', 'm/plain']);
    await sleep(50);
    await store.live.settleRenames();
    expect(await list(store)).toEqual(['m//a', 'm//z', 'm/plain']);
    expect(await said('m//z')).toEqual({ folder: 'm' });
  });
});

describe('where it ends while objects whose keys are no paths are brought along', () => {
  const KEYS = ['/a', '/b', 'plain'];

  describe.each(['moved', 'touched'])('at the line "%s"', (op) => {
    it.each([
      ['stays', 'x'],
      ['is renamed back', 'm'],
      ['is renamed once more', 'y'],
    ])('none is lost if the folder %s', async (_how, to) => {
      await make('m', KEYS);
      rename('m', 'x');
      const prototype = Journal.prototype as unknown as Record<'append', (line: JournalLine) => number>;
      const write = prototype.append;
      const append = vi.spyOn(prototype, 'append').mockImplementation(function (this: Journal, line) {
        if (line.op === op) throw new Error('no further');
        return Reflect.apply(write, this, [line]);
      });
      await list(store).catch(() => undefined);
      append.mockRestore();
      await store.close();
      if (to !== 'x') rename('x', to);
      store = await openStore(root, { durability: 'fast' });
      expect(await list(store)).toEqual(below(to, KEYS));
      for (const key of KEYS) expect(await text(store, `${to}/${key}`)).toBe(`m/${key}`);
    });
  });
});
