/** Other programs fill the disk with files that the index has no room for: all of them are listed and read. */
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Store } from '../../src/store/contract.js';
import { openStore } from '../../src/store/open.js';
import { canMount } from '../e2e/disk.js';
import { FullDisk, type Kind } from '../e2e/full.js';
import { BUCKET, body, byteOrder, get, list, nameOf, refuses, text } from '../suites/store/kit.js';

const DIR = 'new'.repeat(20);
const SIZE = 4000;

describe.skipIf(!canMount()).each<Kind>(['tmpfs', 'ext4'])(
  'a disk that others have filled (needs root: %s)',
  (kind) => {
    let disk: FullDisk;
    let store: Store;
    let keys: string[];
    beforeEach(async () => {
      disk = new FullDisk(kind, kind === 'ext4' ? 12 : 8);
      store = await openStore(disk.root, { minFree: 0, patience: { read: 5000, write: 5000 } });
      await store.createBucket(BUCKET, {});
      await store.put(BUCKET, 'old', body('old bytes'), { facts: { metadata: { version: 'old' } } });
      keys = [...fillWithFiles(path.join(disk.root, BUCKET, DIR)).map((name) => `${DIR}/${name}`), 'old'].sort(
        byteOrder,
      );
    });
    afterEach(async () => {
      await store.close();
      disk.remove();
    });

    it('lists, reads and deletes, before and after a start', { timeout: 120_000 }, async () => {
      for (const how of ['running', 'started anew']) {
        expect(await list(store), how).toEqual(keys);
        const pages: string[] = [];
        for (let after: string | undefined = ''; after !== undefined;) {
          const page = await store.list(BUCKET, { prefix: '', delimiter: '', after, max: 700 });
          pages.push(...page.entries.map(nameOf));
          after = page.next;
        }
        expect(pages, how).toEqual(keys);
        const rolled = await store.list(BUCKET, { prefix: '', delimiter: '/', after: '', max: 1000 });
        expect(rolled.entries.map(nameOf), how).toEqual([`${DIR}/`, 'old']);
        const some = keys[10] ?? '';
        const { info, bytes } = await get(store, some);
        expect([bytes.length, info.etag.length > 0], how).toEqual([SIZE, true]);
        expect((await store.head(BUCKET, some)).size).toBe(SIZE);
        expect(await text(store, 'old'), how).toBe('old bytes');
        expect((await store.head(BUCKET, 'old')).facts.metadata).toEqual({ version: 'old' });
        expect(await store.delete(BUCKET, some), how).toBe(true);
        keys = keys.filter((key) => key !== some);
        await refuses(store.put(BUCKET, 'large', body('x'.repeat(1 << 20))), 'InsufficientStorage');
        await store.close();
        store = await openStore(disk.root, { minFree: 0 });
      }
    });

    it('has the MD5s of all once there is room', { timeout: 120_000 }, async () => {
      const some = keys.slice(0, 3);
      for (const key of some) await get(store, key);
      for (const key of keys.slice(-300, -1)) fs.unlinkSync(path.join(disk.root, BUCKET, key));
      await expect
        .poll(async () => (await get(store, some[0] ?? '')).info.etag, { timeout: 30_000 })
        .toMatch(/^[0-9a-f]{32}(-|$)/);
      expect((await list(store)).length).toBe(keys.length - 299);
    });
  },
);

/** @returns the names. */
function fillWithFiles(directory: string): string[] {
  fs.mkdirSync(directory);
  const names: string[] = [];
  for (;;) {
    const name = `file-with-a-rather-long-name-${'x'.repeat(60)}-${names.length}`;
    try {
      fs.writeFileSync(path.join(directory, name), Buffer.alloc(SIZE));
      names.push(name);
    } catch (error) {
      expect(error).toMatchObject({ code: 'ENOSPC' });
      fs.rmSync(path.join(directory, name), { force: true });
      return names;
    }
  }
}
