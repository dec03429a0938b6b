/** Range reads: exact bytes, and never a mixture of two states of a file. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import fc from '../fast-check.js';
import { openRegular, readRange, type OpenFile } from '../../src/fs/reader.js';

const SIZE = 3 * 512 * 1024 + 77;
const CONTENT = Buffer.from(Array.from({ length: SIZE }, (_, i) => (i * 31 + (i >> 8)) & 0xff));

describe('a range read', () => {
  let directory = '';
  let file = '';
  let opened: OpenFile;
  beforeEach(() => {
    directory = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-reader-')));
    file = path.join(directory, 'f');
    fs.writeFileSync(file, CONTENT);
    opened = { ...openRegular(file), path: file };
  });
  afterEach(() => {
    fs.closeSync(opened.fd);
    fs.rmSync(directory, { recursive: true });
  });
  const read = async (
    start: number,
    end: number,
    during: (chunk: number) => void = () => undefined,
  ): Promise<Buffer> => {
    const chunks: Buffer[] = [];
    await readRange(opened, start, end, async (chunk) => {
      chunks.push(Buffer.from(chunk));
      await new Promise((resolve) => setImmediate(resolve));
      during(chunks.length);
    });
    return Buffer.concat(chunks);
  };
  const once =
    (change: () => void): ((chunk: number) => void) =>
    (chunk) => {
      if (chunk === 1) change();
    };

  it('gives exactly the bytes asked for', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(SIZE), fc.nat(SIZE), async (a, b) => {
        const [start, end] = a < b ? [a, b] : [b, a];
        expect((await read(start, end)).equals(CONTENT.subarray(start, end))).toBe(true);
      }),
      { numRuns: 25 },
    );
  });

  it('gives the same in smaller pieces to those who come while many others have not taken theirs', async () => {
    let go = (): void => undefined;
    const blocked = new Promise<void>((resolve) => (go = resolve));
    const first: number[] = [];
    const all = Array.from({ length: 100 }, async () => {
      const chunks: Buffer[] = [];
      await readRange(opened, 0, SIZE, async (chunk) => {
        if (chunks.push(Buffer.from(chunk)) === 1) first.push(chunk.length);
        await blocked;
      });
      return Buffer.concat(chunks).equals(CONTENT);
    });
    await expect.poll(() => first.length).toBe(100);
    expect(first.filter((length) => length > 64 * 1024).length).toBeLessThanOrEqual(64);
    go();
    expect((await Promise.all(all)).every(Boolean)).toBe(true);
    await readRange(opened, 0, SIZE, (chunk) => void first.push(chunk.length));
    expect(first[100]).toBe(512 * 1024);
  });

  it.each<[string, (file: string) => void]>([
    [
      'overwritten in place, size and mtime restored',
      (f) => {
        const { atime, mtime } = fs.statSync(f);
        const fd = fs.openSync(f, 'r+');
        fs.writeSync(fd, 'changed', SIZE - 100);
        fs.closeSync(fd);
        fs.utimesSync(f, atime, mtime);
      },
    ],
    ['cut short', (f) => fs.truncateSync(f, 700_000)],
    ['cut by one byte', (f) => fs.truncateSync(f, SIZE - 1)],
    ['made longer', (f) => fs.appendFileSync(f, 'more')],
  ])('fails before the last bytes when the file is %s', async (_what, change) => {
    let got = 0;
    await expect(
      readRange(opened, 0, SIZE, (chunk) => {
        if (got === 0) change(file);
        got += chunk.length;
      }),
    ).rejects.toMatchObject({ code: 'InternalError' });
    expect(got).toBeLessThan(SIZE);
  });

  it.each<[string, (file: string) => void]>([
    ['replaced', (f) => fs.renameSync(spare(f), f)],
    ['unlinked', (f) => fs.unlinkSync(f)],
    ['linked', (f) => fs.linkSync(f, `${f}2`)],
    ...(process.platform === 'linux'
      ? [['renamed', (f: string) => fs.renameSync(f, `${f}2`)] as [string, (f: string) => void]]
      : []),
  ])('goes on to the end when the file is %s', async (_what, change) => {
    expect(
      (
        await read(
          0,
          SIZE,
          once(() => change(file)),
        )
      ).equals(CONTENT),
    ).toBe(true);
  });
  const spare = (f: string): string => {
    fs.writeFileSync(`${f}.new`, 'other');
    return `${f}.new`;
  };

  it('leaves no buffer in use when the sink fails', async () => {
    const other = path.join(directory, 'other');
    fs.writeFileSync(other, Buffer.alloc(SIZE, 0xee));
    for (let n = 0; n < 20; n++) {
      const noise = { ...openRegular(other), path: other };
      const failing = readRange(noise, 0, SIZE, () => {
        throw new Error('gone');
      });
      const good = read(0, SIZE);
      await expect(failing).rejects.toThrow('gone');
      fs.closeSync(noise.fd);
      expect((await good).equals(CONTENT)).toBe(true);
    }
  });

  it('opens regular files only, and does not wait for a writer of a FIFO', () => {
    expect(() => openRegular(directory)).toThrow('no regular file');
    fs.symlinkSync(file, `${file}.link`);
    expect(() => openRegular(`${file}.link`)).toThrow('ELOOP');
    const { fd } = openRegular(`${file}.link`, true);
    fs.closeSync(fd);
    if (process.platform !== 'linux') return;
    expect(() => openRegular('/dev/null')).toThrow('no regular file');
  });
});
