/** The quick reader and the library read the same from the same document. */
import { describe, expect, it } from 'vitest';
import fc from '../fast-check.js';
import type { S3Error } from '../../src/base/errors.js';
import { parseXml } from '../../src/wire/xml.js';
import { readPlain } from '../../src/wire/xml-plain.js';

const LIMITS = { depth: 20, elements: 200_000 };
const ROOT = 'Delete';

/** What the library makes of it: a comment is none of the quick reader's documents. */
function byLibrary(text: string): unknown {
  try {
    return parseXml(`${text}<!-- -->`, ROOT);
  } catch (error) {
    return (error as S3Error).code;
  }
}

const name = fc.constantFrom('Object', 'Key', 'ETag', 'A1');
const blank = fc.constantFrom('', '', ' ', '\n\t ');
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.constantFrom('', 'a b', ' x ', '\'"/=?!-]', 'é😀'),
);
const element = fc.letrec<{ node: string }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 3 },
    fc.tuple(name, text).map(([n, t]) => `<${n}>${t}</${n}>`),
    fc
      .tuple(name, fc.array(fc.tuple(tie('node'), blank), { maxLength: 4 }), blank)
      .map(([n, parts, ws]) => `<${n}>${ws}${parts.flat().join('')}</${n}>`),
  ),
})).node;
const head = fc.constantFrom('', '<?xml version="1.0" encoding="UTF-8"?>', '<?xml version="1.0"?>\n', '\n');
const root = fc.constantFrom(ROOT, `${ROOT} xmlns="http://s3.amazonaws.com/doc/2006-03-01/"`);

describe('readPlain', () => {
  it('reads what a client sends', () => {
    const read = readPlain(
      '<?xml version="1.0" encoding="UTF-8"?>\n<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">\n <Object><Key> a/é </Key></Object><Quiet>true</Quiet>\n</Delete>\n',
      LIMITS,
    );
    expect(read).toEqual({
      name: 'Delete',
      children: [
        { name: 'Object', children: [{ name: 'Key', children: ' a/é ' }] },
        { name: 'Quiet', children: 'true' },
      ],
    });
  });

  it('reads the same as the library, or nothing', () => {
    fc.assert(
      fc.property(head, root, fc.array(fc.tuple(element, blank)), blank, (h, r, parts, ws) => {
        const document = `${h}<${r}>${parts.flat().join('')}</${ROOT}>${ws}`;
        const read = readPlain(document, LIMITS);
        if (read !== undefined) expect(read).toEqual(byLibrary(document));
      }),
      { numRuns: 2000 },
    );
  });

  it('reads nothing from what the library refuses', () => {
    const piece = fc.constantFrom(
      ...[
        '<Delete>',
        '</Delete>',
        '<Key>',
        '</Key>',
        '<Key/>',
        ' xmlns="x"',
        '<?xml version="1.0"?>',
        'x',
        ' ',
        '<',
        '>',
      ],
      ...[
        '<Delete xmlns="x">',
        '<Key xmlns="x">',
        '</Key xmlns="x">',
        '</Key >',
        '<a:Key>',
        '<1>',
        ']]>',
        '&',
        '"',
        '\r',
      ],
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 10 }), (pieces) => {
        const document = pieces.join('');
        const read = readPlain(document, LIMITS);
        if (read?.name === ROOT) expect(read).toEqual(byLibrary(document));
      }),
      { numRuns: 5000 },
    );
  });

  it('keeps to the limits', () => {
    const deep = (n: number): string => '<A>'.repeat(n) + '</A>'.repeat(n);
    expect(readPlain(deep(20), LIMITS)).toBeDefined();
    expect(readPlain(deep(21), LIMITS)).toBeUndefined();
    const wide = (n: number): string => `<A>${'<B></B>'.repeat(n)}</A>`;
    expect(readPlain(wide(9), { depth: 20, elements: 10 })).toBeDefined();
    expect(readPlain(wide(10), { depth: 20, elements: 10 })).toBeUndefined();
  });
});
