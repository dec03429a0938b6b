/** The checker of histories itself: what it must accept, what it must refuse, and that it agrees with trying every order. */
import { describe, expect, it } from 'vitest';
import fc from '../fast-check.js';
import { ANY, checkHistory, not, type Need, type Step } from './linear.js';

let clock = 0;
/** An operation from `call` to `end`. */
const step = (call: number, end: number, rest: Omit<Step, 'call' | 'return' | 'label'>): Step => ({
  call,
  return: end,
  label: `${++clock}`,
  ...rest,
});
const put = (call: number, end: number, value: string, key = 'k'): Step =>
  step(call, end, { writes: { [key]: value } });
const read = (call: number, end: number, value: Need, key = 'k'): Step => step(call, end, { needs: { [key]: value } });
const remove = (call: number, end: number, key = 'k'): Step =>
  step(call, end, { needs: { [key]: ANY }, writes: { [key]: undefined } });
const move = (call: number, end: number, value: string, from: string, to: string): Step =>
  step(call, end, { needs: { [from]: value }, writes: { [from]: undefined, [to]: value } });
const swap = (call: number, end: number, old: Need, value: string): Step =>
  step(call, end, { needs: { k: old }, writes: { k: value } });
const outcome = (...steps: Step[]): string => checkHistory(steps).outcome;

describe('the checker accepts', () => {
  it('what happened one after the other', () => {
    expect(outcome(read(0, 1, undefined), put(2, 3, 'a'), read(4, 5, 'a'), remove(6, 7), read(8, 9, undefined))).toBe(
      'linearizable',
    );
  });
  it('a read during a write, old or new', () => {
    expect(outcome(put(0, 10, 'a'), read(1, 2, undefined), read(3, 4, 'a'))).toBe('linearizable');
  });
  it('writes at the same time in the order that readers saw', () => {
    expect(outcome(put(0, 10, 'a'), put(0, 10, 'b'), read(2, 3, 'b'), read(4, 5, 'a'), read(11, 12, 'a'))).toBe(
      'linearizable',
    );
  });
  it('a move and the reads around it', () => {
    expect(
      outcome(put(0, 1, 'a'), move(2, 9, 'a', 'k', 'm'), read(3, 4, 'a'), read(5, 6, undefined), read(7, 8, 'a', 'm')),
    ).toBe('linearizable');
  });
  it('a write that nobody knows of, done or not', () => {
    const lost = step(1, 9, { writes: { k: 'b' }, maybe: true });
    expect(outcome(put(0, 0.5, 'a'), lost, read(2, 3, 'a'), read(10, 11, 'b'))).toBe('linearizable');
    expect(outcome(put(0, 0.5, 'a'), lost, read(2, 3, 'a'), read(10, 11, 'a'))).toBe('linearizable');
  });
  it('one winner of conditional writes', () => {
    expect(
      outcome(put(0, 1, 'a'), swap(2, 9, 'a', 'b'), step(2, 9, { needs: { k: not('a') } }), read(10, 11, 'b')),
    ).toBe('linearizable');
  });
});

describe('the checker refuses', () => {
  it('a stale read', () => {
    expect(outcome(put(0, 1, 'a'), put(2, 3, 'b'), read(4, 5, 'a'))).toBe('violation');
  });
  it('a lost write', () => {
    expect(outcome(put(0, 1, 'a'), read(2, 3, undefined))).toBe('violation');
  });
  it('a read that goes back', () => {
    expect(outcome(put(0, 1, 'a'), put(2, 9, 'b'), read(3, 4, 'b'), read(5, 6, 'a'))).toBe('violation');
  });
  it('two readers who saw two orders', () => {
    const writes = [put(0, 20, 'a'), put(0, 20, 'b')];
    expect(outcome(...writes, read(1, 2, 'a'), read(3, 4, 'b'), read(5, 6, 'a'))).toBe('violation');
  });
  it('a read of what nobody wrote', () => {
    expect(outcome(put(0, 1, 'a'), read(2, 3, 'never'))).toBe('violation');
  });
  it('two winners of one condition', () => {
    expect(outcome(put(0, 1, 'a'), swap(2, 9, 'a', 'b'), swap(2, 9, 'a', 'c'))).toBe('violation');
    expect(outcome(swap(2, 9, undefined, 'b'), swap(2, 9, undefined, 'c'))).toBe('violation');
  });
  it('two that deleted one object', () => {
    expect(outcome(put(0, 1, 'a'), remove(2, 9), remove(2, 9))).toBe('violation');
  });
  it('a write that nobody knows of, done and undone', () => {
    const lost = step(1, 9, { writes: { k: 'b' }, maybe: true });
    expect(outcome(put(0, 0.5, 'a'), lost, read(2, 3, 'b'), read(4, 5, 'a'))).toBe('violation');
    expect(outcome(put(0, 0.5, 'a'), lost, read(10, 11, 'a'), read(12, 13, 'b'))).toBe('violation');
  });
  it('a condition that failed though it held', () => {
    expect(outcome(put(0, 1, 'a'), step(2, 3, { needs: { k: not('a') } }))).toBe('violation');
  });
  it('an object under both names of a move, and under none', () => {
    expect(outcome(put(0, 1, 'a'), move(2, 9, 'a', 'k', 'm'), read(3, 4, 'a', 'm'), read(5, 6, 'a'))).toBe('violation');
    const gone = read(3, 4, undefined);
    expect(outcome(put(0, 1, 'a'), move(2, 9, 'a', 'k', 'm'), gone, read(5, 6, undefined, 'm'))).toBe('violation');
  });
  it('one wrong answer among many right ones', () => {
    const steps: Step[] = [];
    for (let n = 0; n < 500; n++) {
      for (let client = 0; client < 5; client++) steps.push(put(n * 10, n * 10 + 7, `${n}.${client}`));
      steps.push(read(n * 10 + 8, n * 10 + 9, `${n}.${n % 5}`));
    }
    expect(outcome(...steps)).toBe('linearizable');
    expect(outcome(...steps, read(4995, 4999, '480.0'))).toBe('violation');
  });
});

describe('a history is cut', () => {
  const segments = (...steps: Step[]): number => checkHistory(steps).segments;
  it('where nothing is open and every key was read since it was written', () => {
    const first = [put(0, 5, 'a'), put(1, 5, 'b', 'm')];
    expect(segments(...first, read(6, 7, 'a'), read(6, 8, 'b', 'm'), put(9, 10, 'c'))).toBe(2);
    expect(segments(...first, read(6, 7, 'a'), put(8, 9, 'c'), read(10, 11, 'b', 'm'), read(12, 13, 'c'))).toBe(1);
  });
  it('nowhere else', () => {
    expect(segments(put(0, 5, 'a'), read(1, 9, 'a'), put(8, 10, 'b'), read(9, 11, 'b'))).toBe(1);
    expect(segments(put(0, 5, 'a'), read(6, 7, not('b')), put(8, 10, 'b'))).toBe(1);
  });
  it('and a fault across the cut is seen', () => {
    const steps = [put(0, 1, 'a'), read(2, 3, 'a'), put(4, 5, 'b'), read(6, 7, 'b')];
    expect(outcome(...steps, read(8, 9, 'a'))).toBe('violation');
    expect(outcome(...steps, read(8, 9, 'b'), read(10, 11, undefined))).toBe('violation');
    expect(outcome(put(0, 1, 'a'), read(2, 3, 'b'), put(4, 5, 'b'))).toBe('violation');
  });
});

/** Every order that real time allows, one after the other. */
function bruteForce(steps: readonly Step[], state: ReadonlyMap<string, string> = new Map()): boolean {
  const unknown = steps.findIndex(({ maybe }) => maybe);
  if (unknown >= 0) {
    const { maybe: _, ...done } = steps[unknown] ?? step(0, 0, {});
    return bruteForce(steps.toSpliced(unknown, 1), state) || bruteForce(steps.with(unknown, done), state);
  }
  if (steps.length === 0) return true;
  const deadline = Math.min(...steps.map((one) => one.return));
  return steps.some((one, i) => {
    if (one.call > deadline) return false;
    for (const [key, need] of Object.entries(one.needs ?? {})) {
      const value = state.get(key);
      if (need === ANY && value === undefined) return false;
      if (typeof need === 'object' && (value === undefined || value === need.not)) return false;
      if ((need === undefined || typeof need === 'string') && value !== need) return false;
    }
    const next = new Map(state);
    for (const [key, value] of Object.entries(one.writes ?? {})) {
      if (value === undefined) next.delete(key);
      else next.set(key, value);
    }
    return bruteForce(steps.toSpliced(i, 1), next);
  });
}

it('agrees with trying every order', () => {
  const key = fc.constantFrom('k', 'm');
  const value = fc.constantFrom('a', 'b', 'c');
  const seen = fc.option(value, { nil: undefined });
  const time = fc.tuple(fc.nat(12), fc.integer({ min: 1, max: 8 }));
  const one = fc.oneof(
    fc.tuple(time, key, value).map(([[at, long], k, v]) => put(at, at + long, v, k)),
    fc.tuple(time, key, value).map(([[at, long], k, v]) => ({ ...put(at, at + long, v, k), maybe: true })),
    fc.tuple(time, key, seen).map(([[at, long], k, v]) => read(at, at + long, v, k)),
    fc.tuple(time, key).map(([[at, long], k]) => remove(at, at + long, k)),
    fc.tuple(time, value).map(([[at, long], v]) => move(at, at + long, v, 'k', 'm')),
    fc.tuple(time, value).map(([[at, long], v]) => move(at, at + long, v, 'm', 'k')),
    fc.tuple(time, value, value).map(([[at, long], v, w]) => swap(at, at + long, v, w)),
    fc.tuple(time, value).map(([[at, long], v]) => step(at, at + long, { needs: { k: not(v) } })),
  );
  const met = { linearizable: 0, violation: 0 };
  fc.assert(
    fc.property(fc.array(one, { minLength: 1, maxLength: 7 }), (steps) => {
      const expected = bruteForce(steps) ? 'linearizable' : 'violation';
      met[expected]++;
      expect(outcome(...steps)).toBe(expected);
    }),
    { numRuns: 6000 },
  );
  expect(Math.min(met.linearizable, met.violation)).toBeGreaterThan(50);
});
