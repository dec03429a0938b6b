/** How far the journal is read again: whatever is applied and ended is not; whatever may still be open is. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Catalog } from '../../src/catalog/catalog.js';
import { Journal, encodeLine } from '../../src/catalog/journal.js';
import type { JournalLine } from '../../src/catalog/lines.js';
import { Index, NotReady } from '../../src/catalog/lmdb.js';
import { Replay, replay, type Dangling } from '../../src/catalog/replay.js';
import type { Damage } from '../../src/catalog/segments.js';

const SEGMENT = '20260101T000000000Z-00000000.jsonl';
const HEAD: JournalLine = { op: 'segment', version: 1, boot: 'b', pid: 1, host: 'h', time: '2026-01-01T00:00:00Z' };
const FP = '0:1:2:3:4';
const hash = (seq: number): JournalLine => ({
  op: 'hash',
  seq,
  path: `box/é${seq}`,
  fp: FP,
  ctime: '5',
  etag: 'a'.repeat(32),
});
const prepare = (id: string): JournalLine => ({
  op: 'prepare',
  id,
  path: `box/${id}`,
  bytes: { fp: FP, etag: 'b'.repeat(32) },
  facts: {},
  published: true,
});
const commit = (id: string, seq: number): JournalLine => ({ op: 'commit', id, seq, ctime: '5' });

describe('after a replay', () => {
  let base: string;
  let index: Index;
  let journal: Journal;
  let damages: Damage[] = [];
  beforeEach(() => {
    base = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-replay-'));
    fs.mkdirSync(path.join(base, 'journal'));
    damages = [];
    index = Index.open(path.join(base, 'index.mdb'));
    journal = new Journal(path.join(base, 'journal'), undefined, () => HEAD);
  });
  afterEach(async () => {
    await journal.close();
    await index.close();
    fs.rmSync(base, { recursive: true });
  });

  const write = (lines: JournalLine[], tail = ''): void =>
    fs.writeFileSync(path.join(base, 'journal', SEGMENT), lines.map(encodeLine).join('') + tail);
  const run = (): Promise<Dangling> =>
    replay(new Catalog(index, journal), (_segment, damage) => damages.push(damage), 0);
  const seen = (): number => index.number(`seg:${SEGMENT}`);
  const bytes = (lines: JournalLine[]): number => Buffer.byteLength(lines.map(encodeLine).join(''));

  it('nothing is read again that has ended', async () => {
    const lines = [HEAD, hash(1), prepare('x'), commit('x', 2), hash(3)];
    write(lines);
    expect((await run()).prepares).toEqual([]);
    expect(seen()).toBe(bytes(lines));
    expect(index.number('seq')).toBe(3);
  });

  it('no number is given twice, also not one that a write which failed has put into the journal', async () => {
    write([HEAD, hash(1)]);
    await run();
    index.write(() => index.setReady());
    const catalog = new Catalog(index, journal);
    const given: number[] = [];
    const fails = (): void => {
      given.push(catalog.nextSeq(), catalog.nextSeq());
      throw new Error('the rest of it');
    };
    expect(() => catalog.record(fails)).toThrow('the rest of it');
    catalog.record(() => given.push(catalog.comingSeq(), catalog.nextSeq()));
    catalog.record(() => given.push(catalog.nextSeq()));
    expect(given).toEqual([2, 3, 4, 4, 5]);
    expect(index.number('seq')).toBe(5);
  });

  it.each<[string, JournalLine[], JournalLine[]]>([
    ['a prepare line that waits', [HEAD, hash(1)], [prepare('x'), hash(2), prepare('y'), commit('y', 3), hash(4)]],
    ['the last commit, perhaps an orphan', [HEAD, hash(1)], [prepare('x'), commit('x', 2)]],
    ['directories about to be made', [HEAD, hash(1)], [{ op: 'dirs', paths: ['box/d'] }]],
  ])('%s is read again, with all behind it', async (_, ended, open) => {
    write([...ended, ...open]);
    const first = await run();
    expect(seen()).toBe(bytes(ended));
    const second = await run();
    expect(second).toEqual(first);
    expect(first.prepares.length + first.dirs.length + first.aborted.size).toBe(1);
  });

  it('the commits of the last transaction are read again, for all may be orphans', async () => {
    const waiting = ['x', 'y', 'z'].map((id) => prepare(id));
    const together = ['x', 'y', 'z'].map((id, n) => ({ ...commit(id, 2 + n), ...(n > 0 && { first: 2 }) }));
    write([HEAD, hash(1), ...waiting, ...together]);
    // another process has taken the numbers since
    fs.writeFileSync(
      path.join(base, 'journal', SEGMENT.replace('2026', '2027')),
      [HEAD, hash(2), hash(3), hash(4), hash(5), hash(6)].map(encodeLine).join(''),
    );
    index.write(() => index.setNumber('seq', 6));
    const { prepares } = await run();
    expect(prepares.map(({ line, committed }) => [line.id, committed])).toEqual(
      waiting.map((line) => ['id' in line && line.id, true]),
    );
    expect(seen()).toBe(bytes([HEAD, hash(1)]));
  });

  it('what was begun in an index that was lost is not gone on with in the next one', async () => {
    const lines = [HEAD, ...Array.from({ length: 200 }, (_, n) => hash(n + 1))];
    write(lines);
    const work = new Replay(new Catalog(index, journal), () => undefined);
    expect(work.step(0)).toBe(false);
    expect(index.number('seq')).toBeGreaterThan(0);
    fs.rmSync(path.join(base, 'index.mdb'));
    // a request notices it first
    index.refresh();
    expect(() => work.step(0)).toThrow(NotReady);
    expect(() => work.finish()).toThrow(NotReady);
    expect(index.number('seq')).toBe(0);
    await run();
    const catalog = new Catalog(index, journal);
    for (const n of [1, 100, 200]) expect(catalog.row({ kind: 'tree', dirs: ['box'], name: `é${n}` })?.seq).toBe(n);
  });

  it('the last commit of a segment that its process sealed is not', async () => {
    const lines: JournalLine[] = [HEAD, prepare('x'), commit('x', 1), { op: 'sealed' }];
    write(lines);
    expect((await run()).prepares).toEqual([]);
    expect(seen()).toBe(bytes(lines));
  });

  it("the end of another segment's operation is read again as long as that one is", async () => {
    const other = path.join(base, 'journal', SEGMENT.replace('2026', '2025'));
    const ended = [HEAD, hash(1)];
    const lines: JournalLine[] = [...ended, { op: 'abort', id: 'elsewhere' }, hash(2)];
    fs.writeFileSync(other, [HEAD, prepare('elsewhere')].map(encodeLine).join(''));
    write(lines);
    for (let times = 0; times < 2; times++) {
      expect((await run()).aborted).toEqual(new Set(['elsewhere']));
      expect(seen()).toBe(bytes(ended));
    }
    fs.rmSync(other);
    await run();
    expect(seen()).toBe(bytes(lines));
  });

  it('a line that is still being written is read when it is whole', async () => {
    const lines = [HEAD, hash(1)];
    const next = encodeLine(hash(2));
    write(lines, next.slice(0, 30));
    await run();
    expect(seen()).toBe(bytes(lines));
    write(lines, next);
    await run();
    expect(index.number('seq')).toBe(2);
    expect(seen()).toBe(bytes([...lines, hash(2)]));
  });

  it('what a living process noted meanwhile is not taken back', async () => {
    write([HEAD, hash(1)]);
    index.write(() => index.setNumber(`seg:${SEGMENT}`, 1_000_000));
    await run();
    expect(seen()).toBe(1_000_000);
  });
});
