/** How results look to a person. */
import { describe, expect, it } from 'vitest';
import { resultLine } from '../../src/cli/gc-report.js';
import { lines } from '../../src/cli/stat-report.js';

const NOTHING = {
  busy: false,
  uploads: 0,
  staging: 0,
  settled: 0,
  returned: 0,
  quarantined: 0,
  missing: 0,
  forgotten: 0,
  directories: 0,
  segments: 0,
  segmentBytes: 0,
  journalBytes: 0,
};

describe('gc', () => {
  it('tells of segments that went, whether or not one was written for them', () => {
    const went = { ...NOTHING, segments: 2, segmentBytes: 2048 };
    expect(resultLine(NOTHING, false)).toBe('nothing to do');
    expect(resultLine({ ...went, journalBytes: 1024 }, false)).toBe(
      '2 journal segments of 2.0 KiB became one of 1.0 KiB',
    );
    expect(resultLine(went, true)).toBe('would be done: 2 journal segments of 2.0 KiB with nothing new removed');
  });
});

describe('stat', () => {
  it('lists names without brackets', () => {
    expect(lines({ etag: 'a', formerEtags: ['b-1', 'c-1'] })).toEqual(['ETag          a', 'Former etags  b-1, c-1']);
  });
});
