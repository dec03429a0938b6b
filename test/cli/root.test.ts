/** Which directory is meant, and what arguments name in it. */
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findRoot } from '../../src/cli/root.js';
import { noteServing, readServing, settingsOf } from '../../src/cli/settings.js';
import { isPath, parseObject, targetOfPath } from '../../src/cli/target.js';
import { namesFor } from '../../src/cli/complete-names.js';
import { rememberRoot, servedRoots } from '../../src/fs/roots.js';

let folder: string;
let env: Record<string, string>;
const NONE = new Map<string, string>();

beforeEach(() => {
  folder = realpathSync.native(mkdtempSync(join(tmpdir(), 'gos3rve-root-')));
  env = { XDG_STATE_HOME: join(folder, 'state') };
  for (const name of ['media', 'other']) mkdirSync(join(folder, name, '.gos3rve/journal'), { recursive: true });
  mkdirSync(join(folder, 'media/photos/2024'), { recursive: true });
  mkdirSync(join(folder, 'home'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const media = () => join(folder, 'media');
const find = (question: Partial<Parameters<typeof findRoot>[0]> = {}) =>
  findRoot({ env, cwd: join(folder, 'home'), ...question });

describe('findRoot', () => {
  it('takes what is told: the argument, --root, then the variable', () => {
    const told = { named: media(), flag: join(folder, 'other'), env: { ...env, GOS3RVE_ROOT: folder } };
    expect(find(told).path).toBe(media());
    expect(find({ ...told, named: undefined }).path).toBe(join(folder, 'other'));
    expect(find({ env: { ...env, GOS3RVE_ROOT: '../media' } }).path).toBe(media());
  });

  it('walks up from the working directory, or from a path that need not be there', () => {
    expect(find({ cwd: join(media(), 'photos/2024') }).path).toBe(media());
    expect(find({ near: ['/nowhere', join(media(), 'photos/new/deep/x.jpg')] }).path).toBe(media());
  });

  it('does not take the staging folder of another mount for a root', () => {
    mkdirSync(join(media(), 'photos/.gos3rve/staging'), { recursive: true });
    expect(find({ cwd: join(media(), 'photos') }).path).toBe(media());
  });

  it('takes the only root ever served; roots that are gone are passed over', () => {
    rememberRoot(media(), undefined, env);
    rememberRoot(join(folder, 'gone'), undefined, env);
    expect(find().path).toBe(media());
  });

  it('remembers where the state is kept', () => {
    rememberRoot(media(), join(folder, 'elsewhere'), env);
    expect(find().stateDir).toBe(join(folder, 'elsewhere'));
    expect(find({ flag: media() }).stateDir).toBe(join(folder, 'elsewhere'));
    expect(find({ flag: media(), stateDir: join(folder, 'told') }).stateDir).toBe(join(folder, 'told'));
    rememberRoot(media(), undefined, env);
    expect(find().stateDir).toBe(join(media(), '.gos3rve'));
  });

  it('tells what it tried', () => {
    expect(() => find()).toThrow(
      /pass --root, or set GOS3RVE_ROOT; there is no \.gos3rve in .*home or above, and none/,
    );
    rememberRoot(media(), undefined, env);
    rememberRoot(join(folder, 'other'), undefined, env);
    expect(() => find()).toThrow(/2 were served by this user: .*media/);
    expect(() => find({ flag: join(folder, 'nothing') })).toThrow(/nothing does not exist/);
  });

  it('survives a registry that is damaged or cannot be written', () => {
    rememberRoot(media(), undefined, env);
    writeFileSync(join(folder, 'state/gos3rve/roots/x.json'), '{"root":');
    expect(servedRoots(env)).toHaveLength(1);
    expect(() => rememberRoot(media(), undefined, { XDG_STATE_HOME: '/proc/nowhere' })).not.toThrow();
  });

  it('keeps one entry a root', () => {
    for (let n = 0; n < 3; n++) rememberRoot(media(), undefined, env);
    expect(readdirSync(join(folder, 'state/gos3rve/roots'))).toHaveLength(1);
  });
});

describe('settings of a root', () => {
  const root = () => ({ path: media(), stateDir: join(media(), '.gos3rve') });

  it('are those that serve was told, then those of config.yaml', async () => {
    writeFileSync(join(root().stateDir, 'config.yaml'), 'exclude: ["*.tmp"]\nsymlinks: none\n');
    const variables = { GOS3RVE_EXCLUDE: '*.bak,*.old', GOS3RVE_ACCESS_KEY: 'x', GOS3RVE_SECRET_KEY: 'hidden' };
    noteServing(root().stateDir, { bucket: ['films=photos'], readOnly: true }, variables, ['AKIA'], undefined);
    const settings = await settingsOf(root(), env);
    expect(settings).toMatchObject({ bucket: [['films', 'photos']], readOnly: true, symlinks: 'none' });
    expect(settings.exclude).toEqual(['*.bak', '*.old']);
    expect(JSON.stringify(readServing(root().stateDir))).not.toContain('hidden');
  });

  it('do without what serve has noted, and without half a key pair', async () => {
    writeFileSync(join(root().stateDir, 'serving.json'), 'x');
    expect(await settingsOf(root(), { ...env, AWS_ACCESS_KEY_ID: 'half' })).toMatchObject({ credentials: [] });
  });
});

describe('arguments', () => {
  const target = (path: string, aliases: ReadonlyMap<string, string> = NONE) =>
    targetOfPath(join(folder, path), { path: media(), stateDir: join(media(), '.gos3rve') }, aliases);

  it.each(['./x', '../x', '/x', '~/x', '.', '..', '~'])('%s is a path', (text) => expect(isPath(text)).toBe(true));
  it.each(['x', 'x/y', '.x/y', '..x/y', 's3://x/y', '~x/y', '-'])('%s is none', (text) =>
    expect(isPath(text)).toBe(false),
  );

  it('name objects', () => {
    expect(parseObject('photos/a//b')).toEqual({ bucket: 'photos', key: 'a//b' });
    expect(parseObject('s3://photos/a/')).toEqual({ bucket: 'photos', key: 'a/' });
    expect(parseObject('photos')).toEqual({ bucket: 'photos', key: '' });
    expect(parseObject('photos/')).toEqual({ bucket: 'photos', key: '', whole: true });
    expect(() => parseObject('s3:///x')).toThrow(/names no bucket/);
  });

  it('are objects where they are paths in the tree', () => {
    expect(target('media/photos/2024/cat.jpg')).toEqual({ bucket: 'photos', key: '2024/cat.jpg' });
    expect(target('media/photos/2024/')).toEqual({ bucket: 'photos', key: '2024/' });
    expect(target('media/.gos3rve/credentials.json')).toBeUndefined();
    expect(target('media/photos/.gos3rve/x')).toBeUndefined();
    expect(target('other/x')).toBeUndefined();
    expect(target('media')).toBeUndefined();
  });

  it('are found behind links, and behind aliases', () => {
    symlinkSync(join(media(), 'photos'), join(folder, 'pictures'));
    expect(target('pictures/cat.jpg')).toEqual({ bucket: 'photos', key: 'cat.jpg' });
    const aliases = new Map([
      ['photos', 'other'],
      ['all', '.'],
    ]);
    expect(target('media/photos/cat.jpg', aliases)).toEqual({ bucket: 'all', key: 'photos/cat.jpg' });
  });

  it('are completed, but never out of the tree', () => {
    writeFileSync(join(media(), 'photos/2024/cat.jpg'), 'x');
    expect(namesFor('p', media(), new Map([['pets', 'photos/2024']]))).toEqual(['pets/', 'photos/']);
    expect(namesFor('photos/2', media(), NONE)).toEqual(['photos/2024/']);
    expect(namesFor('pets/', media(), new Map([['pets', 'photos/2024']]))).toEqual(['pets/cat.jpg']);
    expect(namesFor('', media(), NONE)).toEqual(['photos/']);
    expect(namesFor('photos/../../', media(), NONE)).toEqual([]);
    expect(namesFor('.gos3rve/', media(), NONE)).toEqual([]);
  });
});
