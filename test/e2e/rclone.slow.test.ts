import { rm } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Bench, RunResult } from './harness.js';
import { ACCESS_KEY, bench, describeClient, makeTree, REGION, run, SECRET_KEY, treeHashes } from './harness.js';

describeClient('rclone', 'rclone', (program) => {
  let b: Bench;
  let local: string;
  const rclone = (...args: string[]): Promise<RunResult> =>
    run(program, ['--retries', '1', '--low-level-retries', '2', ...args], {
      env: {
        RCLONE_CONFIG: '/dev/null',
        RCLONE_CONFIG_GOS_TYPE: 's3',
        RCLONE_CONFIG_GOS_PROVIDER: 'Other',
        RCLONE_CONFIG_GOS_ENDPOINT: b.server.url,
        RCLONE_CONFIG_GOS_ACCESS_KEY_ID: ACCESS_KEY,
        RCLONE_CONFIG_GOS_SECRET_ACCESS_KEY: SECRET_KEY,
        RCLONE_CONFIG_GOS_REGION: REGION,
        RCLONE_CONFIG_GOS_UPLOAD_CUTOFF: '16M',
        RCLONE_CONFIG_GOS_CHUNK_SIZE: '8M',
      },
    });

  beforeAll(async () => {
    b = await bench({ workers: 2 });
    local = path.join(b.base, 'local');
    await makeTree(local);
    await rclone('mkdir', 'gos:box');
  });
  afterAll(async () => {
    await b.end();
  });

  it('syncs up in parts and checks by hash and by download', async () => {
    await rclone('sync', local, 'gos:box/tree');
    expect(await treeHashes(path.join(b.server.root, 'box', 'tree'))).toEqual(await treeHashes(local));
    await rclone('check', local, 'gos:box/tree');
    await rclone('check', '--download', local, 'gos:box/tree');
  });

  it('sends nothing again', async () => {
    const { stderr } = await rclone('sync', '-v', '--stats-one-line', local, 'gos:box/tree');
    expect(stderr).toContain('There was nothing to transfer');
  });

  it('syncs down, keeps modification times and follows deletions', async () => {
    const down = path.join(b.base, 'down');
    await rclone('sync', 'gos:box/tree', down);
    expect(await treeHashes(down)).toEqual(await treeHashes(local));
    await rm(path.join(local, 'many'), { recursive: true });
    await rclone('sync', local, 'gos:box/tree');
    expect(await treeHashes(path.join(b.server.root, 'box', 'tree'))).toEqual(await treeHashes(local));
  });

  it('copies and moves on the server, lists and purges', async () => {
    await rclone('copyto', 'gos:box/tree/large/64MiB.bin', 'gos:box/copy.bin');
    await rclone('moveto', 'gos:box/copy.bin', 'gos:box/moved.bin');
    const served = await treeHashes(path.join(b.server.root, 'box'));
    expect(served['moved.bin']).toBe(served['tree/large/64MiB.bin']);
    const names = (await rclone('lsf', '-R', '--files-only', 'gos:box/tree')).stdout.trim().split('\n');
    expect(names.sort()).toEqual(Object.keys(await treeHashes(local)).sort());
    await rclone('purge', 'gos:box');
    expect((await rclone('lsf', 'gos:')).stdout).toBe('');
  });
});
