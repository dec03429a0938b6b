/** Files and folders dated outside 1677 to 2262, the years that 64 bits of ns can hold, are files and folders like others. */
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body, list, text } from '../suites/store/kit.js';

/** tmpfs holds any time, ext4 those of 1901 to 2446. */
const DIRECTORIES = [...new Set([tmpdir(), ...(existsSync('/dev/shm') ? ['/dev/shm'] : [])])];

const DATES = ['0001-01-01T00:00:00.250Z', '1600-01-01T00:00:00.000Z', '2262-04-12T00:00:00.000Z'];
DATES.push('2300-01-01T00:00:00.500Z', '2446-01-01T00:00:00.000Z', '2600-01-01T00:00:00.000Z');

/** As a text, for Node takes a negative number for now. @returns false if the file system cannot hold it. */
function date(path: string, iso: string): boolean {
  const seconds = String(Date.parse(iso) / 1000);
  try {
    utimesSync(path, seconds, seconds);
  } catch {
    return false;
  }
  return statSync(path).mtimeMs === Date.parse(iso);
}

describe.each(DIRECTORIES)('in %s', (directory) => {
  let root: string;
  let store: LocalStore;
  beforeEach(async () => {
    root = realpathSync(mkdtempSync(join(directory, 'gos3rve-dates-')));
    mkdirSync(join(root, 'b/sub'), { recursive: true });
    writeFileSync(join(root, 'b/other'), 'other');
    writeFileSync(join(root, 'b/sub/k'), 'content');
    store = await openStore(root);
  });
  afterEach(async () => {
    await store.close();
    rmSync(root, { recursive: true });
  });
  const reopen = async (lost = false): Promise<void> => {
    await store.close();
    if (lost) rmSync(join(root, '.gos3rve/index'), { recursive: true });
    store = await openStore(root);
  };

  it.each(DATES)('a file of %s is listed, read, found again, copied, overwritten and deleted', async (iso) => {
    if (!date(join(root, 'b/sub/k'), iso)) return;
    const facts = { metadata: { who: 'me' } };
    expect(await list(store, {}, 'b')).toEqual(['other', 'sub/k']);
    expect(await text(store, 'sub/k', 'b')).toBe('content');
    await store.updateFacts('b', 'sub/k', () => facts);
    const told = await store.head('b', 'sub/k');
    expect(new Date(told.lastModified).toISOString()).toBe(iso);
    for (const lost of [false, true]) {
      await reopen(lost);
      const { etag, lastModified } = await store.head('b', 'sub/k');
      expect({ etag, lastModified }).toEqual({ etag: told.etag, lastModified: told.lastModified });
      expect((await store.head('b', 'sub/k')).facts).toMatchObject(facts);
    }
    expect(store.live.hashes).toBe(0);
    await store.copy({ bucket: 'b', key: 'sub/k' }, { bucket: 'b', key: 'copy' });
    await store.move({ bucket: 'b', key: 'sub/k' }, { bucket: 'b', key: 'moved' });
    await store.put('b', 'moved', body('new'));
    expect(await text(store, 'moved', 'b')).toBe('new');
    expect(await store.delete('b', 'moved')).toBe(true);
    expect(await list(store, {}, 'b')).toEqual(['copy', 'other']);
  });

  it.each(DATES)('a folder, a bucket and a root of %s are listed, and what comes into them as well', async (iso) => {
    const paths = [join(root, 'b/sub'), join(root, 'b'), root];
    if (!paths.every((path) => date(path, iso))) return;
    expect(await list(store, {}, 'b')).toEqual(['other', 'sub/k']);
    writeFileSync(join(root, 'b/sub/new'), 'new');
    paths.forEach((path) => date(path, iso));
    await reopen();
    expect((await store.listBuckets({})).buckets.map(({ name }) => name)).toEqual(['b']);
    expect(await list(store, {}, 'b')).toEqual(['other', 'sub/k', 'sub/new']);
  });

  it('a client may send such a date, and each part of an answer says it', async () => {
    const facts = { metadata: { mtime: '9999999999.5' } };
    await store.put('b', 'k', body('1'), { facts });
    if (statSync(join(root, 'b/k')).mtimeMs !== 9_999_999_999_500) return;
    expect((await store.head('b', 'k')).lastModified).toBe(9_999_999_999_500);
    const { uploadId } = await store.createUpload('b', 'parts', { facts });
    const { etag } = await store.putPart('b', 'parts', uploadId, 1, body('1'));
    const refs = [{ partNumber: 1, etag, checksums: {} }];
    await store.completeUpload('b', 'parts', uploadId, refs);
    // a retry is answered from the journal
    expect((await store.completeUpload('b', 'parts', uploadId, refs)).lastModified).toBe(9_999_999_999_500);
  });
});
