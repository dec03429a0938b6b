/** What is put into a folder that was made a moment ago must not be lost with its name: the flush of that may still be under way, in whatever process. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { BUCKET, body, put } from '../suites/store/kit.js';
import { hookFsync } from './hooked-fsync.js';

let root = '';
let store: LocalStore;
let other: LocalStore;
/** Folders below the root that were asked to be flushed. */
let flushed: string[] = [];
/** The first flush of this folder is held up until it is let go. */
let held: { folder: string; go: Promise<void> } | undefined;
let unhook: () => void;

beforeEach(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-made-'));
  store = await openStore(root);
  other = await openStore(root);
  await store.createBucket(BUCKET, {});
  unhook = hookFsync((at, flush) => {
    const on = path.relative(root, at);
    flushed.push(on);
    const hold = held?.folder === on ? held : undefined;
    if (hold) held = undefined;
    void Promise.resolve(hold?.go).then(() => flush());
  });
  flushed = [];
});
afterEach(async () => {
  unhook();
  await store.close();
  await other.close();
  fs.rmSync(root, { recursive: true });
});

describe.skipIf(process.platform !== 'linux')('a folder that was made a moment ago', () => {
  it('is safe before anything in it is acknowledged', async () => {
    let go = (): void => undefined;
    held = { folder: BUCKET, go: new Promise((resolve) => (go = resolve)) };
    const first = put(store, 'made/here/a');
    await expect.poll(() => flushed).toContain(BUCKET);
    let answered = false;
    const second = put(store, 'made/here/b').then(() => (answered = true));
    await sleep(200);
    expect(answered).toBe(false);
    go();
    await Promise.all([first, second]);
  });

  it.each<[string, () => Promise<unknown>]>([
    ['by another process', () => put(other, 'made/here/b')],
    ['with a marker', () => other.put(BUCKET, 'made/here/', body(''))],
    ['by a copy', () => other.copy({ bucket: BUCKET, key: 'a' }, { bucket: BUCKET, key: 'made/here/b' })],
    ['by a move', () => other.move({ bucket: BUCKET, key: 'a' }, { bucket: BUCKET, key: 'made/here/b' })],
  ])('is flushed up to the bucket by whoever puts something into it %s', async (_how, work) => {
    await put(store, 'a');
    fs.mkdirSync(path.join(root, BUCKET, 'made/here'), { recursive: true });
    flushed = [];
    await work();
    expect(flushed).toEqual(expect.arrayContaining([`${BUCKET}/made`, BUCKET]));
  });

  it('need not be readable', async () => {
    fs.mkdirSync(path.join(root, BUCKET, 'made/here'), { recursive: true });
    fs.chmodSync(path.join(root, BUCKET, 'made'), 0o311);
    await put(store, 'made/here/b');
    fs.chmodSync(path.join(root, BUCKET, 'made'), 0o755);
  });
});
