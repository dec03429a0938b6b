/** What the tests of a lost index share: a root with objects of all kinds and a journal that is as long as wanted. */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { encodeLine } from '../../src/catalog/journal.js';
import { decodeLine, listSegments } from '../../src/catalog/segments.js';
import { serve, type Server } from './harness.js';
import { send, type RawRequest, type RawResponse } from './raw.js';

/** Its name bears the version of its form. */
export function indexOf(root: string): string {
  const directory = path.join(root, '.gos3rve/index');
  const name = fs.readdirSync(directory).find((one) => /^v\d+\.mdb$/.test(one));
  return path.join(directory, name ?? 'none');
}

const journalOf = (root: string): string => path.join(root, '.gos3rve/journal');

export function ask(
  server: Server,
  method: string,
  target: string,
  { ms, ...more }: Partial<RawRequest> & { ms?: number } = {},
): Promise<RawResponse> {
  return send(server.port, { method, target, ...more }, ms === undefined ? {} : { ms });
}

/** 30 objects put with metadata and tags, 30 files of others, hashed. */
export async function furnish(root: string): Promise<void> {
  fs.mkdirSync(path.join(root, 'photos/foreign'), { recursive: true });
  for (let n = 0; n < 30; n++) fs.writeFileSync(path.join(root, `photos/foreign/f${n}`), `foreign ${n}`);
  const server = await serve(root);
  for (let n = 0; n < 30; n++) {
    const headers = { 'x-amz-meta-n': String(n), 'x-amz-tagging': `n=${n}`, 'content-type': 'text/x-own' };
    const { status } = await ask(server, 'PUT', `/photos/d${n % 3}/k${n}`, { body: `body ${n}`, headers });
    expect(status).toBe(200);
  }
  await look(server);
  expect(await server.stop()).toBe(0);
}

/** All that clients can see. */
export async function look(server: Server): Promise<unknown> {
  const { body } = await ask(server, 'GET', '/photos?list-type=2');
  const seen: unknown[] = [body.replace(/<RequestId>.*?<\/RequestId>/, '')];
  for (const [, key = ''] of body.matchAll(/<Key>([^<]*)<\/Key>/g)) {
    const { status, headers, body: bytes } = await ask(server, 'GET', `/photos/${key}`);
    const tags = key.endsWith('7') ? (await ask(server, 'GET', `/photos/${key}?tagging`)).body : '';
    seen.push([key, status, bytes, headers.etag, headers['content-type'], headers['x-amz-meta-n'], tags]);
  }
  expect(seen).toHaveLength(61);
  return seen;
}

/** Adds lines about files that are no more. */
export function lengthen(root: string, lines: number): void {
  const journal = journalOf(root);
  const last = Math.max(...numbered(root));
  const fd = fs.openSync(path.join(journal, `29990101T000000000Z-${randomBytes(4).toString('hex')}.jsonl`), 'wx');
  const ctime = '1790000000000000000';
  for (let n = 0; n < lines;) {
    let text = '';
    for (let end = Math.min(lines, n + 10_000); n < end; n++) {
      const fp = `1:${n + 1e9}:0:0:0`;
      const path = `photos/gone/${n % 1000}/file-${n}`;
      text += encodeLine({ op: 'hash', seq: last + 1 + n, path, ctime, fp, etag: 'd41d8cd98f00b204e9800998ecf8427e' });
    }
    fs.writeSync(fd, text);
  }
  fs.closeSync(fd);
}

function numbered(root: string): number[] {
  return linesOf(root).flatMap((line) => ('seq' in line ? [line.seq] : []));
}

function linesOf(root: string): NonNullable<ReturnType<typeof decodeLine>>[] {
  return listSegments(journalOf(root))
    .filter((name) => !name.startsWith('2999'))
    .flatMap((name) => fs.readFileSync(path.join(journalOf(root), name), 'utf8').split('\n'))
    .flatMap((text) => decodeLine(text) ?? []);
}

/** Each file that is hashed has a line. */
export function hashed(root: string): number {
  return linesOf(root).filter(({ op }) => op === 'hash').length;
}
