/** A root that this user cannot write: the commands that only read work all the same, the others say why, and the cures that are named exist. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BINARY, run, type RunResult } from './harness.js';

/** Root may write everything, so there the commands run as nobody. */
const USER = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : undefined;

describe.skipIf(process.platform === 'win32')('a root that cannot be written', () => {
  let base = '';
  let root = '';
  let outside = '';
  const command = (...args: string[]): Promise<RunResult> =>
    run(process.execPath, [BINARY, ...args], {
      mayFail: true,
      cwd: outside,
      env: { HOME: outside, XDG_STATE_HOME: path.join(outside, 'xdg') },
      ...(USER && { user: USER }),
    });
  const there = (verb: string, ...args: string[]): Promise<RunResult> =>
    command(verb, ...args, '--root', root, '--state-dir', path.join(outside, 'state'));
  const shut = (directory: string, mode: number): void => {
    for (const name of ['', ...fs.readdirSync(directory, { recursive: true, encoding: 'utf8' })]) {
      const one = path.join(directory, name);
      if (fs.statSync(one).isDirectory()) fs.chmodSync(one, mode);
    }
  };

  beforeAll(() => {
    base = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-ro-'));
    fs.chmodSync(base, 0o755);
    root = path.join(base, 'root');
    outside = path.join(base, 'outside');
    fs.mkdirSync(path.join(root, 'box/p'), { recursive: true });
    fs.writeFileSync(path.join(root, 'box/p/a.txt'), 'hello');
    fs.mkdirSync(outside);
    for (const one of USER ? [root, path.join(root, 'box'), path.join(root, 'box/p'), outside] : [])
      fs.chownSync(one, USER?.uid ?? 0, USER?.gid ?? 0);
    shut(root, 0o555);
  });
  afterAll(() => {
    shut(root, 0o755);
    fs.rmSync(base, { recursive: true });
  });

  it('is read by the commands that read', async () => {
    expect(await there('stat', 'box/p/a.txt')).toMatchObject({ code: 0, stderr: '' });
    expect(await there('ls', '-r', 'box')).toMatchObject({ code: 0, stderr: '' });
    expect(await there('cp', 'box/p/a.txt', './out')).toMatchObject({ code: 0, stderr: '' });
    expect(fs.readFileSync(path.join(outside, 'out'), 'utf8')).toBe('hello');
    expect(await there('cp', '-r', 'box/p/', './tree')).toMatchObject({ code: 0 });
    const verified = await there('verify');
    expect([verified.code, verified.stderr, verified.stdout]).toEqual([0, '', expect.stringContaining('one object')]);
    const presign = ['box/p/a.txt', '--endpoint', 'http://127.0.0.1:1', '--access-key', 'a', '--secret-key', 'b'];
    expect(await there('presign', ...presign)).toMatchObject({ code: 0, stderr: '' });
    const doctor = await command('doctor', root, '--state-dir', path.join(outside, 'state'));
    expect(doctor).toMatchObject({ code: 0, stderr: '' });
    expect(doctor.stdout).toContain('serve it with --read-only --state-dir');
  });

  it('is watched', async () => {
    const watching = run(
      'timeout',
      ['4', process.execPath, BINARY, 'watch', '--root', root, '--state-dir', path.join(outside, 'state')],
      {
        mayFail: true,
        cwd: outside,
        env: { HOME: outside, XDG_STATE_HOME: path.join(outside, 'xdg') },
        ...(USER && { user: USER }),
      },
    );
    expect((await watching).stderr).toBe('');
  });

  it.each([
    ['mv', 'box/p/a.txt', 'box/b.txt'],
    ['rm', 'box/p/a.txt'],
    ['cp', './out', 'box/b.txt'],
    ['cp', 'box/p/a.txt', 'box/b.txt'],
    ['gc'],
  ])('is left alone by %s, with the reason', async (...args) => {
    fs.writeFileSync(path.join(outside, 'out'), 'x');
    const [verb = '', ...more] = args;
    const { code, stderr } = await there(verb, ...more);
    expect([code, stderr]).toEqual([1, `gos3rve: ${root} cannot be written (EACCES); run this as its owner\n`]);
    expect(fs.readdirSync(path.join(root, 'box'))).toEqual(['p']);
  });

  it('is told a cure that works where no state can be kept', async () => {
    const { code, stderr } = await command('stat', 'box/p/a.txt', '--root', root);
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/\(EACCES\); pass --state-dir with a directory that can be written\n$/),
    ]);
  });

  it('with a state of its own is told to copy that, and is read then', async () => {
    const own = path.join(base, 'own');
    fs.mkdirSync(path.join(own, 'box'), { recursive: true });
    fs.writeFileSync(path.join(own, 'box/a.txt'), 'hello');
    for (const one of USER ? [own, path.join(own, 'box')] : []) fs.chownSync(one, USER?.uid ?? 0, USER?.gid ?? 0);
    expect((await command('cp', './out', 'box/b.txt', '--root', own)).code).toBe(0);
    shut(own, 0o555);
    try {
      const other = await command('ls', 'box', '--root', own, '--state-dir', path.join(outside, 'other'));
      const told =
        /^gos3rve: \S+own keeps its state in \S+, not in \S+, and cannot be written; copy it \(cp -a\) .* --state-dir\n$/;
      expect([other.code, other.stderr]).toEqual([1, expect.stringMatching(told)]);
      const copy = path.join(outside, 'copy');
      await run('cp', ['-a', path.join(own, '.gos3rve'), copy], USER && { user: USER });
      shut(copy, 0o700);
      const { code, stdout, stderr } = await command('ls', 'box', '--root', own, '--state-dir', copy);
      expect([code, stderr, stdout]).toEqual([0, '', expect.stringMatching(/a\.txt[^]*b\.txt/)]);
    } finally {
      shut(own, 0o755);
    }
  });
});
