/** The fingerprint has a form for every time that a file may bear, and keeps the one that it had for the usual ones. */
import type { BigIntStats } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  fingerprint,
  fingerprintMtimeNs,
  fingerprintSize,
  formatFingerprint,
  looksRestored,
  parseFingerprint,
} from '../../src/fs/fingerprint.js';

const S = 1_000_000_000n;
const of = (mtimeNs: bigint, birthtimeNs = 0n): Buffer =>
  fingerprint({ ino: 12n, size: 345n, mtimeNs, birthtimeNs } as BigIntStats, 7);

describe('fingerprint', () => {
  it('is as it always was for the usual times', () => {
    const fp = of(1_600_000_000_123_456_789n, 1_500_000_000n * S);
    expect(formatFingerprint(fp)).toBe('7:12:1500000000000000000:345:1600000000123456789');
    expect(fp.toString('hex')).toBe('00000007000000000000000c14d1120d7b160000000000000000015916345785dffbcd15');
    expect(fingerprintSize(fp)).toBe(345);
  });

  // 1901, 1969, 2262 (the last of 64 bits, and the next), 2300, 2446, 2486
  it.each([-(2n ** 31n) * S, -1n, 0n, 2n ** 63n - 1n, 2n ** 63n, 10_413_792_000n * S, 15_032_385_535n * S])(
    'of a file of %s ns comes back from the journal, which tells that time',
    (ns) => {
      for (const fp of [of(ns), of(0n, ns)]) {
        const told = formatFingerprint(fp);
        expect(told.split(':')).toContain(String(ns));
        expect(parseFingerprint(told)).toEqual(fp);
      }
      expect(fingerprintMtimeNs(of(ns))).toBe(ns);
    },
  );

  it.each([-62_135_596_800n * S, -(2n ** 63n) - 1n, 253_402_300_800n * S])(
    'of a file of %s ns holds all the same',
    (ns) => {
      expect(parseFingerprint(formatFingerprint(of(ns)))).toEqual(of(ns));
      expect(of(ns).equals(of(ns + 1n))).toBe(false);
    },
  );

  it.each<[string, bigint, bigint, boolean]>([
    ['the same time', 7n * S + 5n, 7n * S + 5n, true],
    ['its whole seconds', 7n * S + 5n, 7n * S, true],
    ['the second before', 7n * S + 5n, 6n * S, false],
    ['the next one', 7n * S + 5n, 8n * S, false],
    ['another time in the second', 7n * S + 5n, 7n * S + 4n, false],
    ['a finer time than was known', 7n * S, 7n * S + 5n, false],
  ])('with %s after %d: %d', (_, old, now, restored) => {
    expect(looksRestored(of(old), of(now, 3n))).toBe(restored);
  });

  it('refuses what is none', () => {
    expect(() => parseFingerprint('1:2:3:4')).toThrow(SyntaxError);
  });
});
