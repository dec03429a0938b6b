/** Processes that open and close the index: one at a time, and none waits for one that was killed. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { processToken } from '../../src/base/process.js';
import { behindDoor } from '../../src/catalog/door.js';
import { Index } from '../../src/catalog/lmdb.js';

const PROJECT = path.join(import.meta.dirname, '../..');
const CHILD = path.join(import.meta.dirname, 'open-close-child.js');
const run = promisify(execFile);

let directory = '';
let door = '';
beforeEach(() => {
  directory = mkdtempSync(path.join(os.tmpdir(), 'gos3rve-door-'));
  door = path.join(directory, 'door');
});
afterEach(() => rmSync(directory, { recursive: true }));

describe('processes that open and close one index again and again', () => {
  it.each([
    ['beside each other', [[], [], []]],
    ['beside one that keeps it open and writes', [['stay'], []]],
  ])('%s lose nothing of what any has written', { timeout: 60_000 }, async (_how, processes) => {
    const file = path.join(directory, 'index.mdb');
    const children = await Promise.all(
      processes.map((mode) => run(process.execPath, [CHILD, path.join(PROJECT, 'dist'), file, '4000', ...mode])),
    );
    const told = children.map(({ stdout }) => JSON.parse(stdout) as { times: number; wrong: string[] });
    expect(told.flatMap(({ wrong }) => wrong)).toEqual([]);
    const index = Index.open(file);
    expect(index.number('times')).toBe(told.reduce((sum, { times }) => sum + times, 0));
    await index.close();
  });
});

describe('who comes to the door', () => {
  const entered = (): boolean => behindDoor(directory, undefined, () => existsSync(door));

  it('makes it, and takes it away whatever happens', () => {
    expect(entered()).toBe(true);
    expect(() =>
      behindDoor(directory, undefined, () => {
        throw new Error('work');
      }),
    ).toThrow('work');
    expect(readdirSync(directory)).toEqual([]);
  });

  it('waits while another is at it', async () => {
    const { ended, log } = await hold();
    behindDoor(directory, undefined, () => appendFileSync(log, 'second'));
    await ended;
    expect(readFileSync(log, 'utf8')).toBe('first, second');
  });

  it('does not wait for one that was killed', async () => {
    const other = spawn(process.execPath, ['-e', '']);
    await once(other, 'close');
    writeFileSync(door, processToken().replace(`.${process.pid}.`, `.${String(other.pid)}.`));
    expect(entered()).toBe(true);
    expect(readdirSync(directory)).toEqual([]);
  });

  it.each(['', 'elsewhere.1.1'])('does not wait for what was left long ago: %j', (token) => {
    writeFileSync(door, token);
    utimesSync(door, 0, 0);
    expect(entered()).toBe(true);
    expect(readdirSync(directory)).toEqual([]);
  });

  it('goes without where there can be none', () => {
    expect(behindDoor(path.join(directory, 'none'), undefined, () => 'done')).toBe('done');
  });
});

/** A process that has the door, and writes to the log a while before it leaves. */
async function hold(): Promise<{ ended: Promise<unknown>; log: string }> {
  const log = path.join(directory, 'log');
  const script = `
    import { appendFileSync } from 'node:fs';
    const { behindDoor } = await import(process.argv[1]);
    behindDoor(process.argv[2], undefined, () => {
      process.stdout.write('in');
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
      appendFileSync(process.argv[3], 'first, ');
    });`;
  const url = new URL('../../dist/catalog/door.js', import.meta.url).href;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, url, directory, log]);
  const ended = once(child, 'close');
  await once(child.stdout, 'data');
  return { ended, log };
}
