/**
 * gos3rve beside its peers: the same data, one run, interleaved round by round, medians, ratios to the best peer.
 *
 * npm run bench -- [--servers a,b] [--cases a,b] [--rounds 3] [--seconds 4] [--big 1073741824] [--json] [--dir FOLDER]
 * Needs wrk, ab and curl on the PATH.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { CASES, seed, seedPlain } from './cases.mjs';
import { SERVERS, isInstalled, start } from './servers.mjs';

const { values } = parseArgs({
  options: {
    servers: { type: 'string', default: Object.keys(SERVERS).join(',') },
    cases: { type: 'string', default: Object.keys(CASES).join(',') },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '4' },
    big: { type: 'string', default: String(1 << 30) },
    dir: { type: 'string', default: tmpdir() },
    json: { type: 'boolean', default: false },
  },
});
const LABELS = { rate: '/s', megabytes: 'MB/s', ms: 'ms' };
const options = { big: Number(values.big) };
const say = (text) => process.stderr.write(`${text}\n`);
const median = (list) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)];

const wanted = values.servers
  .split(',')
  .filter((name) => isInstalled(name) || say(`${name} is not on the PATH: left out`));
const cases = values.cases.split(',');
const home = mkdtempSync(path.join(values.dir, 'gos3rve-bench-'));
const running = [];
const figures = {};
try {
  for (const name of wanted) {
    const folder = path.join(home, name);
    const root = path.join(folder, 'data');
    mkdirSync(root, { recursive: true });
    const { plain = false } = SERVERS[name];
    if (plain) seedPlain(root, options);
    let started;
    try {
      started = await start(name, root);
    } catch (error) {
      say(`${error.message.split('\n', 1)[0]}: left out`);
      continue;
    }
    const server = { ...started, plain, folder };
    running.push(server);
    say(`${name}: ${server.endpoint}`);
    if (!plain) await seed(server, options);
  }
  for (let round = 1; round <= Number(values.rounds); round++) {
    for (const title of cases) {
      for (const server of running) {
        if (server.plain && !CASES[title].plain) continue;
        const result = await CASES[title]
          .run(server, Number(values.seconds), options)
          .catch((error) => ({ failed: error.message }));
        ((figures[title] ??= {})[server.name] ??= []).push(result);
        say(`${round} ${title} ${server.name} ${JSON.stringify(result)}`);
      }
    }
  }
  const memory = Object.fromEntries(running.map((server) => [server.name, server.rssAnon()]));
  report(memory);
} finally {
  for (const server of running) await server.stop();
  rmSync(home, { recursive: true, force: true });
}

function report(memory) {
  const table = cases.map((title) => row(title, figures[title] ?? {}));
  if (values.json) {
    console.log(JSON.stringify({ node: process.version, cores: cpus().length, table, memory }));
    return;
  }
  const names = running.map((server) => server.name);
  console.log(
    `| case | ${names.join(' | ')} | gos3rve / best peer | fast / best peer |\n|---|${'---|'.repeat(names.length + 2)}`,
  );
  for (const { title, unit, medians, ratio, fast } of table) {
    const cells = names.map((name) => cell(unit, medians[name]));
    console.log(`| ${title}, ${LABELS[unit]} | ${cells.join(' | ')} | ${ratio ?? ''} | ${fast ?? ''} |`);
  }
  console.log(`| RssAnon, MB | ${names.map((name) => Math.round(memory[name] / 1e6)).join(' | ')} | | |`);
}

function row(title, byServer) {
  const { unit, less } = CASES[title];
  const medians = {};
  for (const [name, results] of Object.entries(byServer)) {
    const good = results.filter((result) => result.failed === undefined);
    if (good.length === 0) continue;
    const of = (figure) => median(good.map((result) => result[figure] ?? 0));
    medians[name] = { value: of(unit), p99: of('p99'), errors: of('errors') };
  }
  const peers = Object.keys(medians).filter((name) => !name.startsWith('gos3rve') && !SERVERS[name].plain);
  const ratioOf = (name) => {
    if (!medians[name] || peers.length === 0) return undefined;
    const values = peers.map((peer) => medians[peer].value);
    const ratio = less ? Math.min(...values) / medians[name].value : medians[name].value / Math.max(...values);
    return Number(ratio.toFixed(2));
  };
  return { title, unit, medians, ratio: ratioOf('gos3rve'), fast: ratioOf('gos3rve-fast') };
}

function cell(unit, figure) {
  if (!figure) return '';
  const tail = figure.p99 > 0 ? ` (p99 ${figure.p99.toFixed(1)} ms)` : '';
  return `${Math.round(figure.value)}${tail}${figure.errors > 0 ? ` ${figure.errors} errors` : ''}`;
}
