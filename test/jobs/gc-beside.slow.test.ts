/**
 * Two processes collect garbage at once, again and again, and are killed with -9 at any moment, while this one writes, moves and deletes. Nothing of what
 * it was told is lost: not then, not after a restart, not without the index. 8 s; with GOS3RVE_FULL=1 120 s.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { BUCKET, body, get, list } from '../suites/store/kit.js';

const DIST = path.resolve(import.meta.dirname, '../../dist');
const CHILD = path.join(import.meta.dirname, 'gc-child.js');
const MS = (process.env.GOS3RVE_FULL === '1' ? 120 : 8) * 1000;
const WRITERS = 4;

/** Key -> its bytes, which its metadata repeats. */
type Told = Map<string, string>;

describe.skipIf(!existsSync(path.join(DIST, 'jobs/gc.js')))('beside two gc that are killed again and again', () => {
  it('nothing is lost', async () => {
    const base = mkdtempSync(path.join(os.tmpdir(), 'gos3rve-beside-'));
    const root = path.join(base, 'root');
    const told: Told = new Map();
    const until = Date.now() + MS;
    try {
      mkdirSync(path.join(root, BUCKET), { recursive: true });
      let store = await openStore(root, { minPartSize: 1 });
      const writers = Array.from({ length: WRITERS }, (_, i) => write(store, `w${i}`, told, until));
      const outputs = await Promise.all([collect(root, until), collect(root, until)]);
      const changes = (await Promise.all(writers)).reduce((sum, n) => sum + n, 0);
      const collected = outputs.join('').match(/^done/gm)?.length ?? 0;
      console.log(`${changes} changes, ${collected} collections, ${told.size} objects in the end`);
      expect(collected).toBeGreaterThan(0);
      expect(await picture(store)).toEqual(told);
      for (const indexLost of [false, true]) {
        await store.close();
        if (indexLost) rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
        store = await openStore(root, { minPartSize: 1 });
        expect(await picture(store)).toEqual(told);
      }
      await store.close();
    } finally {
      rmSync(base, { recursive: true, force: true });
    }
  });
});

/** Runs collectors, each killed after a while. @returns what they printed. */
async function collect(root: string, until: number): Promise<string> {
  let out = '';
  while (Date.now() < until) {
    const child = spawn(process.execPath, [CHILD, DIST, root], { stdio: ['ignore', 'pipe', 'inherit'] });
    child.stdout.on('data', (chunk) => (out += String(chunk)));
    const ended = once(child, 'close');
    await sleep(500 + Math.random() * 1500);
    expect(child.exitCode).toBe(null);
    child.kill('SIGKILL');
    await ended;
  }
  return out;
}

/** Changes keys of its own, one after the other, and looks at each. @returns how many changes. */
async function write(store: LocalStore, name: string, told: Told, until: number): Promise<number> {
  let n = 0;
  for (; Date.now() < until; n++) {
    const dirs = ['a/b', 'c', 'x//y'];
    const key = `${name}/${dirs[n % 3]}/${(n * 7) % 11}`;
    const text = `${key} ${n}`;
    const other = `${name}/moved/${n % 5}`;
    if (n % 6 === 3) {
      await store.delete(BUCKET, key);
      told.delete(key);
    } else if (n % 6 === 4 && told.has(key)) {
      await store.move({ bucket: BUCKET, key }, { bucket: BUCKET, key: other });
      told.set(other, told.get(key) ?? '');
      told.delete(key);
    } else if (n % 6 === 5) {
      const { uploadId } = await store.createUpload(BUCKET, key, { facts: { metadata: { text } } });
      const { etag } = await store.putPart(BUCKET, key, uploadId, 1, body(text));
      await store.completeUpload(BUCKET, key, uploadId, [{ partNumber: 1, etag, checksums: {} }]);
      told.set(key, text);
    } else {
      await store.put(BUCKET, key, body(text), { facts: { metadata: { text } } });
      told.set(key, text);
    }
    const one = [...told.keys()].find((each) => each.startsWith(`${name}/`));
    if (one !== undefined) expect((await get(store, one)).bytes.toString()).toBe(told.get(one));
  }
  return n;
}

async function picture(store: LocalStore): Promise<Told> {
  const seen: Told = new Map();
  for (const key of await list(store)) {
    const { info, bytes } = await get(store, key);
    const text = bytes.toString();
    expect([key, info.facts.metadata?.text]).toEqual([key, text]);
    seen.set(key, text);
  }
  return seen;
}
