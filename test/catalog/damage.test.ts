/** DESIGN rule 2: a damaged journal line costs that line only, is set aside and told once. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import fc from '../fast-check.js';
import { openStore } from '../../src/store/open.js';
import { damagedDirectory, listSegments, placed, SegmentReader, type Damage } from '../../src/catalog/segments.js';
import { BUCKET, body, get, list } from '../suites/store/kit.js';

interface Seen {
  lines: string[];
  damages: Damage[];
}

describe('a real journal', () => {
  let base = '';
  let real: Buffer;
  /** Offsets of the lines and, last, the size. */
  let starts: number[] = [];
  let all: string[] = [];

  beforeAll(async () => {
    base = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-damage-'));
    const root = path.join(base, 'root');
    await furnish(root);
    real = fs.readFileSync(segmentOf(root));
    starts = [0];
    for (let at = real.indexOf(10); at >= 0; at = real.indexOf(10, at + 1)) starts.push(at + 1);
    all = read(real).lines;
    expect(all).toHaveLength(starts.length - 1);
    expect(all.length).toBeGreaterThan(25);
  });
  afterAll(() => fs.rmSync(base, { recursive: true }));

  const read = (bytes: Buffer): Seen => {
    const file = path.join(base, 'spoilt');
    fs.writeFileSync(file, bytes);
    const damages: Damage[] = [];
    const lines = [...placed(new SegmentReader(file, 0, (damage) => damages.push(damage)))];
    return { lines: lines.map(({ line }) => JSON.stringify(line)), damages };
  };
  const lineAt = (offset: number): number => starts.findIndex((start) => start > offset) - 1;

  it('loses exactly the line in which a byte is flipped', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 255 }), (position, mask) => {
        const at = position % real.length;
        const bytes = Buffer.from(real);
        bytes[at] = (bytes[at] ?? 0) ^ mask;
        const hit = lineAt(at);
        const breaksLine = real[at] === 10;
        const { lines, damages } = read(bytes);
        // the break between two lines belongs to neither
        expect(lines).toEqual(breaksLine ? all : all.filter((_, n) => n !== hit));
        expect(breaksLine || damages.length > 0).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('loses every line in which any byte is flipped, each byte once', () => {
    const from = starts[10] ?? 0;
    const until = starts[13] ?? 0;
    const small = real.subarray(from, until);
    const three = all.slice(10, 13);
    for (let at = 0; at < small.length; at++) {
      const bytes = Buffer.from(small);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      const hit = small[at] === 10 ? -1 : lineAt(from + at) - 10;
      expect(read(bytes).lines, `byte ${at}`).toEqual(three.filter((_, n) => n !== hit));
    }
  });

  it('cut anywhere keeps all whole lines, and half a line is no damage', () => {
    const cuts = new Set(starts.flatMap((start) => [start - 1, start, start + 1]));
    for (let cut = 3; cut < real.length; cut += 101) cuts.add(cut);
    for (const cut of [...cuts].filter((one) => one >= 0 && one <= real.length)) {
      const { lines, damages } = read(real.subarray(0, cut));
      const whole = starts.slice(1).filter((end) => end - 1 <= cut).length;
      expect([lines, damages], `cut at ${cut}`).toEqual([all.slice(0, whole), []]);
    }
  });

  it('with a line damaged is the journal without that line, for the store', { timeout: 120_000 }, async () => {
    for (let n = 1; n < all.length; n += 3) {
      const [start, end] = [starts[n] ?? 0, starts[n + 1] ?? 0];
      const bytes = Buffer.from(real);
      bytes[start + 20] = (bytes[start + 20] ?? 0) ^ 0x40;
      const without = await look(Buffer.concat([real.subarray(0, start), real.subarray(end)]));
      const spoilt = await look(bytes);
      expect(spoilt.state, all[n]).toEqual(without.state);
      expect(without.warnings).toEqual([]);
      expect(spoilt.warnings, all[n]).toHaveLength(1);
    }
  });

  it('tells of damage once and keeps the bytes', async () => {
    const root = path.join(base, 'once');
    await furnish(root);
    const segment = segmentOf(root);
    const bytes = fs.readFileSync(segment);
    const at = bytes.indexOf('"op":"commit"');
    bytes[at + 20] = 0;
    fs.writeFileSync(segment, bytes);
    const warnings: unknown[] = [];
    for (let n = 0; n < 3; n++) {
      fs.rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
      const store = await openStore(root, { log: (_level, message, data) => void warnings.push([message, data]) });
      await store.close();
    }
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatchObject([/set aside/, { segment: path.basename(segment), offset: at - 1 }]);
    const [file = ''] = fs.readdirSync(damagedDirectory(path.dirname(segment)));
    expect(file).toBe(`${path.basename(segment)}.txt`);
    const kept = fs.readFileSync(path.join(damagedDirectory(path.dirname(segment)), file), 'latin1');
    expect(kept).toContain(bytes.toString('latin1', at - 1, bytes.indexOf(10, at)));
  });

  it('with all of a long segment damaged is told in a few lines, and set aside in one pass', async () => {
    const root = path.join(base, 'many');
    await furnish(root);
    const spoilt = `${path.dirname(segmentOf(root))}/29990101T000000000Z-00000000.jsonl`;
    const line = '{"op":"hash","seq":1,"path":"photos/x","crc":"00000000"}\n';
    fs.writeFileSync(spoilt, line.repeat(30_000));
    fs.rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
    const warnings: unknown[] = [];
    const store = await openStore(root, {
      log: (level, _message, data) => void (level === 'warn' && warnings.push(data)),
    });
    await store.close();
    expect(warnings).toHaveLength(7);
    expect(warnings.at(-1)).toMatchObject({ segment: path.basename(spoilt), ofThisSegment: 10_000 });
    const aside = path.join(damagedDirectory(path.dirname(spoilt)), `${path.basename(spoilt)}.txt`);
    expect(fs.readFileSync(aside, 'latin1').split(line)).toHaveLength(30_001);
  });

  /** What a store says that has only this journal (and the files). */
  async function look(journal: Buffer): Promise<{ state: unknown; warnings: unknown[] }> {
    const root = path.join(base, 'look');
    fs.cpSync(path.join(base, 'root'), root, { recursive: true, preserveTimestamps: true });
    fs.rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
    fs.writeFileSync(segmentOf(root), journal);
    const warnings: unknown[] = [];
    const store = await openStore(root, {
      log: (_level, message, data) => void (message.includes('set aside') && warnings.push(data)),
    });
    const state: unknown[] = [];
    for (const key of await list(store)) {
      const { info, bytes } = await get(store, key);
      state.push([key, info.etag, info.facts, bytes.toString()]);
    }
    await store.close();
    fs.rmSync(root, { recursive: true });
    return { state, warnings };
  }
});

function segmentOf(root: string): string {
  const journal = path.join(root, '.gos3rve/journal');
  const [segment = ''] = listSegments(journal);
  return path.join(journal, segment);
}

/** Some of everything. */
async function furnish(root: string): Promise<void> {
  fs.mkdirSync(root, { recursive: true });
  const store = await openStore(root, { minPartSize: 4 });
  await store.createBucket(BUCKET, {});
  for (const version of ['one', 'two'])
    for (const key of ['a/b', 'c//d', 'é\u2028'])
      await store.put(BUCKET, key, body(`${key} ${version}`), { facts: { metadata: { version } } });
  await store.put(BUCKET, 'm/', body(''), {});
  await store.updateFacts(BUCKET, 'a/b', (facts) => ({ ...facts, tags: [['t', 'v']] }));
  await store.put(BUCKET, 'gone', body('x'), {});
  await store.delete(BUCKET, 'gone');
  await store.move({ bucket: BUCKET, key: 'a/b' }, { bucket: BUCKET, key: 'z/y' }, {});
  const { uploadId } = await store.createUpload(BUCKET, 'multi', {});
  const parts = [];
  for (const partNumber of [1, 2]) {
    const { etag } = await store.putPart(BUCKET, 'multi', uploadId, partNumber, body(`part ${partNumber}`));
    parts.push({ partNumber, etag, checksums: {} });
  }
  await store.completeUpload(BUCKET, 'multi', uploadId, parts);
  await store.close();
}
