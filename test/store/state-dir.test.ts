/** One root, one state: whoever opens a root with another state is refused, as is a state that would be served. */
import { mkdir, mkdtemp, readFile, readdir, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UsageError } from '../../src/base/errors.js';
import { makeStateDir } from '../../src/fs/statefile.js';
import { openStore, type StoreOptions } from '../../src/store/open.js';
import { canMount } from '../e2e/disk.js';

let base: string;
const at = (...names: string[]): string => path.join(base, ...names);

beforeEach(async () => {
  base = await realpath(await mkdtemp(path.join(os.tmpdir(), 'gos3rve-state-')));
  await mkdir(at('root', 'box'), { recursive: true });
});
afterEach(() => rm(base, { recursive: true, force: true }));

async function opens(root: string, options: StoreOptions = {}): Promise<void> {
  const store = await openStore(root, options);
  await store.getBucket('box');
  await store.close();
}

async function refused(root: string, options: StoreOptions = {}): Promise<string> {
  const error: unknown = await opens(root, options).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(UsageError);
  const { message } = error as UsageError;
  expect(message).not.toContain('\n');
  return message;
}

describe('a root and its state', () => {
  it('stay together: another state is refused, while the first is open and afterwards', async () => {
    const first = await openStore(at('root'), { stateDir: at('one') });
    for (const stateDir of [at('two'), undefined]) {
      const message = await refused(at('root'), stateDir === undefined ? {} : { stateDir });
      expect(message).toContain(at('one'));
      expect(message).toContain(stateDir ?? at('root/.gos3rve'));
      expect(message).toContain(`--state-dir ${at('one')}`);
    }
    expect(await readdir(base)).not.toContain('two');
    await opens(at('root'), { stateDir: at('one') });
    await first.close();
    await refused(at('root'), { stateDir: at('two') });
    await refused(at('root'), { stateDir: at('two'), readOnly: true });
    await opens(at('root'), { stateDir: at('one'), readOnly: true });
  });

  it('refuses another state for a root that keeps its own, also one from before roots had names', async () => {
    const store = await openStore(at('root'));
    async function* chunks(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('x');
    }
    await store.put('box', 'k', { chunks: chunks() });
    await store.close();
    expect(await refused(at('root'), { stateDir: at('two') })).toContain('pass no --state-dir');
    await rm(at('root/.gos3rve/root.json'));
    expect(await refused(at('root'), { stateDir: at('two') })).toContain(at('root/.gos3rve'));
    await opens(at('root'));
  });

  it('lets one of several first openings win', async () => {
    const results = await Promise.allSettled(
      ['a', 'b', 'c'].map((name) => openStore(at('root'), { stateDir: at(name) })),
    );
    const open = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    expect(open).toHaveLength(1);
    await open[0]?.close();
  });

  it('goes on with a state that was moved, and with a root that was', async () => {
    await opens(at('root'), { stateDir: at('one') });
    await rename(at('one'), at('moved'));
    await opens(at('root'), { stateDir: at('moved') });
    await rename(at('root'), at('other'));
    await opens(at('other'), { stateDir: at('moved') });
    await symlink(at('moved'), at('link'));
    await opens(at('other'), { stateDir: at('link') });
    const name = JSON.parse(await readFile(at('moved/root.json'), 'utf8')) as object;
    expect(name).toMatchObject({ root: at('other'), named: true });
  });

  it('does not lend the state of one root to another', async () => {
    await mkdir(at('root2', 'box'), { recursive: true });
    await opens(at('root'), { stateDir: at('one') });
    const message = await refused(at('root2'), { stateDir: at('one') });
    expect(message).toContain(`state of ${at('root')}`);
    await opens(at('root'), { stateDir: at('one'), readOnly: true });
    await opens(at('root2'), { stateDir: at('two'), readOnly: true });
    expect(await readdir(at('root2'))).toEqual(['box']);
    await refused(at('root'), { stateDir: at('two'), readOnly: true });
    await opens(at('root2'), { stateDir: at('two') });
  });

  it.skipIf(!canMount()).each(['.', 'media'])(
    'are not bound to another disk there (root at %s of it; needs root: tmpfs)',
    async (folder) => {
      const root = at('root', folder);
      const mount = (): void => void execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'none', at('root')]);
      let mounted = 0;
      try {
        mounted += (mount(), 1);
        await mkdir(path.join(root, 'box'), { recursive: true });
        await opens(root, { stateDir: at('one') });
        // the clock by which file systems are told apart goes in ticks
        await sleep(50);
        mounted += (mount(), 1);
        await mkdir(path.join(root, 'box'), { recursive: true });
        await writeFile(path.join(root, 'box', 'foreign'), 'of another disk');
        expect(await refused(root, { stateDir: at('one') })).toContain('is its disk mounted?');
        expect(await readdir(root)).toEqual(['box']);
        mounted -= (execFileSync('umount', [at('root')]), 1);
        await opens(root, { stateDir: at('one') });
        // what somebody has removed on the right one is made anew
        await rm(path.join(root, '.gos3rve'), { recursive: true });
        await opens(root, { stateDir: at('one') });
        expect(await readdir(root)).toContain('.gos3rve');
      } finally {
        while (mounted-- > 0) execFileSync('umount', [at('root')]);
      }
    },
  );

  it('says when the name cannot be read as one', async () => {
    await opens(at('root'));
    await writeFile(at('root/.gos3rve/root.json'), '{"id"');
    expect(await refused(at('root'))).toContain('root.json is damaged');
  });
});

describe('places of a state', () => {
  it.each(['root/box/state', 'root/state', 'root/.gos3rve/more'])('%s would be served', async (place) => {
    expect(await refused(at('root'), { stateDir: at(place) })).toContain('--state-dir');
    expect(await readdir(at('root'))).toEqual(['box']);
    expect(await readdir(at('root/box'))).toEqual([]);
  });

  it('sees through links', async () => {
    await symlink(at('root/box'), at('link'));
    expect(await refused(at('root'), { stateDir: at('link/state') })).toContain('which is served');
    await mkdir(at('elsewhere'));
    await symlink(at('elsewhere'), at('root/.gos3rve'));
    await opens(at('root'));
  });

  it('does not serve a state, or what lies in one', async () => {
    await opens(at('root'));
    await opens(at('root'), {});
    for (const name of ['root/.gos3rve', 'root/.gos3rve/staging'])
      expect(await refused(at(name), { stateDir: at('two') })).toContain('where gos3rve keeps its state');
    await mkdir(at('root2'));
    expect(await refused(at('root2'), { stateDir: at('.') })).toContain('where gos3rve keeps its state');
    expect(await refused(at('root2'), { stateDir: at('root2') })).toContain('where gos3rve keeps its state');
    await mkdir(at('root3/box'), { recursive: true });
    await opens(at('root3'), { stateDir: at('one') });
    expect(await refused(at('one'), { stateDir: at('three') })).toContain('where gos3rve keeps its state');
  });
});

describe('folders for state', () => {
  it.skipIf(process.platform !== 'linux')('cannot be made below /proc, which is said at once', () => {
    expect(() => makeStateDir('/proc/x/y')).toThrow(/ENOENT/);
  });

  it('are made step by step, and not where a file is in the way', async () => {
    makeStateDir(at('a/b/c'));
    makeStateDir(at('a/b/c'));
    expect(await readdir(at('a/b'))).toEqual(['c']);
    await writeFile(at('file'), '');
    expect(() => makeStateDir(at('file/x'))).toThrow(/ENOTDIR/);
    expect(() => makeStateDir(at('file'))).toThrow(/ENOTDIR/);
  });
});
