/** The thread is the built one: run `npm run build` first. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import fc from '../fast-check.js';
import { CHECKSUM_ALGORITHMS, type Digests } from '../../src/base/model.js';
import { BUFFER_BYTES, giveBuffer, isShared, takeBuffer } from '../../src/fs/buffers.js';
import { DigestThread } from '../../src/fs/digest-thread.js';
import { createHasher, prepareHashes } from '../../src/fs/hash.js';

const DIST = path.resolve(import.meta.dirname, '../../dist');
const SCRIPT = new URL('../../dist/fs/digest-worker.js', import.meta.url);

beforeAll(prepareHashes);

function expected(...bytes: Uint8Array[]): Digests {
  const hasher = createHasher(CHECKSUM_ALGORITHMS);
  for (const piece of bytes) hasher.update(piece);
  return hasher.digest();
}

describe('DigestThread', () => {
  let thread: DigestThread;
  beforeEach(() => {
    thread = new DigestThread(SCRIPT);
  });
  afterEach(() => thread.stop());

  it('gives what this thread would, of several bodies at once, from shared memory and from copies', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(2), fc.boolean(), fc.nat(200_000)), { maxLength: 12 }),
        async (steps: [number, boolean, number][]) => {
          const bodies = [undefined, 1, 2].map((size) => thread.openBody(CHECKSUM_ALGORITHMS, size));
          const pieces: Buffer[][] = [[], [], []];
          for (const [i, shares, size] of steps) {
            const bytes = Buffer.alloc(size, `${i} ${size}`);
            pieces[i]?.push(bytes);
            const buffer = takeBuffer();
            expect(isShared(buffer)).toBe(true);
            bytes.copy(buffer);
            await bodies[i]?.update(shares ? buffer.subarray(0, size) : bytes);
            // taken in: others may write there
            buffer.fill(0);
            giveBuffer(buffer);
          }
          const digests = await Promise.all(bodies.map(async (body) => body.digest()));
          expect(digests).toEqual(pieces.map((of) => expected(...of)));
        },
      ),
      { numRuns: 10 },
    );
    expect(thread.bodies).toBe(0);
  });

  it('takes updates that do not wait for each other in their order', async () => {
    const body = thread.openBody([]);
    const buffers = [1, 2, 3].map((n) => takeBuffer().fill(n));
    await Promise.all(buffers.map(async (buffer) => body.update(buffer)));
    expect((await body.digest()).MD5).toEqual(expected(...buffers).MD5);
    buffers.forEach(giveBuffer);
  });

  it('answers each that it hashes together with others', async () => {
    const digests = [1, 2, 3, 4, 5, 6].map(async (n) => {
      const body = thread.openBody([], n * 600_001);
      const buffers = [
        takeBuffer().fill(n),
        takeBuffer()
          .fill(n + 1)
          .subarray(0, n * 80_001),
      ];
      await Promise.all(buffers.map(async (buffer) => body.update(buffer)));
      const { MD5 } = await body.digest();
      expect(MD5).toEqual(expected(...buffers).MD5);
    });
    await Promise.all(digests);
    expect(thread.bodies).toBe(0);
  });

  it('forgets a body that is given up', async () => {
    const body = thread.openBody([]);
    await body.update(Buffer.from('abc'));
    expect(thread.bodies).toBe(1);
    body.drop();
    body.drop();
    expect(thread.bodies).toBe(0);
    expect((await thread.openBody([]).digest()).MD5).toEqual(expected().MD5);
  });

  it('fails what waits when it ends, and all that comes after', async () => {
    expect(await thread.started).toBe(true);
    const body = thread.openBody([]);
    const update = body.update(Buffer.alloc(BUFFER_BYTES));
    const stopped = thread.stop();
    await expect(update).rejects.toThrow('hashing thread');
    await expect(body.digest()).rejects.toThrow('hashing thread');
    await stopped;
    expect([thread.hasEnded, thread.isReady]).toEqual([true, false]);
  });
});

it('says that it did not come up', async () => {
  const thread = new DigestThread(new URL('none.js', SCRIPT));
  expect(await thread.started).toBe(false);
  expect(thread.hasEnded).toBe(true);
});

it('is waited for, and does not keep a process alive that is done', async () => {
  const script = `
    import { openBodyHasher } from ${JSON.stringify(path.join(DIST, 'fs/body-hasher.js'))};
    const body = await openBodyHasher(['CRC32'], 20 << 20);
    for (let i = 0; i < 20; i++) await body.update(Buffer.alloc(1 << 20, 'x'));
    console.log((await body.digest()).MD5.toString('hex'));`;
  const began = performance.now();
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
  expect(stdout.trim()).toBe(expected(Buffer.alloc(20 << 20, 'x')).MD5.toString('hex'));
  expect(performance.now() - began).toBeLessThan(20_000);
});
