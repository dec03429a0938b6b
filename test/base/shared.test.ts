import { describe, expect, it } from 'vitest';
import { Shared } from '../../src/base/shared.js';

/** Work whose runs are ended by hand. */
function byHand(): { shared: Shared; runs: { end: () => void; fail: () => void }[] } {
  const runs: { end: () => void; fail: () => void }[] = [];
  const shared = new Shared(
    () =>
      new Promise((end, reject) => {
        runs.push({ end, fail: () => reject(new Error('EIO')) });
      }),
  );
  return { shared, runs };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('work that is shared', () => {
  it('runs once for all who come while it runs', async () => {
    const { shared, runs } = byHand();
    const ended: string[] = [];
    const wait = async (name: string): Promise<void> => {
      await shared.run();
      ended.push(name);
    };
    const all = [wait('first'), ...Array.from({ length: 30 }, () => wait('later'))];
    expect(runs).toHaveLength(1);
    runs[0]?.end();
    await turn();
    // they came after it had begun
    expect(ended).toEqual(['first']);
    expect(runs).toHaveLength(2);
    all.push(wait('last'));
    runs[1]?.end();
    await turn();
    expect(ended).toHaveLength(31);
    expect(runs).toHaveLength(3);
    runs[2]?.end();
    await Promise.all(all);
    expect(ended.at(-1)).toBe('last');
  });

  it('tells all who wait for a run of its failure, and nobody else', async () => {
    const { shared, runs } = byHand();
    const first = shared.run();
    const later = [shared.run(), shared.run()];
    runs[0]?.fail();
    await expect(first).rejects.toThrow('EIO');
    await turn();
    runs[1]?.fail();
    for (const one of later) await expect(one).rejects.toThrow('EIO');
    const anew = shared.run();
    expect(runs).toHaveLength(3);
    runs[2]?.end();
    await anew;
  });
});
