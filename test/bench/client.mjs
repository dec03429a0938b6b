/**
 * What the benchmarks need of a client: the server as a child process, and signed requests over kept connections that cost
 * so little that the server is what is measured. Run `npm run build` first.
 */
import { spawn } from 'node:child_process';
import { createHash, createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';

const BINARY = path.resolve(import.meta.dirname, '../../bin/gos3rve.js');
const ACCESS_KEY = 'AKIABENCHBENCHBENCH0';
const SECRET_KEY = 'bench/secret+of/forty+characters01234567';
const REGION = 'us-east-1';

const sha256 = (data) => createHash('sha256').update(data).digest('hex');
const hmac = (key, data) => createHmac('sha256', key).update(data).digest();
const escape = (text) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

/**
 * Serves `root` on a free port of 127.0.0.1.
 * @param root the directory
 * @param options `args`: more arguments of `serve`; `node`: arguments of node itself, such as --cpu-prof
 * @returns pid, port, `startMs` (spawn to the announced endpoint), `rssAnon()` in bytes now, `peak()` in bytes as sampled every 100 ms, `stop()`
 */
export async function startServer(root, { args = [], node = [] } = {}) {
  const began = performance.now();
  const child = spawn(
    process.execPath,
    [...node, BINARY, 'serve', root, '--port', '0', '--log-level', 'warn', ...args],
    {
      env: { ...process.env, AWS_ACCESS_KEY_ID: ACCESS_KEY, AWS_SECRET_ACCESS_KEY: SECRET_KEY },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const ended = new Promise((resolve) => child.once('exit', resolve));
  let printed = '';
  const port = await new Promise((resolve, reject) => {
    child.stdout.on('data', (chunk) => {
      if (printed.length > 65536) return;
      printed += chunk;
      const found = /http:\/\/127\.0\.0\.1:(\d+)/.exec(printed)?.[1];
      if (found) resolve(Number(found));
    });
    void ended.then((code) => reject(new Error(`the server ended with ${code}`)));
  });
  const startMs = performance.now() - began;
  const rssAnon = () => Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) * 1024;
  let peak = 0;
  const sample = () => {
    try {
      peak = Math.max(peak, rssAnon());
    } catch {
      // it has just ended
    }
  };
  const timer = setInterval(sample, 100);
  return {
    port,
    pid: child.pid,
    startMs,
    rssAnon,
    peak: () => {
      sample();
      return peak;
    },
    stop: () => {
      clearInterval(timer);
      child.kill('SIGTERM');
      return ended;
    },
  };
}

/** Signing key of a day, computed once. */
const keys = new Map();
function signingKey(day) {
  let key = keys.get(day);
  if (!key) {
    key = hmac(hmac(hmac(hmac(`AWS4${SECRET_KEY}`, day), REGION), 's3'), 'aws4_request');
    keys.set(day, key);
  }
  return key;
}

/** SigV4 with an unsigned payload: the bytes are not what is measured. */
function signed(port, method, target, query) {
  const stamp = new Date().toISOString().replace(/[-:]|\.\d{3}/g, '');
  const scope = `${stamp.slice(0, 8)}/${REGION}/s3/aws4_request`;
  const headers = { host: `127.0.0.1:${port}`, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD', 'x-amz-date': stamp };
  const names = Object.keys(headers);
  const canonical = [
    method,
    target,
    query,
    ...names.map((name) => `${name}:${headers[name]}`),
    '',
    names.join(';'),
    'UNSIGNED-PAYLOAD',
  ].join('\n');
  const signature = hmac(
    signingKey(scope.slice(0, 8)),
    ['AWS4-HMAC-SHA256', stamp, scope, sha256(canonical)].join('\n'),
  ).toString('hex');
  headers.authorization = `AWS4-HMAC-SHA256 Credential=${ACCESS_KEY}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`;
  return headers;
}

/**
 * A presigned URL, valid for a day, without scheme and host.
 * @param key bucket and key
 */
export function presigned(port, method, key, query = {}) {
  const stamp = new Date().toISOString().replace(/[-:]|\.\d{3}/g, '');
  const scope = `${stamp.slice(0, 8)}/${REGION}/s3/aws4_request`;
  const target = `/${key.split('/').map(escape).join('/')}`;
  const parameters = {
    ...query,
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': `${ACCESS_KEY}/${scope}`,
    'X-Amz-Date': stamp,
    'X-Amz-Expires': '86400',
    'X-Amz-SignedHeaders': 'host',
  };
  const search = Object.keys(parameters)
    .sort()
    .map((name) => `${escape(name)}=${escape(String(parameters[name]))}`)
    .join('&');
  const canonical = [method, target, search, `host:127.0.0.1:${port}`, '', 'host', 'UNSIGNED-PAYLOAD'].join('\n');
  const signature = hmac(
    signingKey(scope.slice(0, 8)),
    ['AWS4-HMAC-SHA256', stamp, scope, sha256(canonical)].join('\n'),
  ).toString('hex');
  return `${target}?${search}&X-Amz-Signature=${signature}`;
}

/** Requests to one server. */
export function client(port) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });

  /** @returns status, body as a Buffer and the time in ms from sending to the last byte. */
  const request = (method, key, { query = {}, body, headers = {} } = {}) =>
    new Promise((resolve, reject) => {
      const target = `/${key.split('/').map(escape).join('/')}`;
      const search = Object.keys(query)
        .sort()
        .map((name) => `${escape(name)}=${escape(String(query[name]))}`)
        .join('&');
      const length = body === undefined ? {} : { 'content-length': body.length };
      const began = performance.now();
      const sent = http.request(
        {
          port,
          host: '127.0.0.1',
          method,
          agent,
          path: search === '' ? target : `${target}?${search}`,
          headers: { ...signed(port, method, target, search), ...length, ...headers },
        },
        (response) => {
          const chunks = [];
          response.on('data', (chunk) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () => {
            const whole = Buffer.concat(chunks);
            if (response.statusCode >= 300) {
              reject(new Error(`${method} ${target}: ${response.statusCode} ${whole.toString()}`));
              return;
            }
            resolve({ status: response.statusCode, body: whole, ms: performance.now() - began });
          });
        },
      );
      sent.on('error', reject);
      sent.end(body);
    });

  /** One page of ListObjectsV2: the keys and common prefixes as counts, the token, the time. */
  const list = async (bucket, query = {}) => {
    const { body, ms } = await request('GET', bucket, { query: { 'list-type': 2, ...query } });
    const text = body.toString();
    return {
      ms,
      keys: text.split('<Key>').length - 1,
      prefixes: text.split('<CommonPrefixes>').length - 1,
      token: /<NextContinuationToken>([^<]*)</.exec(text)?.[1],
      lastKey: /.*<Key>([^<]*)<\/Key>/s.exec(text)?.[1],
    };
  };

  return { request, list, close: () => agent.destroy() };
}

export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

/** `--name value` pairs of the command line over defaults, numbers as numbers, `--name` alone as true. */
export function options(defaults) {
  const given = { ...defaults };
  const args = process.argv.slice(2);
  for (let i = 0; i < args.length; i++) {
    const name = args[i]?.replace(/^--/, '') ?? '';
    if (!(name in defaults)) {
      throw new Error(`unknown option ${args[i]}; there are: --${Object.keys(defaults).join(' --')}`);
    }
    const before = defaults[name];
    if (typeof before === 'boolean') given[name] = true;
    else given[name] = typeof before === 'number' ? Number(args[++i]) : args[++i];
  }
  return given;
}
