/** Moves of prefixes: a folder is one rename, everything known goes along, and nothing is replaced unasked. */
import { mkdir, stat, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { MovePrefixOptions, MoveReport, MoveStep, ObjectInfo } from '../../../src/store/contract.js';
import type { MakeStore } from './kit.js';
import { BUCKET, body, exists, list, picture, put, putParts, refuses, text, world } from './kit.js';

const OTHER = 'other';

/** What must be the same at the new key. The file of a key that is no path is renamed itself: its derived ETag, which nobody was told, is another. */
function known({ key, bucket: _bucket, aliases, changed: _changed, ...rest }: ObjectInfo): object {
  return { ...rest, ...(!/\/\/|\/one\/./.test(key) && { aliases }) };
}

export function prefixContract(make: MakeStore): void {
  describe('movePrefix', () => {
    const w = world(make);
    const move = (from: string, to: string, options?: MovePrefixOptions): Promise<MoveReport> =>
      w.store.movePrefix({ bucket: BUCKET, key: from }, { bucket: BUCKET, key: to }, options);
    const across = (from: string, to: string, options?: MovePrefixOptions): Promise<MoveReport> =>
      w.store.movePrefix({ bucket: BUCKET, key: from }, { bucket: OTHER, key: to }, options);
    const facts = { contentType: 'x/y', metadata: { who: 'me' }, tags: [['a', 'b']] as [string, string][] };
    beforeEach(() => w.store.createBucket(OTHER, {}));

    it('renames a folder with all that is known of what lies in it', async () => {
      const digests = { algorithms: ['SHA256' as const], store: 'SHA256' as const };
      await w.store.put(BUCKET, 'a/one', body('one'), { facts, digests });
      const { uploadId } = await w.store.createUpload(BUCKET, 'a/b/multi', {});
      const parts = await putParts(w.store, 'a/b/multi', uploadId, [
        [1, '1'.repeat(2000)],
        [2, 'two'],
      ]);
      const refs = parts.map(({ partNumber, etag }) => ({ partNumber, etag, checksums: {} }));
      await w.store.completeUpload(BUCKET, 'a/b/multi', uploadId, refs);
      await w.store.put(BUCKET, 'a/m/', body(''), { facts });
      await w.store.put(BUCKET, 'a/', body(''), { facts });
      await w.store.put(BUCKET, 'a//odd', body('odd'), { facts });
      await w.store.put(BUCKET, 'a/one/below', body('below'), { facts });
      await w.foreign('a/foreign', 'foreign');
      const keys = await list(w.store);
      const before = await Promise.all(keys.map((key) => w.store.head(BUCKET, key)));
      const { ino } = await stat(w.at('a'));
      const steps: MoveStep[] = [];
      const report = await move('a/', 'x/y/z/', { onStep: (step) => void steps.push(step) });
      expect(report).toEqual({ directories: 1, objects: 0, replaced: 0, bytes: 0 });
      expect(steps).toEqual([{ kind: 'directory', from: 'a/', to: 'x/y/z/' }]);
      expect((await stat(w.at('x/y/z'))).ino).toBe(ino);
      const moved = keys.map((key) => `x/y/z/${key.slice(2)}`);
      expect(await list(w.store)).toEqual(moved);
      const look = async (store: typeof w.store): Promise<void> => {
        for (const [i, key] of moved.entries()) {
          const old = before[i];
          expect(known(await store.head(BUCKET, key)), key).toEqual(old && known(old));
        }
      };
      await look(w.store);
      for (const key of keys) await refuses(w.store.head(BUCKET, key), 'NoSuchKey');
      expect(await text(w.store, 'x/y/z//odd')).toBe('odd');
      const again = await w.make({ root: w.root });
      await look(again.store);
      await again.stop();
    });

    it('makes folders above the target and takes away those of the source that were ours and are empty', async () => {
      await put(w.store, 'p/q/r/k');
      await mkdir(w.at('mine'));
      await put(w.store, 'mine/r/k');
      await move('p/q/r/', 'new/r/');
      await move('mine/r/', 'new/s/');
      expect(await exists(w.at('p'))).toBe(false);
      expect(await exists(w.at('mine'))).toBe(true);
      await w.store.delete(BUCKET, 'new/r/k');
      await w.store.delete(BUCKET, 'new/s/k');
      expect(await exists(w.at('new'))).toBe(false);
    });

    it('leaves access lists and owners behind when the bucket changes', async () => {
      const owner = { id: 'me', displayName: 'me' };
      await w.store.put(BUCKET, 'a/k', body('x'), { facts: { ...facts, owner } });
      await w.store.put(BUCKET, 'a//k', body('x'), { facts: { ...facts, owner } });
      await w.store.put(BUCKET, 'one', body('x'), { facts: { ...facts, owner } });
      await across('a/', 'b/');
      await w.store.move({ bucket: BUCKET, key: 'one' }, { bucket: OTHER, key: 'one' });
      for (const key of ['b/k', 'b//k', 'one']) {
        const info = await w.store.head(OTHER, key);
        expect(info.facts.owner, key).toBeUndefined();
        expect(info.facts.tags, key).toEqual(facts.tags);
      }
      expect(await text(w.store, 'b//k', OTHER)).toBe('x');
      expect(await list(w.store, {}, OTHER)).toEqual(['b//k', 'b/k', 'one']);
    });

    it('moves all that is in a bucket, which stays', async () => {
      for (const key of ['a/1', 'a/2', 'b', 'c//d', 'e/']) await put(w.store, key, key.endsWith('/') ? '' : key);
      const report = await across('', '');
      expect(report).toMatchObject({ directories: 2, objects: 2 });
      expect(await list(w.store, {}, OTHER)).toEqual(['a/1', 'a/2', 'b', 'c//d', 'e/']);
      expect(await list(w.store)).toEqual([]);
      await w.store.getBucket(BUCKET);
    });

    it('moves a bucket into a folder of another, and a folder to the top', async () => {
      await put(w.store, 'a/1');
      await put(w.store, 'b');
      await across('', 'deep/er/');
      expect(await list(w.store, {}, OTHER)).toEqual(['deep/er/a/1', 'deep/er/b']);
      await w.store.movePrefix({ bucket: OTHER, key: 'deep/er/' }, { bucket: OTHER, key: '' });
      expect(await list(w.store, {}, OTHER)).toEqual(['a/1', 'b']);
    });

    it('takes a prefix that ends within a name for all that begins so', async () => {
      for (const key of ['2023/1', '2023/2', '2024/1', '20.txt', '21']) await put(w.store, key);
      const report = await move('20', 'old-20');
      expect(report).toMatchObject({ directories: 2, objects: 1 });
      expect(await list(w.store)).toEqual(['21', 'old-20.txt', 'old-2023/1', 'old-2023/2', 'old-2024/1']);
    });

    it('moves keys that are no paths', async () => {
      for (const key of ['x//1', 'x//2//3', 'y/1']) await put(w.store, key);
      await move('x//', 'z/');
      await move('y/', 'w//');
      expect(await list(w.store)).toEqual(['w//1', 'z/1', 'z/2//3']);
      expect(await exists(w.at('z/1'))).toBe(true);
    });

    it('makes folders where a file stood on the way', async () => {
      for (const key of ['a', 'a/b/c', 'a/b2']) await put(w.store, key);
      expect(await move('a/', 'm/')).toMatchObject({ objects: 2 });
      expect(await list(w.store)).toEqual(['a', 'm/b/c', 'm/b2']);
      expect((await stat(w.at('m/b'))).isDirectory()).toBe(true);
    });

    it('makes folders that would have had too long a name before', async () => {
      const [head, tail] = ['p'.repeat(200), 'q'.repeat(100)];
      await put(w.store, `${head}${tail}/leaf`);
      expect(await move(head, 'short/')).toMatchObject({ objects: 1 });
      expect(await list(w.store)).toEqual([`short/${tail}/leaf`]);
      expect((await stat(w.at('short', tail, 'leaf'))).size).toBeGreaterThan(0);
    });

    it('refuses what is there already, and has changed nothing', async () => {
      await put(w.store, 'a/1', 'new');
      await put(w.store, 'a/2', 'two');
      await put(w.store, 'b/1', 'old');
      await put(w.store, 'c', 'a file');
      await put(w.store, 'd//1', 'odd');
      await w.store.put(BUCKET, 'm/', body(''));
      const before = await picture(w.root);
      for (const to of ['b/', 'd/', 'm/']) await refuses(move('a/', to), 'PreconditionFailed');
      await refuses(move('a/', 'c/'), 'InvalidRequest');
      await refuses(move('a/', 'c/d/'), 'InvalidRequest');
      await w.store.put(OTHER, 'a/1', body('there'));
      await refuses(across('', ''), 'PreconditionFailed');
      await w.store.delete(OTHER, 'a/1');
      expect(await picture(w.root)).toEqual(before);
    });

    it.each([
      ['', ''],
      ['', 'in/'],
      ['ca', 'du'],
    ])('keeps an object beside the folder of its name, from "%s" to "%s"', async (from, to) => {
      for (const key of ['cat/d/x', 'cat', 'cat.png', 'cats/', 'cats/y', 'cats'])
        await put(w.store, key, key.endsWith('/') ? '' : key);
      const steps: string[] = [];
      const onStep = (step: MoveStep): void => void steps.push(`${step.kind} ${step.to}`);
      await across(from, to, { dryRun: true, onStep });
      const planned = steps.splice(0).sort();
      expect(await across(from, to, { onStep })).toMatchObject({ directories: 2, objects: 3 });
      expect(steps.sort()).toEqual(planned);
      expect(await list(w.store)).toEqual([]);
      const keys = ['cat', 'cat.png', 'cat/d/x', 'cats', 'cats/', 'cats/y'].map((key) => to + key.slice(from.length));
      expect(await list(w.store, {}, OTHER)).toEqual(keys);
      expect(await exists(path.join(w.root, OTHER, `${to}${'cat/d/x'.slice(from.length)}`))).toBe(true);
    });

    it('ends what was begun where an object has taken the path of a folder', async () => {
      await put(w.store, 'cat/d/x', 'deep');
      await put(w.store, 'cat/d/y', 'deep');
      await put(w.store, 'dog/d/x', 'deep');
      await w.store.put(OTHER, 'cat', body('file'));
      await w.store.put(OTHER, 'cat/d/z', body('there'));
      await w.store.put(OTHER, 'dog', body('file'));
      await w.store.put(OTHER, 'dog/d/x', body('there'));
      await refuses(across('', ''), 'PreconditionFailed');
      await w.store.delete(OTHER, 'dog/d/x');
      await across('', '', { dryRun: true });
      expect(await across('', '')).toMatchObject({ objects: 3 });
      expect(await list(w.store)).toEqual([]);
      expect(await list(w.store, {}, OTHER)).toEqual(['cat', 'cat/d/x', 'cat/d/y', 'cat/d/z', 'dog', 'dog/d/x']);
      for (const [key, content] of [
        ['cat', 'file'],
        ['cat/d/x', 'deep'],
        ['dog/d/x', 'deep'],
      ] as const)
        expect(await text(w.store, key, OTHER)).toBe(content);
    });

    it('moves a folder to where a file is only if it is forced', async () => {
      for (const key of ['a/1', 'a/b/2', 'c']) await put(w.store, key);
      for (const to of ['c/', 'c/d/']) {
        await refuses(move('a/', to), 'InvalidRequest');
        await refuses(move('a/', to, { dryRun: true }), 'InvalidRequest');
        expect(await move('a/', to, { force: true })).toMatchObject({ objects: 2 });
        expect(await list(w.store)).toEqual(['c', `${to}1`, `${to}b/2`]);
        await move(to, 'a/');
      }
    });

    it('merges where it is forced, and tells what was replaced', async () => {
      for (const key of ['a/1', 'a/x/1', 'a/x/2', 'a/new/1']) await put(w.store, key, 'new');
      for (const key of ['b/1', 'b/x/2', 'b/x/3']) await put(w.store, key, 'old');
      const steps: MoveStep[] = [];
      const report = await move('a/', 'b/', { force: true, onStep: (step) => void steps.push(step) });
      expect(report).toMatchObject({ directories: 1, objects: 3, replaced: 2 });
      expect(steps.filter(({ replaced }) => replaced).map(({ to }) => to)).toEqual(['b/1', 'b/x/2']);
      expect(await list(w.store)).toEqual(['b/1', 'b/new/1', 'b/x/1', 'b/x/2', 'b/x/3']);
      expect(await text(w.store, 'b/x/2')).toBe('new');
      expect(await text(w.store, 'b/x/3')).toBe('old');
      expect(await exists(w.at('a'))).toBe(false);
    });

    it('takes an empty folder at the target for nothing', async () => {
      await put(w.store, 'a/1');
      await mkdir(w.at('b'));
      expect(await move('a/', 'b/')).toMatchObject({ directories: 1 });
      expect(await list(w.store)).toEqual(['b/1']);
    });

    it('moves no prefix into itself, and none that would come to lie among its own', async () => {
      await put(w.store, 'a/b/b/1');
      for (const to of ['a/b/', 'a/b/c/', 'a/b/b/']) await refuses(move('a/b/', to), 'InvalidRequest');
      await refuses(move('a/b/', 'a/'), 'InvalidRequest');
      await refuses(move('', 'sub/'), 'InvalidRequest');
      await refuses(move('nothing/', 'x/'), 'NoSuchKey');
      await refuses(w.store.movePrefix({ bucket: 'none', key: 'a/' }, { bucket: BUCKET, key: 'b/' }), 'NoSuchBucket');
      await refuses(w.store.movePrefix({ bucket: BUCKET, key: 'a/' }, { bucket: 'none', key: 'b/' }), 'NoSuchBucket');
      await refuses(move('', '', { force: true }), 'InvalidRequest');
    });

    it('only tells, without a change', async () => {
      for (const key of ['a/1', 'b/1', 'c']) await put(w.store, key);
      const before = await picture(w.root);
      const steps: MoveStep[] = [];
      await across('', 'x/', { dryRun: true, onStep: (step) => void steps.push(step) });
      expect(steps.map(({ from, to }) => `${from} ${to}`).sort()).toEqual(['a/ x/a/', 'b/ x/b/', 'c x/c']);
      await refuses(move('a/', 'b/', { dryRun: true }), 'PreconditionFailed');
      expect(await picture(w.root)).toEqual(before);
    });

    it('moves what is not served along with its folder, and leaves uploads with their keys', async () => {
      await put(w.store, 'a/1');
      await symlink('/etc/passwd', w.at('a/out'));
      await writeFile(w.at('a/.hidden'), 'x');
      const { uploadId } = await w.store.createUpload(BUCKET, 'a/multi', {});
      const [part] = await putParts(w.store, 'a/multi', uploadId, [[1, 'x']]);
      await move('a/', 'b/');
      expect(await exists(w.at('b/out'))).toBe(true);
      const refs = [{ partNumber: 1, etag: part?.etag ?? '', checksums: {} }];
      await w.store.completeUpload(BUCKET, 'a/multi', uploadId, refs);
      expect(await list(w.store)).toEqual(['a/multi', 'b/.hidden', 'b/1']);
    });

    it('is seen by every process that has the root open, at once', async () => {
      await put(w.store, 'a/b/k', 'bytes');
      const other = await w.make({ root: w.root });
      expect(await list(other.store)).toEqual(['a/b/k']);
      const { etag } = await other.store.head(BUCKET, 'a/b/k');
      for (let n = 0; n < 20; n++) {
        const [from, to] = n % 2 === 0 ? ['a/', 'z/'] : ['z/', 'a/'];
        await move(from, to);
        await refuses(other.store.head(BUCKET, `${from}b/k`), 'NoSuchKey');
        expect((await other.store.head(BUCKET, `${to}b/k`)).etag).toBe(etag);
        expect(await list(other.store)).toEqual([`${to}b/k`]);
      }
      await other.stop();
    });

    it('loses no write that comes meanwhile', async () => {
      for (let n = 0; n < 50; n++) await put(w.store, `a/${n}`);
      const writes = Array.from({ length: 100 }, (_, n) => put(w.store, `a/late-${n}`, `late ${n}`));
      await move('a/', 'b/');
      await Promise.all(writes);
      const keys = await list(w.store);
      expect(keys.length).toBe(150);
      for (let n = 0; n < 100; n++) {
        const key = keys.find((one) => one.endsWith(`/late-${n}`)) ?? '';
        expect(await text(w.store, key)).toBe(`late ${n}`);
      }
      expect(path.dirname(keys.find((one) => one.endsWith('/7')) ?? '')).toBe('b');
    });

    it('keeps what an outside program renamed known', async () => {
      await put(w.store, 'a/sub/k', 'x');
      await move('a/', 'b/');
      await w.store.updateFacts(BUCKET, 'b/sub/k', () => facts);
      await move('b/', 'c/');
      expect((await w.store.head(BUCKET, 'c/sub/k')).facts.tags).toEqual(facts.tags);
    });
  });
}
