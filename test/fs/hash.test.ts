import { beforeAll, describe, expect, it } from 'vitest';
import fc from '../fast-check.js';
import { CHECKSUM_ALGORITHMS } from '../../src/base/model.js';
import type { ChecksumAlgorithm } from '../../src/base/model.js';
import { createHasher, prepareHashes } from '../../src/fs/hash.js';

beforeAll(prepareHashes);

function hex(algorithm: ChecksumAlgorithm, ...chunks: (string | Uint8Array)[]): string | undefined {
  const hasher = createHasher([algorithm]);
  for (const chunk of chunks) hasher.update(typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
  return hasher.digest()[algorithm]?.toString('hex');
}

describe('check values', () => {
  // The reveng catalogue for CRCs, RFC 1321 and FIPS 180-4 implementations, xxHash's own sanity values.
  const PUBLISHED: [ChecksumAlgorithm, string, string][] = [
    ['CRC32', '123456789', 'cbf43926'],
    ['CRC32C', '123456789', 'e3069283'],
    ['CRC64NVME', '123456789', 'ae8b14860a799888'],
    ['MD5', '123456789', '25f9e794323b453885f5181f1b624d0b'],
    ['SHA1', '123456789', 'f7c3bc1d808e04732adf679965ccc34ca7ae3441'],
    ['SHA256', '123456789', '15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225'],
    [
      'SHA512',
      '123456789',
      'd9e6762dd1c8eaf6d61b3c6192fc408d4d6d5f1176d0c29169bc24e71c3f274ad27fcd5811b313d681f7e55ec02d73d499c95455b6b5bb503acf574fba8ffe85',
    ],
    ['XXHASH64', '', 'ef46db3751d8e999'],
    ['XXHASH64', 'a', 'd24ec4f1a98c6e5b'],
    ['XXHASH3', '', '2d06800538d394c2'],
    ['XXHASH3', 'a', 'e6c632b61e964e1f'],
    ['XXHASH128', '', '99aa06d3014798d86001c324468d497f'],
    ['XXHASH128', 'a', 'a96faf705af16834e6c632b61e964e1f'],
  ];
  it.each(PUBLISHED)('%s of "%s"', (algorithm, text, expected) => {
    expect(hex(algorithm, text)).toBe(expected);
  });

  it('keeps leading zeros of a CRC', () => {
    expect(hex('CRC32', '16660')).toBe('0000f9ad');
    expect(hex('CRC32', '')).toBe('00000000');
    expect(hex('CRC64NVME', '')).toBe('0000000000000000');
  });
});

it('computes MD5 whatever is asked for, and nothing else', () => {
  expect(Object.keys(createHasher([]).digest())).toEqual(['MD5']);
  expect(Object.keys(createHasher(['MD5', 'CRC32', 'CRC32']).digest()).sort()).toEqual(['CRC32', 'MD5']);
});

it('gives the same digests however a body is cut, with hashers taking turns', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(2), fc.uint8Array({ maxLength: 700 })), { maxLength: 30 }),
      (steps: [number, Uint8Array][]) => {
        // Three bodies at once: the WebAssembly instances are shared between them.
        const hashers = [0, 1, 2].map(() => createHasher(CHECKSUM_ALGORITHMS));
        const bodies: Uint8Array[][] = [[], [], []];
        for (const [i, chunk] of steps) {
          hashers[i]?.update(chunk);
          bodies[i]?.push(chunk);
        }
        hashers.forEach((hasher, i) => {
          const digests = hasher.digest();
          const whole = Buffer.concat(bodies[i] ?? []);
          for (const algorithm of CHECKSUM_ALGORITHMS) {
            expect(digests[algorithm]?.toString('hex')).toBe(hex(algorithm, whole));
          }
        });
      },
    ),
    { numRuns: 50 },
  );
});

it('does not change a digest that was given when the engine goes on', () => {
  const first = createHasher(['XXHASH3', 'XXHASH128', 'CRC64NVME']);
  first.update(Buffer.from('a'));
  const digests = first.digest();
  const before = digests.XXHASH3?.toString('hex');
  hex('XXHASH3', 'something else');
  expect(digests.XXHASH3?.toString('hex')).toBe(before);
  expect(before).toBe('e6c632b61e964e1f');
});
