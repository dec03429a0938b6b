import { describe, expect, it } from 'vitest';
import { age, duration, octal, share, size } from '../../src/base/values.js';

describe('size', () => {
  it.each([
    ['0', 0],
    ['1048576', 1048576],
    ['5MiB', 5 * 1024 ** 2],
    ['64m', 64 * 1024 ** 2],
    ['1.5GB', 1.5e9],
    ['1 TiB', 1024 ** 4],
  ])('%s', (text, bytes) => expect(size(text)).toBe(bytes));
  it.each(['', 'MiB', '-1', '1e3', '5 XB', '9999999999TiB', '1,5G'])('refuses %j', (text) => {
    expect(() => size(text)).toThrow(/is no size/);
  });
});

describe('other values', () => {
  it('share', () => {
    expect(share('2.5%')).toEqual({ percent: 2.5 });
    expect(share('1GiB')).toEqual({ bytes: 1024 ** 3 });
  });
  it('duration', () => {
    expect(['500ms', '30s', '5m', '2h', '7'].map(duration)).toEqual([500, 30_000, 300_000, 7_200_000, 7_000]);
    expect(() => duration('soon')).toThrow(/is no time/);
  });

  it('age', () => {
    expect(['7d', '1.5h', '0', '0s', '90 s'].map(age)).toEqual([604_800_000, 5_400_000, 0, 0, 90_000]);
    for (const text of ['7', '30', '1.5', '0.5', ' 10 ']) expect(() => age(text)).toThrow('has no unit');
    for (const text of ['', '-1', 'soon']) expect(() => age(text)).toThrow('is no time');
  });
  it('octal', () => {
    expect(['022', '0o077', '2'].map(octal)).toEqual([0o22, 0o77, 2]);
    expect(() => octal('1777')).toThrow(/is no umask/);
  });
});
