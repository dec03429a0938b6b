/** A bucket is its folder: another program renames it, and all that belongs to the bucket goes along. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body, refuses, text } from '../suites/store/kit.js';

const OPTIONS = { durability: 'fast', quietMs: 300 } as const;
const OVERFLOW = 'a//b';
const TAGS: [string, string][] = [['of', 'box']];

let root: string;
let store: LocalStore;
let warnings: string[];

async function open(): Promise<void> {
  store = await openStore(root, {
    ...OPTIONS,
    log: (level, message) => void (level === 'warn' && warnings.push(message)),
  });
}
beforeEach(async () => {
  root = mkdtempSync(path.join(tmpdir(), 'gos3rve-bucket-'));
  warnings = [];
  await open();
});
afterEach(async () => {
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

const at = (...names: string[]): string => path.join(root, ...names);

async function make(bucket: string): Promise<string> {
  await store.createBucket(bucket, {});
  await store.updateBucket(bucket, (settings) => ({ ...settings, tags: [['of', bucket]], policy: `of ${bucket}` }));
  await store.put(bucket, OVERFLOW, body(`over ${bucket}`), { facts: { metadata: { of: bucket } } });
  await store.put(bucket, 'plain', body(`plain ${bucket}`));
  const { uploadId } = await store.createUpload(bucket, 'large', { facts: { metadata: { of: bucket } } });
  await store.putPart(bucket, 'large', uploadId, 1, body('part'));
  return uploadId;
}
const keys = async (bucket: string): Promise<string[]> =>
  (await store.list(bucket, { prefix: '', delimiter: '', after: '', max: 100 })).entries.flatMap((entry) =>
    'key' in entry ? [entry.key] : [],
  );
const uploads = async (bucket: string): Promise<number> =>
  (await store.listUploads(bucket, { prefix: '', delimiter: '', keyMarker: '', uploadIdMarker: '', max: 10 })).entries
    .length;

/** All that {@link make} made is the bucket's, whatever its name is now. */
async function isAllOf(made: string, bucket: string, uploadId: string): Promise<void> {
  const { settings } = await store.getBucket(bucket);
  expect(settings).toMatchObject({ tags: [['of', made]], policy: `of ${made}` });
  expect(await keys(bucket)).toEqual([OVERFLOW, 'plain']);
  const info = await store.head(bucket, OVERFLOW);
  expect(info.facts.metadata).toEqual({ of: made });
  expect(await text(store, OVERFLOW, bucket)).toBe(`over ${made}`);
  expect(await uploads(bucket)).toBe(1);
  const { parts } = await store.listParts(bucket, 'large', uploadId, { after: 0, max: 10 });
  await store.completeUpload(
    bucket,
    'large',
    uploadId,
    parts.map(({ partNumber, etag }) => ({ partNumber, etag, checksums: {} })),
  );
  expect((await store.head(bucket, 'large')).facts.metadata).toEqual({ of: made });
  await store.delete(bucket, 'large');
}
async function isBare(bucket: string): Promise<void> {
  const { settings } = await store.getBucket(bucket);
  expect(settings.tags).toBeUndefined();
  expect(settings.policy).toBeUndefined();
  expect(await keys(bucket)).toEqual([]);
  expect(await uploads(bucket)).toBe(0);
}

/** How the rename comes about. */
const WAYS: [string, (act: () => void) => Promise<void>][] = [
  [
    'while it is served',
    (act) => {
      act();
      return Promise.resolve();
    },
  ],
  [
    'while nothing runs',
    async (act) => {
      await store.close();
      act();
      await open();
    },
  ],
  [
    'while nothing runs, and the index is lost',
    async (act) => {
      await store.close();
      act();
      rmSync(at('.gos3rve/index'), { recursive: true });
      await open();
    },
  ],
];

describe.each(WAYS)('a bucket that another program renames %s', (_when, happens) => {
  it.each([
    ['asked for by its new name', ['crate', 'box']],
    ['asked for by its old name first', ['box', 'crate']],
  ])('takes all along, %s', async (_how, order) => {
    const id = await make('box');
    await happens(() => {
      renameSync(at('box'), at('crate'));
      mkdirSync(at('box'));
    });
    for (const name of order) await store.getBucket(name);
    await isAllOf('box', 'crate', id);
    await isBare('box');
    expect(readdirSync(at('.gos3rve/buckets'))).toEqual(['crate.json']);
    expect(warnings).toEqual([]);
    // and once more
    renameSync(at('crate'), at('chest'));
    expect((await store.getBucket('chest')).settings.tags).toEqual(TAGS);
    expect(await keys('chest')).toEqual([OVERFLOW, 'plain']);
    await store.close();
    rmSync(at('.gos3rve/index'), { recursive: true });
    await open();
    expect(await keys('chest')).toEqual([OVERFLOW, 'plain']);
    expect((await store.head('chest', OVERFLOW)).facts.metadata).toEqual({ of: 'box' });
  });

  it('keeps what is whose when two are swapped', async () => {
    const [box, crate] = [await make('box'), await make('crate')];
    await happens(() => {
      renameSync(at('box'), at('tmp'));
      renameSync(at('crate'), at('box'));
      renameSync(at('tmp'), at('crate'));
    });
    await store.listBuckets();
    await isAllOf('box', 'crate', box);
    await isAllOf('crate', 'box', crate);
  });

  it('is not governed by what a bucket of its new name left behind', async () => {
    const id = await make('box');
    await make('crate');
    await happens(() => {
      rmSync(at('crate'), { recursive: true });
      renameSync(at('box'), at('crate'));
    });
    await isAllOf('box', 'crate', id);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/replaced by another/);
    mkdirSync(at('box'));
    await isBare('box');
    // nothing was thrown away
    expect(readdirSync(at('.gos3rve/buckets')).filter((name) => name.startsWith('%2F'))).toHaveLength(1);
  });
});

describe.each(WAYS)(
  'a bucket that a client makes, where another program did something to the folder %s',
  (_when, happens) => {
    it.each([
      ['renamed it', false],
      ['renamed it and took the new name away again', true],
    ])('leaves all to the bucket that had the name: it %s', async (_how, again) => {
      const id = await make('box');
      await happens(() => {
        renameSync(at('box'), at('tmp'));
        if (again) renameSync(at('tmp'), at('box'));
        renameSync(at(again ? 'box' : 'tmp'), at('crate'));
      });
      await store.createBucket('box', {});
      await isBare('box');
      await isAllOf('box', 'crate', id);
      expect(warnings).toEqual([]);
    });

    it('is empty where it removed the folder, and nothing is thrown away', async () => {
      const id = await make('box');
      await store.put('box', 'dir/', body(''), { facts: { metadata: { of: 'box' } } });
      await happens(() => rmSync(at('box'), { recursive: true }));
      await store.createBucket('box', { tags: [['of', 'another']] });
      expect((await store.getBucket('box')).settings.tags).toEqual([['of', 'another']]);
      await store.updateBucket('box', ({ tags: _, ...rest }) => rest);
      await isBare('box');
      await refuses(store.head('box', OVERFLOW), 'NoSuchKey');
      await refuses(store.listParts('box', 'large', id, { after: 0, max: 1 }), 'NoSuchUpload');
      expect(warnings.filter((one) => one.includes('made anew'))).toHaveLength(1);
      expect(readdirSync(at('.gos3rve/buckets')).filter((name) => name.startsWith('%2F'))).toHaveLength(1);
      // what was said of the old bucket's keys says nothing of the new one's
      mkdirSync(at('box/dir'));
      writeFileSync(at('box/plain'), 'plain box');
      expect(await keys('box')).toEqual(['plain']);
      await store.close();
      rmSync(at('.gos3rve/index'), { recursive: true });
      await open();
      expect(await keys('box')).toEqual(['plain']);
      await refuses(store.head('box', OVERFLOW), 'NoSuchKey');
      // so it can be deleted as well
      rmSync(at('box/dir'), { recursive: true });
      await store.delete('box', 'plain');
      await store.deleteBucket('box');
    });

    it('is another one than that whose folder turns up again', async () => {
      const id = await make('box');
      const away = mkdtempSync(path.join(tmpdir(), 'gos3rve-away-'));
      try {
        await happens(() => renameSync(at('box'), path.join(away, 'box')));
        await store.createBucket('box', {});
        await store.put('box', 'mine', body('x'));
        renameSync(path.join(away, 'box'), at('crate'));
        await isAllOf('box', 'crate', id);
        expect(await keys('box')).toEqual(['mine']);
      } finally {
        rmSync(away, { recursive: true, force: true });
      }
    });
  },
);

it('a folder of the name that another program makes is the bucket again', async () => {
  await make('box');
  rmSync(at('box'), { recursive: true });
  mkdirSync(at('box'));
  expect((await store.getBucket('box')).settings.tags).toEqual(TAGS);
  expect(await keys('box')).toEqual([OVERFLOW]);
});

it('objects of a removed bucket are told of as removed, though one of its name was made before anybody looked', async () => {
  store.changes.want(600_000);
  await make('box');
  rmSync(at('box'), { recursive: true });
  await store.createBucket('box', {});
  const reader = store.changes.read('now');
  await new Promise((resolve) => setTimeout(resolve, OPTIONS.quietMs + 100));
  await store.live.settleRenames();
  const { entries } = store.live.untold(undefined, 10);
  expect(entries).toEqual([{ dirs: ['box'], name: 'plain', event: 'removed' }]);
  for (const entry of entries) store.changes.see(entry, undefined);
  expect(reader.next(10)).toMatchObject([
    { event: 'ObjectRemoved:Delete', names: [{ bucket: 'box', key: 'plain' }], outside: true },
  ]);
});

it.each(['this process', 'another process'])(
  'a bucket that is renamed and renamed back has all of it again, seen by %s',
  async (seen) => {
    const uploadId = await make('one');
    const other = seen === 'this process' ? store : await openStore(root, OPTIONS);
    try {
      for (let round = 0; round < 2; round++) {
        renameSync(at('one'), at('two'));
        expect((await other.getBucket('two')).settings.policy).toBe('of one');
        renameSync(at('two'), at('one'));
        expect((await store.getBucket('one')).settings.policy).toBe('of one');
      }
      await isAllOf('one', 'one', uploadId);
    } finally {
      if (other !== store) await other.close();
    }
  },
);

it('settings that are mended by hand count at once, also with the size and time that they had', async () => {
  await store.createBucket('one', {});
  await store.updateBucket('one', (settings) => ({ ...settings, policy: 'old' }));
  expect((await store.getBucket('one')).settings.policy).toBe('old');
  const file = at('.gos3rve/buckets/one.json');
  utimesSync(file, 1_600_000_000, 1_600_000_000);
  expect((await store.getBucket('one')).settings.policy).toBe('old');
  await sleep(50);
  writeFileSync(file, readFileSync(file, 'utf8').replace('"old"', '"new"'));
  utimesSync(file, 1_600_000_000, 1_600_000_000);
  expect((await store.getBucket('one')).settings.policy).toBe('new');
});

describe('a folder in a bucket that another program renames', () => {
  it('takes objects along whose keys are no paths', async () => {
    await store.createBucket('box', {});
    await store.put('box', 'dir//x', body('over'));
    await store.put('box', 'dir/y', body('plain'));
    await store.put('box', 'other//x', body('other'));
    renameSync(at('box/dir'), at('box/dir2'));
    await store.live.lookAtDir(['box']);
    expect(await keys('box')).toEqual(['dir2//x', 'dir2/y', 'other//x']);
    expect(await text(store, 'dir2//x', 'box')).toBe('over');
    await refuses(store.head('box', 'dir//x'), 'NoSuchKey');
  });

  it('that was a bucket leaves its settings, with a word', async () => {
    await make('box');
    await store.createBucket('other', {});
    renameSync(at('box'), at('other/box'));
    await store.live.lookAtDir(['other']);
    expect(warnings.filter((one) => one.includes('settings stay behind'))).toHaveLength(1);
    expect(existsSync(at('.gos3rve/buckets/box.json'))).toBe(true);
    expect(await keys('other')).toEqual(['box/a//b', 'box/plain']);
    writeFileSync(at('other/new'), 'x');
  });
});
