/** Files and folders that other programs replace by something that is none: their keys are gone, and told so, once. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { list } from '../suites/store/kit.js';
import { Watched } from './watched.js';

let box: Watched;

beforeEach(async () => {
  box = await Watched.open();
});
afterEach(() => box.close());

const REPLACEMENTS: [what: string, make: (path: string) => void][] = [
  ['an empty folder', (path) => mkdirSync(path)],
  ['a FIFO', (path) => execFileSync('mkfifo', [path])],
  ['a dangling link', (path) => symlinkSync('nowhere', path)],
  ['a link to a folder', (path) => symlinkSync('folder', path)],
  ['a link out of the bucket', (path) => symlinkSync('/etc/passwd', path)],
];

describe.each(REPLACEMENTS)('%s', (_what, make) => {
  it('in the place of a file is told as its removal, once, and so is its coming back', async () => {
    for (const key of ['ours', 'folder/f']) await box.put(key);
    writeFileSync(box.at('theirs'), 'theirs');
    await box.begin();
    for (const name of ['ours', 'theirs']) {
      unlinkSync(box.at(name));
      make(box.at(name));
    }
    await box.tells('ObjectRemoved ours', 'ObjectRemoved theirs');
    expect(await list(box.store)).toEqual(['folder/f']);
    await box.store.live.lookAtDir(['box'], { files: true, force: true });
    await box.tells();
    await box.restart();
    await box.begin();
    await box.tells();
    for (const name of ['ours', 'theirs']) {
      rmSync(box.at(name), { recursive: true });
      writeFileSync(box.at(name), 'back');
    }
    await box.tells('ObjectCreated ours', 'ObjectCreated theirs');
  });

  it('in the place of a folder is told as the removal of all that was in it', async () => {
    for (const key of ['d/m/', 'd/file', 'folder/file']) await box.put(key);
    await box.begin();
    rmSync(box.at('d'), { recursive: true });
    make(box.at('d'));
    await box.tells('ObjectRemoved d/m/', 'ObjectRemoved d/file');
    expect(await list(box.store)).toEqual(['folder/file']);
  });

  it('in the place of a file while no server ran is told at the next start', async () => {
    for (const key of ['file', 'folder/f']) await box.put(key);
    await box.begin();
    await box.end();
    unlinkSync(box.at('file'));
    make(box.at('file'));
    await box.begin();
    await box.tells('ObjectRemoved file');
  });
});

describe('a link', () => {
  it('that never led to a file is nothing', async () => {
    await box.begin();
    symlinkSync('nowhere', box.at('link'));
    await box.tells();
    unlinkSync(box.at('link'));
    await box.tells();
  });

  it('that leads to a file again is told of once somebody looks', async () => {
    writeFileSync(box.at('file'), 'file');
    symlinkSync('file', box.at('link'));
    await box.begin();
    renameSync(box.at('file'), box.at('other'));
    await box.tells('ObjectRemoved file', 'ObjectCreated other');
    await box.store.live.lookAtDir(['box'], { files: true });
    await box.tells('ObjectRemoved link');
    renameSync(box.at('other'), box.at('file'));
    await box.tells('ObjectRemoved other', 'ObjectCreated file');
    await box.store.live.lookAtDir(['box'], { files: true });
    await box.tells('ObjectCreated link');
  });
});
