/** A move whose file has its new name, and whose next call fails: it has happened, with all that was said of the object. */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { Injector } from '../faults/inject.js';
import { body, BUCKET } from './crash-operations.js';

let root = '';
let store: LocalStore;
let injector: Injector;

beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-rename-'));
  // nothing is left to what knows renames of others again
  store = await openStore(root, { quietMs: 3_600_000 });
  await store.createBucket(BUCKET, {});
  injector = new Injector(root);
  await injector.install();
});
afterEach(async () => {
  injector.uninstall();
  await store.close();
  await rm(root, { recursive: true });
});

it.each(['to', 'there'])('keeps what was said of an object when a call fails after its rename to %s', async (to) => {
  const facts = { contentType: 'x/two', metadata: { version: 'two' } };
  await store.put(BUCKET, 'a/kept', body('kept'));
  await store.put(BUCKET, 'z/there', body('there'));
  await store.put(BUCKET, 'a/two', body('two'), { facts });
  injector.armAfter('renameSync', `${BUCKET}/a/two`);
  await expect(store.move({ bucket: BUCKET, key: 'a/two' }, { bucket: BUCKET, key: `z/${to}` })).rejects.toThrow();
  injector.disarm();
  // lines of the journal that have ended are passed over from now on
  await store.put(BUCKET, 'other', body('other'));
  expect(await store.head(BUCKET, `z/${to}`)).toMatchObject({ size: 3, facts });
  await expect(store.head(BUCKET, 'a/two')).rejects.toMatchObject({ code: 'NoSuchKey' });
});
