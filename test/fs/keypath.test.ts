/** No key names a path outside its bucket; every key is a path that reads back as the key, or none. */
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import fc from '../fast-check.js';
import { decodeName, isPossibleName, isStateDir, keyToPath } from '../../src/fs/keypath.js';

const pieces = fc.constantFrom(
  'a',
  '.',
  '..',
  '/',
  '\\',
  '\0',
  '.gos3rve',
  '.GOS3RVE',
  '%2e',
  '\u00e9',
  '\ud800',
  ' ',
  '~',
  '\u{1f600}',
  'x'.repeat(250),
);
const keys = fc.oneof(
  fc.array(pieces, { maxLength: 12 }).map((parts) => parts.join('')),
  fc.string({ unit: 'binary', maxLength: 60 }),
);

describe('a key as a path', () => {
  it('stays below its bucket, out of the state directory, and reads back as the key', () => {
    fc.assert(
      fc.property(keys, (key) => {
        const found = keyToPath(key);
        if (!found) return;
        const segments = [...found.dirs, ...(found.name === '' ? [] : [found.name])];
        expect([...found.dirs, found.name].join('/')).toBe(key);
        expect(segments.length).toBeGreaterThan(0);
        const full = path.posix.join('/root/bucket', ...segments);
        expect(full).toBe(`/root/bucket/${segments.join('/')}`);
        expect(full.toLowerCase()).not.toMatch(/\/\.gos3rve(\/|$)/);
        for (const segment of segments) {
          expect(Buffer.byteLength(segment)).toBeLessThanOrEqual(255);
          expect(Buffer.from(segment).toString()).toBe(segment);
          expect(segment).not.toContain('\0');
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('is there for every key of plain segments', () => {
    const name = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
      .filter((text) => !/[/\0\\]/.test(text) && !/^\.{1,2}$/.test(text) && text.isWellFormed());
    fc.assert(
      fc.property(fc.array(name, { minLength: 1, maxLength: 5 }), fc.boolean(), (names, slash) => {
        const key = names.join('/') + (slash ? '/' : '');
        expect(keyToPath(key)).toEqual(
          slash ? { dirs: names, name: '' } : { dirs: names.slice(0, -1), name: names.at(-1) },
        );
      }),
    );
  });

  it.each([
    '',
    '/',
    '//',
    'a//b',
    '/a',
    './a',
    'a/.',
    '..',
    'a/../b',
    'a\0b',
    'a/.gos3rve',
    '.gos3rve/x',
    '.Gos3rve',
    '\ud800',
    'x'.repeat(256),
    '\u00e9'.repeat(128),
  ])('is none for %j', (key) => {
    expect(keyToPath(key)).toBeUndefined();
  });

  it('counts bytes, not characters', () => {
    expect(keyToPath('x'.repeat(255))).toBeDefined();
    expect(keyToPath('\u00e9'.repeat(127))).toBeDefined();
    expect(isPossibleName('\u20ac'.repeat(85))).toBe(true);
    expect(isPossibleName('\u20ac'.repeat(86))).toBe(false);
  });
});

describe('the state directory', () => {
  it.each([
    '.gos3rve',
    '.GOS3RVE',
    '.go\u017f3rve',
    '.gos\u200c3rve',
    '\ufeff.gos3rve',
    '.gos3r\u00adve',
    '\uff0egos3rve',
    '.gos\uff13rve',
  ])('is known as %j, as a file system that folds names would', (name) => {
    expect(isStateDir(name)).toBe(true);
  });
  it.each(['gos3rve', '.gos3rve2', '.gos3rv', '.gos3rve.', '.gos3rv\u00e9'])('is not %j', (name) => {
    expect(isStateDir(name)).toBe(false);
  });
});

it('decodes names that are UTF-8 and no others', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 12 }), (bytes) => {
      const name = decodeName(Buffer.from(bytes));
      if (name !== undefined) expect(Buffer.from(name)).toEqual(Buffer.from(bytes));
    }),
  );
  expect(decodeName(Buffer.from('\ufffd'))).toBe('\ufffd');
  expect(decodeName(Buffer.from([0x61, 0xff]))).toBeUndefined();
});
