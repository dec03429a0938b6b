/** Somebody removes `journal/` under a process that has it open: the process goes on in a new one, and says so. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { BUCKET, body, list } from '../suites/store/kit.js';

let root: string;
let store: LocalStore;
let said: string[];
const facts = (who: string): { facts: { metadata: { who: string } } } => ({ facts: { metadata: { who } } });
const journal = (): string => path.join(root, '.gos3rve/journal');

async function open(): Promise<void> {
  store = await openStore(root, { log: (level, message) => void said.push(`${level}: ${message}`) });
}

beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-journal-gone-'));
  said = [];
  await open();
});
afterEach(async () => {
  await store.close();
  await rm(root, { recursive: true });
});

async function written(): Promise<string> {
  const texts = (await readdir(journal())).map((name) => readFile(path.join(journal(), name), 'utf8'));
  return (await Promise.all(texts)).join('');
}

it('writes on, tells of it, and has lost nothing after gc, be the index lost then', async () => {
  await store.createBucket(BUCKET, {});
  await store.put(BUCKET, 'old', body('old'), facts('old'));
  await store.put(BUCKET, 'moving', body('moving'), facts('moving'));
  await rm(journal(), { recursive: true });
  await store.put(BUCKET, 'new', body('new'), facts('new'));
  await store.move({ bucket: BUCKET, key: 'moving' }, { bucket: BUCKET, key: 'moved' });
  expect(await written()).toMatch(/"box\/new".*"box\/moved"/s);
  expect(said).toEqual([expect.stringMatching(/^error: the journal was removed under this process; it goes on/)]);
  await store.collector.journal(30 * 86_400_000, { dryRun: false, signal: new AbortController().signal });
  await store.close();
  await rm(path.join(root, '.gos3rve/index'), { recursive: true });
  await open();
  expect(await list(store)).toEqual(['moved', 'new', 'old']);
  for (const [key, who] of [
    ['moved', 'moving'],
    ['new', 'new'],
    ['old', 'old'],
  ] as const)
    expect((await store.head(BUCKET, key)).facts.metadata).toEqual({ who });
});

it('begins one where there is none', async () => {
  await rm(journal(), { recursive: true });
  await store.createBucket(BUCKET, {});
  await store.put(BUCKET, 'first', body('x'), facts('me'));
  expect(await list(store)).toEqual(['first']);
  expect(await written()).toContain('"box/first"');
});
