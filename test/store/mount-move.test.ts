/** Moves to another file system: copied, compared, published, and only then gone; taken up again after a break. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmod,
  chown,
  link,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { MoveReport, MoveStep } from '../../src/store/contract.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body, exists, list, md5, put, refuses, text } from '../suites/store/kit.js';

const MOUNTS = process.platform === 'linux' && process.getuid?.() === 0 && canMount();

function canMount(): boolean {
  try {
    execFileSync('unshare', ['-m', 'true'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

describe.skipIf(!MOUNTS)('a move to another file system (needs root, for mount)', () => {
  let root: string;
  let store: LocalStore;
  beforeEach(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-mounts-'));
    for (const name of ['here', 'there']) await mkdir(path.join(root, name));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', path.join(root, 'there')]);
    store = await openStore(root, { minPartSize: 1024 });
  });
  afterEach(async () => {
    await store.close();
    for (const at of ['there', 'here/a/mnt']) {
      try {
        execFileSync('umount', [path.join(root, at)], { stdio: 'ignore' });
      } catch {
        // not mounted in this test
      }
    }
    await rm(root, { recursive: true, force: true });
  });

  const facts = { contentType: 'x/y', metadata: { who: 'me' }, tags: [['a', 'b']] as [string, string][] };
  const move = (steps?: MoveStep[], force = false): Promise<MoveReport> =>
    store.movePrefix(
      { bucket: 'here', key: 'a/' },
      { bucket: 'there', key: 'b/' },
      { force, onStep: (step) => void steps?.push(step) },
    );

  it('keeps parts that the bytes prove, though the file was touched, and gives other bytes their own hash', async () => {
    const file = path.join(root, 'here/a/k');
    for (const forged of [false, true]) {
      const { uploadId } = await store.createUpload('here', 'a/k', {});
      const part = await store.putPart('here', 'a/k', uploadId, 1, body('x'.repeat(1_200_000)));
      const { etag } = await store.completeUpload('here', 'a/k', uploadId, [
        { partNumber: 1, etag: part.etag, checksums: {} },
      ]);
      if (forged) await writeFile(file, 'y'.repeat(1_200_000));
      await utimes(file, 1_700_000_000, 1_700_000_000);
      await store.live.lookAtFile(['here', 'a'], 'k');
      await move([], true);
      const info = await store.head('there', 'b/k');
      // one that was told meanwhile is told for a while
      expect([info.etag, ...(info.aliases ?? [])]).toContain(forged ? md5('y'.repeat(1_200_000)) : etag);
      expect(info.partCount).toBe(forged ? undefined : 1);
    }
  });

  it('moves what was rewritten and renamed before, by the hash of its bytes', async () => {
    const file = path.join(root, 'here/a/k');
    await store.put('here', 'a/k', body('x'.repeat(1_200_000)), { facts: { metadata: { mtime: '1700000000' } } });
    await writeFile(file, 'y'.repeat(1_200_000));
    await utimes(file, 1_700_000_000, 1_700_000_000);
    await rename(file, `${file}2`);
    expect((await store.head('here', 'a/k2')).etag).toBe(md5('x'.repeat(1_200_000)));
    await move();
    const { etag, aliases = [] } = await store.head('there', 'b/k2');
    expect([etag, ...aliases]).toContain(md5('y'.repeat(1_200_000)));
    expect([etag, ...aliases]).not.toContain(md5('x'.repeat(1_200_000)));
  });

  it('keeps all of an object that moves from among the overflow objects to its path on another mount', async () => {
    await store.put('there', 'a', body('in the way'));
    const digests = { algorithms: ['SHA256' as const], store: 'SHA256' as const };
    const { uploadId } = await store.createUpload('there', 'a/b', {
      facts,
      checksum: { algorithm: 'SHA256', type: 'COMPOSITE' },
    });
    const parts = [];
    for (const [n, content] of ['1'.repeat(3000), 'two'].entries())
      parts.push(await store.putPart('there', 'a/b', uploadId, n + 1, body(content), { digests }));
    const refs = parts.map(({ partNumber, etag, checksum }) => ({
      partNumber,
      etag,
      checksums: { SHA256: checksum?.value ?? '' },
    }));
    await store.completeUpload('there', 'a/b', uploadId, refs);
    const told = async (): Promise<object> => {
      const { aliases: _derived, changed: _ctime, ...rest } = await store.head('there', 'a/b');
      return rest;
    };
    const before = await told();
    await store.delete('there', 'a');
    const { settled } = await store.collector.overflow({ dryRun: false, signal: new AbortController().signal });
    expect(settled).toBe(1);
    expect(await readFile(path.join(root, 'there/a/b'), 'utf8')).toBe(`${'1'.repeat(3000)}two`);
    expect(await told()).toEqual(before);
    expect(await list(store, {}, 'there')).toEqual(['a/b']);
  });

  it('keeps all of what was appended to', async () => {
    const digests = { algorithms: ['CRC32' as const], store: 'CRC32' as const };
    await store.put('here', 'a/put', body('one'), { digests });
    await writeFile(path.join(root, 'here/a/foreign'), 'two');
    await writeFile(path.join(root, 'here/a/large'), Buffer.alloc(3 << 20, 'three'));
    const before = new Map<string, object>();
    for (const name of ['put', 'foreign', 'large']) {
      for (const piece of ['piece', 'another'])
        await store.append('here', `a/${name}`, (await store.head('here', `a/${name}`)).size, body(piece));
      const { etag, checksum, partCount } = await store.head('here', `a/${name}`);
      before.set(name, { etag, checksum, partCount });
    }
    expect(await move()).toMatchObject({ objects: 3 });
    for (const [name, told] of before) {
      const { etag, checksum, partCount } = await store.head('there', `b/${name}`);
      expect({ etag, checksum, partCount }).toEqual(told);
    }
  });

  it('keeps bytes, times, facts, parts and checksums', async () => {
    const digests = { algorithms: ['SHA256' as const], store: 'SHA256' as const };
    await store.put('here', 'a/one', body('one'), { facts, digests });
    const { uploadId } = await store.createUpload('here', 'a/multi', { facts });
    const sent: { partNumber: number; etag: string; checksums: object }[] = [];
    for (const [n, content] of ['1'.repeat(3000), 'two'].entries()) {
      const { etag, partNumber } = await store.putPart('here', 'a/multi', uploadId, n + 1, body(content));
      sent.push({ partNumber, etag, checksums: {} });
    }
    await store.completeUpload('here', 'a/multi', uploadId, sent);
    await store.put('here', 'a//odd', body('odd'), { facts });
    await store.put('here', 'a/m/', body(''), { facts });
    await writeFile(path.join(root, 'here/a/foreign'), 'foreign');
    await utimes(path.join(root, 'here/a/foreign'), 1_600_000_000, 1_600_000_000);
    const keys = await list(store, {}, 'here');
    const before = new Map<string, object>();
    for (const key of keys) {
      const {
        bucket: _bucket,
        key: _key,
        aliases: _aliases,
        changed: _changed,
        ...rest
      } = await store.head('here', key);
      before.set(`b/${key.slice(2)}`, rest);
    }
    const totals: object[] = [];
    const report = await store.movePrefix(
      { bucket: 'here', key: 'a/' },
      { bucket: 'there', key: 'b/' },
      { onTotal: (total) => totals.push(total) },
    );
    expect(report).toMatchObject({ directories: 0, objects: 5, replaced: 0 });
    expect(totals).toEqual([{ objects: 5, bytes: 3 + 3003 + 3 + 0 + 7 }]);
    expect(await list(store, {}, 'here')).toEqual([]);
    expect(await list(store, {}, 'there')).toEqual([...before.keys()]);
    for (const [key, old] of before) {
      const { bucket: _bucket, key: _key, aliases: _aliases, changed: _now, ...now } = await store.head('there', key);
      expect(now, key).toEqual(old);
    }
    const open = await store.open('there', 'b/multi');
    expect((await open.parts()).map(({ size }) => size)).toEqual([3000, 3]);
    await open.close();
    expect((await stat(path.join(root, 'there/b/foreign'))).mtimeMs).toBeCloseTo(1_600_000_000_000, 2);
  });

  it('takes up what an interrupted run has copied, and copies nothing twice', async () => {
    for (const n of [1, 2, 3]) await store.put('here', `a/${n}`, body(`content ${n}`), { facts });
    // as a run that was killed between publishing and deleting leaves it
    const original = await readFile(path.join(root, 'here/a/2'));
    const { mtimeMs } = await stat(path.join(root, 'here/a/2'));
    await store.put('there', 'b/2', body(original), { facts });
    await utimes(path.join(root, 'there/b/2'), mtimeMs / 1000, mtimeMs / 1000);
    await store.head('there', 'b/2');
    const { ino } = await stat(path.join(root, 'there/b/2'));
    const steps: MoveStep[] = [];
    await move(steps);
    expect(steps.filter(({ resumed }) => resumed).map(({ from }) => from)).toEqual(['a/2']);
    expect((await stat(path.join(root, 'there/b/2'))).ino).toBe(ino);
    expect(await list(store, {}, 'here')).toEqual([]);
    expect(await list(store, {}, 'there')).toEqual(['b/1', 'b/2', 'b/3']);
  });

  it('takes up the copy of a large file that nobody had hashed', async () => {
    await mkdir(path.join(root, 'here/a'));
    for (const n of [1, 2, 3, 4, 5, 6]) await writeFile(path.join(root, `here/a/${n}`), Buffer.alloc(2 << 20, n));
    // what was told of them stays for a while
    for (const key of await list(store, {}, 'here')) await store.head('here', key);
    const saved = path.join(root, 'saved');
    execFileSync('cp', ['-a', path.join(root, 'here/a/2'), saved]);
    await store.move({ bucket: 'here', key: 'a/2' }, { bucket: 'there', key: 'b/2' });
    execFileSync('mv', [saved, path.join(root, 'here/a/2')]);
    const { ino } = await stat(path.join(root, 'there/b/2'));
    const steps: MoveStep[] = [];
    expect(await move(steps)).toMatchObject({ objects: 6, replaced: 0 });
    expect(steps.filter(({ resumed }) => resumed).map(({ from }) => from)).toEqual(['a/2']);
    expect((await stat(path.join(root, 'there/b/2'))).ino).toBe(ino);
    expect(await list(store, {}, 'here')).toEqual([]);
  });

  it.each(['eager', 'off'] as const)(
    'keeps an ETag that was told of a file nobody had hashed (--hash %s)',
    async (hash) => {
      await store.close();
      store = await openStore(root, { hash });
      await writeFile(path.join(root, 'here/f'), Buffer.alloc((1 << 20) + 1, 'x'));
      const { etag } = await store.head('here', 'f');
      expect(etag).toMatch(/-1$/);
      const moved = await store.move({ bucket: 'here', key: 'f' }, { bucket: 'there', key: 'g' });
      expect(moved.etag).toBe(etag);
      const now = await store.head('there', 'g');
      expect(now).toMatchObject({
        etag,
        aliases: expect.arrayContaining([
          createHash('md5')
            .update(Buffer.alloc((1 << 20) + 1, 'x'))
            .digest('hex'),
        ]) as string[],
      });
    },
  );

  it('keeps modes and owners of folders', async () => {
    const folders = { a: 0o2770, 'a/private': 0o700, 'a/private/x': 0o755, 'a/shared': 0o2775, 'a/marked': 0o710 };
    for (const [folder, mode] of Object.entries(folders)) {
      await mkdir(path.join(root, 'here', folder));
      await chown(path.join(root, 'here', folder), 1000, 4242);
      await chmod(path.join(root, 'here', folder), mode);
      await writeFile(path.join(root, 'here', folder, 'k'), 'x');
    }
    await store.put('here', 'a/marked/', body(''));
    await move();
    expect(await list(store, {}, 'here')).toEqual([]);
    for (const [folder, mode] of Object.entries(folders)) {
      const now = await stat(path.join(root, 'there', folder.replace('a', 'b')));
      expect([now.mode & 0o7777, now.uid, now.gid], folder).toEqual([mode, 1000, 4242]);
    }
  });

  it('keeps modes of folders below a prefix that names none', async () => {
    const folders = { s: 0o700, 's/pre-private': 0o750, 's/pre-private/x': 0o710 };
    for (const [folder, mode] of Object.entries(folders)) {
      await mkdir(path.join(root, 'here', folder));
      await chmod(path.join(root, 'here', folder), mode);
      await writeFile(path.join(root, 'here', folder, 'k'), 'x');
    }
    await store.movePrefix({ bucket: 'here', key: 's/pre-' }, { bucket: 'there', key: 't/new-' });
    const modes = { t: 0o700, 't/new-private': 0o750, 't/new-private/x': 0o710 };
    for (const [folder, mode] of Object.entries(modes))
      expect((await stat(path.join(root, 'there', folder))).mode & 0o7777, folder).toBe(mode);
  });

  it('moves links to what is moved as well, as their bytes', async () => {
    await mkdir(path.join(root, 'here/a/sub'), { recursive: true });
    for (let n = 10; n < 31; n++) await writeFile(path.join(root, `here/a/f${n}`), `content ${n}`);
    await symlink('f10', path.join(root, 'here/a/z-current'));
    await symlink('f11', path.join(root, 'here/a/a-current'));
    await symlink('f12', path.join(root, 'here/a/f12-current'));
    await symlink('z-current', path.join(root, 'here/a/0-link-to-link'));
    await symlink('0-link-to-link', path.join(root, 'here/a/zz-link-to-link-to-link'));
    await symlink('../f13', path.join(root, 'here/a/sub/up'));
    const before = await list(store, {}, 'here');
    const contents = await Promise.all(before.map((key) => text(store, key, 'here')));
    const report = await move();
    expect(report).toMatchObject({ objects: 27 });
    expect(report.gone).toBeUndefined();
    const there = await list(store, {}, 'there');
    expect(there).toEqual(before.map((key) => key.replace('a/', 'b/')));
    expect(await Promise.all(there.map((key) => text(store, key, 'there')))).toEqual(contents);
    expect(await readdir(path.join(root, 'here/a'), { recursive: true })).toEqual(['sub']);
  });

  it('tells of what was listed and is gone when its turn comes', async () => {
    for (const n of [1, 2, 3, 4, 5, 6]) await put(store, `a/${n}`, `${n}`, 'here');
    const steps: MoveStep[] = [];
    const report = await store.movePrefix(
      { bucket: 'here', key: 'a/' },
      { bucket: 'there', key: 'b/' },
      {
        onStep: async (step) => {
          steps.push(step);
          await rm(path.join(root, 'here/a/6'), { force: true });
        },
      },
    );
    expect(report).toMatchObject({ objects: 5, gone: 1 });
    expect(steps.filter(({ gone }) => gone).map(({ from }) => from)).toEqual(['a/6']);
  });

  it('takes no change for one that other names of a file are moved as well', async () => {
    await mkdir(path.join(root, 'here/a'));
    await writeFile(path.join(root, 'here/a/1'), 'linked');
    for (const n of [2, 3, 4]) await link(path.join(root, 'here/a/1'), path.join(root, `here/a/${n}`));
    await writeFile(path.join(root, 'here/a/5'), 'other');
    expect(await move()).toMatchObject({ objects: 5, replaced: 0 });
    expect(await list(store, {}, 'here')).toEqual([]);
    for (const n of [1, 2, 3, 4]) expect(await text(store, `b/${n}`, 'there')).toBe('linked');
  });

  it('refuses to replace another object, before anything is moved', async () => {
    for (const n of [1, 2]) await put(store, `a/${n}`, `new ${n}`, 'here');
    await put(store, 'b/2', 'other', 'there');
    await refuses(move(), 'PreconditionFailed');
    expect(await list(store, {}, 'here')).toEqual(['a/1', 'a/2']);
    expect(await move(undefined, true)).toMatchObject({ objects: 2, replaced: 1 });
    expect(await text(store, 'b/2', 'there')).toBe('new 2');
  });

  it('hashes anew what has changed behind restored times', async () => {
    await put(store, 'a/1', 'recorded', 'here');
    const file = path.join(root, 'here/a/1');
    const { mtime, atime } = await stat(file);
    await writeFile(file, 'rotten!!');
    await utimes(file, atime, mtime);
    await move();
    expect(await text(store, 'b/1', 'there')).toBe('rotten!!');
  });

  it('keeps a source that was changed while it was moved', async () => {
    await put(store, 'a/1', 'old', 'here');
    const moving = move().catch(() => undefined);
    // one after the other: of puts at the same time any may be the last
    for (let n = 0; n < 20; n++) await put(store, 'a/1', `new ${n}`, 'here');
    await moving;
    const left = await list(store, {}, 'here');
    const there = await list(store, {}, 'there');
    const contents = [
      ...(await Promise.all(left.map((key) => text(store, key, 'here')))),
      ...(await Promise.all(there.map((key) => text(store, key, 'there')))),
    ];
    expect(contents).toContain('new 19');
  });

  it('does not move a folder on which another file system is mounted below', async () => {
    await put(store, 'a/k', 'x', 'here');
    await mkdir(path.join(root, 'here/a/mnt'));
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', path.join(root, 'here/a/mnt')]);
    const error = await refuses(
      store.movePrefix({ bucket: 'here', key: 'a/' }, { bucket: 'here', key: 'b/' }),
      'InvalidRequest',
    );
    expect(error.message).toContain('here/a/mnt');
    expect(await exists(path.join(root, 'here/a/k'))).toBe(true);
  });
});

describe('a move of a folder that is named as a bucket', () => {
  it('is refused', async () => {
    const root = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-named-'));
    await mkdir(path.join(root, 'here/a/b'), { recursive: true });
    await writeFile(path.join(root, 'here/a/b/k'), 'x');
    const store = await openStore(root, { aliases: { named: 'here/a/b' } });
    try {
      for (const key of ['a/', 'a/b/'])
        await refuses(store.movePrefix({ bucket: 'here', key }, { bucket: 'here', key: 'z/' }), 'InvalidRequest');
    } finally {
      await store.close();
      await rm(root, { recursive: true, force: true });
    }
  });
});
