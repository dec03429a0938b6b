/**
 * Another program adds, overwrites (also with the same size and mtime), truncates, renames, deletes, links and replaces files, folders and a bucket
 * while 32 clients read and list over HTTP. Each answer is held against what was there at some moment between request and answer: none may be older,
 * none mixed - with the watcher, with its events lost on purpose, and without.
 *
 * 8,000 GET and HEAD each; with GOS3RVE_FULL=1 100,000.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { bench, PROJECT, type ServeOptions } from '../e2e/harness.js';
import { Client, targetOf } from '../e2e/stream.js';
import { KEYS, bodyOf, wrong, type Change, type Sight } from './outside-checker.js';
import { FIXED, FOLDERS, SIDES, contentOf } from './outside-content.js';

const READS = process.env.GOS3RVE_FULL === '1' ? 100_000 : 8_000;
const CLIENTS = 32;
const WRITER = path.join(import.meta.dirname, 'outside.js');
const DEAF = path.join(import.meta.dirname, 'outside-deaf.js');
const MODES: Record<string, ServeOptions> = {
  'with the watcher': {},
  'with the watcher, by two workers': { workers: 2 },
  'with two of three events lost': { env: { NODE_OPTIONS: `--import ${DEAF}` } },
  'without events': { args: ['--watch', 'off', '--scan-interval', '0'] },
};

const now = (): number => Number(process.hrtime.bigint());

describe.skipIf(!existsSync(path.join(PROJECT, 'dist')))('while another program changes files', () => {
  it.each(Object.keys(MODES))('no answer is stale or mixed, %s', async (mode) => {
    const { args = [], ...rest } = MODES[mode] ?? {};
    const b = await bench({ ...rest, args: ['--log-level', 'error', ...args] }, furnish);
    try {
      const aside = path.join(b.base, 'aside');
      const log = path.join(b.base, 'log');
      await mkdir(aside);
      await writeFile(path.join(aside, 'secret'), 'secret');
      const writer = spawn(process.execPath, [WRITER, b.server.root, aside, log], {
        stdio: ['pipe', 'ignore', 'pipe'],
      });
      let errors = '';
      writer.stderr.on('data', (chunk) => (errors += String(chunk)));
      const ended = once(writer, 'close');
      const seen = await readAll(b.server.port);
      writer.stdin.end();
      const [code] = (await ended) as [number | null];
      expect([code, errors]).toEqual([0, '']);
      const changes = (await readFile(log, 'utf8'))
        .split('\n')
        .flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Change]));
      if (process.env.GOS3RVE_KEEP === '1') console.log(b.server.output().slice(0, 6000));
      console.log(mode, JSON.stringify({ changes: changes.length, sights: seen.sights.length, ...seen.counts }));
      expect(wrong(seen.sights, changes)).toEqual([]);
      expect(seen.counts.GET + seen.counts.HEAD).toBeGreaterThanOrEqual(READS);
      // cut connections and refusals are honest, but must stay rare
      const faults = Object.keys(seen.counts.refusals).filter((code) => /InternalError|500/.test(code));
      if (faults.length > 0) console.log(causes(b.server.output()));
      expect(faults).toEqual([]);
      expect(seen.counts.cut + seen.counts.refused).toBeLessThan(READS / 50);
      expect(changes.length).toBeGreaterThan(READS / 100);
      expect(b.server.alive()).toBe(true);
    } finally {
      await b.end();
    }
  });
});

/** Of the errors that the server told its operator, each once. */
function causes(output: string): string {
  const lines = output.split('\n').filter((line) => line.includes('"level":"error"'));
  return [...new Map(lines.map((line) => [/"error":"[^"]*"/.exec(line)?.[0], line])).values()].slice(0, 20).join('\n');
}

async function furnish(root: string): Promise<void> {
  for (const folder of [...FOLDERS, 'fixed']) await mkdir(path.join(root, 'box', folder), { recursive: true });
  await mkdir(path.join(root, SIDES[0] ?? ''));
  for (const file of FIXED) {
    for (const folder of ['box/fixed', SIDES[0] ?? '']) await writeFile(path.join(root, folder, file), contentOf(file));
  }
}

async function readAll(port: number): Promise<{
  sights: Sight[];
  counts: Record<'GET' | 'HEAD' | 'LIST' | 'cut' | 'refused', number> & { refusals: Record<string, number> };
}> {
  const s3 = new Client(port, CLIENTS);
  const sights: Sight[] = [];
  const counts = { GET: 0, HEAD: 0, LIST: 0, cut: 0, refused: 0, refusals: {} as Record<string, number> };
  const one = async (): Promise<void> => {
    const [bucket = '', key = ''] = KEYS[Math.floor(Math.random() * KEYS.length)] ?? [];
    const kind = Math.random();
    const how = kind < 0.1 ? 'LIST' : kind < 0.6 ? 'GET' : 'HEAD';
    const target = how === 'LIST' ? `/${bucket}?list-type=2` : targetOf(bucket, key);
    const begin = now();
    const answer = await s3.send({ method: how === 'HEAD' ? 'HEAD' : 'GET', target }).catch(() => undefined);
    const end = now();
    if (!answer) {
      counts.cut++;
      return;
    }
    counts[how]++;
    if (answer.status === 200 && how === 'LIST') sights.push(...listed(bucket, answer.body.toString(), begin, end));
    else if (answer.status === 200) {
      const etag = String(answer.headers.etag).replaceAll('"', '');
      const length = Number(answer.headers['content-length']);
      sights.push({
        bucket,
        key,
        begin,
        end,
        how,
        etag,
        length,
        ...(how === 'GET' && { version: bodyOf(answer.body, length, etag) }),
      });
    } else if (answer.status === 404 && how === 'LIST') sights.push(...listed(bucket, '', begin, end));
    else if (answer.status === 404) sights.push({ bucket, key, begin, end, how });
    else {
      counts.refused++;
      const code = /<Code>(\w+)</.exec(answer.body.toString())?.[1] ?? `${how} ${answer.status}`;
      counts.refusals[code] = (counts.refusals[code] ?? 0) + 1;
    }
  };
  await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      while (counts.GET + counts.HEAD < READS) await one();
    }),
  );
  s3.close();
  return { sights, counts };
}

/** All keys of the bucket as a listing shows them: also those that it does not. */
function listed(bucket: string, xml: string, begin: number, end: number): Sight[] {
  const shown = new Map<string, { etag: string; length: number }>();
  for (const [, entry = ''] of xml.matchAll(/<Contents>(.*?)<\/Contents>/gs)) {
    const [, key = ''] = /<Key>([^<]*)</.exec(entry) ?? [];
    const [, etag = ''] = /<ETag>(?:&quot;|")?([^<&"]*)/.exec(entry) ?? [];
    shown.set(key, { etag, length: Number(/<Size>(\d+)</.exec(entry)?.[1]) });
  }
  const sights = KEYS.filter(([of]) => of === bucket).map(([, key]): Sight => {
    const entry = shown.get(key);
    shown.delete(key);
    return { bucket, key, begin, end, how: 'LIST', ...entry };
  });
  return [...sights, ...[...shown].map(([key, entry]): Sight => ({ bucket, key, begin, end, how: 'LIST', ...entry }))];
}
