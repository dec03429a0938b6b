/**
 * Many files: what listings cost when nobody prepared the tree, after a cold start, at the start and at the end of a large folder.
 *
 *   npm run build && node test/bench/scale.mjs [--files 1000000] [--folders 1000] [--flat 100000] [--dir <scratch>] [--keep] [--indexed] [--json]
 *
 * Makes the tree (about 4 GB of blocks for a million files), lists everything once so that it is indexed, starts anew and measures.
 *
 * `--keep` leaves the tree in `--dir`; `--indexed` then takes it as it is, with the index of the last run.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { client, median, options, startServer } from './client.mjs';

const MiB = 1024 * 1024;
const wanted = options({
  files: 1_000_000,
  folders: 1000,
  flat: 100_000,
  size: 100,
  dir: '',
  keep: false,
  json: false,
  indexed: false,
});

function makeTree(root) {
  const done = path.join(root, '..', `made-${wanted.files}-${wanted.folders}-${wanted.flat}-${wanted.size}`);
  if (existsSync(done)) return;
  const body = Buffer.alloc(wanted.size, 'x');
  const each = Math.ceil(wanted.files / wanted.folders);
  for (let d = 0; d < wanted.folders; d++) {
    const folder = path.join(root, 'many', `folder-${String(d).padStart(5, '0')}`);
    mkdirSync(folder, { recursive: true });
    for (let f = 0; f < each; f++) writeFileSync(path.join(folder, `file-${String(f).padStart(6, '0')}.txt`), body);
  }
  mkdirSync(path.join(root, 'flat'), { recursive: true });
  for (let f = 0; f < wanted.flat; f++) {
    writeFileSync(path.join(root, 'flat', `file-${String(f).padStart(7, '0')}.txt`), body);
  }
  writeFileSync(done, '');
}

/** Every page of a bucket. */
async function listAll(s3, bucket) {
  const times = [];
  let keys = 0;
  const began = performance.now();
  for (let token; ;) {
    const page = await s3.list(bucket, token === undefined ? {} : { 'continuation-token': token });
    times.push(page.ms);
    keys += page.keys;
    token = page.token;
    if (token === undefined) break;
  }
  return { keys, seconds: (performance.now() - began) / 1000, medianMs: median(times), maxMs: Math.max(...times) };
}

/** Median times of pages that are asked for in turn, so that noise meets all alike. */
async function pageMs(s3, queries, times = 25) {
  const taken = queries.map(() => []);
  for (let i = 0; i < times; i++) {
    for (const [at, [bucket, query]] of queries.entries()) taken[at]?.push((await s3.list(bucket, query)).ms);
  }
  return taken.map(median);
}

async function measure(root) {
  if (wanted.indexed) return measureIndexed(root);
  const figures = {};
  const first = await startServer(root);
  const s3 = client(first.port);
  const many = await listAll(s3, 'many');
  const flat = await listAll(s3, 'flat');
  if (many.keys < wanted.files || flat.keys !== wanted.flat)
    throw new Error(`listed ${many.keys} and ${flat.keys} keys`);
  Object.assign(figures, {
    files: many.keys,
    flatFiles: flat.keys,
    firstListSeconds: many.seconds,
    firstListPageMs: many.medianMs,
    firstListMaxPageMs: many.maxMs,
    firstListPeakMiB: first.peak() / MiB,
    flatFirstListSeconds: flat.seconds,
    flatFirstListMaxPageMs: flat.maxMs,
  });
  s3.close();
  await first.stop();
  Object.assign(figures, await measureIndexed(root));
  return figures;
}

async function measureIndexed(root) {
  const server = await startServer(root);
  const s3 = client(server.port);
  const cold = await s3.list('many');
  const coldRss = server.rssAnon() / MiB;
  const prefixes = await s3.list('many', { delimiter: '/' });
  const before = (n) => `file-${String(n).padStart(7, '0')}.txt`;
  const again = await listAll(s3, 'many');
  const [startMs, endMs, delimiterMs] = await pageMs(s3, [
    ['flat', { 'start-after': before(0) }],
    ['flat', { 'start-after': before(wanted.flat - 1 - Math.min(1000, wanted.flat / 2)) }],
    ['many', { delimiter: '/' }],
  ]);
  const figures = {
    readyMs: server.startMs,
    coldFirstPageMs: cold.ms,
    coldRssAnonMiB: coldRss,
    delimiterPrefixes: prefixes.prefixes,
    delimiterPageMs: prefixes.ms,
    delimiterAgainMs: delimiterMs,
    secondListSeconds: again.seconds,
    secondListPageMs: again.medianMs,
    flatStartPageMs: startMs,
    flatEndPageMs: endMs,
    flatEndToStart: endMs / startMs,
    peakRssAnonMiB: server.peak() / MiB,
  };
  s3.close();
  await server.stop();
  return figures;
}

const base = wanted.dir === '' ? mkdtempSync(path.join(os.tmpdir(), 'gos3rve-scale-')) : path.resolve(wanted.dir);
const root = path.join(base, 'root');
try {
  mkdirSync(root, { recursive: true });
  makeTree(root);
  if (!wanted.indexed) rmSync(path.join(root, '.gos3rve'), { recursive: true, force: true });
  const figures = await measure(root);
  if (wanted.json) process.stdout.write(`${JSON.stringify(figures)}\n`);
  else for (const [name, value] of Object.entries(figures)) console.log(name.padEnd(24), Math.round(value * 100) / 100);
} finally {
  if (!wanted.keep) rmSync(base, { recursive: true, force: true });
}
