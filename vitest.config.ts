import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

/** Servers note the roots that they serve; those of tests are nobody's business. */
const env = { XDG_STATE_HOME: join(tmpdir(), 'gos3rve-test-state') };

/** Files named *.slow.test.ts that measure times or memory, or keep all cores busy themselves: one after the other, with nothing beside them. */
const FIGURES = ['e2e/large', 'e2e/scale', 'faults/linearizability', 'jobs/watcher', 'store/prefix'].map(
  (name) => `test/${name}.slow.test.ts`,
);

/** `fast` is `npm test`; `slow` and `figures` together (files named *.slow.test.ts) are `npm run test:slow`. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'fast',
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.slow.test.ts'],
          testTimeout: 30_000,
          hookTimeout: 60_000,
          // most of them wait for servers and clocks: one worker less than cores, the default, leaves cores idle
          maxWorkers: 3,
          env,
        },
      },
      {
        test: {
          name: 'slow',
          include: ['test/**/*.slow.test.ts'],
          exclude: FIGURES,
          testTimeout: 900_000,
          env,
          hookTimeout: 300_000,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'figures',
          include: FIGURES,
          testTimeout: 900_000,
          env,
          hookTimeout: 300_000,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
