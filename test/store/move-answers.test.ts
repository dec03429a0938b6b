/** What follows the commit of a move - directories that fell empty, an overflow copy that is superseded - never makes its answer a failure. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body, BUCKET, get, list, put } from '../suites/store/kit.js';
import { hookFsync } from './hooked-fsync.js';

let root = '';
let store: LocalStore;
let other: LocalStore;
/** A folder below the root, and what happens right after it was flushed the next time. */
let after: { folder: string; act: () => void } | undefined;
let unhook: () => void;

beforeEach(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-move-'));
  store = await openStore(root);
  other = await openStore(root);
  await store.createBucket(BUCKET, {});
  unhook = hookFsync((on, flush) => {
    const cue = after && on === path.join(root, after.folder) ? after : undefined;
    if (cue) after = undefined;
    flush(() => cue?.act());
  });
});
afterEach(async () => {
  unhook();
  await store.close();
  await other.close();
  fs.rmSync(root, { recursive: true });
});

const loseIndex = (): void => fs.rmSync(path.join(root, '.gos3rve/index'), { recursive: true });

describe('an index that is lost right after the commit', () => {
  it('of a move does not make it a failure', async () => {
    await put(store, 'a/b/key');
    after = { folder: `${BUCKET}/z`, act: loseIndex };
    const info = await store.move({ bucket: BUCKET, key: 'a/b/key' }, { bucket: BUCKET, key: 'z/key' });
    expect(info.key).toBe('z/key');
    expect(after).toBeUndefined();
    expect(await list(store)).toEqual(['z/key']);
    // what fell empty goes all the same
    await put(store, 'another');
    await store.collector.directories({ dryRun: false, signal: new AbortController().signal });
    expect(fs.existsSync(path.join(root, BUCKET, 'a'))).toBe(false);
  });

  it('of a put does not make it a failure, nor bring back what it superseded', async () => {
    await put(store, 'a');
    await put(store, 'a/b', 'overflow');
    fs.rmSync(path.join(root, BUCKET, 'a'));
    after = { folder: `${BUCKET}/a`, act: loseIndex };
    await store.put(BUCKET, 'a/b', body('new'));
    expect(after).toBeUndefined();
    await put(store, 'another');
    fs.rmSync(path.join(root, BUCKET, 'a/b'));
    expect(await list(store)).toEqual(['another']);
    await store.close();
    store = await openStore(root);
    expect(await list(store)).toEqual(['another']);
    expect((await get(other, 'another')).info.key).toBe('another');
  });
});
