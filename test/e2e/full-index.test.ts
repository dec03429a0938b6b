/** A disk without room for an index: nothing ends the server, what is there is read from the tree, and all goes on once there is room. */
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { canMount } from './disk.js';
import { FullDisk, type Kind } from './full.js';
import { BINARY, run, serve, type Server } from './harness.js';
import { send, type RawResponse } from './raw.js';

const KEYS = ['a', 'dir/b', 'dir/c'];
const MOUNTS = canMount();

let disk: FullDisk | undefined;
let server: Server | undefined;
afterEach(async () => {
  await server?.kill();
  server = undefined;
  disk?.remove();
  disk = undefined;
});

function made(kind: Kind): FullDisk {
  disk = new FullDisk(kind, kind === 'ext4' ? 24 : 8);
  for (const key of KEYS) {
    fs.mkdirSync(path.join(disk.root, 'box', path.dirname(key)), { recursive: true });
    fs.writeFileSync(path.join(disk.root, 'box', key), `bytes of ${key}`);
  }
  return disk;
}

const started = async ({ root }: FullDisk): Promise<Server> =>
  (server = await serve(root, { args: ['--min-free', '0'] }));
const call = async (method: string, key: string, body = ''): Promise<RawResponse> =>
  send(server?.port ?? 0, { method, target: `/box/${key}`, body });

async function reads(keys = KEYS): Promise<void> {
  const listed = await call('GET', '?list-type=2');
  expect([listed.status, ...listed.body.matchAll(/<Key>(.*?)<\/Key>/g)].map(String)).toEqual([
    '200',
    ...keys.map((key) => `<Key>${key}</Key>,${key}`),
  ]);
  for (const key of keys) expect((await call('GET', key)).body).toBe(`bytes of ${key}`);
  expect((await call('HEAD', 'a')).status).toBe(200);
  expect((await send(server?.port ?? 0, { method: 'GET', target: '/' })).body).toContain('<Name>box</Name>');
}

/** Room that was just made is noticed within a moment. */
async function goesOn({ root }: FullDisk): Promise<void> {
  disk?.empty();
  await expect.poll(async () => (await call('PUT', 'new', 'v')).status, { timeout: 20_000 }).toBe(200);
  await expect.poll(async () => (await call('DELETE', 'new')).status, { timeout: 20_000 }).toBe(204);
  await reads();
  expect(await server?.stop()).toBe(0);
  expect(fs.readdirSync(path.join(root, '.gos3rve/index')).sort()).toEqual(
    ['closed', 'gate', 'gate-lock', 'v3.mdb', 'v3.mdb-lock'].sort(),
  );
}

describe.skipIf(!MOUNTS)('a first start (needs root: tmpfs, ext4 in a file)', () => {
  it.each<[Kind, number]>([
    ['tmpfs', 8],
    ['tmpfs', 16],
    ['tmpfs', 32],
    ['tmpfs', 64],
    ['tmpfs', 128],
    ['tmpfs', 160],
    ['ext4', 64],
  ])('on %s with %i KiB free reads from the tree', { timeout: 60_000 }, async (kind, free) => {
    const full = made(kind);
    full.fill(free << 10);
    await started(full);
    await reads();
    expect([204, 507]).toContain((await call('DELETE', 'none')).status);
    expect((await call('PUT', 'large', 'x'.repeat(1 << 20))).status).toBe(507);
    expect(server?.alive()).toBe(true);
    await goesOn(full);
  });

  it.each<Kind>(['tmpfs', 'ext4'])('on %s without a free block is refused in one line, or reads', async (kind) => {
    const full = made(kind);
    full.fill();
    const refused = await run(process.execPath, [BINARY, 'ls', 'box', '--root', full.root], { mayFail: true });
    if (refused.code !== 0) expect(refused.stderr).toMatch(/^gos3rve: .*ENOSPC.*\n$/);
    const state = path.join(full.root, '.gos3rve');
    if (fs.existsSync(state)) expect(fs.readdirSync(state).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });
});

describe.skipIf(!MOUNTS).each<Kind>(['tmpfs', 'ext4'])(
  'an index that is lost on a full disk (needs root: %s)',
  (kind) => {
    const usual = async (): Promise<FullDisk> => {
      const full = made(kind);
      await started(full);
      for (const key of ['p1', 'p2', 'p3']) expect((await call('PUT', key, `bytes of ${key}`)).status).toBe(200);
      return full;
    };
    const all = [...KEYS, 'p1', 'p2', 'p3'];
    const index = ({ root }: FullDisk): string => path.join(root, '.gos3rve/index');

    it('is made anew in the room that is kept, when it is gone at a start', { timeout: 60_000 }, async () => {
      const full = await usual();
      await server?.stop();
      fs.rmSync(index(full), { recursive: true });
      full.fill();
      const listed = await run(process.execPath, [BINARY, 'ls', 'box', '--root', full.root], { mayFail: true });
      expect([listed.code, listed.stderr]).toEqual([0, '']);
      expect(listed.stdout).toContain('p3');
      await started(full);
      await reads(all);
      for (const key of ['p1', 'p2', 'p3']) expect((await call('DELETE', key)).status).toBe(204);
      await reads();
      await goesOn(full);
    });

    it('is made anew under a running server', { timeout: 60_000 }, async () => {
      const full = await usual();
      // else it might use the room while it is being filled
      process.kill(server?.pid ?? 0, 'SIGSTOP');
      fs.rmSync(index(full), { recursive: true });
      full.fill();
      process.kill(server?.pid ?? 0, 'SIGCONT');
      await reads(all);
      for (const key of ['p1', 'p2', 'p3'])
        await expect.poll(async () => (await call('DELETE', key)).status, { timeout: 20_000 }).toBe(204);
      await reads();
      await goesOn(full);
    });

    it('does without one where not even that is left', { timeout: 60_000 }, async () => {
      const full = await usual();
      await server?.kill();
      for (const name of fs.readdirSync(index(full))) fs.rmSync(path.join(index(full), name));
      fs.rmSync(path.join(full.root, '.gos3rve/reserve'));
      full.fill();
      await started(full);
      await reads(all);
      expect((await call('DELETE', 'p1')).status).toBe(507);
      expect((await call('GET', 'p1')).body).toBe('bytes of p1');
      full.empty();
      for (const key of ['p1', 'p2', 'p3'])
        await expect.poll(async () => (await call('DELETE', key)).status, { timeout: 20_000 }).toBe(204);
    });

    it('takes the room of the one that was set aside after a power cut', { timeout: 60_000 }, async () => {
      const full = await usual();
      await server?.kill();
      const mark = fs.readdirSync(index(full)).find((name) => name.startsWith('open-')) ?? '';
      fs.writeFileSync(path.join(index(full), mark), 'another-boot v3');
      full.fill();
      await started(full);
      await reads(all);
      for (const key of ['p1', 'p2', 'p3']) expect((await call('DELETE', key)).status).toBe(204);
      expect(server?.output()).not.toContain('another server may hold this directory');
    });
  },
);

it.skipIf(!MOUNTS)(
  'a disk that is filled again and again: LMDB never comes upon it (needs root: tmpfs)',
  { timeout: 60_000 },
  async () => {
    const full = new FullDisk('tmpfs', 16);
    disk = full;
    const folder = path.join(full.root, 'box/d');
    fs.mkdirSync(folder, { recursive: true });
    for (let i = 0; i < 1500; i++) fs.writeFileSync(path.join(folder, `f${i}`), `bytes of ${i}`);
    await started(full);
    const said: Record<string, string> = {};
    for (let i = 0; i < 10; i++) said[`x-amz-meta-${i}`] = 'said '.repeat(30);
    for (let round = 0; round < 12; round++) {
      full.fill((round % 3) * 12_288);
      for (let i = round; i < 1500; i += 60) {
        const target = `/box/d/f${i}`;
        expect((await send(server?.port ?? 0, { method: 'HEAD', target })).status).toBe(200);
        const put = await send(server?.port ?? 0, { method: 'PUT', target, body: `new ${i}`, headers: said });
        expect([200, 507]).toContain(put.status);
        const got = await send(server?.port ?? 0, { method: 'GET', target });
        expect(put.status === 200 ? [`new ${i}`] : [`bytes of ${i}`, `new ${i}`]).toContain(got.body);
      }
    }
    full.fill();
    for (let i = 30; i < 1500; i += 60)
      for (let near = i; near < i + 30; near++)
        expect((await send(server?.port ?? 0, { method: 'HEAD', target: `/box/d/f${near}` })).status).toBe(200);
    expect(server?.alive()).toBe(true);
    // once, however many files it keeps from being noted
    expect(server?.output().match(/could not be noted|could not be looked up/g)?.length).toBe(1);
    // so it says of each write that finds no room, and spoils the heap by it
    expect(server?.output()).not.toContain('Write error');
    disk.empty();
    await expect.poll(async () => (await call('PUT', 'new', 'v')).status, { timeout: 20_000 }).toBe(200);
    expect(await server?.stop()).toBe(0);
  },
);
