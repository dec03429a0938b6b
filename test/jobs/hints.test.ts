import { describe, expect, it } from 'vitest';
import { HashQueue, LARGE_BYTES } from '../../src/jobs/hash/queue.js';
import { Hints } from '../../src/jobs/watch/hints.js';
import { Stale } from '../../src/jobs/watch/stale.js';

describe('Hints', () => {
  it('makes many hints about one thing one, and lets them rest', () => {
    const hints = new Hints(() => undefined);
    for (let i = 0; i < 5; i++) hints.add('b', 'a.txt', 1000 + i);
    hints.add('b', 'c.txt', 1050);
    expect(hints.take(1050)).toBe(50);
    expect(hints.take(1100)).toMatchObject({ dir: 'b', names: new Set(['a.txt', 'c.txt']), whole: false });
    expect(hints.take(1100)).toBeUndefined();
  });

  it('takes the whole directory where there are too many names, and has room again afterwards', () => {
    const hints = new Hints(() => undefined);
    for (let i = 0; i <= 50_000; i++) hints.add('b', `f${i}`, 0);
    hints.add('b', 'more', 0);
    expect(hints.take(100)).toMatchObject({ dir: 'b', whole: true, names: new Set() });
    hints.add('b', 'one', 200);
    expect(hints.take(300)).toMatchObject({ names: new Set(['one']), whole: false });
  });

  it('tells of an overflow where there are too many directories', () => {
    let overflows = 0;
    const hints = new Hints(() => overflows++);
    for (let i = 0; i <= 10_000; i++) hints.add(`d${i}`, 'x', 0);
    expect(overflows).toBe(1);
    expect(hints.size).toBe(0);
  });
});

describe('Stale', () => {
  it('waits until a directory is quiet, but not for ever', () => {
    const stale = new Stale();
    stale.mark('d', 0);
    stale.mark('d', 900);
    expect(stale.take(1000)).toBe(900);
    for (let at = 1000; at <= 20_000; at += 500) stale.mark('d', at);
    expect(stale.take(10_000)).toBe('d');
    expect(stale.take(10_000)).toBeUndefined();
  });

  it('lets a large directory rest', () => {
    const stale = new Stale();
    stale.done('d', 200, 1000);
    stale.mark('d', 1000);
    expect(stale.take(10_999)).toBe(1);
    expect(stale.take(11_000)).toBe('d');
  });
});

describe('HashQueue', () => {
  it('gives small files as they came and large ones by size', () => {
    const queue = new HashQueue();
    for (const [name, size] of [
      ['huge', LARGE_BYTES * 3],
      ['b', 2],
      ['big', LARGE_BYTES],
      ['a', 1],
      ['b', 3],
    ] as const)
      queue.add({ dirs: ['x'], name, size });
    expect(queue.size).toBe(4);
    expect([queue.takeSmall()?.name, queue.takeSmall()?.name, queue.takeSmall()]).toEqual(['b', 'a', undefined]);
    expect([queue.takeLarge()?.name, queue.takeLarge()?.name, queue.takeLarge()]).toEqual(['big', 'huge', undefined]);
  });

  it('is bounded', () => {
    const queue = new HashQueue();
    let taken = 0;
    while (taken < 60_000 && queue.add({ dirs: ['x'], name: `f${taken}`, size: 1 })) taken++;
    expect(taken).toBe(50_000);
    expect(queue.add({ dirs: ['x'], name: 'f1', size: 2 })).toBe(true);
  });
});
