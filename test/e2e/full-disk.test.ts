/** A server that is started on a disk without one free block: it reads, lists and deletes, refuses uploads, and holds its root against others. */
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ACCESS_KEY, SECRET_KEY, run, serve, BINARY, type Server } from './harness.js';
import { send, type RawResponse } from './raw.js';

const MOUNTS = process.platform === 'linux' && process.getuid?.() === 0 && canMount();

function canMount(): boolean {
  try {
    execFileSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

describe.skipIf(!MOUNTS)('a start on a full disk (needs root, for mount)', () => {
  let root: string;
  let server: Server | undefined;
  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), 'gos3rve-full-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', root]);
    mkdirSync(path.join(root, 'box'));
  });
  afterEach(async () => {
    await server?.kill();
    execFileSync('umount', [root]);
    rmdirSync(root);
  });
  const options = (...args: string[]): { args: string[] } => ({ args: ['--min-free', '0', ...args] });
  const call = async (method: string, key: string, body = ''): Promise<RawResponse> =>
    send(server?.port ?? 0, { method, target: `/box/${key}`, body });
  const fill = (): void => {
    for (const size of [1 << 20, 4096, 1]) {
      try {
        for (;;) appendFileSync(path.join(root, 'filler'), Buffer.alloc(size));
      } catch (error) {
        expect(error).toMatchObject({ code: 'ENOSPC' });
      }
    }
  };
  const litter = (): string[] => readdirSync(path.join(root, '.gos3rve')).filter((name) => name.endsWith('.tmp'));

  it.each(['stop', 'kill'] as const)('works after a %s', async (how) => {
    server = await serve(root, options());
    for (let n = 0; n < 5; n++) expect((await call('PUT', `k${n}`, 'v'.repeat(3000))).status).toBe(200);
    await server[how]();
    fill();
    server = await serve(root, options('--read-only'));
    expect((await call('GET', 'k0')).body).toBe('v'.repeat(3000));
    await server.stop();
    server = await serve(root, options());
    expect(server.output()).not.toContain('"level":"error"');
    const args = [BINARY, 'serve', root, '--port', '0', '--access-key', ACCESS_KEY, '--secret-key', SECRET_KEY];
    const second = await run(process.execPath, args, { mayFail: true });
    expect(second).toMatchObject({ code: 1 });
    expect(second.stderr).toMatch(/this directory is served already/);
    fill();
    expect((await call('GET', '?list-type=2')).body).toMatch(/k0.*k4/s);
    expect((await call('PUT', 'new', 'x'.repeat(9000))).status).toBe(507);
    expect((await call('DELETE', 'k1')).status).toBe(204);
    expect(litter()).toEqual([]);
    await server.stop();
    expect(server.output()).not.toContain('the stop was not clean');
    unlinkSync(path.join(root, 'filler'));
    server = await serve(root, options());
    expect(server.output()).not.toContain('made anew');
    expect((await call('PUT', 'new', 'x')).status).toBe(200);
    expect((await call('GET', 'k1')).status).toBe(404);
    expect((await call('GET', 'k2')).body).toBe('v'.repeat(3000));
  });
});
