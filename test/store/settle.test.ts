/** Prepare lines whose operation did not come to its end while the process lives on; and what lies on other mounts than the root's. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, realpath, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Catalog } from '../../src/catalog/catalog.js';
import { bootId, processToken } from '../../src/base/process.js';
import { encodeLine } from '../../src/catalog/journal.js';
import type { JournalLine } from '../../src/catalog/lines.js';
import { gc } from '../../src/jobs/gc.js';
import { openStore } from '../../src/store/open.js';
import { body, md5, text } from '../suites/store/kit.js';

let root: string;
beforeEach(async () => {
  root = await realpath(await mkdtemp(path.join(tmpdir(), 'gos3rve-settle-')));
  await mkdir(path.join(root, 'box'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

/** The catalog inside an open store. */
function catalogOf(store: object): Catalog {
  return (Reflect.get(store, 'core') as { catalog: Catalog }).catalog;
}

describe('a write that fails after the rename', () => {
  it.each(['k', 'odd//k'])(
    'is settled by the next one: a path is taken over, an overflow body taken back: %s',
    async (key) => {
      const store = await openStore(root);
      try {
        const catalog = catalogOf(store);
        const noteSettled = catalog.noteSettled.bind(catalog);
        await store.put('box', 'first', body('first'));
        catalog.noteSettled = () => {
          throw new Error('the index is full');
        };
        await expect(store.put('box', key, body('new'), { facts: { metadata: { of: 'new' } } })).rejects.toThrow();
        catalog.noteSettled = noteSettled;
        await store.put('box', 'other', body('other'));
        if (key === 'k') {
          expect(await store.head('box', key)).toMatchObject({ etag: md5('new'), facts: { metadata: { of: 'new' } } });
          expect(await text(store, key, 'box')).toBe('new');
        } else await expect(store.head('box', key)).rejects.toMatchObject({ code: 'NoSuchKey' });
        const here = catalog.journal.append({ op: 'abort', id: 'mark' });
        expect(catalog.journal.settledOffset()).toBeGreaterThanOrEqual(here);
      } finally {
        await store.close();
      }
    },
  );
});

describe('a file that came to stand above the path of an operation', () => {
  it('lets it be settled, without a word', async () => {
    const journal = path.join(root, '.gos3rve/journal');
    await (await openStore(root)).close();
    const id = `${processToken().slice(0, 8)}.4194305.1-abc`;
    const bytes = { fp: '0:1:0:1:0', etag: md5('x') };
    const lines: JournalLine[] = [
      { op: 'segment', version: 1, boot: bootId(), pid: 1, host: '', time: '', token: id.slice(0, -4) },
      { op: 'prepare', id, path: 'box/a/b/c', bytes, facts: {}, published: true, mkdirs: ['box/a', 'box/a/b'] },
      { op: 'dirs', paths: ['box/a/b'] },
    ];
    await writeFile(path.join(journal, '20200101T000000000Z-00000000.jsonl'), lines.map(encodeLine).join(''));
    await writeFile(path.join(root, 'box/a'), 'a file');
    const told: unknown[] = [];
    const store = await openStore(root, { log: (...one) => told.push(one) });
    try {
      await gc(store.collector, { dryRun: false, signal: AbortSignal.timeout(60_000), olderThan: 1e9, keepGone: 1e9 });
      expect(told).toEqual([]);
      expect(await text(store, 'a', 'box')).toBe('a file');
      expect((await readdir(journal)).filter((name) => name.startsWith('2020'))).toEqual([]);
    } finally {
      await store.close();
    }
  });

  it('is no folder for an alias', async () => {
    await writeFile(path.join(root, 'box/a'), 'a file');
    await expect(openStore(root, { aliases: { films: 'box/a/b' } })).rejects.toThrow(/there is no folder box\/a\/b/);
  });
});

const mountable = process.platform === 'linux' && process.getuid?.() === 0;
describe.runIf(mountable)('another mount below the root (only as root on Linux)', () => {
  const OLD = 'zzzzzzzz.zz.zz-0000000000000000';
  it('keeps its uploads when the index is lost, and is cleaned of what the dead left', async (context) => {
    const box = path.join(root, 'box');
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'none', box], { stdio: 'ignore' });
    } catch {
      context.skip();
    }
    try {
      const first = await openStore(root, { minPartSize: 1 });
      const { uploadId } = await first.createUpload('box', 'm', {});
      const part = await first.putPart('box', 'm', uploadId, 1, body('part'));
      await first.close();
      const staging = path.join(box, '.gos3rve/staging');
      const stale = path.join(staging, OLD);
      await writeFile(stale, 'x');
      await utimes(stale, 1, 1);
      await rm(path.join(root, '.gos3rve/index'), { recursive: true });
      const second = await openStore(root, { minPartSize: 1 });
      try {
        expect(existsSync(stale)).toBe(false);
        expect((await second.listParts('box', 'm', uploadId, { after: 0, max: 9 })).parts).toHaveLength(1);
        await second.completeUpload('box', 'm', uploadId, [{ partNumber: 1, etag: part.etag, checksums: {} }]);
        expect(await text(second, 'm', 'box')).toBe('part');
        expect(await readdir(path.join(staging, 'uploads'))).toEqual([]);
      } finally {
        await second.close();
      }
    } finally {
      execFileSync('umount', ['-l', box]);
    }
  });
});
