/** Objects that were told a moment ago: telling them again costs little, and no change is missed. */
import fs, {
  appendFileSync,
  chmodSync,
  closeSync,
  futimesSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body } from '../suites/store/kit.js';

const SOME_TIME = 1_700_000_000;
const OLD = 'a'.repeat(1000);
const NEW = 'b'.repeat(1000);

let root: string;
let store: LocalStore;
const at = (...names: string[]): string => join(root, 'b', ...names);

/** What GET tells; the error's code if it fails. */
async function get(from = store, key = 'd/f', start = 0, end = OLD.length): Promise<string> {
  try {
    const open = await from.open('b', key);
    let bytes = '';
    try {
      await open.read(start, Math.min(end, open.info.size), (chunk) => {
        bytes += chunk.toString();
      });
    } finally {
      await open.close();
    }
    return bytes;
  } catch (error) {
    return (error as { code: string }).code;
  }
}

beforeEach(async () => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'gos3rve-bodies-')));
  mkdirSync(at('d'), { recursive: true });
  writeFileSync(at('d', 'f'), OLD);
  utimesSync(at('d', 'f'), SOME_TIME, SOME_TIME);
  store = await openStore(root);
  // bytes are kept of files only that have not changed for a while: it is later, then
  const real = Date.now;
  vi.spyOn(Date, 'now').mockImplementation(() => real() + 60_000);
  for (let i = 0; i < 3; i++) expect(await get()).toBe(OLD);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

it.runIf(process.platform === 'linux')('is read once, also in pieces', async () => {
  const bytesRead = (): number => Number(/rchar: (\d+)/.exec(readFileSync('/proc/self/io', 'utf8'))?.[1]);
  const before = bytesRead();
  for (let i = 0; i < 50; i++) {
    expect(await get()).toBe(OLD);
    expect(await get(store, 'd/f', 10, 20)).toBe(OLD.slice(10, 20));
  }
  expect(bytesRead() - before).toBeLessThan(50 * OLD.length);
});

describe('asked for by a hundred at once, and not at hand yet,', () => {
  /** How often files of this name are opened meanwhile. */
  async function opensOf(name: string, work: () => Promise<unknown>): Promise<number> {
    const { openSync } = fs;
    let opens = 0;
    fs.openSync = (path, ...how) => {
      if (String(path).endsWith(`/${name}`)) opens++;
      return openSync(path, ...how);
    };
    syncBuiltinESMExports();
    try {
      await work();
    } finally {
      Object.assign(fs, { openSync });
      syncBuiltinESMExports();
    }
    return opens;
  }
  const all = (key: string): Promise<string[]> => Promise.all(Array.from({ length: 100 }, () => get(store, key)));

  it('is opened once to be hashed, and once to be read', async () => {
    writeFileSync(at('d', 'cold'), NEW);
    const opens = await opensOf('cold', async () => expect(new Set(await all('d/cold'))).toEqual(new Set([NEW])));
    expect(opens).toBeGreaterThan(0);
    expect(opens).toBeLessThanOrEqual(2);
  });

  it('is told to each as it is if it is no object, or not kept', async () => {
    expect(new Set(await all('d/none'))).toEqual(new Set(['NoSuchKey']));
    writeFileSync(at('d', 'large'), 'x'.repeat(100_000));
    expect(new Set(await all('d/large'))).toEqual(new Set(['x'.repeat(OLD.length)]));
  });

  it('keeps nobody waiting who reads a part of it, late, or not at all', async () => {
    writeFileSync(at('d', 'cold'), NEW);
    const [one, other] = await Promise.all([store.open('b', 'd/cold'), store.open('b', 'd/cold')]);
    expect(await get(store, 'd/cold', 10, 20)).toBe(NEW.slice(10, 20));
    expect(await Promise.all([get(store, 'd/cold', 10, 20), get(store, 'd/cold')])).toEqual([NEW.slice(10, 20), NEW]);
    await other.close();
    const chunks: Buffer[] = [];
    await one.read(0, NEW.length, (chunk) => void chunks.push(Buffer.from(chunk)));
    expect(Buffer.concat(chunks).toString()).toBe(NEW);
    await one.close();
  });

  it('is told to the others when the first finds it cut short', async () => {
    writeFileSync(at('d', 'cold'), NEW);
    await store.head('b', 'd/cold');
    const first = await store.open('b', 'd/cold');
    const reading = first.read(0, NEW.length, () => undefined);
    const second = get(store, 'd/cold', 0, 5);
    truncateSync(at('d', 'cold'), 5);
    await reading.catch(() => undefined);
    await first.close();
    expect(await second).toBe(NEW.slice(0, 5));
  });
});

describe('nothing that happens to its file is missed:', () => {
  it.each<[string, () => void, string]>([
    ['overwritten', () => writeFileSync(at('d', 'f'), NEW), NEW],
    [
      'overwritten with its old size and mtime',
      () => {
        const fd = openSync(at('d', 'f'), 'r+');
        writeSync(fd, NEW);
        futimesSync(fd, SOME_TIME, SOME_TIME);
        closeSync(fd);
      },
      NEW,
    ],
    [
      'replaced by one of the same size and mtime',
      () => {
        writeFileSync(at('new'), NEW);
        utimesSync(at('new'), SOME_TIME, SOME_TIME);
        renameSync(at('new'), at('d', 'f'));
      },
      NEW,
    ],
    ['cut', () => truncateSync(at('d', 'f'), 5), OLD.slice(0, 5)],
    ['made longer', () => appendFileSync(at('d', 'f'), 'more'), OLD],
    ['removed', () => unlinkSync(at('d', 'f')), 'NoSuchKey'],
    ['renamed', () => renameSync(at('d', 'f'), at('d', 'g')), 'NoSuchKey'],
    ['with its folder renamed', () => renameSync(at('d'), at('e')), 'NoSuchKey'],
    ['with its bucket renamed', () => renameSync(at(), join(root, 'c')), 'NoSuchBucket'],
    [
      'replaced by a link that leads out',
      () => {
        writeFileSync(join(root, 'secret'), NEW);
        unlinkSync(at('d', 'f'));
        symlinkSync(join(root, 'secret'), at('d', 'f'));
      },
      'NoSuchKey',
    ],
    ['only chmod-ed', () => chmodSync(at('d', 'f'), 0o600), OLD],
  ])('%s', async (_what, change, now) => {
    expect(store.atHand('b', 'd/f')?.bytes?.toString()).toBe(OLD);
    change();
    expect(store.atHand('b', 'd/f')).toBeUndefined();
    expect(await get()).toBe(now);
  });

  it('put, appended to and removed by another process', async () => {
    const other = await openStore(root);
    try {
      await other.put('b', 'd/f', body(NEW));
      expect(store.atHand('b', 'd/f')).toBeUndefined();
      expect(await get()).toBe(NEW);
      for (let i = 0; i < 3; i++) await get();
      await other.append('b', 'd/f', NEW.length, body('more'));
      expect(await get(store, 'd/f', 0, 2000)).toBe(`${NEW}more`);
      for (let i = 0; i < 3; i++) await get();
      await other.delete('b', 'd/f');
      expect(store.atHand('b', 'd/f')).toBeUndefined();
      expect(await get()).toBe('NoSuchKey');
    } finally {
      await other.close();
    }
  });
});

it('is another object after a move onto its key', async () => {
  await store.put('b', 'other', body(NEW));
  for (let i = 0; i < 3; i++) expect(await get(store, 'other')).toBe(NEW);
  await store.move({ bucket: 'b', key: 'other' }, { bucket: 'b', key: 'd/f' });
  expect(await get()).toBe(NEW);
  expect(await get(store, 'other')).toBe('NoSuchKey');
});

it('is at hand after a HEAD, too, without its bytes, until it is told no more for a while', async () => {
  writeFileSync(at('d', 'h'), NEW);
  utimesSync(at('d', 'h'), SOME_TIME, SOME_TIME);
  const told = await store.head('b', 'd/h');
  expect(store.atHand('b', 'd/h')).toMatchObject({ info: told });
  expect(store.atHand('b', 'd/h')?.bytes).toBeUndefined();
  expect(await get(store, 'd/h')).toBe(NEW);
  expect(store.atHand('b', 'd/h')?.bytes?.toString()).toBe(NEW);
  const real = performance.now.bind(performance);
  vi.spyOn(performance, 'now').mockImplementation(() => real() + 61_000);
  expect(store.atHand('b', 'd/h')).toBeUndefined();
});

it('keeps its bytes when it is only described, as by a policy that asks for its tags', async () => {
  await store.head('b', 'd/f');
  expect(store.atHand('b', 'd/f', true)?.bytes?.toString()).toBe(OLD);
});

it('tells what another process has made a client say of it, and of its bucket', async () => {
  const other = await openStore(root);
  try {
    await other.updateFacts('b', 'd/f', (facts) => ({ ...facts, tags: [['a', 'b']] }));
    expect(store.atHand('b', 'd/f')).toBeUndefined();
    expect((await store.head('b', 'd/f')).facts.tags).toEqual([['a', 'b']]);
    expect(store.atHand('b', 'd/f')?.info.facts.tags).toEqual([['a', 'b']]);
    expect(store.bucketAtHand('b')?.settings.policy).toBeUndefined();
    await other.updateBucket('b', (settings) => ({ ...settings, policy: '{}' }));
    expect(store.bucketAtHand('b')?.settings.policy).toBe('{}');
  } finally {
    await other.close();
  }
});

it('is not at hand while the root is away, nor is its bucket', () => {
  renameSync(root, `${root}-away`);
  try {
    expect(store.atHand('b', 'd/f')).toBeUndefined();
    expect(store.bucketAtHand('b')).toBeUndefined();
  } finally {
    renameSync(`${root}-away`, root);
  }
});

it('is not kept of what lies behind a link to a folder: nothing of the file tells where that leads by now', async () => {
  mkdirSync(at('e'));
  writeFileSync(at('e', 'f'), NEW);
  symlinkSync('d', at('l'));
  const all = await openStore(root, { symlinks: 'all' });
  try {
    for (let i = 0; i < 3; i++) expect(await get(all, 'l/f')).toBe(OLD);
    unlinkSync(at('l'));
    expect((await all.head('b', 'l/f').catch((error: { code: string }) => error)) as unknown).toMatchObject({
      code: 'NoSuchKey',
    });
    symlinkSync('e', at('l'));
    expect(await get(all, 'l/f')).toBe(NEW);
    // what lies in the folder itself is
    for (let i = 0; i < 3; i++) expect(await get(all)).toBe(OLD);
    expect(all.atHand('b', 'd/f')?.bytes?.toString()).toBe(OLD);
  } finally {
    await all.close();
  }
});
