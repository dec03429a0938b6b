/**
 * After a power cut a line of the journal may have come to the disk without the rename or unlink that it tells of: others' lines flush the journal before the
 * folder is flushed, and not every file system keeps their order (btrfs does not). The operation was not acknowledged, and it has not happened: the very file
 * that it replaced stands there still. A file that was replaced never comes back by itself, so the row of the old one stays (DESIGN rule 3: old whole or new whole).
 *
 * The body of an overflow object has a name of its own, which no other ever gets, and it is removed only once its successor is flushed: there, names tell.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { placeOf, samePlace, type Catalog, type Place } from './catalog.js';
import type { Event, Prepare } from './merge.js';
import { SegmentReader, listSegments, placed } from './segments.js';
import { parseFingerprint } from '../fs/fingerprint.js';

/** The lines of all that a process was at when it died lie in so many bytes at the end of its segment. */
const TAIL_BYTES = 1 << 20;

export interface Lost {
  /** Whose rows stay as if the event had not been, and are to be told anew. */
  places: Place[];
  /** Of a rename only the loss of the old name was lost: what is at the new one is applied all the same. */
  halfway: boolean;
}

/** Moves without commit line at the ends of all segments, read once they are asked for. */
export class LooseMoves {
  private known: { segment: string; start: number; line: Prepare }[] | undefined;

  constructor(private readonly directory: string) {}

  /** Whether one that came behind an event moves the file on from a place. */
  hasBehind({ segment, end }: Event, place: Place, fp: Buffer): boolean {
    this.known ??= listSegments(this.directory).flatMap((name) => this.inSegment(name));
    return this.known.some(
      (one) =>
        (one.segment === segment ? one.start >= end : one.segment > segment) &&
        one.line.from !== undefined &&
        samePlace(placeOf(one.line.from), place) &&
        parseFingerprint(one.line.bytes.fp).equals(fp),
    );
  }

  private inSegment(segment: string): { segment: string; start: number; line: Prepare }[] {
    const path = join(this.directory, segment);
    const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    const open = new Map<string, { segment: string; start: number; line: Prepare }>();
    for (const { line, start } of placed(new SegmentReader(path, Math.max(0, size - TAIL_BYTES)))) {
      if (line.op === 'prepare' && line.from) open.set(line.id, { segment, start, line });
      else if (line.op === 'commit' || line.op === 'abort') open.delete(line.id);
    }
    return [...open.values()];
  }
}

/** @returns undefined if the event has happened, as far as the tree tells. */
export function lostBy(catalog: Catalog, event: Event, loose: LooseMoves): Lost | undefined {
  const { line, prepare } = event;
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
    // it had come, and was moved back
    if (!arrived && loose.hasBehind(event, place, fp)) return undefined;
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
