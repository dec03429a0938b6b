/** `gos3rve mv` to another file system is killed between publishing the copy and deleting the source: the next run ends with exactly one. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body, list, text } from '../suites/store/kit.js';

const PROJECT = path.resolve(import.meta.dirname, '../..');
/** What the binary runs, before it is bundled: the hook changes a module of it. */
const BINARY = path.join(PROJECT, 'dist/cli/main.js');
const HOOK = path.join(import.meta.dirname, 'mount-move-hook.js');
const reason = whyNot();

function whyNot(): string | undefined {
  if (!existsSync(path.join(PROJECT, 'dist/store/objects.js'))) return 'not built';
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux, for mount';
  return spawnSync('unshare', ['-m', 'true']).status === 0 ? undefined : 'may not mount here';
}

describe.skipIf(reason !== undefined)(
  `a move to another file system that is killed${reason ? `: ${reason}` : ''}`,
  { timeout: 60_000 },
  () => {
    let root: string;
    let there: string;
    const facts = { contentType: 'x/y', metadata: { who: 'me' }, tags: [['a', 'b']] as [string, string][] };
    const content = (name: string): string => name.repeat(100_000);
    const NAMES = ['1', '2', '3'];

    beforeEach(async () => {
      root = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-killed-mv-'));
      there = path.join(root, 'there');
      for (const name of ['here', 'there']) await mkdir(path.join(root, name));
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1g', 'tmpfs', there]);
      await using(async (store) => {
        for (const name of NAMES) await store.put('here', `a/${name}`, body(content(name)), { facts });
      });
    });
    afterEach(async () => {
      execFileSync('umount', [there]);
      await rm(root, { recursive: true });
    });

    async function using<T>(work: (store: LocalStore) => Promise<T>): Promise<T> {
      const store = await openStore(root);
      try {
        return await work(store);
      } finally {
        await store.close();
      }
    }
    const mv = (args: string[], env: Record<string, string> = {}) =>
      spawnSync(
        process.execPath,
        [...('KILL_AT' in env ? ['--import', HOOK] : []), BINARY, 'mv', ...args, '--root', root],
        { env: { ...process.env, ...env }, encoding: 'utf8' },
      );
    const killed = ({ signal, stdout, stderr }: ReturnType<typeof mv>): void =>
      expect({ signal, stdout, stderr }).toEqual({ signal: 'SIGKILL', stdout: '', stderr: '' });
    /** Keys of both sides, and that those on the other side are whole and have all that was said of them. */
    const state = (): Promise<{ here: string[]; there: string[] }> =>
      using(async (store) => {
        const keys = { here: await list(store, {}, 'here'), there: await list(store, {}, 'there') };
        for (const key of keys.there) {
          expect(await text(store, key, 'there')).toBe(content(key.slice(2)));
          expect(await store.head('there', key)).toMatchObject({ facts });
        }
        return keys;
      });

    describe.each(['published', 'unlinked'])('when an object is %s', (KILL_WHEN) => {
      const source = KILL_WHEN === 'published' ? ['a/2'] : [];

      it('ends with one of each when a prefix is moved again', async () => {
        killed(mv(['here/a/', 'there/b/'], { KILL_AT: '2', KILL_WHEN }));
        // several are under way at the same time
        const left = await state();
        expect(left.there).toContain('b/2');
        expect(left.here.includes('a/2')).toBe(KILL_WHEN === 'published');
        const everywhere = new Set([...left.here, ...left.there].map((key) => key.slice(2)));
        expect([...everywhere].sort()).toEqual(NAMES);
        const { status, stderr } = mv(['here/a/', 'there/b/']);
        const done = left.here.length === 0;
        expect([status, stderr]).toEqual(done ? [1, 'gos3rve: there is nothing in here/a/\n'] : [0, '']);
        expect(await state()).toEqual({ here: [], there: ['b/1', 'b/2', 'b/3'] });
        expect(existsSync(path.join(root, 'here/a'))).toBe(false);
      });

      it('ends with one when the object is moved again', async () => {
        killed(mv(['here/a/2', 'there/b/2'], { KILL_AT: '2', KILL_WHEN }));
        expect(await state()).toEqual({ here: ['a/1', ...source, 'a/3'], there: ['b/2'] });
        const { status, stderr } = mv(['here/a/2', 'there/b/2']);
        expect([status, stderr]).toEqual(
          KILL_WHEN === 'published' ? [0, ''] : [1, expect.stringContaining('there is no object here/a/2') as string],
        );
        expect(await state()).toEqual({ here: ['a/1', 'a/3'], there: ['b/2'] });
      });
    });
  },
);
