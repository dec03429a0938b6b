/** `--min-free` counts what is announced and still under way. */
import { execFileSync } from 'node:child_process';
import { statfsSync } from 'node:fs';
import { link, mkdtemp, open, readdir, rm, statfs, truncate, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Body } from '../../src/base/model.js';
import { beginTurn } from '../../src/base/turn.js';
import { Room } from '../../src/store/room.js';
import { openStore } from '../../src/store/open.js';
import { canMount } from '../e2e/disk.js';
import { body } from '../suites/store/kit.js';

const TIB = 2 ** 40;

describe('room for uploads', () => {
  let folder: string;
  beforeEach(async () => (folder = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-room-'))));
  afterEach(() => rm(folder, { recursive: true }));

  /** A body of `size` announced bytes that waits for `go` before its only chunk. */
  const waiting = (size: number, go: Promise<void>, chunk = 1): Body => ({
    size,
    chunks: (async function* () {
      await go;
      yield new Uint8Array(chunk);
    })(),
  });
  const drain = async ({ chunks }: Body): Promise<number> => {
    let size = 0;
    for await (const chunk of chunks) size += chunk.byteLength;
    return size;
  };
  const full = { code: 'InsufficientStorage' };

  it('refuses the second of two bodies that fit one by one, until the first has ended', async () => {
    const { bavail, bsize } = await statfs(folder);
    const half = Math.floor((bavail * bsize) / 2);
    const room = new Room(Math.floor(half / 2));
    let release: () => void = () => undefined;
    const first = room.during(folder, waiting(half, new Promise((resolve) => (release = resolve))), drain);
    await expect(room.during(folder, body('x', half), drain)).rejects.toMatchObject(full);
    expect(() => room.check(folder, half)).toThrow(expect.objectContaining(full) as Error);
    expect(await room.during(folder, body('small'), drain)).toBe(5);
    release();
    await first;
    await room.during(folder, body('x', half), drain);
  });

  it('counts what is copied or joined until it has ended, as far as it is not written', async () => {
    const room = new Room(100, () => 1000);
    let release: () => void = () => undefined;
    let wrote: (bytes: number) => void = () => undefined;
    const first = room.writing(folder, 600, async (tell) => {
      wrote = tell;
      await new Promise<void>((resolve) => (release = resolve));
    });
    await expect(room.writing(folder, 600, () => Promise.resolve())).rejects.toMatchObject(full);
    wrote(400);
    await room.writing(folder, 600, () => Promise.resolve());
    release();
    await first;
    await room.writing(folder, 900, () => Promise.resolve());
    const broken = room.writing(folder, 900, () => Promise.reject(new Error('gone')));
    await expect(broken).rejects.toThrow('gone');
    room.check(folder, 900);
  });

  it('counts of a file that the system fills only what is missing in it', async () => {
    const MIB = 1 << 20;
    const room = new Room(100, () => 10 * MIB);
    const file = await open(path.join(folder, 'copy'), 'w');
    let release: () => void = () => undefined;
    const first = room.writing(folder, 6 * MIB, async (_wrote, fills) => {
      fills(file.fd);
      await new Promise<void>((resolve) => (release = resolve));
    });
    expect(() => room.check(folder, 6 * MIB)).toThrow(expect.objectContaining(full) as Error);
    await file.write(Buffer.alloc(5 * MIB, 'x'));
    await file.sync();
    room.check(folder, 6 * MIB);
    expect(() => room.check(folder, 9.5 * MIB)).toThrow(expect.objectContaining(full) as Error);
    release();
    await first;
    await file.close();
    room.check(folder, 9.5 * MIB);
  });

  it('gives back the room of a body that broke off', async () => {
    const { bavail, bsize } = await statfs(folder);
    const half = Math.floor((bavail * bsize) / 2);
    const room = new Room(Math.floor(half / 2));
    const broken = () => Promise.reject(new Error('gone'));
    for (let n = 0; n < 3; n++) await expect(room.during(folder, body('x', half), broken)).rejects.toThrow('gone');
  });

  it.each([undefined, 64 << 20])('looks again while a body of %s bytes comes in: others write too', async (size) => {
    let free = 1 << 30;
    const room = new Room(512 << 20, () => free);
    let sent = 0;
    const chunks = async function* () {
      for (; sent < 64; sent++) yield await Promise.resolve(new Uint8Array(1 << 20));
    };
    const other = (): void => void (free = (512 << 20) - 1);
    const reading = async ({ chunks }: Body): Promise<void> => {
      for await (const _ of chunks) if (sent === 10) other();
    };
    const told = size === undefined ? {} : { size };
    await expect(room.during(folder, { chunks: chunks(), ...told }, reading)).rejects.toMatchObject(full);
    expect(sent).toBeLessThan(20);
    free++;
    room.check(folder, 0);
  });

  it('looks once for all that begin in one turn, counts what they write, and looks again near the limit', async () => {
    let looks = 0;
    let free = 1000;
    const room = new Room(100, () => (looks++, free));
    const write = (size: number): Promise<void> =>
      room.during(folder, body('x', size), () => {
        free -= size;
        return Promise.resolve();
      });
    beginTurn();
    await Promise.all([write(300), write(300), write(200)]);
    expect(looks).toBe(1);
    await expect(write(200)).rejects.toMatchObject(full);
    await write(100);
    await expect(write(1)).rejects.toMatchObject(full);
    await new Promise(setImmediate);
    // others have made room
    free += 100;
    beginTurn();
    await write(100);
    expect(free).toBe(100);
  });

  it('refuses nothing without --min-free', async () => {
    expect(await new Room(0).during(folder, body('x', TIB * 1024), drain)).toBe(1);
  });

  it('holds for puts, parts and appends to a store', async () => {
    const { bavail, bsize } = await statfs(folder);
    const minFree = Math.floor((bavail * bsize) / 4);
    const store = await openStore(folder, { minFree });
    await store.createBucket('box', {});
    await writeFile(path.join(folder, 'box', 'log'), 'x');
    const { uploadId } = await store.createUpload('box', 'm', {});
    let release: () => void = () => undefined;
    const first = store.put('box', 'k', waiting(2 * minFree, new Promise((resolve) => (release = resolve))));
    const failed = expect(first).rejects.toMatchObject({ code: 'IncompleteBody' });
    const large = (): Body => body('x', 2 * minFree);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await expect(store.put('box', 'other', large())).rejects.toMatchObject(full);
    await expect(store.putPart('box', 'm', uploadId, 1, large())).rejects.toMatchObject(full);
    await expect(store.append('box', 'log', 1, large())).rejects.toMatchObject(full);
    release();
    await failed;
    await expect(store.put('box', 'other', large())).rejects.toMatchObject({ code: 'IncompleteBody' });
    await store.close();
  });

  it('is asked for twice the length of an append: as a piece, and once more in the object', async () => {
    const { bavail, bsize } = await statfs(folder);
    const quarter = Math.floor((bavail * bsize) / 4);
    const store = await openStore(folder, { minFree: quarter });
    await store.createBucket('box', {});
    await writeFile(path.join(folder, 'box', 'log'), 'x');
    await expect(store.append('box', 'log', 1, body('y', 2 * quarter))).rejects.toMatchObject(full);
    // a new object has room for one: its piece becomes it
    for (const [key, offset, size] of [
      ['log', 1, quarter],
      ['new', 0, 2 * quarter],
    ] as const)
      await expect(store.append('box', key, offset, body('y', size))).rejects.toMatchObject({ code: 'IncompleteBody' });
    await store.close();
  });

  it.skipIf(!canMount())(
    'holds for an append of unknown length while it is written once more (needs root: a tmpfs)',
    async () => {
      const MIB = 1 << 20;
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=96m', 'tmpfs', folder]);
      try {
        const store = await openStore(folder, { minFree: 32 * MIB });
        const growing = (size: number): Body => ({
          chunks: (async function* () {
            for (let at = 0; at < size; at += MIB) yield await Promise.resolve(Buffer.alloc(MIB, 'y'));
          })(),
        });
        await store.createBucket('box', {});
        await store.put('box', 'log', body('x'));
        let least = Infinity;
        const look = setInterval(() => {
          const { bavail, bsize } = statfsSync(folder);
          least = Math.min(least, bavail * bsize);
        }, 1);
        // fits as a piece, not twice
        await expect(store.append('box', 'log', 1, growing(40 * MIB))).rejects.toMatchObject(full);
        clearInterval(look);
        expect(least).toBeGreaterThanOrEqual(32 * MIB);
        expect((await store.head('box', 'log')).size).toBe(1);
        expect(await readdir(path.join(folder, '.gos3rve', 'staging'))).toEqual([]);
        expect((await store.append('box', 'log', 1, growing(20 * MIB))).size).toBe(1 + 20 * MIB);
        await store.close();
      } finally {
        execFileSync('umount', [folder]);
      }
    },
  );

  it('holds for an append to a file with several names, which is copied', async () => {
    const { bavail, bsize } = await statfs(folder);
    // a gibibyte that nobody reads: else it would be hashed before it is appended to
    const store = await openStore(folder, { minFree: Math.max(1, bavail * bsize - (512 << 20)), hash: 'off' });
    await store.createBucket('box', {});
    const file = path.join(folder, 'box', 'log');
    await writeFile(file, '');
    await truncate(file, 1 << 30);
    await link(file, path.join(folder, 'box', 'other'));
    await expect(store.append('box', 'log', 1 << 30, body('x'))).rejects.toMatchObject(full);
    expect((await store.head('box', 'log')).size).toBe(1 << 30);
    expect(await readdir(path.join(folder, '.gos3rve', 'staging'))).toEqual([]);
    await store.close();
  });
});
