/** What a file held is freed by another thread: its name is gone at once all the same, and no descriptor stays. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { freedLater, type Doomed } from '../../src/fs/freed.js';

const EXT4 = 0xef53;
const { openSync, statfsSync, close } = fs;
let root: string;
let devices = 1n;

beforeEach(() => {
  root = fs.mkdtempSync(path.join(tmpdir(), 'gos3rve-freed-'));
});
afterEach(() => {
  Object.assign(fs, { openSync, statfsSync, close });
  syncBuiltinESMExports();
  fs.rmSync(root, { recursive: true });
});

/** @param device of its own, so that its file system is asked for anew. */
function made(name: string, flushed = true, device = devices++): Doomed {
  const file = path.join(root, name);
  fs.writeFileSync(file, 'bytes');
  return { path: file, stat: { ...stamps(file), dev: device }, flushed };
}
function stamps(file: string): Doomed['stat'] {
  const { dev, nlink, ctimeMs } = fs.lstatSync(file, { bigint: true });
  return { dev, nlink, ctimeMs, blocks: 8n };
}
/** A file system of this type, and what is opened on it. */
function on(type: number): string[] {
  const opened: string[] = [];
  fs.statfsSync = (() => ({ type })) as unknown as typeof statfsSync;
  fs.openSync = (file, ...how) => {
    opened.push(path.basename(String(file)));
    return openSync(file, ...how);
  };
  syncBuiltinESMExports();
  return opened;
}
const descriptors = (): string[] =>
  fs.readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = fs.readlinkSync(`/proc/self/fd/${fd}`);
      return target.startsWith(root) ? [target] : [];
    } catch {
      return [];
    }
  });

it.runIf(process.platform === 'linux')('takes the name at once, and lets go of the rest soon', async () => {
  const opened = on(EXT4);
  const device = devices++;
  const all = Array.from({ length: 600 }, (_, i) => made(String(i), true, device));
  for (const one of all) {
    expect(freedLater(one, () => (fs.unlinkSync(one.path), 'done'))).toBe('done');
    expect(fs.existsSync(one.path)).toBe(false);
  }
  // no more of them at a time than a process has to spare
  expect(opened.length).toBeGreaterThan(0);
  expect(opened.length).toBeLessThan(600);
  await expect.poll(descriptors).toEqual([]);
  // once it was told that they are closed
  const again = (): string | undefined => (freedLater(made('late', true, device), () => undefined), opened.at(-1));
  await expect.poll(again).toBe('late');
  await expect.poll(descriptors).toEqual([]);
});

it.runIf(process.platform === 'linux')('gives what the work throws, and lets go all the same', async () => {
  const opened = on(EXT4);
  const one = made('one');
  expect(() =>
    freedLater(one, () => {
      throw new Error('of the work');
    }),
  ).toThrow('of the work');
  expect(opened).toEqual(['one']);
  await expect.poll(descriptors).toEqual([]);
  expect(fs.existsSync(one.path)).toBe(true);
});

it('does without where it wins nothing: another name, nothing held, not written out yet, another file system', () => {
  const opened = on(EXT4);
  const two = made('two');
  fs.linkSync(two.path, path.join(root, 'twin'));
  for (const one of [
    { ...two, stat: { ...two.stat, nlink: 2n } },
    { ...two, stat: { ...two.stat, blocks: 0n } },
    made('young', false),
    undefined,
  ])
    expect(freedLater(one, () => 'done')).toBe('done');
  expect(opened).toEqual([]);
  const elsewhere = on(0x6969);
  expect(freedLater(made('nfs'), () => 'done')).toBe('done');
  expect(elsewhere).toEqual([]);
});

it.runIf(process.platform === 'linux')('refers to what was left alone for long, flushed or not', () => {
  const opened = on(EXT4);
  const old = made('old', false);
  freedLater({ ...old, stat: { ...old.stat, ctimeMs: BigInt(Date.now() - 60_000) } }, () => undefined);
  expect(opened).toEqual(['old']);
});

it('does the work though the file cannot be referred to, or its file system not be asked', () => {
  on(EXT4);
  const gone = made('gone');
  fs.unlinkSync(gone.path);
  expect(freedLater(gone, () => 'done')).toBe('done');
  fs.statfsSync = () => {
    throw new Error('EIO');
  };
  syncBuiltinESMExports();
  expect(freedLater(made('some'), () => 'done')).toBe('done');
});
