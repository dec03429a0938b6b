/** A process is killed when the line of its append is in the journal, before it has marked or grown the file: what others append to it since is theirs. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { BUCKET, body, text } from '../suites/store/kit.js';

const DIST = path.resolve(import.meta.dirname, '../../dist');
const CHILD = path.join(import.meta.dirname, 'append-never-begun-child.js');
const HALF = path.join(import.meta.dirname, 'append-child.js');

describe.skipIf(!existsSync(path.join(DIST, 'store/open.js')))(
  'an append that was never begun',
  { timeout: 60_000 },
  () => {
    let root: string;
    let store: LocalStore;
    const told: unknown[] = [];
    const at = (name: string): string => path.join(root, BUCKET, name);
    const open = (): Promise<LocalStore> =>
      openStore(root, { log: (level, message, data) => told.push({ level, message, ...data }) });
    const reopened = async (index: string): Promise<void> => {
      await store.close();
      if (index === 'lost') rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
      store = await open();
    };
    const die = async (piece: string, child = CHILD): Promise<void> => {
      const args = [child, DIST, root, BUCKET, 'log', '4', piece];
      const [, signal] = (await once(spawn(process.execPath, args, { stdio: 'inherit' }), 'close')) as [
        unknown,
        string,
      ];
      expect(signal).toBe('SIGKILL');
    };

    beforeEach(async () => {
      root = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-never-'));
      told.length = 0;
      store = await open();
      await store.createBucket(BUCKET, {});
      await store.put(BUCKET, 'log', body('old,'));
    });
    afterEach(async () => {
      await store.close();
      await rm(root, { recursive: true });
    });

    describe.each(['there', 'lost'])('with the index %s', (index) => {
      const LATER: [string, () => Promise<unknown>][] = [
        ['is where it was', () => Promise.resolve()],
        ['was rotated by another program', () => Promise.resolve(renameSync(at('log'), at('log.1')))],
        [
          'was rotated by another program, and a new one put',
          async () => {
            renameSync(at('log'), at('log.1'));
            await store.put(BUCKET, 'log', body(''));
          },
        ],
        [
          'was rotated by a client',
          async () => {
            await store.move({ bucket: BUCKET, key: 'log' }, { bucket: BUCKET, key: 'log.1' });
            await store.put(BUCKET, 'log', body(''));
          },
        ],
      ];
      it.each(LATER)('leaves what was acknowledged since of a file that %s', async (what, later) => {
        await die('PIECE');
        await store.append(BUCKET, 'log', 4, body('PIECE'));
        await later();
        await reopened(index);
        const name = what === 'is where it was' ? 'log' : 'log.1';
        expect(readFileSync(at(name), 'utf8')).toBe('old,PIECE');
        expect(await text(store, name)).toBe('old,PIECE');
        await reopened('there');
        expect(readFileSync(at(name), 'utf8')).toBe('old,PIECE');
        expect(await store.head(BUCKET, name)).toMatchObject({ size: 9 });
        expect(told).toEqual([]);
        expect(existsSync(path.join(root, '.gos3rve/half-appended.txt'))).toBe(false);
      });

      it('leaves what was acknowledged of a longer piece, and tells of nothing', async () => {
        await die('PIECE');
        await store.append(BUCKET, 'log', 4, body('PIXEL'));
        renameSync(at('log'), at('log.1'));
        await store.put(BUCKET, 'log', body(''));
        await reopened(index);
        expect(await text(store, 'log.1')).toBe('old,PIXEL');
        expect(told).toEqual([]);
      });

      it('leaves it to the one that came after it and was killed half way', async () => {
        await die('PIECE');
        await die('PIxel?', HALF);
        expect(readFileSync(at('log'), 'utf8')).toBe('old,PIx');
        renameSync(at('log'), at('log.1'));
        await store.put(BUCKET, 'log', body(''));
        await reopened(index);
        expect(await text(store, 'log.1')).toBe('old,');
        expect(readFileSync(at('log.1'), 'utf8')).toBe('old,');
        expect(told).toEqual([]);
      });
    });

    it.each(['PIECE', '\0\0\0\0\0'])('leaves what another program appends: %j', async (piece) => {
      await die('PIECE');
      appendFileSync(at('log'), piece);
      await reopened('there');
      expect(readFileSync(at('log'), 'utf8')).toBe(`old,${piece}`);
      expect(await store.head(BUCKET, 'log')).toMatchObject({ size: 9 });
      expect(await text(store, 'log')).toBe(`old,${piece}`);
      expect(told).toEqual([]);
    });
  },
);
