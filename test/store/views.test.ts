/** One index under several settings, and copies that were kept aside. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type LocalStore, type StoreOptions } from '../../src/store/open.js';

describe('a root opened under other settings', () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(path.join(tmpdir(), 'gos3rve-view-'));
    await mkdir(path.join(root, 'b', 'real'), { recursive: true });
    for (const name of ['a.log', 'keep', 'real/f']) await writeFile(path.join(root, 'b', name), 'x');
    await symlink('real', path.join(root, 'b', 'link'));
  });
  afterEach(() => rm(root, { recursive: true }));

  const using = async <T>(options: StoreOptions, work: (store: LocalStore) => Promise<T>): Promise<T> => {
    const store = await openStore(root, options);
    try {
      return await work(store);
    } finally {
      await store.close();
    }
  };
  const keys = (options: StoreOptions): Promise<string[]> =>
    using(options, async (store) => {
      const page = await store.list('b', { prefix: '', delimiter: '', after: '', max: 1000 });
      return page.entries.map((entry) => ('key' in entry ? entry.key : entry.prefix));
    });

  it('lists what the settings of the day show', async () => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await keys({ exclude: ['*.log'] })).toEqual(['keep', 'real/f']);
    expect(await keys({})).toEqual(['a.log', 'keep', 'real/f']);
    expect(await keys({ symlinks: 'all' })).toEqual(['a.log', 'keep', 'link/f', 'real/f']);
    expect(await keys({ exclude: ['*.log'], symlinks: 'none' })).toEqual(['keep', 'real/f']);
  });

  it('leaves nothing at the source of a move, not even a copy that was kept aside', async () => {
    async function* bytes(text: string): AsyncGenerator<Uint8Array> {
      yield Buffer.from(text);
    }
    await using({}, async (store) => {
      await store.put('b', 'real', { chunks: bytes('aside') });
      await rm(path.join(root, 'b', 'real'), { recursive: true });
      await writeFile(path.join(root, 'b', 'real'), 'file');
      await store.move({ bucket: 'b', key: 'real' }, { bucket: 'b', key: 'moved' });
      await expect(store.head('b', 'real')).rejects.toMatchObject({ code: 'NoSuchKey' });
    });
  });

  it('takes no key that S3 would not take', async () => {
    await using({}, async (store) => {
      for (const key of ['', 'k'.repeat(1025), '\ud800']) {
        await expect(store.put('b', key, { chunks: (async function* () {})() })).rejects.toThrow();
      }
    });
  });
});
