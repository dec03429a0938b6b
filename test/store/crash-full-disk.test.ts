/** A disk that is full: uploads are refused, what is there stays whole, deletes make room, and the store goes on. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { S3Error } from '../../src/base/errors.js';
import type { Store } from '../../src/store/contract.js';
import { openStore } from '../../src/store/open.js';
import { BUCKET, body, get, list, put, refuses, text } from '../suites/store/kit.js';

/** Whether we may mount: root, with the right. */
function canMount(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  const probe = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-mount-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', probe], { stdio: 'ignore' });
    execFileSync('umount', [probe]);
    return true;
  } catch {
    return false;
  } finally {
    fs.rmdirSync(probe);
  }
}

describe.skipIf(!canMount())('on a full disk (needs root: a tmpfs of 8 MiB)', () => {
  let root = '';
  let store: Store;
  beforeEach(async () => {
    root = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-full-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', root]);
    store = await openStore(root);
    await store.createBucket(BUCKET, {});
    await store.put(BUCKET, 'old', body('old bytes'), { facts: { metadata: { version: 'old' } } });
  });
  afterEach(async () => {
    await store.close();
    execFileSync('umount', [root]);
    fs.rmdirSync(root);
  });
  /** Leaves no byte. @returns the file that does it, to be unlinked. */
  const fill = (): string => {
    const file = path.join(root, BUCKET, 'filler');
    const fd = fs.openSync(file, 'a');
    for (const size of [65_536, 4096, 1]) {
      try {
        for (;;) fs.writeSync(fd, Buffer.alloc(size));
      } catch (error) {
        expect(error).toMatchObject({ code: 'ENOSPC' });
      }
    }
    fs.closeSync(fd);
    return file;
  };
  const staging = (): string[] =>
    fs.readdirSync(path.join(root, '.gos3rve/staging')).filter((name) => name !== 'clock' && name !== 'uploads');

  it('refuses an upload that does not fit, and keeps the old object', async () => {
    for (const key of ['new', 'old', 'a/b/c']) {
      await refuses(store.put(BUCKET, key, body(Buffer.alloc(16 << 20))), 'InsufficientStorage');
    }
    expect(staging()).toEqual([]);
    expect(fs.readdirSync(path.join(root, BUCKET))).toEqual(['old']);
    const { info, bytes } = await get(store, 'old');
    expect([bytes.toString(), info.facts.metadata]).toEqual(['old bytes', { version: 'old' }]);
  });

  it('reads, lists and deletes with no byte left, and goes on', async () => {
    for (let n = 0; n < 20; n++) await put(store, `n${n}`);
    const filler = fill();
    for (let n = 0; n < 5; n++) await refuses(put(store, `late${n}`), 'InsufficientStorage');
    expect(staging()).toEqual([]);
    expect(await text(store, 'old')).toBe('old bytes');
    for (let n = 0; n < 20; n++) expect(await store.delete(BUCKET, `n${n}`)).toBe(true);
    fs.unlinkSync(filler);
    await put(store, 'after');
    expect(await list(store)).toEqual(['after', 'old']);
  });

  it('tells of facts that find no room, and has either the old or the new', { timeout: 60_000 }, async () => {
    const filler = fill();
    let last = 0;
    let failed = 0;
    for (let n = 1; failed < 5 && n < 2000; n++) {
      const tags: [string, string][] = [
        ['n', String(n)],
        ['long', 'x'.repeat(1500)],
      ];
      try {
        await store.updateFacts(BUCKET, 'old', (facts) => ({ ...facts, tags }));
        last = n;
      } catch (error) {
        failed++;
        expect(error).toBeInstanceOf(S3Error);
        expect(error).toMatchObject({ code: 'InsufficientStorage' });
      }
    }
    expect(failed).toBe(5);
    const seen = async (): Promise<unknown> => (await store.head(BUCKET, 'old')).facts.tags?.[0]?.[1];
    expect(await seen()).toBe(last === 0 ? undefined : String(last));
    expect(await text(store, 'old')).toBe('old bytes');
    fs.unlinkSync(filler);
    await store.updateFacts(BUCKET, 'old', (facts) => ({ ...facts, tags: [['n', 'after']] }));
    await store.close();
    fs.rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
    store = await openStore(root);
    expect(await seen()).toBe('after');
    expect(await text(store, 'old')).toBe('old bytes');
  });
});
