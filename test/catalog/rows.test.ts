/** Rows come back as they were, and keys order as their parts do. */
import { describe, expect, it } from 'vitest';
import fc from '../fast-check.js';
import {
  DamagedIndex,
  decodeRow,
  encodeRow,
  pairKey,
  rowKey,
  rowName,
  type DirRow,
  type FileRow,
} from '../../src/catalog/rows.js';

const seq = fc.nat({ max: 2 ** 48 - 1 });
const hex = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const etag = fc.oneof(
  fc.constant(''),
  hex,
  fc.tuple(hex, fc.integer({ min: 1, max: 10_000 })).map(([digest, parts]) => `${digest}-${parts}`),
);
const bytes = (length: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((array) => Buffer.from(array));
const text = fc.string({ unit: 'grapheme', maxLength: 20 });
const facts = fc.record(
  { contentType: text, metadata: fc.dictionary(text, text), tags: fc.array(fc.tuple(text, text)) },
  { requiredKeys: [] },
);
const file: fc.Arbitrary<FileRow> = fc.record(
  {
    kind: fc.constant('file' as const),
    fp: bytes(36),
    ctimeNs: fc.bigInt({ min: -(2n ** 65n), max: 2n ** 65n }),
    seq,
    etag,
    published: fc.boolean(),
    goneAt: fc.nat(),
    facts,
    partCount: fc.integer({ min: 1, max: 10_000 }),
    layout: seq,
    file: text,
    appendFrom: fc.nat(),
    appended: fc.string(),
  },
  { requiredKeys: ['kind', 'fp', 'ctimeNs', 'seq', 'etag', 'published'] },
);
const directory: fc.Arbitrary<DirRow> = fc.record(
  {
    kind: fc.constant('dir' as const),
    id: seq,
    seq,
    made: fc.boolean(),
    stampTrusted: fc.boolean(),
    stamp: bytes(32),
    marker: fc.record({ time: fc.nat(), facts }),
  },
  { requiredKeys: ['kind', 'id', 'seq', 'made', 'stampTrusted'] },
);

describe('rows', () => {
  it('come back as they were', () => {
    fc.assert(
      fc.property(fc.oneof(file, directory), (row) => {
        expect(decodeRow(encodeRow(row))).toEqual(row);
      }),
    );
  });

  it('that are damaged are refused', () => {
    for (const bad of [Buffer.alloc(0), Buffer.from([1]), Buffer.from([2, 0]), Buffer.alloc(200), Buffer.from('{}')]) {
      expect(() => decodeRow(bad)).toThrow('damaged row');
    }
  });
});

describe('a row with a damaged byte', () => {
  it('is refused, wherever it is', () => {
    fc.assert(
      fc.property(fc.oneof(file, directory), fc.nat(), fc.integer({ min: 1, max: 255 }), (row, position, mask) => {
        const bytes = encodeRow(row);
        const at = position % bytes.length;
        bytes[at] = (bytes[at] ?? 0) ^ mask;
        expect(() => decodeRow(bytes)).toThrow(DamagedIndex);
        expect(() => decodeRow(encodeRow(row).subarray(0, at))).toThrow(DamagedIndex);
      }),
    );
  });
});

describe('keys of the index', () => {
  const part = fc.string({ unit: fc.constantFrom('a', 'b', '\0', '\u0001', '\u00e9', '\u{1f600}', '/'), maxLength: 6 });
  const parts = fc.array(part, { minLength: 1, maxLength: 3 });
  /** By the bytes of one part after the other; fewer parts first. */
  const compare = (a: string[], b: string[]): number => {
    for (let i = 0; i < Math.min(a.length, b.length); i++) {
      const order = Buffer.from(a[i] ?? '').compare(Buffer.from(b[i] ?? ''));
      if (order !== 0) return order;
    }
    return Math.sign(a.length - b.length);
  };

  it('order as their parts do, NUL and all', () => {
    fc.assert(
      fc.property(parts, parts, (a, b) => {
        expect(pairKey(...a).compare(pairKey(...b))).toBe(compare(a, b));
      }),
      { numRuns: 2000 },
    );
  });

  it('of rows order by directory and then by name', () => {
    fc.assert(
      fc.property(fc.nat(), part, fc.nat(), part, (d, a, e, b) => {
        const order = d === e ? Buffer.from(a).compare(Buffer.from(b)) : d < e ? -1 : 1;
        expect(rowKey(d, a).compare(rowKey(e, b))).toBe(order);
        expect(rowName(rowKey(d, a)).toString()).toBe(a);
      }),
    );
  });
});
