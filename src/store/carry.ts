/**
 * What belongs to a folder beside its rows, and follows it when another program renames it: objects whose keys are no paths, and, of a bucket, settings and
 * uploads under way. A bucket is its folder: under a new name it is the same bucket.
 *
 * What another bucket left under the new name - its folder was replaced - must not govern this one: it is put aside under the name of the lost folder (`/<number>`,
 * identities.ts), and follows that one if it turns up. Settings go first, and name the folder that they belong to: killed in between, the next look goes on.
 */
import { existsSync, readFileSync, renameSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { MovedKeys } from '../catalog/lines.js';
import { applyMoved, overflowBelow, type MovedDir } from '../catalog/moved.js';
import { pairKey } from '../catalog/rows.js';
import { syncDirSync, writeFileAtomic } from '../fs/statefile.js';
import type { BucketSettings, Upload } from './contract.js';
import { stateName, type Core } from './core.js';
import { noteBucketDeleted } from './hold.js';
import type { Carried } from './identity.js';
import { linkOverflowFiles } from './settle.js';

const PAGE = 256;

/** A directory that another program has renamed: segments of its paths, and its identity (hex). */
export interface Renamed {
  from: readonly string[];
  to: readonly string[];
  identity: string;
  /** The directory whose name it has got is known to stand elsewhere. */
  displaces?: boolean;
}

/** Objects whose keys are no paths, and their files, which have two names until the line of the move is written. */
interface Move {
  keys: MovedKeys;
  dropOld(seq: number): void;
}

const NOTHING: Carried = { said: {}, written: () => undefined };

/** What is carried by the `moved` line that follows. Under the lock. */
export function carryState(core: Core, { from, to, identity, displaces }: Renamed): Carried {
  // an alias names the folder, and keeps what was put through it
  if (from[0] !== '' && core.isBucketFolder(from)) return NOTHING;
  const [source, target] = [bucketOf(from), bucketOf(to)];
  if (source !== undefined && target !== undefined) {
    putAside(core, target, identity);
    moveSettings(core, source, target, identity);
    moveUploads(core, source, target);
    noteBucketDeleted(core, source);
    if (!source.startsWith('/')) core.log('info', 'another program renamed a bucket', { from: source, to: target });
  } else if (source !== undefined && existsSync(settingsPath(core, source))) {
    core.log(
      'warn',
      'the folder of a bucket was moved into another bucket; its settings stay behind, see gos3rve doctor',
      {
        bucket: source,
        to: to.join('/'),
      },
    );
  }
  const aside = { bucket: `/${core.catalog.comingSeq()}`, key: '' };
  const there = keysBelow(to);
  const displaced =
    target === undefined && displaces === true
      ? moveOverflow(core, { from: there, to: aside }, `lost-${identity}`)
      : undefined;
  const keys = { from: keysBelow(from), to: there };
  const overflow = moveOverflow(core, keys, `renamed-${identity}`, displaced !== undefined);
  return {
    said: { ...(displaced && { displaced: displaced.keys }), ...(overflow && { overflow: overflow.keys }) },
    written: (seq) => written(core, seq, displaced, overflow),
  };
}

/** Name of the bucket that a folder is; `/<number>` for one that was lost; undefined for what is no folder at the top. */
function bucketOf(dirs: readonly string[]): string | undefined {
  if (dirs[0] === '') return dirs.length === 2 ? `/${dirs[1] ?? ''}` : undefined;
  return dirs.length === 1 ? dirs[0] : undefined;
}

function keysBelow(dirs: readonly string[]): { bucket: string; key: string } {
  const [bucket = '', ...below] = dirs[0] === '' ? [`/${dirs[1] ?? ''}`, ...dirs.slice(2)] : dirs;
  return { bucket, key: below.length === 0 ? '' : `${below.join('/')}/` };
}

/**
 * @param tag whoever does it again after a break gives the same.
 * @returns undefined if there are none.
 */
function moveOverflow(
  core: Core,
  keys: Pick<MovedKeys, 'from' | 'to'>,
  tag: string,
  cleared = false,
): Move | undefined {
  for (const _ of overflowBelow(core.catalog, keys.from)) {
    const overflow = { ...keys, upTo: core.catalog.index.number('seq'), tag };
    return { keys: overflow, dropOld: linkOverflowFiles(core, overflow, cleared) };
  }
  return undefined;
}

/** A line of its own of what was moved. */
function record(core: Core, line: MovedDir, move: Move | undefined): void {
  const { catalog } = core;
  catalog.journal.append(line);
  written(core, line.seq, move);
  applyMoved(catalog, line);
}

function written(core: Core, seq: number, ...moves: (Move | undefined)[]): void {
  if (moves.every((move) => move === undefined)) return;
  if (core.durable) core.catalog.journal.flushSync();
  for (const move of moves) move?.dropOld(seq);
}

/**
 * A client makes a bucket anew whose folder other programs have removed: the new one is empty, and perhaps somebody else's. All that is known of the old one
 * follows its folder if that turns up (as a lost one, identities.ts), and stays aside otherwise. Under the lock.
 */
export function setAsideBucket(core: Core, name: string): void {
  const { catalog } = core;
  // an alias names the folder, and keeps what was put through it
  if (core.isBucketFolder([name])) return;
  const known = catalog.findDir([name]) !== undefined;
  const left = catalog.comingSeq();
  const aside = `/${left}`;
  const move = moveOverflow(
    core,
    { from: { bucket: name, key: '' }, to: { bucket: aside, key: '' } },
    `renamed-${left}`,
  );
  const uploads = uploadsOf(core, name).length > 0;
  // settings alone are what a CreateBucket has left that was killed
  if (!known && !move && !uploads) return;
  const seq = catalog.nextSeq();
  const settings = existsSync(settingsPath(core, name));
  if (settings) renameSync(settingsPath(core, name), settingsPath(core, aside));
  moveUploads(core, name, aside);
  const overflow = move && { overflow: move.keys };
  record(core, { op: 'moved', seq, path: `${aside}/`, from: `${name}/`, ...overflow }, move);
  catalog.lost.put(seq, { seq, dirs: [name], since: Date.now(), ended: true });
  catalog.noteSettled();
  noteBucketDeleted(core, name);
  if (!settings && !move && !uploads) return;
  core.log(
    'warn',
    'a bucket is made anew whose folder was removed; what is known of the old one is kept aside, see gos3rve doctor',
    { bucket: name, 'kept-as': aside },
  );
}

/** Whatever is known of another bucket of this name. */
function putAside(core: Core, name: string, identity: string): void {
  const { catalog } = core;
  const there = readSettings(settingsPath(core, name));
  const foreign = there !== undefined && there.folder !== identity;
  const next = catalog.comingSeq();
  // named as the folder that is lost by the line after this one
  const aside = `/${next + 1}`;
  const move = moveOverflow(
    core,
    { from: { bucket: name, key: '' }, to: { bucket: aside, key: '' } },
    `renamed-${next}`,
  );
  const uploads = uploadsOf(core, name).length > 0;
  if (!foreign && !move && !uploads) return;
  const seq = catalog.nextSeq();
  if (foreign) renameSync(settingsPath(core, name), settingsPath(core, aside));
  moveUploads(core, name, aside);
  const overflow = move && { overflow: move.keys };
  record(core, { op: 'moved', seq, path: `${aside}/`, from: `${aside}/`, ...overflow }, move);
  core.log(
    'warn',
    'the folder of a bucket was replaced by another one; what is known of the bucket is kept aside, see gos3rve doctor',
    {
      bucket: name,
      'kept-as': aside,
    },
  );
}

/** Objects whose keys are no paths, back to where their folder was lost: it has turned up nowhere. What has come there since stays. Under the lock. */
export function bringKeysBack(core: Core, lost: number, dirs: readonly string[]): void {
  if (dirs.length < 2) return;
  const { catalog } = core;
  const aside = `/${lost}`;
  const keys = { from: { bucket: aside, key: '' }, to: keysBelow(dirs) };
  const move = moveOverflow(core, keys, `back-${lost}`);
  if (!move) return;
  const path = `${aside}/`;
  record(core, { op: 'moved', seq: catalog.nextSeq(), path, from: path, overflow: move.keys }, move);
}

function moveSettings(core: Core, from: string, to: string, identity: string): void {
  const path = settingsPath(core, from);
  const settings = readSettings(path);
  if (!settings) return;
  const text = JSON.stringify({ ...settings, folder: identity }, null, 2);
  writeFileAtomic(settingsPath(core, to), `${text}\n`, core.owner);
  unlinkSync(path);
  if (core.durable) syncDirSync(join(core.stateDir, 'buckets'));
}

function moveUploads(core: Core, from: string, to: string): void {
  const { index } = core.catalog;
  for (const { key, upload } of uploadsOf(core, from)) {
    const moved: Upload = { ...upload, bucket: to };
    for (const staging of core.mounts.stagings()) {
      const folder = join(staging, 'uploads', upload.uploadId);
      if (existsSync(folder))
        writeFileAtomic(join(folder, 'upload.json'), `${JSON.stringify(moved, null, 2)}\n`, core.owner);
    }
    index.remove('uploads', key);
    index.put('uploads', pairKey(to, upload.key, upload.uploadId), Buffer.from(JSON.stringify(moved)));
  }
}

function uploadsOf(core: Core, bucket: string): { key: Buffer; upload: Upload }[] {
  const out: { key: Buffer; upload: Upload }[] = [];
  for (let start = pairKey(bucket, ''); ;) {
    const page = core.catalog.index.page('uploads', start, Buffer.from(`${bucket}\0\u0001`), PAGE);
    for (const { key, value } of page) out.push({ key, upload: JSON.parse(value.toString()) as Upload });
    const last = page.at(-1);
    if (!last || page.length < PAGE) return out;
    start = Buffer.concat([last.key, Buffer.alloc(1)]);
  }
}

function settingsPath(core: Core, bucket: string): string {
  return join(core.stateDir, 'buckets', `${stateName(bucket)}.json`);
}

/** What cannot be read stays where it is: whoever asks for the bucket is told. */
function readSettings(path: string): BucketSettings | undefined {
  try {
    return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as BucketSettings) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
