/** The hashing thread is the built one: run `npm run build` first. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HashThread } from '../../src/jobs/hash/thread.js';
import { Progress } from '../../src/jobs/hash/progress.js';

const SCRIPT = new URL('../../dist/jobs/hash/worker.js', import.meta.url);
const md5 = (data: Buffer) => createHash('md5').update(data).digest('hex');

describe('HashThread', () => {
  let folder: string;
  let thread: HashThread;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'gos3rve-hash-'));
    thread = new HashThread(SCRIPT);
  });
  afterEach(async () => {
    await thread.stop();
    rmSync(folder, { recursive: true });
  });

  it('hashes whole files and pieces, empty ones too', async () => {
    const bytes = Buffer.alloc(3_000_000, 'abc');
    writeFileSync(join(folder, 'a'), bytes);
    writeFileSync(join(folder, 'empty'), '');
    expect(await thread.md5(join(folder, 'a'), [bytes.length])).toEqual([md5(bytes)]);
    expect(await thread.md5(join(folder, 'a'), [1_000_000, 2_500_000, 3_000_000])).toEqual([
      md5(bytes.subarray(0, 1_000_000)),
      md5(bytes.subarray(1_000_000, 2_500_000)),
      md5(bytes.subarray(2_500_000)),
    ]);
    expect(await thread.md5(join(folder, 'empty'), [0])).toEqual([md5(Buffer.alloc(0))]);
  });

  it('gives fewer digests for a file that is shorter, and the cause of an error', async () => {
    writeFileSync(join(folder, 'a'), 'abc');
    expect(await thread.md5(join(folder, 'a'), [2, 9])).toHaveLength(1);
    await expect(thread.md5(join(folder, 'none'), [1])).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await thread.md5(join(folder, 'a'), [3])).toEqual([md5(Buffer.from('abc'))]);
  });

  it('stops at once, and for good', async () => {
    const file = join(folder, 'large');
    writeFileSync(file, '');
    truncateSync(file, 20 * 1024 ** 3);
    const asked = thread.md5(file, [20 * 1024 ** 3]);
    await sleep(200);
    const began = performance.now();
    await thread.stop();
    expect(await asked).toEqual([]);
    expect(performance.now() - began).toBeLessThan(2_000);
    expect(await thread.md5(file, [1])).toEqual([]);
  });

  it('gives way while told to rest', async () => {
    const bytes = Buffer.alloc(150 << 20);
    writeFileSync(join(folder, 'a'), bytes);
    await thread.md5(join(folder, 'a'), [1]);
    const time = async (): Promise<number> => {
      const began = performance.now();
      await thread.md5(join(folder, 'a'), [bytes.length]);
      return performance.now() - began;
    };
    const fast = await time();
    thread.rest(true);
    const slow = await time();
    thread.rest(false);
    expect(slow).toBeGreaterThan(fast * 1.5);
  });

  it.runIf(process.platform === 'linux')('runs at the lowest priority, alone', async () => {
    writeFileSync(join(folder, 'a'), 'abc');
    await thread.md5(join(folder, 'a'), [3]);
    const nices = readdirSync('/proc/self/task').map((task) => {
      const stat = readFileSync(`/proc/self/task/${task}/stat`, 'utf8');
      return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]);
    });
    const own = readFileSync('/proc/self/stat', 'utf8');
    expect(nices.filter((nice) => nice === 19)).toHaveLength(1);
    expect(Number(own.slice(own.lastIndexOf(')') + 2).split(' ')[16])).toBeLessThan(19);
  });
});

describe('Progress', () => {
  it('says nothing of what is done in a moment', () => {
    const said: string[] = [];
    const progress = new Progress(
      (_level, message) => said.push(message),
      (text) => said.push(text),
    );
    progress.begin({ files: 2, bytes: 2 });
    progress.done(1);
    progress.done(1);
    progress.end();
    expect(said.filter((text) => text !== '')).toEqual([]);
  });

  it('shows files, bytes, rate and time left, and takes the line away', async () => {
    const shown: string[] = [];
    const logged: string[] = [];
    const progress = new Progress(
      (_level, message, data) => logged.push(`${message} ${String(data['files'])} of ${String(data['of'])}`),
      (text) => shown.push(text),
    );
    progress.begin({ files: 4000, bytes: 8 << 20 });
    await sleep(1050);
    progress.done(1 << 20);
    progress.end();
    expect(shown[0]).toMatch(
      /^hashing 1 of 4,000 files, 1\.0 MiB of 8\.0 MiB, (\d+\.\d KiB|\d+\.\d MiB)\/s, 1:\d\d:\d\d left$/,
    );
    expect(shown.at(-1)).toBe('');
    expect(logged).toEqual(['files were hashed 1 of 4000']);
  });
});
