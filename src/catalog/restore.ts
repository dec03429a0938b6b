/** Lines of a compacted segment back into rows; what `compact.ts` writes. Inside a write, in a replay. */
import { parseFingerprint } from '../fs/fingerprint.js';
import { partCount, placeOf, split, type Catalog, type Completed } from './catalog.js';
import type { JournalLine } from './lines.js';
import type { FileRow } from './rows.js';

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
  if (line.identity !== undefined) {
    catalog.identities.setDir(row, Buffer.from(line.identity, 'hex'));
    row.noted = true;
  }
  // a lost one lies beside the root's
  if (line.path.startsWith('/') && dirs.length === 2) catalog.index.putRow(0, `${dirs[1] ?? ''}/`, row);
  else catalog.index.putRow(catalog.ensureDir(dirs.slice(0, -1)).id, `${dirs.at(-1) ?? ''}/`, row);
}

export function restoreDone(catalog: Catalog, { id, answer }: Extract<JournalLine, { op: 'done' }>): void {
  catalog.restoreCompleted(id, answer as Completed);
}
