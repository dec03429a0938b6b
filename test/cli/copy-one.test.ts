/** A file that was copied out of the store. */
import fs, { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { getFile } from '../../src/cli/copy-one.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { BUCKET, put } from '../suites/store/kit.js';

const { fsyncSync } = fs;

describe.skipIf(process.platform !== 'linux')('a copy out of the store', () => {
  let base: string;
  let store: LocalStore;
  beforeEach(async () => {
    base = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-copy-'));
    await mkdir(path.join(base, 'root'));
    store = await openStore(path.join(base, 'root'));
    await store.createBucket(BUCKET, {});
  });
  afterEach(async () => {
    fs.fsyncSync = fsyncSync;
    syncBuiltinESMExports();
    await store.close();
    await rm(base, { recursive: true });
  });

  it('survives a power cut: its folder is flushed behind the rename, and those above that are new', async () => {
    await put(store, 'k', 'bytes');
    const to = path.join(base, 'new/deep/k');
    const flushed = new Map<string, boolean>();
    fs.fsyncSync = (fd) => {
      flushed.set(fs.readlinkSync(`/proc/self/fd/${fd}`), existsSync(to));
      fsyncSync(fd);
    };
    syncBuiltinESMExports();
    const { signal } = new AbortController();
    await getFile(store, { bucket: BUCKET, key: 'k' }, to, { clobber: true, contentType: undefined, signal });
    expect(await readFile(to, 'utf8')).toBe('bytes');
    expect([...flushed]).toEqual([
      [path.join(base, 'new'), false],
      [base, false],
      [path.dirname(to), true],
    ]);
  });
});
