/** What clients said of a key follows the file that another program has renamed. Under the lock. */
import type { Catalog, MovedFile, Place } from '../catalog/catalog.js';
import { withoutAccess, type FileRow } from '../catalog/rows.js';

type TreePlace = Extract<Place, { kind: 'tree' }>;
interface Placed {
  place: TreePlace;
  row: FileRow;
}

/** What is said of a key under the top-level folder that its file is in now: an ACL never crosses buckets. */
export function saidUnder(
  { facts = {}, published }: FileRow,
  from: TreePlace,
  to: TreePlace,
): { facts: NonNullable<FileRow['facts']>; published: boolean } {
  return { facts: from.dirs[0] === to.dirs[0] ? facts : withoutAccess(facts), published };
}

/** @returns the row of the file by now. */
export function followKey(catalog: Catalog, { place, row }: Placed, source: Placed): FileRow {
  const line: MovedFile = {
    op: 'moved',
    seq: catalog.nextSeq(),
    path: pathOf(place),
    from: pathOf(source.place),
    bytes: catalog.bytesOf(row),
    ctime: String(row.ctimeNs),
    ...saidUnder(source.row, source.place, place),
  };
  catalog.journal.append(line);
  const moved = putDoubt(catalog, place, catalog.moveFile(line), row.doubtful);
  catalog.endWait(place);
  catalog.noteSettled();
  return moved;
}

/** Marks byte facts that are in doubt: a `moved` line does not tell. @returns the row. */
export function putDoubt(catalog: Catalog, place: Place, row: FileRow, doubtful = false): FileRow {
  if (!doubtful) return row;
  const marked: FileRow = { ...row, doubtful };
  catalog.putRow(place, marked);
  return marked;
}

function pathOf({ dirs, name }: TreePlace): string {
  return [...dirs, name].join('/');
}
