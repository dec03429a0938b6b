/** Rows at hand: whatever is written by whom, a page is what the index says, and what is known stays only with the very same row. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Index } from '../../src/catalog/lmdb.js';
import { rowKey, rowName } from '../../src/catalog/rows.js';
import { RowsAtHand } from '../../src/catalog/rows-at-hand.js';
import '../fast-check.js';

const DIRS = [7, 8, 7 + 256];
const NAMES = ['a', 'a/', 'a0', 'b', 'b\u0301', 'c', 'ca', 'd/', 'e', 'zz'];

let folder: string;
/** Two processes, as far as the index can tell. */
let indexes: Index[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gos3rve-rows-'));
  indexes = [1, 2].map(() => Index.open(join(folder, 'index')));
});
afterEach(async () => {
  for (const index of indexes) await index.close();
  rmSync(folder, { recursive: true, force: true });
});

const change = fc.record({
  by: fc.nat(1),
  changes: fc.array(
    fc.record({ dir: fc.constantFrom(...DIRS), name: fc.constantFrom(...NAMES), value: fc.option(fc.nat(2)) }),
    { minLength: 1, maxLength: 5 },
  ),
  fails: fc.boolean(),
});
const look = fc.record({
  dir: fc.constantFrom(...DIRS),
  start: fc.constantFrom('', ...NAMES),
  limit: fc.integer({ min: 1, max: 6 }),
});

function run(
  index: Index,
  { changes, fails }: { changes: { dir: number; name: string; value: number | null }[]; fails: boolean },
): void {
  try {
    index.write(() => {
      for (const { dir, name, value } of changes) {
        if (value === null) index.remove('tree', rowKey(dir, name));
        else index.put('tree', rowKey(dir, name), Buffer.from([value]));
      }
      if (fails) throw new Error('rolled back');
    });
  } catch (error) {
    if (!fails) throw error;
  }
}

it('gives the pages of the index, with what is known of the very same rows', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(change, look), { maxLength: 60 }), (steps) => {
      const [index] = indexes as [Index];
      const rows = new RowsAtHand<string>(index);
      for (const step of steps) {
        if ('changes' in step) {
          run(indexes[step.by] ?? index, step);
          continue;
        }
        index.refresh();
        const { dir, start, limit } = step;
        const page = rows.page(dir, Buffer.from(start), limit);
        const want = index.page('tree', rowKey(dir, start), rowKey(dir + 1, ''), limit);
        expect(page.map(({ text, value }) => [text, value[0]])).toEqual(
          want.map(({ key, value }) => [rowName(key).toString(), value[0]]),
        );
        for (const row of page) {
          const means = `${dir} ${row.text} ${row.value[0]}`;
          if (row.known !== undefined) expect(row.known).toBe(means);
          row.known = means;
        }
      }
    }),
  );
});

it('keeps what is known through changes beside a row, and reads none of an unchanged directory again', () => {
  const [index] = indexes as [Index];
  const rows = new RowsAtHand<string>(index);
  const put = (name: string, value: number): void => {
    run(index, { changes: [{ dir: 7, name, value }], fails: false });
    index.refresh();
  };
  for (const name of ['a', 'b', 'c']) put(name, 1);
  for (const row of rows.page(7, Buffer.alloc(0), 10)) row.known = row.text;
  const again = rows.page(7, Buffer.from('b'), 10);
  expect(again.map(({ known }) => known)).toEqual(['b', 'c']);
  put('bb', 1);
  put('c', 2);
  expect(rows.page(7, Buffer.alloc(0), 10).map(({ text, known }) => [text, known])).toEqual([
    ['a', 'a'],
    ['b', 'b'],
    ['bb', undefined],
    ['c', undefined],
  ]);
});

it('lets go of what is too much, and goes on', () => {
  const [index] = indexes as [Index];
  const rows = new RowsAtHand<string>(index);
  const value = Buffer.alloc(2000);
  const names = Array.from({ length: 9000 }, (_, i) => String(i).padStart(5, '0'));
  index.write(() => {
    for (const name of names) index.put('tree', rowKey(7, name), value);
  });
  index.refresh();
  for (let round = 0; round < 2; round++) {
    const seen: string[] = [];
    for (let start = Buffer.alloc(0); ;) {
      const page = rows.page(7, start, 256);
      seen.push(...page.map(({ text }) => text));
      if (page.length < 256) break;
      start = Buffer.concat([page.at(-1)?.name ?? Buffer.alloc(0), Buffer.alloc(1)]);
    }
    expect(seen).toEqual(names);
  }
});
