/**
 * Small requests: GET and PUT of 1 KiB and listing pages of 1,000 keys, by 32 clients at once in this one process.
 *
 *   npm run build && node test/bench/requests.mjs [--seconds 5] [--clients 32] [--prof <folder>]
 *
 * `--prof` has node write a CPU profile of the server there.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { client, options, startServer } from './client.mjs';

const wanted = options({ seconds: 5, clients: 32, files: 1000, prof: '' });
const base = mkdtempSync(path.join(os.tmpdir(), 'gos3rve-requests-'));
const root = path.join(base, 'root');

async function rate(name, work) {
  const until = performance.now() + wanted.seconds * 1000;
  let done = 0;
  const began = performance.now();
  await Promise.all(
    Array.from({ length: wanted.clients }, async (_, at) => {
      for (let n = 0; performance.now() < until; n++) {
        await work(at, n);
        done++;
      }
    }),
  );
  console.log(name.padEnd(24), Math.round((done / (performance.now() - began)) * 1000), 'a second');
}

try {
  mkdirSync(path.join(root, 'box/got'), { recursive: true });
  const body = Buffer.alloc(1024, 'x');
  for (let n = 0; n < wanted.files; n++) writeFileSync(path.join(root, `box/got/${n}`), body);
  const node = wanted.prof === '' ? [] : ['--cpu-prof', `--cpu-prof-dir=${path.resolve(wanted.prof)}`];
  const server = await startServer(root, { node });
  const s3 = client(server.port);
  await s3.list('box');
  await rate('GET of 1 KiB', (at, n) => s3.request('GET', `box/got/${(at * 31 + n) % wanted.files}`));
  await rate('HEAD', (at, n) => s3.request('HEAD', `box/got/${(at * 31 + n) % wanted.files}`));
  await rate('page of 1,000 keys', () => s3.list('box', { prefix: 'got/' }));
  await rate('PUT of 1 KiB, flushed', (at, n) => s3.request('PUT', `box/put/${at}/${n}`, { body }));
  console.log('RssAnon at most'.padEnd(24), Math.round(server.peak() / 1048576), 'MiB');
  s3.close();
  await server.stop();
} finally {
  rmSync(base, { recursive: true, force: true });
}
