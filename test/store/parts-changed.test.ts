/** An object that was uploaded in parts and rewritten by another program: its parts are no more, and its ETag is that of any file (DESIGN rule 4). */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { verify } from '../../src/jobs/verify.js';
import type { ObjectInfo } from '../../src/store/contract.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body, get, list, md5 } from '../suites/store/kit.js';

const BUCKET = 'box';
/** One that a HEAD reads, one that is left to the background. */
const SIZES: [string, number][] = [
  ['small', 3000],
  ['large', 1_200_000],
];
const DIGESTS = { algorithms: ['CRC32' as const], store: 'CRC32' as const };
/** A time that Node, whose Dates count ms, can put back. */
const SAID = { who: 'me', mtime: '1700000000' };
let root: string;
let store: LocalStore;
const at = (name: string): string => path.join(root, BUCKET, name);
const open = (): Promise<LocalStore> => openStore(root, { durability: 'fast', minPartSize: 1, etagGraceMs: 0 });
const head = (key: string): Promise<ObjectInfo> => store.head(BUCKET, key);

beforeEach(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-parts-'));
  fs.mkdirSync(path.join(root, BUCKET));
  store = await open();
});
afterEach(async () => {
  await store.close();
  fs.rmSync(root, { recursive: true });
});

/** @returns its ETag. */
async function upload(key: string, size: number): Promise<string> {
  const { uploadId } = await store.createUpload(BUCKET, key, {
    facts: { metadata: SAID },
    checksum: { algorithm: 'CRC32', type: 'FULL_OBJECT' },
  });
  const pieces = [Buffer.alloc(size - 10, 'x'), Buffer.alloc(10, 'y')];
  const parts = [];
  for (const [i, piece] of pieces.entries())
    parts.push({
      partNumber: i + 1,
      checksums: {},
      etag: (await store.putPart(BUCKET, key, uploadId, i + 1, body(piece), { digests: DIGESTS })).etag,
    });
  await store.completeUpload(BUCKET, key, uploadId, parts);
  return (await head(key)).etag;
}

async function hashed(key: string): Promise<void> {
  await head(key);
  await store.live.hashFile([BUCKET], key);
}

/** Other bytes of the same size in place, with the mtime put back. */
function forge(key: string, size: number): string {
  fs.writeFileSync(at(key), Buffer.alloc(size, 'z'));
  fs.utimesSync(at(key), 1_700_000_000, 1_700_000_000);
  return md5(Buffer.alloc(size, 'z'));
}

async function again(lost: boolean): Promise<void> {
  await store.close();
  if (lost) fs.rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
  store = await open();
}

async function damages(): Promise<string[]> {
  const found: string[] = [];
  await verify(store.verifier, {
    signal: new AbortController().signal,
    progress: () => undefined,
    damage: (name, verdict) => found.push(`${name}: ${JSON.stringify(verdict)}`),
  });
  return found;
}

describe.each(SIZES)('an object in parts, %s', (_what, size) => {
  const CHANGES: [string, () => void][] = [
    ['restored', () => fs.cpSync(at('k'), at('t'), { preserveTimestamps: true })],
    ['given another mode', () => fs.chmodSync(at('k'), 0o600)],
    ['touched', () => fs.utimesSync(at('k'), 1_800_000_000, 1_800_000_000)],
    ['written again', () => fs.writeFileSync(at('k'), fs.readFileSync(at('k')))],
    ['replaced by a copy of another time', () => fs.cpSync(at('k'), at('t'))],
  ];

  it('has the ETag of its bytes once others rewrote it, and is whole to verify ever after', async () => {
    expect(await upload('k', size)).toMatch(/-2$/);
    const etag = forge('k', size);
    await hashed('k');
    const isPlain = async (key: string): Promise<void> => {
      const info = await head(key);
      expect(info).toMatchObject({ etag, facts: { metadata: SAID } });
      expect(info.partCount).toBeUndefined();
      const opened = await store.open(BUCKET, key);
      expect(await opened.parts()).toEqual([]);
      await opened.close();
      expect((await get(store, key)).info.etag).toBe(etag);
      expect(await list(store)).toMatchObject([key]);
      expect(await damages()).toEqual([]);
    };
    await isPlain('k');
    await again(false);
    await isPlain('k');
    await again(true);
    await isPlain('k');
    await store.move({ bucket: BUCKET, key: 'k' }, { bucket: BUCKET, key: 'm' });
    await isPlain('m');
    await again(true);
    await isPlain('m');
  });

  it('has the ETag of its bytes when it was rewritten and renamed at once', async () => {
    await upload('k', size);
    const etag = forge('k', size);
    fs.renameSync(at('k'), at('m'));
    await hashed('m');
    // of a large one verify is the first to know
    expect(await damages()).toEqual([]);
    expect(await head('m')).toMatchObject({ etag });
    expect(await damages()).toEqual([]);
    await again(true);
    expect(await head('m')).toMatchObject({ etag });
    expect(await damages()).toEqual([]);
  });

  it.each(CHANGES.flatMap(([how, change]) => ['a request', 'the watcher'].map((by) => [how, by, change] as const)))(
    'keeps its parts when it was %s, seen by %s first',
    async (_how, seenBy, change) => {
      const etag = await upload('k', size);
      const { checksum } = await head('k');
      expect(checksum).toBeDefined();
      change();
      if (fs.existsSync(at('t'))) fs.renameSync(at('t'), at('k'));
      // some changes are seen by the watcher, some by a request
      if (seenBy === 'the watcher') await store.live.lookAtFile([BUCKET], 'k');
      await hashed('k');
      const keepsAll = async (): Promise<void> => {
        expect(await head('k')).toMatchObject({ etag, partCount: 2, checksum });
        const opened = await store.open(BUCKET, 'k');
        expect(await opened.parts()).toMatchObject([{ size: size - 10 }, { size: 10 }]);
        await opened.close();
      };
      await keepsAll();
      expect(await damages()).toEqual([]);
      await again(true);
      await keepsAll();
      // a size that is another's
      fs.appendFileSync(at('k'), 'z');
      await hashed('k');
      expect((await head('k')).etag).toBe(md5(fs.readFileSync(at('k'))));
      expect((await head('k')).partCount).toBeUndefined();
    },
  );

  const rename = async (): Promise<void> => fs.renameSync(at('k'), at('m'));
  const move = async (): Promise<void> => {
    await store.move({ bucket: BUCKET, key: 'k' }, { bucket: BUCKET, key: 'm' });
  };
  const MOVES: [string, () => Promise<void>][] = [
    ['renamed by another program', rename],
    [
      'renamed by another program, with another object at its key',
      async () => {
        await rename();
        await store.put(BUCKET, 'k', body('other'));
      },
    ],
    ['moved by a client', move],
    [
      'put aside by another program, and moved by a client',
      async () => {
        fs.renameSync(at('k'), at('aside'));
        await store.head(BUCKET, 'aside');
        await store.move({ bucket: BUCKET, key: 'aside' }, { bucket: BUCKET, key: 'm' });
      },
    ],
  ];

  it.each(
    CHANGES.flatMap(([how, change]) =>
      // a restored file is another one: only at its key it is known
      (how === 'restored' ? MOVES.slice(2, 3) : MOVES).flatMap(([then, act]) =>
        ['', ', and the index lost'].map((and) => [how, then, and, change, act] as const),
      ),
    ),
  )('keeps its parts when it was %s and then %s%s', async (_how, _then, and, change, act) => {
    const etag = await upload('k', size);
    const { checksum } = await head('k');
    change();
    if (fs.existsSync(at('t'))) fs.renameSync(at('t'), at('k'));
    await store.live.lookAtFile([BUCKET], 'k');
    await act();
    await head('m');
    if (and !== '') await again(true);
    await hashed('m');
    expect(await head('m')).toMatchObject({ etag, partCount: 2, checksum });
    const opened = await store.open(BUCKET, 'm');
    expect(await opened.parts()).toMatchObject([{ size: size - 10 }, { size: 10 }]);
    await opened.close();
    expect(await damages()).toEqual([]);
  });
});
