import { rm } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Bench, RunResult } from './harness.js';
import {
  ACCESS_KEY,
  bench,
  describeClient,
  makeTree,
  randomFile,
  REGION,
  run,
  SECRET_KEY,
  treeHashes,
} from './harness.js';

describeClient('restic', 'restic', (program) => {
  let b: Bench;
  let local: string;
  const restic = (...args: string[]): Promise<RunResult> =>
    run(program, ['-r', `s3:${b.server.url}/backup/repo`, '--no-cache', '--quiet', ...args], {
      env: {
        AWS_ACCESS_KEY_ID: ACCESS_KEY,
        AWS_SECRET_ACCESS_KEY: SECRET_KEY,
        AWS_DEFAULT_REGION: REGION,
        RESTIC_PASSWORD: 'not a secret',
      },
    });

  beforeAll(async () => {
    b = await bench({ workers: 2 });
    local = path.join(b.base, 'local');
    await makeTree(local);
    await restic('init');
  });
  afterAll(async () => {
    await b.end();
  });

  it('backs up, checks every byte and restores', async () => {
    await restic('backup', local);
    await restic('check', '--read-data');
    const target = path.join(b.base, 'restored');
    await restic('restore', 'latest', '--target', target);
    expect(await treeHashes(path.join(target, local))).toEqual(await treeHashes(local));
  });

  it('backs up a change, forgets the first, prunes and checks again', async () => {
    await rm(path.join(local, 'many'), { recursive: true });
    await randomFile(path.join(local, 'fresh.bin'), 3_000_000);
    await restic('backup', local);
    await restic('forget', '--keep-last', '1', '--prune');
    await restic('check', '--read-data');
    const target = path.join(b.base, 'second');
    await restic('restore', 'latest', '--target', target);
    expect(await treeHashes(path.join(target, local))).toEqual(await treeHashes(local));
  });
});
