/** What can be seen of a root, for tests that break an operation off: it must be as before or as after, and leave nothing over. */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'vitest';
import type { ObjectInfo, Store } from '../../src/store/contract.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { get, list, picture } from '../suites/store/kit.js';
import { BUCKET, OPERATIONS, OPTIONS, uploadsOf } from './crash-operations.js';

/** All that a client or the owner of the disk can see. */
export interface State {
  objects: unknown[];
  uploads: unknown[];
  buckets: unknown[];
  tree: Record<string, string>;
  /** Files in each. */
  overflow: number;
  quarantine: number;
}

/** A root on which the operation can run. */
export async function staged(base: string, name: string): Promise<string> {
  const root = await mkdtemp(path.join(base, 'root-'));
  await opened(root, async (store) => {
    await store.createBucket(BUCKET, {});
    await OPERATIONS[name]?.setup(store, root);
  });
  return root;
}

/** @param between in which ways an interrupted operation may rightly be half done. */
export function differs(seen: State, allowed: State[], between: readonly string[] = []): string | undefined {
  if (allowed.some((state) => same(seen, state))) return undefined;
  const [before, after] = [allowed[0], allowed.at(-1)];
  if (before && after && before !== after) {
    if (
      between.includes('directories left') &&
      same({ ...seen, tree: {} }, { ...after, tree: {} }) &&
      filesOf(seen) === filesOf(after)
    )
      return undefined;
    if (between.includes('objects one by one') && isStepwise(seen, before, after)) return undefined;
    if (between.includes('one by one') && isMixed(seen, before, after)) return undefined;
  }
  return `it is ${JSON.stringify(seen)}`;
}

/** Whether each object is that of one of the two states at its key, and none of those that are to be there in the end is missing. */
export function isStepwise(seen: Pick<State, 'objects'>, before: State, after: State): boolean {
  const known = new Set([...before.objects, ...after.objects].map(canonical));
  const contents = new Set(seen.objects.map(keyless));
  return (
    seen.objects.every((one) => known.has(canonical(one))) && after.objects.every((one) => contents.has(keyless(one)))
  );
}

function keyless(object: unknown): string {
  return canonical({ ...(object as object), key: '' });
}

function filesOf({ tree }: State): string {
  return JSON.stringify(Object.entries(tree).filter(([, what]) => what !== 'directory'));
}

/** Whether each thing for itself is as before or as after. */
function isMixed(seen: State, before: State, after: State): boolean {
  const things = ({ objects, uploads, buckets, tree }: State): Set<string> =>
    new Set([...objects, ...uploads, ...buckets, ...Object.entries(tree)].map(canonical));
  const [now, old, young] = [things(seen), things(before), things(after)];
  return (
    [...now].every((thing) => old.has(thing) || young.has(thing)) &&
    [...old].every((thing) => now.has(thing) || !young.has(thing)) &&
    isBetween(seen.overflow, before.overflow, after.overflow) &&
    isBetween(seen.quarantine, before.quarantine, after.quarantine)
  );
}

function isBetween(n: number, a: number, b: number): boolean {
  return n >= Math.min(a, b) && n <= Math.max(a, b);
}

/** What may lie in the state directory of a root that nobody has open, once `gc` has run. */
const BELONGS = [
  /^root\.json$/,
  // kept room for lines on a full disk (catalog/reserve.ts)
  /^reserve$/,
  /^journal\/compact-\d{15}-[0-9a-f]{8}\.jsonl$/,
  /^index\/v\d+\.mdb(-lock)?$/,
  /^index\/closed$/,
  /^buckets\/[a-z]+\.json$/,
  /^index\/gate(-lock)?$/,
  /^(staging\/)?clock$/,
  /^staging\/uploads\/[\w-]+\/(upload\.json|[\w.-]+)$/,
  /^overflow\/[a-z]+\/[\w-]+$/,
  /^quarantine\/[\d-]+\/[\w-]+$/,
];

/** Files below `.gos3rve` of a closed root that nobody needs. */
export async function rubbishIn(root: string): Promise<string | undefined> {
  const top = path.join(root, '.gos3rve');
  const files = (await readdir(top, { recursive: true, withFileTypes: true })).filter((entry) => !entry.isDirectory());
  const names = files.map((entry) => path.relative(top, path.join(entry.parentPath, entry.name)));
  const strange = names.filter((name) => !BELONGS.some((pattern) => pattern.test(name)));
  const journal = names.filter((name) => name.startsWith('journal/2'));
  for (const name of journal) if (await mayBeLeft(path.join(top, name))) strange.splice(strange.indexOf(name), 1);
  const bases = names.filter((name) => name.startsWith('journal/compact-'));
  if (bases.length > 1) strange.push(...bases);
  return strange.length > 0 ? `left over: ${strange.join(' ')}` : undefined;
}

/** A segment whose process may still live: it has not said who it is, for a day, or is this one, which could not seal it. */
async function mayBeLeft(segment: string): Promise<boolean> {
  const text = await readFile(segment, 'utf8');
  return !text.includes('\n') || (text.includes(`"pid":${process.pid},`) && !text.includes('{"op":"sealed"'));
}

/** Staging files and folders of uploads that nobody knows. */
export async function leftIn(store: Store, root: string): Promise<string | undefined> {
  const staging = path.join(root, '.gos3rve/staging');
  const names = (await readdir(staging)).filter((name) => name !== 'clock' && name !== 'uploads');
  if (names.length > 0) return `left in staging: ${names.join(' ')}`;
  const known = await uploadsOf(store);
  const ids = new Set(known.map((entry) => ('uploadId' in entry ? entry.uploadId : '')));
  const folders = existsSync(path.join(staging, 'uploads')) ? await readdir(path.join(staging, 'uploads')) : [];
  const stray = folders.filter((id) => !ids.has(id));
  if (stray.length > 0) return `uploads left in staging: ${stray.join(' ')}`;
  for (const id of folders) {
    const parts = (await readdir(path.join(staging, 'uploads', id))).filter((name) => name !== 'upload.json');
    const entry = known.find((one) => 'uploadId' in one && one.uploadId === id);
    const key = entry && 'key' in entry ? entry.key : '';
    const listed = await store.listParts(BUCKET, key, id, { after: 0, max: 10 });
    if (parts.length !== listed.parts.length) return `files of parts: ${parts.join(' ')}`;
  }
  return undefined;
}

export async function opened<T>(root: string, work: (store: LocalStore) => Promise<T>): Promise<T> {
  const store = await openStore(root, OPTIONS);
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

export function stateOf(root: string): Promise<State> {
  return opened(root, (store) => look(store, root));
}

export async function look(store: Store, root: string): Promise<State> {
  // the listing itself may end an interrupted move, when the old name is on its page already: so it is made twice
  await list(store);
  const objects = [];
  for (const key of await list(store)) objects.push(await objectOf(store, key));
  const uploads = [];
  for (const entry of await uploadsOf(store)) {
    if (!('uploadId' in entry)) continue;
    const { parts } = await store.listParts(BUCKET, entry.key, entry.uploadId, { after: 0, max: 10 });
    uploads.push([entry.key, entry.facts, parts.map(({ partNumber, etag, size }) => [partNumber, etag, size])]);
  }
  const { buckets } = await store.listBuckets();
  return {
    objects,
    uploads,
    buckets: buckets.map(({ name, settings: { created: _created, ...settings } }) => [name, settings]),
    tree: await picture(root),
    overflow: await countFiles(path.join(root, '.gos3rve/overflow')),
    quarantine: await countFiles(path.join(root, '.gos3rve/quarantine')),
  };
}

async function objectOf(store: Store, key: string): Promise<unknown> {
  const head = await store.head(BUCKET, key);
  const { info, bytes } = await get(store, key);
  expect(plain(head)).toEqual(plain(info));
  return { ...plain(info), bytes: bytes.toString() };
}

function plain({ lastModified: _mtime, changed: _ctime, aliases: _aliases, ...rest }: ObjectInfo): object {
  return rest;
}

async function countFiles(folder: string): Promise<number> {
  if (!existsSync(folder)) return 0;
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).length;
}

export function same(a: unknown, b: unknown): boolean {
  return canonical(a) === canonical(b);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
