/** Markers - keys like `dir/`, which are folders - whose folders other programs remove, rename or bring back: events as of files. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLog } from '../../src/base/log.js';
import { startBackground, type Background } from '../../src/jobs/background.js';
import type { ChangeReader } from '../../src/store/changes-contract.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body, list } from '../suites/store/kit.js';

const QUIET_MS = 300;
const OPTIONS = { durability: 'fast', quietMs: QUIET_MS } as const;

let root: string;
let store: LocalStore;
let background: Background | undefined;
let feed: ChangeReader;
let told: string[];

beforeEach(async () => {
  root = mkdtempSync(path.join(tmpdir(), 'gos3rve-markers-'));
  store = await openStore(root, OPTIONS);
  await store.createBucket('box', {});
  told = [];
});
afterEach(async () => {
  await end();
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

const at = (...names: string[]): string => path.join(root, 'box', ...names);
const put = (key: string): Promise<unknown> => store.put('box', key, body(key.endsWith('/') ? '' : key));

/** What a server does that watches and has somebody who listens. */
async function begin(watch: 'auto' | 'off' = 'auto'): Promise<void> {
  store.changes.wantAlways(true);
  feed = store.changes.read('now');
  background = startBackground(store, {
    watch,
    scanInterval: 0,
    hash: 'off',
    busy: () => false,
    log: silentLog,
    changes: {
      wanted: () => true,
      onOutsideChange: (change) => {
        take();
        store.changes.see(change, feed.told([...change.dirs, change.name].join('/')));
      },
    },
  });
  if (watch === 'auto') await until(() => background?.watcher.acquainted === true);
  // its directories are older than the granularity of the clock
  await sleep(100);
}

async function end(): Promise<void> {
  await background?.stop();
  background = undefined;
}

async function restart(lost: boolean): Promise<void> {
  await end();
  await store.close();
  if (lost) rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
  store = await openStore(root, OPTIONS);
}

function take(): void {
  told.push(...feed.next(1000).map(({ event, names }) => `${event.split(':')[0] ?? ''} ${names[0]?.key ?? ''}`));
}

async function until(what: () => boolean, ms = 15_000): Promise<void> {
  for (const end = Date.now() + ms; !what(); await sleep(25))
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what.toString()}, but ${told.join(', ')}`);
}

/** These events in any order, and no more of them. */
async function tells(...expected: string[]): Promise<void> {
  await until(() => (take(), expected.every((one) => told.includes(one))));
  await sleep(4 * QUIET_MS);
  take();
  expect(told.splice(0).sort()).toEqual(expected.sort());
}

describe('a marker whose folder another program', () => {
  it('removes is told as removed, once, and as created when it is back', async () => {
    await put('m/');
    await begin();
    rmdirSync(at('m'));
    await tells('ObjectRemoved m/');
    await list(store);
    await store.live.lookAtDir(['box'], { files: true });
    await tells();
    mkdirSync(at('m'));
    await tells('ObjectCreated m/');
    expect(await list(store)).toEqual(['m/']);
  });

  it('removes with all that is above and below is told as removed', async () => {
    for (const key of ['p/m/', 'p/m/deep/', 'p/m/file', 'p/']) await put(key);
    await begin();
    rmSync(at('p'), { recursive: true });
    await tells('ObjectRemoved p/', 'ObjectRemoved p/m/', 'ObjectRemoved p/m/deep/', 'ObjectRemoved p/m/file');
  });

  it('removes for a moment is not told of', async () => {
    await put('m/');
    await begin();
    rmdirSync(at('m'));
    await sleep(50);
    mkdirSync(at('m'));
    await tells();
  });

  it('replaces by a file is told as removed', async () => {
    await put('m/');
    await begin();
    rmdirSync(at('m'));
    writeFileSync(at('m'), 'file');
    await tells('ObjectRemoved m/', 'ObjectCreated m');
  });

  it('renames is told as removed and created', async () => {
    for (const key of ['m/', 'p/m/']) await put(key);
    await begin();
    renameSync(at('m'), at('n'));
    await tells('ObjectRemoved m/', 'ObjectCreated n/');
    renameSync(at('p'), at('q'));
    await tells('ObjectRemoved p/m/', 'ObjectCreated q/m/');
    expect(await list(store)).toEqual(['n/', 'q/m/']);
  });

  it('removes before it renames the one above is told as removed from where it was', async () => {
    for (const key of ['p/m/', 'p/file']) await put(key);
    await begin();
    rmdirSync(at('p/m'));
    renameSync(at('p'), at('q'));
    await tells('ObjectRemoved p/m/', 'ObjectRemoved p/file', 'ObjectCreated q/file');
  });

  describe.each([
    ['gos3rve', async () => void (await store.movePrefix({ bucket: 'box', key: 'p/' }, { bucket: 'box', key: 'q/' }))],
    ['another program', () => Promise.resolve(renameSync(at('p'), at('q')))],
  ])('removes before %s renames the one above', (_who, rename) => {
    it('and was told of, does not go along', async () => {
      for (const key of ['p/m/', 'p/m/deep/', 'p/file']) await put(key);
      await begin();
      rmSync(at('p/m'), { recursive: true });
      await tells('ObjectRemoved p/m/', 'ObjectRemoved p/m/deep/');
      await rename();
      await tells('ObjectRemoved p/file', 'ObjectCreated q/file');
      mkdirSync(at('q/m/deep'), { recursive: true });
      await tells();
      expect(await list(store)).toEqual(['q/file']);
      mkdirSync(at('p/m'), { recursive: true });
      await tells('ObjectCreated p/m/');
    });

    it('and nobody has seen, is told as removed from where it was', async () => {
      for (const key of ['p/m/', 'p/file']) await put(key);
      await begin('off');
      rmdirSync(at('p/m'));
      await rename();
      await list(store);
      await tells('ObjectRemoved p/m/', 'ObjectRemoved p/file', 'ObjectCreated q/file');
    });

    it('is told as renamed where it turns up', async () => {
      for (const key of ['p/m/', 'p/m/x', 'p/file']) await put(key);
      await list(store);
      await begin('off');
      renameSync(at('p/m'), at('n'));
      await rename();
      await list(store);
      await tells(
        ...['ObjectRemoved p/file', 'ObjectCreated q/file'],
        ...['ObjectRemoved p/m/', 'ObjectRemoved p/m/x', 'ObjectCreated n/', 'ObjectCreated n/x'],
      );
      expect(await list(store)).toEqual(['n/', 'n/x', 'q/file']);
    });
  });

  it.each([
    ['with the index', false],
    ['with the index lost', true],
  ])('removed while nobody looked is told at the start, once, %s', async (_how, lost) => {
    for (const key of ['m/', 'p/m/']) await put(key);
    await begin();
    await tells();
    await restart(lost);
    rmdirSync(at('m'));
    await begin();
    await tells('ObjectRemoved m/');
    await restart(lost);
    await begin();
    await tells();
  });
});

describe('a marker', () => {
  it('that a client put again, or deletes, is told once', async () => {
    await put('m/');
    await begin();
    rmdirSync(at('m'));
    await put('m/');
    await tells('ObjectCreated m/');
    rmdirSync(at('m'));
    await tells('ObjectRemoved m/');
    await put('m/');
    await tells('ObjectCreated m/');
    await store.delete('box', 'm/');
    await tells('ObjectRemoved m/');
  });

  it('that comes back with an object below it is told as created', async () => {
    await put('m/');
    await begin();
    rmdirSync(at('m'));
    await tells('ObjectRemoved m/');
    await put('m/x');
    await tells('ObjectCreated m/x', 'ObjectCreated m/');
  });

  it('is missed by a listing where nobody watches', async () => {
    await put('m/');
    await begin('off');
    rmdirSync(at('m'));
    await list(store);
    await tells('ObjectRemoved m/');
  });
});
