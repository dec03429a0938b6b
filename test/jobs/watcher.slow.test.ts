/**
 * The watcher of the built server in numbers: bursts, watches, memory, and what happens when the system gives no watches or loses events.
 * With GOS3RVE_FULL=1 there are 50,000 files, else 20,000: more than the kernel's queue of events holds.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore } from '../../src/store/open.js';
import { MiB, serve, type Server } from '../e2e/harness.js';

const FILES = process.env.GOS3RVE_FULL === '1' ? 50_000 : 20_000;
const MANY = FILES.toLocaleString('en');

let root: string;
let server: Server | undefined;
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'gos3rve-watch-')));
  mkdirSync(join(root, 'b'));
});
afterEach(async () => {
  await server?.stop();
  server = undefined;
  rmSync(root, { recursive: true, force: true });
});

/** inotify watches of a process: the kernel lists each (proc(5), fdinfo). */
function watches(pid: number): number {
  let found = 0;
  for (const fd of readdirSync(`/proc/${pid}/fdinfo`)) {
    try {
      found += readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8').match(/^inotify wd/gm)?.length ?? 0;
    } catch {
      // closed meanwhile
    }
  }
  return found;
}

const known = async (ms = 60_000): Promise<void> => {
  for (const end = Date.now() + ms; !server?.output().includes('the tree is known'); await sleep(50))
    if (Date.now() > end) throw new Error('the tree is not known');
};

/** Files that the index knows, without a look at any directory. Only of trees that nobody has hashed. */
async function indexed(): Promise<number> {
  const store = await openStore(root);
  try {
    let files = 0;
    for (let after: Buffer | undefined, more = true; more;) {
      const page = store.live.unhashed(after, 10_000);
      files += page.entries.length;
      after = page.next;
      more = after !== undefined;
    }
    return files;
  } finally {
    await store.close();
  }
}

async function untilIndexed(wanted: number, ms: number): Promise<void> {
  for (const end = Date.now() + ms; ; await sleep(500)) {
    const files = await indexed();
    if (files === wanted) return;
    if (Date.now() > end) throw new Error(`the index knows ${files} of ${wanted} files`);
  }
}

function burst(folder: string, files: number): void {
  const script = `const fs = require('fs'); for (let i = 0; i < ${files}; i++) fs.writeFileSync(${JSON.stringify(folder)} + '/f' + i, '' + i);`;
  execFileSync(process.execPath, ['-e', script]);
}

describe.runIf(process.platform === 'linux')('the watcher in numbers', () => {
  it(`finds ${MANY} files that are made in one burst`, async () => {
    server = await serve(root, { args: ['--hash', 'off', '--scan-interval', '0'] });
    await known();
    mkdirSync(join(root, 'b', 'burst'));
    burst(join(root, 'b', 'burst'), FILES);
    await untilIndexed(FILES, 60_000);
  });

  it('finds them though the system lost events', async () => {
    for (let i = 0; i < 20; i++) mkdirSync(join(root, 'b', `d${i}`));
    server = await serve(root, { args: ['--hash', 'off', '--scan-interval', '0'] });
    await known();
    // while it sleeps, the kernel's queue (max_queued_events, often 16,384) runs over
    process.kill(server.pid, 'SIGSTOP');
    burst(join(root, 'b', 'd0'), FILES);
    for (let i = 1; i < 20; i++) burst(join(root, 'b', `d${i}`), 10);
    process.kill(server.pid, 'SIGCONT');
    await untilIndexed(FILES + 190, 60_000);
  });

  it(`takes at most 520 watches and 120 MB for ${MANY} files in 500 folders`, async () => {
    for (let i = 0; i < 500; i++) {
      mkdirSync(join(root, 'b', `d${i}`));
      for (let k = 0; k < FILES / 500; k++) writeFileSync(join(root, 'b', `d${i}`, `f${k}`), 'x');
    }
    server = await serve(root, { args: ['--watch', 'off', '--hash', 'off'] });
    await sleep(3_000);
    const idle = await server.rssAnon();
    await server.stop();
    server = await serve(root, { args: ['--hash', 'eager'] });
    let peak = 0;
    for (const end = Date.now() + 60_000; Date.now() < end; await sleep(100)) {
      peak = Math.max(peak, await server.rssAnon());
      if (server.output().includes('files were hashed')) break;
    }
    console.log(`watches ${watches(server.pid)}, memory ${Math.round((peak - idle) / MiB)} MiB more than idle`);
    expect(server.output()).toContain('files were hashed');
    expect(watches(server.pid)).toBeLessThanOrEqual(520);
    expect(peak - idle).toBeLessThan(120 * 1e6);
  });

  const canUnshare = spawnSync('unshare', ['-r', 'true']).status === 0;
  it.runIf(canUnshare)('says once that watches are used up, and scans', async () => {
    for (let i = 0; i < 100; i++) mkdirSync(join(root, 'b', `d${i}`));
    // a limit of its own user namespace: nobody else is disturbed
    const wrap = ['unshare', '-r', 'sh', '-c', 'echo 20 > /proc/sys/user/max_inotify_watches; exec "$@"', 'sh'];
    server = await serve(root, { args: ['--hash', 'off', '--scan-interval', '1s', '--log-format', 'json'], wrap });
    await known();
    const warnings = (): number => server?.output().match(/folders are not watched/g)?.length ?? 0;
    for (let i = 0; i < 100; i++) burst(join(root, 'b', `d${i}`), 3);
    await untilIndexed(300, 30_000);
    expect(warnings()).toBe(1);
    expect(watches(server.pid)).toBeLessThanOrEqual(20);
    expect(server.alive()).toBe(true);
  });
});
