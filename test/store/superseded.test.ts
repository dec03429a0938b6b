/** Some of what `superseded.slow.test.ts` asks in all combinations. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'vitest';
import { DIST, runs } from './superseded-run.js';

describe.skipIf(!existsSync(path.join(DIST, 'store/open.js')))('after a kill', { timeout: 60_000 }, () => {
  it.each([
    ['again', 'discard', 'put', 'open, lost'],
    ['again', 'discard', 'delete', 'open, lost'],
    ['again', 'discard', 'move to a path', 'open, lost'],
    ['put', 'discard', 'move of its prefix', 'open, lost'],
    ['move', 'discard', 'nothing', 'late, lost'],
    ['delete', 'commit', 'delete', 'open, lost'],
    ['from', 'commit', 'put of the source', 'open, kept'],
    ['put', 'commit', 'put', 'open, kept'],
  ] as const)('of a %s at its %s, Q: %s (%s)', (killed, point, act, way) => runs(killed, point, act, way));
});
