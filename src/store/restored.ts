/**
 * A restored file (cp -a, rsync -a: same size and mtime, another inode) is known by its own inode from the first look on: if it is renamed before it was
 * hashed again, what clients said of its key follows. What is known of its bytes stays in doubt.
 */
import type { FileRow } from '../catalog/rows.js';
import type { Core, Found } from './core.js';
import { knowledge } from './describe.js';
import { layoutFor } from './former.js';

/** Inside a write. @returns the row by now, undefined if that is no such file. */
export function noteRestored({ catalog }: Core, found: Found): FileRow | undefined {
  const { place, row, fp, stat, link } = found;
  if (!row || place.kind !== 'tree' || link !== undefined || row.appendFrom !== undefined) return undefined;
  if (row.fp.equals(fp) || row.ctimeNs === stat.ctimeNs || knowledge(found) !== 'provisional') return undefined;
  const { layout: _layout, ...rest } = row;
  const layout = layoutFor(catalog, row, fp);
  const noted: FileRow = { ...rest, fp, doubtful: true, ...(layout !== undefined && { layout }) };
  catalog.putRow(place, noted);
  return noted;
}
