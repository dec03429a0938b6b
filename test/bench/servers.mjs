/**
 * The servers that are compared, each started on an empty folder of its own, as its makers say. A server whose program is not on the
 * PATH is left out and named.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const BINARY = path.resolve(import.meta.dirname, '../../bin/gos3rve.js');
export const KEYS = {
  accessKeyId: 'AKIABENCHBENCHBENCH0',
  secretAccessKey: 'benchsecretbenchsecretbenchsecretbench01',
};

const awsEnv = { AWS_ACCESS_KEY_ID: KEYS.accessKeyId, AWS_SECRET_ACCESS_KEY: KEYS.secretAccessKey };
const gos3rve = (...more) => ({
  program: process.execPath,
  command: (root, port) => [BINARY, 'serve', root, '--port', String(port), '--log-level', 'warn', '--quiet', ...more],
  env: () => awsEnv,
});

/** name -> how it is started; `plain`: knows no S3, serves what another server's folder holds; `mode`: what it does before it answers a PUT. */
export const SERVERS = {
  gos3rve: { ...gos3rve('--workers', '2'), mode: 'fsync' },
  'gos3rve-fast': { ...gos3rve('--durability', 'fast', '--workers', '2'), mode: 'no fsync' },
  'gos3rve-one': { ...gos3rve('--durability', 'fast', '--workers', '1'), mode: 'no fsync' },
  versitygw: {
    program: 'versitygw',
    command: (root, port) => ['-q', '--port', `127.0.0.1:${port}`, '--keep-alive', 'posix', root],
    env: () => ({ ROOT_ACCESS_KEY: KEYS.accessKeyId, ROOT_SECRET_KEY: KEYS.secretAccessKey }),
    mode: 'no fsync',
  },
  minio: {
    program: 'minio',
    command: (root, port) => ['server', '--quiet', '--address', `127.0.0.1:${port}`, root],
    env: () => ({ MINIO_ROOT_USER: KEYS.accessKeyId, MINIO_ROOT_PASSWORD: KEYS.secretAccessKey, MINIO_BROWSER: 'off' }),
    mode: 'fdatasync',
  },
  rclone: {
    program: 'rclone',
    command: (root, port) => [
      ...['serve', 's3', '--addr', `127.0.0.1:${port}`, '--vfs-cache-mode', 'off', '-q'],
      ...['--auth-key', `${KEYS.accessKeyId},${KEYS.secretAccessKey}`, root],
    ],
    env: () => ({}),
    mode: 'no fsync',
  },
  nginx: {
    program: 'nginx',
    command: (root, port) => ['-c', nginxConfig(root, port), '-p', path.dirname(root)],
    env: () => ({}),
    plain: true,
  },
};

/** A static server tuned as its documentation recommends. */
function nginxConfig(root, port) {
  const file = path.join(path.dirname(root), 'nginx.conf');
  const folder = path.join(path.dirname(root), 'nginx');
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    file,
    `${process.getuid?.() === 0 ? 'user root;' : ''} worker_processes auto; daemon off; pid ${folder}/pid; error_log ${folder}/error.log;
events { worker_connections 1024; }
http { access_log off; sendfile on; tcp_nopush on; open_file_cache max=20000; keepalive_requests 1000000;
  client_body_temp_path ${folder}/b; proxy_temp_path ${folder}/p; fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
  server { listen 127.0.0.1:${port} backlog=1024; root ${root}; } }
`,
  );
  return file;
}

export function isInstalled(name) {
  const { program } = SERVERS[name];
  return program === process.execPath || spawnSync('which', [program]).status === 0;
}

/**
 * Starts one on a folder and a free port of 127.0.0.1.
 * @returns endpoint, `rssAnon()`: bytes of its whole process tree, `stop()`
 */
export async function start(name, root) {
  const { program, command, env } = SERVERS[name];
  const port = await freePort();
  const child = spawn(program, command(root, port), {
    env: { ...process.env, ...env() },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let told = '';
  child.stderr.on('data', (chunk) => (told = (told + chunk).slice(-4096)));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  for (let tries = 0; !(await accepts(port)); tries++) {
    if (tries > 300 || child.exitCode !== null) throw new Error(`${name} did not start: ${told}`);
    await sleep(100);
  }
  return {
    name,
    endpoint: `http://127.0.0.1:${port}`,
    pid: child.pid,
    rssAnon: () => tree(child.pid).reduce((sum, pid) => sum + anonymous(pid), 0),
    stop: async () => {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await ended;
      clearTimeout(timer);
    },
  };
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
      .once('connect', () => {
        socket.destroy();
        resolve(true);
      })
      .once('error', () => resolve(false));
  });
}

/** A process and all below it. */
function tree(root) {
  const children = new Map();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      // the name, in brackets, may hold anything
      const parent = Number(readFileSync(`/proc/${entry}/stat`, 'utf8').split(') ').at(-1).split(' ')[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(entry)]);
    } catch {
      // it has just ended
    }
  }
  const found = [root];
  for (const pid of found) found.push(...(children.get(pid) ?? []));
  return found;
}

function anonymous(pid) {
  try {
    return Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
