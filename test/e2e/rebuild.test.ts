/** The index lost, cut, damaged or of another version: made anew while the server answers, and everything is as it was (DESIGN rule 2). */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { serve, type Server } from './harness.js';
import { ask, furnish, hashed, indexOf, lengthen, look } from './rebuild.js';

let root = '';
let before: unknown;
let server: Server | undefined;

beforeAll(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-rebuild-'));
  await furnish(root);
  lengthen(root, 20_000);
  fs.rmSync(indexOf(root));
  server = await serve(root);
  before = await look(server);
  await server.stop();
}, 60_000);
afterEach(async () => {
  await server?.stop();
});
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

function spoil(change: (bytes: Buffer) => Buffer | undefined): void {
  const bytes = fs.readFileSync(indexOf(root));
  const { atime, mtime } = fs.statSync(indexOf(root));
  fs.writeFileSync(indexOf(root), change(bytes) ?? bytes);
  fs.utimesSync(indexOf(root), atime, mtime);
}

const DAMAGES: [string, () => void][] = [
  ['deleted', () => fs.rmSync(path.dirname(indexOf(root)), { recursive: true })],
  ['cut in the middle', () => spoil((bytes) => bytes.subarray(0, bytes.length / 2))],
  ['empty', () => spoil(() => Buffer.alloc(0))],
  [
    'full of flipped bytes',
    () =>
      spoil((bytes) => {
        for (let at = 4096; at < bytes.length; at += 9973) bytes[at] = (bytes[at] ?? 0) ^ 0xff;
        return undefined;
      }),
  ],
  ['of a newer version', () => fs.renameSync(indexOf(root), path.join(path.dirname(indexOf(root)), 'v9.mdb'))],
  [
    'of a newer version under our name',
    () =>
      spoil((bytes) => {
        // version of the data format, behind LMDB's magic number
        for (const page of [0, 8192]) bytes.writeUInt32LE(7, page + 28);
        return undefined;
      }),
  ],
];

describe('a server whose index is', () => {
  it.each(DAMAGES)('%s', { timeout: 60_000 }, async (_what, damage) => {
    const known = hashed(root);
    damage();
    const started = await serve(root);
    server = started;
    const [get, head, list, put] = await Promise.all([
      ask(server, 'GET', '/photos/d0/k0'),
      ask(server, 'HEAD', '/photos/d1/k1'),
      ask(server, 'GET', '/photos?list-type=2'),
      ask(server, 'PUT', '/photos/new', { body: 'new' }),
    ]);
    expect([get.status, get.body, head.status, list.status, put.status]).toEqual([200, 'body 0', 200, 200, 200]);
    expect(list.body.match(/<Key>(?!new<)/g)).toHaveLength(60);
    expect((await ask(server, 'DELETE', '/photos/new')).status).toBe(204);
    expect(await look(server)).toEqual(before);
    expect(hashed(root)).toBe(known);
    expect(await server.stop()).toBe(0);
    expect(started.output()).not.toMatch(/"level":"error"/);
  });

  it('deleted while it serves', { timeout: 60_000 }, async () => {
    const known = hashed(root);
    server = await serve(root);
    expect(await look(server)).toEqual(before);
    fs.rmSync(path.dirname(indexOf(root)), { recursive: true });
    expect(await look(server)).toEqual(before);
    expect(hashed(root)).toBe(known);
  });
});
