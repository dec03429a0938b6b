/** A process is killed while it appends: the object is old whole again, and what other programs have written behind it meanwhile is not touched. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync } from 'node:fs';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { gc } from '../../src/jobs/gc.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { BUCKET, body, md5, text } from '../suites/store/kit.js';

const DIST = path.resolve(import.meta.dirname, '../../dist');
const CHILD = path.join(import.meta.dirname, 'append-child.js');

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
  const die = async (): Promise<void> => {
    const child = spawn(process.execPath, [CHILD, DIST, root, BUCKET, 'log', '4', 'HALFPIECE!'], { stdio: 'inherit' });
    const [, signal] = (await once(child, 'close')) as [number | null, string | null];
    expect(signal).toBe('SIGKILL');
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
  });
});
