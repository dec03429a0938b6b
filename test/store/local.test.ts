import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { openStore } from '../../src/store/open.js';
import { storeContract } from '../suites/store.js';

const PROJECT = path.resolve(import.meta.dirname, '../..');

storeContract(
  'local',
  async ({ root, ...options } = {}) => {
    const made = root ?? (await mkdtemp(path.join(os.tmpdir(), 'gos3rve-store-')));
    const store = await openStore(made, options);
    return {
      store,
      root: made,
      stop: async () => {
        await store.close();
        if (root === undefined) await rm(made, { recursive: true, force: true });
      },
    };
  },
  // The child runs what `npm run build` made: Node cannot load TypeScript by itself.
  (script, root, bucket) =>
    spawn(
      process.execPath,
      [path.join(PROJECT, 'test/suites/store', script), path.join(PROJECT, 'dist/store/open.js'), root, bucket],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    ),
);
