import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LineWriter } from '../../src/base/line-writer.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(path.join(tmpdir(), 'gos3rve-lines-'))));
afterEach(() => rmSync(folder, { recursive: true }));

describe('lines to a file descriptor', () => {
  it('all arrive in their order, whole, whether the process waits for them or not', async () => {
    const file = path.join(folder, 'log');
    const fd = openSync(file, 'a');
    const writer = new LineWriter(fd, () => undefined);
    const lines = Array.from({ length: 500 }, (_, i) => `${i} ${'ü'.repeat(i % 100)}\n`);
    for (const line of lines.slice(0, 250)) writer.write(line);
    await expect.poll(() => readFileSync(file, 'utf8')).toBe(lines.slice(0, 250).join(''));
    for (const line of lines.slice(250)) writer.write(line);
    writer.flush();
    await expect.poll(() => readFileSync(file, 'utf8').split('\n').sort()).toEqual(lines.join('').split('\n').sort());
    closeSync(fd);
  });

  it.skipIf(process.platform !== 'linux')('are dropped where the disk is full, and nobody waits for it', async () => {
    const fd = openSync('/dev/full', 'a');
    const writer = new LineWriter(fd, () => undefined);
    writer.write('a\n');
    await new Promise((resolve) => setTimeout(resolve, 50));
    writer.write('b\n');
    writer.flush();
    writer.write('c\n');
    await new Promise((resolve) => setTimeout(resolve, 50));
    closeSync(fd);
  });
});
