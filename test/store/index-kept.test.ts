/** What happens to the file of an index in use, and says nothing of its bytes: it is not taken for damage. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { BUCKET, list, put } from '../suites/store/kit.js';

const ROOT = process.platform === 'linux' && process.getuid?.() === 0;

const DIST = path.resolve(import.meta.dirname, '../../dist/store/open.js');
const CHILD = `
const { openStore } = await import(${JSON.stringify(pathToFileURL(DIST).href)});
await openStore(process.argv[2]);
process.send('open');
`;

let base: string;
let root: string;
let store: LocalStore;
let told: string[];

const file = (): string => path.join(root, '.gos3rve/index/v3.mdb');
const open = (): Promise<LocalStore> =>
  openStore(root, { log: (level, message) => void (level !== 'info' && told.push(message)) });

beforeEach(() => {
  told = [];
  base = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-kept-')));
  root = path.join(base, 'root');
  fs.mkdirSync(path.join(root, BUCKET), { recursive: true });
});
afterEach(async () => {
  await store.close();
  fs.rmSync(base, { recursive: true });
});

/** Reads and writes go on in the very same file. */
async function isKept(inode: number): Promise<void> {
  await put(store, 'after');
  expect(await list(store)).toEqual(['after', 'before']);
  expect(told).toEqual([]);
  expect(fs.statSync(file()).ino).toBe(inode);
}

describe('an index in use', () => {
  it.each<[string, () => void]>([
    ['whose mode is set', () => fs.chmodSync(file(), 0o600)],
    ['that is given to whom it belongs', () => fs.chownSync(file(), process.getuid?.() ?? 0, process.getgid?.() ?? 0)],
    ['that gets a second name, by a backup', () => fs.linkSync(file(), path.join(base, 'copy'))],
    ['that is read', () => void fs.readFileSync(file())],
  ])('%s is kept', async (_what, change) => {
    store = await open();
    await put(store, 'before');
    const { ino } = fs.statSync(file());
    change();
    await isKept(ino);
  });

  it.skipIf(!ROOT)('is kept when root opens it beside us, though it belongs to another user (needs root)', async () => {
    fs.chownSync(root, 1000, 1000);
    store = await open();
    await put(store, 'before');
    const { ino } = fs.statSync(file());
    await (await open()).close();
    await isKept(ino);
  });

  describe.skipIf(!fs.existsSync(DIST))('when another process is killed inside a transaction', () => {
    /** Pages that no transaction speaks of, as it leaves them. */
    const half = (): void => fs.appendFileSync(file(), Buffer.alloc(8192, 0x5a));
    const killOne = async (): Promise<void> => {
      const script = path.join(base, 'child.mjs');
      fs.writeFileSync(script, CHILD);
      const child = fork(script, [root], { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
      await once(child, 'message');
      child.kill('SIGKILL');
      await once(child, 'exit');
    };

    it.each<[string, () => Promise<void>]>([
      ['is kept', () => Promise.resolve()],
      ['is kept, also when a third has opened it since', async () => (await open()).close()],
    ])('%s', { timeout: 30_000 }, async (_what, meanwhile) => {
      store = await open();
      await put(store, 'before');
      const { ino } = fs.statSync(file());
      await killOne();
      half();
      await meanwhile();
      await isKept(ino);
    });

    it('is trusted for that once', { timeout: 30_000 }, async () => {
      store = await open();
      await put(store, 'before');
      await killOne();
      half();
      await put(store, 'after');
      expect(told).toEqual([]);
      half();
      expect(await list(store)).toEqual(['after', 'before']);
      expect(told).toHaveLength(1);
    });
  });
});
