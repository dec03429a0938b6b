/** DESIGN rules 2 to 4: facts survive a restart, the loss of the index and a copy of the disk; kill -9 leaves old or new, whole. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readdir, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Bucket, ObjectInfo, Store } from '../../../src/store/contract.js';
import type { MakeStore, SpawnChild, StoreFixture } from './kit.js';
import { BUCKET, MIN_PART, body, get, list, md5, put, putParts, refuses, text } from './kit.js';
import { ALL_FACTS } from './objects.js';

export function durableContract(make: MakeStore, child?: SpawnChild): void {
  describe('durability', () => {
    let first: StoreFixture;
    beforeEach(async () => {
      first = await make({ minPartSize: MIN_PART });
      await first.store.createBucket(BUCKET, {});
    });
    afterEach(async () => {
      await first.stop();
    });
    /** Closes the store, lets `meanwhile` happen and looks again with a fresh one. */
    const reopened = async (look: (store: Store) => Promise<void>, meanwhile?: () => Promise<void>): Promise<void> => {
      await first.store.close();
      await meanwhile?.();
      const second = await make({ root: first.root, minPartSize: MIN_PART });
      try {
        await look(second.store);
      } finally {
        await second.store.close();
      }
    };

    it.each([
      ['a restart', () => Promise.resolve()],
      ['the loss of the index', () => rm(path.join(first.root, '.gos3rve', 'index'), { recursive: true })],
    ])('knows everything after %s', { timeout: 60_000 }, async (_what, meanwhile) => {
      const uploadId = await furnish(first.store);
      const before = await describeAll(first.store);
      await reopened(async (store) => {
        expect(await describeAll(store)).toEqual(before);
        const parts = await store.listParts(BUCKET, 'unfinished', uploadId, { after: 0, max: 10 });
        expect(parts.parts).toMatchObject([{ partNumber: 2, etag: md5('two') }]);
        await store.completeUpload(BUCKET, 'unfinished', uploadId, [
          { partNumber: 2, etag: md5('two'), checksums: {} },
        ]);
        expect(await text(store, 'unfinished')).toBe('two');
        await store.delete(BUCKET, 'made/deep/k');
        await store.delete(BUCKET, 'made/deep/moved');
        expect(await list(store, { prefix: 'made' })).toEqual([]);
      }, meanwhile);
    });

    it('keeps facts and ETags when the disk is copied to another', { timeout: 60_000 }, async () => {
      await furnish(first.store);
      const before = withoutAliases(await describeAll(first.store));
      const aside = `${first.root}.old`;
      await reopened(
        async (store) => {
          expect(withoutAliases(await describeAll(store))).toEqual(before);
        },
        async () => {
          await rename(first.root, aside);
          execFileSync('cp', ['-a', aside, first.root]);
          await rm(aside, { recursive: true });
        },
      );
    });

    it('sees what happened to the files while no store was open', async () => {
      await first.store.put(BUCKET, 'edited', body('one'), { facts: { metadata: { kept: 'yes' } } });
      await put(first.store, 'gone', 'x');
      await put(first.store, 'renamed', 'y');
      await reopened(
        async (store) => {
          expect(await list(store)).toEqual(['edited', 'fresh', 'new-name']);
          const { info, bytes } = await get(store, 'edited');
          expect([bytes.toString(), info.facts.metadata]).toEqual(['another', { kept: 'yes' }]);
          expect(info.etag).not.toBe(md5('one'));
          await refuses(store.head(BUCKET, 'gone'), 'NoSuchKey');
        },
        async () => {
          const at = (name: string): string => path.join(first.root, BUCKET, name);
          await writeFile(at('edited'), 'another');
          await rm(at('gone'));
          await rename(at('renamed'), at('new-name'));
          await writeFile(at('fresh'), 'x');
        },
      );
    });

    it.each([
      ['a restart', () => Promise.resolve()],
      ['the loss of the index', () => rm(path.join(first.root, '.gos3rve', 'index'), { recursive: true })],
    ])('answers the retry of a completion after %s', async (_what, meanwhile) => {
      const { uploadId } = await first.store.createUpload(BUCKET, 'm', {});
      const part = await first.store.putPart(BUCKET, 'm', uploadId, 1, body('x'));
      const parts = [{ partNumber: 1, etag: part.etag, checksums: {} }];
      const made = await first.store.completeUpload(BUCKET, 'm', uploadId, parts);
      await reopened(async (store) => {
        // what came of the file since is no part of the answer
        const { aliases: _aliases, changed: _changed, ...info } = made;
        expect(await store.completeUpload(BUCKET, 'm', uploadId, parts)).toEqual(info);
        await refuses(
          store.completeUpload(BUCKET, 'm', uploadId, [{ partNumber: 1, etag: md5('y'), checksums: {} }]),
          'NoSuchUpload',
        );
      }, meanwhile);
    });

    it('is one store for two that are open at once', async () => {
      const second = await make({ root: first.root, minPartSize: MIN_PART });
      try {
        for (let n = 0; n < 10; n++) {
          await first.store.put(BUCKET, `k${n}`, body(`first ${n}`), { facts: { metadata: { n: `${n}` } } });
          const seen = await get(second.store, `k${n}`);
          expect([seen.bytes.toString(), seen.info.facts.metadata]).toEqual([`first ${n}`, { n: `${n}` }]);
          await put(second.store, `k${n}`, `second ${n}`);
          expect(await text(first.store, `k${n}`)).toBe(`second ${n}`);
          expect((await first.store.head(BUCKET, `k${n}`)).facts.metadata ?? {}).toEqual({});
        }
        const results = await Promise.allSettled(
          [first.store, second.store, first.store, second.store].map((store) =>
            store.put(BUCKET, 'once', body('x'), { condition: { ifNoneMatch: ['*'] } }),
          ),
        );
        expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
        await second.store.delete(BUCKET, 'k3');
        expect(await list(first.store)).not.toContain('k3');
      } finally {
        await second.store.close();
      }
    });

    it.runIf(child).each([
      ['cut to nothing', ''],
      ['of garbage', 'garbage '.repeat(8192)],
      ['cut in the middle', undefined],
    ])('knows everything after kill -9 and an index file %s', { timeout: 60_000 }, async (_what, content) => {
      if (!child) return;
      const answered = await writeUntilKilled(child, first.root, 300);
      await first.store.close();
      await spoilIndex(path.join(first.root, '.gos3rve', 'index'), content);
      // In a process of its own: a damaged LMDB file can take the process with it.
      const reader = child('reader.js', first.root, BUCKET);
      let out = '';
      reader.stdout?.on('data', (chunk) => (out += String(chunk)));
      const [code, signal] = (await once(reader, 'exit')) as [number | null, string | null];
      expect([code, signal]).toEqual([0, null]);
      const read = new Map(
        out.split('\n').map((line): [string, number] => [line.split(' ')[0] ?? '', Number(line.split(' ')[1])]),
      );
      for (const [key, version] of answered) expect(read.get(key), key).toBeGreaterThanOrEqual(version);
    });

    it.runIf(child)('leaves old or new, whole, after kill -9', { timeout: 180_000 }, async () => {
      if (!child) return;
      for (let round = 0; round < 6; round++) {
        const answered = await writeUntilKilled(child, first.root, 150 + 70 * round);
        await reopened(async (store) => {
          for (const [key, least] of answered) await checkVersion(store, key, least);
          expect((await list(store)).filter((key) => !answered.has(key) && !key.startsWith('w/'))).toEqual([]);
          for (const key of await list(store)) await checkVersion(store, key, 0);
        });
      }
    });
  });
}

/** One of everything; resolves to the id of an upload that is not finished. */
async function furnish(store: Store): Promise<string> {
  await store.updateBucket(BUCKET, (settings) => ({
    ...settings,
    region: 'eu-central-1',
    tags: [['a', 'b']],
    policy: '{}',
  }));
  await store.put(BUCKET, 'made/deep/k', body('plain'), { facts: ALL_FACTS });
  await store.put(BUCKET, 'sum', body('123456789'), { digests: { algorithms: ['SHA256'], store: 'SHA256' } });
  await store.put(BUCKET, 'a', body('file'), { facts: { contentType: 'text/a' } });
  await store.put(BUCKET, 'a/b', body('below a file'), { facts: { tags: [['over', 'flow']] } });
  await store.put(BUCKET, '../up', body('odd'), { facts: { metadata: { odd: '1' } } });
  await store.put(BUCKET, 'marker/', body(''), { facts: { contentType: 'application/x-directory' } });
  await store.put(BUCKET, 'was', body('moved'), { facts: { metadata: { from: 'was' } } });
  await store.move({ bucket: BUCKET, key: 'was' }, { bucket: BUCKET, key: 'made/deep/moved' });
  await put(store, 'deleted', 'x');
  await store.delete(BUCKET, 'deleted');
  await store.put(BUCKET, 'tagged', body('x'));
  await store.updateFacts(BUCKET, 'tagged', (facts) => ({ ...facts, tags: [['late', 'tag']] }));
  await store.append(BUCKET, 'log', 0, body('one'));
  await store.append(BUCKET, 'log', 3, body('two'));
  const done = await store.createUpload(BUCKET, 'multi', { facts: { contentType: 'x/multi' } });
  const parts = await putParts(store, 'multi', done.uploadId, [
    [1, 'm'.repeat(MIN_PART)],
    [2, 'end'],
  ]);
  await store.completeUpload(
    BUCKET,
    'multi',
    done.uploadId,
    parts.map(({ partNumber, etag }) => ({ partNumber, etag, checksums: {} })),
  );
  const { uploadId } = await store.createUpload(BUCKET, 'unfinished', { facts: ALL_FACTS });
  await putParts(store, 'unfinished', uploadId, [[2, 'two']]);
  return uploadId;
}

interface Description {
  settings: Bucket['settings'];
  objects: { info: ObjectInfo; bytes: string; parts: number[] }[];
  uploads: unknown[];
}

async function describeAll(store: Store): Promise<Description> {
  const objects = [];
  for (const key of await list(store)) {
    const open = await store.open(BUCKET, key);
    const parts = await open.parts();
    await open.close();
    const { info, bytes } = await get(store, key);
    objects.push({ info, bytes: bytes.toString(), parts: parts.map(({ size }) => size) });
  }
  const query = { prefix: '', delimiter: '', keyMarker: '', uploadIdMarker: '', max: 100 };
  const { settings } = await store.getBucket(BUCKET);
  return { settings, objects, uploads: (await store.listUploads(BUCKET, query)).entries };
}

/** ETags derived from the fingerprint belong to the inode: a copy has others. */
function withoutAliases({ objects, ...rest }: Description): Description {
  return {
    ...rest,
    objects: objects.map(({ info: { aliases: _, changed: _changed, ...info }, ...object }) => ({ ...object, info })),
  };
}

/** Overwrites the index's data file as a bad disk would, or cuts it in half; the file's name is the implementation's. */
async function spoilIndex(folder: string, content: string | undefined): Promise<void> {
  const names = (await readdir(folder)).filter((name) => /\.mdb$|^data/.test(name) && !/lock/.test(name));
  expect(names).not.toEqual([]);
  for (const name of names) {
    const file = path.join(folder, name);
    if (content === undefined) await truncate(file, Math.floor((await stat(file)).size / 2));
    else await writeFile(file, content);
  }
}

/** Runs the writer for `ms` after its first answer, kills it, and gives back what it said was done: key -> version. */
async function writeUntilKilled(spawn: SpawnChild, root: string, ms: number): Promise<Map<string, number>> {
  const child = spawn('writer.js', root, BUCKET);
  const ended = once(child, 'exit');
  const answered = new Map<string, number>();
  let out = '';
  let errors = '';
  child.stderr?.on('data', (chunk) => (errors += String(chunk)));
  const started = new Promise<void>((resolve, reject) => {
    child.stdout?.on('data', (chunk) => {
      out += String(chunk);
      resolve();
    });
    child.once('exit', () => reject(new Error(`the writer ended by itself: ${errors}`)));
  });
  await started;
  await sleep(ms);
  child.kill('SIGKILL');
  await ended;
  for (const line of out.split('\n').slice(0, -1)) {
    const [key, version] = line.split(' ');
    if (key !== undefined) answered.set(key, Number(version));
  }
  expect(answered.size).toBeGreaterThan(0);
  return answered;
}

/** The bytes, the ETag and the metadata are of one version, and of none older than the last that was answered. */
async function checkVersion(store: Store, key: string, least: number): Promise<void> {
  const { info, bytes } = await get(store, key);
  const version = Number(bytes.toString('latin1', 0, 13));
  expect(version).toBeGreaterThanOrEqual(least);
  expect(bytes.equals(Buffer.from(`${String(version).padStart(13)}${key}`.repeat(info.size / (13 + key.length))))).toBe(
    true,
  );
  expect(info.facts.metadata?.version).toBe(String(version));
  expect(info.etag).toBe(md5(bytes));
}
