/** ls, stat, cp, rm and presign by the real binary, beside a running server and without one. */
import { spawn, execFile } from 'node:child_process';
import { chmod, mkdir, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ACCESS_KEY, BINARY, SECRET_KEY, bench, cleanEnv, type Bench } from '../e2e/harness.js';

interface Done {
  code: number | null;
  out: string;
  err: string;
}

describe.each(['beside a server', 'without a server'])('commands %s', (how) => {
  let b: Bench;
  let root: string;
  beforeAll(async () => {
    b = await bench({}, async (tree) => {
      await mkdir(path.join(tree, 'box/dir/deep'), { recursive: true });
      await writeFile(path.join(tree, 'box/dir/a.txt'), 'aaa');
      await writeFile(path.join(tree, 'box/dir/deep/b.txt'), 'bb');
      await writeFile(path.join(tree, 'box/dir2.txt'), 'x');
    });
    root = b.server.root;
    if (how === 'without a server') await b.server.stop();
  });
  afterAll(() => b.end());

  function gos(
    args: string[],
    { input, cwd, env = {} }: { input?: string | Buffer; cwd?: string; env?: Record<string, string> } = {},
  ): Promise<Done> {
    const child = spawn(process.execPath, [BINARY, ...args], {
      env: cleanEnv({ GOS3RVE_ROOT: root, ...env }),
      cwd: cwd ?? b.base,
    });
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    child.stdin.end(input);
    return new Promise((resolve) => child.once('close', (code) => resolve({ code, out, err })));
  }
  const json = (text: string): Record<string, unknown>[] =>
    text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const keys = async (prefix: string): Promise<unknown[]> => {
    const { out } = await gos(['ls', '-r', '--json', prefix]);
    return out === '' ? [] : json(out).map(({ key }) => key);
  };
  it('cp sees through an alias: what would copy itself is refused, another content type is not', async () => {
    const env = { GOS3RVE_BUCKET: 'all=.,sub=./box/dir/' };
    for (const args of [
      ['box/dir/a.txt', 'all/box/dir/a.txt'],
      ['sub/a.txt', 'all/box/dir/'],
    ])
      expect(await gos(['cp', ...args], { env })).toMatchObject({
        code: 2,
        err: expect.stringContaining('own target') as string,
      });
    expect(await gos(['cp', '-r', 'all/box/', 'sub/q/'], { env })).toMatchObject({ code: 2, out: '' });
    const typed = await gos(['cp', 'all/box/dir/a.txt', 'all/box/dir/a.txt', '--content-type', 'text/x-own'], { env });
    expect(typed).toMatchObject({ code: 0, err: '' });
    expect((await gos(['stat', 'box/dir/a.txt'])).out).toContain('text/x-own');
    await gos(['cp', 'box/dir/a.txt', 'box/dir/a.txt', '--content-type', 'text/plain']);
  });

  const inRoot = (name: string) => path.join(root, name);

  it('ls: buckets, a folder, all of it', async () => {
    expect(json((await gos(['ls', '--json'])).out)).toMatchObject([{ bucket: 'box' }]);
    const listed = await gos(['ls', 'box/']);
    expect(
      listed.out
        .trimEnd()
        .split('\n')
        .map((line) => line.trim().split(/ {2}/).at(-1)),
    ).toEqual(['dir/', 'dir2.txt']);
    expect(listed).toMatchObject({ code: 0, err: '' });
    expect(await keys('box/dir')).toEqual(['dir/a.txt', 'dir/deep/b.txt', 'dir2.txt']);
    expect((await gos(['ls', './dir'], { cwd: inRoot('box') })).out).toMatch(/ a\.txt|dir\/a\.txt/);
  });

  it.each([
    [['ls', 'nobox'], 1, 'there is no bucket "nobox"'],
    [['ls', 'box/nothing'], 1, 'nothing begins with box/nothing'],
    [['verify', 'box/nothing'], 1, 'nothing begins with box/nothing'],
    [['verify', '--since', '30'], 2, 'has no unit; write it like 7d'],
    [['gc', '--older-than', '7'], 2, 'has no unit; write it like 7d'],
    [['gc', '--keep-gone', '30'], 2, 'has no unit; write it like 7d'],
    [['presign', 'box/a\nb', '--post', '--endpoint', 'http://h'], 2, 'the key goes over several lines'],
    [['presign', 'box/a', '--virtual-host', '--endpoint', 'http://[::1]:9000'], 2, 'no bucket fits before [::1]'],
    [['presign', 'box/a', '--virtual-host', '--endpoint', 'http://127.0.0.1'], 2, 'no bucket fits before 127.0.0.1'],
    [['stat', 'box/nothing'], 1, 'box/nothing: there is no such object'],
    [['cp', 'box/nothing', './x'], 1, 'box/nothing: there is no such object'],
    [['cp', './nothing', 'box/'], 1, 'does not exist'],
    [['cp', './x', './y'], 2, 'is in the store; write bucket/key'],
    [['cp', 'box/dir/', './y'], 2, 'pass -r'],
    [['cp', '-', 'box/'], 2, 'standard input has no name'],
    [['cp', '-r', 'box/dir', 'box/dir/copy'], 2, 'would copy itself'],
    [['cp', '-r', 'box/dir/', 'box/dir/'], 2, 'would copy itself'],
    [['cp', '-r', 'box/dir/', 'box/dir/q/'], 2, 'would copy itself'],
    [['cp', '-r', '--dry-run', 'box/', 'box/'], 2, 'would copy itself'],
    [['cp', 'box/dir/a.txt', 'box/dir/a.txt'], 2, 'box/dir/a.txt is its own target'],
    [['cp', '-n', 'box/dir/a.txt', 'box/dir/'], 2, 'box/dir/a.txt is its own target'],
    [['cp', '--dry-run', 'box/dir/a.txt', 'box/dir'], 2, 'box/dir/a.txt is its own target'],
    [['rm', 'box/nothing'], 1, 'box/nothing: there is no such object'],
    [['rm', 'box'], 2, 'is a bucket'],
    [['rm', '-r', 'box'], 2, 'write box/ for all that is in it'],
    [['stat', '/tmp'], 2, 'is in no bucket of'],
    [['ls', '--frobnicate'], 2, "unknown option '--frobnicate'; see gos3rve ls --help"],
    [['frobnicate'], 2, "unknown command 'frobnicate'; see gos3rve --help"],
    [['rm'], 2, "missing required argument 'BUCKET/KEY'; see gos3rve rm --help"],
    [['presign', 'box/x', '--expires', '8d'], 2, 'is more than 7d'],
    [['presign', 'box/x', '--method', 'PATCH'], 2, 'is none of GET, PUT, HEAD, DELETE'],
    [['presign', 'box'], 2, 'names a bucket'],
    [['completion', 'tcsh'], 2, 'write bash, zsh or fish'],
  ])('%j fails with one line', async (args, code, message) => {
    const done = await gos(args);
    expect(done.err).toContain(message);
    expect(done.err.trimEnd().split('\n')).toHaveLength(1);
    expect(done.err).toMatch(/^gos3rve: /);
    expect(done).toMatchObject({ code, out: '' });
  });

  it('stat: an object by key and by path, a bucket', async () => {
    const [known] = json((await gos(['stat', 'box/dir/a.txt', '--json'])).out);
    expect(known).toMatchObject({
      bucket: 'box',
      key: 'dir/a.txt',
      size: 3,
      contentType: 'text/plain',
      etag: '47bce5c74f589f4867dbd57e9ca9f808',
    });
    expect((await gos(['stat', './a.txt'], { cwd: inRoot('box/dir') })).out).toMatch(/^Key +dir\/a\.txt$/m);
    expect((await gos(['stat', 'box'])).out).toMatch(/^Bucket +box$/m);
  });

  it('cp: in, out, within, by streams', async () => {
    const content = Buffer.alloc(3_000_001, 'gos3rve ');
    await writeFile(path.join(b.base, 'in.json'), content);
    expect(await gos(['cp', './in.json', 'box/in/'])).toEqual({ code: 0, out: '', err: '' });
    expect((await readFile(inRoot('box/in/in.json'))).equals(content)).toBe(true);
    expect(json((await gos(['stat', 'box/in/in.json', '--json'])).out)[0]).toMatchObject({
      contentType: 'application/json',
    });
    expect((await gos(['cp', '--content-type', 'x/y', 'box/in/in.json', 'box/copy'])).code).toBe(0);
    expect(json((await gos(['stat', 'box/copy', '--json'])).out)[0]).toMatchObject({
      contentType: 'x/y',
      size: content.length,
    });
    await chmod(path.join(b.base, 'in.json'), 0o640);
    await writeFile(path.join(b.base, 'in.json'), 'old');
    expect((await gos(['cp', 'box/copy', './in.json'])).code).toBe(0);
    expect((await readFile(path.join(b.base, 'in.json'))).equals(content)).toBe(true);
    expect((await stat(path.join(b.base, 'in.json'))).mode & 0o777).toBe(0o640);
    expect((await gos(['cp', '-', 'box/piped'], { input: 'piped' })).code).toBe(0);
    expect(await gos(['cp', 'box/piped', '-'])).toEqual({ code: 0, out: 'piped', err: '' });
    const long = 'ä'.repeat(127);
    expect(await gos(['cp', 'box/piped', `./${long}`])).toEqual({ code: 0, out: '', err: '' });
    expect(await readFile(path.join(b.base, long), 'utf8')).toBe('piped');
    expect((await gos(['cp', 'box/piped', '/dev/null'])).code).toBe(0);
    expect((await stat('/dev/null')).isCharacterDevice()).toBe(true);
    expect((await readdir(b.base)).filter((name) => name.endsWith('.part'))).toEqual([]);
    await gos(['rm', 'box/in/in.json', 'box/copy', 'box/piped']);
  });

  it('cp: takes a folder for a folder, and leaves alone what is there with -n', async () => {
    await writeFile(path.join(b.base, 'new.txt'), 'new');
    expect((await gos(['cp', './new.txt', 'box/dir'])).code).toBe(0);
    expect(await readFile(inRoot('box/dir/new.txt'), 'utf8')).toBe('new');
    expect((await gos(['cp', '-n', './new.txt', 'box/dir/a.txt'])).code).toBe(0);
    expect(await readFile(inRoot('box/dir/a.txt'), 'utf8')).toBe('aaa');
    await gos(['rm', 'box/dir/new.txt']);
  });

  it('cp -r: there and back, with what cannot be copied reported', async () => {
    const tree = path.join(b.base, 'tree');
    await mkdir(path.join(tree, 'sub'), { recursive: true });
    await mkdir(path.join(tree, '.gos3rve'));
    await writeFile(path.join(tree, 'sub/ü.txt'), 'ü');
    await writeFile(path.join(tree, 'top.txt'), 'top');
    await symlink('sub', path.join(tree, 'loop'));
    await symlink('nowhere', path.join(tree, 'dangling'));
    const dry = await gos(['cp', '-r', '--dry-run', './tree', 'box/tree']);
    expect(dry.out).toContain('would copy 2 objects');
    const put = await gos(['cp', '-r', './tree', 'box/tree']);
    expect(put.out).toBe('copied 2 objects, 5 B\n');
    expect([put.code, put.err]).toEqual([1, expect.stringContaining('dangling')]);
    expect(await keys('box/tree/')).toEqual(['tree/sub/ü.txt', 'tree/top.txt']);
    expect((await gos(['cp', '-', 'box/tree/../../up'], { input: 'x' })).code).toBe(0);
    const get = await gos(['cp', '-r', 'box/tree', './back']);
    expect(get.err).toContain('its key can be no path here');
    expect(get.code).toBe(1);
    expect((await readdir(path.join(b.base, 'back'), { recursive: true })).sort()).toEqual([
      'sub',
      'sub/ü.txt',
      'top.txt',
    ]);
    expect(existsSync(path.join(b.base, 'up'))).toBe(false);
    await gos(['rm', '-r', 'box/tree/']);
  });

  it('rm: what lies below, and nothing that only begins alike; --dry-run removes nothing', async () => {
    for (const key of ['gone/x', 'gone/y/z', 'gone2/x']) await gos(['cp', '-', `box/${key}`], { input: 'x' });
    expect((await gos(['rm', '-r', 'box/gone', '--dry-run'])).out).toContain('would remove 2 objects');
    expect(await keys('box/gone')).toEqual(['gone/x', 'gone/y/z', 'gone2/x']);
    expect(await gos(['rm', '-r', 'box/gone'])).toEqual({ code: 0, out: 'removed 2 objects, 2 B\n', err: '' });
    expect(await keys('box/gone')).toEqual(['gone2/x']);
    expect(existsSync(inRoot('box/gone'))).toBe(false);
    const some = await gos(['rm', 'box/nothing', 'box/gone2/x']);
    expect([some.code, existsSync(inRoot('box/gone2'))]).toEqual([1, false]);
  });

  it('ends silently when nobody reads any more', async () => {
    const command = `"${process.execPath}" "${BINARY}" ls -r box | head -n 1; echo "code \${PIPESTATUS[0]}"`;
    const { stdout, stderr } = await promisify(execFile)('bash', ['-c', command], {
      env: cleanEnv({ GOS3RVE_ROOT: root }),
    });
    expect(stderr).toBe('');
    expect(stdout).toMatch(/code (0|141)\n$/);
  });

  it
    .skipIf(!existsSync('/dev/full'))
    .each(['ls box', 'ls -r box --json', 'cp box/dir/a.txt -', 'stat box', 'doctor', 'gc', 'verify'])(
    'says so when the disk is full to which %s prints',
    async (command) => {
      const line = `"${process.execPath}" "${BINARY}" ${command} > /dev/full; echo "code $?"`;
      const { stdout, stderr } = await promisify(execFile)('sh', ['-c', line], {
        env: cleanEnv({ GOS3RVE_ROOT: root }),
      });
      expect(stderr).toBe('gos3rve: standard output: ENOSPC: no space left on device, write\n');
      expect(stdout).toBe('code 1\n');
    },
  );

  it.skipIf(!existsSync('/dev/full'))('says so when damage cannot be printed', async () => {
    const other = path.join(b.base, 'damaged');
    await mkdir(path.join(other, 'box'), { recursive: true });
    const put = await gos(['cp', '-', 'box/a', '--root', other], { input: 'bytes' });
    expect(put).toMatchObject({ code: 0, err: '' });
    const journal = path.join(other, '.gos3rve/journal');
    for (const segment of await readdir(journal)) {
      const lines = await readFile(path.join(journal, segment), 'utf8');
      const wrong = lines.replace(/"etag":"\w+"/, `"etag":"${'0'.repeat(32)}"`).replace(/,"crc":"\w+"}/g, '}');
      await writeFile(path.join(journal, segment), wrong);
    }
    await rm(path.join(other, '.gos3rve/index'), { recursive: true });
    expect(await gos(['verify', '--root', other])).toMatchObject({ code: 2, err: '' });
    const line = `"${process.execPath}" "${BINARY}" verify > /dev/full; echo "code $?"`;
    expect(await promisify(execFile)('sh', ['-c', line], { env: cleanEnv({ GOS3RVE_ROOT: other }) })).toEqual({
      stderr: 'gos3rve: standard output: ENOSPC: no space left on device, write\n',
      stdout: 'code 1\n',
    });
    await rm(other, { recursive: true });
  });

  it('says so when standard input is a folder', async () => {
    const line = `"${process.execPath}" "${BINARY}" cp - box/folder < /; echo "code $?"`;
    expect(await promisify(execFile)('sh', ['-c', line], { env: cleanEnv({ GOS3RVE_ROOT: root }) })).toEqual({
      stderr: 'gos3rve: standard input is a folder\n',
      stdout: 'code 1\n',
    });
    expect(await keys('box/folder')).toEqual([]);
  });

  it.each([
    ['standard input', '-'],
    ['a pipe without a writer', 'pipe'],
  ])('ends on SIGTERM with 143 while nothing comes from %s', async (_what, source) => {
    const pipe = path.join(b.base, 'pipe');
    if (source === 'pipe') await promisify(execFile)('mkfifo', [pipe]);
    const before = new Set(await readdir(inRoot('.gos3rve/staging')));
    const child = spawn(process.execPath, [BINARY, 'cp', source === 'pipe' ? pipe : source, 'box/none'], {
      env: cleanEnv({ GOS3RVE_ROOT: root }),
    });
    const ended = new Promise((resolve) => child.once('close', resolve));
    const staged = async (): Promise<number> =>
      (await readdir(inRoot('.gos3rve/staging'))).filter((name) => !before.has(name)).length;
    await expect.poll(staged, { timeout: 15_000 }).toBeGreaterThan(0);
    child.kill('SIGTERM');
    expect(await ended).toBe(143);
    expect(existsSync(inRoot('box/none'))).toBe(false);
  });

  it('copies from a pipe whose writer comes late', async () => {
    const pipe = path.join(b.base, 'late');
    await promisify(execFile)('mkfifo', [pipe]);
    const copied = gos(['cp', pipe, 'box/late']);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await writeFile(pipe, 'from a pipe');
    expect((await copied).code).toBe(0);
    expect((await gos(['cp', 'box/late', '-'])).out).toBe('from a pipe');
    await gos(['rm', 'box/late']);
  });

  it('ends on SIGINT with 130, and leaves no half object', async () => {
    // the server, or a command that was just killed, may have a folder of its own there
    const before = new Set(await readdir(inRoot('.gos3rve/staging')));
    const child = spawn(process.execPath, [BINARY, 'cp', '-', 'box/half'], { env: cleanEnv({ GOS3RVE_ROOT: root }) });
    child.stdin.on('error', () => undefined);
    const feed = setInterval(() => child.stdin.write('x'.repeat(1000)), 5);
    let err = '';
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    const ended = new Promise((resolve) => child.once('close', resolve));
    // The body is being staged: the command has begun.
    const staged = async (): Promise<number> =>
      (await readdir(inRoot('.gos3rve/staging'))).filter((name) => !before.has(name)).length;
    await expect.poll(staged, { timeout: 15_000 }).toBeGreaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, 500));
    child.kill('SIGINT');
    expect(await ended).toBe(130);
    clearInterval(feed);
    expect(err).toBe('');
    expect(existsSync(inRoot('box/half'))).toBe(false);
  });

  if (how === 'beside a server') {
    const pair = ['--access-key', ACCESS_KEY, '--secret-key', SECRET_KEY];
    const link = async (...args: string[]): Promise<{ url: string; err: string }> => {
      const { out, err, code } = await gos(['presign', ...args, ...pair]);
      expect(code, err).toBe(0);
      return { url: out.trimEnd(), err };
    };
    const curl = (...args: string[]) => promisify(execFile)('curl', ['-sS', '--fail', '--noproxy', '*', ...args]);

    it('presign: works for curl as printed, for each method', async () => {
      const key = "box/links/a b+c%20'ü!$(x).txt";
      const file = path.join(b.base, 'up.txt');
      await writeFile(file, 'uploaded');
      const put = await link(key, '--method', 'put', '--content-type', 'text/x-own', '--expires', '30m');
      expect(put.err).toContain('content-type: text/x-own');
      await curl('-T', file, '-H', 'Content-Type: text/x-own', put.url);
      await expect(curl('-T', file, '-H', 'Content-Type: text/html', put.url)).rejects.toThrow(/403/);
      const get = await link(key);
      expect(get.err).toBe('');
      expect((await curl(get.url)).stdout).toBe('uploaded');
      expect((await curl('-i', (await link(key, '--content-type', 'image/png')).url)).stdout).toContain(
        'Content-Type: image/png',
      );
      await curl('-I', (await link(key, '--method', 'HEAD')).url);
      await curl('-X', 'DELETE', (await link(key, '--method', 'DELETE')).url);
      expect(existsSync(inRoot('box/links'))).toBe(false);
    });

    it('presign: warns of what is not there, and prints the link all the same', async () => {
      const { url, err } = await link('box/nothing');
      expect(err).toBe('gos3rve: warning: box/nothing does not exist\n');
      expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/box\/nothing\?/);
      expect((await link('nobox/x', '--method', 'PUT')).err).toContain('there is no bucket "nobox"');
      expect((await link('box/new', '--method', 'PUT')).err).toBe('');
    });

    it('presign: is for the address that is told; the path before the bucket is the proxy’s', async () => {
      const { url } = await link('box/dir2.txt', '--public-url', 'https://files.example.com/s3/');
      expect(url).toMatch(/^https:\/\/files\.example\.com\/s3\/box\/dir2\.txt\?/);
      const local = url.replace('https://files.example.com/s3', b.server.url);
      expect((await curl('-H', 'Host: files.example.com', local)).stdout).toBe('x');
      const hosted = await link('box/dir2.txt', '--endpoint', 'http://s3.example.com:8080', '--virtual-host');
      expect(hosted.url).toMatch(/^http:\/\/box\.s3\.example\.com:8080\/dir2\.txt\?/);
    });

    it('presign: asks for the pair that the server takes', async () => {
      const { code, err } = await gos(['presign', 'box/dir2.txt']);
      expect([code, err]).toEqual([
        1,
        expect.stringContaining(`the secret of access key ${ACCESS_KEY} is not known here`),
      ]);
    });
  } else
    it('presign: needs an address', async () => {
      const { code, err } = await gos(['presign', 'box/x', '--access-key', 'A', '--secret-key', 's']);
      expect([code, err]).toEqual([
        1,
        expect.stringMatching(/^gos3rve: no server runs on .*; start one, or pass --endpoint or --public-url\n$/),
      ]);
    });
});

describe('completion', () => {
  it('offers commands, options, values and names in bash', async () => {
    const script = `
      gos3rve() { "${process.execPath}" "${BINARY}" "$@"; }
      source <(gos3rve completion bash); compopt() { :; }
      try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _gos3rve; printf '%s|' "\${COMPREPLY[@]}"; echo; }
      try gos3rve pre; try gos3rve ls --rec; try gos3rve serve --symlinks a; try gos3rve completion ''`;
    const { stdout, stderr } = await promisify(execFile)('bash', ['-c', script], { env: cleanEnv() });
    expect(stderr).toBe('');
    expect(stdout.split('\n').slice(0, 4)).toEqual(['presign|', '--recursive|', 'all|', 'bash|zsh|fish|']);
  });
});
