/** Deletes on a disk that other programs have filled to the last block, of objects that free none: done and told so, or refused and not done. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { execFileSync } from 'node:child_process';
import type { Store } from '../../src/store/contract.js';
import { openStore } from '../../src/store/open.js';
import { Disk, canMount } from '../e2e/disk.js';
import { body, list, put, refuses } from '../suites/store/kit.js';

const BUCKET = 'box';
const COUNT = 60;
const keys = Array.from({ length: COUNT }, (_, n) => `${n % 2 ? 'sub/' : ''}empty${n}`);

describe.skipIf(!canMount())('deletes on a full disk (needs root: ext4 in a file)', () => {
  let folder = '';
  let root = '';
  let store: Store;
  beforeEach(async () => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-full-'));
    root = path.join(folder, 'root');
    fs.mkdirSync(root);
    new Disk(folder, 'disk', 24 << 20).mount(root);
    store = await openStore(root, { minFree: 0 });
    await store.createBucket(BUCKET, {});
    for (const key of keys) await store.put(BUCKET, key, body(''), { facts: { metadata: { version: 'old' } } });
  });
  afterEach(async () => {
    await store.close();
    execFileSync('umount', [root]);
    fs.rmSync(folder, { recursive: true });
  });
  const fill = (): void => {
    for (const size of [65_536, 4096, 1]) {
      try {
        for (;;) fs.appendFileSync(path.join(root, 'filler'), Buffer.alloc(size));
      } catch (error) {
        expect(error).toMatchObject({ code: 'ENOSPC' });
      }
    }
  };
  const stands = (key: string): boolean => fs.existsSync(path.join(root, BUCKET, key));

  it('are done, and stay done when the index is made anew', async () => {
    await store.put(BUCKET, 'marker/', body(''));
    await store.createBucket('gone', {});
    fill();
    for (const key of keys) {
      await store.delete(BUCKET, key);
      expect(stands(key), key).toBe(false);
    }
    await store.delete(BUCKET, 'marker/');
    await store.deleteBucket('gone');
    await store.close();
    fs.rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
    fs.unlinkSync(path.join(root, 'filler'));
    store = await openStore(root);
    expect(await list(store)).toEqual([]);
    // what was said of them went, too
    fs.writeFileSync(path.join(root, BUCKET, 'empty0'), '');
    expect((await store.head(BUCKET, 'empty0')).facts.metadata).toBeUndefined();
  });

  it('that were refused have taken nothing away', async () => {
    fs.rmSync(path.join(root, '.gos3rve/reserve'));
    fill();
    let refused = 0;
    for (const key of keys) {
      const done = await store.delete(BUCKET, key).catch((error: unknown) => {
        expect(error).toMatchObject({ code: 'InsufficientStorage' });
        return undefined;
      });
      expect(stands(key), key).toBe(done === undefined);
      if (done === undefined) refused++;
    }
    expect(refused).toBeGreaterThan(0);
    await refuses(store.deleteBucket(BUCKET), 'BucketNotEmpty');
    fs.unlinkSync(path.join(root, 'filler'));
    const left = keys.filter(stands);
    for (const key of left) expect((await store.head(BUCKET, key)).facts.metadata).toEqual({ version: 'old' });
    expect((await list(store)).length).toBeGreaterThan(0);
  });

  it('keep room for themselves again as soon as there is some', async () => {
    const reserve = path.join(root, '.gos3rve/reserve');
    const kept = fs.statSync(reserve).size;
    fill();
    for (const key of keys) await store.delete(BUCKET, key);
    expect(fs.statSync(reserve).size).toBeLessThan(kept);
    fs.unlinkSync(path.join(root, 'filler'));
    await put(store, 'k', 'v');
    await store.delete(BUCKET, 'k');
    expect(fs.statSync(reserve).size).toBe(kept);
  });
});
