/** A root whose disk is taken away, comes back, or is another one (DESIGN rule 6): with the real server and real mounts. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Disk, canMount } from './disk.js';
import { BINARY, run, serve, type Server } from './harness.js';
import { send, type RawRequest, type RawResponse } from './raw.js';

const MOUNTS = canMount();
const WAIT = { timeout: 30_000, interval: 100 };
/** So small a disk has less free than the default asks for. */
const ARGS = ['--min-free', '0'];

let base = '';
let point = '';
let state = '';
let disk: Disk;
let server: Server | undefined;
let env: Record<string, string> = {};

const at = (...names: string[]): string => path.join(point, ...names);

async function start(...args: string[]): Promise<Server> {
  server = await serve(point, { args: [...ARGS, ...args], env });
  return server;
}

/** Takes all room there is. */
function fill(file: string): void {
  for (const size of [1 << 20, 4096, 1]) {
    try {
      for (;;) fs.appendFileSync(file, Buffer.alloc(size));
    } catch (error) {
      expect(error).toMatchObject({ code: 'ENOSPC' });
    }
  }
}

function ask(method: string, target: string, more: Partial<RawRequest> = {}): Promise<RawResponse> {
  return send(server?.port ?? 0, { method, target, ...more });
}

/** All that clients can see of the bucket. */
async function look(): Promise<unknown> {
  const list = await ask('GET', '/photos?list-type=2');
  const keys = [...list.body.matchAll(/<Key>([^<]*)<\/Key>|<ETag>([^<]*)<\/ETag>/g)].map((match) => match[0]);
  const { status, headers } = await ask('HEAD', '/photos/a');
  const tags = await ask('GET', '/photos/a?tagging');
  return [list.status, keys, status, headers.etag, headers['x-amz-meta-color'], tags.body];
}

async function gone(): Promise<void> {
  const asked: [string, string][] = [
    ['GET', '/'],
    ['HEAD', '/photos'],
    ['GET', '/photos?list-type=2'],
    ['GET', '/photos/a'],
    ['HEAD', '/photos/a'],
    ['PUT', '/photos/new'],
    ['DELETE', '/photos/a'],
    ['POST', '/photos/new?uploads'],
    ['PUT', '/bucket'],
    ['DELETE', '/photos'],
    ['GET', '/photos?cors'],
  ];
  for (const [method, target] of asked) {
    const { status, code, body } = await ask(method, target);
    expect([method, target, status]).toEqual([method, target, 503]);
    if (method === 'HEAD') continue;
    expect(code).toBe('ServiceUnavailable');
    expect(body).toContain(point);
  }
  expect((await ask('GET', '/.gos3rve/health')).status).toBe(503);
}

async function back(before: unknown): Promise<void> {
  await expect.poll(async () => (await ask('HEAD', '/photos/a')).status, WAIT).toBe(200);
  await expect.poll(async () => (await ask('PUT', '/photos/again', { body: 'again' })).status, WAIT).toBe(200);
  expect((await ask('DELETE', '/photos/again')).status).toBe(204);
  expect(await look()).toEqual(before);
}

beforeEach(() => {
  base = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-vanished-'));
  point = path.join(fs.realpathSync(base), 'point');
  state = path.join(base, 'state');
  fs.mkdirSync(point);
  env = { XDG_STATE_HOME: path.join(base, 'registry') };
});
afterEach(async () => {
  await server?.stop();
  server = undefined;
  try {
    Disk.pull(point);
  } catch {
    // not mounted
  }
  fs.rmSync(base, { recursive: true, force: true });
});

describe.skipIf(!MOUNTS)('a root on a disk (needs root: loop devices)', { timeout: 120_000 }, () => {
  beforeEach(() => {
    disk = new Disk(base, 'disk');
    disk.mount(point);
    fs.mkdirSync(at('photos'));
    fs.writeFileSync(at('photos/foreign'), 'by others');
  });

  async function furnish(): Promise<unknown> {
    const headers = { 'x-amz-meta-color': 'blue', 'x-amz-tagging': 'a=b' };
    expect((await ask('PUT', '/photos/a', { body: 'bytes', headers })).status).toBe(200);
    return look();
  }

  async function command(...args: string[]): Promise<string> {
    const { code, stderr } = await run(process.execPath, [BINARY, ...args], { env, mayFail: true });
    expect(code).toBe(1);
    expect(stderr.trim()).not.toContain('\n');
    return stderr;
  }

  it('answers 503 while it is away, lets go of the disk, touches nothing, and goes on when it is back', async () => {
    const started = await start();
    const { pid } = started;
    const before = await furnish();
    Disk.pull(point);
    await gone();
    await expect.poll(() => disk.busy, WAIT).toBe(false);
    expect(started.output()).toContain('has vanished');
    for (const args of [
      ['gc', point],
      ['verify', '--root', point],
      ['ls', '--root', point],
      ['rm', '--root', point, 'photos/a'],
    ])
      expect(await command(...args)).toContain(`${point} is empty`);
    // longer than a heartbeat of server.json
    await new Promise((resolve) => setTimeout(resolve, 6000));
    await gone();
    expect(fs.readdirSync(point)).toEqual([]);
    // another device number than before
    const other = path.join(base, 'other');
    fs.mkdirSync(other);
    new Disk(base, 'other', 8 << 20).mount(other);
    try {
      disk.mount(point);
      await back(before);
    } finally {
      Disk.pull(other);
    }
    expect(server?.pid).toBe(pid);
    expect(started.output()).not.toMatch(/taken over|a bug/);
    // watched again
    fs.writeFileSync(at('photos/late'), 'late');
    expect((await ask('GET', '/photos/late')).body).toBe('late');
    expect(await server?.stop()).toBe(0);
    expect(fs.existsSync(at('.gos3rve/server.json'))).toBe(false);
    expect(fs.readFileSync(at('photos/a'), 'utf8')).toBe('bytes');
  });

  it('stops in order while it is away', async () => {
    await start();
    await furnish();
    Disk.pull(point);
    await gone();
    expect(await server?.stop()).toBe(0);
    expect(fs.readdirSync(point)).toEqual([]);
  });

  it('is not taken for a new root at a start without it; removing the entry is the way out', async () => {
    await start();
    await furnish();
    await server?.stop();
    Disk.pull(point);
    const message = await command('serve', point, '--port', '0');
    expect(message).toContain('is its disk mounted?');
    expect(fs.readdirSync(point)).toEqual([]);
    const entry = /remove (\S+\.json)/.exec(message)?.[1] ?? '';
    fs.rmSync(entry);
    await start();
    expect((await ask('PUT', '/fresh')).status).toBe(200);
  });

  it('goes on when it comes back with room, though it was so full at the start that the server could not say who it is', async () => {
    await start();
    const before = await furnish();
    await server?.stop();
    // as on a disk without room: the block that it has would be free for the record
    const closed = at('.gos3rve/index/closed');
    const note = fs.readFileSync(closed, 'utf8');
    fs.rmSync(closed);
    fs.symlinkSync(note, closed);
    // so would what is kept for it
    fs.rmSync(at('.gos3rve/reserve'));
    fill(at('filler'));
    const started = await start();
    await expect.poll(() => started.output(), WAIT).toContain('no room left on the disk');
    Disk.pull(point);
    await gone();
    await expect.poll(() => disk.busy, WAIT).toBe(false);
    disk.mount(point);
    fs.rmSync(at('filler'));
    await back(before);
    expect(started.output()).not.toContain('taken this directory over');
    // the heartbeat tells where it is
    await expect.poll(() => fs.readFileSync(at('.gos3rve/server.json'), 'utf8'), WAIT).toContain(started.url);
    expect(await server?.stop()).toBe(0);
    expect(fs.existsSync(at('.gos3rve/server.json'))).toBe(false);
  });

  it('with its state elsewhere does not take another disk for its own, neither while it serves nor at a start', async () => {
    await start('--state-dir', state);
    const before = await furnish();
    Disk.pull(point);
    await gone();
    const strange = new Disk(base, 'strange');
    const bytes = (): string[] => fs.readdirSync(point, { recursive: true }).map(String).sort();
    strange.mount(point);
    fs.mkdirSync(at('photos'));
    fs.writeFileSync(at('photos/a'), 'other bytes');
    const there = bytes();
    await gone();
    expect(bytes()).toEqual(there);
    // one that is a root itself
    fs.mkdirSync(at('.gos3rve'));
    fs.writeFileSync(at('.gos3rve/root.json'), '{"id":"0123"}');
    await gone();
    Disk.pull(point);
    disk.mount(point);
    await back(before);
    await server?.stop();
    Disk.pull(point);
    const tries: string[][] = [
      ['serve', point, '--state-dir', state, '--port', '0'],
      ['gc', point, '--state-dir', state],
      ['verify', '--root', point, '--state-dir', state],
    ];
    fs.rmSync(path.join(base, 'registry'), { recursive: true });
    for (const args of tries) expect(await command(...args)).toContain('is its disk mounted?');
    strange.mount(point);
    for (const args of tries) expect(await command(...args)).toContain(point);
    expect(bytes()).toContain('photos/a');
    Disk.pull(point);
    disk.mount(point);
    await start('--state-dir', state);
    expect(await look()).toEqual(before);
  });
});
