/** Deep chains of folders: a listing goes down as far as a key can lie, and its work grows with the depth, not with its square. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body } from '../suites/store/kit.js';

let root: string;
beforeEach(() => (root = mkdtempSync(path.join(tmpdir(), 'gos3rve-deep-'))));
afterEach(() => rmSync(root, { recursive: true }));

function nest(bucket: string, depth: number, name = 'd'): string {
  const deepest = path.join(root, bucket, ...Array<string>(depth).fill(name));
  mkdirSync(deepest, { recursive: true });
  return deepest;
}

async function keys(store: LocalStore, bucket: string): Promise<number[]> {
  const { entries } = await store.list(bucket, { prefix: '', delimiter: '', after: '', max: 1000 });
  return entries.map((entry) => ('key' in entry ? entry.key.length : 0));
}

it('looks at each folder on a deep path a few times only', async () => {
  const depth = 120;
  writeFileSync(path.join(nest('box', depth), 'f'), 'x');
  const store = await openStore(root);
  try {
    const { tracker } = Reflect.get(store, 'core') as { tracker: { identityAt: (dirs: readonly string[]) => unknown } };
    const looks = vi.spyOn(tracker, 'identityAt');
    expect(await keys(store, 'box')).toEqual([2 * depth + 1]);
    expect(looks.mock.calls.length).toBeLessThan(12 * depth);
  } finally {
    await store.close();
  }
});

it('does not go where no key of 1,024 bytes can lie', async () => {
  const name = 'n'.repeat(127);
  for (let depth = 6; depth <= 10; depth++) writeFileSync(path.join(nest('box', depth, name), 'f'.repeat(128)), '');
  const store = await openStore(root);
  try {
    const read = vi.spyOn((Reflect.get(store, 'lister') as { reader: { read: () => unknown } }).reader, 'read');
    // six folders and the name; seven; with eight the slash alone fills the key
    expect(await keys(store, 'box')).toEqual([896, 1024]);
    expect(read.mock.calls.length).toBeLessThanOrEqual(9);
    const deepest = ['box', ...Array<string>(9).fill(name)];
    expect(await store.live.lookAtDir(deepest.slice(0, 8))).toBeDefined();
    expect(await store.live.lookAtDir(deepest)).toBeUndefined();
  } finally {
    await store.close();
  }
});

it('deletes deep down with work that grows with the depth', async () => {
  const depth = 150;
  mkdirSync(path.join(root, 'box'));
  const store = await openStore(root, { durability: 'fast' });
  try {
    const names = ['a', 'b'].map((name) => 'd/'.repeat(depth) + name);
    for (const key of names) await store.put('box', key, body('x'));
    writeFileSync(path.join(root, 'box/d/d/theirs'), '');
    const { index } = (Reflect.get(store, 'core') as { catalog: { index: { row: () => unknown } } }).catalog;
    const rows = vi.spyOn(index, 'row');
    for (const key of names) {
      rows.mockClear();
      await store.delete('box', key);
      expect(rows.mock.calls.length).toBeLessThan(12 * depth);
    }
    expect(existsSync(path.join(root, 'box/d/d/d'))).toBe(false);
    expect(existsSync(path.join(root, 'box/d/d/theirs'))).toBe(true);
  } finally {
    await store.close();
  }
});
