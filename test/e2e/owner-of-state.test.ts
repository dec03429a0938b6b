/** root's cron and root's server work on a root that is somebody else's: what they leave under `.gos3rve` is his, and he goes on with it. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore } from '../../src/store/open.js';
import { body } from '../suites/store/kit.js';
import { BINARY, run, serve, type RunResult, type Server } from './harness.js';
import { send } from './raw.js';

const ROOT = process.platform === 'linux' && process.getuid?.() === 0;
const OWNER = { uid: 1000, gid: 1000 };
/** A new format has a new name. */
const INDEX = 'v3.mdb';

describe.skipIf(!ROOT)('a root that belongs to another user (needs root)', () => {
  let base: string;
  let root: string;
  let server: Server | undefined;
  let umask: number;
  beforeEach(() => {
    umask = process.umask(0o077);
    base = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-owner-'));
    root = path.join(base, 'root');
    fs.mkdirSync(path.join(root, 'box'), { recursive: true });
    execFileSync('chown', ['-R', `${OWNER.uid}:${OWNER.gid}`, base]);
  });
  afterEach(async () => {
    await server?.kill();
    server = undefined;
    process.umask(umask);
    fs.rmSync(base, { recursive: true });
  });
  const state = (...names: string[]): string => path.join(root, '.gos3rve', ...names);
  const command = (args: string[], user?: typeof OWNER): Promise<RunResult> =>
    run(process.execPath, [BINARY, ...args], {
      mayFail: true,
      env: { HOME: base, XDG_STATE_HOME: path.join(base, 'xdg') },
      ...(user && { user }),
    });
  /** What is not the owner's. */
  const foreign = (): string[] =>
    fs
      .readdirSync(state(), { recursive: true, encoding: 'utf8' })
      .filter((name) => fs.lstatSync(state(name)).uid !== OWNER.uid);

  it('has nothing of root under .gos3rve, whatever root does in it', async () => {
    const store = await openStore(root);
    await store.createBucket('made', {});
    await store.put('box', 'k', body('1'));
    await store.put('box', 'a//b', body('overflow'));
    await store.copy({ bucket: 'box', key: 'k' }, { bucket: 'box', key: 'c//d' });
    await store.append('box', 'e//f', 0, body('appended'));
    await store.append('box', 'e//f', 8, body('more'));
    const { uploadId } = await store.createUpload('box', 'm', {});
    await store.putPart('box', 'm', uploadId, 1, body('part'));
    await store.delete('box', 'k');
    const other = await openStore(root);
    await other.list('box', { prefix: '', delimiter: '', after: '', max: 10 });
    const names = fs.readdirSync(state(), { recursive: true, encoding: 'utf8' });
    for (const name of ['clock', 'reserve', `index/${INDEX}`, `index/${INDEX}-lock`, `index/gate`, `index/gate-lock`])
      expect(names).toContain(name);
    expect(foreign()).toEqual([]);
    await other.close();
    await store.close();
    expect(fs.existsSync(state('index/closed'))).toBe(true);
    expect(foreign()).toEqual([]);
  });

  it('keeps its index after a gc by root, also beside a server of root', async () => {
    expect((await command(['ls', 'box', '--root', root], OWNER)).code).toBe(0);
    const { ino } = fs.statSync(state('index', INDEX));
    expect((await command(['gc', root])).code).toBe(0);
    expect(await command(['ls', 'box', '--root', root], OWNER)).toMatchObject({ code: 0, stderr: '' });
    server = await serve(root);
    expect((await send(server.port, { method: 'PUT', target: '/box/k', body: 'v' })).status).toBe(200);
    const beside = await command(['ls', 'box', '--root', root], OWNER);
    expect(beside).toMatchObject({ code: 0, stderr: '' });
    expect(beside.stdout).toContain('k');
    expect(await command(['ls', 'box', '--root', root])).toMatchObject({ code: 0, stderr: '' });
    expect((await send(server.port, { method: 'PUT', target: '/box/l', body: 'v' })).status).toBe(200);
    expect(foreign()).toEqual([]);
    await server.stop();
    expect(foreign()).toEqual([]);
    expect(fs.statSync(state('index', INDEX)).ino).toBe(ino);
    expect(await command(['ls', 'box', '--root', root], OWNER)).toMatchObject({ code: 0, stderr: '' });
  });

  it.each([INDEX, `${INDEX}-lock`, 'closed'])(
    'says whose %s is in the way, and leaves the index alone',
    async (name) => {
      await command(['ls', 'box', '--root', root], OWNER);
      const before = fs.readdirSync(state('index'));
      fs.chownSync(state('index', name), 0, 0);
      fs.chmodSync(state('index', name), 0o600);
      const { code, stderr } = await command(['ls', 'box', '--root', root], OWNER);
      expect(code).toBe(1);
      expect(stderr).toMatch(new RegExp(`index/${name} .*chown`));
      expect(stderr.trim().split('\n')).toHaveLength(1);
      expect(fs.readdirSync(state('index'))).toEqual(before);
      // root mends it by using it
      expect((await command(['gc', root])).code).toBe(0);
      expect(await command(['ls', 'box', '--root', root], OWNER)).toMatchObject({ code: 0, stderr: '' });
    },
  );

  it.each([0o500, 0o400, 0])('goes on with an index whose folder has lost its rights: %o', async (mode) => {
    server = await serve(root, { user: OWNER });
    fs.chmodSync(state('index'), mode);
    expect((await send(server.port, { method: 'PUT', target: '/box/k', body: 'v' })).status).toBe(200);
    expect(await server.stop()).toBe(0);
    expect(server.output()).not.toContain('EACCES');
    fs.chmodSync(state('index'), mode);
    expect(await command(['ls', 'box', '--root', root], OWNER)).toMatchObject({ code: 0, stderr: '' });
  });

  it('says whose folder of the index is in the way', async () => {
    await command(['ls', 'box', '--root', root], OWNER);
    fs.chownSync(state('index'), 0, 0);
    fs.chmodSync(state('index'), 0o700);
    const { code, stderr } = await command(['ls', 'box', '--root', root], OWNER);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^gos3rve: \S+index belongs to another user .*chown.*\n$/);
  });
});
