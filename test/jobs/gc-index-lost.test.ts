/**
 * The index is lost while `gc` runs: what has no row in one that is being made anew is not known to be nothing (DESIGN rule 2). Afterwards all is there:
 * objects, what was said of them, uploads, directories of others.
 *
 * GOS3RVE_FULL=1 loses it at each moment at which it is looked at; without it at some of them.
 */
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { gc } from '../../src/jobs/gc.js';
import type { CollectOptions } from '../../src/store/collect/collector.js';
import { openStore, type LocalStore, type StoreOptions } from '../../src/store/open.js';
import { loseIndexAt } from '../faults/lose-index.js';
import { BUCKET, body, get, list } from '../suites/store/kit.js';

const FULL = process.env.GOS3RVE_FULL === '1';
const OPTIONS: StoreOptions = { minPartSize: 1, durability: 'fast', hash: 'off' };
const HOURS = 4 * 3_600_000;
const NEVER = 1e12;
const QUESTION: CollectOptions = { dryRun: false, signal: new AbortController().signal };

let base = '';
let root = '';
const now = Date.now;
beforeEach(() => {
  base = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), 'gos3rve-gc-lost-')));
  root = join(base, 'root');
});
afterEach(() => {
  Date.now = now;
  fs.rmSync(base, { recursive: true, force: true });
});

type Said = { facts: { metadata: Record<string, string>; tags: [string, string][] } };
const said = (n: number | string): Said => ({ facts: { metadata: { n: String(n) }, tags: [['t', String(n)]] } });
/** Where a file waits that another program has taken away. */
const away = (): string => join(base, 'gone');

/** Something of each kind that `gc` looks at. */
async function fill(store: LocalStore): Promise<void> {
  await store.createBucket(BUCKET, {});
  for (let n = 0; n < 4; n++) await store.put(BUCKET, `dir${n % 2}/k${n}`, body(`body ${n}`), said(n));
  for (let n = 0; n < 4; n++) await store.put(BUCKET, `over//k${n}`, body(`overflow ${n}`), said(n));
  await store.put(BUCKET, 'over//k0', body('overflow anew'), said('anew'));
  await store.put(BUCKET, 'marker/', body(''), said('marker'));
  await store.put(BUCKET, 'gone', body('gone'), said('gone'));
  // to be moved to its path
  await store.put(BUCKET, 'file', body('file'));
  await store.put(BUCKET, 'file/below', body('below'), said('below'));
  await store.delete(BUCKET, 'file');
  await store.put(BUCKET, 'made/sub/k', body('1'));
  await store.put(BUCKET, 'theirs/k', body('1'));
  await store.delete(BUCKET, 'theirs/k');
  const { uploadId } = await store.createUpload(BUCKET, 'multi', said('multi'));
  for (const part of [1, 2]) await store.putPart(BUCKET, 'multi', uploadId, part, body(`part ${part}`));
  fs.mkdirSync(join(root, BUCKET, 'theirs'));
  fs.rmSync(join(root, BUCKET, 'made/sub/k'));
  fs.renameSync(join(root, BUCKET, 'gone'), away());
}

async function look(store: LocalStore): Promise<unknown> {
  fs.renameSync(away(), join(root, BUCKET, 'gone'));
  const seen: unknown[] = [];
  for (const key of await list(store)) {
    const { info, bytes } = await get(store, key);
    seen.push([key, info.facts, bytes.toString()]);
  }
  const query = { prefix: '', delimiter: '', keyMarker: '', uploadIdMarker: '', max: 9 };
  for (const upload of (await store.listUploads(BUCKET, query)).entries) {
    if ('prefix' in upload) continue;
    const { parts } = await store.listParts(BUCKET, upload.key, upload.uploadId, { after: 0, max: 9 });
    seen.push([upload.key, upload.facts, parts.map(({ etag, size }) => [etag, size])]);
  }
  return [seen, fs.existsSync(join(root, BUCKET, 'theirs'))];
}

type Work = (store: LocalStore) => Promise<unknown>;
const whole: Work = (store) => gc(store.collector, { ...QUESTION, olderThan: NEVER, keepGone: NEVER });

/** @returns how often the index was looked at, what the work said, and what was there afterwards. */
async function run(n: number, work: Work, beside: boolean): Promise<{ looks: number; error: string; after: unknown }> {
  fs.rmSync(root, { recursive: true, force: true });
  fs.mkdirSync(root);
  const filling = await openStore(root, OPTIONS);
  await fill(filling);
  await filling.close();
  const store = await openStore(root, OPTIONS);
  const other = beside ? await openStore(root, OPTIONS) : undefined;
  const rebuild = (): void => void other?.head(BUCKET, 'dir0/k0').catch(() => undefined);
  const end = loseIndexAt(n, () => void setImmediate(rebuild));
  Date.now = () => now() + HOURS;
  let error = '';
  try {
    await work(store);
  } catch (thrown) {
    error = String(thrown);
  }
  Date.now = now;
  const looks = end();
  await store.close();
  await other?.close();
  const again = await openStore(root, OPTIONS);
  try {
    return { looks, error, after: await look(again) };
  } finally {
    await again.close();
  }
}

describe('gc that loses the index', () => {
  it.each<[string, Work, boolean, number]>([
    ['at any time', whole, false, 7],
    ['beside another process, which makes it anew', whole, true, 25],
    ['while it looks for strays', (store) => store.collector.strays(QUESTION), false, 1],
    ['while it writes the journal anew', (store) => store.collector.journal(NEVER, QUESTION), false, 3],
  ])('takes nothing away that it does not know: %s', { timeout: 600_000 }, async (_when, work, beside, step) => {
    const all = await run(0, work, beside);
    expect(all.error).toBe('');
    for (let n = 1; n <= all.looks; n += FULL ? 1 : step) {
      const { error, after } = await run(n, work, beside);
      expect(['', 'S3Error: The index is being made anew. Please try again.']).toContain(error);
      expect(after, `lost at look ${n} of ${all.looks}`).toEqual(all.after);
    }
  });
});
