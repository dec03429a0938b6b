/** `gos3rve mv` as a person runs it: what it prints, and its exit codes. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const BIN = path.join(import.meta.dirname, '../../bin/gos3rve.js');
const BUILT = existsSync(path.join(import.meta.dirname, '../../dist/cli/moving.js'));

describe.skipIf(!BUILT)('gos3rve mv (needs npm run build)', () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-mv-'));
    for (const dir of ['photos/2023/sub', 'photos/2024', 'archive'])
      await mkdir(path.join(root, dir), { recursive: true });
    for (const file of ['photos/a.jpg', 'photos/2023/cat.jpg', 'photos/2023/sub/dog.jpg', 'photos/2024/cow.jpg'])
      await writeFile(path.join(root, file), file);
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const at = (file: string): string => path.join(root, file);
  const mv = (...args: string[]): Promise<{ code: number; out: string; error: string }> =>
    new Promise((resolve) => {
      const env = { ...process.env, GOS3RVE_ROOT: root, XDG_STATE_HOME: at('state') };
      execFile(process.execPath, [BIN, 'mv', ...args], { env, timeout: 20_000 }, (failure, out, error) => {
        resolve({ code: typeof failure?.code === 'number' ? failure.code : failure ? -1 : 0, out, error });
      });
    });

  it('moves an object to a name, into a prefix and into a bucket', async () => {
    expect(await mv('photos/a.jpg', 'archive/b.jpg')).toEqual({ code: 0, out: '', error: '' });
    expect(await mv('archive/b.jpg', 'archive/deep/er/')).toMatchObject({ code: 0 });
    expect(await mv('archive/deep/er/b.jpg', 'photos')).toMatchObject({ code: 0 });
    expect(await readFile(at('photos/b.jpg'), 'utf8')).toBe('photos/a.jpg');
    expect(existsSync(at('archive/deep'))).toBe(false);
  });

  it('moves a prefix by one rename, and a missing slash is added', async () => {
    expect(await mv('photos/2023/', 'archive/2023')).toEqual({ code: 0, out: 'moved one folder\n', error: '' });
    expect(await readFile(at('archive/2023/sub/dog.jpg'), 'utf8')).toBe('photos/2023/sub/dog.jpg');
    expect(existsSync(at('photos/2023'))).toBe(false);
  });

  it('takes paths of the tree', async () => {
    expect(await mv(`${at('photos/2023')}/`, at('archive/paths'))).toMatchObject({ code: 0 });
    expect(existsSync(at('archive/paths/cat.jpg'))).toBe(true);
  });

  it('moves what begins so with --prefix, and all of a bucket', async () => {
    expect((await mv('--prefix', 'photos/20', 'photos/old-20')).out).toBe('moved 2 folders\n');
    expect(existsSync(at('photos/old-2024/cow.jpg'))).toBe(true);
    expect((await mv('photos/', 'archive/')).out).toBe('moved 2 folders and one object\n');
    expect(existsSync(at('archive/a.jpg'))).toBe(true);
    expect(existsSync(at('photos'))).toBe(true);
  });

  it('refuses what is there, tells the way out, and merges when forced', async () => {
    const refused = await mv('photos/2023/', 'photos/2024/');
    expect(refused).toMatchObject({ code: 1, out: '' });
    expect(refused.error).toMatch(
      /^gos3rve: There is something at "2024\/" already; pass --force to replace or merge\n$/,
    );
    expect(await mv('photos/a.jpg', 'photos/2024/cow.jpg')).toMatchObject({ code: 1 });
    const forced = await mv('--force', 'photos/a.jpg', 'photos/2024/cow.jpg');
    expect(forced).toEqual({ code: 0, out: 'photos/a.jpg -> photos/2024/cow.jpg (replaced)\n', error: '' });
    expect((await mv('--force', 'photos/2023/', 'photos/2024/')).out).toBe('moved one folder and one object\n');
  });

  it('tells usage faults and missing things apart', async () => {
    expect(await mv('photos/2023', 'archive/x')).toMatchObject({ code: 2 });
    expect((await mv('photos/2023', 'archive/x')).error).toContain('write photos/2023/');
    expect(await mv('photos/a.jpg', 'photos/a.jpg')).toMatchObject({ code: 2 });
    expect(await mv('photos/none', 'archive/x')).toMatchObject({
      code: 1,
      error: 'gos3rve: there is no object photos/none\n',
    });
    expect(await mv('photos/none/', 'archive/x/')).toMatchObject({ code: 1 });
    expect(await mv('nowhere/x/', 'archive/x/')).toMatchObject({ code: 1 });
    expect(await mv('photos/2023/', 'photos/2023/sub/')).toMatchObject({ code: 1 });
    expect(existsSync(at('photos/2023/sub/dog.jpg'))).toBe(true);
  });

  it('only tells with --dry-run, and prints JSON', async () => {
    const dry = await mv('--dry-run', 'photos/2023/', 'archive/2023/');
    expect(dry).toMatchObject({ code: 0, out: 'photos/2023/ -> archive/2023/ (one rename)\n' });
    expect(existsSync(at('photos/2023/cat.jpg'))).toBe(true);
    const { out } = await mv('--json', 'photos/2023/', 'archive/2023/');
    expect(
      out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual([
      { kind: 'directory', from: 'photos/2023/', to: 'archive/2023/' },
      { moved: { directories: 1, objects: 0, replaced: 0, bytes: 0 }, dryRun: false },
    ]);
  });
});
