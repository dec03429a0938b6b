/** A process is killed while it appends: the object is old whole again, and what other programs have written behind it meanwhile is not touched. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, renameSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { bootId, processToken } from '../../src/base/process.js';
import type { Finding } from '../../src/jobs/doctor/finding.js';
import { examineState } from '../../src/jobs/doctor/state.js';
import { gc } from '../../src/jobs/gc.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { BUCKET, body, md5, text } from '../suites/store/kit.js';

const DIST = path.resolve(import.meta.dirname, '../../dist');
const CHILD = path.join(import.meta.dirname, 'append-child.js');

const canUnshare =
  process.platform === 'linux' && spawnSync('unshare', ['--pid', '--fork', '--mount-proc', 'true']).status === 0;

describe.skipIf(!existsSync(path.join(DIST, 'store/open.js')))('an append that is killed', { timeout: 60_000 }, () => {
  let root: string;
  let store: LocalStore;
  const told: Record<string, unknown>[] = [];
  const at = (): string => path.join(root, BUCKET, 'log');
  const content = (): Promise<string> => readFile(at(), 'utf8');
  const open = (): Promise<LocalStore> =>
    openStore(root, { log: (level, message, data) => told.push({ level, message, ...data }) });
  const staged = async (): Promise<number> => (await readdir(path.join(root, '.gos3rve/staging'))).length;

  beforeEach(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-killed-'));
    told.length = 0;
    store = await open();
    await store.createBucket(BUCKET, {});
    await store.put(BUCKET, 'log', body('old,'), { facts: { metadata: { kept: 'yes' } } });
  });
  afterEach(async () => {
    await store.close();
    await rm(root, { recursive: true });
  });

  /** Another process appends `HALFPIECE!` and dies when `HALFP` is there. */
  const die = async (key = 'log'): Promise<void> => {
    const child = spawn(process.execPath, [CHILD, DIST, root, BUCKET, key, '4', 'HALFPIECE!'], { stdio: 'inherit' });
    const [, signal] = (await once(child, 'close')) as [number | null, string | null];
    expect(signal).toBe('SIGKILL');
    expect(await readFile(path.join(root, BUCKET, key), 'utf8')).toBe('old,HALFP');
  };
  /** The same in a process of another container: the process table says nothing of it. */
  const dieElsewhere = async (): Promise<void> => {
    const args = [process.execPath, CHILD, DIST, root, BUCKET, 'log', '4', 'HALFPIECE!'];
    // the first process of a container cannot kill itself
    const all = ['--pid', '--fork', '--mount-proc', 'sh', '-c', '"$@"; true', 'sh', ...args];
    await once(spawn('unshare', all, { stdio: 'inherit' }), 'close');
    expect(await content()).toBe('old,HALFP');
  };
  const isOld = async (): Promise<void> => {
    expect(await content()).toBe('old,');
    expect(await text(store, 'log')).toBe('old,');
    expect(await store.head(BUCKET, 'log')).toMatchObject({
      size: 4,
      etag: md5('old,'),
      facts: { metadata: { kept: 'yes' } },
    });
    expect(told).toEqual([]);
  };
  it.runIf(canUnshare)('in another container is cut off once the file has stood still', async () => {
    await dieElsewhere();
    expect((await store.head(BUCKET, 'log')).size).toBe(4);
    await expect(store.append(BUCKET, 'log', 4, body('new'), {})).rejects.toMatchObject({ code: 'OperationAborted' });
    const now = Date.now.bind(Date);
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => now() + 70_000);
    try {
      await store.append(BUCKET, 'log', 4, body('new'), {});
      expect(await content()).toBe('old,new');
      expect(await text(store, 'log')).toBe('old,new');
    } finally {
      clock.mockRestore();
    }
  });
  const collect = () =>
    gc(store.collector, { dryRun: false, signal: new AbortController().signal, olderThan: 1e9, keepGone: 1e9 });

  it('is cut back by the next append to the key, beside a store that is open', async () => {
    await die();
    expect(await store.head(BUCKET, 'log')).toMatchObject({ size: 4, etag: md5('old,') });
    expect(await store.append(BUCKET, 'log', 4, body('new'))).toMatchObject({ size: 7 });
    expect(await content()).toBe('old,new');
    expect(await text(store, 'log')).toBe('old,new');
  });

  it('is cut back by gc, which then takes its piece away', async () => {
    await die();
    expect(await staged()).toBe(1);
    expect(await collect()).toMatchObject({ staging: 1 });
    expect(await staged()).toBe(0);
    await isOld();
  });

  it('is cut back by the next start', async () => {
    await store.close();
    await die();
    store = await open();
    await isOld();
  });

  it('is cut back by the next start of the machine', async () => {
    await store.close();
    await die();
    const journal = path.join(root, '.gos3rve/journal');
    const place = processToken().slice(0, 8);
    for (const name of await readdir(journal)) {
      const file = path.join(journal, name);
      const lines = await readFile(file, 'utf8');
      const elsewhere = lines.replaceAll(bootId(), 'another').replaceAll(place, '00000000');
      await writeFile(file, elsewhere.replace(/,"crc":"[0-9a-f]{8}"/g, ''));
    }
    const staging = path.join(root, '.gos3rve/staging');
    for (const name of await readdir(staging))
      renameSync(path.join(staging, name), path.join(staging, name.replace(place, '00000000')));
    await rm(path.join(root, '.gos3rve/index'), { recursive: true });
    store = await open();
    expect(await content()).toBe('old,');
    expect(await store.append(BUCKET, 'log', 4, body('new'))).toMatchObject({ size: 7 });
  });

  it.each(['the next start', 'gc'])('stays, told by %s, where another program has written behind it', async (who) => {
    if (who === 'gc') await die();
    else {
      await store.close();
      await die();
    }
    appendFileSync(at(), 'line');
    if (who === 'gc') await collect();
    else store = await open();
    const all = 'old,HALFPline';
    expect(await content()).toBe(all);
    expect(told).toMatchObject([{ level: 'warn', file: 'box/log', offset: 4, bytes: 5 }]);
    expect(await text(store, 'log')).toBe(all);
    expect(await store.head(BUCKET, 'log')).toMatchObject({
      size: all.length,
      etag: md5(all),
      facts: { metadata: { kept: 'yes' } },
    });
    expect(await store.append(BUCKET, 'log', all.length, body('new'))).toMatchObject({ size: all.length + 3 });
    expect(told).toHaveLength(1);
    const findings = new Map<string, Finding>();
    examineState(root, path.join(root, '.gos3rve'), (finding) => findings.set(finding.check, finding));
    expect(findings.get('half-appended')).toMatchObject({ level: 'warning', count: 1 });
    expect(findings.get('half-appended')?.examples?.[0]).toMatch(/"box\/log": 5 bytes from byte 4 on$/);
  });

  describe('and renamed by another program before anybody looks', () => {
    const moved = (): string => path.join(root, BUCKET, 'new/log');
    const keys = async (): Promise<unknown[]> => {
      const { entries } = await store.list(BUCKET, { prefix: '', delimiter: '', after: '', max: 10 });
      return entries.map((entry) => ('prefix' in entry ? entry.prefix : [entry.key, entry.size]));
    };
    const place = async (what: string): Promise<void> => {
      await mkdir(path.join(root, BUCKET, 'new'));
      if (what === 'and its old name is taken') {
        renameSync(at(), moved());
        await writeFile(at(), 'another');
      } else renameSync(at(), moved());
    };
    const isOldThere = async (): Promise<void> => {
      expect(await readFile(moved(), 'utf8')).toBe('old,');
      expect(await text(store, 'new/log')).toBe('old,');
      expect(await store.head(BUCKET, 'new/log')).toMatchObject({ size: 4, etag: md5('old,') });
      expect(await staged()).toBe(1);
      await collect();
      expect(await staged()).toBe(0);
      expect(told).toEqual([]);
    };
    const said = async (): Promise<unknown> => (await store.head(BUCKET, 'new/log')).facts.metadata;

    it.each(['', 'and its old name is taken'])('is old whole beside a store that is open %s', async (what) => {
      await die();
      await place(what);
      const sizes = [['new/log', 4]];
      expect(await keys()).toEqual(what === '' ? sizes : [['log', 7], ...sizes]);
      await isOldThere();
      if (what === '') await expect.poll(said, { timeout: 20_000 }).toEqual({ kept: 'yes' });
    });

    it.each(['there', 'lost'])('is old whole after the next start with its index %s', async (index) => {
      await store.close();
      await die();
      await place('');
      if (index === 'lost') await rm(path.join(root, '.gos3rve/index'), { recursive: true });
      store = await open();
      expect(await keys()).toEqual([['new/log', 4]]);
      await isOldThere();
      await expect.poll(said, { timeout: 20_000 }).toEqual({ kept: 'yes' });
      await store.close();
      store = await open();
      expect(told).toEqual([]);
    });

    it.each(['there', 'lost'])('is old whole where its folder was renamed, with its index %s', async (index) => {
      await store.put(BUCKET, 'dir/log', body('old,'), { facts: { metadata: { kept: 'yes' } } });
      await store.close();
      await die('dir/log');
      renameSync(path.join(root, BUCKET, 'dir'), path.join(root, BUCKET, 'new'));
      if (index === 'lost') await rm(path.join(root, '.gos3rve/index'), { recursive: true });
      store = await open();
      expect(await keys()).toEqual([
        ['log', 4],
        ['new/log', 4],
      ]);
      await isOldThere();
      expect(await said()).toEqual({ kept: 'yes' });
    });

    it('is known by nobody any more when it was away for long', async () => {
      await die();
      const away = `${root}-away`;
      renameSync(at(), away);
      await collect();
      expect(await staged()).toBe(1);
      await store.close();
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 8 * 24 * 3_600_000 });
      store = await open();
      vi.useRealTimers();
      expect(await staged()).toBe(0);
      await rm(away);
    });
  });

  it('is forgotten without a word where another program has put a file in the place of its folder', async () => {
    await store.put(BUCKET, 'dir/log', body('old,'));
    await store.close();
    await die('dir/log');
    await rm(path.join(root, BUCKET, 'dir'), { recursive: true });
    await writeFile(path.join(root, BUCKET, 'dir'), 'a file');
    store = await open();
    await collect();
    expect(told).toEqual([]);
  });
});
