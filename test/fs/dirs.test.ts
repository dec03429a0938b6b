/** Directories held open: no swap by a link is followed, no descriptor is lost or used twice. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Dirs } from '../../src/fs/dirs.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
const openFds = (): number => fs.readdirSync('/proc/self/fd').length;

describe.skipIf(process.platform !== 'linux')('open directories (Linux: by /proc/self/fd)', () => {
  let root = '';
  let dirs: Dirs;
  const at = (...names: string[]): string => path.join(root, ...names);
  const make = (name: string): string => {
    fs.mkdirSync(at(name), { recursive: true });
    fs.writeFileSync(at(name, 'f'), name);
    return at(name);
  };
  beforeEach(() => {
    root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-dirs-')));
    dirs = new Dirs(2);
  });
  afterEach(() => {
    dirs.close();
    fs.rmSync(root, { recursive: true });
  });

  it('refuses a link, and a path through a link', () => {
    make('real/below');
    fs.symlinkSync(at('real'), at('link'));
    expect(() => dirs.get(at('link'))).toThrow('ENOTDIR');
    expect(() => dirs.get(at('link', 'below'))).toThrow('ENOTDIR');
    expect(() => dirs.get(at('real', 'below', 'f'))).toThrow('ENOTDIR');
    expect(() => dirs.get(at('none'))).toThrow('ENOENT');
  });

  it('acts in the directory that was opened, though a link takes its place', () => {
    make('a');
    make('secret');
    const dir = dirs.get(at('a'));
    fs.renameSync(at('a'), at('moved'));
    fs.symlinkSync(at('secret'), at('a'));
    expect(fs.readFileSync(dir.at('f'), 'utf8')).toBe('a');
    fs.writeFileSync(dir.at('new'), 'x');
    expect(fs.existsSync(at('secret', 'new'))).toBe(false);
    expect(() => dirs.get(at('a'))).toThrow('ENOTDIR');
  });

  it('sees that a directory was replaced by another, or is gone', () => {
    make('a');
    dirs.get(at('a'));
    fs.renameSync(at('a'), at('old'));
    make('a');
    fs.writeFileSync(at('a', 'f'), 'second');
    expect(fs.readFileSync(dirs.get(at('a')).at('f'), 'utf8')).toBe('second');
    fs.rmSync(at('a'), { recursive: true });
    expect(() => dirs.get(at('a'))).toThrow('ENOENT');
  });

  it('keeps a directory of this turn usable, however many are opened after it', async () => {
    const first = dirs.get(make('first'));
    for (let n = 0; n < 40; n++) dirs.get(make(`d${n}`));
    expect(fs.readFileSync(first.at('f'), 'utf8')).toBe('first');
    await turn();
    expect(fs.existsSync(first.at('f'))).toBe(false);
  });

  it('holds no more than its limit open', async () => {
    const before = openFds();
    for (let n = 0; n < 40; n++) dirs.get(make(`d${n}`));
    await turn();
    expect(openFds()).toBe(before + 2);
    dirs.close();
    expect(openFds()).toBe(before);
  });

  it('flushes a directory that is evicted meanwhile, and then closes it', async () => {
    const before = openFds();
    const flushes = [make('a'), make('b'), make('c'), make('d')].map((one) => dirs.syncPath(one));
    await Promise.all(flushes);
    await turn();
    expect(openFds()).toBe(before + 2);
  });

  it('takes a vanished directory for flushed, but nothing else', async () => {
    await dirs.syncPath(at('none'));
    await dirs.sync(dirs.get(make('a')));
    await expect(dirs.syncPath(at(`${'n'.repeat(300)}`))).rejects.toThrow('ENAMETOOLONG');
  });
});
