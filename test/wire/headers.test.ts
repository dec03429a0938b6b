import { describe, expect, it } from 'vitest';
import fc from '../fast-check.js';
import { factsHeaders, httpDate, isoDate, parseHttpDate, readFacts } from '../../src/wire/headers.js';
import { decodeWords, encodeWords } from '../../src/wire/rfc2047.js';
import { codeOf, errorOf } from './errors.js';

const latin1 = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');

describe('readFacts', () => {
  it('takes what describes the object and nothing else', () => {
    const facts = readFacts({
      'content-type': 'text/plain',
      'content-encoding': 'gzip, aws-chunked',
      'content-disposition': latin1('attachment; filename="é.txt"'),
      'content-language': '',
      'cache-control': 'no-cache',
      expires: 'never',
      'x-amz-website-redirect-location': '/there',
      'x-amz-storage-class': 'STANDARD_IA',
      'x-amz-meta-a': '1',
      'x-amz-meta-empty': '',
      'x-amz-tagging': 'k=v',
      host: 'x',
    });
    expect(facts).toEqual({
      contentType: 'text/plain',
      contentEncoding: 'gzip',
      contentDisposition: 'attachment; filename="é.txt"',
      cacheControl: 'no-cache',
      expires: 'never',
      websiteRedirect: '/there',
      storageClass: 'STANDARD_IA',
      metadata: { a: '1', empty: '' },
      tags: [['k', 'v']],
    });
  });

  it.each([
    ['aws-chunked', undefined],
    ['AWS-Chunked', undefined],
    ['aws-chunked,gzip,br', 'gzip, br'],
    ['gzip', 'gzip'],
  ])('content-encoding %s is %s', (header, expected) => {
    expect(readFacts({ 'content-encoding': header }).contentEncoding).toBe(expected);
  });

  it('leaves out the storage class STANDARD and refuses others', () => {
    expect(readFacts({ 'x-amz-storage-class': 'STANDARD' })).toEqual({});
    expect(codeOf(() => readFacts({ 'x-amz-storage-class': 'standard' }))).toBe('InvalidStorageClass');
    expect(codeOf(() => readFacts({ 'x-amz-storage-class': '' }))).toBe('InvalidStorageClass');
    expect(codeOf(() => readFacts({ 'x-amz-website-redirect-location': 'there' }))).toBe('InvalidRedirectLocation');
  });

  it.each([
    ['plain', 'plain'],
    [latin1('grün 😀'), 'grün 😀'],
    ['gr\u00fcn', 'grün'], // latin1, no UTF-8
    ['=?UTF-8?B?Z3LDvG4=?=', 'grün'],
    ['=?utf-8?q?gr=C3=BCn_a?=', 'grün a'],
    ['=?ISO-8859-1?Q?gr=FCn?= x', 'grün x'],
    ['=?UTF-8?B?Z3LD?= =?UTF-8?B?vG4=?=', 'grün'], // a character cut in two
    ['=?UTF-8?B?YQ==?= =?UTF-8?B?Yg==?= c', 'ab c'],
    ['=?UTF-8?B?/w==?=', '=?UTF-8?B?/w==?='], // no UTF-8: as it came
    ['=?no-such-set?B?YQ==?=', '=?no-such-set?B?YQ==?='],
    ['=?UTF-8?X?YQ==?=', '=?UTF-8?X?YQ==?='],
  ])('metadata %j means %j', (wire, value) => {
    expect(readFacts({ 'x-amz-meta-m': wire }).metadata).toEqual({ m: value });
  });

  it('allows 2,048 bytes of metadata, names and values, in UTF-8', () => {
    const header = (bytes: number) => ({ 'x-amz-meta-ab': latin1('é'.repeat((bytes - 2) / 2)) });
    expect(readFacts(header(2048)).metadata?.['ab']).toHaveLength(1023);
    const error = errorOf(() => readFacts(header(2050)));
    expect([error.code, error.data]).toEqual(['MetadataTooLarge', { Size: 2050, MaxSizeAllowed: 2048 }]);
  });

  it('has no trouble with names of Object.prototype', () => {
    const facts = readFacts({ ['x-amz-meta-__proto__']: 'p', 'x-amz-meta-constructor': 'c' });
    expect(factsHeaders(facts)).toEqual({ ['x-amz-meta-__proto__']: 'p', 'x-amz-meta-constructor': 'c' });
  });
});

describe('factsHeaders', () => {
  it('writes what is there', () => {
    expect(
      factsHeaders({
        contentType: 'text/plain',
        contentEncoding: 'gzip',
        expires: 'never',
        storageClass: 'GLACIER',
        metadata: { m: 'grün', n: 'plain' },
        tags: [['k', 'v']],
      }),
    ).toEqual({
      'Content-Type': 'text/plain',
      'Content-Encoding': 'gzip',
      Expires: 'never',
      'x-amz-storage-class': 'GLACIER',
      'x-amz-meta-m': '=?UTF-8?B?Z3LDvG4=?=',
      'x-amz-meta-n': 'plain',
      'x-amz-tagging-count': '1',
    });
    expect(factsHeaders({ storageClass: 'STANDARD', tags: [], metadata: {} })).toEqual({});
  });

  it('counts metadata whose name no header can carry', () => {
    expect(factsHeaders({ metadata: { 'a b': '1', 'c\r\nd': '2', e: '3' } })).toEqual({
      'x-amz-meta-e': '3',
      'x-amz-missing-meta': '2',
    });
  });

  it('gives values that cannot split a response, and that read back as they were', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 100 });
    fc.assert(
      fc.property(text, fc.string({ unit: 'binary', maxLength: 100 }), (disposition, meta) => {
        const headers = factsHeaders({ contentDisposition: disposition, metadata: { m: meta } });
        for (const value of Object.values(headers)) expect(value).not.toMatch(/[\u0000-\u001f\u007f]|[^\u0000-\u00ff]/);
        const lower = Object.fromEntries(Object.entries(headers).map(([k, v]) => [k.toLowerCase(), v]));
        const back = readFacts(lower);
        expect(back.metadata).toEqual({ m: meta });
        expect(back.contentDisposition ?? '').toBe(disposition.replace(/[\u0000-\u001f\u007f]/g, ' ').trim());
      }),
    );
  });
});

describe('RFC 2047', () => {
  const anything = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc
      .array(fc.constantFrom('=?', '?=', 'UTF-8?B?', 'YQ==', 'é', ' ', '😀', 'a', '\r\n'), { maxLength: 12 })
      .map((a) => a.join('')),
  );
  it('decodes what it encoded', () => {
    fc.assert(
      fc.property(anything, (s) => {
        expect(decodeWords(encodeWords(s))).toBe(s);
      }),
    );
  });

  it('writes words of at most 75 characters, each whole', () => {
    fc.assert(
      fc.property(anything, (s) => {
        const encoded = encodeWords(s);
        if (encoded === s) return;
        for (const word of encoded.split(' ')) {
          expect(word.length).toBeLessThanOrEqual(75);
          // Not even a broken one can stay as it is: every word decodes by itself.
          expect(decodeWords(word)).not.toBe(word);
        }
      }),
    );
  });

  it('is quick on hostile values', () => {
    const start = performance.now();
    decodeWords('=?a?B?' + '=?UTF-8?B?YQ== '.repeat(600));
    decodeWords('=?UTF-8?B?YQ==?= '.repeat(500) + 'x');
    expect(performance.now() - start).toBeLessThan(500);
  });
});

describe('dates', () => {
  it('writes both forms and clamps what they cannot carry', () => {
    expect(httpDate(784111777_999)).toBe('Sun, 06 Nov 1994 08:49:37 GMT');
    expect(isoDate(784111777_123.7)).toBe('1994-11-06T08:49:37.123Z');
    expect(isoDate(Number.NaN)).toBe('1970-01-01T00:00:00.000Z');
    expect(isoDate(8.64e15)).toBe('9999-12-31T23:59:59.999Z');
    expect(httpDate(-8.64e15)).toBe('Mon, 01 Jan 0001 00:00:00 GMT');
  });

  it.each([
    ['Sun, 06 Nov 1994 08:49:37 GMT', 784111777000],
    ['Sunday, 06-Nov-94 08:49:37 GMT', 784111777000],
    ['Sun Nov  6 08:49:37 1994', 784111777000],
    ['1994-11-06T08:49:37Z', 784111777000],
    ['1994-11-06T08:49:37.250Z', 784111777250],
    ['Sun, 31 Feb 1994 08:49:37 GMT', undefined],
    ['Sun, 06 Nov 1994 25:00:00 GMT', undefined],
    ['Sun, 06 Foo 1994 08:49:37 GMT', undefined],
    ['784111777', undefined],
    ['', undefined],
  ])('%j is %s', (text, ms) => {
    expect(parseHttpDate(text)).toBe(ms);
  });

  it('reads what it writes', () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date('0001-01-01'), max: new Date('9999-12-31'), noInvalidDate: true }),
        (date) => {
          const ms = date.getTime();
          expect(parseHttpDate(httpDate(ms))).toBe(Math.floor(ms / 1000) * 1000);
          expect(parseHttpDate(isoDate(ms))).toBe(ms);
        },
      ),
    );
  });
});
