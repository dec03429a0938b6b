import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Delivery, type DeliveryOptions } from '../../../src/jobs/events/deliver.js';
import { DiskQueue, type Queued } from '../../../src/jobs/events/queue.js';
import { eventRecord } from '../../../src/jobs/events/record.js';
import { DeliveryError } from '../../../src/jobs/events/send.js';

const HOUR = 3_600_000;

let directory: string;
let queue: DiskQueue;
/** Keys as they were tried, each with the ms since the start. */
let tried: { key: string; at: number }[];
let taken: string[];
let warnings: string[];
let began: number;
let running: Delivery | undefined;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'] });
  directory = mkdtempSync(join(tmpdir(), 'gos3rve-deliver-'));
  queue = new DiskQueue(directory, undefined);
  [tried, taken, warnings, began] = [[], [], [], Date.now()];
});
afterEach(async () => {
  await running?.stop();
  vi.useRealTimers();
  await queue.close();
  rmSync(directory, { recursive: true, force: true });
});

function event(seq: number, key: string): Queued {
  const change = { seq, time: 0, event: 'ObjectCreated:Put', names: [] };
  const record = eventRecord(change, { bucket: 'b', key }, { region: 'r', configurationId: 'c', owner: 'o' });
  return { seq, at: Date.now(), key, record };
}
const fill = (...keys: string[]): void => queue.append(keys.map((key, n) => event(n + 1, key)));

/** @param answer throws what the target answers. */
function deliver(answer: (key: string) => void | Promise<void>, more: Partial<DeliveryOptions> = {}): Delivery {
  const delivery = new Delivery(queue, {
    send: async ({ key }) => {
      tried.push({ key, at: Date.now() - began });
      await answer(key);
      taken.push(key);
    },
    warn: (message) => warnings.push(message),
    ...more,
  });
  running = delivery;
  delivery.pump();
  return delivery;
}
const down = (retryAfter?: number): DeliveryError => new DeliveryError('it answered 503', true, retryAfter);
const refused = (): DeliveryError => new DeliveryError('it answered 400', false);
const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

describe('delivery', () => {
  it('tries a target that is down later and later, one event at a time, and then all', async () => {
    let up = false;
    fill(...Array.from({ length: 50 }, (_, n) => `k${n}`));
    deliver(() => {
      if (!up) throw down();
    });
    await pass(10);
    // they were under way together, and count as one failure
    expect(tried).toHaveLength(8);
    await pass(2 * HOUR);
    const later = tried.slice(8).map(({ at }) => at);
    const gaps = later.slice(1).map((at, n) => at - (later[n] ?? 0));
    expect(gaps[0]).toBeLessThanOrEqual(4000);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(300_100);
    expect(gaps.slice(12).every((gap) => gap >= 149_900)).toBe(true);
    expect(warnings).toEqual(['a target does not take events; trying again']);
    up = true;
    await pass(600_000);
    expect(taken.sort()).toEqual(Array.from({ length: 50 }, (_, n) => `k${n}`).sort());
    expect(warnings[1]).toBe('a target takes events again');
    expect(queue.length).toBe(0);
  });

  it('leaves a target alone for as long as it asks', async () => {
    let first = true;
    fill('a', 'b');
    deliver((key) => {
      if (first && key === 'a') {
        first = false;
        throw down(60_000);
      }
    });
    await pass(59_000);
    expect(tried.map(({ key }) => key)).toEqual(['a', 'b']);
    queue.append([event(3, 'c')]);
    await pass(31_000);
    expect(tried.filter(({ key }) => key === 'a').map(({ at }) => at)[1]).toBeGreaterThanOrEqual(60_000);
    expect(taken).toContain('a');
  });

  it('gives events up after a day, and tells', async () => {
    fill('a', 'b');
    deliver(() => {
      throw down();
    });
    await pass(23.9 * HOUR);
    expect(queue.length).toBe(2);
    await pass(0.3 * HOUR);
    expect(queue.length).toBe(0);
    expect(warnings).toContain('events are given up that a target did not take for a day');
  });

  it.each([
    ['refuses', refused],
    ['crashes on', down],
  ])('gives up an event that a target %s while it takes others, and goes on with its key', async (_what, fault) => {
    let seq = 4;
    fill('bad', 'good', 'bad', 'other');
    let fails = true;
    deliver((key) => {
      if (key === 'bad' && fails) throw fault();
    });
    await pass(30_000);
    expect(taken).toContain('good');
    expect(taken).toContain('other');
    for (let minute = 0; minute < 120 && fails; minute++) {
      queue.append([event(++seq, `more ${minute}`)]);
      running?.pump();
      await pass(60_000);
      fails = !warnings.includes('an event is given up that a target refuses while it takes others');
    }
    expect(fails).toBe(false);
    expect(Date.now() - began).toBeGreaterThan(HOUR / 3);
    await pass(600_000);
    // its second event is another one
    expect(taken.filter((key) => key === 'bad')).toHaveLength(1);
    expect(queue.length).toBe(0);
  });

  it('keeps for a day what a target refuses that takes nothing at all', async () => {
    fill('a', 'b', 'c');
    deliver(() => {
      throw refused();
    });
    await pass(23 * HOUR);
    expect(queue.length).toBe(3);
    expect(warnings).toHaveLength(1);
  });

  it.each([
    ['refused', refused, 1100],
    ['fatal to the handler', down, 100],
  ])('is not kept from the rest by many events that are %s', async (_what, fault, count) => {
    const bad = Array.from({ length: count }, (_, n) => `bad ${n}`);
    const good = Array.from({ length: 300 }, (_, n) => `good ${n}`);
    fill(...bad.slice(0, 900), ...good, ...bad.slice(900));
    deliver((key) => {
      if (key.startsWith('bad')) throw fault();
    });
    // each failure that may be of the target makes a pause
    await pass(fault === refused ? 1000 : HOUR);
    expect(taken).toHaveLength(300);
  });

  it('keeps the order of each key', async () => {
    fill('a', 'b', 'a', 'b', 'a');
    const order: Queued['seq'][] = [];
    let n = 0;
    running = new Delivery(queue, {
      send: async ({ key, seq }) => {
        if (n++ % 2 === 0) throw down();
        if (key === 'a') order.push(seq);
      },
      warn: () => undefined,
    });
    running.pump();
    await pass(60_000);
    expect(order).toEqual([1, 3, 5]);
    expect(queue.length).toBe(0);
  });

  it('forgets what was taken behind an event that is not', async () => {
    let stuck = true;
    fill('bad', ...Array.from({ length: 5000 }, (_, n) => `k${n}`));
    deliver((key) => {
      if (key === 'bad' && stuck) throw refused();
    });
    await pass(1000);
    expect(taken).toHaveLength(5000);
    expect(queue.length).toBe(5001);
    stuck = false;
    await pass(600_000);
    expect(queue.length).toBe(0);
  });

  it('goes on after its queue could not be read', async () => {
    fill('a');
    const take = vi.spyOn(queue, 'take').mockImplementationOnce(() => {
      throw new Error('EIO');
    });
    deliver(() => undefined);
    expect(warnings).toHaveLength(1);
    await pass(2000);
    expect(take).toHaveBeenCalled();
    expect(taken).toEqual(['a']);
  });
});
