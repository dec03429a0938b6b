/**
 * How gos3rve scales: with the number of keys, of connections, and of workers. GET and PUT of 1 KiB and pages of 1,000 keys, by wrk.
 *
 *   npm run bench:scaling -- [--keys 1000,1000000] [--connections 1,16,64,256] [--workers 1,2,4] [--seconds 3] [--rounds 3] [--dir <scratch>] [--json]
 *
 * All servers of a table are up at once and loaded in turn, so that noise meets all alike; medians of the rounds. Everything is asked for once before it
 * is measured. The keys lie in folders of 1,000, and what is asked for is spread over all of them.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { client, median, options, presigned, startServer } from './client.mjs';

const run = promisify(execFile);
const REPLAY = path.join(import.meta.dirname, 'replay.lua');
const FOLDER = 1000;
const TARGETS = 1000;
const SIZE = 1024;

const wanted = options({
  ...{ keys: '1000,1000000', connections: '1,16,64,256', workers: '1,2,4' },
  ...{ seconds: 3, rounds: 3, dir: os.tmpdir(), json: false },
});
const numbers = (list) => list.split(',').filter(Boolean).map(Number);
const base = mkdtempSync(path.join(wanted.dir, 'gos3rve-scaling-'));
const say = (text) => process.stderr.write(`${text}\n`);

const keyOf = (i) =>
  `folder-${String(Math.floor(i / FOLDER)).padStart(6, '0')}/file-${String(i % FOLDER).padStart(4, '0')}`;
/** Keys spread evenly over all, the same ones each time. */
const spread = (count, of) => Array.from({ length: of }, (_, i) => Math.floor((i * count) / of));

function makeTree(root, count) {
  const body = Buffer.alloc(SIZE, 'x');
  for (let i = 0; i < count; i++) {
    const file = path.join(root, 'box', keyOf(i));
    if (i % FOLDER === 0) mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, body);
  }
}

/** Starts a server on a tree, has it know all of it, and writes the files of targets. */
async function prepare(name, root, count, workers) {
  say(`${name}: starts`);
  const server = await startServer(root, { args: ['--durability', 'fast', '--workers', String(workers)] });
  const s3 = client(server.port);
  for (let token; ;) {
    const page = await s3.list('box', token === undefined ? {} : { 'continuation-token': token });
    token = page.token;
    if (token === undefined) break;
  }
  s3.close();
  const url = (method, key, query) => presigned(server.port, method, key, query);
  const urls = {
    get: spread(count, TARGETS).map((i) => url('GET', `box/${keyOf(i)}`)),
    put: spread(count, TARGETS).map((i, n) => url('PUT', `box/${keyOf(i)}-put-${n % 3}`)),
    list: spread(count, TARGETS / 10).map((i) => url('GET', 'box', { 'list-type': 2, 'start-after': keyOf(i) })),
  };
  const files = {};
  for (const [title, lines] of Object.entries(urls)) {
    files[title] = path.join(base, `${name}-${title}.txt`);
    writeFileSync(files[title], `${lines.join('\n')}\n`);
  }
  return { name, server, files, figures: {} };
}

async function load({ server, files }, title, connections, seconds) {
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '30s', '-s', REPLAY];
  const method = title === 'put' ? 'PUT' : 'GET';
  const size = title === 'put' ? SIZE : 0;
  const endpoint = `http://127.0.0.1:${server.port}`;
  const { stdout } = await run('wrk', [...args, endpoint, '--', method, files[title], String(size)]);
  const { requests, seconds: took, p99, errors } = JSON.parse(stdout.trim().split('\n').at(-1));
  return { rate: requests / took, p99, errors };
}

/** All of them in turn, several times. @returns rows of medians, one a server and load */
async function measure(servers, loads) {
  for (const title of ['get', 'put', 'list']) {
    for (const one of servers) await load(one, title, 16, 1);
    for (let round = 0; round < wanted.rounds; round++) {
      for (const connections of loads) {
        for (const one of servers) {
          const result = await load(one, title, connections, wanted.seconds);
          (one.figures[`${title} ${connections}`] ??= []).push(result);
          say(`${title}, ${connections} connections, ${one.name}: ${JSON.stringify(result)}`);
        }
      }
    }
  }
  return servers.flatMap(({ name, figures }) =>
    Object.entries(figures).map(([load, results]) => {
      const [title, connections] = load.split(' ');
      const of = (figure) => median(results.map((result) => result[figure]));
      return { name, title, connections: Number(connections), rate: of('rate'), p99: of('p99'), errors: of('errors') };
    }),
  );
}

/** @returns a line for each load, with a cell for each server and how it stands to the first. */
function table(rows, first, what) {
  const names = [...new Set(rows.map(({ name }) => name))];
  const lines = [`| ${what} | ${names.join(' | ')} |`, `|---|${'---|'.repeat(names.length)}`];
  for (const { title, connections } of rows.filter(({ name }) => name === first)) {
    const cells = names.map((name) => {
      const row = rows.find((one) => one.name === name && one.title === title && one.connections === connections);
      const beside = rows.find((one) => one.name === first && one.title === title && one.connections === connections);
      const failed = row.errors > 0 ? `, ${row.errors} errors` : '';
      return `${Math.round(row.rate)}/s, ${(row.rate / beside.rate).toFixed(2)} (p99 ${row.p99.toFixed(1)} ms${failed})`;
    });
    lines.push(`| ${title}, ${connections} connections | ${cells.join(' | ')} |`);
  }
  return lines.join('\n');
}

const running = [];
const report = {};
try {
  const [few = 1000] = numbers(wanted.keys);
  if (numbers(wanted.keys).length > 1) {
    for (const count of numbers(wanted.keys)) {
      const root = path.join(base, `keys-${count}`);
      makeTree(root, count);
      running.push(await prepare(`${count} keys`, root, count, 2));
    }
    report.keys = await measure(running, [32]);
    for (const { server } of running.splice(0)) await server.stop();
    for (const count of numbers(wanted.keys)) rmSync(path.join(base, `keys-${count}`), { recursive: true });
  }
  for (const workers of numbers(wanted.workers)) {
    const root = path.join(base, `workers-${workers}`);
    makeTree(root, few);
    running.push(await prepare(`${workers} workers`, root, few, workers));
  }
  if (running.length > 0) report.workers = await measure(running, numbers(wanted.connections));
  if (wanted.json) console.log(JSON.stringify({ node: process.version, cores: os.cpus().length, ...report }));
  else {
    if (report.keys) console.log(`${table(report.keys, report.keys[0].name, 'two workers')}\n`);
    if (report.workers) console.log(table(report.workers, report.workers[0].name, `${few} keys`));
  }
} finally {
  for (const { server } of running) await server.stop();
  rmSync(base, { recursive: true, force: true });
}
