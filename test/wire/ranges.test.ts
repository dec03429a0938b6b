import { describe, expect, it } from 'vitest';
import fc from '../fast-check.js';
import { parseCopyRange, parseRange } from '../../src/wire/ranges.js';
import { codeOf, errorOf } from './errors.js';

describe('parseRange', () => {
  it.each<[string | undefined, number, [number, number] | undefined]>([
    [undefined, 11, undefined],
    ['', 11, undefined],
    ['bytes=4-7', 11, [4, 8]],
    ['bytes=4-', 11, [4, 11]],
    ['bytes=-7', 11, [4, 11]],
    ['bytes=-100', 11, [0, 11]],
    ['bytes=0-100', 11, [0, 11]],
    ['bytes=10-10', 11, [10, 11]],
    ['Bytes = 1-2', 11, [1, 3]],
    ['bytes=0-99999999999999999999999999', 11, [0, 11]],
    ['bytes=7-4', 11, undefined],
    ['bytes=-', 11, undefined],
    ['bytes=a-b', 11, undefined],
    ['bytes=0-1,3-4', 11, undefined],
    ['items=0-1', 11, undefined],
    ['bytes=0x1-2', 11, undefined],
    ['bytes=20-10', 11, undefined],
  ])('%s of %i', (header, size, expected) => {
    expect(parseRange(header, size)).toEqual(expected && { start: expected[0], end: expected[1] });
  });

  it.each([
    ['bytes=11-', 11],
    ['bytes=40-50', 11],
    ['bytes=-0', 11],
    ['bytes=0-', 0],
    ['bytes=-5', 0],
    ['bytes=99999999999999999999999999-', 11],
  ])('%s of %i cannot be satisfied', (header, size) => {
    const error = errorOf(() => parseRange(header, size));
    expect(error.code).toBe('InvalidRange');
    expect(error.status).toBe(416);
    expect(error.headers).toEqual({ 'Content-Range': `bytes */${size}` });
    expect(error.data).toEqual({ RangeRequested: header, ActualObjectSize: size });
  });

  it('cuts as Array.slice does', () => {
    fc.assert(
      fc.property(fc.nat(40), fc.nat(50), fc.nat(50), (size, first, length) => {
        const bytes = Array.from({ length: size }, (_, i) => i);
        const expected = bytes.slice(first, first + length + 1);
        if (expected.length === 0)
          expect(codeOf(() => parseRange(`bytes=${first}-${first + length}`, size))).toBe('InvalidRange');
        else {
          const range = parseRange(`bytes=${first}-${first + length}`, size);
          expect(bytes.slice(range?.start, range?.end)).toEqual(expected);
        }
        const suffix = length + 1;
        if (size > 0) {
          const range = parseRange(`bytes=-${suffix}`, size);
          expect(bytes.slice(range?.start, range?.end)).toEqual(bytes.slice(-suffix));
        }
      }),
    );
  });
});

describe('parseCopyRange', () => {
  it('takes bytes=first-last inside the source', () => {
    expect(parseCopyRange('bytes=0-0', 1)).toEqual({ start: 0, end: 1 });
    expect(parseCopyRange('bytes=2-4', 5)).toEqual({ start: 2, end: 5 });
  });

  it.each([
    '0-2',
    'bytes=0',
    'bytes=hello-world',
    'bytes=0-bar',
    'bytes=hello-',
    'bytes=0-2,3-5',
    'bytes=0-',
    'bytes=-2',
    'bytes=3-2',
    '',
  ])('%j is InvalidArgument', (header) => {
    expect(codeOf(() => parseCopyRange(header, 5))).toBe('InvalidArgument');
  });

  it.each(['bytes=0-5', 'bytes=5-5', 'bytes=0-99999999999999999999'])('%s is beyond 5 bytes', (header) => {
    expect(codeOf(() => parseCopyRange(header, 5))).toBe('InvalidRange');
  });
});
