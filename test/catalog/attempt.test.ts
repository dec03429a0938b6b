/** Parts of one write to the index, each of which stands or falls by itself. */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Index } from '../../src/catalog/lmdb.js';

let directory = '';
let index: Index;
beforeEach(() => {
  directory = mkdtempSync(path.join(os.tmpdir(), 'gos3rve-attempt-'));
  index = Index.open(path.join(directory, 'index.mdb'));
});
afterEach(async () => {
  await index.close();
  rmSync(directory, { recursive: true });
});

const key = (name: string): Buffer => Buffer.from(`......${name}`);
const put = (name: string, value: string): void => index.put('tree', key(name), Buffer.from(value));
const told = (name: string): string | undefined => index.get('tree', key(name))?.toString();

function refused(work: () => void): void {
  expect(() =>
    index.attempt(() => {
      work();
      throw new Error('refused');
    }),
  ).toThrow('refused');
}

it('takes back what it has put, changed, removed and counted, and nothing else', () => {
  index.write(() => {
    put('stays', 'old');
    put('goes', 'old');
    index.setNumber('counted', 1);
  });
  index.write(() => {
    index.attempt(() => {
      put('before', 'one');
      put('stays', 'new');
      index.setNumber('counted', 2);
    });
    refused(() => {
      put('stays', 'newer');
      put('stays', 'newest');
      put('fresh', 'one');
      index.remove('tree', key('goes'));
      index.remove('tree', key('before'));
      put('before', 'again');
      expect(index.next('counted')).toBe(3);
    });
    expect(index.number('counted')).toBe(2);
    index.attempt(() => put('behind', String(index.next('counted'))));
  });
  expect(['stays', 'goes', 'before', 'fresh', 'behind'].map(told)).toEqual(['new', 'old', 'one', undefined, '3']);
  expect(index.number('counted')).toBe(3);
});

it('is taken back with the whole of it', () => {
  expect(() =>
    index.write(() => {
      index.attempt(() => put('part', 'one'));
      throw new Error('nothing of it');
    }),
  ).toThrow('nothing of it');
  index.write(() => put('next', 'one'));
  expect([told('part'), told('next')]).toEqual([undefined, 'one']);
});
