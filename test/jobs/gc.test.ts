import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { gc, type GcQuestion, type GcReport } from '../../src/jobs/gc.js';
import { startJobs } from '../../src/jobs/schedule.js';
import { processToken } from '../../src/base/process.js';
import { silentLog } from '../../src/base/log.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body, text } from '../suites/store/kit.js';

let root: string;
let store: LocalStore;
beforeEach(async () => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'gos3rve-gc-')));
  mkdirSync(join(root, 'b'));
  store = await openStore(root);
});
afterEach(async () => {
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

const metadata = { metadata: { a: 'b' } };
const run = (question: Partial<GcQuestion> = {}): Promise<GcReport> =>
  gc(store.collector, {
    dryRun: false,
    signal: new AbortController().signal,
    olderThan: 7 * 86_400_000,
    keepGone: 30 * 86_400_000,
    ...question,
  });
const keys = async (): Promise<string[]> => {
  const { entries } = await store.list('b', { prefix: '', delimiter: '', after: '', max: 1000 });
  return entries.map((entry) => ('prefix' in entry ? entry.prefix : entry.key));
};

describe('gc', () => {
  it('does nothing where nothing is left over, and keeps every object', async () => {
    await store.put('b', 'x/y', body('1'), { facts: metadata });
    await store.put('b', 'a//b', body('2'), { facts: metadata });
    writeFileSync(join(root, 'b/foreign'), 'f');
    const report = await run({ olderThan: 0 });
    expect(report).toMatchObject({ uploads: 0, staging: 0, settled: 0, quarantined: 0, forgotten: 0, directories: 0 });
    expect(await keys()).toEqual(['a//b', 'foreign', 'x/y']);
    expect((await store.head('b', 'a//b')).facts).toMatchObject(metadata);
  });

  it('ends uploads that nobody has touched, and no others', async () => {
    const { uploadId } = await store.createUpload('b', 'k', {});
    await store.putPart('b', 'k', uploadId, 1, body('part'));
    expect(await run()).toMatchObject({ uploads: 0 });
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(await run({ olderThan: 0, dryRun: true })).toMatchObject({ uploads: 1 });
    expect((await store.listParts('b', 'k', uploadId, { after: 0, max: 10 })).parts.length).toBe(1);
    expect(await run({ olderThan: 0 })).toMatchObject({ uploads: 1 });
    await expect(store.listParts('b', 'k', uploadId, { after: 0, max: 10 })).rejects.toThrow(
      expect.objectContaining({ code: 'NoSuchUpload' }),
    );
    expect(readdirSync(join(root, '.gos3rve/staging/uploads'))).toEqual([]);
  });

  it('ends uploads that were kept aside, since their bucket lost its folder and was made anew', async () => {
    const { uploadId } = await store.createUpload('b', 'k', {});
    await store.putPart('b', 'k', uploadId, 1, body('part'));
    rmSync(join(root, 'b'), { recursive: true });
    await store.createBucket('b', {});
    expect(await run()).toMatchObject({ uploads: 0 });
    expect(readdirSync(join(root, '.gos3rve/staging/uploads'))).toEqual([uploadId]);
    expect(await run({ olderThan: 0 })).toMatchObject({ uploads: 1 });
    expect(readdirSync(join(root, '.gos3rve/staging/uploads'))).toEqual([]);
  });

  it('moves an overflow object to its path once that is free, with all that is known of it', async () => {
    await store.put('b', 'a', body('file'));
    await store.put('b', 'a/b', body('below'), { facts: metadata });
    const { etag } = await store.head('b', 'a/b');
    expect(await run()).toMatchObject({ settled: 0 });
    await store.delete('b', 'a');
    expect(await run({ dryRun: true })).toMatchObject({ settled: 1 });
    expect(existsSync(join(root, 'b/a/b'))).toBe(false);
    expect(await run()).toMatchObject({ settled: 1 });
    expect(readFileSync(join(root, 'b/a/b'), 'utf8')).toBe('below');
    expect(await store.head('b', 'a/b')).toMatchObject({ etag, facts: metadata });
    expect(await keys()).toEqual(['a/b']);
    expect(readdirSync(join(root, '.gos3rve/overflow/b'))).toEqual([]);
    expect(await run()).toMatchObject({ settled: 0, quarantined: 0 });
  });

  it('puts old files in overflow that no record speaks of aside, never those that have one', async () => {
    await store.put('b', 'a//b', body('2'));
    const folder = join(root, '.gos3rve/overflow/b');
    writeFileSync(join(folder, 'stray'), 'whose?');
    writeFileSync(join(folder, '../beside'), 'and whose?');
    // too young: it may be on its way
    expect(await run()).toMatchObject({ quarantined: 0 });
    expect(existsSync(join(folder, 'stray'))).toBe(true);
    const now = Date.now;
    Date.now = () => now() + 2 * 3_600_000;
    try {
      expect(await run()).toMatchObject({ quarantined: 2 });
    } finally {
      Date.now = now;
    }
    const [day = ''] = readdirSync(join(root, '.gos3rve/quarantine'));
    expect(readFileSync(join(root, '.gos3rve/quarantine', day, 'b-stray'), 'utf8')).toBe('whose?');
    expect(readFileSync(join(root, '.gos3rve/quarantine', day, 'beside'), 'utf8')).toBe('and whose?');
    expect(await keys()).toEqual(['a//b']);
  });

  it('brings objects back from quarantine that the journal speaks of, and none that were replaced or deleted since', async () => {
    for (const key of ['a//back', 'a//replaced', 'a//deleted'])
      await store.put('b', key, body(key), { facts: metadata });
    const { etag } = await store.head('b', 'a//back');
    const [folder, day] = [join(root, '.gos3rve/overflow/b'), join(root, '.gos3rve/quarantine/2026-01-01')];
    mkdirSync(day, { recursive: true });
    for (const name of readdirSync(folder)) renameSync(join(folder, name), join(day, `b-${name}`));
    await store.close();
    rmSync(join(root, '.gos3rve/index'), { recursive: true });
    store = await openStore(root);
    await store.put('b', 'a//replaced', body('new'));
    await store.delete('b', 'a//deleted');
    expect(await run({ dryRun: true })).toMatchObject({ returned: 1 });
    expect(await run()).toMatchObject({ returned: 1, quarantined: 0 });
    expect(await run()).toMatchObject({ returned: 0 });
    expect(await keys()).toEqual(['a//back', 'a//replaced']);
    expect(await text(store, 'a//back', 'b')).toBe('a//back');
    expect(await text(store, 'a//replaced', 'b')).toBe('new');
    expect(await store.head('b', 'a//back')).toMatchObject({ etag, facts: metadata });
    expect(readdirSync(day)).toHaveLength(2);
  });

  it('removes small files that a killed process was about to put in place, and none of one that lives', async () => {
    const [dead, alive] = ['box.json.0123abcd.999999999.1-00ff.tmp', `box.json.${processToken()}-00ff.tmp`];
    const old = new Date(Date.now() - 2 * 86_400_000);
    for (const name of [dead, alive]) {
      const file = join(root, '.gos3rve/buckets', name);
      writeFileSync(file, '{');
      utimesSync(file, old, old);
    }
    expect(await run({ dryRun: true })).toMatchObject({ staging: 1 });
    expect(await run()).toMatchObject({ staging: 1 });
    expect(readdirSync(join(root, '.gos3rve/buckets'))).toEqual([alive]);
  });

  it('keeps what is known of a file that is gone for a while, then forgets it', async () => {
    await store.put('b', 'gone', body('1'), { facts: metadata });
    await store.put('b', 'there', body('1'), { facts: metadata });
    renameSync(join(root, 'b/gone'), join(root, 'away'));
    expect(await run()).toMatchObject({ missing: 1, forgotten: 0 });
    renameSync(join(root, 'away'), join(root, 'b/gone'));
    expect((await store.head('b', 'gone')).facts).toMatchObject(metadata);
    rmSync(join(root, 'b/gone'));
    await run();
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(await run({ keepGone: 0 })).toMatchObject({ forgotten: 1 });
    writeFileSync(join(root, 'b/gone'), '1');
    expect((await store.head('b', 'gone')).facts).not.toMatchObject(metadata);
    expect((await store.head('b', 'there')).facts).toMatchObject(metadata);
  });

  it('keeps what is known of a folder whose path another one took, then forgets it; a marker, too', async () => {
    for (const name of ['one', 'two']) {
      await store.put('b', `${name}/sub/k`, body(name), { facts: metadata });
      await store.put('b', `${name}/m/`, body(''), { facts: metadata });
    }
    const [one, away] = [join(root, 'b/one'), join(root, '.gos3rve/away')];
    const displace = async (): Promise<void> => {
      renameSync(one, away);
      renameSync(join(root, 'b/two'), one);
      expect(await keys()).toEqual(['one/m/', 'one/sub/k']);
    };
    await displace();
    for (let i = 0; i < 3; i++) expect(await run()).toMatchObject({ forgotten: 0 });
    renameSync(one, join(root, 'b/two'));
    renameSync(away, one);
    expect(await keys()).toEqual(['one/m/', 'one/sub/k', 'two/m/', 'two/sub/k']);
    expect((await store.head('b', 'one/sub/k')).facts).toMatchObject(metadata);
    await displace();
    await run();
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await run({ keepGone: 0 })).toMatchObject({ forgotten: 1 });
    for (let i = 0; i < 3; i++) await run({ keepGone: 0 });
    renameSync(one, join(root, 'b/two'));
    renameSync(away, one);
    expect(await keys()).toEqual(['one/sub/k', 'two/m/', 'two/sub/k']);
    expect((await store.head('b', 'one/sub/k')).facts.metadata).toBeUndefined();
    expect((await store.head('b', 'two/m/')).facts).toMatchObject(metadata);
  });

  it('removes empty folders that gos3rve made, and none that others made', async () => {
    await store.put('b', 'made/sub/k', body('1'));
    mkdirSync(join(root, 'b/theirs'));
    rmSync(join(root, 'b/made/sub/k'));
    expect(await run({ dryRun: true })).toMatchObject({ directories: 1 });
    expect(await run()).toMatchObject({ directories: 2 });
    expect(readdirSync(join(root, 'b'))).toEqual(['theirs']);
  });

  it('writes the journal anew; a lost index is made from it with all that was known', async () => {
    for (let i = 0; i < 50; i++) await store.put('b', 'k', body(`${i}`), { facts: { metadata: { i: String(i) } } });
    const { etag } = await store.head('b', 'k');
    await store.close();
    store = await openStore(root);
    expect((await run()).segments).toBeGreaterThan(0);
    await store.close();
    rmSync(join(root, '.gos3rve/index'), { recursive: true });
    store = await openStore(root);
    expect(await store.head('b', 'k')).toMatchObject({ etag, facts: { metadata: { i: '49' } } });
  });

  it('does no harm when two run at once', async () => {
    const other = await openStore(root);
    try {
      expect(await store.collector.claim()).toBe(true);
      expect(await other.collector.claim()).toBe(false);
      store.collector.release();
      expect(await other.collector.claim()).toBe(true);
      other.collector.release();
      const reports = await Promise.all([
        run(),
        gc(other.collector, { dryRun: false, signal: new AbortController().signal, olderThan: 1e9, keepGone: 1e9 }),
      ]);
      expect(reports.filter(({ busy }) => !busy).length).toBeGreaterThan(0);
    } finally {
      await other.close();
    }
  });

  it('collects nothing while the root is away', async () => {
    await store.put('b', 'k', body('1'), { facts: metadata });
    renameSync(root, `${root}-away`);
    mkdirSync(root);
    try {
      await expect(run({ keepGone: 0 })).rejects.toThrow(expect.objectContaining({ code: 'ServiceUnavailable' }));
    } finally {
      rmSync(root, { recursive: true });
      renameSync(`${root}-away`, root);
    }
    expect((await store.head('b', 'k')).facts).toMatchObject(metadata);
  });
});

describe('startJobs', () => {
  it('runs a job again and again, one at a time, and stops it', async () => {
    let running = 0;
    let runs = 0;
    let most = 0;
    const stop = startJobs(store, silentLog, [
      {
        name: 'test',
        first: 1,
        every: 1,
        async run() {
          most = Math.max(most, ++running);
          runs++;
          await new Promise((resolve) => setTimeout(resolve, 5));
          running--;
          return undefined;
        },
      },
    ]);
    while (runs < 3) await new Promise((resolve) => setTimeout(resolve, 5));
    await stop();
    const after = runs;
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect([most, runs, running]).toEqual([1, after, 0]);
  });
});
