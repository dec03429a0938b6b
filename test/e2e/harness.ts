/** Starts the real binary on a folder of its own, and finds and runs the clients that talk to it. */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, it } from 'vitest';

export const PROJECT = path.resolve(import.meta.dirname, '../..');
export const BINARY = path.join(PROJECT, 'bin', 'gos3rve.js');
export const ACCESS_KEY = 'AKIAE2ETESTE2ETESTE2';
export const SECRET_KEY = 'e2e/secret+of/forty+characters0123456789';
export const REGION = 'us-east-1';
export const MiB = 1024 * 1024;

export interface Server {
  /** `http://127.0.0.1:<port>` */
  url: string;
  port: number;
  /** The directory that is served. */
  root: string;
  pid: number;
  /** Everything printed so far, both streams. */
  output(): string;
  /** Anonymous memory in bytes (Linux), without the index's page cache. */
  rssAnon(): Promise<number>;
  alive(): boolean;
  /** SIGTERM; resolves to the exit code. */
  stop(): Promise<number | null>;
  kill(): Promise<void>;
}

export interface ServeOptions {
  args?: string[];
  env?: Record<string, string>;
  /** Whose process it is; needs root. */
  user?: { uid: number; gid: number };
  /** Processes that answer; 1 unless told: then the process id is that of the whole server. */
  workers?: number;
  /** A program, with arguments, that runs the server as its last ones say: `['unshare', '-r']`. */
  wrap?: readonly string[];
}

/** The environment without anything that could tell a client or the server of other endpoints and keys. */
export function cleanEnv(more: Record<string, string> = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(AWS_|GOS3RVE_(?!E2E)|RCLONE_|RESTIC_|S3CMD|(https?|all|no)_proxy$)/i.test(name),
  );
  return { ...Object.fromEntries(kept), ...more };
}

/** Serves `root` on a free port of 127.0.0.1 and waits until it answers. */
export async function serve(
  root: string,
  { args = [], env = {}, user, workers = 1, wrap = [] }: ServeOptions = {},
): Promise<Server> {
  const own = ['--port', '0', '--workers', String(workers), '--access-key', ACCESS_KEY, '--secret-key', SECRET_KEY];
  const [program, ...rest] = [...wrap, process.execPath, BINARY, 'serve', root, ...own, ...args];
  const child = spawn(program ?? process.execPath, rest, {
    env: cleanEnv(env),
    stdio: ['ignore', 'pipe', 'pipe'],
    ...user,
  });
  let printed = '';
  const record = (chunk: Buffer): void => {
    // What is kept of a chatty server is bounded; the first lines hold the endpoint.
    if (printed.length < 4 * MiB) printed += chunk.toString();
  };
  child.stdout.on('data', record);
  child.stderr.on('data', record);
  let ended = false;
  const exit = new Promise<number | null>((resolve) =>
    child.once('exit', (code) => {
      ended = true;
      resolve(code);
    }),
  );
  const { pid } = child;
  if (pid === undefined) throw new Error('the server could not be started');

  const port = await endpointPort(
    () => printed,
    () => ended,
  );
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    root,
    pid,
    output: () => printed,
    rssAnon: async () => {
      const status = await readFile(`/proc/${pid}/status`, 'utf8');
      return Number(/RssAnon:\s+(\d+) kB/.exec(status)?.[1] ?? NaN) * 1024;
    },
    alive: () => !ended,
    stop: () => {
      if (!ended) child.kill('SIGTERM');
      return exit;
    },
    kill: async () => {
      if (!ended) child.kill('SIGKILL');
      await exit;
    },
  };
}

async function endpointPort(printed: () => string, ended: () => boolean): Promise<number> {
  const until = Date.now() + 15_000;
  while (Date.now() < until) {
    const port = /http:\/\/127\.0\.0\.1:(\d+)/.exec(printed())?.[1];
    if (port !== undefined) return Number(port);
    if (ended()) break;
    await sleep(10);
  }
  throw new Error(`the server did not come up:\n${printed()}`);
}

export interface Bench {
  /** A folder of its own; everything below it is removed at the end. */
  base: string;
  server: Server;
  end(): Promise<void>;
}

/** A temporary folder with a server on `<base>/root`, after `prepare` has furnished it. */
export async function bench(options: ServeOptions = {}, prepare?: (root: string) => Promise<void>): Promise<Bench> {
  const base = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-e2e-'));
  const root = path.join(base, 'root');
  await mkdir(root);
  await prepare?.(root);
  const server = await serve(root, options);
  return {
    base,
    server,
    end: async () => {
      await server.stop();
      await rm(base, { recursive: true, force: true });
    },
  };
}

/** A client's program: in the virtual environment that `.ci/run` makes, else on the PATH. */
export function findProgram(name: string): string | undefined {
  const venv = process.env.GOS3RVE_E2E_VENV ?? path.join(PROJECT, '.venv');
  const folders = [path.join(venv, 'bin'), ...(process.env.PATH ?? '').split(path.delimiter)];
  return folders.map((folder) => path.join(folder, name)).find((file) => existsSync(file));
}

/**
 * Tests with a client's program. Where it is missing they are skipped, with the reason in the name - but in CI
 * (`CI=true`) they fail, so that no client is forgotten.
 */
export function describeClient(title: string, program: string, tests: (file: string) => void): void {
  const file = findProgram(program);
  if (file !== undefined) {
    describe(title, () => tests(file));
  } else if (process.env.CI === 'true') {
    it(`${title}`, () => {
      throw new Error(`${program} is not installed; .ci/run installs it`);
    });
  } else {
    it.skip(`${title}: ${program} is not installed`, () => undefined);
  }
}

export interface RunResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end. Throws with its output if it fails, unless `mayFail`. */
export async function run(
  file: string,
  args: string[],
  options: {
    env?: Record<string, string>;
    cwd?: string;
    input?: string;
    mayFail?: boolean;
    /** Whose process it is; needs root. */
    user?: { uid: number; gid: number };
  } = {},
): Promise<RunResult> {
  const child = spawn(file, args, {
    env: cleanEnv(options.env),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...options.user,
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  // a program that reads no input may have ended already (EPIPE): its exit code says how it went
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0 && options.mayFail !== true) {
    throw new Error(`${path.basename(file)} ${args.join(' ')} ended with ${code}:\n${stdout}\n${stderr}`);
  }
  return { code, stdout, stderr };
}

/** boto3 is a library: the interpreter is looked for that lies beside the AWS CLI's or in the virtual environment. */
export async function pythonWithBoto3(found: string): Promise<string> {
  const beside = findProgram('aws');
  const candidates = [found, ...(beside === undefined ? [] : [path.join(path.dirname(beside), 'python3')])];
  for (const candidate of candidates) {
    const { code } = await run(candidate, ['-c', 'import boto3'], { mayFail: true }).catch(() => ({ code: 1 }));
    if (code === 0) return candidate;
  }
  throw new Error('no Python with boto3; .ci/run makes one in .venv');
}

/** Incompressible bytes, written without holding them in memory. */
export async function randomFile(file: string, size: number): Promise<void> {
  async function* blocks(): AsyncGenerator<Buffer> {
    for (let left = size; left > 0; left -= MiB) yield randomBytes(Math.min(left, MiB));
  }
  await mkdir(path.dirname(file), { recursive: true });
  await pipeline(blocks(), createWriteStream(file));
}

export async function sha256File(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

/** Regular files below a folder, path -> SHA-256; `.gos3rve` is left out. */
export async function treeHashes(folder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  const walk = async (at: string): Promise<void> => {
    for (const name of (await readdir(at)).sort()) {
      if (name === '.gos3rve') continue;
      const file = path.join(at, name);
      const stat = await lstat(file);
      if (stat.isDirectory()) await walk(file);
      else if (stat.isFile()) found[path.relative(folder, file)] = await sha256File(file);
    }
  };
  await walk(folder);
  return found;
}

/** A small tree as people have them: spaces, accents, depth, an empty file, one of 64 MiB that clients send in parts. */
export async function makeTree(folder: string): Promise<void> {
  const files: Record<string, string> = {
    'plain.txt': 'plain',
    'empty.txt': '',
    'with space & more/ünï côdé.txt': 'accents',
    'a/b/c/d/deep.txt': 'deep',
    'a/b-sorts-before-slash.txt': '-',
    '日本語/😀.md': 'emoji',
    "quotes'and,commas;(1).txt": 'q',
    'plus+percent%41.txt': 'p',
  };
  for (const [name, content] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
    await writeFile(path.join(folder, name), content);
  }
  for (let n = 0; n < 40; n++) {
    await mkdir(path.join(folder, 'many'), { recursive: true });
    await writeFile(path.join(folder, 'many', `file-${n}.bin`), randomBytes(n * 100));
  }
  await randomFile(path.join(folder, 'large', '64MiB.bin'), 64 * MiB);
}
