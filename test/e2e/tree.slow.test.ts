/**
 * Trees that nobody prepared: /usr, read-only, and a copy of the project's node_modules. What must be served is worked out here, from
 * lstat(2) and realpath(3) alone. Without GOS3RVE_FULL=1 every key is listed, and the bytes of a sample are compared.
 */
import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  ACCESS_KEY,
  bench,
  describeClient,
  MiB,
  PROJECT,
  REGION,
  run,
  SECRET_KEY,
  serve,
  sha256File,
  treeHashes,
  type Bench,
  type Server,
} from './harness.js';
import { Client, eachOf, targetOf } from './stream.js';

const FULL = process.env.GOS3RVE_FULL === '1';
const AT_ONCE = 8;
/** Of a sample: every file up to this size whose key's hash falls into one of so many. */
const SAMPLE_BYTES = 32 * MiB;
const SAMPLE_OF = 24;

const isInside = (file: string, folder: string): boolean => file === folder || file.startsWith(`${folder}/`);

function real(file: string): string | undefined {
  try {
    return realpathSync.native(file);
  } catch {
    return undefined;
  }
}

/** Keys of a bucket -> the file behind: regular files, links within the bucket, folders behind links unless they lead back up. */
function expected(bucket: string): Map<string, string> {
  const keys = new Map<string, string>();
  const top = realpathSync.native(bucket);
  const walk = (folder: string, prefix: string, above: readonly string[]): void => {
    let entries;
    try {
      entries = readdirSync(folder, { withFileTypes: true, encoding: 'buffer' });
    } catch {
      return; // not readable
    }
    for (const entry of entries) {
      const name = entry.name.toString('utf8');
      const nameable = Buffer.from(name).equals(entry.name) && name.length > 0;
      if (!nameable || name === '.gos3rve') continue;
      const target = real(`${folder}/${name}`);
      if (target === undefined || !isInside(target, top)) continue;
      const stat = statSync(target);
      if (stat.isFile()) keys.set(prefix + name, target);
      else if (stat.isDirectory() && !above.includes(target)) {
        walk(target, `${prefix}${name}/`, [...above, target]);
      }
    }
  };
  walk(top, '', [top]);
  return keys;
}

async function listAll(s3: Client, bucket: string): Promise<string[]> {
  const keys: string[] = [];
  for (let token = ''; ;) {
    const more = token === '' ? '' : `&continuation-token=${encodeURIComponent(token)}`;
    const page = await s3.send({ method: 'GET', target: `/${bucket}?encoding-type=url&list-type=2${more}` });
    const text = page.body.toString();
    expect(page.status, text.slice(0, 300)).toBe(200);
    for (const [, key = ''] of text.matchAll(/<Key>([^<]*)<\/Key>/g)) {
      keys.push(decodeURIComponent(key.replaceAll('+', ' ')));
    }
    const next = /<NextContinuationToken>([^<]*)</.exec(text)?.[1];
    if (next === undefined) return keys;
    token = next;
  }
}

/** Files only: an answer's key that ends in `/` would be a folder's marker. */
const sorted = (keys: Iterable<string>): string[] => [...keys].sort((a, b) => Buffer.from(a).compare(Buffer.from(b)));

function isReadable(file: string): boolean {
  try {
    accessSync(file, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** Gets the object and compares it with the file. @returns its size. */
async function compare(s3: Client, bucket: string, key: string, file: string): Promise<number> {
  const got = createHash('sha256');
  const answer = await s3.send({ method: 'GET', target: targetOf(bucket, key), sink: (chunk) => got.update(chunk) });
  if (!isReadable(file)) {
    expect(answer.status, key).toBe(403);
    return 0;
  }
  expect(answer.status, key).toBe(200);
  expect(Number(answer.headers['content-length']), key).toBe(statSync(file).size);
  expect(got.digest('hex'), key).toBe(await sha256File(file));
  return statSync(file).size;
}

function inSample(key: string, file: string): boolean {
  if (FULL) return true;
  const first = createHash('md5').update(key).digest()[0] ?? 0;
  return first % SAMPLE_OF === 0 && statSync(file).size <= SAMPLE_BYTES;
}

/** `aws s3 sync` with the test's keys; several folders of configuration are avoided. */
function aws(program: string, server: Server, ...args: string[]): Promise<unknown> {
  return run(program, ['--endpoint-url', server.url, 's3', 'sync', '--no-progress', ...args], {
    env: {
      AWS_ACCESS_KEY_ID: ACCESS_KEY,
      AWS_SECRET_ACCESS_KEY: SECRET_KEY,
      AWS_DEFAULT_REGION: REGION,
      AWS_CONFIG_FILE: '/dev/null',
      AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
      PYTHONIOENCODING: 'utf-8',
      LC_ALL: 'C.UTF-8',
    },
  });
}

async function expectSame(folder: string, files: Map<string, string>): Promise<void> {
  const wanted: Record<string, string> = {};
  for (const [key, file] of files) wanted[key] = await sha256File(file);
  expect(await treeHashes(folder)).toEqual(wanted);
}

describe.runIf(process.platform === 'linux')('/usr, read-only', () => {
  let base: string;
  let server: Server;
  let s3: Client;
  const before = existsSync('/usr/.gos3rve');
  beforeAll(async () => {
    base = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-e2e-'));
    const args = ['--read-only', '--state-dir', path.join(base, 'state'), '--symlinks', 'all'];
    server = await serve('/usr', { args: [...args, '--no-default-excludes', '--log-level', 'warn'] });
    s3 = new Client(server.port);
  });
  afterAll(async () => {
    s3.close();
    expect(await server.stop()).toBe(0);
    await rm(base, { recursive: true, force: true });
  });

  it('serves every file that lies inside its bucket, and no other', async () => {
    const buckets = readdirSync('/usr', { withFileTypes: true }).filter((entry) => entry.isDirectory());
    const told = (await s3.send({ method: 'GET', target: '/' })).body.toString();
    let [listed, compared, bytes, listMs] = [0, 0, 0, 0];
    for (const { name: bucket } of buckets) {
      if (bucket === '.gos3rve') continue;
      expect(told).toContain(`<Name>${bucket}</Name>`);
      const files = expected(`/usr/${bucket}`);
      const began = performance.now();
      const keys = await listAll(s3, bucket);
      listMs += performance.now() - began;
      expect(keys, bucket).toEqual(sorted(files.keys()));
      listed += keys.length;
      const picked = [...files].filter(([key, file]) => inSample(key, file));
      await eachOf(picked, AT_ONCE, async ([key, file]) => {
        const size = await compare(s3, bucket, key, file);
        bytes += size;
        compared++;
      });
    }
    console.log(
      `/usr: ${listed} objects listed in ${Math.round(listMs / 1000)} s, ` +
        `${compared} compared (${Math.round(bytes / MiB)} MiB), memory ${Math.round((await server.rssAnon()) / MiB)} MiB`,
    );
    expect(existsSync('/usr/.gos3rve')).toBe(before);
  });

  it('refuses to change anything', async () => {
    const target = '/share/gos3rve-must-not-appear';
    expect((await s3.send({ method: 'PUT', target, body: Buffer.from('x') })).status).toBe(403);
    expect((await s3.send({ method: 'PUT', target: '/gos3rve-new-bucket' })).status).toBe(403);
    expect((await s3.send({ method: 'DELETE', target: '/bin/env' })).status).toBe(403);
    expect(existsSync(`/usr${target}`)).toBe(false);
    expect(existsSync('/usr/bin/env')).toBe(true);
  });

  describeClient('AWS CLI', 'aws', (program) => {
    // the CLI gets some hundred files a second
    const buckets = FULL ? ['bin', 'sbin', 'libexec', 'include', 'src'] : ['sbin', 'src'];
    it.each(buckets.filter((bucket) => existsSync(`/usr/${bucket}`)))('syncs %s', async (bucket) => {
      const files = expected(`/usr/${bucket}`);
      for (const [key, file] of files) if (!isReadable(file)) files.delete(key);
      const down = path.join(base, bucket);
      await mkdir(down);
      await aws(program, server, `s3://${bucket}`, down);
      await expectSame(down, files);
      await rm(down, { recursive: true });
    });
  });
});

describe('links that nobody would make', () => {
  let b: Bench;
  beforeAll(async () => {
    b = await bench({ args: ['--symlinks', 'all', '--log-level', 'warn'] }, async (root) => {
      for (const folder of ['box/a/deep', 'box/b', 'other']) await mkdir(path.join(root, folder), { recursive: true });
      for (const file of ['box/a/deep/x', 'box/b/y', 'box/z', 'other/secret'])
        await writeFile(path.join(root, file), file);
      const link = (at: string, to: string): Promise<void> => symlink(to, path.join(root, 'box', at));
      await link('X11', '.');
      await link('a/up', '..');
      await link('a/b', '../b');
      await link('b/a', '../a');
      await link('self', 'self');
      await link('absolute', path.join(root, 'box/a/deep'));
      await link('sideways', '../other');
      await link('secret', '../other/secret');
      await link('b/away', '/usr/bin');
      await link('dangling', 'nowhere');
      await link('chain', 'absolute');
      await link('file', 'a/deep/x');
    });
  });
  afterAll(async () => {
    await b.end();
  });

  it('follows each that stays inside once, and ends', async () => {
    const s3 = new Client(b.server.port);
    const keys = await listAll(s3, 'box');
    expect(keys).toEqual(['a/b/y', 'a/deep/x', 'absolute/x', 'b/a/deep/x', 'b/y', 'chain/x', 'file', 'z']);
    const files = expected(path.join(b.server.root, 'box'));
    expect(keys).toEqual(sorted(files.keys()));
    for (const [key, file] of files) await compare(s3, 'box', key, file);
    for (const key of ['secret', 'sideways/secret', 'b/away/env', 'X11/z', 'a/up/z', 'self', 'dangling']) {
      expect((await s3.send({ method: 'GET', target: targetOf('box', key) })).status, key).toBe(404);
    }
    s3.close();
  });
});

describeClient('a copy of node_modules, read and written by AWS CLI', 'aws', (program) => {
  let b: Bench;
  beforeAll(async () => {
    b = await bench({ args: ['--symlinks', 'all', '--no-default-excludes', '--log-level', 'warn'] }, async (root) => {
      const source = realpathSync(path.join(PROJECT, 'node_modules'));
      await mkdir(path.join(root, 'modules'));
      const names = FULL ? await readdir(source) : ['.bin', 'vitest', 'eslint', 'lmdb'];
      for (const name of names) {
        if (existsSync(path.join(source, name))) await run('cp', ['-a', path.join(source, name), `${root}/modules/`]);
      }
    });
  });
  afterAll(async () => {
    await b.end();
  });

  it('syncs down what cp -rL gives, and up again', async () => {
    const served = path.join(b.server.root, 'modules');
    const files = expected(served);
    const down = path.join(b.base, 'down');
    let began = performance.now();
    await aws(program, b.server, 's3://modules', down);
    const downMs = performance.now() - began;
    await expectSame(down, files);

    const s3 = new Client(b.server.port);
    expect((await s3.send({ method: 'PUT', target: '/again' })).status).toBe(200);
    began = performance.now();
    await aws(program, b.server, down, 's3://again');
    const upMs = performance.now() - began;
    await expectSame(path.join(b.server.root, 'again'), files);
    expect(await listAll(s3, 'again')).toEqual(sorted(files.keys()));
    s3.close();
    console.log(`node_modules: ${files.size} files, down ${Math.round(downMs)} ms, up ${Math.round(upMs)} ms`);
  });
});
