/** Pages that were listed a moment ago: listing them again costs little, and no change is missed - of files, of what is said of them, of folders. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body } from '../suites/store/kit.js';

const SOME_TIME = 1_700_000_000;
const NAMES = Array.from({ length: 40 }, (_, i) => `f${String(i).padStart(2, '0')}`);

let root: string;
let store: LocalStore;
const at = (...names: string[]): string => join(root, 'b', ...names);

/** What is listed, file by file. */
async function listed(of = store, delimiter = ''): Promise<string[]> {
  const { entries } = await of.list('b', { prefix: '', delimiter, after: '', max: 1000 });
  return entries.map((entry) =>
    'prefix' in entry
      ? entry.prefix
      : JSON.stringify([entry.key, entry.etag, entry.size, entry.lastModified, entry.checksum, entry.facts]),
  );
}

/** What somebody lists who has never listed before. */
async function truth(delimiter = ''): Promise<string[]> {
  const other = await openStore(root);
  try {
    return await listed(other, delimiter);
  } finally {
    await other.close();
  }
}

beforeEach(async () => {
  root = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), 'gos3rve-pages-')));
  for (const dir of ['d', 'e/e']) fs.mkdirSync(at(dir), { recursive: true });
  for (const name of NAMES) {
    fs.writeFileSync(at('d', name), name);
    fs.utimesSync(at('d', name), SOME_TIME, SOME_TIME);
  }
  fs.writeFileSync(at('e/e/only'), 'only');
  store = await openStore(root);
  // nothing is kept of what has just changed: it is later, then
  const real = Date.now;
  vi.spyOn(Date, 'now').mockImplementation(() => real() + 60_000);
  for (let i = 0; i < 3; i++) await listed();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await store.close();
  fs.rmSync(root, { recursive: true, force: true });
});

it('costs one look at each file and a few at their folders', async () => {
  const { lstatSync } = fs;
  let looks = 0;
  const counted = ((path: fs.PathLike, options: fs.StatSyncOptions) => {
    if (String(path).startsWith(at())) looks++;
    return lstatSync(path, options as { bigint: true });
  }) as typeof lstatSync;
  Object.assign(fs, { lstatSync: counted });
  syncBuiltinESMExports();
  try {
    expect(await listed()).toHaveLength(NAMES.length + 1);
  } finally {
    Object.assign(fs, { lstatSync });
    syncBuiltinESMExports();
  }
  expect(looks).toBeGreaterThanOrEqual(NAMES.length + 1);
  expect(looks).toBeLessThan(NAMES.length + 12);
});

describe('shows at once what another program does:', () => {
  it.each<[string, () => void]>([
    ['a file overwritten', () => fs.writeFileSync(at('d/f07'), 'more')],
    [
      'a file overwritten with its old size and mtime',
      () => {
        const fd = fs.openSync(at('d/f07'), 'r+');
        fs.writeSync(fd, 'new');
        fs.futimesSync(fd, SOME_TIME, SOME_TIME);
        fs.closeSync(fd);
      },
    ],
    [
      'a file replaced by one of the same size and mtime',
      () => {
        fs.writeFileSync(at('new'), 'new');
        fs.utimesSync(at('new'), SOME_TIME, SOME_TIME);
        fs.renameSync(at('new'), at('d/f07'));
      },
    ],
    ['a file cut', () => fs.truncateSync(at('d/f07'), 1)],
    ['a file touched', () => fs.utimesSync(at('d/f07'), 5, 5)],
    ['a file removed', () => fs.unlinkSync(at('d/f07'))],
    ['a file renamed', () => fs.renameSync(at('d/f07'), at('d/zz'))],
    ['a file renamed over another', () => fs.renameSync(at('d/f07'), at('d/f03'))],
    ['a new file', () => fs.writeFileSync(at('d/f071'), 'new')],
    [
      'a file turned into a folder',
      () => {
        fs.unlinkSync(at('d/f07'));
        fs.mkdirSync(at('d/f07'));
        fs.writeFileSync(at('d/f07/x'), 'x');
      },
    ],
    [
      'a file turned into a link that leads out',
      () => {
        fs.writeFileSync(join(root, 'secret'), 'new');
        fs.unlinkSync(at('d/f07'));
        fs.symlinkSync(join(root, 'secret'), at('d/f07'));
      },
    ],
    [
      'two files exchanged',
      () => {
        fs.renameSync(at('d/f07'), at('d/tmp'));
        fs.renameSync(at('d/f08'), at('d/f07'));
        fs.renameSync(at('d/tmp'), at('d/f08'));
      },
    ],
    ['the folder renamed', () => fs.renameSync(at('d'), at('g'))],
    [
      'the folder exchanged with another',
      () => {
        fs.renameSync(at('d'), at('g'));
        fs.renameSync(at('e/e'), at('d'));
        fs.renameSync(at('g'), at('e/e'));
      },
    ],
    ['the last file of a folder removed', () => fs.unlinkSync(at('e/e/only'))],
  ])('%s', async (_what, change) => {
    for (const delimiter of ['', '/']) await listed(store, delimiter);
    change();
    const now = [await listed(), await listed(store, '/')];
    expect(now).toEqual([await truth(), await truth('/')]);
  });
});

it('shows at once what another process does through its store', async () => {
  const other = await openStore(root);
  try {
    for (const act of [
      () => other.put('b', 'd/f07', body('new')),
      () => other.put('b', 'd/f07', body('new'), { facts: { storageClass: 'STANDARD_IA' } }),
      () => other.delete('b', 'd/f08'),
      () => other.append('b', 'd/f07', 3, body('more')),
      () => other.move({ bucket: 'b', key: 'd/f09' }, { bucket: 'b', key: 'd/f08' }),
    ]) {
      await act();
      expect(await listed()).toEqual(await truth());
      expect(await listed()).toEqual(await listed(other));
    }
  } finally {
    await other.close();
  }
});
