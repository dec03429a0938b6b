/**
 * A power cut that kept a line of the journal and lost the rename or unlink that it tells of, as file systems without an order of their own may: the
 * file that was replaced, the very inode, stands at its key. It must have its own facts still, also after the next loss of the index.
 */
import { linkSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { processToken } from '../../src/base/process.js';
import type { ObjectRef, Store } from '../../src/store/contract.js';
import { Core } from '../../src/store/core.js';
import { openStore } from '../../src/store/open.js';
import { BUCKET, body } from '../suites/store/kit.js';

let base = '';
let root = '';
beforeEach(async () => {
  base = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-lost-'));
  root = path.join(base, 'root');
  await mkdir(path.join(root, BUCKET), { recursive: true });
});
afterEach(() => rm(base, { recursive: true, force: true }));

const at = (key: string): string => path.join(root, BUCKET, key);
const put = (store: Store, key: string, text: string): Promise<unknown> =>
  store.put(BUCKET, key, body(text), { facts: { metadata: { text } } });

/** What a store finds with the index lost: key -> text of the bytes' metadata. */
async function found(keys: string[]): Promise<(string | undefined)[]> {
  rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
  const store = await openStore(root);
  try {
    return await Promise.all(
      keys.map((key) =>
        store.head(BUCKET, key).then(
          ({ facts, size }) => `${facts.metadata?.text} ${size}`,
          () => undefined,
        ),
      ),
    );
  } finally {
    await store.close();
  }
}

/** Does it with the file at `key` kept, which then stands there again. */
async function lost(key: string, work: (store: Store) => Promise<unknown>): Promise<void> {
  const store = await openStore(root);
  await put(store, key, 'old');
  linkSync(at(key), path.join(base, 'kept'));
  await work(store);
  await store.close();
  renameSync(path.join(base, 'kept'), at(key));
}

describe('what was lost by a power cut, but not its line,', () => {
  it('is no put', async () => {
    await lost('a', (store) => put(store, 'a', 'newer'));
    expect(await found(['a'])).toEqual(['old 3']);
    expect(await found(['a'])).toEqual(['old 3']);
  });
  it('is no delete', async () => {
    await lost('a', (store) => store.delete(BUCKET, 'a'));
    expect(await found(['a'])).toEqual(['old 3']);
    expect(await found(['a'])).toEqual(['old 3']);
  });
  it('is no move', async () => {
    await lost('a', async (store) => {
      await store.move({ bucket: BUCKET, key: 'a' }, { bucket: BUCKET, key: 'b' });
      rmSync(at('b'));
    });
    expect(await found(['a', 'b'])).toEqual(['old 3', undefined]);
    expect(await found(['a', 'b'])).toEqual(['old 3', undefined]);
  });
  it('is no move, also when something else stands at the source later', async () => {
    await lost('a', async (store) => {
      await put(store, 'b', 'there');
      linkSync(at('b'), path.join(base, 'there'));
      await store.move({ bucket: BUCKET, key: 'a' }, { bucket: BUCKET, key: 'b' });
      renameSync(path.join(base, 'there'), at('b'));
    });
    expect(await found(['a', 'b'])).toEqual(['old 3', 'there 5']);
    const store = await openStore(root);
    await put(store, 'a', 'new');
    await store.close();
    expect(await found(['a', 'b'])).toEqual(['new 3', 'there 5']);
  });
  it('is no move to where nothing is', async () => {
    await lost('a', async (store) => {
      await store.move({ bucket: BUCKET, key: 'a' }, { bucket: BUCKET, key: 'b' });
      rmSync(at('b'));
    });
    expect(await found(['a', 'b'])).toEqual(['old 3', undefined]);
    const store = await openStore(root);
    await store.delete(BUCKET, 'a');
    await store.close();
    writeFileSync(at('b'), 'a file of others');
    expect(await found(['a', 'b'])).toEqual([undefined, 'undefined 16']);
  });
  it('is half a move: the loss of the old name', async () => {
    await lost('a', (store) => store.move({ bucket: BUCKET, key: 'a' }, { bucket: BUCKET, key: 'b' }));
    linkSync(at('a'), path.join(base, 'twin'));
    renameSync(path.join(base, 'twin'), at('b'));
    expect(await found(['a', 'b'])).toEqual(['old 3', 'old 3']);
    expect(await found(['a', 'b'])).toEqual(['old 3', 'old 3']);
  });
  it('is none of several puts', async () => {
    await lost('a', async (store) => {
      await put(store, 'a', 'second');
      await put(store, 'a', 'third');
    });
    expect(await found(['a'])).toEqual(['old 3']);
  });
});

describe('what a power cut lost of objects whose key is no path', () => {
  const KEY = 'a//b';
  const bodies = path.join('.gos3rve/overflow', BUCKET);
  const names = (): string[] => readdirSync(path.join(root, bodies));

  /** Does it with the one body of KEY kept, which then stands there again, and that of its successor lost. */
  async function lostBody(work: (store: Store) => Promise<unknown>): Promise<void> {
    const store = await openStore(root);
    await put(store, KEY, 'old');
    const [name = ''] = names();
    linkSync(path.join(root, bodies, name), path.join(base, 'kept'));
    await work(store);
    await store.close();
    for (const one of names()) rmSync(path.join(root, bodies, one));
    renameSync(path.join(base, 'kept'), path.join(root, bodies, name));
  }

  it('is no put', async () => {
    await lostBody((store) => put(store, KEY, 'newer'));
    expect(await found([KEY])).toEqual(['old 3']);
    expect(await found([KEY])).toEqual(['old 3']);
  });
  it('is no delete', async () => {
    await lostBody((store) => store.delete(BUCKET, KEY));
    expect(await found([KEY])).toEqual(['old 3']);
  });
  it('is no move to a path', async () => {
    await lostBody(async (store) => {
      await store.move({ bucket: BUCKET, key: KEY }, { bucket: BUCKET, key: 'c' });
      rmSync(at('c'));
    });
    expect(await found([KEY, 'c'])).toEqual(['old 3', undefined]);
  });
  it('is no move from a path', async () => {
    await lost('c', (store) => store.move({ bucket: BUCKET, key: 'c' }, { bucket: BUCKET, key: KEY }));
    for (const one of names()) rmSync(path.join(root, bodies, one));
    expect(await found([KEY, 'c'])).toEqual([undefined, 'old 3']);
  });
  it('never brings back what was replaced and then deleted', async () => {
    await lostBody(async (store) => {
      await put(store, KEY, 'newer');
      await store.delete(BUCKET, KEY);
    });
    expect(await found([KEY])).toEqual([undefined]);
  });
});

function lastSegment(): string {
  const journal = path.join(root, '.gos3rve/journal');
  return path.join(
    journal,
    readdirSync(journal)
      .filter((name) => name.endsWith('.jsonl'))
      .at(-1) ?? '',
  );
}

/** Leaves of the last segment what comes before `behind`, as a process that is no more would. */
function cutJournal(behind: (text: string) => number): void {
  const segment = lastSegment();
  const text = readFileSync(segment, 'utf8');
  const [token, dead] = [processToken(), processToken().replace(/\.[0-9]+\./, '.4194305.')];
  const lines = text.slice(0, behind(text)).replaceAll(token, dead);
  writeFileSync(segment, lines.replaceAll(/,"crc":"[^"]*"/g, ''));
}

describe('after a power cut', () => {
  const overflow = (): string[] => {
    const folder = path.join(root, '.gos3rve/overflow', BUCKET);
    return readdirSync(folder).map((name) => path.join(folder, name));
  };

  it('an object whose key was no path stands still, if the file that came to its path since was lost, but not its line', async () => {
    const store = await openStore(root);
    await put(store, 'x/y', 'directory');
    await put(store, 'x', 'old');
    await store.delete(BUCKET, 'x/y');
    const [old = ''] = overflow();
    linkSync(old, path.join(base, 'kept'));
    await put(store, 'x', 'newer');
    await store.close();
    renameSync(path.join(base, 'kept'), old);
    rmSync(at('x'));
    cutJournal((text) => text.indexOf('{"op":"delete"', text.indexOf('"aside"')));
    expect(await found(['x'])).toEqual(['old 3']);
    expect(await found(['x'])).toEqual(['old 3']);
  });

  it('what was moved away and back is where it was, and what it replaced meanwhile is not, though its line was lost, but not the file', async () => {
    const KEY = 'a//b';
    const store = await openStore(root);
    await put(store, KEY, 'replaced');
    const [replaced = ''] = overflow();
    linkSync(replaced, path.join(base, 'kept'));
    await put(store, 'x', 'moved');
    await store.move({ bucket: BUCKET, key: 'x' }, { bucket: BUCKET, key: KEY });
    await store.updateFacts(BUCKET, KEY, (facts) => ({ ...facts, metadata: { text: 'said there' } }));
    await store.move({ bucket: BUCKET, key: KEY }, { bucket: BUCKET, key: 'x' });
    await store.close();
    renameSync(path.join(base, 'kept'), replaced);
    cutJournal((text) => text.lastIndexOf('{"op":"commit"'));
    expect(await found([KEY, 'x'])).toEqual([undefined, 'said there 5']);
    expect(await found([KEY, 'x'])).toEqual([undefined, 'said there 5']);
  });

  it('what was moved away and back is known by the line that brought it back', async () => {
    const KEY = 'a//b';
    const run = async (work: (store: Store) => Promise<unknown>): Promise<void> => {
      const store = await openStore(root);
      await work(store);
      await store.close();
      // an operation that is still under way keeps all lines behind it in view
      const id = `${processToken()}-waits`;
      const waits = { op: 'prepare', id, path: `${BUCKET}/waits`, bytes: { fp: '0:0:0:0:0', etag: '' }, facts: {} };
      const text = readFileSync(lastSegment(), 'utf8');
      writeFileSync(lastSegment(), text.replace('\n', `\n${JSON.stringify(waits)}\n`));
    };
    const [key, other] = [KEY, 'x'].map((name) => ({ bucket: BUCKET, key: name })) as [ObjectRef, ObjectRef];
    await run(async (store) => {
      await put(store, KEY, 'moved');
      await store.move(key, other);
    });
    await run((store) => store.move(other, key));
    // a later ctime: what is known of it is in doubt
    const [body = ''] = overflow();
    linkSync(body, path.join(base, 'twin'));
    rmSync(path.join(base, 'twin'));
    expect(await found([KEY])).toEqual(['moved 5']);
    expect(await found([KEY])).toEqual(['moved 5']);
  });
});

/** Records the order of what removes bodies and what makes their successors safe. */
it('an overflow copy goes only once the file that supersedes it is flushed', async () => {
  const store = await openStore(root);
  await put(store, 'x/y', 'directory');
  await put(store, 'x', 'old');
  await store.delete(BUCKET, 'x/y');
  const held = (): string[] => readdirSync(path.join(root, '.gos3rve/overflow', BUCKET));
  expect(held()).toHaveLength(1);
  const seen: [string, number][] = [];
  const syncDirs = Reflect.get(Core.prototype, 'syncDirs') as (this: Core, paths: string[]) => Promise<void>;
  const spy = vi.spyOn(Core.prototype, 'syncDirs').mockImplementation(async function (this: Core, paths) {
    const all = [...paths];
    seen.push([all.map((one) => path.relative(root, one)).join(), held().length]);
    return syncDirs.call(this, all);
  });
  try {
    await put(store, 'x', 'newer');
    await put(store, 'z//', 'first');
    await put(store, 'z//', 'second');
  } finally {
    spy.mockRestore();
    await store.close();
  }
  const overflow = path.join('.gos3rve/overflow', BUCKET);
  expect(seen).toEqual([
    [BUCKET, 1],
    [overflow, 0],
    [overflow, 1],
    [overflow, 2],
  ]);
  expect(held()).toHaveLength(1);
  expect(await found(['x', 'z//'])).toEqual(['newer 5', 'second 6']);
});

it('what happened is told as ever', async () => {
  const store = await openStore(root);
  await put(store, 'a', 'old');
  await put(store, 'a', 'newer');
  await put(store, 'b', 'gone');
  await store.delete(BUCKET, 'b');
  await put(store, 'c', 'moved');
  await store.move({ bucket: BUCKET, key: 'c' }, { bucket: BUCKET, key: 'd' });
  await store.updateFacts(BUCKET, 'd', (facts) => ({ ...facts, metadata: { text: 'said later' } }));
  await store.close();
  expect(await found(['a', 'b', 'c', 'd'])).toEqual(['newer 5', undefined, undefined, 'said later 5']);
});
