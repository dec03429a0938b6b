/** The gate of an index whose files are damaged or removed by others: nobody dies of it, and nothing is lost. Processes of their own, for LMDB would end them. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Index } from '../../src/catalog/lmdb.js';

const DIST = path.join(import.meta.dirname, '../../dist');
const CHILD = path.join(import.meta.dirname, 'open-close-child.js');

let directory = '';
let file = '';
let gate = '';
beforeEach(() => {
  directory = mkdtempSync(path.join(os.tmpdir(), 'gos3rve-gate-'));
  file = path.join(directory, 'index.mdb');
  gate = path.join(directory, 'gate');
});
afterEach(() => rmSync(directory, { recursive: true }));

/** Opens the index in a process of its own, writes and closes it again and again; or keeps it open. */
async function use(ms: number, ...mode: string[]): Promise<{ times: number; wrong: string[] }> {
  const { stdout } = await promisify(execFile)(process.execPath, [CHILD, DIST, file, String(ms), ...mode]);
  return JSON.parse(stdout) as { times: number; wrong: string[] };
}

function flip(bytes: Buffer): Buffer {
  return bytes.map((byte) => byte ^ 0x55) as Buffer;
}

describe('a gate that somebody has damaged while nobody had it open', () => {
  beforeEach(async () => {
    expect((await use(100)).wrong).toEqual([]);
  });

  it.each<[string, () => void]>([
    ['emptied', () => truncateSync(gate)],
    ['cut', () => truncateSync(gate, 4096)],
    ['full of zeros', () => writeFileSync(gate, Buffer.alloc(8192))],
    ['flipped', () => writeFileSync(gate, flip(readFileSync(gate)))],
    [
      'a few bits off',
      () =>
        writeFileSync(
          gate,
          readFileSync(gate)
            .fill(0x11, 130, 140)
            .fill(0x77, 4096 + 40, 4096 + 60),
        ),
    ],
    ['a folder', () => (rmSync(gate), mkdirSync(path.join(gate, 'of', 'others'), { recursive: true }))],
    ['one with a lock of zeros', () => writeFileSync(`${gate}-lock`, Buffer.alloc(8272))],
    ['one with a flipped lock', () => writeFileSync(`${gate}-lock`, flip(readFileSync(`${gate}-lock`)))],
    ['one with a cut lock', () => truncateSync(`${gate}-lock`, 100)],
  ])('is made anew: %s', async (_how, damage) => {
    damage();
    const again = await use(100);
    expect(again.wrong).toEqual([]);
    expect(again.times).toBeGreaterThan(0);
  });

  it('is left as it is if nothing is wrong with it, for there may be no room for another', async () => {
    const before = readFileSync(gate);
    await use(100);
    expect(readFileSync(gate)).toEqual(before);
  });
});

describe('a gate that somebody removes again and again', () => {
  it.each([[['gate']], [['gate-lock']], [['gate', 'gate-lock']]])(
    'lets those who write go on: %j',
    { timeout: 60_000 },
    async (names) => {
      const over = new AbortController();
      const writing = Promise.all([use(4000, 'stay'), use(4000, 'stay'), use(4000, 'stay')]).finally(() =>
        over.abort(),
      );
      while (!over.signal.aborted) {
        await sleep(250);
        for (const name of names) rmSync(path.join(directory, name), { force: true });
      }
      const told = await writing;
      const doubts = told.flatMap(({ wrong }) => wrong);
      // whoever wrote while it was removed cannot know what is lost of it
      for (const doubt of doubts) expect(doubt).toMatch(/others could not see|set aside/);
      const index = Index.open(file);
      if (doubts.length === 0) expect(index.number('times')).toBe(told.reduce((sum, { times }) => sum + times, 0));
      index.write(() => index.next('times'));
      await index.close();
    },
  );
});

describe('an index whose own lock somebody has removed or spoilt', () => {
  it('is opened by others', async () => {
    const index = Index.open(file);
    index.write(() => index.next('times'));
    // by another process: this one would let go of it
    const spoil = `require('node:fs').writeFileSync(process.argv[1], Buffer.alloc(8272), { flag: 'r+' })`;
    await promisify(execFile)(process.execPath, ['-e', spoil, `${file}-lock`]);
    const other = await use(200);
    expect(other.wrong).toEqual([]);
    expect(other.times).toBeGreaterThan(0);
    await index.close();
  });

  it('is made anew before anything is written that others cannot see', async () => {
    const doubts: string[] = [];
    const index = Index.open(file, { damaged: (why) => doubts.push(why) });
    index.write(() => index.next('times'));
    rmSync(`${file}-lock`);
    expect((await use(200)).wrong).toEqual([]);
    expect(() => index.write(() => index.next('times'))).toThrow('the index was set aside');
    expect(doubts).toEqual(['somebody else has written to it']);
    expect(index.write(() => index.next('times'))).toBe(1);
    await index.close();
  });
});
