/** Lines of a compacted segment back into rows; what `compact.ts` writes. Inside a write, in a replay. */
import { parseFingerprint } from '../fs/fingerprint.js';
import { partCount, placeOf, split, type Catalog, type Completed } from './catalog.js';
import type { JournalLine } from './lines.js';
import type { DirRow, FileRow } from './rows.js';

export function restoreRow(catalog: Catalog, line: Extract<JournalLine, { op: 'row' }>): void {
  const { fp, ctime, layout, from, ...rest } = line.row;
  const row: FileRow = { ...rest, kind: 'file', seq: line.seq, fp: parseFingerprint(fp), ctimeNs: BigInt(ctime) };
  // appended to by an older version, whose ETags cannot be made from the bytes again: hashed anew
  if (layout && rest.appended !== undefined && layout.chained === undefined) row.etag = '';
  else if (layout) {
    row.partCount = partCount(layout);
    row.layout = line.seq;
    catalog.index.putLayout(line.seq, layout);
  }
  const place = placeOf(line);
  const source = from && catalog.rowKeyOf(placeOf({ path: from.path }), true);
  if (from && source) row.from = { key: source.toString('base64'), since: from.since };
  catalog.putRow(place, row);
  const key = row.from && catalog.rowKeyOf(place, true);
  if (key) catalog.index.put('pending', key, Buffer.alloc(1));
}

export function restoreDir(catalog: Catalog, line: Extract<JournalLine, { op: 'dir' }>): void {
  const dirs = split(line.path.slice(0, -1));
  const row = catalog.ensureDir(dirs);
  row.seq = line.seq;
  row.made = line.made === true;
  if (line.marker) row.marker = line.marker;
  missMarker(catalog, row, line.gone);
  if (line.identity !== undefined) {
    catalog.identities.setDir(row, Buffer.from(line.identity, 'hex'));
    row.noted = true;
  }
  // a lost one lies beside the root's
  if (line.path.startsWith('/') && dirs.length === 2) catalog.index.putRow(0, `${dirs[1] ?? ''}/`, row);
  else catalog.index.putRow(catalog.ensureDir(dirs.slice(0, -1)).id, `${dirs.at(-1) ?? ''}/`, row);
}

/** Whether a file or a marker is gone, as it was told. */
export function restoreSeen(catalog: Catalog, { path, event, time }: Extract<JournalLine, { op: 'seen' }>): void {
  const gone = event === 'removed' ? time : undefined;
  if (path.endsWith('/')) return missMarker(catalog, catalog.findDir(split(path.slice(0, -1))), gone);
  const place = placeOf({ path });
  const row = catalog.row(place);
  if (!row || (row.goneAt === undefined) === (gone === undefined)) return;
  const { goneAt: _before, ...rest } = row;
  catalog.putRow(place, { ...rest, ...(gone !== undefined && { goneAt: gone }) });
}

function missMarker(catalog: Catalog, row: DirRow | undefined, since: number | undefined): void {
  if (!row?.marker) return;
  if (since === undefined) catalog.missed.remove(row.id);
  else catalog.missed.put(row.id, since);
}

export function restoreDone(catalog: Catalog, { id, answer }: Extract<JournalLine, { op: 'done' }>): void {
  catalog.restoreCompleted(id, answer as Completed);
}
