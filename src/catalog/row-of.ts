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
  const place = placeAt(catalog, seen.key);
  const elsewhere = catalog.rowAt(seen.key);
  return place && isOurs(elsewhere) ? { place, row: elsewhere } : {};
}

/** Where the row with a key of the index lies; undefined if its directory is known no more. */
export function placeAt({ identities }: Catalog, key: Buffer): Extract<Place, { kind: 'tree' }> | undefined {
  const dirs = identities.pathOf(key.readUIntBE(0, 6));
  return dirs && { kind: 'tree', dirs, name: rowName(key).toString('utf8') };
}
