/**
 * The CRC of a whole from the CRCs of its parts, without its bytes: crc(A B) = crc(A) * x^(8 |B|) + crc(B) in GF(2)[x] modulo the
 * polynomial. Holds for CRCs whose initial and final values are all ones, as those of S3 are (the method of zlib's crc32_combine).
 */
import type { ChecksumAlgorithm } from '../base/model.js';

export type CombinableAlgorithm = Extract<ChecksumAlgorithm, 'CRC32' | 'CRC32C' | 'CRC64NVME'>;

/** A polynomial in reflected order, x^0 in the top bit of `hi`; a CRC of 32 bits has `lo` 0. Two 32-bit halves: BigInt would allocate at every step. */
interface Element {
  hi: number;
  lo: number;
}
interface Field {
  width: 32 | 64;
  /** The generator without its highest term, reflected. */
  polynomial: Element;
  /** powers[k] is x^(8 * 2^k): a shift by 2^k bytes. Grows on demand. */
  powers: Element[];
}

const FIELDS: Readonly<Record<CombinableAlgorithm, Field>> = {
  CRC32: { width: 32, polynomial: { hi: 0xedb88320, lo: 0 }, powers: [] },
  CRC32C: { width: 32, polynomial: { hi: 0x82f63b78, lo: 0 }, powers: [] },
  CRC64NVME: { width: 64, polynomial: { hi: 0x9a6c9329, lo: 0xac4bc9b5 }, powers: [] },
};

const ONE: Element = { hi: 0x80000000, lo: 0 };

function multiply(field: Field, a: Element, b: Element): Element {
  const { width, polynomial } = field;
  let { hi, lo } = b;
  let productHi = 0;
  let productLo = 0;
  for (let i = 0; i < width; i++) {
    const bit = i < 32 ? (a.hi >>> (31 - i)) & 1 : (a.lo >>> (63 - i)) & 1;
    if (bit === 1) {
      productHi ^= hi;
      productLo ^= lo;
    }
    // b * x: a shift towards higher powers, which lie to the right, reduced when it runs over the end.
    const carry = width === 32 ? hi & 1 : lo & 1;
    lo = width === 32 ? 0 : (lo >>> 1) | (hi << 31);
    hi >>>= 1;
    if (carry === 1) {
      hi ^= polynomial.hi;
      lo ^= polynomial.lo;
    }
  }
  return { hi: productHi >>> 0, lo: productLo >>> 0 };
}

/** x^(8 * size): what appending `size` bytes does to the CRC before them. */
function shiftBy(field: Field, size: number): Element {
  let result = ONE;
  for (let k = 0, rest = size; rest > 0; k++, rest = Math.floor(rest / 2)) {
    const power = powerOf(field, k);
    if (rest % 2 === 1) result = multiply(field, result, power);
  }
  return result;
}

function powerOf(field: Field, k: number): Element {
  const known = field.powers[k];
  if (known !== undefined) return known;
  const previous = k === 0 ? undefined : powerOf(field, k - 1);
  const power = previous === undefined ? { hi: 0x80000000 >>> 8, lo: 0 } : multiply(field, previous, previous);
  field.powers[k] = power;
  return power;
}

/** Combines big-endian CRCs of consecutive parts of `size` bytes; the CRC of nothing is 0. @throws Error if a CRC has the wrong length. */
export function combineCrcs(algorithm: CombinableAlgorithm, parts: Iterable<{ crc: Buffer; size: number }>): Buffer {
  const field = FIELDS[algorithm];
  const bytes = field.width / 8;
  // Nearly all parts of an upload have one size.
  const shifts = new Map<number, Element>();
  let hi = 0;
  let lo = 0;
  for (const { crc, size } of parts) {
    if (crc.length !== bytes) throw new Error(`a ${algorithm} has ${bytes} bytes, not ${crc.length}`);
    let shift = shifts.get(size);
    if (shift === undefined) {
      shift = shiftBy(field, size);
      shifts.set(size, shift);
    }
    const moved = multiply(field, shift, { hi, lo });
    hi = (moved.hi ^ crc.readUInt32BE(0)) >>> 0;
    lo = bytes === 8 ? (moved.lo ^ crc.readUInt32BE(4)) >>> 0 : 0;
  }
  const result = Buffer.alloc(bytes);
  result.writeUInt32BE(hi, 0);
  if (bytes === 8) result.writeUInt32BE(lo, 4);
  return result;
}
