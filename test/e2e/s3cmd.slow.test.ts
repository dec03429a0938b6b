import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Bench, RunResult } from './harness.js';
import {
  ACCESS_KEY,
  bench,
  describeClient,
  makeTree,
  REGION,
  run,
  SECRET_KEY,
  sha256File,
  treeHashes,
} from './harness.js';

describeClient('s3cmd', 's3cmd', (program) => {
  let b: Bench;
  let local: string;
  const s3cmd = (...args: string[]): Promise<RunResult> =>
    run(program, ['-c', path.join(b.base, 's3cfg'), '--no-progress', ...args], {
      env: { LC_ALL: 'C.UTF-8', PYTHONIOENCODING: 'utf-8' },
    });

  beforeAll(async () => {
    b = await bench({ workers: 2 });
    local = path.join(b.base, 'local');
    await makeTree(local);
    const settings = {
      access_key: ACCESS_KEY,
      secret_key: SECRET_KEY,
      host_base: `127.0.0.1:${b.server.port}`,
      host_bucket: `127.0.0.1:${b.server.port}`,
      use_https: 'False',
      bucket_location: REGION,
      multipart_chunk_size_mb: '8',
    };
    const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`);
    await writeFile(path.join(b.base, 's3cfg'), `[default]\n${lines.join('')}`);
    await s3cmd('mb', 's3://box');
  });
  afterAll(async () => {
    await b.end();
  });

  it('syncs both ways', async () => {
    await s3cmd('sync', `${local}/`, 's3://box/tree/');
    expect(await treeHashes(path.join(b.server.root, 'box', 'tree'))).toEqual(await treeHashes(local));
    const down = path.join(b.base, 'down');
    await run('mkdir', [down]);
    await s3cmd('sync', 's3://box/tree/', `${down}/`);
    expect(await treeHashes(down)).toEqual(await treeHashes(local));
  });

  it('puts in parts, gets, copies, moves, lists and deletes', async () => {
    const big = path.join(local, 'large', '64MiB.bin');
    await s3cmd('put', big, 's3://box/big.bin');
    await s3cmd('cp', 's3://box/big.bin', 's3://box/copy of big.bin');
    await s3cmd('mv', 's3://box/copy of big.bin', 's3://box/moved ü.bin');
    const back = path.join(b.base, 'back.bin');
    await s3cmd('get', 's3://box/moved ü.bin', back);
    expect(await sha256File(back)).toBe(await sha256File(big));
    const listing = (await s3cmd('ls', 's3://box/')).stdout;
    expect(listing).toContain('s3://box/big.bin');
    expect(listing).toMatch(/DIR\s+s3:\/\/box\/tree\//);
    expect((await s3cmd('info', 's3://box/big.bin')).stdout).toContain('67108864');
    await s3cmd('del', '--recursive', '--force', 's3://box/');
    await s3cmd('rb', 's3://box');
    expect((await s3cmd('ls')).stdout).toBe('');
    await rm(back);
  });
});
