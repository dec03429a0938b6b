/** What makes room works on a disk that others have filled to the last block, and what only looks takes none. */
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { gc, type GcReport } from '../../src/jobs/gc.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { canMount } from '../e2e/disk.js';
import { FullDisk, type Kind } from '../e2e/full.js';
import { body, refuses } from '../suites/store/kit.js';

const PART = 3 << 20;

describe.skipIf(!canMount()).each<[Kind, number]>([
  ['tmpfs', 12],
  ['ext4', 24],
])('a full disk: %s (needs root, for mount)', (kind, mib) => {
  let disk: FullDisk;
  let store: LocalStore;
  let uploadId = '';
  beforeEach(async () => {
    disk = new FullDisk(kind, mib);
    store = await openStore(disk.root, { minFree: 0 });
    await store.createBucket('box', {});
    await store.put('box', 'd/object', body('object'));
    ({ uploadId } = await store.createUpload('box', 'multi', {}));
    await store.putPart('box', 'multi', uploadId, 1, body(Buffer.alloc(PART)));
    // as a command opens it, with room for nothing in its index
    await store.close();
    disk.fill();
    store = await openStore(disk.root, { minFree: 0 });
  });
  afterEach(async () => {
    await store.close();
    disk.remove();
  });
  const collect = (dryRun: boolean): Promise<GcReport> =>
    gc(store.collector, { dryRun, signal: new AbortController().signal, olderThan: -1000, keepGone: 0 });
  const free = (): number => {
    const { bavail, bsize } = fs.statfsSync(disk.root);
    return bavail * bsize;
  };

  it('is freed of stale uploads by gc', async () => {
    expect(await collect(false)).toMatchObject({ busy: false, uploads: 1 });
    expect(free()).toBeGreaterThan(PART / 2);
    await refuses(store.listParts('box', 'multi', uploadId, { after: 0, max: 10 }), 'NoSuchUpload');
  });

  it('is not written to by a dry run of gc', async () => {
    const reserve = path.join(disk.root, '.gos3rve/reserve');
    const kept = fs.statSync(reserve).size;
    expect(await collect(true)).toMatchObject({ busy: false, uploads: 1 });
    expect(fs.statSync(reserve).size).toBe(kept);
    expect((await store.listParts('box', 'multi', uploadId, { after: 0, max: 10 })).parts).toHaveLength(1);
  });

  it('is freed of an upload that is aborted', async () => {
    await store.abortUpload('box', 'multi', uploadId);
    expect(free()).toBeGreaterThan(PART / 2);
    expect(fs.readdirSync(path.join(disk.root, '.gos3rve/staging/uploads'))).toEqual([]);
  });

  it('keeps an upload whole that cannot be aborted', async () => {
    fs.rmSync(path.join(disk.root, '.gos3rve/reserve'));
    disk.fill();
    const done = await store.abortUpload('box', 'multi', uploadId).then(
      () => true,
      (error: unknown) => {
        expect(error).toMatchObject({ code: 'InsufficientStorage' });
        return false;
      },
    );
    if (done) return;
    disk.empty();
    const { parts } = await store.listParts('box', 'multi', uploadId, { after: 0, max: 10 });
    await store.completeUpload('box', 'multi', uploadId, [
      { ...(parts[0] ?? { partNumber: 0, etag: '' }), checksums: {} },
    ]);
    expect((await store.head('box', 'multi')).size).toBe(PART);
  });
});
