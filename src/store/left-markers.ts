/**
 * Markers below a directory that is lost or away (catalog/lost-dirs.ts) and that turned up nowhere: what clients said of their keys belongs to
 * those keys, and it is those keys whose removal is told. As left.ts does for files, synchronously under the lock.
 */
import type { Catalog } from '../catalog/catalog.js';
import { childPages } from '../catalog/children.js';
import { decodeRow, type DirRow } from '../catalog/rows.js';

/** A directory, and its path. */
export interface Folder {
  row: DirRow;
  dirs: readonly string[];
}

/**
 * Gives them back to the keys that they had, as far as these are nobody's by now.
 * @param isThere whether a folder stands at a path: then the object is there still.
 * @param max in one go. @returns whether that was all.
 */
export function leaveMarkers(
  catalog: Catalog,
  top: Folder,
  home: readonly string[],
  isThere: (dirs: readonly string[]) => boolean,
  max: number,
): boolean {
  let left = 0;
  for (const folder of markersBelow(catalog, top)) {
    const to = [...home, ...folder.dirs.slice(top.dirs.length)];
    if (isThere(folder.dirs)) continue;
    leaveMarker(catalog, folder, to, isThere);
    if (++left === max) return false;
  }
  return true;
}

/** The same for one. */
export function leaveMarker(
  catalog: Catalog,
  { row, dirs }: Folder,
  to: readonly string[],
  isThere: (dirs: readonly string[]) => boolean,
): void {
  const { marker } = row;
  if (!marker) return;
  const from = dirs.join('/');
  catalog.changeDir(dirs, (one) => delete one.marker);
  // under no path that it had, nobody was told
  const missed = catalog.missed.get(row.id);
  const known = dirs[0] === '' ? undefined : missed;
  catalog.missed.remove(row.id);
  if (catalog.findDir(to)?.marker) catalog.journal.append({ op: 'unmark', seq: catalog.nextSeq(), path: from });
  else {
    const seq = catalog.nextSeq();
    makeAbsent(catalog, to, isThere);
    catalog.setMarker(to, marker, seq);
    catalog.journal.append({ op: 'marker', seq, path: to.join('/'), ...marker, from });
    if (!isThere(to)) miss(catalog, to, known);
    // whoever was told that it went is told that it is back
    else if (missed !== undefined) catalog.untold.noteBack(to, '');
  }
  catalog.noteSettled();
}

/** Rows for directories that are not there: whatever comes to stand at their paths will be made from now on, and so will all in it. */
export function makeAbsent(
  catalog: Catalog,
  dirs: readonly string[],
  isThere: (dirs: readonly string[]) => boolean,
): void {
  if (!catalog.untold.wanted) return;
  for (let depth = catalog.dirsDown(dirs).length; depth <= dirs.length; depth++) {
    const path = dirs.slice(0, depth);
    if (depth > 0 && !isThere(path)) catalog.changeDir(path, (row) => (row.fresh = true));
  }
}

/** Tells the keys of a bucket that has ended. @returns whether that was all. */
export function endMarkers(catalog: Catalog, top: Folder, home: readonly string[], max: number): boolean {
  let told = 0;
  for (const { row, dirs } of markersBelow(catalog, top)) {
    if (catalog.missed.get(row.id) !== undefined) continue;
    catalog.missed.put(row.id, Date.now());
    const was = [...home, ...dirs.slice(top.dirs.length)];
    if (!catalog.findDir(was)?.marker) catalog.untold.note(was, '', 'removed');
    if (++told === max) return false;
  }
  return true;
}

/** @param known since when (ms) it was missed already, and told of. */
function miss(catalog: Catalog, dirs: readonly string[], known: number | undefined): void {
  const row = catalog.findDir(dirs);
  if (row) catalog.missed.put(row.id, known ?? Date.now());
  if (known === undefined) catalog.untold.note(dirs, '', 'removed');
}

export function* markersBelow({ index }: Catalog, top: Folder): Generator<Folder> {
  const folders = [top];
  for (let folder = folders.pop(); folder; folder = folders.pop()) {
    const { row, dirs } = folder;
    if (row.marker) yield folder;
    for (const page of childPages(index, row.id)) {
      for (const { name, value } of page) {
        const below = name.endsWith('/') ? decodeRow(value) : undefined;
        if (below?.kind === 'dir') folders.push({ row: below, dirs: [...dirs, name.slice(0, -1)] });
      }
    }
  }
}
