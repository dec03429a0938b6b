/** One file copied into the store, and out of it. */
import fs, { existsSync } from 'node:fs';
import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { getFile, putFile } from '../../src/cli/copy-one.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { BUCKET, put, text } from '../suites/store/kit.js';

const { fsyncSync } = fs;
const KEY = { bucket: BUCKET, key: 'k' };

describe.skipIf(process.platform !== 'linux')('a copy', () => {
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

  const options = { clobber: true, contentType: undefined, signal: new AbortController().signal };

  it('holds as much of a file that grows as there was at its beginning', async () => {
    const log = path.join(base, 'log');
    await writeFile(log, 'a line');
    const late: Pick<LocalStore, 'put'> = {
      put: async (...args) => {
        await appendFile(log, ' and more');
        return store.put(...args);
      },
    };
    expect(await putFile(Object.assign(Object.create(store), late) as LocalStore, log, KEY, options)).toBe(6);
    expect(await text(store, 'k')).toBe('a line');
  });

  it('is all that a file holds which tells no size', async () => {
    expect(await putFile(store, '/proc/version', KEY, options)).toBeGreaterThan(6);
    expect(await text(store, 'k')).toBe(await readFile('/proc/version', 'utf8'));
  });

  it('out of the store survives a power cut: its folder is flushed behind the rename, and those above that are new', async () => {
    await put(store, 'k', 'bytes');
    const to = path.join(base, 'new/deep/k');
    const flushed = new Map<string, boolean>();
    fs.fsyncSync = (fd) => {
      flushed.set(fs.readlinkSync(`/proc/self/fd/${fd}`), existsSync(to));
      fsyncSync(fd);
    };
    syncBuiltinESMExports();
    await getFile(store, KEY, to, options);
    expect(await readFile(to, 'utf8')).toBe('bytes');
    expect([...flushed]).toEqual([
      [path.join(base, 'new'), false],
      [base, false],
      [path.dirname(to), true],
    ]);
  });
});
