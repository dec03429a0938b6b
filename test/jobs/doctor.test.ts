import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { examine, type Finding } from '../../src/jobs/doctor.js';
import { examineWriting } from '../../src/jobs/doctor/disk.js';
import { examineWatches } from '../../src/jobs/doctor/system.js';
import { excludedBy } from '../../src/store/excludes.js';
import { openStore, type LocalStore } from '../../src/store/open.js';

const EXCLUDE = ['Thumbs.db', 'cache/', '/photos/raw/*.xmp'];

let root: string;
let store: LocalStore | undefined;
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'gos3rve-doctor-')));
  mkdirSync(join(root, 'photos/2024'), { recursive: true });
  writeFileSync(join(root, 'photos/2024/cat.jpg'), 'cat');
});
afterEach(async () => {
  await store?.close();
  store = undefined;
  rmSync(root, { recursive: true });
});

async function findings(prepare?: (store: LocalStore) => Promise<void>): Promise<Map<string, Finding>> {
  store = await openStore(root, { exclude: EXCLUDE });
  await prepare?.(store);
  const found = new Map<string, Finding>();
  const question = {
    root,
    stateDir: join(root, '.gos3rve'),
    readOnly: false,
    symlinks: 'files' as const,
    store,
    excluded: excludedBy(EXCLUDE),
    signal: new AbortController().signal,
    progress: () => undefined,
  };
  await examine(question, (finding) => found.set(finding.check, finding));
  return found;
}

describe('doctor', () => {
  it('finds nothing to mend in a plain tree, and leaves nothing behind', async () => {
    const found = await findings();
    expect([...found.values()].filter(({ level }) => level === 'problem')).toEqual([]);
    expect(found.get('tree')?.message).toBe('1 files in 3 directories');
    expect(found.has('names-folded')).toBe(false);
  });

  it('tells of buckets that lost their folder, and of those whose name another one took', async () => {
    const found = await findings(async (store) => {
      for (const bucket of ['here', 'gone', 'taken', 'taker']) {
        await store.createBucket(bucket, {});
        await store.updateBucket(bucket, (settings) => ({ ...settings, tags: [['of', bucket]] }));
      }
      rmSync(join(root, 'gone'), { recursive: true });
      rmSync(join(root, 'taken'), { recursive: true });
      renameSync(join(root, 'taker'), join(root, 'taken'));
      expect((await store.getBucket('taken')).settings.tags).toEqual([['of', 'taker']]);
    });
    expect(found.get('bucket-without-folder')).toMatchObject({ level: 'note', count: 1, examples: ['gone'] });
    expect(found.get('bucket-replaced')).toMatchObject({ level: 'warning', count: 1 });
  });

  it('tells names that fold into one, by case and by accents', async () => {
    writeFileSync(join(root, 'photos/2024/CAT.jpg'), '');
    writeFileSync(join(root, 'photos/\u00e4'), '');
    writeFileSync(join(root, 'photos/a\u0308'), '');
    const finding = (await findings()).get('names-folded');
    expect(finding).toMatchObject({ level: 'warning', count: 2 });
    expect(finding?.examples?.join()).toContain('2024/');
    expect(finding?.cure).toBeTruthy();
  });

  it('tells names that no key can have, and those that XML cannot carry', async () => {
    writeFileSync(Buffer.concat([Buffer.from(join(root, 'photos/')), Buffer.from([0x66, 0xff])]), '');
    writeFileSync(join(root, 'photos/bell\x07'), '');
    let deep = join(root, 'photos');
    for (let i = 0; i < 6; i++) mkdirSync((deep = join(deep, 'd'.repeat(200))));
    writeFileSync(join(deep, 'f'), '');
    const found = await findings();
    for (const check of ['names-not-utf8', 'names-not-xml']) expect(found.get(check)?.count, check).toBe(1);
    expect(found.get('keys-too-long')?.count).toBeGreaterThan(0);
  });

  it('tells links that leave their bucket, lead nowhere, or are not followed', async () => {
    symlinkSync('/etc/passwd', join(root, 'photos/out'));
    symlinkSync('nowhere', join(root, 'photos/dangling'));
    symlinkSync('2024', join(root, 'photos/dir'));
    symlinkSync('2024/cat.jpg', join(root, 'photos/fine'));
    const found = await findings();
    expect(found.get('links-leaving')?.examples).toEqual(['photos/out -> /etc/passwd']);
    expect(found.get('links-dangling')?.examples).toEqual(['photos/dangling']);
    expect(found.get('links-unfollowed')?.examples).toEqual(['photos/dir']);
  });

  it('tells loose files and bad bucket names, and passes over what is excluded', async () => {
    writeFileSync(join(root, 'loose'), '');
    writeFileSync(join(root, 'Thumbs.db'), '');
    mkdirSync(join(root, 'photos/cache'));
    mkdirSync(join(root, 'photos/raw'));
    symlinkSync('nowhere', join(root, 'photos/cache/dangling'));
    symlinkSync('nowhere', join(root, 'photos/raw/a.xmp'));
    symlinkSync('nowhere', join(root, 'photos/raw/a.dng'));
    mkdirSync(join(root, 'My Pictures'));
    const found = await findings();
    expect(found.get('loose-files')?.examples).toEqual(['loose']);
    expect(found.get('bucket-names')?.examples).toEqual(['My Pictures']);
    expect(found.get('links-dangling')?.examples).toEqual(['photos/raw/a.dng']);
  });

  it('tells why objects lie in overflow', async () => {
    const found = await findings(async (at) => {
      const body = { chunks: (async function* () {})() };
      await at.put('photos', 'a//b', body);
      await at.put('photos', '2024', { chunks: (async function* () {})() });
    });
    expect(found.get('overflow-impossible')?.examples).toEqual(['photos/a//b']);
    expect(found.get('overflow-conflict')?.examples).toEqual(['photos/2024']);
  });

  it('tells secrets that others can read, damaged lines and quarantined files', async () => {
    const state = join(root, '.gos3rve');
    mkdirSync(join(state, 'journal/damaged'), { recursive: true });
    writeFileSync(join(state, 'journal/damaged/x.jsonl.txt'), 'at byte 0');
    mkdirSync(join(state, 'quarantine/2026-11-21'), { recursive: true });
    writeFileSync(join(state, 'quarantine/2026-11-21/body'), '');
    writeFileSync(join(state, 'credentials.json'), '{}');
    chmodSync(join(state, 'credentials.json'), 0o644);
    const found = await findings();
    expect(found.get('secrets-readable')).toMatchObject({ level: 'problem', examples: ['credentials.json'] });
    expect(found.get('journal-damage')?.level).toBe('problem');
    expect(found.get('quarantine')?.examples).toEqual(['2026-11-21/body']);
  });

  it('goes on where a check cannot be run', async () => {
    const levels: string[] = [];
    expect(() => examineWriting(join(root, 'missing'), ({ level }) => levels.push(level))).toThrow('ENOENT');
    expect(levels).toEqual([]);
    const found = await findings(async () => rmSync(join(root, '.gos3rve/staging'), { recursive: true }));
    expect(found.get('flush')).toMatchObject({ level: 'problem' });
    expect(found.has('tree')).toBe(true);
  });

  it.skipIf(process.platform !== 'linux')('compares directories with the watches that are granted [Linux only]', () => {
    const levels: string[] = [];
    examineWatches(1, ({ level }) => levels.push(level));
    examineWatches(1e12, ({ level, cure }) => levels.push(level, cure ?? ''));
    expect(levels.slice(0, 2)).toEqual(['ok', 'warning']);
    expect(levels[2]).toContain('fs.inotify.max_user_watches=');
  });

  it('names what lies deeper than any path may lead', async () => {
    const half = Array<string>(12).fill('n'.repeat(200)).join('/');
    for (const top of ['photos', 'other']) mkdirSync(join(root, top, half), { recursive: true });
    renameSync(join(root, 'other'), join(root, 'photos', half, 'more'));
    const found = await findings();
    expect([...found.values()].filter(({ level }) => level === 'problem')).toEqual([]);
    expect(found.get('keys-too-long')).toMatchObject({ level: expect.any(String) as string });
    // node's own removal knows no such path
    execFileSync('rm', ['-rf', join(root, 'photos')]);
  });
});
