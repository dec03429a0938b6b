/** Buffers that are used again, and how long they are kept. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BufferPool } from '../../src/fs/pool.js';

describe('a pool of buffers', () => {
  let made = 0;
  const pool = (): BufferPool => new BufferPool({ make: () => (made++, Buffer.alloc(8)), most: 3, kept: 2 });
  const several = (from: BufferPool, n: number): Buffer[] => Array.from({ length: n }, () => from.take());

  beforeEach(() => {
    made = 0;
    vi.useFakeTimers();
  });
  afterEach(() => void vi.useRealTimers());

  it('gives what was given back, and keeps no more than it should', () => {
    const one = pool();
    for (const buffer of several(one, 3)) one.give(buffer);
    several(one, 3);
    expect(made).toBe(4);
  });

  it('says when as many are in use as may be', () => {
    const one = pool();
    const taken = several(one, 3);
    expect(one.isExhausted).toBe(true);
    one.give(taken[0] ?? Buffer.alloc(8));
    expect(one.isExhausted).toBe(false);
  });

  it('keeps what is used now and then, and lets go of what was not', () => {
    const one = pool();
    for (const buffer of several(one, 2)) one.give(buffer);
    for (let n = 0; n < 5; n++) {
      vi.advanceTimersByTime(1000);
      one.give(one.take());
    }
    expect(made).toBe(2);
    several(one, 2);
    expect(made).toBe(3);
  });

  it('keeps nothing, and no timer, once nobody uses it', () => {
    const one = pool();
    for (const buffer of several(one, 2)) one.give(buffer);
    vi.advanceTimersByTime(10_000);
    expect(vi.getTimerCount()).toBe(0);
    several(one, 1);
    expect(made).toBe(3);
  });
});
