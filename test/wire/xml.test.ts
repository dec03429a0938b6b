import { describe, expect, it } from 'vitest';
import fc from '../fast-check.js';
import { S3Error } from '../../src/base/errors.js';
import { child, childText, childrenOf, el, errorXml, parseXml, renderXml } from '../../src/wire/xml.js';
import type { XmlElement } from '../../src/wire/xml.js';
import { codeOf } from './errors.js';

const anyText = fc.string({ unit: 'binary', maxLength: 60 });
const name = fc.stringMatching(/^[A-Z][A-Za-z0-9]{0,11}$/);
const element = fc.letrec<{ node: XmlElement }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.record({ name, children: anyText }),
    fc.record({ name, children: fc.array(tie('node'), { minLength: 1, maxLength: 5 }) }),
  ),
})).node;

describe('renderXml', () => {
  it('writes S3 namespace and declaration unless told', () => {
    expect(renderXml(el('A', [el('B', 1), undefined, false, el('C', true), el('D')]))).toBe(
      '<?xml version="1.0" encoding="UTF-8"?>\n<A xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><B>1</B><C>true</C><D></D></A>',
    );
    expect(renderXml(el('A', 'x'), { xmlns: null, declaration: false })).toBe('<A>x</A>');
  });

  it('escapes text and attributes, control characters as references', () => {
    const root = el('A', '"<a>&\'\r\n\t\u0001\uffff é', { 'xmlns:xsi': 'urn:x', q: '"\n<' });
    expect(renderXml(root, { xmlns: null, declaration: false })).toBe(
      '<A xmlns:xsi="urn:x" q="&quot;&#xA;&lt;">&quot;&lt;a&gt;&amp;\'&#xD;&#xA;&#x9;&#x1;&#xFFFF; é</A>',
    );
  });

  it('is read back as it was, whatever the text', () => {
    fc.assert(
      fc.property(element, (e) => {
        expect(parseXml(renderXml(e, { xmlns: null }), e.name)).toEqual(e);
      }),
    );
  });
});

describe('parseXml', () => {
  it('strips prefixes and namespaces, keeps attributes and the white space of leaves', () => {
    const root = parseXml(
      `\ufeff<?xml version="1.0"?><!-- c -->\n<s3:Delete xmlns:s3="urn:s3">
         <s3:Object><s3:Key> a b </s3:Key></s3:Object><Object><Key/></Object>
         <Grantee xmlns:xsi="urn:xsi" xsi:type="Canonical&amp;User">x</Grantee>
       </s3:Delete>\n`,
      ['Other', 'Delete'],
    );
    const [first, second] = childrenOf(root, 'Object');
    expect(first && childText(first, 'Key')).toBe(' a b ');
    expect(second && childText(second, 'Key')).toBe('');
    expect(child(root, 'Grantee')?.attributes?.['type']).toBe('Canonical&User');
    expect(childText(root, 'Object')).toBeUndefined();
    expect(child(root, 'Nothing')).toBeUndefined();
  });

  it('knows the five entities, numeric references and CDATA, once', () => {
    const text = '<K>&lt;&gt;&amp;&quot;&apos;&#65;&#x1F600;&#13;&amp;lt;<![CDATA[<&amp;>]]>!</K>';
    expect(parseXml(text, 'K').children).toBe('<>&"\'A😀\r&lt;<&amp;>!');
  });

  it('does not take numbers, booleans or odd names for more than text', () => {
    expect(childText(parseXml('<A><N>007</N></A>', 'A'), 'N')).toBe('007');
    expect(childText(parseXml('<A><N>1e3</N></A>', 'A'), 'N')).toBe('1e3');
    for (const odd of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
      expect(codeOf(() => parseXml(`<A><${odd}>x</${odd}></A>`, 'B'))).toBe('MalformedXML');
    }
    expect({}).not.toHaveProperty('x');
  });

  const BAD: [string, string][] = [
    ['empty', ''],
    ['text only', 'hello'],
    ['open', '<A><B></B>'],
    ['crossed', '<A><B></A></B>'],
    ['two roots', '<A></A><A></A>'],
    ['other root', '<B></B>'],
    ['text beside elements', '<A>x<B></B></A>'],
    ['DOCTYPE', '<!DOCTYPE A><A></A>'],
    ['DOCTYPE with entities', '<!DOCTYPE A [<!ENTITY x "y">]><A>&x;</A>'],
    ['external entity', '<!DOCTYPE A [<!ENTITY x SYSTEM "file:///etc/passwd">]><A>&x;</A>'],
    ['undefined entity', '<A>&nbsp;</A>'],
    ['bare ampersand', '<A>a & b</A>'],
    ['surrogate reference', '<A>&#xD800;</A>'],
    ['reference out of range', '<A>&#x110000;</A>'],
    ['unclosed quote', '<A b="><C></C></A>'],
    ['unclosed comment', '<A><!-- </A>'],
    ['21 levels', '<A>'.repeat(21) + '</A>'.repeat(21)],
    ['a tag of 5 KiB', `<A x="${'y'.repeat(5000)}"></A>`],
  ];
  it.each(BAD)('refuses %s', (_what, text) => {
    expect(codeOf(() => parseXml(text, 'A'))).toBe('MalformedXML');
  });

  it('takes 20 levels and 10,000 parts', () => {
    expect(parseXml('<A>'.repeat(20) + '</A>'.repeat(20), 'A').name).toBe('A');
    const part =
      '<Part><PartNumber>1</PartNumber><ETag>&quot;abc&quot;</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part>';
    const root = parseXml(
      `<CompleteMultipartUpload>${part.repeat(10_000)}</CompleteMultipartUpload>`,
      'CompleteMultipartUpload',
    );
    expect(childrenOf(root, 'Part')).toHaveLength(10_000);
  });

  const HOSTILE: [string, string][] = [
    ['depth 10,000', '<A>'.repeat(10_000) + '</A>'.repeat(10_000)],
    ['depth 1,000,000, never closed', '<A>'.repeat(1_000_000)],
    ['a million entity declarations', `<!DOCTYPE A [${'<!ENTITY a "b">'.repeat(270_000)}]><A>&a;</A>`],
    ['a million references', `<A>${'&lt;'.repeat(1_000_000)}</A>`],
    ['a million elements', `<A>${'<B/>'.repeat(1_000_000)}</A>`],
    ['a million attributes', `<A ${'a="" '.repeat(800_000)}></A>`],
    ['a million closing tags', '</A>'.repeat(1_000_000)],
    ['a million comments, then rubbish', `${'<!---->'.repeat(570_000)}<`],
    ['a million processing instructions', `${'<?a?>'.repeat(800_000)}`],
  ];
  it.each(HOSTILE)('refuses %s at once and without memory', (_what, text) => {
    const before = process.memoryUsage().heapUsed;
    const start = performance.now();
    expect(codeOf(() => parseXml(text, 'A'))).toBe('MalformedXML');
    expect(performance.now() - start).toBeLessThan(2000);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 << 20);
  });

  it('throws nothing but MalformedXML', () => {
    const piece = fc.constantFrom(
      '<A>',
      '</A>',
      '<B x="',
      '"',
      '>',
      '<',
      '&',
      ';',
      '&#',
      'x',
      ']]>',
      '<![CDATA[',
      '<!--',
      '-->',
      '/',
      '__proto__',
      ':@',
      '<?',
      '?>',
      '=',
      ' ',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
        try {
          parseXml(pieces.join(''), 'A');
        } catch (error) {
          expect(error instanceof S3Error && error.code).toBe('MalformedXML');
        }
      }),
      { numRuns: 2000 },
    );
  });
});

it('writes an error document', () => {
  const error = new S3Error('NoSuchKey', undefined, { data: { Key: 'a&b', Size: 3 } });
  expect(errorXml(error, { resource: '/b/a&b', requestId: 'R', hostId: 'H' })).toBe(
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message>' +
      '<Key>a&amp;b</Key><Size>3</Size><Resource>/b/a&amp;b</Resource><RequestId>R</RequestId><HostId>H</HostId></Error>',
  );
});
