/** Folders that other programs take away, or make again, before the watcher has looked at them: what was in them is told as gone, what comes to them as new. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { list } from '../suites/store/kit.js';
import { Watched } from './watched.js';

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];

let box: Watched;

beforeEach(async () => {
  box = await Watched.open();
});
afterEach(() => box.close());

describe('a folder that was just made by a client', () => {
  it('and is removed at once is told as the removal of what was in it', async () => {
    await box.begin();
    for (const key of ['f/x', 'deep/er/y']) await box.put(key);
    for (const name of ['f', 'deep']) rmSync(box.at(name), { recursive: true });
    await box.tells(...['f/x', 'deep/er/y'].flatMap((key) => [`ObjectCreated ${key}`, `ObjectRemoved ${key}`]));
  });

  it('and is moved out at once, too', async () => {
    const out = mkdtempSync(path.join(tmpdir(), 'gos3rve-out-'));
    await box.begin();
    await box.put('f/x');
    renameSync(box.at('f'), path.join(out, 'f'));
    await box.tells('ObjectCreated f/x', 'ObjectRemoved f/x');
    rmSync(out, { recursive: true });
  });

  it('and is replaced by a file at once, too', async () => {
    await box.begin();
    await box.put('f/x');
    rmSync(box.at('f'), { recursive: true });
    writeFileSync(box.at('f'), 'file');
    await box.tells('ObjectCreated f/x', 'ObjectRemoved f/x', 'ObjectCreated f');
  });

  it('and is renamed at once goes on under its new name', async () => {
    await box.begin();
    await box.put('f/x');
    renameSync(box.at('f'), box.at('g'));
    await box.tells('ObjectCreated f/x', 'ObjectRemoved f/x', 'ObjectCreated g/x');
    expect(await list(box.store)).toEqual(['g/x']);
  });

  it('is missed by a look at the folder above that compares no files', async () => {
    await box.begin('off');
    await box.put('f/x');
    rmSync(box.at('f'), { recursive: true });
    await box.store.live.lookAtDir(['box']);
    await box.tells('ObjectCreated f/x', 'ObjectRemoved f/x');
  });
});

describe('a folder that is removed and made again', () => {
  it.each(['a client', 'another program'])('is watched (by %s)', async (who) => {
    for (const key of ['keep', ...NAMES.map((name) => `${name}/g/z`)]) await box.put(key);
    await box.begin();
    for (const name of NAMES) {
      if (who === 'a client') await box.store.delete('box', `${name}/g/z`);
      else rmSync(box.at(name), { recursive: true });
      mkdirSync(box.at(name, 'g'), { recursive: true });
    }
    await box.tells(...NAMES.map((name) => `ObjectRemoved ${name}/g/z`));
    // behind what their coming made the watcher look at
    await sleep(1_000);
    for (const name of NAMES) writeFileSync(box.at(name, 'g', 'later'), 'later');
    await box.tells(...NAMES.map((name) => `ObjectCreated ${name}/g/later`));
  });
});
