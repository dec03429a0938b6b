/**
 * What stays behind when a directory is renamed, by another program or by us: files that went before anybody looked. What clients said of them belongs to the keys that they
 * had (DESIGN rule 4), and it is those keys whose removal is told. Whether a file was removed before the rename or after it nobody can know.
 *
 * The same of a directory whose path was taken by another one and that turned up nowhere: its keys are gone, and keep what was said of them.
 *
 * Everything here runs synchronously under the lock.
 */
import { errno } from '../base/errors.js';
import { subjectOf, type Catalog, type Place } from '../catalog/catalog.js';
import { GONE_COUNTER, isWorthKeeping } from '../catalog/ghost.js';
import type { AwayDir, LostDir } from '../catalog/lost-dirs.js';
import { decodeRow, hasSameEntries, withoutAccess, type DirRow, type FileRow } from '../catalog/rows.js';
import { childPages, childPagesInTurns } from '../catalog/children.js';
import { placeAt } from '../catalog/row-of.js';
import { isAbsent, lstatOf } from '../fs/stat.js';
import { followKey, putDoubt } from './key-follows.js';
import { endMarkers, leaveMarker, leaveMarkers, makeAbsent, markersBelow, type Folder } from './left-markers.js';

type TreePlace = Extract<Place, { kind: 'tree' }>;
interface Ground {
  readonly catalog: Catalog;
  readonly view: bigint;
  /** How long (ms) an old path has to stay away. */
  readonly quietMs: number;
  pathOf(dirs: readonly string[]): string;
}

/** A row below a directory. */
export interface Below {
  /** Segments from the directory on. */
  dirs: readonly string[];
  /** '' of the directory itself. */
  name: string;
}

/**
 * Rows below a directory that came from `home` and that have no file go back to the keys there.
 * @param among only these may have none.
 */
export function leaveMissing(ground: Ground, id: number, home: readonly string[], among?: readonly Below[]): void {
  const { catalog } = ground;
  const top = catalog.dirById(id);
  const dirs = top && catalog.identities.pathOf(id);
  if (!top || !dirs) return;
  // what has gone from it as a whole may turn up elsewhere, with all that it has
  const isAway = (row: DirRow, below: readonly string[]): boolean => {
    const here = [...dirs, ...below];
    const elsewhere = isElsewhere(ground, row, here) && !isReplaced(ground, row, here);
    if ((elsewhere || (row.marker && !row.identity)) && !isDirectory(ground, here))
      leaveKnownMarkers(ground, { row, dirs: here }, [...home, ...below]);
    if (!elsewhere) return false;
    // whatever is renamed meanwhile, the first path is the one that clients knew
    if (!catalog.away.get(row.id))
      catalog.away.put(row.id, { id: row.id, dirs: [...home, ...below], since: Date.now() });
    return true;
  };
  let left = 0;
  const places = among?.map((one) => placeBelow(dirs, one)) ?? filesBelow(ground, top, dirs, [], isAway);
  for (const place of places) {
    if (place.name === '') {
      const row = isDirectory(ground, place.dirs) ? undefined : catalog.findDir(place.dirs);
      if (row) isAway(row, place.dirs.slice(dirs.length));
      continue;
    }
    if (!isEmpty(ground, place.dirs, place.name)) continue;
    const below = { dirs: place.dirs.slice(dirs.length), name: place.name };
    if (leave(ground, place, placeBelow(home, below))) left++;
  }
  if (left > 0) catalog.index.next(GONE_COUNTER);
}

/**
 * Rows below a directory that have no file, or no directory and something that is said of it, looked for outside the lock and a few in each turn.
 * @returns undefined if there are more than `max`.
 */
export async function missingBelow(ground: Ground, dirs: readonly string[], max: number): Promise<Below[] | undefined> {
  const { index } = ground.catalog;
  index.refresh();
  const top = ground.catalog.findDir(dirs);
  const missing: Below[] = [];
  const folders = top ? [{ row: top, below: [] as string[] }] : [];
  for (let folder = folders.pop(); folder; folder = folders.pop()) {
    const { row, below } = folder;
    const here = [...dirs, ...below];
    const full = isFull(ground, row, here);
    if (full && row.leaf) continue;
    for await (const page of childPagesInTurns(index, row.id)) {
      for (const { name, value } of page) {
        const sub = name.endsWith('/') ? decodeRow(value) : undefined;
        if (sub?.kind === 'dir') {
          const path = [...below, name.slice(0, -1)];
          const gone = (sub.identity ?? sub.marker) !== undefined && !isDirectory(ground, [...dirs, ...path]);
          if (gone) missing.push({ dirs: path, name: '' });
          if (!gone || !sub.identity) folders.push({ row: sub, below: path });
        } else if (!sub && !full && isEmpty(ground, here, name)) missing.push({ dirs: below, name });
      }
      if (missing.length > max) return undefined;
    }
  }
  return missing;
}

function placeBelow(top: readonly string[], { dirs, name }: Below): TreePlace {
  return { kind: 'tree', dirs: [...top, ...dirs], name };
}

/**
 * The same for a directory that has been lost for a moment, as far as nothing stands at its keys.
 * @param max rows. @returns whether it is done.
 */
export function settleLost(ground: Ground, { seq, dirs: home, ended }: LostDir, max: number): boolean {
  const lost = ['', String(seq)];
  const row = ground.catalog.findDir(lost);
  const settle = ended === true ? endAll : leaveAll;
  if (row && !settle(ground, row, lost, home, max)) return false;
  ground.catalog.lost.remove(seq);
  return true;
}

/** Tells the keys of a bucket that has ended as removed. @returns whether that was all. */
function endAll(ground: Ground, row: DirRow, dirs: readonly string[], home: readonly string[], max: number): boolean {
  let told = 0;
  for (const place of filesBelow(ground, row, dirs, [])) {
    const was: TreePlace = { kind: 'tree', dirs: [...home, ...place.dirs.slice(dirs.length)], name: place.name };
    if (noteEnded(ground, place, was) && ++told === max) break;
  }
  if (told > 0) ground.catalog.index.next(GONE_COUNTER);
  return told < max && endMarkers(ground.catalog, { row, dirs }, home, max);
}

/** @returns whether it was not known to be gone. */
function noteEnded({ catalog }: Ground, place: TreePlace, was: TreePlace): boolean {
  const row = catalog.row(place);
  if (!row || row.goneAt !== undefined) return false;
  catalog.putRow(place, { ...row, goneAt: Date.now() });
  if (!catalog.row(was)) catalog.untold.note(was.dirs, was.name, 'removed');
  return true;
}

/** The same for one that has been away for a moment, unless it has turned up, or another one has its place. */
export function settleAway(ground: Ground, { id, dirs: home }: AwayDir, max: number): boolean {
  const { catalog } = ground;
  const row = catalog.dirById(id);
  const dirs = row && catalog.identities.pathOf(id);
  if (row && dirs && !isDirectory(ground, dirs) && !leaveAll(ground, row, dirs, home, max)) return false;
  catalog.away.remove(id);
  return true;
}

/** @returns whether that was all. */
function leaveAll(ground: Ground, row: DirRow, dirs: readonly string[], home: readonly string[], max: number): boolean {
  const { catalog } = ground;
  let left = 0;
  for (const place of filesBelow(ground, row, dirs, [])) {
    const to: TreePlace = { kind: 'tree', dirs: [...home, ...place.dirs.slice(dirs.length)], name: place.name };
    const there = catalog.row(to);
    const stands = !isEmpty(ground, to.dirs, to.name) && !isDirectory(ground, [...to.dirs, to.name]);
    if (there && (isSaidOf(there) || !stands)) continue;
    if ((stands ? giveBack(catalog, place, to, there) : leave(ground, place, to)) && ++left === max) break;
  }
  if (left > 0) catalog.index.next(GONE_COUNTER);
  return left < max && leaveMarkers(catalog, { row, dirs }, home, (path) => isDirectory(ground, path), max);
}

/**
 * Files that have rows, but for those in directories that are known to be full.
 * @param skips told of each directory below; nothing below one that it is true of.
 */
function* filesBelow(
  ground: Ground,
  top: DirRow,
  dirs: readonly string[],
  below: readonly string[],
  skips: (row: DirRow, below: readonly string[]) => boolean = () => false,
): Generator<TreePlace> {
  const { index } = ground.catalog;
  const here = [...dirs, ...below];
  const full = isFull(ground, top, here);
  const folders: { row: DirRow; name: string }[] = [];
  for (const page of childPages(index, top.id)) {
    for (const { name, value } of page) {
      if (name.endsWith('/')) {
        const row = decodeRow(value);
        if (row.kind === 'dir') folders.push({ row, name: name.slice(0, -1) });
      } else if (!full) yield { kind: 'tree', dirs: here, name };
    }
  }
  for (const { row, name } of folders) {
    if (!skips(row, [...below, name])) yield* filesBelow(ground, row, dirs, [...below, name], skips);
  }
}

/** Markers at and below a folder that is gone, of which nobody can tell that they will turn up elsewhere: what was said of them stays with their keys. */
function leaveKnownMarkers(ground: Ground, top: Folder, home: readonly string[]): void {
  const { catalog, quietMs } = ground;
  for (const folder of markersBelow(catalog, top)) {
    const since = catalog.missed.get(folder.row.id);
    if (folder.row.identity && (since === undefined || Date.now() - since < quietMs)) continue;
    const to = [...home, ...folder.dirs.slice(top.dirs.length)];
    leaveMarker(catalog, folder, to, (path) => isDirectory(ground, path));
  }
}

/** Whether a directory that is known again wherever it turns up no longer stands where its row lies. */
function isElsewhere({ catalog }: Ground, { identity }: DirRow, dirs: readonly string[]): boolean {
  if (!identity || dirs[0] === '') return false;
  try {
    return catalog.world?.(dirs)?.equals(identity) !== true;
  } catch {
    // not to be seen: nobody can tell
    return false;
  }
}

/**
 * Whether a directory that nobody knows from elsewhere stands in its place: the rows are of that one from now on. What has come to it since, as by a client
 * who put something at the old name, went along with the one above.
 */
function isReplaced({ catalog }: Ground, row: DirRow, dirs: readonly string[]): boolean {
  const { identities, index } = catalog;
  const identity = catalog.world?.(dirs);
  const at = identities.placeOf(row.id);
  if (!identity || !at || identities.find(identity)) return false;
  const { noted } = row;
  identities.setDir(row, identity);
  index.putRow(at.parent, at.name, row);
  if (noted) catalog.noteDir(row, dirs);
  return true;
}

function isDirectory(ground: Ground, dirs: readonly string[]): boolean {
  if (dirs[0] === '') return false;
  try {
    return lstatOf(ground.pathOf(dirs))?.isDirectory() === true;
  } catch (error) {
    // not to be seen: nobody can tell
    return !isAbsent(error);
  }
}

function isFull(ground: Ground, { full, stamp, stampTrusted }: DirRow, dirs: readonly string[]): boolean {
  if (full !== true || !stampTrusted || !stamp || dirs[0] === '') return false;
  const stat = lstatOf(ground.pathOf(dirs));
  return stat?.isDirectory() === true && hasSameEntries(stamp, stat, ground.view);
}

function isEmpty(ground: Ground, dirs: readonly string[], name: string): boolean {
  if (dirs[0] === '') return true;
  try {
    return lstatOf(`${ground.pathOf(dirs)}/${name}`) === undefined;
  } catch (error) {
    if (isAbsent(error)) return true;
    // not to be seen: nobody can tell
    if (errno(error) === 'EACCES' || errno(error) === 'EPERM') return false;
    throw error;
  }
}

/** @returns whether there was anything to leave. */
function leave(ground: Ground, from: TreePlace, to: TreePlace): boolean {
  const { catalog } = ground;
  const key = catalog.rowKeyOf(from, false);
  const row = key && catalog.rowAt(key);
  if (!row) return false;
  // wherever the directory is, the row that its file would have may be this one
  catalog.distrustDir(from.dirs);
  // other bytes have come to the key since: what is said of it now is said of those
  const taken = catalog.row(to) !== undefined;
  const waiting = taken ? catalog.identities.waitingFor(key, row) : undefined;
  const place = waiting && placeAt(catalog, waiting.key);
  if (waiting && place) {
    // where their file has gone to, it need not wait any more
    followKey(catalog, { place, row: waiting.row }, { place: from, row });
    return true;
  }
  if (taken || !isWorthKeeping(row)) {
    if (row.seq > 0) catalog.journal.append({ op: 'delete', seq: catalog.nextSeq(), ...subjectOf(from) });
    catalog.removeRow(from);
    if (!taken && row.goneAt === undefined) catalog.untold.note(to.dirs, to.name, 'removed');
    return true;
  }
  const seq = catalog.nextSeq();
  const line = {
    op: 'moved',
    seq,
    ...pathsOf(from, to),
    bytes: catalog.bytesOf(row),
    ctime: String(row.ctimeNs),
    facts: factsUnder(row, to.dirs[0]),
    published: row.published,
    gone: row.goneAt ?? Date.now(),
    // in a lost directory it was missed under no path that it had: nobody was told
    ...(row.goneAt !== undefined && from.dirs[0] !== '' && { missed: true as const }),
  } as const;
  catalog.journal.append(line);
  makeAbsent(catalog, to.dirs, (path) => isDirectory(ground, path));
  putDoubt(catalog, to, catalog.moveFile(line), row.doubtful);
  catalog.noteSettled();
  return true;
}

/**
 * The same where a file stands that clients have said nothing of: it came back, or another one came (DESIGN rule 4).
 * @returns whether there was anything to give.
 */
function giveBack(catalog: Catalog, from: TreePlace, to: TreePlace, there: FileRow | undefined): boolean {
  const key = catalog.rowKeyOf(from, false);
  const row = key && catalog.rowAt(key);
  if (!row || !isSaidOf(row)) return false;
  const { unseen, told } = there ?? {};
  // of a file that nobody has read it is not known yet whether it holds the same bytes
  const bytes = there !== undefined && there.etag !== '' ? there : row;
  const moved = followKey(catalog, { place: to, row: bytes }, { place: from, row });
  if (unseen ?? told) catalog.putRow(to, { ...moved, ...(unseen && { unseen }), ...(told && { told }) });
  return true;
}

function isSaidOf({ facts, published, from }: FileRow): boolean {
  return facts !== undefined || published || from !== undefined;
}

function pathsOf(from: TreePlace, to: TreePlace): { path: string; from: string } {
  return { path: [...to.dirs, to.name].join('/'), from: [...from.dirs, from.name].join('/') };
}

function factsUnder({ facts = {}, home }: FileRow, top: string | undefined): NonNullable<FileRow['facts']> {
  return home === undefined || home === top ? facts : withoutAccess(facts);
}
