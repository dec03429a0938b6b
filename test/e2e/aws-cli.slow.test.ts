/** AWS CLI, default checksums on. */
import { readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Bench, RunResult } from './harness.js';
import { ACCESS_KEY, bench, describeClient, makeTree, REGION, run, SECRET_KEY, treeHashes } from './harness.js';

describeClient('AWS CLI', 'aws', (program) => {
  let b: Bench;
  let local: string;
  const aws = (...args: string[]): Promise<RunResult> =>
    run(program, ['--endpoint-url', b.server.url, ...args], {
      env: {
        AWS_ACCESS_KEY_ID: ACCESS_KEY,
        AWS_SECRET_ACCESS_KEY: SECRET_KEY,
        AWS_DEFAULT_REGION: REGION,
        AWS_CONFIG_FILE: path.join(b.base, 'config'),
        AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
        AWS_PAGER: '',
        PYTHONIOENCODING: 'utf-8',
        LC_ALL: 'C.UTF-8',
      },
    });

  beforeAll(async () => {
    b = await bench({ workers: 2 });
    local = path.join(b.base, 'local');
    await makeTree(local);
    // Version 1 of the CLI presigns by SigV2 unless told; version 2 does not know the setting.
    await writeFile(path.join(b.base, 'config'), '[default]\ns3 =\n    signature_version = s3v4\n');
    await aws('s3', 'mb', 's3://box');
  });
  afterAll(async () => {
    await b.end();
  });

  it('syncs up: the files lie there, byte for byte', async () => {
    await aws('s3', 'sync', local, 's3://box/tree', '--no-progress');
    expect(await treeHashes(path.join(b.server.root, 'box', 'tree'))).toEqual(await treeHashes(local));
    expect((await aws('s3', 'sync', local, 's3://box/tree', '--no-progress')).stdout).toBe('');
  });

  it('syncs down, what another program changed meanwhile too', async () => {
    const served = path.join(b.server.root, 'box', 'tree');
    await writeFile(path.join(served, 'plain.txt'), 'changed by an editor');
    await writeFile(path.join(served, 'new one.txt'), 'new');
    await rm(path.join(served, 'many', 'file-7.bin'));
    const down = path.join(b.base, 'down');
    await aws('s3', 'sync', 's3://box/tree', down, '--no-progress');
    expect(await treeHashes(down)).toEqual(await treeHashes(served));
    await aws('s3', 'sync', 's3://box/tree', local, '--delete', '--exact-timestamps', '--no-progress');
    expect(await treeHashes(local)).toEqual(await treeHashes(served));
  });

  it('copies, moves, lists, streams and removes', async () => {
    await aws('s3', 'cp', 's3://box/tree/large/64MiB.bin', 's3://box/copy.bin', '--no-progress');
    await aws('s3', 'mv', 's3://box/copy.bin', 's3://box/moved/copy.bin', '--no-progress');
    const served = await treeHashes(path.join(b.server.root, 'box'));
    expect(served['moved/copy.bin']).toBe(served['tree/large/64MiB.bin']);
    expect(served['copy.bin']).toBeUndefined();
    const listing = (await aws('s3', 'ls', 's3://box/tree/')).stdout;
    expect(listing).toContain('PRE many/');
    expect(listing).toContain('plain.txt');
    expect((await aws('s3', 'cp', 's3://box/tree/plain.txt', '-')).stdout).toBe('changed by an editor');
    const { stdout } = await aws('s3api', 'head-object', '--bucket', 'box', '--key', 'tree/empty.txt');
    expect(JSON.parse(stdout)).toMatchObject({ ContentLength: 0, ETag: '"d41d8cd98f00b204e9800998ecf8427e"' });
    const { stdout: url } = await aws('s3', 'presign', 's3://box/tree/plain.txt');
    expect(await (await fetch(url.trim())).text()).toBe('changed by an editor');
    await aws('s3', 'rm', 's3://box', '--recursive', '--quiet');
    await aws('s3', 'rb', 's3://box');
    expect((await readdir(b.server.root)).filter((name) => name !== '.gos3rve')).toEqual([]);
  });

  it('serves a folder that nobody prepared', async () => {
    const served = path.join(b.server.root, 'My_Files.2024');
    await makeTree(served);
    const down = path.join(b.base, 'mine');
    await aws('s3', 'sync', 's3://My_Files.2024', down, '--no-progress');
    expect(await treeHashes(down)).toEqual(await treeHashes(served));
  });
});
