/** Files that other programs remove and that a client deletes before anybody was told: the removal is told once all the same. */
import { renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { list } from '../suites/store/kit.js';
import { Watched } from './watched.js';

let box: Watched;

beforeEach(async () => {
  box = await Watched.open();
});
afterEach(() => box.close());

describe.each([
  [
    'one by one',
    async (...keys: string[]) => void (await Promise.all(keys.map((key) => box.store.delete('box', key)))),
  ],
  [
    'many at once',
    async (...keys: string[]) =>
      void (await box.store.deleteEach(
        'box',
        keys.map((key) => ({ key })),
      )),
  ],
])('%s', (_how, remove) => {
  it('before anybody has missed them', async () => {
    await box.put('d/ours');
    writeFileSync(box.at('d', 'theirs'), 'theirs');
    await box.begin();
    await box.store.head('box', 'd/theirs');
    for (const name of ['ours', 'theirs']) unlinkSync(box.at('d', name));
    await remove('d/ours', 'd/theirs');
    await box.tells('ObjectRemoved d/ours', 'ObjectRemoved d/theirs');
    await box.restart();
    await box.begin();
    await box.tells();
  });

  it('after a request has, and after who listens has begun again', async () => {
    for (const key of ['d/a', 'd/b']) await box.put(key);
    await box.begin();
    await box.restart();
    rmSync(box.at('d'), { recursive: true });
    expect(await list(box.store)).toEqual([]);
    await remove('d/a', 'd/b');
    await box.begin();
    await box.tells('ObjectRemoved d/a', 'ObjectRemoved d/b');
  });

  it('and of one that was renamed', async () => {
    await box.put('a');
    await box.begin();
    renameSync(box.at('a'), box.at('b'));
    await remove('a');
    await box.tells('ObjectRemoved a', 'ObjectCreated b');
  });

  it('nor is one told as removed twice that is put again meanwhile', async () => {
    await box.put('a');
    await box.begin();
    unlinkSync(box.at('a'));
    await remove('a');
    await box.put('a');
    await box.tells('ObjectCreated a');
    await remove('a');
    await box.tells('ObjectRemoved a');
  });
});
