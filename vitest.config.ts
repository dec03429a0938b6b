import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

/** Servers note the roots that they serve; those of tests are nobody's business. */
const env = { XDG_STATE_HOME: join(tmpdir(), 'gos3rve-test-state') };

/** `fast` is `npm test`; `slow` (files named *.slow.test.ts) is `npm run test:slow`. */
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
          // most of them wait for servers and clocks: one worker less than cores, the default, leaves a core idle
          maxWorkers: 2,
          env,
        },
      },
      {
        test: {
          name: 'slow',
          include: ['test/**/*.slow.test.ts'],
          testTimeout: 900_000,
          env,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
