/** What a file held is freed by another thread: its name is gone at once all the same, and no descriptor stays. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freedLater, type Doomed } from '../../src/fs/freed.js';

const SLOW = ['ext4', 'rw,discard'] as const;
const { openSync, readFileSync, close } = fs;
let root: string;
let devices = 1n;

beforeEach(() => {
  root = fs.mkdtempSync(path.join(tmpdir(), 'gos3rve-freed-'));
});
afterEach(() => {
  Object.assign(fs, { openSync, readFileSync, close });
  syncBuiltinESMExports();
  fs.rmSync(root, { recursive: true });
});

/** @param device of its own, so that its file system is asked for anew. */
function made(name: string, flushed = true, device = devices++): Doomed {
  const file = path.join(root, name);
  fs.writeFileSync(file, 'bytes');
  const { nlink, ctimeMs } = fs.lstatSync(file, { bigint: true });
  return { path: file, folder: root, stat: { dev: device, nlink, ctimeMs, blocks: 8n }, flushed };
}
/** On a file system of this type, and what is opened on it. */
function on(type: string, options = 'rw'): string[] {
  const opened: string[] = [];
  fs.readFileSync = ((file: string, how: 'utf8') =>
    file === '/proc/self/mountinfo'
      ? `1 1 0:1 / / rw - ${type} none ${options}`
      : readFileSync(file, how)) as typeof readFileSync;
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
  const opened = on(...SLOW);
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
  const opened = on(...SLOW);
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

it('does without where it wins nothing: another name, nothing held, not written out yet, a disk that frees a small file at once', () => {
  const opened = on(...SLOW);
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
  const quick = on('ext4');
  expect(freedLater(made('small'), () => 'done')).toBe('done');
  expect(quick).toEqual([]);
});

describe.runIf(process.platform === 'linux')('a large file', () => {
  const large = (name: string): Doomed => {
    const one = made(name, false);
    return { ...one, stat: { ...one.stat, blocks: 2048n } };
  };

  it.each(['ext4', 'xfs', 'btrfs', 'tmpfs'])('is freed by another thread on %s', async (type) => {
    const opened = on(type);
    const one = large(type);
    expect(freedLater(one, () => (fs.unlinkSync(one.path), 'done'))).toBe('done');
    expect(opened).toEqual([type]);
    await expect.poll(descriptors).toEqual([]);
  });

  it.each(['nfs4', 'fuse.sshfs', '9p'])('is not referred to on %s', (type) => {
    const opened = on(type);
    expect(freedLater(large(type), () => 'done')).toBe('done');
    expect(opened).toEqual([]);
  });
});

it.runIf(process.platform === 'linux')('refers to what was left alone for long, flushed or not', () => {
  const opened = on(...SLOW);
  const old = made('old', false);
  freedLater({ ...old, stat: { ...old.stat, ctimeMs: BigInt(Date.now() - 60_000) } }, () => undefined);
  expect(opened).toEqual(['old']);
});

it('does the work though the file cannot be referred to', () => {
  on(...SLOW);
  const gone = made('gone');
  fs.unlinkSync(gone.path);
  expect(freedLater(gone, () => 'done')).toBe('done');
});
