/** A folder that went, in one whose place another has taken: what is made under its name later is told as created. */
import { cpSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { list } from '../suites/store/kit.js';
import { Watched } from './watched.js';

let box: Watched;

beforeEach(async () => {
  box = await Watched.open();
});
afterEach(() => box.close());

describe('a file in a folder whose name is used again', () => {
  it.each([
    ['a file', 'a/sub/y'],
    ['a marker', 'a/sub/m/'],
  ])('under another parent is told though no server ran, where %s went', async (_what, gone) => {
    for (const key of [gone, 'a/x', 'b/x', 'control/x']) await box.put(key);
    await box.begin();
    rmSync(box.at('a/sub'), { recursive: true });
    await box.tells(`ObjectRemoved ${gone}`);
    renameSync(box.at('a'), box.at('old'));
    renameSync(box.at('b'), box.at('a'));
    await box.tells('ObjectRemoved b/x', 'ObjectCreated old/x', 'ObjectCreated a/x');
    // what is left of the old one goes back to its keys
    await box.store.live.settleRenames();
    await box.end();
    for (const folder of ['a/sub', 'control/sub']) {
      mkdirSync(box.at(folder));
      writeFileSync(box.at(folder, 'new'), 'new');
    }
    await box.begin();
    await box.tells('ObjectCreated a/sub/new', 'ObjectCreated control/sub/new');
    expect(await list(box.store)).toContain('a/sub/new');
  });
});

describe('what went with its folder', () => {
  it.each([
    ['stays away', false],
    ['is swapped with it', true],
  ])('is not told where another folder takes the place of the one above, which %s', async (_how, swapped) => {
    for (const key of ['d/m/', 'd/y', 'f/x', 'f/n/']) await box.put(key);
    await box.begin();
    rmSync(box.at('d'), { recursive: true });
    await box.tells('ObjectRemoved d/m/', 'ObjectRemoved d/y');
    mkdirSync(box.at('d'));
    expect(await list(box.store)).toEqual(['f/n/', 'f/x']);
    renameSync(box.at('d'), box.at('t'));
    renameSync(box.at('f'), box.at('d'));
    if (swapped) renameSync(box.at('t'), box.at('f'));
    await box.tells('ObjectRemoved f/x', 'ObjectRemoved f/n/', 'ObjectCreated d/x', 'ObjectCreated d/n/');
    await box.store.live.settleRenames();
    await box.tells();
    expect(await list(box.store)).toEqual(['d/n/', 'd/x']);
    mkdirSync(box.at('d/m'));
    await box.tells('ObjectCreated d/m/');
  });
});

describe('an object that is put where a folder of that name went', () => {
  const put = 'ObjectCreated k/f/g/z';
  it.each([
    ['the folder above', 'box/k', 'box/k2', ['k2/f/g/z', 'k2/z']],
    ['its bucket', 'box', 'box2', ['k/f/g/z', 'k/z']],
  ])('goes along when %s is renamed at once', async (_what, from, to, keys) => {
    for (const key of ['k/f/g/y', 'k/z']) await box.put(key);
    await box.begin();
    rmSync(box.at('k/f/g'), { recursive: true });
    await box.tells('ObjectRemoved k/f/g/y');
    const away = `${box.root}-away`;
    renameSync(box.at('k/f'), away);
    try {
      await sleep(1000);
      await box.put('k/f/g/z');
      renameSync(path.join(box.root, from), path.join(box.root, to));
      const gone = ['ObjectRemoved k/f/g/z', 'ObjectRemoved k/z'];
      await box.tells(put, ...gone, ...keys.map((key) => `ObjectCreated ${key}`));
    } finally {
      rmSync(away, { recursive: true });
    }
  });
});

it('what was restored to its folder is told under the new name of the one above', async () => {
  for (const key of ['k/g/z', 'k/z']) await box.put(key);
  await box.begin();
  const copy = `${box.root}-copy`;
  renameSync(box.at('k/g'), copy);
  try {
    cpSync(copy, box.at('k/g'), { recursive: true, preserveTimestamps: true });
    renameSync(box.at('k'), box.at('k2'));
    const gone = ['ObjectRemoved k/z', 'ObjectRemoved k/g/z'];
    await box.tellsAtLeastOnce(...gone, 'ObjectCreated k2/z', 'ObjectCreated k2/g/z');
  } finally {
    rmSync(copy, { recursive: true });
  }
});
