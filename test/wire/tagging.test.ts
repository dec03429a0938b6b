import { describe, expect, it } from 'vitest';
import fc from '../fast-check.js';
import type { Tags } from '../../src/base/model.js';
import { parseTagging, parseTagsXml, tagsXml, validateTags } from '../../src/wire/tagging.js';
import { renderXml } from '../../src/wire/xml.js';
import { codeOf, errorOf } from './errors.js';

describe('parseTagging', () => {
  it.each<[string, Tags]>([
    [
      'foo=bar&Zoo&bar',
      [
        ['Zoo', ''],
        ['bar', ''],
        ['foo', 'bar'],
      ],
    ],
    [
      'Hello=World&foo=bar',
      [
        ['Hello', 'World'],
        ['foo', 'bar'],
      ],
    ],
    ['a', [['a', '']]],
    [
      'a=&b=1=2',
      [
        ['a', ''],
        ['b', '1=2'],
      ],
    ],
    ['a+b=c%2Bd', [['a b', 'c+d']]],
    ['gr%C3%BCn=%C3%A9&', [['grün', 'é']]],
  ])('%s', (header, tags) => {
    expect(parseTagging(header)).toEqual(tags);
  });

  it.each([
    ['a=%zz', 'InvalidArgument'],
    ['a=%ff', 'InvalidArgument'],
    ['a=1&a=2', 'InvalidArgument'],
    ['=1', 'InvalidTag'],
    ['aws:x=1', 'InvalidTag'],
    [Array.from({ length: 11 }, (_, i) => `k${i}=v`).join('&'), 'BadRequest'],
  ])('refuses %s: %s', (header, code) => {
    expect(codeOf(() => parseTagging(header))).toBe(code);
  });
});

describe('validateTags', () => {
  it('allows what S3 allows', () => {
    validateTags([
      ['a'.repeat(128), 'b'.repeat(256)],
      ['Ünï code/+-=._:@1', ''],
    ]);
    validateTags([['𝒳'.repeat(128), '']]); // 256 UTF-16 units, 128 characters
    validateTags(
      Array.from({ length: 50 }, (_, i) => [`k${i}`, '']),
      50,
    );
  });

  it.each<[string, Tags, string]>([
    ['long key', [['a'.repeat(129), '']], 'TagKey'],
    ['long value', [['a', 'b'.repeat(257)]], 'TagValue'],
    ['characters', [['a*', '']], 'TagKey'],
    ['controls', [['a', 'b\n']], 'TagValue'],
    [
      'twice',
      [
        ['a', '1'],
        ['a', '2'],
      ],
      'same key',
    ],
    ['system', [['aws:a', '1']], 'System tags'],
  ])('refuses %s', (_what, tags, message) => {
    const error = errorOf(() => validateTags(tags));
    expect(error.code).toBe('InvalidTag');
    expect(error.message).toContain(message);
  });

  it('names the limit', () => {
    const tags = (n: number): Tags => Array.from({ length: n }, (_, i) => [`k${i}`, '']);
    expect(errorOf(() => validateTags(tags(11))).message).toBe('Object tags cannot be greater than 10');
    expect(errorOf(() => validateTags(tags(51), 50)).message).toBe('Bucket tag count cannot be greater than 50');
  });
});

describe('XML', () => {
  it('reads what it writes', () => {
    const tag = fc.tuple(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }));
    fc.assert(
      fc.property(fc.array(tag, { maxLength: 12 }), (tags) => {
        expect(parseTagsXml(renderXml(tagsXml(tags)))).toEqual(tags);
      }),
    );
  });

  it.each([
    ['<Tagging/>'],
    ['<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>'],
    ['<Tagging><TagSet><Tag><Value>a</Value></Tag></TagSet></Tagging>'],
    ['<Tags></Tags>'],
    [''],
  ])('refuses %s', (text) => {
    expect(codeOf(() => parseTagsXml(text))).toBe('MalformedXML');
  });
});
