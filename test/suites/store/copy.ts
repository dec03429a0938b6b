/** Copy and move. */
import { link, readFile, readdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { S3Error } from '../../../src/base/errors.js';
import type { MakeStore } from './kit.js';
import { BUCKET, body, exists, list, md5, picture, put, refuses, text, world } from './kit.js';
import { ALL_FACTS } from './objects.js';

const at = (key: string, bucket = BUCKET): { bucket: string; key: string } => ({ bucket, key });

export function copyContract(make: MakeStore): void {
  describe('copy', () => {
    const w = world(make);

    it('takes bytes and facts along, but owner and ACL', async () => {
      await w.store.createBucket('other', {});
      await w.store.put(BUCKET, 'a', body('bytes'), { facts: ALL_FACTS });
      const info = await w.store.copy(at('a'), at('deep/b', 'other'));
      expect(info).toMatchObject({ bucket: 'other', key: 'deep/b', size: 5, etag: md5('bytes') });
      const { owner, acl, ...said } = ALL_FACTS;
      expect(info.facts).toMatchObject(said);
      expect(info.facts.owner).not.toEqual(owner);
      expect(info.facts.acl).not.toEqual(acl);
      expect(await readFile(path.join(w.root, 'other', 'deep', 'b'), 'utf8')).toBe('bytes');
      expect(await text(w.store, 'a')).toBe('bytes');
    });

    it('is a copy, not a link', async () => {
      await put(w.store, 'a', 'one');
      await w.store.copy(at('a'), at('b'));
      await writeFile(w.at('a'), 'changed in place');
      expect(await text(w.store, 'b')).toBe('one');
    });

    it('tells before it copies that its condition does not hold', async () => {
      await put(w.store, 'a', 'one');
      await put(w.store, 'b', 'two');
      // Its time changes with every name that comes or goes in it.
      const staging = async () => (await stat(path.join(w.root, '.gos3rve/staging'), { bigint: true })).mtimeNs;
      const before = await staging();
      await refuses(w.store.copy(at('a'), at('b'), { condition: { ifNoneMatch: ['*'] } }), 'PreconditionFailed');
      await refuses(w.store.copy(at('a'), at('b'), { condition: { ifMatch: [md5('x')] } }), 'PreconditionFailed');
      await refuses(w.store.copy(at('a'), at('c'), { condition: { ifMatch: [md5('x')] } }), 'NoSuchKey');
      expect(await staging()).toBe(before);
      await w.store.copy(at('a'), at('b'), { condition: { ifMatch: [md5('two')] } });
      expect(await staging()).not.toBe(before);
    });

    it('replaces facts, also of an object copied to itself', async () => {
      await w.store.put(BUCKET, 'a', body('bytes'), { facts: { metadata: { v: '1' } } });
      const info = await w.store.copy(at('a'), at('a'), {
        facts: (source) => ({ metadata: { v: `${source.facts.metadata?.v}+1` }, contentType: 'text/new' }),
      });
      expect(info.facts).toMatchObject({ metadata: { v: '1+1' }, contentType: 'text/new' });
      expect(await text(w.store, 'a')).toBe('bytes');
      expect((await w.store.head(BUCKET, 'a')).etag).toBe(md5('bytes'));
    });

    it('keeps a checksum or computes the one asked for', async () => {
      await w.store.put(BUCKET, 'a', body('123456789'), { digests: { algorithms: ['CRC32'], store: 'CRC32' } });
      const crc32 = {
        algorithm: 'CRC32',
        type: 'FULL_OBJECT',
        value: Buffer.from('cbf43926', 'hex').toString('base64'),
      };
      expect((await w.store.copy(at('a'), at('b'))).checksum).toEqual(crc32);
      expect((await w.store.copy(at('a'), at('c'), { checksum: 'CRC32C' })).checksum).toEqual({
        algorithm: 'CRC32C',
        type: 'FULL_OBJECT',
        value: Buffer.from('e3069283', 'hex').toString('base64'),
      });
      await w.foreign('foreign', '123456789');
      expect((await w.store.copy(at('foreign'), at('d'), { checksum: 'CRC32' })).checksum).toEqual(crc32);
    });

    it('changes nothing when it is refused', async () => {
      await put(w.store, 'a', 'a');
      await put(w.store, 'b', 'b');
      const before = await picture(w.root);
      await refuses(w.store.copy(at('none'), at('b')), 'NoSuchKey');
      await refuses(w.store.copy(at('a'), at('b', 'nobody')), 'NoSuchBucket');
      await refuses(w.store.copy(at('a'), at('b'), { condition: { ifNoneMatch: ['*'] } }), 'PreconditionFailed');
      const throws = (): never => {
        throw new S3Error('PreconditionFailed');
      };
      await refuses(w.store.copy(at('a'), at('c/d'), { facts: throws }), 'PreconditionFailed');
      expect(await picture(w.root)).toEqual(before);
      expect(await list(w.store)).toEqual(['a', 'b']);
    });

    it('copies out of and into keys that are no path', async () => {
      await put(w.store, 'a//b', 'odd');
      await w.store.copy(at('a//b'), at('plain'));
      await w.store.copy(at('plain'), at('plain/../x'));
      expect([await text(w.store, 'plain'), await text(w.store, 'plain/../x')]).toEqual(['odd', 'odd']);
    });
  });

  describe('move', () => {
    const w = world(make);

    it('renames in one step: same file, same facts, nothing left behind', async () => {
      await w.store.createBucket('other', {});
      await w.store.put(BUCKET, 'from/a', body('bytes'), { facts: ALL_FACTS });
      const inode = (await stat(w.at('from/a'))).ino;
      const info = await w.store.move(at('from/a'), at('to/b', 'other'));
      expect(info).toMatchObject({ bucket: 'other', key: 'to/b', etag: md5('bytes') });
      expect((await stat(path.join(w.root, 'other/to/b'))).ino).toBe(inode);
      expect(info.facts).toMatchObject({
        contentType: ALL_FACTS.contentType,
        metadata: ALL_FACTS.metadata,
        tags: ALL_FACTS.tags,
      });
      await refuses(w.store.head(BUCKET, 'from/a'), 'NoSuchKey');
      expect(await exists(w.at('from'))).toBe(false);
    });

    it.each([
      ['photo.jpg', 'photo.old', 'image/jpeg'],
      ['notes', 'page.html', 'binary/octet-stream'],
      ['one.html', 'd/two.htm', 'text/html'],
    ])('keeps the type of a foreign file: %s to %s', async (from, to, contentType) => {
      await writeFile(w.at(from), 'bytes');
      expect((await w.store.head(BUCKET, from)).facts).toEqual({ contentType });
      expect((await w.store.move(at(from), at(to))).facts).toEqual({ contentType });
      expect((await w.store.head(BUCKET, to)).facts).toEqual({ contentType });
    });

    it('replaces its target unless the condition forbids', async () => {
      const source = await put(w.store, 'a', 'a');
      await put(w.store, 'b', 'b');
      await refuses(w.store.move(at('a'), at('b'), { condition: { ifNoneMatch: ['*'] } }), 'PreconditionFailed');
      await expect(w.store.move(at('a'), at('b'), { sourceCondition: { ifMatch: [md5('x')] } })).rejects.toMatchObject({
        code: 'PreconditionFailed',
        data: { Condition: 'x-amz-rename-source-If-Match' },
      });
      await refuses(w.store.move(at('none'), at('b')), 'NoSuchKey');
      expect([await text(w.store, 'a'), await text(w.store, 'b')]).toEqual(['a', 'b']);
      await w.store.move(at('a'), at('b'), {
        sourceCondition: { ifMatch: [source.etag] },
        condition: { ifMatch: [md5('b')] },
      });
      expect(await list(w.store)).toEqual(['b']);
      expect(await text(w.store, 'b')).toBe('a');
    });

    it('never loses an object moved onto itself', async () => {
      await put(w.store, 'a', 'a');
      await w.store.move(at('a'), at('a')).catch((error: unknown) => expect(error).toBeInstanceOf(S3Error));
      expect(await text(w.store, 'a')).toBe('a');
    });

    it('lets one of several movers win', async () => {
      await put(w.store, 'a', 'a');
      const results = await Promise.allSettled(
        Array.from({ length: 6 }, (_, n) => w.store.move(at('a'), at(`to${n}`))),
      );
      expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
      expect(await list(w.store)).toHaveLength(1);
    });

    it('moves a foreign file, and between paths and keys that are no path', async () => {
      await w.foreign('theirs', 'x');
      await w.store.move(at('theirs'), at('odd//key'));
      expect(await list(w.store)).toEqual(['odd//key']);
      await w.store.move(at('odd//key'), at('back/again'));
      expect(await list(w.store)).toEqual(['back/again']);
      expect(await readFile(w.at('back/again'), 'utf8')).toBe('x');
    });

    it('shares its last step with put: one wins, and no file of the other stays', async () => {
      for (const key of ['new', 'odd//new']) {
        for (let round = 0; round < 4; round++) {
          const movers = ['a', 'b', 'c'].map((name) => `${name}${round}`);
          for (const name of movers) await put(w.store, name, name);
          const once = { condition: { ifNoneMatch: ['*'] } };
          const results = await Promise.allSettled([
            ...movers.map((name) => w.store.move(at(name), at(key), once)),
            w.store.put(BUCKET, key, body('put'), once),
            w.store.put(BUCKET, key, body('put'), once),
          ]);
          expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
          const sure = await Promise.allSettled([
            ...movers.map((name) => w.store.move(at(name), at(key))),
            w.store.put(BUCKET, key, body('last')),
          ]);
          expect(sure.at(-1)?.status).toBe('fulfilled');
          const aborted = (result: PromiseSettledResult<unknown>): boolean =>
            result.status === 'rejected' &&
            result.reason instanceof S3Error &&
            result.reason.code === 'OperationAborted' &&
            !result.reason.message.includes('source');
          expect(sure.filter(aborted)).toEqual([]);
          expect(await list(w.store)).toEqual([key]);
          expect((await readdir(path.join(w.root, '.gos3rve/overflow', BUCKET)).catch(() => [])).length).toBe(
            key === 'new' ? 0 : 1,
          );
          await w.store.delete(BUCKET, key);
        }
      }
    });

    it('takes the place of a marker', async () => {
      await put(w.store, 'dir/', '');
      await put(w.store, 'k', 'content');
      await w.store.move(at('k'), at('dir/'));
      expect(await text(w.store, 'dir/')).toBe('content');
      expect(await w.store.delete(BUCKET, 'dir/')).toBe(true);
      expect(await list(w.store)).toEqual([]);
    });

    it.each([undefined, '*'])(
      'leaves one name when source and target are one file (If-None-Match %s)',
      async (none) => {
        await put(w.store, 'a', 'bytes');
        const condition = none === undefined ? {} : { condition: { ifNoneMatch: [none] } };
        if (none === undefined) await link(w.at('a'), w.at('b'));
        await w.store.move(at('a'), at('b'), condition);
        expect(await list(w.store)).toEqual(['b']);
        expect((await stat(w.at('b'))).nlink).toBe(1);
        expect((await w.store.head(BUCKET, 'b')).etag).toBe(md5('bytes'));
      },
    );
  });
}
