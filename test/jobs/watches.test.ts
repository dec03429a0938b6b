/** The system's watches, on directories that are removed and made again with the inode number of the one before: stat(2) is made to say so. */
import {
  mkdirSync,
  mkdtempSync,
  realpathSync,
  renameSync,
  rmSync,
  rmdirSync,
  writeFileSync,
  type BigIntStats,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Watches } from '../../src/jobs/watch/watches.js';

/** ns, of every directory; 0 where the file system keeps none. */
let birth: bigint;

vi.mock('../../src/fs/stat.js', async (original) => {
  const stat = await original<typeof import('../../src/fs/stat.js')>();
  const lstatOf = (path: string): BigIntStats | undefined => {
    const real = stat.lstatOf(path);
    return real && Object.assign(real, { ino: 1n, birthtimeNs: birth });
  };
  return { ...stat, lstatOf };
});

const LONG_AGO = 1_000_000_000_000_000_000n;

let root: string;
let hints: string[];
let watches: Watches;

beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'gos3rve-watches-')));
  hints = [];
  watches = new Watches(root, {
    hint: (dir, name) => hints.push(`${dir}: ${name ?? ''}`),
    exhausted: (cause) => expect.unreachable(cause),
    overflow: () => expect.unreachable(),
  });
});
afterEach(() => {
  watches.close();
  rmSync(root, { recursive: true, force: true });
});

async function untilHinted(...wanted: string[]): Promise<void> {
  for (const end = Date.now() + 15_000; !wanted.every((hint) => hints.includes(hint)); await sleep(10))
    if (Date.now() > end) throw new Error(`no hints ${wanted.join(', ')}, but ${hints.join(', ')}`);
  hints.length = 0;
}

/** A file that comes to a directory is told of. */
async function expectAlive(dir: string): Promise<void> {
  const name = `${Math.random()}`;
  writeFileSync(join(root, dir, name), '');
  await untilHinted(`${dir}: ${name}`);
}

describe('a directory with the inode number of the one before', () => {
  it('is another one by its birth time', async () => {
    birth = LONG_AGO;
    mkdirSync(join(root, 'd'));
    expect(watches.keep('d')).toBe(true);
    expect(watches.keep('d')).toBe(false);
    rmdirSync(join(root, 'd'));
    mkdirSync(join(root, 'd'));
    birth++;
    expect(watches.keep('d')).toBe(true);
    await expectAlive('d');
  });

  it.each(['was made at the same moment', 'has none'])(
    'is another one by the end of its watch where it %s',
    async (why) => {
      birth = why === 'has none' ? 0n : BigInt(Date.now()) * 1_000_000n;
      for (const dir of ['a', 'a/d', 'a/d/e']) mkdirSync(join(root, dir));
      for (const dir of ['a', 'a/d', 'a/d/e']) expect(watches.keep(dir)).toBe(true);
      rmSync(join(root, 'a', 'd'), { recursive: true });
      mkdirSync(join(root, 'a', 'd', 'e'), { recursive: true });
      // its own end
      await untilHinted('a/d: d', 'a/d/e: e');
      expect(watches.keep('a/d')).toBe(true);
      expect(watches.keep('a/d/e')).toBe(true);
      await expectAlive('a/d');
      await expectAlive('a/d/e');
      expect(watches.keep('a')).toBe(false);
    },
  );

  it('at the top hints at the root', async () => {
    birth = LONG_AGO;
    mkdirSync(join(root, 'd'));
    watches.keep('d');
    rmdirSync(join(root, 'd'));
    await untilHinted(': d');
  });
});

describe('a name in a directory of the same name', () => {
  it('makes it no other one, and nothing is missed', async () => {
    birth = LONG_AGO;
    mkdirSync(join(root, 'd', 'd'), { recursive: true });
    watches.keep('d');
    for (let i = 0; i < 20; i++) {
      renameSync(join(root, 'd', 'd'), join(root, 'd', 'other'));
      renameSync(join(root, 'd', 'other'), join(root, 'd', 'd'));
      await untilHinted('d: d');
      writeFileSync(join(root, 'd', `f${i}`), '');
      expect(watches.keep('d')).toBe(false);
      await untilHinted(`d: f${i}`);
    }
  });
});
