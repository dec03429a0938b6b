/**
 * Rows whose file is gone. They are kept for a while, since the file may come back; then they go, and with them what a client said of the key.
 * A file whose disk is away is not gone: its row names the mount that it lay on.
 */
import { lstatSync } from 'node:fs';
import { FINGERPRINT_BYTES } from '../../fs/fingerprint.js';
import { hasChildren } from '../../catalog/children.js';
import { placeAt } from '../../catalog/row-of.js';
import { decodeRow, type DirRow, type FileRow } from '../../catalog/rows.js';
import type { Place } from '../../catalog/catalog.js';
import type { WholeIndex } from '../../catalog/whole.js';
import { errno } from '../../base/errors.js';
import { isAbsent, type Core } from '../core.js';
import { noteGone, noteMarkerBack } from '../ghosts.js';
import { lstatOf } from '../../fs/stat.js';
import { rowsOf, type CollectOptions } from './rows.js';

export interface GhostReport {
  /** Found missing just now. */
  missing: number;
  /** Dropped: gone for too long. */
  dropped: number;
}

const NOTHING = Buffer.alloc(FINGERPRINT_BYTES);

/** @param before ms: what has been gone since then is dropped. */
export async function collectGhosts(
  core: Core,
  whole: WholeIndex,
  before: number,
  { dryRun, signal }: CollectOptions,
): Promise<GhostReport> {
  const report: GhostReport = { missing: 0, dropped: 0 };
  for await (const { key, value } of rowsOf(core, whole, 'tree', signal)) {
    const row = decodeRow(value);
    if (row.kind === 'dir') {
      if (!dryRun) dropEmptyRow(core, whole, row, before);
      continue;
    }
    const place = placeAt(core.catalog, key);
    if (!place) continue;
    const { dirs, name } = place;
    if (row.goneAt === undefined) {
      if (isMissing(core, dirs, name)) report.missing += dryRun ? 1 : noteGone(core, [{ dirs, name }]);
    } else if (row.goneAt < before && isMissing(core, dirs, name) && !isAway(core, dirs, row)) {
      if (dryRun || drop(core, whole, place, before)) report.dropped++;
    }
  }
  if (!dryRun) await forgetIdentities(core, whole, before, signal);
  return report;
}

function isMissing(core: Core, dirs: readonly string[], name: string): boolean {
  // a directory that was lost: nobody knows where it is now
  if (dirs[0] === '') return true;
  try {
    const stat = lstatSync(`${core.pathOf(dirs)}/${name}`);
    // what a link leads to may be back
    return !stat.isFile() && !stat.isSymbolicLink();
  } catch (error) {
    return errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR';
  }
}

/** Whether the file lay on another mount than what stands at its place now: a disk that is not there. */
function isAway(core: Core, dirs: readonly string[], row: FileRow): boolean {
  if (row.fp.equals(NOTHING)) return false;
  const mount = mountAt(core, dirs);
  return mount !== undefined && mount !== row.fp.readUInt32BE(0);
}

/** Mount of the deepest directory on a path that is there; of a lost one, the root's. */
function mountAt(core: Core, dirs: readonly string[]): number | undefined {
  for (let depth = dirs[0] === '' ? 0 : dirs.length; depth >= 0; depth--) {
    const path = core.pathOf(dirs.slice(0, depth));
    const stat = lstatOf(path);
    if (stat?.isDirectory()) return core.mounts.idOf(stat.dev, path);
  }
  return undefined;
}

/** Under the lock the row is looked at again: the file may be back. */
function drop(core: Core, whole: WholeIndex, place: Extract<Place, { kind: 'tree' }>, before: number): boolean {
  const { catalog } = core;
  return whole.write(() => {
    const row = catalog.row(place);
    if (row?.goneAt === undefined || row.goneAt >= before || !isMissing(core, place.dirs, place.name)) return false;
    catalog.removeRow(place);
    core.checkRoot();
    return true;
  });
}

/**
 * Drops a directory's row that holds nothing, if the directory is gone: at once, or, if a client put it as a marker, once it has been gone since
 * `before`. Its children come later in the order of rows: the next collection finds it empty.
 */
function dropEmptyRow(core: Core, whole: WholeIndex, known: DirRow, before: number): void {
  const { id, marker } = known;
  const { catalog } = core;
  const { index } = catalog;
  const dirs = catalog.identities.pathOf(id);
  if (!dirs || dirs.length === 0) return;
  if (!isDirGone(core, dirs)) {
    noteMarkerBack(core, dirs, known);
    return;
  }
  if (marker) noteGone(core, [{ dirs, name: '' }]);
  if (hasChildren(index, id)) return;
  whole.write(() => {
    const row = catalog.findDir(dirs);
    if (row?.id !== id || !isDirGone(core, dirs)) return;
    if (row.marker) {
      const since = catalog.missed.get(id) ?? Infinity;
      if (since >= before || (row.identity && mountAt(core, dirs) !== row.identity.readUInt32BE(0))) return;
      catalog.missed.remove(id);
    }
    catalog.dropDir(dirs);
    core.checkRoot();
  });
}

function isDirGone(core: Core, dirs: readonly string[]): boolean {
  // a lost one has no path; if it turns up, its row is somewhere else
  if (dirs[0] === '') return true;
  try {
    return lstatOf(core.pathOf(dirs)) === undefined;
  } catch (error) {
    return isAbsent(error);
  }
}

/** Bytes that lay where others lie now, and did not turn up elsewhere; and when files that are gone were verified. */
async function forgetIdentities(core: Core, whole: WholeIndex, before: number, signal: AbortSignal): Promise<void> {
  const { index, identities } = core.catalog;
  for await (const { key } of rowsOf(core, whole, 'identities', signal)) {
    const seen = identities.find(key);
    if (seen?.kind === 'displaced' && (seen.row.goneAt ?? 0) < before) whole.write(() => identities.forget(key));
  }
  for await (const { key } of rowsOf(core, whole, 'verified', signal)) {
    if (!index.has('identities', key)) whole.write(() => index.remove('verified', key));
  }
}
