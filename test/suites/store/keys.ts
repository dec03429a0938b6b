/** DESIGN rule 5: every legal S3 key works, and none leaves its bucket. */
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { MakeStore } from './kit.js';
import { BUCKET, body, byteOrder, exists, list, picture, put, refuses, text, world } from './kit.js';

/** Keys that are names of files. */
export const PATH_KEYS = [
  'plain.txt',
  'a/b/c/d/e/f',
  'x'.repeat(255),
  ' leading and trailing ',
  'tab\tand\nnewline',
  'back\\slash\\..\\..\\up',
  'percent%2e%2e%2fend',
  '%2e%2e/%2e%2e/etc',
  '..hidden/...three',
  '.hidden',
  '.gos3rve.txt',
  '.GOS3RVE-not/x',
  'emoji-😀-👩‍👩‍👧',
  '日本語/かな',
  '\u{10ffff}-last',
  '\ue000-private',
  '*?"<>|:',
  'COM1',
  'dot.',
  '-rf',
  '~root/$HOME/`id`',
  'a=b&c;d,e+f@g',
  'quote\'"',
  '{"json":1}',
  '__proto__',
  'constructor/prototype',
];
/** Names that some file systems fold together. */
const FOLDED_KEYS = ['Case', 'case', 'CASE/x', 'caf\u00e9', 'cafe\u0301'];
/** Keys that are no path: overflow objects. */
export const OVERFLOW_KEYS = [
  'y'.repeat(256),
  'k'.repeat(1024),
  `${'é'.repeat(127)}${'z'.repeat(20)}/deep/${'ü'.repeat(200)}`,
  'twice//slash',
  '//',
  '/',
  '///three',
  '/leading/slash',
  '/etc/passwd',
  '.',
  '..',
  './here',
  'here/.',
  'here/./there',
  '../up',
  '../../../../../../etc/passwd',
  'up/../../../x',
  'up/..',
  '.gos3rve',
  '.gos3rve/config.yaml',
  '.gos3rve/journal/x',
  'deep/.gos3rve/x',
  'nul\0byte',
  '\0',
];
/** Folders with content of their own: a trailing slash with bytes is no folder. */
const SLASH_KEYS = ['content/', 'content/more/', 'plain.txt/', '../', './', '.gos3rve/'];

/** Distinct content per key, so that a mix-up shows. */
const contentOf = (key: string): string => `content of ${JSON.stringify(key)}`;

export function keyContract(make: MakeStore): void {
  describe('keys', () => {
    const w = world(make);

    it('keeps every legal key apart, lists them in byte order and deletes them without a trace', async () => {
      await writeFile(path.join(w.root, 'canary'), 'outside');
      await w.store.createBucket('sibling', {});
      await put(w.store, 'canary', 'sibling', 'sibling');
      const keys = [...PATH_KEYS, ...FOLDED_KEYS, ...OVERFLOW_KEYS, ...SLASH_KEYS];
      for (const key of keys) {
        const info = await put(w.store, key, contentOf(key));
        expect(info.key).toBe(key);
      }
      for (const key of keys) {
        expect(await text(w.store, key)).toBe(contentOf(key));
        expect((await w.store.head(BUCKET, key)).key).toBe(key);
      }
      expect(await list(w.store)).toEqual([...keys].sort(byteOrder));
      expect(await list(w.store, { max: 3 })).toEqual([...keys].sort(byteOrder));
      for (const key of keys) await put(w.store, key, `again ${key}`);
      for (const key of keys) {
        expect(await text(w.store, key)).toBe(`again ${key}`);
        expect(await w.store.delete(BUCKET, key)).toBe(true);
        await refuses(w.store.head(BUCKET, key), 'NoSuchKey');
      }
      expect(await list(w.store)).toEqual([]);
      expect(await picture(w.root)).toEqual({
        box: 'directory',
        canary: expect.any(String) as string,
        sibling: 'directory',
        'sibling/canary': expect.any(String) as string,
      });
      await w.store.deleteBucket(BUCKET);
    });

    it('stores keys that are paths at their paths', async () => {
      for (const key of PATH_KEYS) {
        await put(w.store, key, contentOf(key));
        expect(await readFile(w.at(key), 'utf8')).toBe(contentOf(key));
      }
    });

    it('carries control characters, which XML cannot', async () => {
      for (const key of ['bell\u0007', 'del\u007f', '\u0001']) {
        await put(w.store, key, contentOf(key));
        expect(await text(w.store, key)).toBe(contentOf(key));
      }
      expect(await list(w.store)).toEqual(['\u0001', 'bell\u0007', 'del\u007f']);
    });

    it('never opens what lies outside under a key that says so', async () => {
      await writeFile(path.join(w.root, 'secret'), 'secret');
      await w.store.createBucket('sibling', {});
      await put(w.store, 'k', 'secret', 'sibling');
      for (const key of [
        '../secret',
        '../sibling/k',
        '../box/../secret',
        '/etc/passwd',
        '.gos3rve/staging',
        './k',
        'a/../../secret',
      ]) {
        await refuses(w.store.head(BUCKET, key), 'NoSuchKey');
        await refuses(w.store.open(BUCKET, key), 'NoSuchKey');
        await refuses(w.store.copy({ bucket: BUCKET, key }, { bucket: BUCKET, key: 'stolen' }), 'NoSuchKey');
        await refuses(w.store.move({ bucket: BUCKET, key }, { bucket: BUCKET, key: 'stolen' }), 'NoSuchKey');
        expect(await w.store.delete(BUCKET, key)).toBe(false);
      }
      for (const prefix of ['../', '../sibling/', '.gos3rve/', '/', '..']) {
        expect(await list(w.store, { prefix })).toEqual([]);
        expect(await list(w.store, { prefix, delimiter: '/' })).toEqual([]);
      }
      expect(await readFile(path.join(w.root, 'secret'), 'utf8')).toBe('secret');
      expect(await text(w.store, 'k', 'sibling')).toBe('secret');
    });

    it('holds a file and keys below it at once, in either order', async () => {
      for (const [first, second] of [
        ['a', 'a/b'],
        ['c/d/e', 'c'],
        ['f/g', 'f/g/h/i'],
      ] as const) {
        await put(w.store, first, 'first');
        await put(w.store, second, 'second');
        expect([await text(w.store, first), await text(w.store, second)]).toEqual(['first', 'second']);
        expect(await w.store.delete(BUCKET, first)).toBe(true);
        expect(await text(w.store, second)).toBe('second');
        await refuses(w.store.head(BUCKET, first), 'NoSuchKey');
        expect(await w.store.delete(BUCKET, second)).toBe(true);
      }
      expect(await list(w.store)).toEqual([]);
      expect(await picture(w.at())).toEqual({});
    });

    it('gives way to a real file that appears at an overflow key, and shows the object again when it goes', async () => {
      await put(w.store, 'a', 'file');
      await put(w.store, 'a/b', 'overflow');
      await rm(w.at('a'));
      await mkdir(w.at('a'));
      await writeFile(w.at('a/b'), 'real');
      expect(await text(w.store, 'a/b')).toBe('real');
      expect(await list(w.store)).toEqual(['a/b']);
      await rm(w.at('a/b'));
      expect(await exists(w.at('a/b'))).toBe(false);
      expect(await text(w.store, 'a/b')).toBe('overflow');
    });
  });

  describe('markers', () => {
    const w = world(make);

    it('lists an empty dir/ that was put, with what was said of it', async () => {
      const info = await w.store.put(BUCKET, 'dir/', body(''), { facts: { contentType: 'application/x-directory' } });
      expect(info).toMatchObject({ key: 'dir/', size: 0 });
      expect((await stat(w.at('dir'))).isDirectory()).toBe(true);
      expect(await list(w.store)).toEqual(['dir/']);
      expect((await w.store.head(BUCKET, 'dir/')).facts.contentType).toBe('application/x-directory');
      expect(await text(w.store, 'dir/')).toBe('');
      await refuses(w.store.head(BUCKET, 'dir'), 'NoSuchKey');
      expect(await w.store.delete(BUCKET, 'dir/')).toBe(true);
      expect(await exists(w.at('dir'))).toBe(false);
    });

    it('keeps a marker apart from what lies below it', async () => {
      await put(w.store, 'dir/', '');
      await put(w.store, 'dir/k', 'x');
      expect(await list(w.store)).toEqual(['dir/', 'dir/k']);
      await w.store.delete(BUCKET, 'dir/k');
      expect(await list(w.store)).toEqual(['dir/']);
      await put(w.store, 'dir/k', 'x');
      await w.store.delete(BUCKET, 'dir/');
      expect(await list(w.store)).toEqual(['dir/k']);
      await refuses(w.store.head(BUCKET, 'dir/'), 'NoSuchKey');
      await w.store.delete(BUCKET, 'dir/k');
      expect(await exists(w.at('dir'))).toBe(false);
    });

    it('does not list folders of others, empty or not, and never removes them', async () => {
      await mkdir(w.at('theirs/empty'), { recursive: true });
      expect(await list(w.store)).toEqual([]);
      expect(await list(w.store, { delimiter: '/' })).toEqual([]);
      await refuses(w.store.head(BUCKET, 'theirs/'), 'NoSuchKey');
      await put(w.store, 'theirs/', '');
      expect(await list(w.store)).toEqual(['theirs/']);
      await w.store.delete(BUCKET, 'theirs/');
      expect(await list(w.store)).toEqual([]);
      expect(await exists(w.at('theirs/empty'))).toBe(true);
    });

    it('loses a marker whose folder another program removes', async () => {
      await put(w.store, 'dir/', '');
      await rm(w.at('dir'), { recursive: true });
      await refuses(w.store.head(BUCKET, 'dir/'), 'NoSuchKey');
      expect(await list(w.store)).toEqual([]);
    });

    it('holds a, a/ and a/b at once', async () => {
      await put(w.store, 'a', 'file');
      await put(w.store, 'a/', '');
      await put(w.store, 'a/b', 'below');
      expect(await list(w.store)).toEqual(['a', 'a/', 'a/b']);
      expect(await text(w.store, 'a')).toBe('file');
      expect(await text(w.store, 'a/b')).toBe('below');
    });

    it('turns a marker into an object with content and back', async () => {
      await put(w.store, 'a/', '');
      await put(w.store, 'a/', 'bytes');
      expect(await text(w.store, 'a/')).toBe('bytes');
      await put(w.store, 'a/', '');
      expect(await text(w.store, 'a/')).toBe('');
      expect(await list(w.store)).toEqual(['a/']);
      expect(await w.store.delete(BUCKET, 'a/')).toBe(true);
      expect(await list(w.store)).toEqual([]);
    });
  });
}
