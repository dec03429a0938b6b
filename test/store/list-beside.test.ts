/**
 * A listing beside another process that moves objects between overflow and tree: whenever in its course that happens, it shows each of them, once.
 * What the other does is done while one call of the listing waits.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Index } from '../../src/catalog/lmdb.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { BUCKET, byteOrder, list, put } from '../suites/store/kit.js';

const DIST = path.resolve(import.meta.dirname, '../../dist');
const CHILD = path.join(import.meta.dirname, 'list-beside-child.js');
const { lstatSync, statSync } = fs;

let root = '';
let steps = '';
let store: LocalStore;
let child: ChildProcess;
let step = 0;
/** At which call of a listing the other process acts, 0: at none. */
let nth = 0;
let calls = 0;
let order: string[] = [];
let locked = false;

/** Has the other process do something; does nothing else until it is done. */
function tell(...what: string[]): void {
  fs.writeFileSync(path.join(steps, 'order'), JSON.stringify(what));
  fs.renameSync(path.join(steps, 'order'), path.join(steps, `${step}.do`));
  const still = new Int32Array(new SharedArrayBuffer(4));
  const until = Date.now() + 60_000;
  while (!fs.existsSync(path.join(steps, `${step}.done`))) {
    if (child.exitCode !== null || Date.now() > until) throw new Error('the other process does not answer');
    Atomics.wait(still, 0, 0, 2);
  }
  step++;
}

/** Nobody can act while the listing holds the lock. */
function met(on: string): void {
  if (nth === 0 || locked || !on.startsWith(root) || on.includes('/.gos3rve/index') || ++calls !== nth) return;
  tell(...order);
}

/** The index inside an open store. */
function indexOf(of: object): Index {
  return (Reflect.get(of, 'core') as { catalog: { index: Index } }).catalog.index;
}

beforeEach(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-beside-'));
  steps = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-steps-'));
  [step, nth] = [0, 0];
  store = await openStore(root, { durability: 'fast' });
  await store.createBucket(BUCKET, {});
  child = spawn(process.execPath, [CHILD, DIST, root, BUCKET, steps], { stdio: ['ignore', 'ignore', 'inherit'] });
  const index = indexOf(store);
  const write = index.write.bind(index);
  index.write = (work) => {
    const outer = locked;
    locked = true;
    try {
      return write(work);
    } finally {
      locked = outer;
    }
  };
  const hooked =
    <T extends (...args: never[]) => unknown>(real: T) =>
    (...args: Parameters<T>): unknown => {
      met(String(args[0]));
      return real(...args);
    };
  Object.assign(fs, { lstatSync: hooked(lstatSync), statSync: hooked(statSync) });
  syncBuiltinESMExports();
});
afterEach(async () => {
  Object.assign(fs, { lstatSync, statSync });
  syncBuiltinESMExports();
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
  await store.close();
  fs.rmSync(root, { recursive: true });
  fs.rmSync(steps, { recursive: true });
});

/** Lists with the step done at one call after the other, until there are no more. @param prepare makes it as it was before. */
async function atEachCall(
  prepare: () => Promise<void>,
  keys: string[],
  what: string[],
  delimiter = '',
  stride = 1,
): Promise<void> {
  const all = [...keys].sort(byteOrder);
  order = what;
  for (let call = 1; ; call += stride) {
    await prepare();
    // its directories have been read
    expect(await list(store, { delimiter })).toEqual(all);
    [calls, nth] = [0, call];
    const seen = await list(store, { delimiter });
    const done = calls >= call;
    nth = 0;
    expect(seen, `at call ${call}`).toEqual(all);
    if (!done) break;
    expect(await list(store, { delimiter }), `after call ${call}`).toEqual(all);
  }
}

/** Objects that came to lie in overflow, for a file stood above their path, and whose path is free by now. */
async function makeFree(keys: readonly string[]): Promise<void> {
  for (const key of keys) {
    const above = path.dirname(key);
    await store.delete(BUCKET, key);
    await put(store, above);
    await put(store, key, 'over');
    await store.delete(BUCKET, above);
  }
}

describe('a listing shows every object', () => {
  const others = ['a', 'k1/a', 'k2', 'm/x', 'z'];
  it.each([
    ['', ['k0/b', 'k1/c/b', 'm/b/b', 'zz/b']],
    ['/', ['k0/b', 'm/b/b', 'zz/b']],
  ])('while gc moves some to their path (delimiter "%s")', { timeout: 120_000 }, async (delimiter, keys) => {
    for (const key of others) await put(store, key);
    const all = [...others, ...keys];
    const shown = delimiter ? [...new Set(all.map((key) => key.replace(/\/.*/, '/')))] : all;
    await atEachCall(() => makeFree(keys), shown, ['settle'], delimiter);
  });

  it.each([
    ['body', 'marker'],
    ['marker', 'body'],
    ['body', 'body'],
  ])('where a %s takes the place of a %s', { timeout: 120_000 }, async (now, before) => {
    for (const key of [...others, 'm/']) await put(store, key);
    const prepare = async (): Promise<void> => {
      await store.delete(BUCKET, 'm/');
      await put(store, 'm/', before === 'body' ? 'x' : '');
    };
    await atEachCall(prepare, [...others, 'm/'], [now, 'm/']);
  });

  it('while the other finds out that folders were renamed', { timeout: 120_000 }, async () => {
    const below = ['/z', 'n'.repeat(256), 'plain', 'sub//x'];
    const folders = ['c', 'k/m', 'y'];
    for (const folder of folders) for (const key of below) await put(store, `${folder}/${key}`);
    await put(store, 'k//k');
    order = ['list'];
    for (let call = 1, now = 0; ; call++, now = 1 - now) {
      await list(store);
      for (const folder of folders) {
        const [from = '', to = ''] = now === 0 ? [folder, `${folder}x`] : [`${folder}x`, folder];
        fs.renameSync(path.join(root, BUCKET, from), path.join(root, BUCKET, to));
      }
      const named = folders.map((folder) => (now === 0 ? `${folder}x` : folder));
      const all = [...named.flatMap((folder) => below.map((key) => `${folder}/${key}`)), 'k//k'].sort(byteOrder);
      [calls, nth] = [0, call];
      const seen = await list(store);
      const done = calls >= call;
      nth = 0;
      expect(seen, `at call ${call}`).toEqual(all);
      if (!done) break;
    }
  });

  it('of more than fit a page', { timeout: 300_000 }, async () => {
    const keys = Array.from({ length: 150 }, (_, n) => `k${String(n).padStart(3, '0')}/b`);
    const among = keys.map((key) => `${key.slice(0, -2)}-`);
    for (const key of among) await put(store, key);
    await atEachCall(() => makeFree(keys), [...keys, ...among], ['settle'], '', 71);
  });
});
