import { mkdirSync, mkdtempSync, realpathSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { clientMtime } from '../../src/store/mtime.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body } from '../suites/store/kit.js';

describe('clientMtime', () => {
  it.each([
    [{ mtime: '1700000000.123456789' }, 1700000000.1234567],
    [{ mtime: '0' }, 0],
    [{ 's3cmd-attrs': 'atime:1700000001/ctime:1/gid:0/mtime:1700000000/uid:0/uname:root' }, 1700000000],
    [{ mtime: 'yesterday' }, undefined],
    [{ mtime: '-1.5' }, -1.5],
    [{ mtime: '-2147483649' }, undefined],
    [{ mtime: '--1' }, undefined],
    [{ mtime: '1e9' }, undefined],
    [{ mtime: '99999999999' }, undefined],
    [{ 's3cmd-attrs': 'uid:0' }, undefined],
    [{ other: '1' }, undefined],
  ])('reads %j as %j', (metadata, expected) => {
    expect(clientMtime({ metadata })).toBe(expected);
  });
});

describe('x-amz-meta-mtime', () => {
  let root: string;
  let store: LocalStore;
  beforeEach(async () => {
    root = realpathSync(mkdtempSync(join(tmpdir(), 'gos3rve-mtime-')));
    mkdirSync(join(root, 'b'));
    store = await openStore(root, { minPartSize: 1 });
  });
  afterEach(async () => {
    await store.close();
    rmSync(root, { recursive: true });
  });
  const facts = { metadata: { mtime: '1500000000.5' } };
  const mtime = (key: string): number => statSync(join(root, 'b', key)).mtimeMs;

  it('is the mtime of a file that is put, copied or made of parts, and what the index knows holds', async () => {
    const { etag } = await store.put('b', 'put', body('1'), { facts });
    await store.copy({ bucket: 'b', key: 'put' }, { bucket: 'b', key: 'copied' });
    const { uploadId } = await store.createUpload('b', 'parts', { facts });
    const part = await store.putPart('b', 'parts', uploadId, 1, body('1'));
    await store.completeUpload('b', 'parts', uploadId, [{ partNumber: 1, etag: part.etag, checksums: {} }]);
    for (const key of ['put', 'copied', 'parts']) {
      expect(mtime(key), key).toBe(1_500_000_000_500);
      expect((await store.head('b', key)).lastModified, key).toBe(1_500_000_000_500);
    }
    for (const [key, mtime] of [
      ['of 1960', -304_819_200],
      ['of 1969', -1.5],
    ] as const) {
      await store.put('b', key, body('1'), { facts: { metadata: { mtime: `${mtime}` } } });
      expect((await store.head('b', key)).lastModified, key).toBe(mtime * 1000);
    }
    expect((await store.head('b', 'put')).etag).toBe(etag);
    expect((await store.head('b', 'parts')).etag).toMatch(/-1$/);
    expect(store.live.hashes).toBe(0);
  });

  it('that makes no sense is metadata and nothing more', async () => {
    const before = Date.now() - 2000;
    await store.put('b', 'k', body('1'), { facts: { metadata: { mtime: 'soon' } } });
    expect(mtime('k')).toBeGreaterThan(before);
    expect((await store.head('b', 'k')).facts.metadata).toEqual({ mtime: 'soon' });
  });
});
