/** Compaction: afterwards the journal alone says what it said before, whatever else happens meanwhile. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Catalog } from '../../src/catalog/catalog.js';
import { compact } from '../../src/catalog/compact.js';
import { Journal, encodeLine } from '../../src/catalog/journal.js';
import type { JournalLine } from '../../src/catalog/lines.js';
import { Index } from '../../src/catalog/lmdb.js';
import { decodeRow, pairKey, unpairKey } from '../../src/catalog/rows.js';
import { listSegments } from '../../src/catalog/segments.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { BUCKET, body, get, list, put } from '../suites/store/kit.js';

const OPTIONS = { minPartSize: 4 };

let base = '';
let root = '';
let journal = '';
let store: LocalStore;
let closing: (() => Promise<void>)[] = [];

beforeEach(async () => {
  base = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-compact-'));
  root = path.join(base, 'root');
  journal = path.join(root, '.gos3rve/journal');
  fs.mkdirSync(root);
  store = await openStore(root, OPTIONS);
  closing = [];
  await furnish();
});
afterEach(async () => {
  await store.close();
  for (const close of closing) await close();
  fs.rmSync(base, { recursive: true });
});

/** A catalog of its own on the same root, as another process has it. */
function catalog(): Catalog {
  const name = fs.readdirSync(path.join(root, '.gos3rve/index')).find((one) => one.endsWith('.mdb')) ?? '';
  const index = Index.open(path.join(root, '.gos3rve/index', name));
  const writer = new Journal(journal, undefined, () => header('test'));
  closing.push(async () => {
    await writer.close();
    await index.close();
  });
  return new Catalog(index, writer);
}
const header = (token: string): JournalLine => ({
  op: 'segment',
  version: 1,
  boot: 'b',
  pid: 1,
  host: 'h',
  time: 't',
  token,
});

/** Some of everything, some of it overwritten and deleted. */
async function furnish(): Promise<void> {
  await store.createBucket(BUCKET, {});
  for (const version of ['1', '2', '3'])
    for (let n = 0; n < 20; n++)
      await store.put(BUCKET, `a/d${n % 4}/k${n}`, body(`${version} of ${n}`), { facts: { metadata: { version } } });
  for (let n = 0; n < 5; n++) await store.delete(BUCKET, `a/d${n % 4}/k${n}`);
  await store.put(BUCKET, 'x//y\0', body('over'), { facts: { metadata: { over: 'flow' } } }).catch(() => undefined);
  await store.put(BUCKET, 'x//y', body('over'), { facts: { metadata: { over: 'flow' } } });
  await store.put(BUCKET, 'marker/', body(''), { facts: { metadata: { m: 'x' } } });
  fs.writeFileSync(path.join(root, BUCKET, 'foreign'), 'foreign');
  await store.head(BUCKET, 'foreign');
  await store.updateFacts(BUCKET, 'foreign', (facts) => ({ ...facts, tags: [['t', 'v']] }));
  for (const key of ['done', 'open']) {
    const { uploadId } = await store.createUpload(BUCKET, key, { facts: { metadata: { key } } });
    const parts = [];
    for (const partNumber of [1, 2]) {
      const { etag } = await store.putPart(BUCKET, key, uploadId, partNumber, body(`part ${partNumber}`));
      parts.push({ partNumber, etag, checksums: {} });
    }
    if (key === 'done') await store.completeUpload(BUCKET, key, uploadId, parts);
  }
}

async function look(): Promise<unknown> {
  const seen: unknown[] = [];
  for (const key of await list(store)) {
    const { info, bytes } = await get(store, key);
    const open = await store.open(BUCKET, key);
    seen.push([key, info.etag, info.facts, await open.parts(), bytes.toString()]);
    await open.close();
  }
  const uploads = await store.listUploads(BUCKET, {
    prefix: '',
    delimiter: '',
    keyMarker: '',
    uploadIdMarker: '',
    max: 9,
  });
  for (const entry of uploads.entries) {
    if (!('uploadId' in entry)) continue;
    seen.push(await store.listParts(BUCKET, entry.key, entry.uploadId, { after: 0, max: 9 }));
  }
  return seen;
}

async function reopened(indexLost: boolean): Promise<void> {
  await store.close();
  if (indexLost) fs.rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
  store = await openStore(root, OPTIONS);
}

describe('compaction', () => {
  it('leaves one segment that says all, for the index and without it', { timeout: 60_000 }, async () => {
    const before = await look();
    await reopened(false);
    const report = await compact(catalog());
    expect(report).toMatchObject({ segments: 1, kept: [], dropped: 0 });
    expect(report.size).toBeLessThan(report.bytes);
    expect(listSegments(journal)).toHaveLength(1);
    expect(await look()).toEqual(before);
    await reopened(false);
    expect(await look()).toEqual(before);
    await reopened(true);
    expect(await look()).toEqual(before);
    expect(store.live.hashes).toBe(0);
    await put(store, 'after');
    await store.delete(BUCKET, 'a/d1/k5');
    const changed = await look();
    await reopened(true);
    expect(await look()).toEqual(changed);
    // once more, over what was compacted
    await reopened(false);
    await compact(catalog());
    expect(listSegments(journal)).toHaveLength(1);
    await reopened(true);
    expect(await look()).toEqual(changed);
  });

  it('removes directories that gos3rve made, also after it', { timeout: 60_000 }, async () => {
    await reopened(false);
    await compact(catalog());
    await reopened(true);
    for (const key of await list(store, { prefix: 'a/' })) await store.delete(BUCKET, key);
    expect(fs.existsSync(path.join(root, BUCKET, 'a'))).toBe(false);
  });

  it('runs beside a process that writes, whose segment stays until it is sealed', { timeout: 60_000 }, async () => {
    const other = catalog();
    let going = true;
    const written: string[] = [];
    const writer = (async () => {
      for (let n = 0; going; n++) {
        await store.put(BUCKET, `w/${n}`, body(`w ${n}`), { facts: { metadata: { n: String(n) } } });
        if (n % 3 === 0) await store.delete(BUCKET, `w/${n}`);
        else written.push(`w/${n}`);
      }
    })();
    for (let n = 0; n < 5; n++) {
      const { kept } = await compact(other);
      expect(kept.length).toBeLessThan(2);
      for (const { why } of kept) expect(why).toMatch(/may still write|came later/);
    }
    going = false;
    await writer;
    const before = await look();
    expect(await list(store, { prefix: 'w/' })).toEqual([...written].sort());
    await reopened(true);
    expect(await look()).toEqual(before);
  });

  it('takes what a living process has sealed, also by an index that was made anew since', async () => {
    await put(store, 'last');
    await reopened(true);
    const report = await compact(catalog());
    expect(report.kept).toEqual([]);
    expect(listSegments(journal)).toHaveLength(1);
  });

  it('takes what this process had to give up when its disk was away, once it writes to another', async () => {
    const one = catalog();
    one.journal.append({ op: 'dirs', paths: ['box/a'] });
    const given = one.journal.segment;
    one.journal.detach();
    expect((await compact(one)).kept.map(({ segment }) => segment)).toContain(given);
    one.journal.append({ op: 'dirs', paths: ['box/b'] });
    await compact(one);
    expect(listSegments(journal)).not.toContain(given);
  });

  it('is done by one process at a time', async () => {
    const [one, two] = [catalog(), catalog()];
    const reports = await Promise.all([compact(one), compact(two)]);
    expect(reports.filter(({ busy }) => busy)).toHaveLength(1);
    expect((await compact(two)).busy).toBeUndefined();
  });

  it('tells what it would do, and does nothing', async () => {
    await reopened(false);
    const before = fs.readdirSync(journal);
    const report = await compact(catalog(), { dryRun: true });
    expect(report).toMatchObject({ segments: 1, kept: [] });
    expect(report.size).toBeGreaterThan(100);
    expect(fs.readdirSync(journal)).toEqual(before);
  });

  it.each<[string, string, RegExp]>([
    ['lines of a newer version', '{"op":"novelty","seq":1}\n', /newer version/],
    ['a newer form', encodeLine({ ...header('x'), version: 2 } as unknown as JournalLine), /newer version/],
    [
      'an operation that has not ended',
      encodeLine({
        op: 'append',
        id: '00000000.1.0-x',
        path: 'box/nothing',
        fp: '0:1:0:1:0',
        ctime: '0',
        size: 1,
        piece: 'p',
        time: Date.now(),
        boot: 'x',
        bytes: { etag: '' },
        facts: {},
      }) + encodeLine({ op: 'sealed' }),
      /not ended/,
    ],
  ])('keeps a segment with %s', async (_what, lines, why) => {
    await store.close();
    const name = '20200101T000000000Z-00000000.jsonl';
    fs.writeFileSync(path.join(journal, name), encodeLine(header('0.1.0')) + lines);
    store = await openStore(root, OPTIONS);
    await reopened(false);
    const { kept } = await compact(catalog());
    expect(kept).toEqual([{ segment: name, why: expect.stringMatching(why) as string }]);
    expect(fs.existsSync(path.join(journal, name))).toBe(true);
  });

  it('keeps what a reader of the feed has not read', async () => {
    await reopened(false);
    expect((await compact(catalog(), { readUpTo: 3 })).kept).toHaveLength(1);
    expect((await compact(catalog(), { readUpTo: 1e6 })).kept).toHaveLength(0);
  });

  it('takes a segment whose process was killed within its first line, a day later', async () => {
    const segment = '20200101T000000000Z-00000000.jsonl';
    fs.writeFileSync(path.join(journal, segment), encodeLine(header('dead')).slice(0, 20));
    const other = catalog();
    await compact(other);
    expect(listSegments(journal)).toContain(segment);
    const before = Date.now() / 1000 - 86_401;
    fs.utimesSync(path.join(journal, segment), before, before);
    await compact(other);
    expect(listSegments(journal)).not.toContain(segment);
  });

  it('leaves out files that have been gone for long', async () => {
    await reopened(false);
    const one = catalog();
    const place = { kind: 'tree', dirs: [BUCKET, 'a', 'd1'], name: 'k5' } as const;
    fs.rmSync(path.join(root, BUCKET, 'a/d1/k5'));
    one.index.write(() => {
      const row = one.row(place);
      if (row) one.putRow(place, { ...row, goneAt: Date.now() - 10 * 86_400_000 });
    });
    expect((await compact(one, { dryRun: true })).dropped).toBe(0);
    expect((await compact(one, { ghostAge: 86_400_000 })).dropped).toBe(1);
    await reopened(true);
    expect(catalog().row(place)).toBeUndefined();
  });

  it('comes after damage: what was damaged is set aside first', async () => {
    await store.close();
    const [segment = ''] = listSegments(journal);
    const bytes = fs.readFileSync(path.join(journal, segment));
    const at = bytes.indexOf('"op":"commit"');
    bytes[at + 20] = 0;
    fs.writeFileSync(path.join(journal, segment), bytes);
    store = await openStore(root, OPTIONS);
    await reopened(false);
    await compact(catalog());
    expect(listSegments(journal)).toHaveLength(1);
    expect(fs.readdirSync(path.join(journal, 'damaged'))).toEqual([`${segment}.txt`]);
  });

  it('goes on after an index that it left behind', async () => {
    const before = await look();
    await store.close();
    const index = path.join(root, '.gos3rve/index');
    fs.cpSync(index, path.join(base, 'old'), { recursive: true, preserveTimestamps: true });
    store = await openStore(root, OPTIONS);
    await store.delete(BUCKET, 'a/d1/k5');
    await reopened(false);
    await compact(catalog());
    await store.close();
    for (const close of closing.splice(0)) await close();
    fs.rmSync(index, { recursive: true });
    fs.renameSync(path.join(base, 'old'), index);
    store = await openStore(root, OPTIONS);
    const rows = catalog();
    expect(rows.row({ kind: 'tree', dirs: [BUCKET, 'a', 'd1'], name: 'k5' })).toBeUndefined();
    expect(await look()).toEqual((before as unknown[]).filter((one) => (one as unknown[])[0] !== 'a/d1/k5'));
  });
});

it('keys of pairs come apart again', () => {
  for (const parts of [
    ['a', 'b'],
    ['b\0', '\0c\0\0'],
    ['é', 'ü\u{1f600}', '00001'],
  ])
    expect(unpairKey(pairKey(...parts))).toEqual(parts);
  expect(() => decodeRow(Buffer.alloc(4))).toThrow();
});
