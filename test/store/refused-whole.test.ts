/** A write for whose row the index finds no room on a full disk: it is refused before the file gets its name, and the old object stays whole. */
import fs, { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { BUCKET, body, get, put } from '../suites/store/kit.js';

describe('a write for whose row there is no room', () => {
  const { openSync, statfsSync } = fs;
  let root: string;
  let store: LocalStore;

  beforeEach(async () => {
    root = realpathSync(mkdtempSync(join(tmpdir(), 'gos3rve-refused-')));
    mkdirSync(join(root, BUCKET));
    store = await openStore(root);
    for (const key of ['k', 'from', 'x//y']) await put(store, key, `old ${key}`);
  });
  afterEach(async () => {
    room();
    await store.close();
    rmSync(root, { recursive: true });
  });

  /** Only the file of the index cannot grow. */
  async function full(): Promise<void> {
    Object.assign(fs, {
      statfsSync: (path: string) => ({ ...statfsSync(path), bavail: 0 }),
      openSync: (path: string, flags: unknown, ...more: [number?]) => {
        if (flags === 'r+' && String(path).endsWith('.mdb'))
          throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
        return openSync(path, flags as string, ...more);
      },
    });
    syncBuiltinESMExports();
    // what was seen of a disk with ample room no longer counts
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  function room(): void {
    Object.assign(fs, { openSync, statfsSync });
    syncBuiltinESMExports();
  }

  it('is refused, and nothing has changed', async () => {
    await full();
    const large = { metadata: { m: 'm'.repeat(1500) } };
    const refused = { code: 'InsufficientStorage' };
    const results = await Promise.allSettled([
      ...Array.from({ length: 20 }, (_, n) => store.put(BUCKET, `new/${n}`, body('new'), { facts: large })),
      store.put(BUCKET, 'k', body('new'), { facts: large }),
      store.put(BUCKET, 'x//y', body('new'), { facts: large }),
      store.move({ bucket: BUCKET, key: 'from' }, { bucket: BUCKET, key: 'to' }),
    ]);
    for (const result of results) expect(result).toMatchObject({ status: 'rejected', reason: refused });
    room();
    expect(readFileSync(join(root, BUCKET, 'k'), 'utf8')).toBe('old k');
    for (const key of ['k', 'from', 'x//y']) {
      const { info, bytes } = await get(store, key);
      expect([bytes.toString(), info.facts.metadata]).toEqual([`old ${key}`, undefined]);
    }
    expect(fs.readdirSync(join(root, BUCKET)).sort()).toEqual(['from', 'k']);
    await put(store, 'k', 'new');
    expect((await get(store, 'k')).bytes.toString()).toBe('new');
  });
});
