/** The checker of the out-of-band test itself: what it must accept, and each kind of wrong answer that it must find. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { bodyOf, wrong, type Change, type Sight } from './outside-checker.js';
import { contentOf } from './outside-content.js';

const A = 'v1-1s100';
const B = 'v1-2s100';
const md5 = (bytes: Buffer): string => createHash('md5').update(bytes).digest('hex');
const etagOf = (id: string, length = 100): string => md5(contentOf(id).subarray(0, length));
const change = (start: number, end: number, state: string | null, loose?: string): Change => ({
  what: 'test',
  start,
  end,
  changes: [['box', 'd0/a', state]],
  ...(loose !== undefined && { loose }),
});
/** A exists since 10..20, B since 50..60. */
const CHANGES = [change(10, 20, `${A}/100`), change(50, 60, `${B}/100`)];
const sight = (how: Sight['how'], begin: number, end: number, id?: string, rest: Partial<Sight> = {}): Sight => ({
  bucket: 'box',
  key: 'd0/a',
  begin,
  end,
  how,
  ...(id !== undefined && { etag: etagOf(id), length: 100, ...(how === 'GET' && { version: id }) }),
  ...rest,
});
const judge = (...sights: Sight[]): number => wrong(sights, CHANGES).length;

describe('the checker accepts', () => {
  it('what was there all the time', () => {
    expect(judge(sight('GET', 21, 49, A), sight('HEAD', 61, 62, B), sight('LIST', 0, 9))).toBe(0);
  });
  it('old or new while a change goes on, and whatever came and went during a request', () => {
    expect(judge(sight('GET', 11, 12, A), sight('GET', 11, 12), sight('GET', 0, 100, A), sight('GET', 0, 100))).toBe(0);
  });
  it('any beginning of what is being written', () => {
    const writing = change(70, 80, 'v1-3s100/100', 'v1-3s100');
    const half = sight('GET', 71, 72, 'v1-3s100', { etag: etagOf('v1-3s100', 50), length: 50 });
    expect(wrong([half], [...CHANGES, writing])).toEqual([]);
    expect(wrong([{ ...half, begin: 81, end: 82 }], [...CHANGES, writing])).toHaveLength(1);
  });
  it('an ETag that is no MD5, of one state', () => {
    const etag = 'abc-1';
    expect(judge(sight('GET', 21, 22, A, { etag }), sight('HEAD', 30, 31, A, { etag }))).toBe(0);
  });
});

describe('the checker finds', () => {
  it.each(['GET', 'HEAD', 'LIST'] as const)('a %s of what was there before', (how) => {
    expect(judge(sight(how, 61, 70, A))).toBe(1);
  });
  it.each(['GET', 'HEAD', 'LIST'] as const)('a %s that misses what is there, or shows what is not yet', (how) => {
    expect(judge(sight(how, 21, 30))).toBe(1);
    expect(judge(sight(how, 0, 9, A))).toBe(1);
    expect(judge(sight(how, 21, 49, B))).toBe(1);
  });
  it('an old ETag with new bytes, and the other way round', () => {
    expect(judge(sight('GET', 61, 70, B, { etag: etagOf(A) }))).toBe(1);
    expect(judge(sight('GET', 61, 70, A, { etag: etagOf(B) }))).toBe(1);
  });
  it('an old length', () => {
    expect(judge(sight('HEAD', 61, 70, B, { length: 99 }))).toBe(1);
  });
  it('one ETag of two states, whatever it looks like', () => {
    const etag = 'abc-1';
    expect(judge(sight('GET', 21, 22, A, { etag }), sight('GET', 61, 62, B, { etag }))).toBeGreaterThan(0);
    expect(judge(sight('GET', 21, 22, A, { etag }), sight('HEAD', 61, 62, B, { etag }))).toBe(1);
  });
  it('a key that nobody made', () => {
    expect(judge(sight('LIST', 0, 9, A, { key: 'secret' }))).toBe(1);
  });
});

describe('bodies tell', () => {
  const whole = contentOf(A);
  const other = contentOf(B);
  it('which one they are, also their beginnings', () => {
    expect(bodyOf(whole, 100, md5(whole))).toBe(A);
    expect(bodyOf(whole.subarray(0, 50), 50, 'abc-1')).toBe(A);
  });
  it('that they are mixed, short, or not those of their ETag', () => {
    const mixed = Buffer.concat([whole.subarray(0, 50), other.subarray(50)]);
    expect(bodyOf(mixed, 100, md5(mixed))).toBe('?');
    expect(bodyOf(whole.subarray(0, 50), 100, 'abc-1')).toBe('?');
    expect(bodyOf(whole, 100, md5(other))).toBe('?');
  });
});
