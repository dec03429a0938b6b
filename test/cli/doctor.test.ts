/** gos3rve doctor by the real binary: what a person reads, what a program does, and what it leaves behind. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BINARY, cleanEnv } from '../e2e/harness.js';

let base: string;
let root: string;
beforeEach(() => {
  base = realpathSync(mkdtempSync(path.join(tmpdir(), 'gos3rve-doctor-')));
  root = path.join(base, 'root');
  mkdirSync(path.join(root, 'photos'), { recursive: true });
  writeFileSync(path.join(root, 'photos/cat.jpg'), 'cat');
});
afterEach(() => rmSync(base, { recursive: true }));

function doctor(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const env = cleanEnv({ XDG_STATE_HOME: path.join(base, 'xdg') });
  return new Promise((resolve) =>
    execFile(process.execPath, [BINARY, 'doctor', ...args], { env }, (error, out, err) =>
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, out, err }),
    ),
  );
}
const json = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe('gos3rve doctor', () => {
  it('leaves no trace in a directory that was never served, nor in the state that it is to get', async () => {
    const { code, out, err } = await doctor(root);
    expect([code, err]).toEqual([0, '']);
    expect(out).toContain('ok: it was not served yet');
    expect(out).toContain('a flush takes');
    await doctor(root, '--state-dir', path.join(base, 'state'));
    expect(readdirSync(base)).toEqual(['root']);
    expect(readdirSync(root, { recursive: true }).sort()).toEqual(['photos', 'photos/cat.jpg']);
  });

  it('sums up what there is a thousand times, shortens long paths, and counts what it found', async () => {
    for (let i = 0; i < 1000; i++)
      writeFileSync(Buffer.concat([Buffer.from(`${root}/photos/${i}`), Buffer.from([0xff])]), '');
    let deep = path.join(root, 'photos');
    for (let i = 0; i < 6; i++) mkdirSync((deep = path.join(deep, 'd'.repeat(200))));
    const { code, out } = await doctor(root);
    const lines = out.trimEnd().split('\n');
    expect(out).toContain('warning: 1,000 names are not UTF-8');
    expect(out).toContain('warning: 1 path is longer than');
    expect(out).toContain('and 995 more');
    expect(lines.length).toBeLessThan(30);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(180);
    expect([code, lines.at(-1)]).toEqual([0, expect.stringMatching(/^found 0 problems, \d warnings, 0 notes$/)]);
  });

  it('looks at all the rest where the state cannot be opened, with exit code 2', async () => {
    mkdirSync(path.join(root, '.gos3rve'));
    writeFileSync(path.join(root, '.gos3rve/journal'), 'a file');
    const { code, out } = await doctor(root, '--json');
    const found = json(out);
    expect(code).toBe(2);
    expect(found.find(({ check }) => check === 'state')).toMatchObject({ level: 'problem' });
    expect(found.at(-1)).toMatchObject({ check: 'tree', level: 'ok' });
    expect((await doctor(path.join(root, 'nowhere'))).code).toBe(1);
  });
});
