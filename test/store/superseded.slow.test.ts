import { existsSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'vitest';
import { sideBySide } from './crash-run.js';
import { ACTS, DIST, KILLED, POINTS, WAYS, runs } from './superseded-run.js';

const KINDS = Object.keys(KILLED) as (keyof typeof KILLED)[];
const CASES = KINDS.flatMap((killed) =>
  POINTS.filter((point) => killed !== 'delete' || point === 'commit').map((point) => [killed, point] as const),
);

describe.skipIf(!existsSync(path.join(DIST, 'store/open.js')))('acknowledged after a kill', () => {
  it.each(CASES)('%s, killed at the %s', { timeout: 300_000 }, async (killed, point) => {
    const all = Object.keys(ACTS).flatMap((act) => WAYS.map((way) => [act, way] as const));
    const faults: string[] = [];
    await sideBySide(all, async ([act, way]) => {
      await runs(killed, point, act, way).catch((error: unknown) => faults.push(`${act}; ${way}: ${String(error)}`));
    });
    if (faults.length > 0) throw new Error(faults.join('\n'));
  });
});
