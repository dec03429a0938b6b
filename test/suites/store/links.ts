/** DESIGN rule 6: links are followed only inside their bucket; nothing but regular files is opened. */
import { execFileSync } from 'node:child_process';
import { lstat, mkdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { MakeStore } from './kit.js';
import { BUCKET, body, list, put, refuses, text, world } from './kit.js';

export function linkContract(make: MakeStore): void {
  describe('links', () => {
    const w = world(make);

    it('serves a link to a file of its bucket and no other', async () => {
      await mkdir(path.join(w.root, 'sibling'));
      await writeFile(path.join(w.root, 'sibling', 'secret'), 'secret');
      await w.foreign('d/real', 'real');
      await symlink('d/real', w.at('inside'));
      await symlink(w.at('d/real'), w.at('absolute'));
      await symlink('../sibling/secret', w.at('sideways'));
      await symlink('/etc/passwd', w.at('outside'));
      await symlink('../.gos3rve/server.json', w.at('state'));
      await symlink('nowhere', w.at('dangling'));
      await symlink('loop', w.at('loop'));
      expect(await list(w.store)).toEqual(['absolute', 'd/real', 'inside']);
      expect(await text(w.store, 'inside')).toBe('real');
      for (const key of ['sideways', 'outside', 'state', 'dangling', 'loop']) {
        await refuses(w.store.head(BUCKET, key), 'NoSuchKey', 'AccessDenied');
        await refuses(w.store.open(BUCKET, key), 'NoSuchKey', 'AccessDenied');
      }
    });

    // elsewhere the system allows no such name
    describe.runIf(process.platform === 'linux')('to a name that is no UTF-8', () => {
      const raw = (...names: string[]): Buffer => Buffer.from(w.at(...names), 'latin1');

      it.each([true, false])('is served as what it leads to, whatever else a text would name (%s)', async (twin) => {
        await w.foreign('d/x', 'x');
        await writeFile(raw('caf\xe9.txt'), 'bytes');
        if (twin) await w.foreign('caf\ufffd.txt', 'text, and longer');
        await symlink(Buffer.from('caf\xe9.txt', 'latin1'), w.at('link'));
        const others = twin ? ['caf\ufffd.txt'] : [];
        expect(await list(w.store)).toEqual([...others, 'd/x', 'link']);
        expect((await w.store.head(BUCKET, 'link')).size).toBe(5);
        expect(await text(w.store, 'link')).toBe('bytes');
        await w.store.move({ bucket: BUCKET, key: 'link' }, { bucket: BUCKET, key: 'd/moved' });
        expect(await text(w.store, 'd/moved')).toBe('bytes');
        await w.store.append(BUCKET, 'd/moved', 5, body(' more'));
        expect(await text(w.store, 'd/moved')).toBe('bytes more');
        expect(await readFile(raw('caf\xe9.txt'), 'utf8')).toBe('bytes');
      });

      it('is not served where it leaves the bucket', async () => {
        const others = Buffer.from(`${w.at()}\xe9`, 'latin1');
        await mkdir(others);
        const secret = Buffer.concat([others, Buffer.from('/secret')]);
        await writeFile(secret, 'secret');
        await symlink(secret, w.at('link'));
        expect(await list(w.store)).toEqual([]);
        await refuses(w.store.open(BUCKET, 'link'), 'NoSuchKey', 'AccessDenied');
      });
    });

    it('does not walk directory links, in or out', async () => {
      await mkdir(path.join(w.root, 'sibling'));
      await writeFile(path.join(w.root, 'sibling', 'secret'), 'secret');
      await w.foreign('real/k', 'x');
      await symlink('.', w.at('self'));
      await symlink('real', w.at('inside'));
      await symlink('../sibling', w.at('out'));
      expect(await list(w.store)).toEqual(['real/k']);
      for (const key of ['out/secret', 'out/../sibling/secret', 'self/self/real/k', 'inside/k']) {
        await refuses(w.store.open(BUCKET, key), 'NoSuchKey', 'AccessDenied');
      }
    });

    it('writes and deletes nothing through a directory link that leaves', async () => {
      const sibling = path.join(w.root, 'sibling');
      await mkdir(sibling);
      await writeFile(path.join(sibling, 'secret'), 'secret');
      await symlink('../sibling', w.at('out'));
      const taken = await put(w.store, 'out/secret', 'mine').catch(() => undefined);
      if (taken) expect(await text(w.store, 'out/secret')).toBe('mine');
      await put(w.store, 'out/new', 'mine').catch(() => undefined);
      await w.store.delete(BUCKET, 'out/secret').catch(() => undefined);
      expect(await readFile(path.join(sibling, 'secret'), 'utf8')).toBe('secret');
      await expect(readFile(path.join(sibling, 'new'))).rejects.toThrow();
      expect(await readlink(w.at('out'))).toBe('../sibling');
    });

    it('puts onto and deletes the link itself, never its target', async () => {
      const target = path.join(w.root, 'target');
      await writeFile(target, 'outside');
      await symlink(target, w.at('k'));
      await put(w.store, 'k', 'mine');
      expect((await lstat(w.at('k'))).isFile()).toBe(true);
      expect(await text(w.store, 'k')).toBe('mine');
      expect(await readFile(target, 'utf8')).toBe('outside');

      await w.foreign('real', 'real');
      await symlink('real', w.at('link'));
      expect(await w.store.delete(BUCKET, 'link')).toBe(true);
      expect(await list(w.store)).toEqual(['k', 'real']);
      expect(await text(w.store, 'real')).toBe('real');
    });

    it('sees at once that a link turned outwards', async () => {
      await w.foreign('real', 'real');
      await symlink('real', w.at('k'));
      expect(await text(w.store, 'k')).toBe('real');
      await rm(w.at('k'));
      await symlink('/etc/passwd', w.at('k'));
      await refuses(w.store.open(BUCKET, 'k'), 'NoSuchKey', 'AccessDenied');
      expect(await list(w.store)).toEqual(['real']);
    });

    it('lists a link whose target came, went and turned after its folder was read', async () => {
      await w.foreign('d/other', 'x');
      await symlink('d/late', w.at('link'));
      await setTimeout(50);
      expect(await list(w.store)).toEqual(['d/other']);
      await setTimeout(50);
      expect(await list(w.store)).toEqual(['d/other']);
      await w.foreign('d/late', 'now');
      expect(await text(w.store, 'link')).toBe('now');
      expect(await list(w.store)).toEqual(['d/late', 'd/other', 'link']);
      await rm(w.at('d/late'));
      await mkdir(w.at('d/late'));
      expect(await list(w.store)).toEqual(['d/other']);
    });

    it('neither serves nor waits for FIFOs', { timeout: 5000 }, async () => {
      execFileSync('mkfifo', [w.at('pipe')]);
      await w.foreign('k', 'x');
      expect(await list(w.store)).toEqual(['k']);
      await refuses(w.store.head(BUCKET, 'pipe'), 'NoSuchKey', 'AccessDenied');
      await refuses(w.store.open(BUCKET, 'pipe'), 'NoSuchKey', 'AccessDenied');
      await refuses(
        w.store.copy({ bucket: BUCKET, key: 'pipe' }, { bucket: BUCKET, key: 'copy' }),
        'NoSuchKey',
        'AccessDenied',
      );
    });
  });

  describe('directory links on request', () => {
    const w = world(make, { symlinks: 'all' });

    it.runIf(process.platform === 'linux')(
      'does not follow those to a name that is no UTF-8, nor to another',
      async () => {
        const folder = Buffer.from(w.at('caf\xe9'), 'latin1');
        await mkdir(folder);
        await writeFile(Buffer.concat([folder, Buffer.from('/k')]), 'bytes');
        await w.foreign('caf\ufffd/k', 'text');
        await symlink(Buffer.from('caf\xe9', 'latin1'), w.at('link'));
        expect(await list(w.store)).toEqual(['caf\ufffd/k']);
        await refuses(w.store.open(BUCKET, 'link/k'), 'NoSuchKey', 'AccessDenied');
      },
    );

    it('follows those that stay inside and does not loop', { timeout: 10_000 }, async () => {
      await mkdir(path.join(w.root, 'sibling'));
      await writeFile(path.join(w.root, 'sibling', 'secret'), 'secret');
      await w.foreign('real/k', 'x');
      await symlink('real', w.at('inside'));
      await symlink('..', w.at('real/parent'));
      await symlink('.', w.at('self'));
      await symlink('../sibling', w.at('out'));
      const keys = await list(w.store);
      expect(keys).toContain('inside/k');
      expect(keys).toContain('real/k');
      expect(keys.filter((key) => key.includes('secret'))).toEqual([]);
      expect(keys.length).toBeLessThan(50);
      expect(await text(w.store, 'inside/k')).toBe('x');
      await refuses(w.store.open(BUCKET, 'out/secret'), 'NoSuchKey', 'AccessDenied');
    });
  });

  describe('directory links that change', () => {
    const w = world(make, { symlinks: 'all' });

    it('lists what is behind a link that became a directory, a file, and nothing', async () => {
      await w.foreign('a', 'a');
      await symlink('late', w.at('dl'));
      expect(await list(w.store)).toEqual(['a']);
      await setTimeout(50);
      expect(await list(w.store)).toEqual(['a']);
      await w.foreign('late/k', 'x');
      expect(await text(w.store, 'dl/k')).toBe('x');
      expect(await list(w.store)).toEqual(['a', 'dl/k', 'late/k']);
      await rm(w.at('late'), { recursive: true });
      await w.foreign('late', 'file');
      expect(await list(w.store)).toEqual(['a', 'dl', 'late']);
      await rm(w.at('late'));
      expect(await list(w.store)).toEqual(['a']);
    });

    it('does not replace a directory link that objects are listed below', async () => {
      await w.foreign('real/k', 'x');
      await symlink('real', w.at('dl'));
      expect(await list(w.store)).toEqual(['dl/k', 'real/k']);
      await put(w.store, 'dl', 'mine');
      expect(await list(w.store)).toEqual(['dl', 'dl/k', 'real/k']);
      expect([await text(w.store, 'dl'), await text(w.store, 'dl/k')]).toEqual(['mine', 'x']);
      expect(await readlink(w.at('dl'))).toBe('real');
      await put(w.store, 'm', 'moved');
      await w.store.move({ bucket: BUCKET, key: 'm' }, { bucket: BUCKET, key: 'dl' });
      expect([await text(w.store, 'dl'), await text(w.store, 'dl/k')]).toEqual(['moved', 'x']);
      await w.store.delete(BUCKET, 'dl');
      expect(await list(w.store)).toEqual(['dl/k', 'real/k']);
    });
  });

  describe('no links on request', () => {
    const w = world(make, { symlinks: 'none' });

    it('serves none', async () => {
      await w.foreign('real', 'x');
      await symlink('real', w.at('inside'));
      expect(await list(w.store)).toEqual(['real']);
      await refuses(w.store.open(BUCKET, 'inside'), 'NoSuchKey', 'AccessDenied');
    });
  });

  describe('read-only', () => {
    it('serves and refuses to write', async () => {
      const first = await make({});
      await first.store.createBucket(BUCKET, {});
      await put(first.store, 'k', 'x');
      await first.store.close();
      const second = await make({ root: first.root, readOnly: true });
      try {
        expect(await text(second.store, 'k')).toBe('x');
        await expect(second.store.put(BUCKET, 'k', body('y'))).rejects.toMatchObject({ name: 'S3Error' });
        await expect(second.store.delete(BUCKET, 'k')).rejects.toMatchObject({ name: 'S3Error' });
        await expect(second.store.createBucket('more', {})).rejects.toMatchObject({ name: 'S3Error' });
        expect(await text(second.store, 'k')).toBe('x');
      } finally {
        await second.stop();
        await first.stop();
      }
    });
  });
}
