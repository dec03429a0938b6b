import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadSettings, readConfigFile, stateDirSetting, type Flags } from '../../src/base/config.js';
import { UsageError } from '../../src/base/errors.js';
import { describeOptions, OPTION_NAMES } from '../../src/base/options.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gos3rve-config-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function load(flags: Flags, env: Record<string, string> = {}, yaml?: string) {
  const path = join(folder, 'config.yaml');
  if (yaml !== undefined) await writeFile(path, yaml);
  return loadSettings(flags, env, await readConfigFile(path));
}

describe('layers', () => {
  it.each<[string, Flags, Record<string, string>, string | undefined, number]>([
    ['default', {}, {}, undefined, 9000],
    ['file over default', {}, {}, 'port: 9001', 9001],
    ['environment over file', {}, { GOS3RVE_PORT: '9002' }, 'port: 9001', 9002],
    ['flag over environment', { port: '9003' }, { GOS3RVE_PORT: '9002' }, 'port: 9001', 9003],
    ['an empty variable is unset', {}, { GOS3RVE_PORT: '' }, 'port: 9001', 9001],
    ['PORT is not ours', {}, { PORT: '1' }, undefined, 9000],
  ])('%s', async (_, flags, env, yaml, port) => {
    expect((await load(flags, env, yaml)).port).toBe(port);
  });

  it('reads all types', async () => {
    const settings = await load(
      { bucket: ['films=media/films', 'all=.'], readOnly: true, umask: '027' },
      { GOS3RVE_EXCLUDE: '*.tmp,*.bak', GOS3RVE_MIN_FREE: '5%', GOS3RVE_DEFAULT_EXCLUDES: 'no' },
      'min-part-size: 1MiB\ndrainTimeout: 5m\nbaseDomain: [S3.Example.com]\nsymlinks: all\npublicUrl: https://s3.example.com/\n',
    );
    expect(settings).toMatchObject({
      bucket: [
        ['films', 'media/films'],
        ['all', '.'],
      ],
      readOnly: true,
      umask: 0o027,
      exclude: ['*.tmp', '*.bak'],
      minFree: { percent: 5 },
      defaultExcludes: false,
      minPartSize: 1024 * 1024,
      drainTimeout: 300_000,
      baseDomain: ['s3.example.com'],
      symlinks: 'all',
      publicUrl: 'https://s3.example.com',
      durability: 'flush',
      region: undefined,
    });
  });

  it('takes buckets as a map, and an empty file', async () => {
    expect((await load({}, {}, 'bucket:\n  films: media/films\n')).bucket).toEqual([['films', 'media/films']]);
    expect((await load({}, {}, '# nothing yet\n')).port).toBe(9000);
  });

  it('finds the state directory by flag or variable', () => {
    expect(stateDirSetting({ stateDir: '/a' }, { GOS3RVE_STATE_DIR: '/b' })).toBe('/a');
    expect(stateDirSetting({}, { GOS3RVE_STATE_DIR: '/b' })).toBe('/b');
    expect(stateDirSetting({}, {})).toBeUndefined();
  });
});

describe('key pairs', () => {
  const aws = { AWS_ACCESS_KEY_ID: 'AKIAAWS', AWS_SECRET_ACCESS_KEY: 'aws' };
  const yaml = 'credentials:\n  - { accessKey: 0123, secretKey: s/1, owner: carol, displayName: Carol }\n';

  it.each<[string, Flags, Record<string, string>, string | undefined, string[]]>([
    ['none', {}, {}, undefined, []],
    ['AWS variables', {}, aws, undefined, ['AKIAAWS/aws']],
    ['our variables first', {}, { ...aws, GOS3RVE_ACCESS_KEY: 'own', GOS3RVE_SECRET_KEY: 'x' }, undefined, ['own/x']],
    ['flags first, the file behind', { accessKey: 'f', secretKey: 'g' }, aws, yaml, ['f/g', '0123/s/1']],
    ['temporary AWS credentials are not for servers', {}, { ...aws, AWS_SESSION_TOKEN: 't' }, undefined, []],
  ])('%s', async (_, flags, env, file, expected) => {
    const { credentials } = await load(flags, env, file);
    expect(credentials.map((c) => `${c.accessKey}/${c.secretKey}`)).toEqual(expected);
  });

  it('does not mix halves of different places', async () => {
    await expect(load({ accessKey: 'mine' }, aws)).rejects.toThrow('--access-key is given without --secret-key');
    await expect(load({}, { AWS_SECRET_ACCESS_KEY: 'x' })).rejects.toThrow(
      'AWS_SECRET_ACCESS_KEY is given without AWS_ACCESS_KEY_ID',
    );
  });
});

describe('faults', () => {
  it.each<[Flags, Record<string, string>, string | undefined, RegExp]>([
    [{ port: '70000' }, {}, undefined, /^--port: "70000" is no port; give a number from 0 to 65535$/],
    [{ port: '' }, {}, undefined, /^--port: "" is no port/],
    [{}, { GOS3RVE_MIN_FREE: 'lots' }, undefined, /^GOS3RVE_MIN_FREE: "lots" is no size; write it like 1GiB or 5%$/],
    [{ minFree: '101%' }, {}, undefined, /more than all/],
    [{ umask: '089' }, {}, undefined, /--umask: "089" is no umask/],
    [{ symlinks: 'some' }, {}, undefined, /is none of files, all, none/],
    [{ bucket: ['films'] }, {}, undefined, /is no alias=path/],
    [{ bucket: ['x=a', 'x=b'] }, {}, undefined, /^--bucket: "x" is given twice, as a and as b; give each/],
    [{}, { GOS3RVE_BUCKET: 'x=a,y=b,x=a' }, undefined, /^GOS3RVE_BUCKET: "x" is given twice/],
    [{}, {}, 'bucket: [x=a, x=b]', /config\.yaml: bucket: "x" is given twice/],
    [{ publicUrl: 'https://a/b' }, {}, undefined, /a path would break signatures/],
    [{ publicUrl: 'ftp://a' }, {}, undefined, /is no URL/],
    [{ accessKey: 'a/b', secretKey: 'c' }, {}, undefined, /.*/],
    [{}, {}, 'prot: 1', /config\.yaml: unknown key "prot"; known are .*port/],
    [{}, {}, 'ports: 1', /config\.yaml: unknown key "ports"; did you mean port\?$/],
    [{}, {}, 'bucket: { films: { a: b } }', /config\.yaml: bucket: films must be the path of one folder$/],
    [{}, {}, 'port: [1, 2]', /config\.yaml: port must be one value$/],
    [{}, {}, 'readOnly: perhaps', /config\.yaml: readOnly: "perhaps" is neither true nor false/],
    [{}, {}, 'a: [', /config\.yaml is no valid YAML/],
    [{}, {}, '- a', /config\.yaml: expected "key: value" lines/],
    [{}, {}, 'stateDir: /x', /pass --state-dir/],
    [{}, {}, 'credentials: 5', /credentials must be a list/],
    [{}, {}, 'credentials: [{ accessKey: a }]', /credentials\[0\]: accessKey and secretKey are both needed/],
    [
      {},
      {},
      'credentials: [{ accesKey: a, secretKey: b }]',
      /credentials\[0\]: unknown key "accesKey"; did you mean accessKey\?/,
    ],
  ])('%j %j %j', async (flags, env, yaml, message) => {
    const failure = load(flags, env, yaml);
    await expect(failure).rejects.toThrow(UsageError);
    await expect(failure).rejects.toThrow(message);
  });

  it('never repeats a secret', async () => {
    await expect(load({ accessKey: 'a', secretKey: 'top secret' })).rejects.toThrow(/^--secret-key: the value must be/);
  });
});

describe('describeOptions', () => {
  it('has a row for each option, with flag and variable', () => {
    const rows = describeOptions();
    expect(rows.map((row) => row.key)).toEqual(OPTION_NAMES);
    expect(rows).toContainEqual({
      flags: '--min-free <size|%>',
      variable: 'GOS3RVE_MIN_FREE',
      key: 'minFree',
      default: '64MiB',
      help: 'refuse uploads once less than this is free',
    });
    expect(rows.find((row) => row.key === 'defaultExcludes')?.flags).toBe('--no-default-excludes');
  });
});
