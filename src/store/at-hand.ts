/**
 * Objects that were told a moment ago, small ones with their bytes: a hit costs neither a decoded row nor open(2) nor read(2).
 *
 * Nothing is believed that is not looked at again, as much as {@link Core.find} looks at: the folder must lie where its path says, stat(2) must tell of
 * the very same file with the same stamps, and the row that speaks of it must be the same byte by byte, or one of a folder in which no row has changed. Then all that is said of it is the same, too. Only
 * files whose ctime was old by then are kept, since a later change must show in it. What changes a file without any stamp (a store through a mapping,
 * before it is written back, which takes half a minute on Linux) shows within seconds, and within a minute in a file that was left alone for as long: nothing
 * is kept for longer.
 */
import { lstatSync } from 'node:fs';
import type { Place } from '../catalog/catalog.js';
import { isSameFile, stampsOf, type Stamps } from '../fs/stat.js';
import type { AtHand } from './contract.js';
import type { Core, Found } from './core.js';
import { describe, knowledge } from './describe.js';

/** Largest body, bytes. */
const MAX_BYTES = 32 << 10;
/** Of all bodies, bytes. */
const MAX_TOTAL = 16 << 20;
const MAX_OBJECTS = 4096;
const KEEP_MS = 5000;
/** The same of a file whose ctime is older than that: whatever was mapped was written back, and a later store shows. */
const KEEP_SETTLED_MS = 60_000;
const EXACTLY = { bigint: true, throwIfNoEntry: false } as const;

interface Kept extends AtHand {
  place: Extract<Place, { kind: 'tree' }>;
  /** Of the folder. */
  path: string;
  file: string;
  /** As it is in the index. */
  row: Buffer;
  /** In which its folder was in the index when the row was there: {@link Catalog.stateSeen}. */
  state?: string | undefined;
  stat: Stamps;
  /** On the clock of `performance`, ms. */
  until: number;
}

export class ObjectsAtHand {
  /** By bucket and key, the oldest first. */
  private readonly kept = new Map<string, Kept>();
  private total = 0;

  constructor(private readonly core: Core) {}

  /**
   * What is told of an object if all is as it was. The caller has looked whether root and index are there.
   * @param whole nothing without its bytes.
   */
  find(bucket: string, key: string, whole = false): AtHand | undefined {
    const name = nameOf(bucket, key);
    const kept = this.kept.get(name);
    if (!kept || (whole && !kept.bytes)) return undefined;
    if (this.stands(kept)) return kept;
    this.drop(name, kept);
    return undefined;
  }

  /** @param found as it was when the file was opened. @returns whether its bytes may be kept once they were read: all that is to be told of it, then. */
  accepts(found: Found): boolean {
    return found.stat.size <= MAX_BYTES && found.row?.partCount === undefined && isPlain(this.core, found);
  }

  /** @param bytes all of the object, if they were read, of a file that was the same before and after; a copy is kept. */
  keep(bucket: string, key: string, found: Found, bytes?: Buffer): void {
    const { catalog } = this.core;
    const { place, stat, dir } = found;
    if (place.kind !== 'tree' || !isPlain(this.core, found)) return;
    const row = catalog.rowBytes(place);
    // as it is by now: what is said of the key may have changed since
    const now = row && { ...found, row: catalog.rowOf(row, place) };
    if (!row || !now || !isCertain(now)) return;
    const name = nameOf(bucket, key);
    const old = this.kept.get(name);
    if (old) this.drop(name, old);
    this.kept.set(name, {
      info: describe(bucket, key, now),
      ...(bytes && { bytes: Buffer.from(bytes) }),
      ...{ place, path: dir.path, file: `${dir.path}/${place.name}`, row, stat: stampsOf(stat) },
      until: performance.now() + (Date.now() - Number(stat.ctimeMs) > KEEP_SETTLED_MS ? KEEP_SETTLED_MS : KEEP_MS),
    });
    this.total += bytes?.length ?? 0;
    for (const [oldest, one] of this.kept) {
      const fits = this.total <= MAX_TOTAL && this.kept.size <= MAX_OBJECTS;
      if (fits && one.until > performance.now()) break;
      this.drop(oldest, one);
    }
  }

  /** Whether one is still all that {@link Core.find} and {@link describe} would find. */
  private stands(kept: Kept): boolean {
    if (kept.until < performance.now()) return false;
    try {
      this.core.dirs.seen(kept.path);
      // by its path: it need only be the same file
      const now = lstatSync(kept.file, EXACTLY);
      return now !== undefined && isSameFile(now, kept.stat) && this.isStillSaid(kept);
    } catch {
      // told by whoever asks in full
      return false;
    }
  }

  /** Whether the row is still the same: it need not be read where none in its folder has changed. */
  private isStillSaid(kept: Kept): boolean {
    const { catalog } = this.core;
    const state = catalog.stateSeen(kept.place.dirs);
    if (state !== undefined && state === kept.state) return true;
    kept.state = state;
    return catalog.rowBytes(kept.place, true)?.equals(kept.row) === true;
  }

  private drop(name: string, { bytes }: Kept): void {
    this.kept.delete(name);
    this.total -= bytes?.length ?? 0;
  }
}

/** Whether nothing but folder, file and row decide what is told of it; and any change of the file would show. */
export function isPlain(core: Core, found: Found): boolean {
  if (found.place.kind !== 'tree' || found.link !== undefined || core.folds) return false;
  // no link on the way either: it may lead elsewhere by the next time
  if (found.dir.path !== core.pathOf(found.place.dirs)) return false;
  return isCertain(found) && !core.clock.isYoung(found.stat.ctimeNs);
}

/** Its bytes are known and stay so, nothing is being appended to it, and it has but the ETags that its row and its stamps give. */
function isCertain(found: Found): boolean {
  const { row } = found;
  if (!row || row.appendFrom !== undefined || row.unproven === true || row.from !== undefined) return false;
  return row.told === undefined && knowledge(found) === 'known';
}

/** Of an object among those that are remembered. */
export function nameOf(bucket: string, key: string): string {
  return `${bucket}/${key}`;
}
