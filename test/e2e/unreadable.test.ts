/** A server whose user may not read everything in the tree: what it cannot read is told so, the rest works. */
import { spawnSync } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Server } from './harness.js';
import { BINARY, run, serve } from './harness.js';
import type { RawResponse } from './raw.js';
import { send } from './raw.js';

/** Root may read everything, so there the server runs as nobody; anyone else is kept out by the mode 000. */
const ROOT = process.getuid?.() === 0;
const NOBODY = { uid: 65534, gid: 65534 };
const reason = whyNot();

function whyNot(): string | undefined {
  if (process.platform === 'win32') return 'modes mean nothing on Windows';
  if (!ROOT) return undefined;
  const tried = spawnSync(process.execPath, ['-e', `require('fs').readFileSync(${JSON.stringify(BINARY)})`], NOBODY);
  return tried.status === 0 ? undefined : 'nobody may not read this clone';
}

describe.skipIf(reason !== undefined)(`folders that the server may not read${reason ? `: ${reason}` : ''}`, () => {
  let base: string;
  let server: Server;
  const at = (...names: string[]): string => path.join(base, 'root', ...names);
  const call = (method: string, target: string, body = ''): Promise<RawResponse> =>
    send(server.port, { method, target, body });
  const brief = async (answer: Promise<RawResponse>): Promise<unknown[]> => {
    const { status, code } = await answer;
    return [status, code];
  };
  const closed = ['closed', 'open/closed', 'open/closed.txt'];

  /** May be read, but not searched: its names are known and nothing else. */
  const names = 'open/names';

  beforeAll(async () => {
    base = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-e2e-'));
    await mkdir(at('closed'), { recursive: true });
    await mkdir(at('open', 'closed'), { recursive: true });
    for (const name of ['closed/a.txt', 'open/a.txt', 'open/closed/a.txt', 'open/closed.txt', 'open/z.txt']) {
      await writeFile(at(name), name);
    }
    await mkdir(at(names, 'deeper'), { recursive: true });
    await writeFile(at(names, 'a.txt'), 'names');
    await symlink('closed/a.txt', at('open', 'link'));
    await symlink('names/a.txt', at('open', 'other'));
    if (ROOT) {
      await chown(base, NOBODY.uid, NOBODY.gid);
      await chown(at(), NOBODY.uid, NOBODY.gid);
      await chown(at('open'), NOBODY.uid, NOBODY.gid);
    }
    for (const name of closed) await chmod(at(name), ROOT ? 0o700 : 0);
    await chmod(at(names), ROOT ? 0o744 : 0o444);
    server = await serve(at(), ROOT ? { user: NOBODY } : {});
  });
  afterAll(async () => {
    await server.stop();
    await chmod(at(names), 0o700);
    for (const name of closed) await chmod(at(name), 0o700);
    await rm(base, { recursive: true, force: true });
  });

  it('runs as that user', async () => {
    if (!ROOT) return;
    expect(await readFile(`/proc/${server.pid}/status`, 'utf8')).toMatch(/^Uid:\s+65534\s+65534/m);
  });

  it('ListBuckets lists the folder', async () => {
    const { status, body } = await call('GET', '/');
    expect([status, [...body.matchAll(/<Name>([^<]*)/g)].map((found) => found[1])]).toEqual([200, ['closed', 'open']]);
  });

  it('its content is refused with 403', async () => {
    expect(await brief(call('GET', '/closed?list-type=2'))).toEqual([403, 'AccessDenied']);
    expect(await brief(call('GET', '/closed/a.txt'))).toEqual([403, 'AccessDenied']);
    expect(await brief(call('HEAD', '/closed/a.txt'))).toEqual([403, undefined]);
    expect(await brief(call('PUT', '/closed/a.txt', 'new'))).toEqual([403, 'AccessDenied']);
    expect(await brief(call('PUT', '/closed/new.txt', 'new'))).toEqual([403, 'AccessDenied']);
    expect(await brief(call('DELETE', '/closed/a.txt'))).toEqual([403, 'AccessDenied']);
    expect((await call('DELETE', '/closed')).status).toBeGreaterThanOrEqual(403);
    if (ROOT) expect(await readFile(at('closed', 'a.txt'), 'utf8')).toBe('closed/a.txt');
  });

  it('so is what is closed in an open bucket; the rest of it works', async () => {
    expect(await brief(call('GET', '/open/closed.txt'))).toEqual([403, 'AccessDenied']);
    expect(await brief(call('GET', '/open/closed/a.txt'))).toEqual([403, 'AccessDenied']);
    const { status, body } = await call('GET', '/open?list-type=2');
    expect([status, [...body.matchAll(/<Key>([^<]*)/g)].map((found) => found[1])]).toEqual([
      200,
      ['a.txt', 'closed.txt', 'z.txt'],
    ]);
    expect(await brief(call('GET', '/open/names/a.txt'))).toEqual([403, 'AccessDenied']);
    expect(await brief(call('GET', '/open/link'))).toEqual([403, 'AccessDenied']);
    await call('GET', '/open?list-type=2');
    // told once each, by whoever came upon it first: the scan or the listing
    expect(server.output().match(/may not be (searched|read)|cannot be read/g)?.length).toBeGreaterThanOrEqual(2);
    expect(server.output()).not.toContain('cannot be looked at');
    expect((await call('GET', '/open/a.txt')).body).toBe('open/a.txt');
    expect(await brief(call('PUT', '/open/deep/b.txt', 'b'))).toEqual([200, undefined]);
    expect(await readFile(at('open', 'deep', 'b.txt'), 'utf8')).toBe('b');
    expect(await brief(call('DELETE', '/open/deep/b.txt'))).toEqual([204, undefined]);
    expect(server.alive()).toBe(true);
  });

  it('verify tells what it cannot read, and reads the rest', async () => {
    expect(await brief(call('PUT', '/open/later/a.txt', 'later'))).toEqual([200, undefined]);
    expect(await brief(call('PUT', '/open/now.txt', 'now'))).toEqual([200, undefined]);
    if (ROOT) await chown(at('open', 'later'), 0, 0);
    await chmod(at('open', 'later'), ROOT ? 0o700 : 0);
    try {
      const args = [BINARY, 'verify', 'open/', '--root', at(), '--json'];
      const { code, stdout } = await run(process.execPath, args, { mayFail: true, ...(ROOT && { user: NOBODY }) });
      expect(stdout).toContain('open/later/a.txt');
      expect(stdout).toContain('EACCES');
      expect(stdout.match(/"objects":(\d+)/)?.[1]).toMatch(/^([2-9]|\d\d)$/);
      expect(code).toBe(2);
    } finally {
      await chmod(at('open', 'later'), 0o700);
    }
  });

  it('verify tells of folders that were never read', async () => {
    const verify = (...args: string[]): ReturnType<typeof run> =>
      run(process.execPath, [BINARY, 'verify', ...args, '--root', at()], {
        mayFail: true,
        ...(ROOT && { user: NOBODY }),
      });
    const { code, stdout } = await verify();
    for (const folder of ['closed/', 'open/closed/', 'open/names/'])
      expect(stdout).toContain(`unreadable  ${folder}: the system answers EACCES\n`);
    expect(stdout).toMatch(/[34] folders UNREADABLE/);
    expect(code).toBe(2);
    const part = await verify('open/names/');
    expect([part.code, part.stdout]).toEqual([2, expect.stringContaining('one folder UNREADABLE')]);
    const rest = await verify('open/z');
    expect([rest.code, rest.stdout]).toEqual([0, expect.not.stringContaining('UNREADABLE')]);
  });
});
