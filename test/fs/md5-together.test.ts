/** MD5 of bodies that come at the same time: the same as of each alone, whatever their lengths and however they are cut. */
import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import fc from '../fast-check.js';
import { openBodyHasher } from '../../src/fs/body-hasher.js';
import { Md5Together } from '../../src/fs/md5-together.js';

const made = (): Md5Together => {
  const together = Md5Together.make();
  if (!together) throw new Error('this Node has no SIMD');
  return together;
};
const openssl = (...pieces: Uint8Array[]): string => createHash('md5').update(Buffer.concat(pieces)).digest('hex');

/** Gives a body piece by piece, each as soon as the one before is hashed. */
async function md5Of(together: Md5Together, pieces: Uint8Array[], between = 0): Promise<string> {
  const one = together.openBody();
  for (const piece of pieces) {
    const lent = Uint8Array.from(piece);
    await one.update(lent);
    // whoever gave it may use the memory again
    lent.fill(0xff);
    if (between > 0) await sleep(between);
  }
  const digest = one.digest().toString('hex');
  one.drop();
  return digest;
}

describe('MD5 of several bodies', () => {
  it.each([1, 2, 3, 4, 5, 9])('gives for %i what each has alone', async (bodies) => {
    const together = made();
    const all = Array.from({ length: bodies }, (_, i) => [randomBytes(100_000 * i + i), randomBytes(70_000)]);
    expect(await Promise.all(all.map((pieces) => md5Of(together, pieces)))).toEqual(all.map((p) => openssl(...p)));
  });

  it('gives it for each length around that of a block', async () => {
    const together = made();
    const lengths = Array.from({ length: 200 }, (_, i) => Buffer.alloc(i, i + 1));
    expect(await Promise.all(lengths.map((one) => md5Of(together, [one])))).toEqual(lengths.map((one) => openssl(one)));
  });

  it('gives it however they are cut', async () => {
    const length = fc.oneof(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: 40_000 }));
    const body = fc.array(length, { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(fc.array(body, { maxLength: 7 }), async (bodies) => {
        const together = made();
        const all = bodies.map((lengths) => lengths.map((bytes) => randomBytes(bytes)));
        expect(await Promise.all(all.map((p) => md5Of(together, p)))).toEqual(all.map((p) => openssl(...p)));
      }),
      { numRuns: 60 },
    );
  });

  it('takes several pieces of one body at once', async () => {
    const one = made().openBody();
    const pieces = [100, 64, 0, 1, 63, 5000, 7].map((bytes) => randomBytes(bytes));
    await Promise.all(pieces.map((piece) => one.update(piece)));
    expect(one.digest().toString('hex')).toBe(openssl(...pieces));
  });

  it('does not wait for those that are silent or given up', async () => {
    const together = made();
    const [silent, given] = [together.openBody(), together.openBody()];
    const bytes = randomBytes(300_000);
    const slow = md5Of(together, [bytes, bytes], 20);
    expect(await md5Of(together, [bytes])).toBe(openssl(bytes));
    given.drop();
    expect(await slow).toBe(openssl(bytes, bytes));
    silent.drop();
  });

  it('holds more bytes than 32 bits tell in bits', async () => {
    const chunk = Buffer.alloc(16 << 20, 'x');
    const one = made().openBody();
    const hash = createHash('md5');
    for (let i = 0; i < 33; i++) {
      await one.update(chunk);
      hash.update(chunk);
    }
    expect(one.digest().toString('hex')).toBe(hash.digest('hex'));
  });
});

it('computes all digests of bodies that come at the same time, also when some are given up', async () => {
  const bodies = Array.from({ length: 9 }, (_, i) => randomBytes(300_000 + i));
  const digests = await Promise.all(
    bodies.map(async (bytes, i) => {
      const hasher = await openBodyHasher(['CRC32', 'SHA256', 'MD5'], bytes.length);
      await hasher.update(bytes.subarray(0, 200_001));
      if (i % 3 === 2) {
        hasher.drop();
        return undefined;
      }
      await hasher.update(bytes.subarray(200_001));
      const { MD5, SHA256, CRC32 } = await hasher.digest();
      hasher.drop();
      return [MD5.toString('hex'), SHA256?.toString('hex'), CRC32?.length];
    }),
  );
  const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
  expect(digests).toEqual(bodies.map((bytes, i) => (i % 3 === 2 ? undefined : [openssl(bytes), sha(bytes), 4])));
});
