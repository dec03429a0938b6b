/**
 * After a power cut a line of the journal may have come to the disk without the rename or unlink that it tells of: others' lines flush the journal before the
 * folder is flushed, and not every file system keeps their order (btrfs does not). The operation was not acknowledged, and it has not happened: the very file
 * that it replaced stands there still. A file that was replaced never comes back by itself, so the row of the old one stays (DESIGN rule 3: old whole or new whole).
 *
 * The body of an overflow object has a name of its own, which no other ever gets, and it is removed only once its successor is flushed: there, names tell.
 */
import { placeOf, samePlace, type Catalog, type Place } from './catalog.js';
import type { Event } from './merge.js';
import { parseFingerprint } from '../fs/fingerprint.js';

export interface Lost {
  /** Whose rows stay as if the event had not been, and are to be told anew. */
  places: Place[];
  /** Of a rename only the loss of the old name was lost: what is at the new one is applied all the same. */
  halfway: boolean;
}

/** @returns undefined if the event has happened, as far as the tree tells. */
export function lostBy(catalog: Catalog, { line, prepare }: Event): Lost | undefined {
  if (line.op === 'delete') {
    const place = placeOf(line);
    const stays = place.kind === 'tree' ? standsStill(catalog, place) : bodyStands(catalog, place, line.file);
    return stays ? { places: [place], halfway: false } : undefined;
  }
  if (line.op !== 'commit' || prepare?.op !== 'prepare') return undefined;
  const place = placeOf(prepare);
  const fp = parseFingerprint(prepare.bytes.fp);
  const arrived = catalog.standing?.(place, prepare.file)?.equals(fp) === true;
  const from = prepare.from && placeOf(prepare.from);
  if (from && !samePlace(from, place)) {
    if (catalog.standing?.(from)?.equals(fp) !== true || (arrived && !catalog.row(from))) return undefined;
    return { places: arrived ? [from] : [from, place], halfway: arrived };
  }
  const stays =
    place.kind === 'tree' ? standsStill(catalog, place, fp) : !arrived && bodyStands(catalog, place, prepare.replaces);
  return stays ? { places: [place], halfway: false } : undefined;
}

/** @param next fingerprint of what was to come: if it is the same file, its facts alone were replaced. */
function standsStill(catalog: Catalog, place: Place, next?: Buffer): boolean {
  const row = catalog.row(place);
  if (!row || row.etag === '' || next?.equals(row.fp) === true) return false;
  return catalog.standing?.(place)?.equals(row.fp) === true;
}

/** @param file that was to go. */
function bodyStands(catalog: Catalog, place: Place, file: string | undefined): boolean {
  return file !== undefined && catalog.row(place)?.file === file && catalog.standing?.(place, file) !== undefined;
}
