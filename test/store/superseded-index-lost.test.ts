/** The index is lost while a store that is opened settles what a killed process has left: nothing is removed since no row is found (DESIGN rule 2). */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { openStore } from '../../src/store/open.js';
import { loseIndexAt } from '../faults/lose-index.js';
import { BUCKET, get, list } from '../suites/store/kit.js';

const DIST = path.resolve(import.meta.dirname, '../../dist');
const CHILD = path.join(import.meta.dirname, 'superseded-child.js');

/** @returns how often the index was looked at, and what is there. */
async function run(n: number): Promise<[looks: number, seen: unknown]> {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-superseded-lost-'));
  try {
    fs.mkdirSync(path.join(root, BUCKET));
    const child = spawn(process.execPath, [CHILD, DIST, root, 'put', 'discard'], { stdio: 'inherit' });
    expect((await once(child, 'close'))[1]).toBe('SIGKILL');
    const end = loseIndexAt(n);
    const store = await openStore(root).finally(() => (n = end()));
    const seen: unknown[] = [];
    for (const key of await list(store)) {
      const { info, bytes } = await get(store, key);
      seen.push([key, info.facts, bytes.toString()]);
    }
    await store.close();
    return [n, seen];
  } finally {
    fs.rmSync(root, { recursive: true });
  }
}

it(
  'keeps an object that has replaced another, at whatever moment of the settling the index is lost',
  { timeout: 300_000 },
  async () => {
    const [looks, whole] = await run(0);
    expect(whole).toEqual([['p//a', { metadata: { text: 'P two' } }, 'P two']]);
    // before that the journal is still being read
    for (let n = looks >> 1; n <= looks; n++) {
      const [, seen] = await run(n);
      expect(seen, `lost at look ${n} of ${looks}`).toEqual(whole);
    }
  },
);
