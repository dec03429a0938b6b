/** DESIGN rules 1, 4 and 6: other programs go on using the files, and S3 clients see it at once. */
import { appendFile, mkdir, rename, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import type { MakeStore } from './kit.js';
import { BUCKET, body, get, list, md5, put, refuses, text, world } from './kit.js';
import { ALL_FACTS } from './objects.js';

export function foreignContract(make: MakeStore): void {
  describe('files of other programs', () => {
    const w = world(make);

    it('serves what lies there, at once', async () => {
      await w.foreign('music/one.ogg', 'la');
      expect(await list(w.store)).toEqual(['music/one.ogg']);
      expect(await text(w.store, 'music/one.ogg')).toBe('la');
      await w.foreign('music/two.ogg', 'la la');
      await w.foreign('top', 'x');
      expect(await list(w.store)).toEqual(['music/one.ogg', 'music/two.ogg', 'top']);
      expect(await list(w.store, { delimiter: '/' })).toEqual(['music/', 'top']);
      await rm(w.at('music'), { recursive: true });
      expect(await list(w.store)).toEqual(['top']);
      expect(await list(w.store, { prefix: 'music/' })).toEqual([]);
      await refuses(w.store.head(BUCKET, 'music/one.ogg'), 'NoSuchKey');
    });

    it('gives a foreign file its MD5 or an ETag that none takes for one', async () => {
      await w.foreign('small', 'content');
      const etag = (await w.store.head(BUCKET, 'small')).etag;
      expect(etag === md5('content') || etag.includes('-')).toBe(true);
      const page = await w.store.list(BUCKET, { prefix: '', delimiter: '', after: '', max: 1 });
      const entry = page.entries[0];
      const listed = entry && 'key' in entry ? entry.etag : '';
      expect(listed === md5('content') || listed.includes('-')).toBe(true);
    });

    it.each([
      [
        'replaced by rename',
        async (at: string) => {
          await writeFile(`${at}.tmp`, 'edited');
          await rename(`${at}.tmp`, at);
        },
      ],
      ['written over in place', (at: string) => writeFile(at, 'edited')],
      [
        'removed and made anew',
        async (at: string) => {
          await rm(at);
          await writeFile(at, 'edited');
        },
      ],
    ])('keeps what a client said of a key when its file is %s', async (_how, edit) => {
      const before = await w.store.put(BUCKET, 'd/k', body('first version'), { facts: ALL_FACTS });
      await edit(w.at('d/k'));
      const { info, bytes } = await get(w.store, 'd/k');
      expect(bytes.toString()).toBe('edited');
      expect(info.size).toBe(6);
      expect(info.etag).not.toBe(before.etag);
      expect(info.facts).toMatchObject({
        contentType: ALL_FACTS.contentType,
        metadata: ALL_FACTS.metadata,
        tags: ALL_FACTS.tags,
      });
    });

    it('notices a change of the same size within the same second', async () => {
      for (let round = 0; round < 20; round++) {
        const before = await put(w.store, 'k', `round ${String(round).padStart(4)}`);
        const content = `ROUND ${String(round).padStart(4)}`;
        await writeFile(w.at('k'), content);
        const { info, bytes } = await get(w.store, 'k');
        expect(bytes.toString()).toBe(content);
        expect(info.etag).not.toBe(before.etag);
        expect((await w.store.head(BUCKET, 'k')).etag).not.toBe(before.etag);
      }
    });

    it('does not believe an mtime that was set back', async () => {
      const before = await put(w.store, 'k', 'honest');
      await writeFile(w.at('k'), 'forged');
      const when = new Date(before.lastModified);
      await utimes(w.at('k'), when, when);
      expect(await text(w.store, 'k')).toBe('forged');
      const etag = (await w.store.head(BUCKET, 'k')).etag;
      expect(etag).not.toBe(md5('honest'));
    });

    it('sees growth and truncation', async () => {
      await put(w.store, 'k', '12345');
      await appendFile(w.at('k'), '678');
      expect((await w.store.head(BUCKET, 'k')).size).toBe(8);
      expect(await text(w.store, 'k')).toBe('12345678');
      await truncate(w.at('k'), 2);
      expect(await text(w.store, 'k')).toBe('12');
    });

    it('follows a folder that is renamed', async () => {
      await put(w.store, 'old/deep/k', 'x');
      await list(w.store);
      await rename(w.at('old'), w.at('new'));
      expect(await list(w.store)).toEqual(['new/deep/k']);
      expect(await text(w.store, 'new/deep/k')).toBe('x');
      await refuses(w.store.head(BUCKET, 'old/deep/k'), 'NoSuchKey');
    });

    it('sees a file swapped for a folder and back', async () => {
      await put(w.store, 'k', 'file');
      await rm(w.at('k'));
      await mkdir(w.at('k'));
      await writeFile(w.at('k/below'), 'x');
      expect(await list(w.store)).toEqual(['k/below']);
      await refuses(w.store.head(BUCKET, 'k'), 'NoSuchKey');
      await rm(w.at('k'), { recursive: true });
      await writeFile(w.at('k'), 'back');
      expect(await list(w.store)).toEqual(['k']);
      expect(await text(w.store, 'k')).toBe('back');
    });

    it('does not hand out a mixture when the file is written over while it is read', async () => {
      const old = 'o'.repeat(4_000_000);
      await put(w.store, 'k', old);
      const open = await w.store.open(BUCKET, 'k');
      const got: Buffer[] = [];
      const reading = open.read(0, open.info.size, async (chunk) => {
        got.push(Buffer.from(chunk));
        if (got.length === 1) await writeFile(w.at('k'), 'n'.repeat(old.length), { flag: 'r+' });
      });
      await expect(reading).rejects.toMatchObject({ name: 'S3Error' });
      expect(Buffer.concat(got).length).toBeLessThan(old.length);
      await open.close();
    });

    it('shows names that are no UTF-8 to nobody, and goes on', async () => {
      await w.foreign('good', 'x');
      await writeFile(Buffer.concat([Buffer.from(`${w.at()}/bad-`), Buffer.from([0xff, 0xfe])]), 'x');
      expect(await list(w.store)).toEqual(['good']);
    });

    it('hides .gos3rve at any depth', async () => {
      await w.foreign('.gos3rve/secret', 'x');
      await w.foreign('deep/.gos3rve/secret', 'x');
      await w.foreign('deep/open', 'x');
      expect(await list(w.store)).toEqual(['deep/open']);
      await refuses(w.store.head(BUCKET, '.gos3rve/secret'), 'NoSuchKey');
      await refuses(w.store.head(BUCKET, 'deep/.gos3rve/secret'), 'NoSuchKey');
      await put(w.store, 'deep/.gos3rve/secret', 'of a client');
      expect(await text(w.store, 'deep/.gos3rve/secret')).toBe('of a client');
    });
  });

  describe('excluded names', () => {
    const w = world(make, { exclude: ['.DS_Store', '@eaDir'] });

    it('hides junk of others and shows what a client itself put', async () => {
      await w.foreign('.DS_Store', 'junk');
      await w.foreign('d/@eaDir/thumb', 'junk');
      await w.foreign('d/k', 'x');
      expect(await list(w.store)).toEqual(['d/k']);
      await put(w.store, 'e/.DS_Store', 'mine');
      expect(await list(w.store)).toEqual(['d/k', 'e/.DS_Store']);
      expect(await text(w.store, 'e/.DS_Store')).toBe('mine');
    });
  });
}
