/** Watching, scanning and hashing on a real tree. The hashing thread is the built one: run `npm run build` first. */
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLog } from '../../src/base/log.js';
import { startBackground, type Background, type BackgroundOptions } from '../../src/jobs/background.js';
import type { OutsideChange } from '../../src/jobs/watch/change.js';
import { openStore, type LocalStore } from '../../src/store/open.js';

const SCRIPT = new URL('../../dist/jobs/hash/worker.js', import.meta.url);
/** Shorter than a server waits, and longer than one that is slow to look takes between two writes of a test. */
const QUIET_MS = 700;
const OPTIONS = { hash: 'eager', quietMs: QUIET_MS } as const;
const md5 = (data: string | Buffer) => createHash('md5').update(data).digest('hex');

let root: string;
let store: LocalStore;
let background: Background | undefined;
let changes: string[];

beforeEach(async () => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'gos3rve-watch-')));
  mkdirSync(join(root, 'b', 'sub'), { recursive: true });
  changes = [];
  store = await openStore(root, OPTIONS);
});
afterEach(async () => {
  await background?.stop();
  background = undefined;
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

const sink = {
  wanted: () => true,
  onOutsideChange: ({ dirs, name, event, fresh }: OutsideChange) => {
    if (fresh !== true) changes.push(`${event} ${[...dirs, name].join('/')}`);
    store.live.forgetUntold(dirs, name);
  },
};

function start(options: Partial<BackgroundOptions> = {}): Background {
  // so that what another look comes upon first is told, too
  store.changes.wantAlways(true);
  background = startBackground(store, {
    watch: 'auto',
    scanInterval: 0,
    hash: 'eager',
    busy: () => false,
    log: silentLog,
    changes: sink,
    script: SCRIPT,
    ...options,
  });
  return background;
}

/** What was written before is quiet now. */
const quiet = () => sleep(QUIET_MS + 100);

async function until(what: () => boolean, ms = 15_000): Promise<void> {
  for (const end = Date.now() + ms; !what(); await sleep(25))
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what.toString()}`);
}
const acquainted = () => until(() => background?.watcher.acquainted === true);
/** Without a request, which would hash it; but the look makes it known, so that it is no event any more. */
const isHashed = async (path: string): Promise<boolean> => {
  const dirs = path.split('/');
  const name = dirs.pop() ?? '';
  return (await store.live.lookAtFile(dirs, name)).hashed === true;
};
async function untilHashed(path: string): Promise<void> {
  for (const end = Date.now() + 15_000; !(await isHashed(path)); await sleep(50))
    if (Date.now() > end) throw new Error(`${path} is not hashed`);
}
const body = (text: string) => ({
  chunks: (async function* () {
    yield Buffer.from(text);
  })(),
});

describe('the watcher', () => {
  it('watches directories only, new ones too, and none of ours', async () => {
    for (let i = 0; i < 50; i++) writeFileSync(join(root, 'b', `f${i}`), 'x');
    const { watcher } = start();
    await acquainted();
    expect(watcher.watched).toBe(3);
    cpSync(join(root, 'b'), join(root, 'c'), { recursive: true });
    await until(() => watcher.watched === 5);
    rmSync(join(root, 'c'), { recursive: true });
    await until(() => watcher.watched === 3);
  });

  it('tells of what others do, once each when it is quiet, and hashes it', async () => {
    // a file of others that nobody knew would be a change
    await store.put('b', 'old', body('old'));
    start();
    await acquainted();
    mkdirSync(join(root, 'b', 'deep', 'er'), { recursive: true });
    writeFileSync(join(root, 'b', 'deep', 'er', 'new'), 'new');
    for (let i = 0; i < 10; i++) appendFileSync(join(root, 'b', 'slow'), `${i}`);
    await until(() => changes.length >= 2);
    await untilHashed('b/deep/er/new');
    rmSync(join(root, 'b', 'old'));
    await until(() => changes.length >= 3);
    expect(changes.sort()).toEqual(['created b/deep/er/new', 'created b/slow', 'removed b/old']);
    expect((await store.head('b', 'slow')).etag).toBe(md5('0123456789'));
  });

  it('does not tell of what was there before, of our own writes, and of files for a moment', async () => {
    writeFileSync(join(root, 'b', 'before'), 'x');
    start();
    await acquainted();
    await store.put('b', 'own', body('own'));
    await store.put('b', 'gone', body('own'));
    await store.delete('b', 'gone');
    writeFileSync(join(root, 'b', 'x.tmp'), 'saved');
    await sleep(100);
    renameSync(join(root, 'b', 'x.tmp'), join(root, 'b', 'before'));
    writeFileSync(join(root, 'b', '.gos3rve-not'), 'x');
    await until(() => changes.length >= 2);
    await sleep(500);
    expect(changes.sort()).toEqual(['created b/.gos3rve-not', 'created b/before']);
  });

  it('waits while a file is being written', async () => {
    start();
    await acquainted();
    const before = store.live.hashes;
    for (let i = 0; i < 12; i++) {
      appendFileSync(join(root, 'b', 'growing'), 'x');
      await sleep(QUIET_MS / 6);
    }
    expect(store.live.hashes).toBe(before);
    expect(changes).toEqual([]);
    await until(() => changes.length === 1);
    await untilHashed('b/growing');
  });

  it("goes by the file system's clock: a file from the future or the past is quiet all the same", async () => {
    start();
    await acquainted();
    for (const [name, year] of [
      ['future', 2099],
      ['past', 1971],
    ] as const) {
      writeFileSync(join(root, 'b', name), name);
      utimesSync(join(root, 'b', name), new Date(`${year}-01-01`), new Date(`${year}-01-01`));
    }
    await untilHashed('b/future');
    await untilHashed('b/past');
  });

  it('follows a folder that was renamed, and one that took its name', async () => {
    writeFileSync(join(root, 'b', 'sub', 'f'), 'f');
    const { watcher } = start();
    await acquainted();
    await untilHashed('b/sub/f');
    const { hashes } = store.live;
    renameSync(join(root, 'b', 'sub'), join(root, 'b', 'moved'));
    mkdirSync(join(root, 'b', 'sub'));
    await until(() => watcher.watched === 4);
    await sleep(500);
    writeFileSync(join(root, 'b', 'moved', 'one'), '1');
    writeFileSync(join(root, 'b', 'sub', 'two'), '2');
    await untilHashed('b/moved/one');
    await untilHashed('b/sub/two');
    expect(await isHashed('b/moved/f')).toBe(true);
    expect(store.live.hashes).toBe(hashes + 2);
  });

  it('reads a changed directory into the index before it is listed', async () => {
    start({ hash: 'lazy' });
    await acquainted();
    for (let i = 0; i < 300; i++) writeFileSync(join(root, 'b', `n${i}`), 'x');
    await until(() => store.live.unhashed(undefined, 1000).entries.length === 300);
    const report = await store.live.lookAtDir(['b']);
    expect(report?.added).toBe(0);
  });

  it('scans instead where it is told to poll', async () => {
    const { watcher } = start({ watch: 'poll', scanInterval: 400 });
    await acquainted();
    expect(watcher.watched).toBe(0);
    writeFileSync(join(root, 'b', 'sub', 'polled'), 'p');
    await until(() => changes.includes('created b/sub/polled'));
    await untilHashed('b/sub/polled');
    const { mtime, atime } = statSync(join(root, 'b', 'sub', 'polled'));
    writeFileSync(join(root, 'b', 'sub', 'polled'), 'q');
    utimesSync(join(root, 'b', 'sub', 'polled'), atime, mtime);
    await sleep(1_500);
    expect((await store.head('b', 'sub/polled')).etag).toBe(md5('q'));
  });

  describe('hears of files that went with a folder', () => {
    const fill = async (): Promise<void> => {
      for (const key of ['gone/f', 'gone/deep/f', 'taken/f', 'kept/f']) await store.put('b', key, body(key));
      start();
      await acquainted();
      await quiet();
    };
    const GONE = ['b/gone/deep/f', 'b/gone/f', 'b/taken/f'];
    const removed = (): string[] => changes.filter((one) => one.startsWith('removed ')).sort();
    /** Other programs remove one folder, put another in place of the next, and rename the third. */
    const act = (): void => {
      rmSync(join(root, 'b', 'gone'), { recursive: true });
      renameSync(join(root, 'b', 'taken'), join(root, 'out'));
      rmSync(join(root, 'out'), { recursive: true });
      mkdirSync(join(root, 'b', 'taken'));
      writeFileSync(join(root, 'b', 'taken', 'new'), 'new');
    };
    const expectTold = async (): Promise<void> => {
      await until(() => removed().length >= GONE.length && changes.includes('created b/taken/new'));
      expect(removed()).toEqual(GONE.map((path) => `removed ${path}`));
      await expect(store.head('b', 'gone/f')).rejects.toThrow();
    };

    it('while no server ran', async () => {
      await fill();
      await background?.stop();
      await store.close();
      act();
      store = await openStore(root, OPTIONS);
      start();
      await expectTold();
    });

    it('where it is told to poll', async () => {
      await fill();
      await background?.stop();
      start({ watch: 'poll', scanInterval: 400 });
      await acquainted();
      act();
      await expectTold();
    });

    it('when the folder is moved out of what is served', async () => {
      await fill();
      const out = mkdtempSync(join(tmpdir(), 'gos3rve-out-'));
      renameSync(join(root, 'b', 'gone'), join(out, 'gone'));
      await until(() => removed().length >= 2);
      expect(removed()).toEqual(['removed b/gone/deep/f', 'removed b/gone/f']);
      rmSync(out, { recursive: true });
    });
  });

  it('looks at nothing where it is off, and answers right all the same', async () => {
    const { watcher } = start({ watch: 'off', scanInterval: 100 });
    await sleep(600);
    expect([watcher.watched, watcher.lastScan]).toEqual([0, undefined]);
    writeFileSync(join(root, 'b', 'f'), 'one');
    expect((await store.head('b', 'f')).etag).toBe(md5('one'));
    writeFileSync(join(root, 'b', 'f'), 'two!');
    expect((await store.head('b', 'f')).size).toBe(4);
    rmSync(join(root, 'b', 'f'));
    await expect(store.head('b', 'f')).rejects.toMatchObject({ code: 'NoSuchKey' });
  });

  it('survives a root that vanishes and comes back', async () => {
    const warned: string[] = [];
    start({ watch: 'poll', scanInterval: 200, log: { ...silentLog, warn: (message) => warned.push(message) } });
    await acquainted();
    renameSync(root, `${root}-away`);
    await until(() => warned.length > 0);
    // some more looks, which find it away as well
    await sleep(900);
    renameSync(`${root}-away`, root);
    expect(warned).toHaveLength(1);
    await until(() => store.presence.look() === 'here' && store.presence.here && !store.live.rebuilding);
    writeFileSync(join(root, 'b', 'back'), 'x');
    await untilHashed('b/back');
    expect(changes.filter((change) => change.startsWith('removed'))).toEqual([]);
  });
});

describe('hashing in the background', () => {
  it('hashes all that it finds, the thread the large ones, and nothing twice after a restart', async () => {
    const large = Buffer.alloc(2 << 20, 'l');
    for (let i = 0; i < 40; i++) writeFileSync(join(root, 'b', `f${i}`), `${i}`);
    writeFileSync(join(root, 'b', 'large'), large);
    await quiet();
    start();
    await until(() => store.live.hashes === 41 && background?.hasher?.idle === true);
    expect((await store.head('b', 'large')).etag).toBe(md5(large));
    await background?.stop();
    await store.close();
    writeFileSync(join(root, 'b', 'f3'), 'changed while nobody served');
    store = await openStore(root, OPTIONS);
    start();
    await acquainted();
    await untilHashed('b/f3');
    await until(() => background?.hasher?.idle === true);
    expect(store.live.hashes).toBe(1);
  });

  it('hashes nothing on its own when lazy, never anything when off', async () => {
    writeFileSync(join(root, 'b', 'f'), 'x');
    start({ hash: 'lazy' });
    await acquainted();
    await sleep(2 * QUIET_MS + 300);
    expect(store.live.hashes).toBe(0);
  });

  it('stops while it hashes', async () => {
    for (let i = 0; i < 2000; i++) writeFileSync(join(root, 'b', `f${i}`), `${i}`);
    await quiet();
    start();
    await until(() => store.live.hashes > 10);
    const began = performance.now();
    await background?.stop();
    expect(performance.now() - began).toBeLessThan(1_500);
    expect(store.live.hashes).toBeLessThan(2000);
  });

  it('keeps no file open', async () => {
    for (let i = 0; i < 100; i++) writeFileSync(join(root, 'b', `f${i}`), Buffer.alloc(300_000, i));
    await quiet();
    start();
    await until(() => store.live.hashes === 100 && background?.hasher?.idle === true);
    await background?.stop();
    const open = readdirSync('/proc/self/fd').filter((fd) => {
      try {
        return (
          readFileSync(`/proc/self/fdinfo/${fd}`) &&
          realpathSync(`/proc/self/fd/${fd}`).startsWith(join(root, 'b', 'f'))
        );
      } catch {
        return false;
      }
    });
    expect(open).toEqual([]);
  });
});
