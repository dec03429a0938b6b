/** A disk that is mounted over a folder, or taken away, while the folder is served: what other programs see at its path is what clients see. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body } from '../suites/store/kit.js';

/** The server looks four times a second. */
const NOTICED_MS = 600;

let root: string;
let store: LocalStore;
let mounted = false;
const at = (...names: string[]): string => join(root, 'b', ...names);

function mount(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'none', at('sub')], { stdio: 'ignore' });
    mounted = true;
  } catch {
    return false;
  }
  return true;
}
function unmount(): void {
  if (mounted) execFileSync('umount', ['-l', at('sub')]);
  mounted = false;
}

async function get(key: string): Promise<string> {
  let bytes = '';
  const open = await store.open('b', key).catch((error: { code: string }) => error.code);
  if (typeof open === 'string') return open;
  await open.read(0, open.info.size, (chunk) => {
    bytes += chunk.toString();
  });
  await open.close();
  return bytes;
}
const keys = async (): Promise<string[]> =>
  (await store.list('b', { prefix: '', delimiter: '', after: '', max: 100 })).entries.map((entry) =>
    'key' in entry ? entry.key : entry.prefix,
  );

beforeEach(async () => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'gos3rve-mounted-')));
  mkdirSync(at('sub', 'deep'), { recursive: true });
  writeFileSync(at('sub', 'old'), 'old');
  writeFileSync(at('sub', 'deep', 'old'), 'deep');
  writeFileSync(at('src'), 'src');
  store = await openStore(root);
  expect([await get('sub/old'), await get('sub/deep/old')]).toEqual(['old', 'deep']);
  expect(await keys()).toEqual(['src', 'sub/deep/old', 'sub/old']);
});
afterEach(async () => {
  await store.close();
  unmount();
  rmSync(root, { recursive: true, force: true });
});

it('is what is served (needs root: a tmpfs)', async ({ skip }) => {
  if (!mount()) return skip('nothing can be mounted here');
  writeFileSync(at('sub', 'onmount'), 'on mount');
  await sleep(NOTICED_MS);
  expect([await get('sub/old'), await get('sub/deep/old'), await get('sub/onmount')]).toEqual([
    'NoSuchKey',
    'NoSuchKey',
    'on mount',
  ]);
  expect(await keys()).toEqual(['src', 'sub/onmount']);
  await store.put('b', 'sub/new', body('new'));
  await store.put('b', 'sub/deep/new', body('new'));
  await store.move({ bucket: 'b', key: 'src' }, { bucket: 'b', key: 'sub/moved' });
  await store.delete('b', 'sub/old');
  expect(['new', 'deep/new', 'moved'].map((name) => readFileSync(at('sub', name), 'utf8'))).toEqual([
    'new',
    'new',
    'src',
  ]);
  expect(await keys()).toEqual(['sub/deep/new', 'sub/moved', 'sub/new', 'sub/onmount']);

  unmount();
  await sleep(NOTICED_MS);
  expect([await get('sub/old'), await get('sub/onmount')]).toEqual(['old', 'NoSuchKey']);
  expect(await keys()).toEqual(['sub/deep/old', 'sub/old']);
  await store.put('b', 'sub/new', body('below'));
  expect(readFileSync(at('sub', 'new'), 'utf8')).toBe('below');
  expect(existsSync(at('sub', 'moved'))).toBe(false);
});

it('can be unmounted a while after it was asked for last (needs root: a tmpfs)', async ({ skip }) => {
  if (!mount()) return skip('nothing can be mounted here');
  writeFileSync(at('sub', 'onmount'), 'on mount');
  await sleep(NOTICED_MS);
  expect(await get('sub/onmount')).toBe('on mount');
  await store.put('b', 'sub/deep/new', body('new'));
  expect(() => execFileSync('umount', [at('sub')], { stdio: 'ignore' })).toThrow();
  const free = (): boolean => {
    try {
      execFileSync('umount', [at('sub')], { stdio: 'ignore' });
      mounted = false;
    } catch {
      // still busy
    }
    return !mounted;
  };
  await expect.poll(free, { timeout: 15_000, interval: 500 }).toBe(true);
  expect(await get('sub/old')).toBe('old');
}, 30_000);

it('is told as refused where it is one file (needs root: a bind mount)', async ({ skip }) => {
  writeFileSync(join(root, 'other'), 'other');
  try {
    execFileSync('mount', ['--bind', join(root, 'other'), at('sub', 'old')], { stdio: 'ignore' });
  } catch {
    return skip('nothing can be mounted here');
  }
  try {
    expect(await get('sub/old')).toBe('other');
    await expect(store.put('b', 'sub/old', body('new'))).rejects.toMatchObject({ code: 'AccessDenied' });
    await expect(store.delete('b', 'sub/old')).rejects.toMatchObject({ code: 'AccessDenied' });
    expect(await get('sub/old')).toBe('other');
  } finally {
    execFileSync('umount', ['-l', at('sub', 'old')]);
  }
  expect(await get('sub/old')).toBe('old');
});
