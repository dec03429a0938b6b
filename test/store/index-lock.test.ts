/** The lock that LMDB keeps in a file beside the index: where it was spoilt, the index is made anew while the store goes on. */
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { BUCKET, body, list, put } from '../suites/store/kit.js';

/** Kind of a POSIX mutex that is shared by processes and survives their end, as glibc has it; what destroys one puts -1 there. */
const SPOIL = `
  const fs = require('node:fs');
  const fd = fs.openSync(process.argv[1], 'r+');
  const bytes = fs.readFileSync(fd);
  let count = 0;
  for (let at = 0; at < 256; at += 4) {
    if (bytes.readUInt32LE(at) !== 0x90) continue;
    count++;
    fs.writeSync(fd, Buffer.alloc(4, 0xff), 0, 4, at);
  }
  process.exit(count > 0 ? 0 : 1);`;

const OVERWRITE = (byte: string): string => `
  const fs = require('node:fs');
  const bytes = fs.readFileSync(process.argv[1]);
  fs.writeSync(fs.openSync(process.argv[1], 'r+'), bytes.map((byte) => ${byte}), 0, bytes.length, 0);`;

const known = { facts: { contentType: 'text/known' } };
let root = '';
let store: LocalStore;
const told: string[] = [];

beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-index-lock-'));
  await mkdir(path.join(root, BUCKET));
  told.length = 0;
  store = await openStore(root, { durability: 'fast', log: (_level, message) => told.push(message) });
});
afterEach(async () => {
  await store.close();
  await rm(root, { recursive: true });
});

/** In a process of its own: whoever closes a file lets go of all locks that his process has on it. */
function spoil(lock = 'v3.mdb-lock', script = SPOIL): void {
  const file = path.join(root, '.gos3rve/index', lock);
  expect(spawnSync(process.execPath, ['-e', script, file]).status).toBe(0);
}

describe.skipIf(process.platform !== 'linux')('a store whose index has a spoilt lock (glibc)', () => {
  it('goes on, with all that was known', async () => {
    await store.put(BUCKET, 'k', body('bytes'), known);
    spoil();
    await writeFile(path.join(root, BUCKET, 'new'), 'by another program');
    expect(await list(store)).toEqual(['k', 'new']);
    expect((await store.head(BUCKET, 'k')).facts.contentType).toBe('text/known');
    await put(store, 'l');
    expect(await list(store)).toEqual(['k', 'l', 'new']);
    expect(told).toEqual(['the index is damaged; it is made anew from the journal']);
  });

  it('asks for a write once more at most', async () => {
    await store.put(BUCKET, 'k', body('bytes'), known);
    spoil();
    await put(store, 'l').catch(() => put(store, 'l'));
    expect((await store.head(BUCKET, 'k')).facts.contentType).toBe('text/known');
  });

  it.each([
    ['zeros', 'byte & 0'],
    ['flipped bits', 'byte ^ 0x55'],
  ])('goes on where all of the lock is %s', async (_what, spoilt) => {
    for (const first of ['read', 'write']) {
      await store.put(BUCKET, 'k', body('bytes'), known);
      spoil('v3.mdb-lock', OVERWRITE(spoilt));
      // told that it may ask again
      const ask = (): Promise<unknown> => (first === 'read' ? store.head(BUCKET, 'k') : put(store, 'l'));
      await ask().catch(ask);
      expect((await store.head(BUCKET, 'k')).facts.contentType).toBe('text/known');
      await put(store, 'l');
      expect(await list(store)).toEqual(['k', 'l']);
    }
    expect(new Set(told)).toEqual(new Set(['the index is damaged; it is made anew from the journal']));
  });

  it('is opened by another, and both go on', async () => {
    await store.put(BUCKET, 'k', body('bytes'), known);
    spoil();
    const second = await openStore(root, { durability: 'fast' });
    await put(second, 'l');
    expect(await list(store)).toEqual(['k', 'l']);
    await put(store, 'm');
    expect(await list(second)).toEqual(['k', 'l', 'm']);
    expect((await second.head(BUCKET, 'k')).facts.contentType).toBe('text/known');
    await second.close();
  });

  it.each(['spoilt', 'removed'])('goes on where the lock of those who write and open is %s', async (how) => {
    await store.put(BUCKET, 'k', body('bytes'), known);
    const second = await openStore(root, { durability: 'fast' });
    if (how === 'spoilt') spoil('gate-lock');
    else for (const name of ['gate', 'gate-lock']) await rm(path.join(root, '.gos3rve/index', name));
    const third = await openStore(root, { durability: 'fast' });
    for (const [n, one] of [store, second, third].entries()) await put(one, `l${n}`);
    expect(await list(store)).toEqual(['k', 'l0', 'l1', 'l2']);
    expect((await store.head(BUCKET, 'k')).facts.contentType).toBe('text/known');
    expect(told).toEqual([]);
    for (const one of [second, third]) await one.close();
  });
});
