/** Who looks at a file while it is made longer in place - readers, listings, the watcher's looks, hashing, verifying - sees the old object or the new one. */
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body, md5 } from '../suites/store/kit.js';

const OLD = 2 << 20;
const ADDED = 96 << 20;

let root: string;
let store: LocalStore;
/** Another process's, as far as the two share anything. */
let other: LocalStore;

beforeEach(async () => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'gos3rve-append-')));
  mkdirSync(join(root, 'b'));
  store = await openStore(root);
  other = await openStore(root);
  await store.put('b', 'log', body(Buffer.alloc(OLD, 'a')));
});
afterEach(async () => {
  await Promise.all([store.close(), other.close()]);
  rmSync(root, { recursive: true, force: true });
});

function grown(): boolean {
  return statSync(join(root, 'b', 'log')).size > OLD;
}

/** All that looks at files without being asked by a client. */
async function look(at: LocalStore): Promise<void> {
  await at.live.lookAtFile(['b'], 'log');
  await at.live.lookAtDir(['b'], { force: true, files: true });
  await at.live.hashFile(['b'], 'log');
  await at.live.settleRenames();
}

/** Size and ETag as each way of asking tells them, and the last bytes. */
async function seen(at: LocalStore): Promise<string[]> {
  const head = await at.head('b', 'log');
  const listed = (await at.list('b', { prefix: '', delimiter: '', after: '', max: 10 })).entries[0];
  const open = await at.open('b', 'log');
  let tail = '';
  try {
    await open.read(open.info.size - 3, open.info.size, (chunk) => {
      tail += chunk.toString();
    });
  } finally {
    await open.close();
  }
  const told = [head, listed, open.info].map((one) => (one && 'size' in one ? `${one.size} ${one.etag}` : 'missing'));
  return [...told, `${open.info.size} ${open.info.etag} ${tail}`];
}

describe('an object that is appended to', { timeout: 60_000 }, () => {
  it('is old whole or new whole, whoever looks', async () => {
    const before = await store.head('b', 'log');
    let done = false;
    const append = store.append('b', 'log', OLD, body(Buffer.alloc(ADDED, 'b'))).finally(() => (done = true));
    const observed = new Set<string>();
    let during = 0;
    while (!done) {
      const growing = grown();
      for (const at of [store, other]) {
        await look(at);
        for (const one of await seen(at)) observed.add(one);
      }
      if (growing && !done) during++;
    }
    const after = await append;
    expect(during).toBeGreaterThan(0);
    const allowed = [before, after].flatMap(({ size, etag }, i) => [
      `${size} ${etag}`,
      `${size} ${etag} ${['aaa', 'bbb'][i]}`,
    ]);
    expect([...observed].filter((one) => !allowed.includes(one))).toEqual([]);
    for (const at of [store, other]) expect(new Set(await seen(at))).toEqual(new Set(allowed.slice(2)));
  });

  it('is cut back when the append fails, whoever has looked meanwhile', async () => {
    const before = await store.head('b', 'log');
    const append = store.append('b', 'log', OLD, body(Buffer.alloc(ADDED, 'b'))).then(
      () => 'done',
      (error: Error & { code?: string }) => error.code,
    );
    while (!grown()) await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([look(store), look(other)]);
    renameSync(join(root, 'b', 'log'), join(root, 'b', 'renamed'));
    await Promise.all([look(store), look(other)]);
    expect(await append).toBe('NoSuchKey');
    expect(readFileSync(join(root, 'b', 'renamed')).equals(Buffer.alloc(OLD, 'a'))).toBe(true);
    renameSync(join(root, 'b', 'renamed'), join(root, 'b', 'log'));
    expect(await other.head('b', 'log')).toMatchObject({ size: OLD, etag: before.etag });
    await store.append('b', 'log', OLD, body('more'));
  });

  it('has the ETag of its bytes when another program wrote to them before the append was cut back', async () => {
    const append = store.append('b', 'log', OLD, body(Buffer.alloc(ADDED, 'b'))).then(
      () => 'done',
      (error: Error & { code?: string }) => error.code,
    );
    const path = join(root, 'b', 'log');
    while (statSync(path).size < OLD + ADDED) await new Promise((resolve) => setImmediate(resolve));
    renameSync(path, join(root, 'b', 'renamed'));
    // while the append is flushed
    await new Promise((resolve) => setTimeout(resolve, 20));
    const fd = openSync(join(root, 'b', 'renamed'), 'r+');
    writeSync(fd, 'theirs', 0);
    closeSync(fd);
    expect(await append).toBe('NoSuchKey');
    renameSync(join(root, 'b', 'renamed'), path);
    await other.live.hashFile(['b'], 'log');
    expect((await other.head('b', 'log')).etag).toBe(md5(readFileSync(path)));
  });

  it('lies under another name when its folder was renamed meanwhile, and can be appended to there', async () => {
    await store.put('b', 'dir/log', body(Buffer.alloc(OLD, 'a')));
    const before = await store.head('b', 'dir/log');
    const path = join(root, 'b', 'dir', 'log');
    const append = store.append('b', 'dir/log', OLD, body(Buffer.alloc(ADDED, 'b'))).then(
      () => 'done',
      (error: Error & { code?: string }) => error.code,
    );
    while (statSync(path).size === OLD) await new Promise((resolve) => setImmediate(resolve));
    await other.movePrefix({ bucket: 'b', key: 'dir/' }, { bucket: 'b', key: 'moved/' });
    expect(await append).toBe('NoSuchKey');
    expect(statSync(join(root, 'b', 'moved', 'log')).size).toBe(OLD);
    expect(await store.head('b', 'moved/log')).toMatchObject({ size: OLD, etag: before.etag });
    expect((await other.append('b', 'moved/log', OLD, body('more'))).size).toBe(OLD + 4);
  });
});
