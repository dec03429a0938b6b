import { describe, expect, it } from 'vitest';
import {
  checkRead,
  checkWrite,
  copySourceConditions,
  readConditions,
  renameSourceConditions,
  writeConditions,
} from '../../src/wire/conditions.js';
import { codeOf, errorOf } from './errors.js';

const NOW = 'Sun, 06 Nov 1994 08:49:37 GMT';
const EARLIER = 'Sun, 06 Nov 1994 08:49:36 GMT';
const LATER = 'Sun, 06 Nov 1994 08:49:38 GMT';
/** Its last modification is half a second after NOW: HTTP cannot see that. */
const OBJECT = { etag: 'abc', lastModified: 784111777_500, size: 3 };

function verdict(run: () => void): string {
  try {
    run();
    return 'ok';
  } catch {
    const error = errorOf(run);
    return error.code === 'NotModified' ? '304' : `412 ${String(error.data['Condition'])}`;
  }
}

describe('reading headers', () => {
  it('takes lists, weak tags and bare tags', () => {
    expect(readConditions({ 'if-match': '"a", "b,c" ,W/"d", e', 'if-none-match': 'W/"d","x"' })).toEqual({
      ifMatch: ['a', 'b,c', 'e'],
      ifNoneMatch: ['d', 'x'],
    });
    expect(readConditions({ 'if-match': '*', 'if-none-match': '' })).toEqual({ ifMatch: ['*'] });
    expect(readConditions({ 'if-match': 'W/"abc"' })).toEqual({ ifMatch: [] });
    expect(readConditions({})).toEqual({});
  });

  it('ignores dates that are none', () => {
    expect(readConditions({ 'if-modified-since': 'yesterday', 'if-unmodified-since': NOW })).toEqual({
      ifUnmodifiedSince: 784111777_000,
    });
  });

  it('has prefixes for sources', () => {
    expect(copySourceConditions({ 'x-amz-copy-source-if-none-match': '"a"', 'if-match': '"b"' })).toEqual({
      ifNoneMatch: ['a'],
    });
    expect(renameSourceConditions({ 'x-amz-rename-source-if-match': '"a"' })).toEqual({ ifMatch: ['a'] });
  });

  it('reads conditions of writes', () => {
    expect(writeConditions({ 'if-modified-since': NOW })).toBeUndefined();
    expect(
      writeConditions({ 'if-none-match': '*', 'x-amz-if-match-size': '0', 'x-amz-if-match-last-modified-time': NOW }),
    ).toEqual({ ifNoneMatch: ['*'], ifSize: 0, ifLastModified: 784111777_000 });
    expect(codeOf(() => writeConditions({ 'x-amz-if-match-size': '-1' }))).toBe('InvalidArgument');
    expect(codeOf(() => writeConditions({ 'x-amz-if-match-last-modified-time': 'x' }))).toBe('InvalidArgument');
  });
});

describe('checkRead', () => {
  // RFC 9110 section 13.2.2, and S3's two documented pairs for GetObject and CopyObject.
  it.each<[Record<string, string>, string, string]>([
    [{}, 'ok', 'ok'],
    [{ match: '"abc"' }, 'ok', 'ok'],
    [{ match: '*' }, 'ok', 'ok'],
    [{ match: '"x"' }, '412 If-Match', '412 If-Match'],
    [{ match: 'W/"abc"' }, '412 If-Match', '412 If-Match'],
    [{ 'none-match': '"x"' }, 'ok', 'ok'],
    [{ 'none-match': '"abc"' }, '304', '412 If-None-Match'],
    [{ 'none-match': 'W/"abc"' }, '304', '412 If-None-Match'],
    [{ 'none-match': '*' }, '304', '412 If-None-Match'],
    [{ 'modified-since': EARLIER }, 'ok', 'ok'],
    [{ 'modified-since': NOW }, '304', '412 If-Modified-Since'],
    [{ 'modified-since': LATER }, '304', '412 If-Modified-Since'],
    [{ 'unmodified-since': NOW }, 'ok', 'ok'],
    [{ 'unmodified-since': LATER }, 'ok', 'ok'],
    [{ 'unmodified-since': EARLIER }, '412 If-Unmodified-Since', '412 If-Unmodified-Since'],
    [{ match: '"abc"', 'unmodified-since': EARLIER }, 'ok', 'ok'],
    [{ match: '"x"', 'unmodified-since': LATER }, '412 If-Match', '412 If-Match'],
    [{ 'none-match': '"x"', 'modified-since': LATER }, 'ok', 'ok'],
    [{ 'none-match': '"abc"', 'modified-since': EARLIER }, '304', '412 If-None-Match'],
    [{ match: '"x"', 'none-match': '"abc"' }, '412 If-Match', '412 If-Match'],
    [{ match: '"abc"', 'none-match': '"abc"' }, '304', '412 If-None-Match'],
    [{ 'unmodified-since': EARLIER, 'none-match': '"abc"' }, '412 If-Unmodified-Since', '412 If-Unmodified-Since'],
  ])('%j: %s, copying %s', (conditions, get, copy) => {
    const prefixed = (prefix: string) =>
      Object.fromEntries(Object.entries(conditions).map(([k, v]) => [prefix + k, v]));
    expect(verdict(() => checkRead(readConditions(prefixed('if-')), OBJECT, 'get'))).toBe(get);
    const source = copySourceConditions(prefixed('x-amz-copy-source-if-'));
    expect(verdict(() => checkRead(source, OBJECT, 'copy'))).toBe(copy.replace('412 ', '412 x-amz-copy-source-'));
  });

  it('gives the validators with 304', () => {
    const error = errorOf(() => checkRead({ ifNoneMatch: ['abc'] }, OBJECT, 'get'));
    expect([error.status, error.headers]).toEqual([304, { ETag: '"abc"', 'Last-Modified': NOW }]);
  });

  it('takes a date for proof only if it is Last-Modified, or not before the file became what it is', () => {
    const [before, after] = [Date.parse(NOW), Date.parse(NOW) + 600_000];
    // put ten minutes after the date that it bears
    const object = { ...OBJECT, lastModified: before, changed: after };
    const at = (ms: number) => [
      verdict(() => checkRead({ ifModifiedSince: ms }, object, 'get')),
      verdict(() => checkRead({ ifUnmodifiedSince: ms }, object, 'get')),
    ];
    const differs = ['ok', '412 If-Unmodified-Since'];
    expect([-1000, 0, 1000, 599_000, 600_000, 700_000].map((ms) => at(before + ms))).toEqual([
      differs,
      ['304', 'ok'],
      differs,
      differs,
      ['304', 'ok'],
      ['304', 'ok'],
    ]);
  });

  it('accepts every ETag that was handed out for the bytes', () => {
    const object = { ...OBJECT, aliases: ['f-1'] };
    expect(verdict(() => checkRead({ ifMatch: ['f-1'] }, object, 'get'))).toBe('ok');
    expect(verdict(() => checkRead({ ifNoneMatch: ['f-1'] }, object, 'get'))).toBe('304');
  });
});

describe('checkWrite', () => {
  it('holds against an object', () => {
    const of = (h: Record<string, string>) => verdict(() => checkWrite(writeConditions(h), OBJECT));
    expect(of({})).toBe('ok');
    expect(of({ 'if-match': '"abc"' })).toBe('ok');
    expect(of({ 'if-match': '*' })).toBe('ok');
    expect(of({ 'if-match': 'abd' })).toBe('412 If-Match');
    expect(of({ 'if-none-match': '*' })).toBe('412 If-None-Match');
    expect(of({ 'if-none-match': '"abc"' })).toBe('412 If-None-Match');
    expect(of({ 'if-none-match': '"x"' })).toBe('ok');
    expect(of({ 'x-amz-if-match-size': '3' })).toBe('ok');
    expect(of({ 'x-amz-if-match-size': '4' })).toBe('412 x-amz-if-match-size');
    expect(of({ 'x-amz-if-match-last-modified-time': NOW })).toBe('ok');
    expect(of({ 'x-amz-if-match-last-modified-time': LATER })).toBe('412 x-amz-if-match-last-modified-time');
  });

  it('holds against nothing', () => {
    checkWrite(undefined, undefined);
    checkWrite({ ifNoneMatch: ['*'] }, undefined);
    for (const c of [{ ifMatch: ['*'] }, { ifMatch: [] }, { ifSize: 0 }, { ifLastModified: 0 }]) {
      expect(codeOf(() => checkWrite(c, undefined))).toBe('NoSuchKey');
    }
  });
});
