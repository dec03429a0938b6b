import { describe, expect, it } from 'vitest';
import fc from '../fast-check.js';
import { checkKey, decodeKey, encodeKey, parseCopySource, urlEncodeListing } from '../../src/wire/keys.js';
import { codeOf } from './errors.js';

const anyKey = fc.string({ unit: 'binary', minLength: 1, maxLength: 80 });

describe('decodeKey and encodeKey', () => {
  it('go round', () => {
    fc.assert(
      fc.property(anyKey, fc.boolean(), (key, keepSlash) => {
        const encoded = encodeKey(key, keepSlash);
        expect(encoded).toMatch(keepSlash ? /^[A-Za-z0-9\-._~/%]*$/ : /^[A-Za-z0-9\-._~%]*$/);
        expect(decodeKey(encoded)).toBe(key);
      }),
    );
  });

  it.each([
    ['a+b', 'a+b'],
    ['%252e%252e', '%2e%2e'],
    ['..%2f..%5C', '../..\\'],
    ['a%00b', 'a\0b'],
    ['gr%C3%BCn', 'grün'],
    [Buffer.from('grün😀').toString('latin1'), 'grün😀'],
    ['', ''],
  ])('%j is %j, decoded once', (raw, key) => {
    expect(decodeKey(raw)).toBe(key);
  });

  it.each([
    '%',
    '%4',
    '%zz',
    '%ff',
    '%c0%af',
    '%e0%80%af',
    '%c0%ae%c0%ae/',
    '%ed%a0%80',
    '%f4%90%80%80',
    '\u00ff',
    'a%C3',
  ])('%j is no URI', (raw) => {
    expect(codeOf(() => decodeKey(raw))).toBe('InvalidURI');
  });

  it('encodes all but the unreserved characters', () => {
    expect(encodeKey("a/b c!'()*~-._+é")).toBe('a/b%20c%21%27%28%29%2A~-._%2B%C3%A9');
    expect(encodeKey('a/b', false)).toBe('a%2Fb');
    expect(codeOf(() => encodeKey('\ud800'))).toBe('InvalidURI');
  });
});

it('encodes listings so that decoders of queries and of paths agree', () => {
  expect(urlEncodeListing('test_file(3).png')).toBe('test_file%283%29.png');
  fc.assert(
    fc.property(anyKey, (key) => {
      const encoded = urlEncodeListing(key);
      expect(decodeURIComponent(encoded)).toBe(key);
      expect(decodeURIComponent(encoded.replace(/\+/g, ' '))).toBe(key);
    }),
  );
});

describe('checkKey', () => {
  it('counts bytes', () => {
    checkKey('a'.repeat(1024));
    checkKey('é'.repeat(512));
    expect(codeOf(() => checkKey('a'.repeat(1025)))).toBe('KeyTooLongError');
    expect(codeOf(() => checkKey('é'.repeat(512) + 'a'))).toBe('KeyTooLongError');
  });

  it('wants Unicode, and something', () => {
    expect(codeOf(() => checkKey('a\ud800b'))).toBe('InvalidURI');
    checkKey('😀');
    expect(codeOf(() => checkKey(''))).toBe('InvalidArgument');
  });
});

describe('parseCopySource', () => {
  it.each([
    ['bucket/key', { bucket: 'bucket', key: 'key' }],
    ['/bucket/a/b%20c', { bucket: 'bucket', key: 'a/b c' }],
    ['bucket/key?versionId=null', { bucket: 'bucket', key: 'key', versionId: 'null' }],
    ['bucket/%3FversionId', { bucket: 'bucket', key: '?versionId' }],
    ['bucket/%3FversionId%3Dx', { bucket: 'bucket', key: '?versionId=x' }],
    ['bucket/?versionId=a?versionId=b', { bucket: 'bucket', key: '?versionId=a', versionId: 'b' }],
    ['%2Fbucket%2Fkey', { bucket: 'bucket', key: 'key' }],
    ['bucket//key', { bucket: 'bucket', key: '/key' }],
    ['bucket/a+b', { bucket: 'bucket', key: 'a+b' }],
    ['bucket/%252e%252e', { bucket: 'bucket', key: '%2e%2e' }],
    [Buffer.from('bucket/grün').toString('latin1'), { bucket: 'bucket', key: 'grün' }],
  ])('%s', (header, expected) => {
    expect(parseCopySource(header)).toEqual(expected);
  });

  it.each(['', '/', 'bucket', 'bucket/', '/bucket/', '//key', '///', 'bucket/%ff', 'bucket/%', 'b/k?versionId='])(
    '%j is refused',
    (header) => {
      expect(codeOf(() => parseCopySource(header))).toBe('InvalidArgument');
    },
  );

  it('takes every key that is encoded', () => {
    fc.assert(
      fc.property(anyKey, (key) => {
        expect(parseCopySource(`/bucket/${encodeKey(key)}`)).toEqual({ bucket: 'bucket', key });
      }),
    );
  });
});
