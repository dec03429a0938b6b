/** A folder that another program has renamed, or moved elsewhere, and a client who uses its old name before anybody has looked (DESIGN rules 1, 2 and 4). */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { KeyFacts } from '../../src/base/model.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body, get, list, refuses } from '../suites/store/kit.js';

const BUCKET = 'box';
const QUIET_MS = 400;
const OPTIONS = { durability: 'fast', quietMs: QUIET_MS, minPartSize: 1 } as const;

let root: string;
let store: LocalStore;
const at = (name: string): string => path.join(root, BUCKET, name);
const said = (what: string): KeyFacts => ({ contentType: `text/${what}`, metadata: { v: what } });
const put = (key: string, what: string): Promise<unknown> => store.put(BUCKET, key, body(what), { facts: said(what) });

beforeEach(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-refilled-'));
  fs.mkdirSync(path.join(root, BUCKET));
  store = await openStore(root, OPTIONS);
});
afterEach(async () => {
  await store.close();
  fs.rmSync(root, { recursive: true });
});

/** By another program. */
function rename(from: string, to: string): void {
  fs.mkdirSync(path.dirname(at(to)), { recursive: true });
  fs.renameSync(at(from), at(to));
}

/** The index is lost; journal and tree stay. */
async function rebuild(): Promise<void> {
  await store.close();
  fs.rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
  store = await openStore(root, OPTIONS);
}

const moment = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, QUIET_MS + 100));

/** Each key with its bytes, which tell what was said of it; markers with that alone. */
async function expectAll(wanted: Record<string, string>): Promise<void> {
  const told: Record<string, string> = {};
  const right: Record<string, string> = {};
  for (const key of Object.keys(wanted)) {
    const { info, bytes } = await get(store, key);
    told[key] = `${bytes.toString()} ${String(info.facts.contentType)} ${String(info.facts.metadata?.['v'])}`;
    const what = wanted[key] ?? '';
    right[key] = `${key.endsWith('/') ? '' : what} text/${what} ${what}`;
  }
  expect(told).toEqual(right);
}

/** Now, after a moment, and by the journal alone. */
async function expectLasting(wanted: Record<string, string>): Promise<void> {
  await expectAll(wanted);
  await moment();
  await store.live.settleRenames();
  await expectAll(wanted);
  expect(await list(store)).toEqual(Object.keys(wanted).sort());
  await rebuild();
  await expectAll(wanted);
}

interface Write {
  how: string;
  act: () => Promise<unknown>;
  wanted: Record<string, string>;
}
const WRITES: Write[] = [
  { how: 'an overwrite', act: () => put('p/b', 'two'), wanted: { 'p/b': 'two' } },
  { how: 'a new key', act: () => put('p/z', 'two'), wanted: { 'p/z': 'two' } },
  {
    how: 'two objects',
    act: async () => {
      await put('p/b', 'two');
      await put('p/z', 'three');
    },
    wanted: { 'p/b': 'two', 'p/z': 'three' },
  },
  { how: 'an object further below', act: () => put('p/d/b', 'two'), wanted: { 'p/d/b': 'two' } },
  {
    how: 'an upload',
    act: async () => {
      const { uploadId } = await store.createUpload(BUCKET, 'p/b', { facts: said('two') });
      const { etag } = await store.putPart(BUCKET, 'p/b', uploadId, 1, body('two'));
      await store.completeUpload(BUCKET, 'p/b', uploadId, [{ partNumber: 1, etag, checksums: {} }]);
    },
    wanted: { 'p/b': 'two' },
  },
  {
    how: 'a copy',
    act: () => store.copy({ bucket: BUCKET, key: 'other' }, { bucket: BUCKET, key: 'p/b' }),
    wanted: { 'p/b': 'other' },
  },
  {
    how: 'a move',
    act: async () => {
      await put('source', 'two');
      await store.move({ bucket: BUCKET, key: 'source' }, { bucket: BUCKET, key: 'p/b' });
    },
    wanted: { 'p/b': 'two' },
  },
  {
    how: 'a prefix that is moved there',
    act: async () => {
      await put('from/b', 'two');
      await store.movePrefix({ bucket: BUCKET, key: 'from/' }, { bucket: BUCKET, key: 'p/' });
    },
    wanted: { 'p/b': 'two' },
  },
  {
    how: 'a prefix that is moved below it',
    act: async () => {
      await put('from/b', 'two');
      await store.movePrefix({ bucket: BUCKET, key: 'from/' }, { bucket: BUCKET, key: 'p/d/' });
    },
    wanted: { 'p/d/b': 'two' },
  },
  {
    how: 'an append',
    act: () => store.append(BUCKET, 'p/b', 0, body('two'), { facts: said('two') }),
    wanted: { 'p/b': 'two' },
  },
  {
    how: 'a marker',
    act: () => store.put(BUCKET, 'p/', body(''), { facts: said('two') }),
    wanted: { 'p/': 'two' },
  },
  {
    how: 'a marker below',
    act: () => store.put(BUCKET, 'p/d/', body(''), { facts: said('two') }),
    wanted: { 'p/d/': 'two' },
  },
  {
    how: 'an object, which is tagged and deleted again',
    act: async () => {
      await put('p/b', 'two');
      await store.updateFacts(BUCKET, 'p/b', () => said('three'));
      await store.delete(BUCKET, 'p/b');
    },
    wanted: {},
  },
  { how: 'the removal of what is there no more', act: () => store.delete(BUCKET, 'p/b'), wanted: {} },
];
/** Where the folder went: beside its old name, and where nobody looks for it. */
const PLACES = ['q', 'else/where/q'];

describe.each(PLACES)('a folder that is %s by now', (q) => {
  const kept = { [`${q}/b`]: 'one', [`${q}/c`]: 'onec', [`${q}/d/b`]: 'deep', [`${q}/m/`]: 'mark', other: 'other' };

  beforeEach(async () => {
    for (const [key, what] of Object.entries({ ...kept }))
      if (key.endsWith('/')) await store.put(BUCKET, key.replace(q, 'p'), body(''), { facts: said(what) });
      else await put(key.replace(q, 'p'), what);
    rename('p', q);
  });

  for (const { how, act, wanted } of WRITES) {
    // what a client has deleted there may be what it speaks of
    if (how.startsWith('the removal') && q !== 'q') continue;
    it(`keeps what was said of all in it, whatever its old name gets: ${how}`, async () => {
      await act();
      await expectLasting({ ...kept, ...wanted });
    });
    it(`and by the journal alone: ${how}`, async () => {
      await act();
      await rebuild();
      await expectLasting({ ...kept, ...wanted });
    });
  }

  it('keeps it where others have made the folder anew', async () => {
    fs.mkdirSync(at('p'));
    await put('p/b', 'two');
    await put('p/c', 'three');
    await expectLasting({ ...kept, 'p/b': 'two', 'p/c': 'three' });
  });

  it('keeps it where a client uses the old name time and again', async () => {
    await put('p/b', 'two');
    rename('p', `${q}2`);
    await put('p/b', 'three');
    rename('p', `${q}3`);
    await put('p/b', 'four');
    await expectLasting({ ...kept, [`${q}2/b`]: 'two', [`${q}3/b`]: 'three', 'p/b': 'four' });
  });
});

describe('a folder whose place another one has', () => {
  it.each([
    ['put', () => put('p/b', 'three'), { 'p/b': 'three', 'p/c': 'twoc' }],
    ['delete', () => store.delete(BUCKET, 'p/b'), { 'p/c': 'twoc' }],
    [
      'tag',
      () => store.updateFacts(BUCKET, 'p/c', (facts) => ({ ...facts, tags: [['t', 'v']] })),
      { 'p/b': 'two', 'p/c': 'twoc' },
    ],
  ] as [string, () => Promise<unknown>, Record<string, string>][])(
    'keeps what was said of it through a %s there',
    async (_how, act, wanted) => {
      for (const [key, what] of Object.entries({ 'p/b': 'one', 'p/c': 'onec', 'r/b': 'two', 'r/c': 'twoc' }))
        await put(key, what);
      rename('p', 'else/t');
      rename('r', 'p');
      rename('else/t', 'r');
      await act();
      await expectLasting({ 'r/b': 'one', 'r/c': 'onec', ...wanted });
    },
  );
});

describe('a folder that others have removed', () => {
  const content = { b: 'one', c: 'onec' };

  beforeEach(async () => {
    for (const [name, what] of Object.entries(content)) await put(`p/${name}`, what);
    fs.cpSync(at('p'), path.join(root, '.copy'), { recursive: true, preserveTimestamps: true });
    fs.rmSync(at('p'), { recursive: true });
  });
  const restore = (): void =>
    fs.cpSync(path.join(root, '.copy'), at('p'), { recursive: true, preserveTimestamps: true, force: false });

  it.each([false, true])(
    'gives what was said back to its keys when they are restored (after a moment: %s)',
    async (late) => {
      await put('p/z', 'two');
      if (late) await moment();
      if (late) await store.live.settleRenames();
      restore();
      if (!late) expect(await list(store)).toEqual(['p/b', 'p/c', 'p/z']);
      await moment();
      await store.live.settleRenames();
      await expectLasting({ 'p/b': 'one', 'p/c': 'onec', 'p/z': 'two' });
    },
  );

  it('keeps it through a put into the one that was copied to its place', async () => {
    restore();
    await put('p/z', 'two');
    await expectLasting({ 'p/b': 'one', 'p/c': 'onec', 'p/z': 'two' });
  });

  it('is forgotten by a delete of its keys', async () => {
    await store.delete(BUCKET, 'p/b');
    restore();
    await refuses(store.head(BUCKET, 'p/none'), 'NoSuchKey');
    expect((await store.head(BUCKET, 'p/b')).facts.metadata).toBe(undefined);
    await expectAll({ 'p/c': 'onec' });
  });
});
