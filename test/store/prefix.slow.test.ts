/** A prefix moves in the same time whatever it holds: the figure is printed. 20,000 objects; with GOS3RVE_FULL=1 1,000,000. */
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openStore } from '../../src/store/open.js';
import { list } from '../suites/store/kit.js';

const FOLDERS = process.env.GOS3RVE_FULL === '1' ? 1000 : 20;
const FILES = 1000;

const ALL = (FOLDERS * FILES).toLocaleString('en');

describe(`a prefix of ${ALL} objects`, () => {
  let root: string;
  beforeAll(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-million-'));
    for (let d = 0; d < FOLDERS; d++) {
      const dir = path.join(root, 'photos/2023', `d${d}`);
      mkdirSync(dir, { recursive: true });
      for (let f = 0; f < FILES; f++) closeSync(openSync(path.join(dir, `f${f}`), 'w'));
    }
    mkdirSync(path.join(root, 'archive'));
  });
  afterAll(() => rm(root, { recursive: true, force: true }));

  it.each([
    ['that were never listed', false],
    ['that are all in the index', true],
  ])('%s moves by one rename and one row', async (_name, indexed) => {
    const store = await openStore(root);
    try {
      const [from, to] = indexed ? ['archive', 'photos'] : ['photos', 'archive'];
      if (indexed) {
        for (let d = 0; d < FOLDERS; d++) await store.live.lookAtDir([from, '2023', `d${d}`]);
        await store.updateFacts(from, '2023/d7/f7', (facts) => ({ ...facts, tags: [['a', 'b']] }));
      }
      const { ino } = await stat(path.join(root, from, '2023'));
      const { etag } = await store.head(from, '2023/d7/f7');
      const begun = performance.now();
      const report = await store.movePrefix({ bucket: from, key: '2023/' }, { bucket: to, key: '2023/' });
      const took = performance.now() - begun;
      console.log(`${ALL} objects ${_name}: ${took.toFixed(1)} ms`);
      expect(report.directories).toBe(1);
      expect((await stat(path.join(root, to, '2023'))).ino).toBe(ino);
      const info = await store.head(to, '2023/d7/f7');
      expect(info.etag).toBe(etag);
      expect(info.facts.tags).toEqual(indexed ? [['a', 'b']] : undefined);
      await expect(store.head(from, '2023/d7/f7')).rejects.toThrow();
      const page = performance.now();
      expect((await list(store, { prefix: '2023/d7/' }, to)).length).toBe(FILES);
      console.log(`1,000 of them listed again in ${(performance.now() - page).toFixed(0)} ms`);
    } finally {
      await store.close();
    }
  });
});
