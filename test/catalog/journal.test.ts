/** The journal's lines, one flush for many, and what a failed flush means. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import fc from '../fast-check.js';
import { Journal, encodeLine } from '../../src/catalog/journal.js';
import type { JournalLine } from '../../src/catalog/lines.js';
import { SegmentReader, decodeLine, listSegments, placed, readTail } from '../../src/catalog/segments.js';

const text = fc.string({ unit: 'binary', maxLength: 40 });
const lines: fc.Arbitrary<JournalLine> = fc.oneof(
  fc.record({ op: fc.constant('delete' as const), seq: fc.nat(), bucket: text, key: text }),
  fc.record({ op: fc.constant('delete' as const), seq: fc.nat(), path: text, rmdirs: fc.array(text) }),
  fc.record({
    op: fc.constant('facts' as const),
    seq: fc.nat(),
    path: text,
    facts: fc.record({ metadata: fc.dictionary(text, text), tags: fc.array(fc.tuple(text, text)) }),
  }),
);

describe('a journal line', () => {
  it('comes back as it was, with every separator that Unicode knows', () => {
    fc.assert(
      fc.property(lines, (line) => {
        expect(decodeLine(encodeLine(line).slice(0, -1))).toEqual(line);
      }),
    );
  });

  it('is one line of text', () => {
    fc.assert(
      fc.property(lines, (line) => {
        expect(encodeLine(line).indexOf('\n')).toBe(encodeLine(line).length - 1);
      }),
    );
  });

  it('is refused with any byte damaged, never taken for another', () => {
    fc.assert(
      fc.property(lines, fc.nat(), fc.integer({ min: 1, max: 255 }), (line, position, mask) => {
        const bytes = Buffer.from(encodeLine(line).slice(0, -1));
        const at = position % bytes.length;
        bytes[at] = (bytes[at] ?? 0) ^ mask;
        const seen = decodeLine(bytes.toString());
        if (seen !== undefined) expect(seen).toEqual(line);
      }),
      { numRuns: 2000 },
    );
  });

  it('is refused when cut anywhere', () => {
    const whole = encodeLine({ op: 'delete', seq: 7, path: 'a/b' }).slice(0, -1);
    for (let end = 0; end < whole.length; end++) expect(decodeLine(whole.slice(0, end))).toBeUndefined();
  });

  it('may be written by hand, without the checksum', () => {
    const line = { op: 'delete', seq: 7, bucket: 'b', key: 'deadbeef' };
    expect(decodeLine(JSON.stringify(line))).toEqual(line);
    expect(decodeLine('not json')).toBeUndefined();
    expect(decodeLine('[1]')).toBeUndefined();
  });
});

describe('a journal', () => {
  const real = {
    fdatasync: fs.fdatasync,
    writeSync: fs.writeSync,
    ftruncateSync: fs.ftruncateSync,
    closeSync: fs.closeSync,
  };
  let directory = '';
  let journal: Journal;
  /** Flushes that have begun and wait to be let go, with an error or without. */
  let flushes: ((error: Error | null) => void)[] = [];

  beforeEach(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-journal-'));
    journal = new Journal(directory, undefined, () => ({
      op: 'segment',
      version: 1,
      boot: 'b',
      pid: 1,
      host: 'h',
      time: 't',
    }));
    flushes = [];
    fs.fdatasync = ((_fd: number, done: (error: Error | null) => void) =>
      void flushes.push(done)) as typeof fs.fdatasync;
    syncBuiltinESMExports();
  });
  afterEach(async () => {
    Object.assign(fs, real);
    syncBuiltinESMExports();
    for (const done of flushes) done(null);
    await journal.close();
    fs.rmSync(directory, { recursive: true });
  });
  const append = (seq: number): number => journal.append({ op: 'delete', seq, path: `p${seq}` });
  const seqs = (segment: string): number[] =>
    readTail(path.join(directory, segment), 0).flatMap((line) => ('seq' in line ? [line.seq] : []));
  const outcome = (flush: Promise<void>): Promise<string> =>
    flush.then(
      () => 'flushed',
      () => 'failed',
    );
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  it('serves all that wait by one flush', async () => {
    const waiting: Promise<string>[] = [];
    for (let n = 0; n < 100; n++) {
      append(n);
      waiting.push(outcome(journal.flush(journal.segment)));
    }
    expect(flushes).toHaveLength(1);
    flushes[0]?.(null);
    await turn();
    expect(flushes).toHaveLength(2);
    flushes[1]?.(null);
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['flushed']));
    expect(flushes).toHaveLength(2);
  });

  it('has sealed a segment whose close fails: its number may be another file by then', () => {
    append(1);
    const first = journal.segment;
    fs.closeSync = (fd) => {
      real.closeSync(fd);
      throw Object.assign(new Error('EIO'), { code: 'EIO' });
    };
    syncBuiltinESMExports();
    expect(journal.rotate()).toBe(true);
    Object.assign(fs, real);
    syncBuiltinESMExports();
    const other = path.join(directory, 'other');
    const fd = fs.openSync(other, 'w');
    append(2);
    expect(journal.rotate()).toBe(true);
    fs.closeSync(fd);
    expect(fs.readFileSync(other, 'utf8')).toBe('');
    expect(listSegments(directory).map(seqs)).toEqual([[1], [2]]);
    expect(listSegments(directory)[0]).toBe(first);
  });

  it('fails all that wait when a flush fails, and goes on in another segment', async () => {
    append(1);
    const first = journal.segment;
    const one = outcome(journal.flush(first));
    append(2);
    const two = outcome(journal.flush(first));
    flushes[0]?.(Object.assign(new Error('EIO'), { code: 'EIO' }));
    expect(await one).toBe('failed');
    append(3);
    expect(journal.segment).not.toBe(first);
    const three = outcome(journal.flush(journal.segment));
    expect(await two).toBe('failed');
    expect(await outcome(journal.flush(first))).toBe('failed');
    await turn();
    for (const done of flushes.slice(1)) done(null);
    expect(await three).toBe('flushed');
    expect(seqs(journal.segment)).toEqual([3]);
    expect(listSegments(directory)).toHaveLength(2);
  });

  describe('appended to by many', () => {
    const prepare = (id: string): JournalLine => ({
      op: 'prepare',
      id,
      path: `b/${id}é`,
      bytes: { fp: '0', etag: 'e' },
      facts: {},
      published: true,
    });
    const ops = (): string[] => readTail(path.join(directory, journal.segment), 0).map((line) => line.op);

    it('tells of which transaction their numbered lines are', () => {
      const commit = (seq: number): JournalLine => ({ op: 'commit', id: 'x', seq, ctime: '0' });
      journal.together(() => {
        journal.appendLater(commit(7));
        journal.append({ op: 'dirs', paths: ['b'] });
        journal.append(commit(8));
        journal.together(() => journal.append(commit(9)));
        journal.appendLater(commit(10));
        journal.writeLater();
      });
      journal.append(commit(11));
      journal.together(() => journal.append(commit(12)));
      const lines = readTail(path.join(directory, journal.segment), 0);
      const firsts = lines.flatMap((line) => ('seq' in line ? [[line.seq, line.first]] : []));
      expect(firsts).toEqual([
        [7, undefined],
        [8, 7],
        [9, 7],
        [10, 7],
        [11, undefined],
        [12, undefined],
      ]);
    });

    it('takes their prepare lines in one write, and knows where each lies', () => {
      let writes = 0;
      append(1);
      fs.writeSync = ((...args: Parameters<typeof fs.writeSync>) => {
        writes++;
        return real.writeSync(...args);
      }) as typeof fs.writeSync;
      syncBuiltinESMExports();
      const tickets = journal.prepareAll(['a', 'b', 'c'].map(prepare));
      expect(writes).toBe(1);
      const file = fs.readFileSync(path.join(directory, journal.segment));
      const lines = tickets.map(({ offset }) => file.subarray(offset, file.indexOf('\n', offset)).toString());
      expect(lines.map((line) => decodeLine(line))).toEqual(['a', 'b', 'c'].map(prepare));
      const ended = [1, 0, 2].map((n) => {
        journal.settle(tickets[n] ?? { segment: '', offset: 0 });
        return journal.settledOffset();
      });
      expect(ended).toEqual([tickets[0]?.offset, tickets[2]?.offset, file.length]);
    });

    it('takes all of them or none', () => {
      append(1);
      fs.writeSync = ((fd: number, bytes: Buffer, offset: number) => {
        if (offset > 0) throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
        return real.writeSync(fd, bytes, 0, 200);
      }) as typeof fs.writeSync;
      syncBuiltinESMExports();
      const end = journal.settledOffset();
      expect(() => journal.prepareAll(['a', 'b', 'c'].map(prepare))).toThrow('ENOSPC');
      fs.writeSync = real.writeSync;
      syncBuiltinESMExports();
      expect(journal.settledOffset()).toBe(end);
      expect(ops()).toEqual(['segment', 'delete']);
      expect(journal.prepare(prepare('a')).offset).toBe(end);
    });

    it('writes what can wait with what follows, in its order, and at the end', () => {
      const commit = (seq: number): JournalLine => ({ op: 'commit', id: 'a', seq, ctime: '1' });
      append(1);
      journal.together(() => {
        journal.appendLater(commit(2));
        journal.appendLater(commit(3));
        expect(seqs(journal.segment)).toEqual([1]);
        const at = append(4);
        expect(fs.readFileSync(path.join(directory, journal.segment)).toString('utf8', at)).toMatch(/"seq":4/);
        expect(seqs(journal.segment)).toEqual([1, 2, 3, 4]);
        journal.appendLater(commit(5));
        journal.writeLater();
        journal.writeLater();
      });
      expect(seqs(journal.segment)).toEqual([1, 2, 3, 4, 5]);
    });

    it('gives up what can wait if it finds no room, and goes on', () => {
      append(1);
      journal.appendLater({ op: 'commit', id: 'a', seq: 2, ctime: '1' });
      fs.writeSync = () => {
        throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
      };
      syncBuiltinESMExports();
      expect(() => journal.writeLater()).toThrow('ENOSPC');
      fs.writeSync = real.writeSync;
      syncBuiltinESMExports();
      append(3);
      expect(seqs(journal.segment)).toEqual([1, 3]);
    });
  });

  it('tells each who waits for a flush why it failed', async () => {
    const full = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
    append(1);
    const first = journal.segment;
    const waiting = [journal.flush(first), journal.flush(first)];
    flushes[0]?.(full);
    for (const one of waiting) await expect(one).rejects.toBe(full);
    await expect(journal.flush(first)).rejects.toBe(full);
    append(2);
    expect(journal.segment).not.toBe(first);
    await expect(journal.flush(first)).rejects.toBe(full);
  });

  it('counts nothing as flushed that could not be cut off', async () => {
    append(1);
    const first = journal.segment;
    const flush = outcome(journal.flush(first));
    const full = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
    fs.writeSync = () => {
      throw full;
    };
    fs.ftruncateSync = fs.writeSync as unknown as typeof fs.ftruncateSync;
    syncBuiltinESMExports();
    expect(() => append(2)).toThrow(full);
    Object.assign(fs, { writeSync: real.writeSync, ftruncateSync: real.ftruncateSync });
    syncBuiltinESMExports();
    flushes[0]?.(null);
    expect(await flush).toBe('failed');
    append(3);
    expect(journal.segment).not.toBe(first);
  });

  it('cuts off a line that was written in part', () => {
    append(1);
    const size = fs.statSync(path.join(directory, journal.segment)).size;
    let calls = 0;
    fs.writeSync = ((fd: number, bytes: Buffer, from: number) => {
      if (calls++ === 0) return real.writeSync(fd, bytes, from, 5);
      throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
    }) as typeof fs.writeSync;
    syncBuiltinESMExports();
    expect(() => append(2)).toThrow('ENOSPC');
    fs.writeSync = real.writeSync;
    syncBuiltinESMExports();
    expect(fs.statSync(path.join(directory, journal.segment)).size).toBe(size);
    append(3);
    expect(seqs(journal.segment)).toEqual([1, 3]);
  });

  it('makes no segment without its header', () => {
    fs.writeSync = () => {
      throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
    };
    syncBuiltinESMExports();
    for (let n = 0; n < 3; n++) expect(() => append(n)).toThrow('ENOSPC');
    expect(listSegments(directory)).toEqual([]);
    fs.writeSync = real.writeSync;
    syncBuiltinESMExports();
    append(4);
    expect(seqs(journal.segment)).toEqual([4]);
  });

  it('says up to where all operations have ended', () => {
    const before = append(1);
    const ticket = journal.prepare({ op: 'delete', seq: 2, path: 'x' });
    const after = append(3);
    expect([journal.settledOffset(), after > ticket.offset, ticket.offset > before]).toEqual([
      ticket.offset,
      true,
      true,
    ]);
    journal.settle(ticket);
    expect(journal.settledOffset()).toBe(fs.statSync(path.join(directory, journal.segment)).size);
  });

  it('is read line by line from any offset, and on when it has grown', () => {
    const keys = ['plain', 'line\u2028separator\u2029s', 'x'.repeat(200_000), 'tail'];
    const offsets = keys.map((key, seq) => journal.append({ op: 'delete', seq, bucket: 'b', key }));
    const file = path.join(directory, journal.segment);
    fs.appendFileSync(file, '{"op":"delete","seq":99,"pa');
    const bad: unknown[] = [];
    const reader = new SegmentReader(file, offsets[0] ?? 0, (damage) => bad.push(damage));
    const good = [...placed(reader)].map(({ line }) => line);
    expect(good).toEqual(keys.map((key, seq) => ({ op: 'delete', seq, bucket: 'b', key })));
    fs.appendFileSync(file, 'th":"p"}\n');
    expect(reader.next()?.line).toEqual({ op: 'delete', seq: 99, path: 'p' });
    expect(reader.next()).toBeUndefined();
    expect(reader.end).toBe(fs.statSync(file).size);
    expect(bad).toEqual([]);
    expect(readTail(file, offsets[3] ?? 0)).toHaveLength(2);
  });
});
