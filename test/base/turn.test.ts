import { setImmediate } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { Seen, beginTurn, forgetSeen } from '../../src/base/turn.js';

describe('what was seen in a turn', () => {
  afterEach(() => setImmediate());

  it('is looked at each time where no request has arrived', () => {
    const seen = new Seen<number>();
    let looks = 0;
    expect([1, 2, 3].map(() => seen.get('a', () => ++looks))).toEqual([1, 2, 3]);
  });

  it('is looked at once in a turn, by name, and again in the next', async () => {
    const seen = new Seen<string>();
    let looks = 0;
    const look = (name: string): string => seen.get(name, () => `${name}${++looks}`);
    beginTurn();
    beginTurn();
    expect([look('a'), look('b'), look('a')]).toEqual(['a1', 'b2', 'a1']);
    await Promise.resolve();
    expect(look('b')).toBe('b2');
    await setImmediate();
    expect([look('a'), look('a')]).toEqual(['a3', 'a4']);
    beginTurn();
    expect([look('a'), look('a')]).toEqual(['a5', 'a5']);
  });

  it('is forgotten when this process changes it, also while it is looked at', () => {
    const seen = new Seen<number>();
    let looks = 0;
    const look = (): number => ++looks;
    beginTurn();
    expect([seen.get('', look), seen.get('', look)]).toEqual([1, 1]);
    forgetSeen();
    expect([seen.get('', look), seen.get('', look)]).toEqual([2, 2]);
    seen.get('other', () => {
      forgetSeen();
      return 0;
    });
    expect(seen.get('', look)).toBe(3);
  });

  it('is not remembered where looking failed', () => {
    const seen = new Seen<number>();
    beginTurn();
    const fails = (): number => {
      throw new Error('away');
    };
    expect(() => seen.get('', fails)).toThrow('away');
    expect(seen.get('', () => 7)).toBe(7);
  });
});
