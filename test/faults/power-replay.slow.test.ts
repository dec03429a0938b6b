/**
 * The power cut where there is neither root nor a loop device: the process that clients work in writes down its calls (power-recorder.js), takes back
 * at some call what no fsync covers, and dies. What was acknowledged must be there then, nothing may be half written, and each object has its own metadata.
 * The index is lost each time.
 *
 * 10 cuts each; with GOS3RVE_FULL=1 100.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openStore } from '../../src/store/open.js';
import { BUCKET } from '../suites/store/kit.js';
import { Allowed, type Seen } from './power-allowed.js';

const DOOR = path.resolve(import.meta.dirname, '../../dist/store/open.js');
const CHILD = path.join(import.meta.dirname, 'power-child.js');
const RECORDER = path.join(import.meta.dirname, 'power-recorder.js');
const CUTS = process.env.GOS3RVE_FULL === '1' ? 100 : 10;
/** What the file system keeps: power-recorder.js. */
const ORDERS = { 'names in order': 'names', 'in no order at all': 'any' };
const missing = process.platform !== 'linux' ? ' (needs /proc)' : existsSync(DOOR) ? '' : ' (needs npm run build)';

describe.skipIf(missing !== '')(`after calls that were not flushed are taken back${missing}`, () => {
  let base = '';
  beforeAll(async () => (base = await realpath(await mkdtemp(path.join(os.tmpdir(), 'gos3rve-replay-')))));
  afterAll(async () => {
    // GOS3RVE_KEEP=1 leaves the root to look at
    if (process.env.GOS3RVE_KEEP !== '1') await rm(base, { recursive: true, force: true });
  });

  it.each(Object.entries(ORDERS))(`keeps what was acknowledged, ${CUTS} times, %s`, async (_title, order) => {
    const root = await makeRoot(base, order);
    const allowed = new Allowed();
    for (let n = 1; n <= CUTS; n++) {
      expect([n, ...(await workUntilCut(base, root, `cut${n}`, 'flush', order, allowed))]).toEqual([n]);
    }
    console.log(`${allowed.acknowledged} changes acknowledged, ${CUTS} cuts, order of ${order}`);
    expect(allowed.acknowledged).toBeGreaterThan(CUTS * 5);
  });

  it('loses something where nothing is flushed, or this test would prove nothing', async () => {
    const root = await makeRoot(base, 'fast');
    expect(await workUntilCut(base, root, 'cut', 'fast', 'names', new Allowed(), 1)).not.toEqual([]);
  });
});

async function makeRoot(base: string, name: string): Promise<string> {
  const root = path.join(base, name);
  await mkdir(root);
  const store = await openStore(root);
  await store.createBucket(BUCKET, {});
  await store.close();
  return root;
}

/** @param loss the probability that an unflushed call is taken back. @returns what is wrong afterwards. */
async function workUntilCut(
  base: string,
  root: string,
  name: string,
  durability: 'flush' | 'fast',
  order: string,
  allowed: Allowed,
  loss = [1, 0.7, 0.3][Math.floor(Math.random() * 3)],
): Promise<string[]> {
  const aside = path.join(base, 'aside');
  await mkdir(aside);
  const calls = 200 + Math.floor(Math.random() * 1500);
  const env = {
    RECORD_ROOT: root,
    RECORD_ASIDE: aside,
    RECORD_CUT: `${calls}`,
    RECORD_LOSS: `${loss}`,
    RECORD_ORDER: order,
  };
  const work = await run(['--import', RECORDER, CHILD, DOOR, root, BUCKET, 'work', name, durability], env);
  if (work.signal !== 'SIGKILL' || work.out.includes('"ended"')) {
    throw new Error(`the worker ended by itself: ${work.out.slice(-500)} ${work.errors}`);
  }
  for (const line of work.out.split('\n').slice(0, -1)) allowed.read(line);
  await rm(path.join(root, '.gos3rve/index'), { recursive: true, force: true });
  await rm(aside, { recursive: true });
  const check = await run([CHILD, DOOR, root, BUCKET, 'check']);
  if (check.code !== 0) throw new Error(`the root could not be opened: ${check.errors}`);
  return allowed.check(JSON.parse(check.out) as Seen);
}

async function run(
  args: string[],
  env: Record<string, string> = {},
): Promise<{ code: number | null; signal: string | null; out: string; errors: string }> {
  const child = spawn(process.execPath, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let errors = '';
  child.stdout.on('data', (chunk) => (out += String(chunk)));
  child.stderr.on('data', (chunk) => (errors += String(chunk)));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { code, signal, out, errors };
}
