/** What `test/bench/scale.mjs` measures, small: the costs may differ from machine to machine, their ratios and the memory may not. */
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { PROJECT, run } from './harness.js';

interface Figures {
  files: number;
  flatFiles: number;
  delimiterPrefixes: number;
  delimiterAgainMs: number;
  coldFirstPageMs: number;
  firstListPageMs: number;
  secondListPageMs: number;
  flatStartPageMs: number;
  flatEndToStart: number;
  firstListPeakMiB: number;
  peakRssAnonMiB: number;
}

const FULL = process.env.GOS3RVE_FULL === '1';
const FILES = FULL ? 50_000 : 20_000;
/** A page goes over 20 of them. */
const FOLDERS = FILES / 50;
const FLAT = FULL ? 30_000 : 12_000;

describe.runIf(process.platform === 'linux')(`${FILES} files in ${FOLDERS} folders, ${FLAT} in one`, () => {
  it('lists a page at the cost of the page', async () => {
    const script = path.join(PROJECT, 'test/bench/scale.mjs');
    const sizes = ['--files', String(FILES), '--folders', String(FOLDERS), '--flat', String(FLAT)];
    const figures = JSON.parse((await run(process.execPath, [script, ...sizes, '--json'])).stdout) as Figures;
    console.log(figures);
    expect(figures.files).toBe(FILES);
    expect(figures.flatFiles).toBe(FLAT);
    expect(figures.delimiterPrefixes).toBe(FOLDERS);
    // 1,000 keys at the end of a folder cost what they cost at its start
    expect(figures.flatEndToStart).toBeLessThan(2);
    // a common prefix costs a seek, not what lies below it; and a page over 50 folders some looks at each of them more than one within a folder,
    // which is known from the page before
    expect(figures.delimiterAgainMs / figures.flatStartPageMs).toBeLessThan(20);
    expect(figures.secondListPageMs / figures.flatStartPageMs).toBeLessThan(8);
    // what is indexed is not hashed again
    expect(figures.secondListPageMs).toBeLessThan(figures.firstListPageMs);
    expect(figures.firstListPeakMiB).toBeLessThan(200);
    expect(figures.peakRssAnonMiB).toBeLessThan(200);
  });
});
