/**
 * A power cut, simulated: an ext4 on a loop device is shut down (EXT4_IOC_SHUTDOWN without flushing its log) while clients change objects, mounted
 * again and opened. What was acknowledged must be there, nothing may be half written, and each object has its own metadata.
 *
 * Each process sees a boot id of its own, as after a real cut: the index was never synced, and must be known as not to be trusted.
 *
 * 10 cuts; with GOS3RVE_FULL=1 100.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, existsSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openStore } from '../../src/store/open.js';
import { BUCKET } from '../suites/store/kit.js';
import { Allowed, type Seen } from './power-allowed.js';

const DOOR = path.resolve(import.meta.dirname, '../../dist/store/open.js');
const CHILD = path.join(import.meta.dirname, 'power-child.js');
const CUTS = process.env.GOS3RVE_FULL === '1' ? 100 : 10;
/** _IOR('X', 125, __u32), and its flag "do not flush the log": see include/uapi/linux/ext4.h. */
const SHUTDOWN = `
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), (2 << 30) | (4 << 16) | (ord('X') << 8) | 125, struct.pack('I', 2))
`;

const base = mkdtempSync(path.join(os.tmpdir(), 'gos3rve-power-'));
const image = path.join(base, 'disk');
const disk = path.join(base, 'mount');

/** Why it cannot be done here, or undefined. */
function obstacle(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux';
  if (!existsSync(DOOR)) return 'needs npm run build';
  try {
    makeDisk();
    shutdown();
    execFileSync('umount', [disk], { stdio: 'ignore' });
    execFileSync('unshare', ['-m', 'true'], { stdio: 'ignore' });
    return undefined;
  } catch {
    execFileSync('sh', ['-c', `umount ${disk} 2>/dev/null; true`]);
    return 'needs loop devices, mkfs.ext4, python3 and unshare';
  }
}
const missing = obstacle();

function makeDisk(): void {
  const fd = openSync(image, 'w');
  ftruncateSync(fd, 192 << 20);
  closeSync(fd);
  execFileSync('mkfs.ext4', ['-q', '-F', image], { stdio: 'ignore' });
  mkdirSync(disk, { recursive: true });
  mount();
}
function mount(): void {
  // the log is written when asked for, hardly ever by itself
  execFileSync('mount', ['-o', 'loop,commit=300', image, disk], { stdio: 'pipe' });
}
function shutdown(): void {
  execFileSync('python3', ['-c', SHUTDOWN, disk], { stdio: 'pipe' });
}

/** Starts a process after a boot of its own. */
function booted(root: string, ...args: string[]): ChildProcess {
  const boot = path.join(base, 'boot');
  writeFileSync(boot, `${randomUUID()}\n`);
  const script = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"';
  const command = ['-m', 'sh', '-c', script, boot, process.execPath, CHILD, DOOR, root, BUCKET, ...args];
  return spawn('unshare', command, { stdio: ['ignore', 'pipe', 'pipe'] });
}

describe.skipIf(missing !== undefined)(`after a power cut${missing === undefined ? '' : ` (${missing})`}`, () => {
  beforeAll(makeDisk);
  afterAll(() => {
    execFileSync('umount', [disk]);
    rmSync(base, { recursive: true });
  });

  it(`keeps what was acknowledged, ${CUTS} times`, async () => {
    const root = await makeRoot('root');
    const allowed = new Allowed();
    for (let cut = 1; cut <= CUTS; cut++) {
      expect([cut, ...(await workUntilCut(root, `cut${cut}`, 'flush', allowed))]).toEqual([cut]);
    }
    console.log(`${allowed.acknowledged} changes acknowledged, ${CUTS} cuts`);
    expect(allowed.acknowledged).toBeGreaterThan(CUTS * 5);
  });

  it('loses something where nothing is flushed, or this test would prove nothing', async () => {
    const root = await makeRoot('fast');
    expect(await workUntilCut(root, 'cut', 'fast', new Allowed())).not.toEqual([]);
  });
});
if (missing !== undefined) rmSync(base, { recursive: true, force: true });

async function makeRoot(name: string): Promise<string> {
  const root = path.join(disk, name);
  mkdirSync(root);
  const store = await openStore(root);
  await store.createBucket(BUCKET, {});
  await store.close();
  execFileSync('sync', ['-f', root]);
  return root;
}

/** Cuts the power while clients work. @returns what is wrong afterwards. */
async function workUntilCut(
  root: string,
  name: string,
  durability: 'flush' | 'fast',
  allowed: Allowed,
): Promise<string[]> {
  const child = booted(root, 'work', name, durability);
  const ended = once(child, 'close');
  let out = '';
  let errors = '';
  child.stderr?.on('data', (chunk) => (errors += String(chunk)));
  await new Promise<void>((resolve, reject) => {
    child.stdout?.on('data', (chunk) => {
      out += String(chunk);
      if (out.includes('done')) resolve();
    });
    child.once('close', () => reject(new Error(`the worker ended by itself: ${out.slice(-500)} ${errors}`)));
  });
  await sleep(100 + Math.random() * 900);
  shutdown();
  child.kill('SIGKILL');
  await ended;
  for (const line of out.split('\n').slice(0, -1)) allowed.read(line);
  execFileSync('umount', [disk]);
  mount();
  return allowed.check(await check(root));
}

async function check(root: string): Promise<Seen> {
  const child = booted(root, 'check');
  let out = '';
  let errors = '';
  child.stdout?.on('data', (chunk) => (out += String(chunk)));
  child.stderr?.on('data', (chunk) => (errors += String(chunk)));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`the root could not be opened: ${errors}`);
  return JSON.parse(out) as Seen;
}
