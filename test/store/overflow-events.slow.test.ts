/** Keys at which an overflow object stands: other programs' doings at the path of the same name tell of no removal, for the key has an object. */
import { mkdirSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { list } from '../suites/store/kit.js';
import { Watched } from './watched.js';

let box: Watched;

beforeEach(async () => {
  box = await Watched.open();
});
afterEach(() => box.close());

it('an object that a client puts where a file was removed just before is not told as removed', async () => {
  await box.put('f');
  await box.begin();
  unlinkSync(box.at('f'));
  for (const key of ['f/z', 'f']) await box.put(key);
  await box.tells('ObjectCreated f/z', 'ObjectCreated f');
  expect(await list(box.store)).toEqual(['f', 'f/z']);
  await box.store.delete('box', 'f');
  await box.tells('ObjectRemoved f');
});

it('nor is a marker that is put again where a file has taken the place of its folder', async () => {
  await box.put('d/');
  await box.begin();
  rmSync(box.at('d'), { recursive: true });
  writeFileSync(box.at('d'), 'd');
  await box.put('d/');
  await box.tells('ObjectCreated d', 'ObjectCreated d/');
  expect(await list(box.store)).toEqual(['d', 'd/']);
});

it('what was kept aside for a file is told as created once the file is gone', async () => {
  for (const key of ['f/z', 'f']) await box.put(key);
  await box.begin();
  rmSync(box.at('f'), { recursive: true });
  writeFileSync(box.at('f'), 'theirs');
  await box.tells('ObjectRemoved f/z', 'ObjectCreated f');
  unlinkSync(box.at('f'));
  await box.tells('ObjectCreated f');
  expect(await list(box.store)).toEqual(['f']);
  await box.store.delete('box', 'f');
  await box.tells('ObjectRemoved f');
});

it('a key whose folder was removed and has a folder in its place now is told as removed, and not as created', async () => {
  await box.put('a/f');
  await box.begin();
  rmSync(box.at('a'), { recursive: true });
  await box.put('a/f/z');
  await box.tells('ObjectCreated a/f/z', 'ObjectRemoved a/f');
  await box.restart();
  await box.begin();
  await box.tells();
  expect(await list(box.store)).toEqual(['a/f/z']);
});

it('so it is once its removal was told, and of an object that was put to it since', async () => {
  await box.put('a/f');
  await box.begin();
  rmSync(box.at('a'), { recursive: true });
  await box.tells('ObjectRemoved a/f');
  for (const key of ['a/f/z', 'a/f']) await box.put(key);
  await box.tells('ObjectCreated a/f/z', 'ObjectCreated a/f');
  mkdirSync(box.at('a', 'other'));
  await box.tells();
  expect(await list(box.store)).toEqual(['a/f', 'a/f/z']);
});

it('of what is kept aside for a file nothing is told when their folder is renamed, but of the file', async () => {
  for (const key of ['a/f/z', 'a/f', 'a//g']) await box.put(key);
  await box.begin();
  rmSync(box.at('a', 'f'), { recursive: true });
  writeFileSync(box.at('a', 'f'), 'theirs');
  await box.tells('ObjectRemoved a/f/z', 'ObjectCreated a/f');
  renameSync(box.at('a'), box.at('c'));
  await box.tells('ObjectRemoved a//g', 'ObjectRemoved a/f', 'ObjectCreated c//g', 'ObjectCreated c/f');
  await box.store.movePrefix({ bucket: 'box', key: 'c/' }, { bucket: 'box', key: 'd/' });
  await box.tells('ObjectRemoved c//g', 'ObjectRemoved c/f', 'ObjectCreated d//g', 'ObjectCreated d/f');
  expect(await list(box.store)).toEqual(['d//g', 'd/f']);
});
