/** What was told of an object that was appended to stays told: its ETag can be made from its bytes again, and does not depend on the index. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { verify } from '../../src/jobs/verify.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body, md5 } from '../suites/store/kit.js';

let root: string;
let store: LocalStore;
const open = (hash: 'eager' | 'off' = 'eager'): Promise<LocalStore> =>
  openStore(root, { durability: 'fast', minPartSize: 1, hash });

beforeEach(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-etag-'));
  for (const name of ['b', 'c', 'b/d']) fs.mkdirSync(path.join(root, name));
  store = await open();
});
afterEach(async () => {
  await store.close();
  fs.rmSync(root, { recursive: true });
});

const KEY = 'd/k';
const at = (...names: string[]): string => path.join(root, ...names);
const crc = { digests: { algorithms: ['CRC32' as const], store: 'CRC32' as const } };
const append = async (text: string, key = KEY): Promise<string> =>
  (await store.append('b', key, fs.statSync(at('b', key)).size, body(text))).etag;
async function upload(key: string, ...pieces: string[]): Promise<void> {
  const { uploadId } = await store.createUpload('b', key, { checksum: { algorithm: 'CRC32', type: 'FULL_OBJECT' } });
  const refs = [];
  for (const [i, piece] of pieces.entries()) {
    const { etag } = await store.putPart('b', key, uploadId, i + 1, body(piece), crc);
    refs.push({ partNumber: i + 1, etag, checksums: {} });
  }
  await store.completeUpload('b', key, uploadId, refs);
}
async function told(bucket: string, key: string): Promise<object> {
  const { etag, checksum, partCount } = await store.head(bucket, key);
  const open = await store.open(bucket, key);
  const parts = await open.parts();
  await open.close();
  return { etag, checksum, partCount, parts };
}
async function withoutIndex(): Promise<void> {
  await store.close();
  fs.rmSync(at('.gos3rve/index'), { recursive: true });
  store = await open();
}
/** @returns how many objects are not whole, or were not looked at. */
async function faults(): Promise<number> {
  const signal = new AbortController().signal;
  const report = await verify(store.verifier, { signal, progress: () => undefined, damage: () => undefined });
  return report.damaged + report.unreadable + report.changed;
}
const journalBytes = (): number =>
  fs.readdirSync(at('.gos3rve/journal')).reduce((sum, name) => {
    const stat = fs.statSync(at('.gos3rve/journal', name));
    return sum + (stat.isFile() ? stat.size : 0);
  }, 0);

/** More than is hashed on the way. */
const LARGE = Buffer.alloc(3 << 20, 'large');
const MADE: Record<string, () => Promise<unknown>> = {
  'an object that was put': () => store.put('b', KEY, body('first'), crc),
  'an upload of two parts': () => upload(KEY, 'one', 'two'),
  'an upload of one part': () => upload(KEY, 'one'),
  'a file of another program': async () => fs.writeFileSync(at('b', KEY), 'foreign'),
  'a large file of another program': async () => fs.writeFileSync(at('b', KEY), LARGE),
};
const HAPPENED: Record<string, () => Promise<[bucket: string, key: string][]>> = {
  chmod: async () => {
    fs.chmodSync(at('b', KEY), 0o600);
    return [['b', KEY]];
  },
  'a second name': async () => {
    fs.linkSync(at('b', KEY), at('b/twin'));
    return [
      ['b', KEY],
      ['b', 'twin'],
    ];
  },
  'a rename by others': async () => {
    fs.renameSync(at('b', KEY), at('b/renamed'));
    return [['b', 'renamed']];
  },
  'a rename of its folder by others': async () => {
    fs.renameSync(at('b/d'), at('c/e'));
    return [['c', 'e/k']];
  },
  'a move': async () => {
    await store.move({ bucket: 'b', key: KEY }, { bucket: 'c', key: 'moved' });
    return [['c', 'moved']];
  },
  'a change of facts': async () => {
    await store.updateFacts('b', KEY, () => ({ tags: [['a', 'b']] }));
    return [['b', KEY]];
  },
  'a compaction': async () => {
    const signal = new AbortController().signal;
    await store.collector.journal(0, { dryRun: false, signal });
    return [['b', KEY]];
  },
};

describe.each(Object.entries(MADE))('%s that was appended to', { timeout: 60_000 }, (_what, make) => {
  it.each(Object.entries(HAPPENED))('is told of as before after %s, without the index too', async (_name, happen) => {
    await make();
    await append('second');
    const etag = await append('third piece');
    const before = await told('b', KEY);
    expect(before).toMatchObject({ etag });
    const places = await happen();
    const look = async (): Promise<void> => {
      for (const [bucket, key] of places) {
        // large files are hashed in the background
        const dirs = [bucket, ...key.split('/')];
        await store.live.hashFile(dirs.slice(0, -1), dirs.at(-1) ?? '');
        expect(await told(bucket, key)).toEqual(before);
      }
    };
    await look();
    expect(await faults()).toBe(0);
    await withoutIndex();
    await look();
    expect(await faults()).toBe(0);
    await look();
  });
});

describe('the ETag of an object that was appended to', { timeout: 60_000 }, () => {
  it('is the MD5 of the one before and of the piece, and tells how many parts there are', async () => {
    await store.put('b', 'k', body('one'));
    const chained = (before: string, piece: string): string =>
      md5(Buffer.concat([Buffer.from(before, 'hex'), Buffer.from(md5(piece), 'hex')]));
    expect(await append('two', 'k')).toBe(`${chained(md5('one'), 'two')}-2`);
    expect(await append('three', 'k')).toBe(`${chained(chained(md5('one'), 'two'), 'three')}-3`);
  });

  it('is the MD5 of all bytes where another program has changed it, in place and with its times put back', async () => {
    await store.put('b', 'k', body('one'));
    await append('two', 'k');
    const { atime, mtime } = fs.statSync(at('b/k'));
    fs.writeFileSync(at('b/k'), 'eno');
    fs.appendFileSync(at('b/k'), 'two');
    fs.utimesSync(at('b/k'), atime, mtime);
    expect((await store.head('b', 'k')).etag).toBe(md5('enotwo'));
    expect(await append('three', 'k')).toMatch(/-2$/);
    expect(await faults()).toBe(0);
  });

  it('goes on being derived where files are never to be hashed', async () => {
    await store.close();
    store = await open('off');
    fs.writeFileSync(at('b/k'), 'theirs');
    const etag = await append('two', 'k');
    expect(etag).toMatch(/-/);
    expect((await store.head('b', 'k')).etag).toBe(etag);
    expect(await append('three', 'k')).not.toBe(etag);
    expect(store.live.hashes).toBe(0);
    await withoutIndex();
    expect((await store.head('b', 'k')).etag).toBe(md5('theirstwothree'));
    expect(await faults()).toBe(0);
  });
});

describe('many appends', { timeout: 120_000 }, () => {
  it('cost the journal the same each', async () => {
    await store.put('b', 'k', body('first'), crc);
    const some = async (count: number): Promise<number> => {
      const before = journalBytes();
      for (let i = 0; i < count; i++) await append(`piece ${'x'.repeat(i % 7)}`, 'k');
      return journalBytes() - before;
    };
    const first = await some(50);
    await some(200);
    expect(await some(50)).toBeLessThan(first * 1.2);
    const before = await told('b', 'k');
    await withoutIndex();
    expect(await told('b', 'k')).toEqual(before);
  });

  it('are hashed anew where a line of the journal was damaged', async () => {
    await store.put('b', 'k', body('one'));
    for (const piece of ['two', 'three', 'four']) await append(piece, 'k');
    await store.close();
    for (const name of fs.readdirSync(at('.gos3rve/journal'))) {
      if (!name.endsWith('.jsonl')) continue;
      const lines = fs.readFileSync(at('.gos3rve/journal', name), 'utf8').split('\n');
      const appended = lines.findIndex((line) => line.includes('"op":"appended"'));
      if (appended < 0) continue;
      lines[appended] = 'damaged';
      fs.writeFileSync(at('.gos3rve/journal', name), lines.join('\n'));
    }
    store = await open();
    await withoutIndex();
    expect((await store.head('b', 'k')).etag).toBe(md5('onetwothreefour'));
    expect(await faults()).toBe(0);
  });
});
