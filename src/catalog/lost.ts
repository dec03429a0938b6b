/**
 * After a power cut a line of the journal may have come to the disk without the rename or unlink that it tells of: others' lines flush the journal before the
 * folder is flushed, and not every file system keeps their order (btrfs does not). The operation was not acknowledged, and it has not happened: the very file
 * that it replaced stands there still. A file that was replaced never comes back by itself, so the row of the old one stays (DESIGN rule 3: old whole or new whole).
 */
import { placeOf, type Catalog, type Place } from './catalog.js';
import type { Event } from './merge.js';
import { parseFingerprint } from '../fs/fingerprint.js';

/** @returns the place that is as if the event had not been; undefined if it has happened, as far as the tree tells. */
export function lostPlace(catalog: Catalog, { line, prepare }: Event): Place | undefined {
  if (line.op === 'delete') return 'path' in line ? standingStill(catalog, placeOf(line)) : undefined;
  if (line.op !== 'commit' || prepare?.op !== 'prepare' || !('path' in prepare)) return undefined;
  const place = placeOf(prepare);
  const fp = parseFingerprint(prepare.bytes.fp);
  if (!prepare.from) return standingStill(catalog, place, fp);
  // a move: the file itself has stayed
  const from = placeOf(prepare.from);
  if (catalog.standing?.(place)?.equals(fp) === true) return undefined;
  return standingStill(catalog, from);
}

/** @param next fingerprint of what was to come: if it is the same file, its facts alone were replaced. */
function standingStill(catalog: Catalog, place: Place, next?: Buffer): Place | undefined {
  const row = place.kind === 'tree' ? catalog.row(place) : undefined;
  if (!row || row.etag === '' || next?.equals(row.fp) === true) return undefined;
  return catalog.standing?.(place)?.equals(row.fp) === true ? place : undefined;
}
