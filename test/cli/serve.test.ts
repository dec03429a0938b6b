/** The real binary (built: `npm run build`): what it says and with which code it ends. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const BINARY = join(import.meta.dirname, '../../bin/gos3rve.js');

let folder: string;
let root: string;
const running: ChildProcess[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gos3rve-serve-'));
  root = join(folder, 'media');
  mkdirSync(join(root, 'photos'), { recursive: true });
});
afterEach(async () => {
  for (const child of running.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }
  rmSync(folder, { recursive: true });
});

interface Run {
  child: ChildProcess;
  out: () => string;
  err: () => string;
  /** Exit code, once ended. */
  ended: Promise<number | null>;
}

function run(args: string[], env: Record<string, string> = {}): Run {
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(GOS3RVE|AWS)_/.test(name)));
  const child = spawn(process.execPath, [BINARY, ...args], {
    env: { ...clean, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.push(child);
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  return { child, out: () => out, err: () => err, ended };
}

/** Starts a server, of one process so that it can be killed whole, and waits until it is ready. */
async function start(args: string[] = [], env: Record<string, string> = {}): Promise<Run & { endpoint: string }> {
  const server = run(['serve', root, '--port', '0', '--workers', '1', ...args], env);
  await expect.poll(() => server.err(), { timeout: 15_000, message: server.err() }).toContain('"msg":"ready"');
  const { endpoint } = JSON.parse(readFileSync(join(root, '.gos3rve/server.json'), 'utf8')) as { endpoint: string };
  return { ...server, endpoint };
}

describe('faults are one line and a code', () => {
  it.each<[string, () => string[], number, RegExp]>([
    ['no command', () => ['frob'], 2, /^gos3rve: unknown command 'frob'/],
    [
      'unknown flag',
      () => ['serve', root, '--prot', '1'],
      2,
      /^gos3rve: unknown option '--prot' \(Did you mean --port\?\); see gos3rve serve --help$/,
    ],
    ['no directory', () => ['serve'], 2, /^gos3rve: missing required argument 'dir'; see gos3rve serve --help$/],
    [
      'bad value',
      () => ['serve', root, '--port', 'x'],
      2,
      /^gos3rve: --port: "x" is no port; give a number from 0 to 65535$/,
    ],
    [
      'half a key pair',
      () => ['serve', root, '--access-key', 'x'],
      2,
      /^gos3rve: --access-key is given without --secret-key/,
    ],
    [
      'missing directory',
      () => ['serve', join(root, 'none')],
      1,
      /^gos3rve: \S+none does not exist; make it, or pass another directory$/,
    ],
    ['a file', () => ['serve', BINARY], 1, /^gos3rve: \S+ is not a directory$/],
    ['an empty name', () => ['serve', ''], 2, /^gos3rve: no directory was named; pass the one to serve/],
    [
      'state that would be served',
      () => ['serve', root, '--state-dir', join(root, 'photos/state')],
      1,
      /^gos3rve: --state-dir \S+photos\/state lies in \S+media, which is served/,
    ],
    [
      'a root that is state',
      () => ['serve', root, '--state-dir', folder],
      1,
      /^gos3rve: \S+media lies in \S+, where gos3rve keeps its state; pass a directory of data$/,
    ],
    [
      'a domain that is none',
      () => ['serve', root, '--base-domain', 'a/b'],
      2,
      /^gos3rve: --base-domain: "a\/b" is no domain; write it like s3\.example\.com$/,
    ],
  ])('%s', async (_, args, code, line) => {
    const { ended, err, out } = run(args());
    expect(await ended).toBe(code);
    expect(err().trimEnd()).toMatch(line);
    expect(out()).toBe('');
  });

  it('a broken config.yaml', async () => {
    mkdirSync(join(root, '.gos3rve'));
    writeFileSync(join(root, '.gos3rve/config.yaml'), 'porte: 1\n');
    const { ended, err } = run(['serve', root]);
    expect(await ended).toBe(2);
    expect(err().trimEnd()).toMatch(/^gos3rve: \S+config\.yaml: unknown key "porte"; did you mean port\?$/);
  });

  it('a used port', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    const { port } = other.address() as AddressInfo;
    const { ended, err } = run(['serve', root, '--port', String(port), '--log-level', 'error']);
    expect(await ended).toBe(1);
    expect(err().trimEnd()).toBe(`gos3rve: port ${port} is in use; pass --port`);
    expect(existsSync(join(root, '.gos3rve/server.json'))).toBe(false);
    other.close();
  });

  it.runIf(process.platform === 'linux')('a root where no state can be kept', async () => {
    // Nobody can make a folder in sysfs, root included.
    const { ended, err } = run(['serve', '/sys/kernel', '--read-only']);
    expect(await ended).toBe(1);
    expect(err().trimEnd()).toMatch(/^gos3rve: cannot keep state in \S+ \(E\w+\); pass --state-dir/);
  });

  it.runIf(process.platform === 'linux')('a root that cannot be written, with a state that can', async () => {
    const { ended, err } = run(['serve', '/sys/kernel', '--state-dir', join(folder, 'state')]);
    expect(await ended).toBe(1);
    expect(err().trimEnd().split('\n').at(-1)).toMatch(
      /^gos3rve: cannot write to \/sys\/kernel, where uploads are staged \(E\w+\); pass --read-only, or make it writable$/,
    );
  });

  it.runIf(process.platform === 'linux')('state in a file system that makes no folders', async () => {
    const { ended, err } = run(['serve', root, '--state-dir', '/proc/gos3rve/state']);
    expect(await ended).toBe(1);
    expect(err().trimEnd()).toMatch(/^gos3rve: cannot keep state in \S+ \(ENOENT\); pass --state-dir/);
  });

  it('a second server on the same root with a state of its own', async () => {
    await start();
    const second = run(['serve', root, '--port', '0', '--state-dir', join(folder, 'state')]);
    expect(await second.ended).toBe(1);
    expect(second.err().trimEnd()).toMatch(
      /^gos3rve: \S+media keeps its state in \S+media\/\.gos3rve, not in \S+state; pass no --state-dir/,
    );
    expect(existsSync(join(folder, 'state'))).toBe(false);
  });

  it('a second server on the same root; the first goes on', async () => {
    const first = await start();
    const second = run(['serve', root, '--port', '0']);
    expect(await second.ended).toBe(1);
    expect(second.err().trimEnd()).toBe(
      `gos3rve: this directory is served already at ${first.endpoint} (pid ${first.child.pid}); stop that server first`,
    );
    expect((await fetch(`${first.endpoint}/.gos3rve/health`)).status).toBe(200);
  });
});

describe('a run', () => {
  it('makes keys at the first start, shows them once, and ends cleanly', async () => {
    const first = await start();
    const file = join(root, '.gos3rve/credentials.json');
    const { accessKey, secretKey } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>;
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(first.out()).toContain(first.endpoint);
    expect(first.out()).toContain(`export AWS_SECRET_ACCESS_KEY=${secretKey}`);
    expect(first.err()).not.toContain(secretKey);
    expect((await fetch(first.endpoint)).status).toBe(403);
    first.child.kill('SIGTERM');
    expect(await first.ended).toBe(0);
    expect(existsSync(join(root, '.gos3rve/server.json'))).toBe(false);

    const second = await start();
    expect(second.out()).toContain(accessKey);
    expect(second.out()).toContain('credentials.json');
    expect(second.out() + second.err()).not.toContain(secretKey);
    second.child.kill('SIGINT');
    expect(await second.ended).toBe(0);
  });

  it('says nothing on standard output when quiet, and takes its keys from the environment', async () => {
    const server = await start(['--quiet', '--log-level', 'debug'], {
      AWS_ACCESS_KEY_ID: 'AKIAENV',
      AWS_SECRET_ACCESS_KEY: 'env-secret',
    });
    expect(server.out()).toBe('');
    expect(server.err()).not.toContain('env-secret');
    expect(existsSync(join(root, '.gos3rve/credentials.json'))).toBe(false);
  });

  it('can be started again at once after kill -9', async () => {
    const first = await start();
    first.child.kill('SIGKILL');
    await first.ended;
    const second = await start();
    expect((await fetch(`${second.endpoint}/.gos3rve/health`)).status).toBe(200);
  });

  it('mentions files that lie at the top', async () => {
    writeFileSync(join(root, 'loose.txt'), 'x');
    const server = await start();
    await expect.poll(() => server.err()).toContain('in no bucket, not served: \\"loose.txt\\"');
  });
});

describe('help', () => {
  it('lists each option within 80 columns', async () => {
    const { ended, out } = run(['serve', '--help']);
    expect(await ended).toBe(0);
    for (const flag of [
      '--port <number>',
      '--no-default-excludes',
      '--bucket <alias=path>',
      'default 9000',
      'repeatable',
    ])
      expect(out().replace(/\s+/g, ' ')).toContain(flag);
    for (const line of out().split('\n')) expect(line.length, line).toBeLessThanOrEqual(80);
  });

  it('prints the version', async () => {
    const { ended, out } = run(['--version']);
    expect(await ended).toBe(0);
    expect(out()).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});
