import { appendFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DiskQueue, type Queued } from '../../../src/jobs/events/queue.js';
import { eventRecord } from '../../../src/jobs/events/record.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'gos3rve-queue-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function event(seq: number, size = 0): Queued {
  const change = { seq, time: 0, event: 'ObjectCreated:Put', names: [] };
  const key = `k${seq}${'x'.repeat(size)}`;
  const record = eventRecord(change, { bucket: 'b', key }, { region: 'r', configurationId: 'c', owner: 'o' });
  return { seq, at: 1, key, record };
}
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, n) => from + n);
const seqs = (taken: { event: Queued }[]): number[] => taken.map(({ event: { seq } }) => seq);
const open = (limits?: { events: number; bytes: number }): DiskQueue => new DiskQueue(directory, undefined, limits);

describe('a queue of events', () => {
  it('gives what was put, in order, once', () => {
    const queue = open();
    queue.append(range(1, 300).map((n) => event(n, n)));
    expect(queue.length).toBe(299);
    expect(seqs(queue.take(100))).toEqual(range(1, 101));
    expect(seqs(queue.take(1000))).toEqual(range(101, 300));
    expect(queue.take(10)).toEqual([]);
    queue.append([event(300)]);
    expect(seqs(queue.take(10))).toEqual([300]);
  });

  it('gives again after a crash what was not acknowledged, and goes on behind the rest', async () => {
    const queue = open();
    queue.append(range(1, 11).map((n) => event(n)));
    const taken = queue.take(10);
    const third = taken[2];
    if (third) queue.acknowledge(third.end, 3);
    queue.save();
    await queue.flush();
    // killed: nothing is closed, half a line is left
    appendFileSync(
      join(directory, readdirSync(directory).filter((name) => name.endsWith('.jsonl'))[0] ?? ''),
      '{"seq":99,',
    );
    const again = open();
    expect(again.length).toBe(7);
    expect(again.lastSeq).toBe(10);
    again.append([event(11)]);
    expect(seqs(again.take(100))).toEqual(range(4, 12));
    await again.close();
  });

  it('removes files whose events were delivered', async () => {
    const queue = open({ events: 320, bytes: 1 << 20 });
    queue.append(range(1, 101).map((n) => event(n)));
    const files = () => readdirSync(directory).filter((name) => name.endsWith('.jsonl')).length;
    expect(files()).toBe(10);
    const taken = queue.take(100);
    for (const { end } of taken) queue.acknowledge(end, 1);
    expect(files()).toBe(1);
    expect(queue.length).toBe(0);
    queue.append([event(101)]);
    expect(seqs(queue.take(10))).toEqual([101]);
    await queue.close();
    const again = open();
    expect(seqs(again.take(10))).toEqual([101]);
  });

  it.each([
    ['events', { events: 64, bytes: 1 << 30 }],
    ['bytes', { events: 1 << 30, bytes: 64 * 600 }],
  ])('lets the oldest go when it has too many %s, and counts them', (_what, limits) => {
    const queue = open(limits);
    const first = queue.take(1);
    queue.append(range(1, 201).map((n) => event(n, 10)));
    const lost = queue.takeLost();
    expect(lost).toBeGreaterThan(100);
    expect(queue.takeLost()).toBe(0);
    expect(first).toEqual([]);
    const left = seqs(queue.take(1000));
    expect(left).toEqual(range(201 - left.length, 201));
    expect(left.length + lost).toBe(200);
    expect(queue.length).toBe(left.length);
  });

  it('is not confused by an acknowledgement of what was let go', () => {
    const queue = open({ events: 64, bytes: 1 << 30 });
    queue.append(range(1, 5).map((n) => event(n)));
    const [one] = queue.take(4);
    queue.append(range(5, 200).map((n) => event(n)));
    if (one) queue.acknowledge(one.end, 1);
    const left = seqs(queue.take(1000));
    expect(left.at(-1)).toBe(199);
    expect(queue.length).toBe(left.length);
  });

  it('passes over lines that are damaged, and a state that is', async () => {
    const queue = open();
    queue.append([event(1)]);
    await queue.close();
    const [name = ''] = readdirSync(directory).filter((file) => file.endsWith('.jsonl'));
    appendFileSync(join(directory, name), `garbage\n${JSON.stringify(event(2))}\n`);
    writeFileSync(join(directory, 'state.json'), 'garbage');
    expect(seqs(open().take(10))).toEqual([1, 2]);
  });

  it('takes lines longer than a chunk', () => {
    const queue = open();
    queue.append([event(1, 200_000), event(2)]);
    expect(seqs(queue.take(10))).toEqual([1, 2]);
  });
});
