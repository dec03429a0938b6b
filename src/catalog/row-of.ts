/** The row that speaks of a file, wherever that is. */
import type { Catalog, Place } from './catalog.js';
import { identityOf } from './identities.js';
import { rowName, type FileRow } from './rows.js';

/**
 * @param likely where to look first. @returns the row and its place, where the file need not stand any more; nothing if other bytes were put there, or if nothing is
 * known of it.
 */
export function rowOf(catalog: Catalog, identity: Buffer, likely: Place): { place?: Place; row?: FileRow } {
  const isOurs = (row: FileRow | undefined): row is FileRow => row !== undefined && identityOf(row.fp).equals(identity);
  const row = catalog.row(likely);
  if (isOurs(row)) return { place: likely, row };
  const seen = catalog.identities.find(identity);
  if (seen?.kind !== 'file') return {};
  const dirs = catalog.identities.pathOf(seen.key.readUIntBE(0, 6));
  const elsewhere = catalog.rowAt(seen.key);
  if (!dirs || !isOurs(elsewhere)) return {};
  return { place: { kind: 'tree', dirs, name: rowName(seen.key).toString('utf8') }, row: elsewhere };
}
