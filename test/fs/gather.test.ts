/** Bodies on their way to a file: what is written is what is hashed, a bounded part of it is in memory, and nothing is under way after the end. */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import fc from '../fast-check.js';
import { BUFFER_BYTES, giveBuffer, takeBuffer } from '../../src/fs/buffers.js';
import { writeGathered } from '../../src/fs/gather.js';
import { createHasher, type BodyHasher } from '../../src/fs/hash.js';
import { md5 } from '../suites/store/kit.js';

let folder = '';
let file: FileHandle;
beforeEach(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-gather-'));
  file = await open(path.join(folder, 'f'), 'w+');
});
afterEach(async () => {
  await file.close();
  fs.rmSync(folder, { recursive: true });
});

/** Takes its time, as another thread does, and then looks at the bytes. */
class SlowHasher implements BodyHasher {
  readonly hash = createHash('md5');
  waiting = 0;
  private turn: Promise<void> = Promise.resolve();

  constructor(private readonly ms = 0) {}

  update(bytes: Uint8Array): Promise<void> {
    this.waiting++;
    const before = this.turn;
    this.turn = sleep(this.ms).then(async () => {
      await before;
      this.hash.update(bytes);
      this.waiting--;
    });
    return this.turn;
  }
  digest(): { MD5: Buffer } {
    return { MD5: this.hash.digest() };
  }
  drop(): void {
    // nothing to be freed
  }
}

/** @param give called before each chunk. */
async function* chunksOf(pieces: Uint8Array[], give: () => void = () => undefined): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) {
    await new Promise((resolve) => setImmediate(resolve));
    give();
    // whoever gave it may use the memory again
    const lent = Buffer.from(piece);
    yield lent;
    lent.fill(0xff);
  }
}
const noise = (bytes: number, seed: number): Buffer => {
  const all = Buffer.alloc(bytes);
  for (let i = 0; i < bytes; i += 97) all[i] = (i * seed + (i >> 9)) & 0xff;
  return all;
};

describe('writeGathered', () => {
  it('writes and hashes each byte once, in order, however it comes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.integer({ min: 0, max: 3 * BUFFER_BYTES }), fc.integer({ min: 0, max: 70_000 })), {
          maxLength: 8,
        }),
        fc.constantFrom(undefined, 0, 3),
        async (sizes, slow) => {
          await file.truncate();
          const pieces = sizes.map((size, i) => noise(size, i + 3));
          const all = Buffer.concat(pieces);
          const inThread = { ...createHasher([]), drop: () => undefined };
          const hasher = slow === undefined ? inThread : new SlowHasher(slow);
          expect(await writeGathered({ chunks: chunksOf(pieces) }, file, hasher)).toBe(all.length);
          expect(fs.readFileSync(path.join(folder, 'f')).equals(all)).toBe(true);
          expect(hasher.digest().MD5.toString('hex')).toBe(md5(all));
        },
      ),
      { numRuns: 20 },
    );
  });

  it('writes and hashes the same where all large buffers are in use', async () => {
    const taken = Array.from({ length: 100 }, () => takeBuffer());
    try {
      expect(Math.max(...taken.slice(40).map(({ length }) => length))).toBeLessThan(BUFFER_BYTES / 4);
      const pieces = [noise(BUFFER_BYTES * 2, 3), noise(70_000, 5), noise(1, 7)];
      const all = Buffer.concat(pieces);
      const hasher = new SlowHasher(1);
      expect(await writeGathered({ chunks: chunksOf(pieces) }, file, hasher)).toBe(all.length);
      expect(fs.readFileSync(path.join(folder, 'f')).equals(all)).toBe(true);
      expect(hasher.digest().MD5.toString('hex')).toBe(md5(all));
    } finally {
      for (const buffer of taken) giveBuffer(buffer);
    }
  });

  it('asks for no more than it has room for while the hash is late', async () => {
    let given = 0;
    let most = 0;
    const hasher = new SlowHasher(15);
    const pieces = Array.from({ length: 40 }, (_, i) => noise(BUFFER_BYTES / 4, i));
    const chunks = chunksOf(pieces, () => {
      given++;
      most = Math.max(most, hasher.waiting);
    });
    const work = writeGathered({ chunks }, file, hasher);
    await sleep(10);
    // two buffers under way, at most one more is filled
    expect(given).toBeLessThanOrEqual(3 * 4);
    await work;
    expect(most).toBeLessThanOrEqual(2);
  });

  it.each([
    ['the body breaks off', new Error('gone'), undefined],
    ['more comes than was announced', undefined, 5 * BUFFER_BYTES],
  ])('leaves nothing under way when %s', async (_what, broken, size) => {
    const hasher = new SlowHasher(30);
    async function* chunks(): AsyncGenerator<Uint8Array> {
      yield* chunksOf(Array.from({ length: broken ? 5 : 6 }, (_, i) => noise(BUFFER_BYTES, i)));
      if (broken) throw broken;
    }
    const body = { chunks: chunks(), ...(size !== undefined && { size }) };
    await expect(writeGathered(body, file, hasher)).rejects.toThrow(broken ? 'gone' : 'announced');
    expect(hasher.waiting).toBe(0);
  });

  it('leaves nothing under way when the disk fails, and says so', async () => {
    const hasher = new SlowHasher(30);
    let writes = 0;
    const failing = {
      write: async (buffer: Uint8Array, from: number, length: number, position: number) => {
        if (++writes === 2) throw Object.assign(new Error('disk full'), { code: 'ENOSPC' });
        return file.write(buffer, from, length, position);
      },
    } as unknown as FileHandle;
    const pieces = Array.from({ length: 9 }, (_, i) => noise(BUFFER_BYTES / 2, i));
    await expect(writeGathered({ chunks: chunksOf(pieces) }, failing, hasher)).rejects.toThrow('disk full');
    expect(hasher.waiting).toBe(0);
  });

  it('writes on where a write was short', async () => {
    const short = {
      write: (buffer: Uint8Array, from: number, length: number, position: number) =>
        file.write(buffer, from, Math.ceil(length / 3), position),
    } as unknown as FileHandle;
    const all = noise(BUFFER_BYTES + 12_345, 7);
    await writeGathered({ chunks: chunksOf([all]) }, short, new SlowHasher());
    expect(fs.readFileSync(path.join(folder, 'f')).equals(all)).toBe(true);
  });
});
