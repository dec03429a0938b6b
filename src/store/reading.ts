/** Objects as they are read: what is known of the file at a key, its bytes, and whether they are still the ones that were told of. */
import { closeSync, type BigIntStats } from 'node:fs';
import { S3Error } from '../base/errors.js';
import type { Checksum } from '../base/model.js';
import { NotReady } from '../catalog/lmdb.js';
import { DamagedIndex, type Layout } from '../catalog/rows.js';
import { closeQuietly } from '../fs/close.js';
import { isTorn, readRange, type OpenFile } from '../fs/reader.js';
import { ObjectsAtHand } from './at-hand.js';
import { FirstReads, type FirstRead } from './first-reads.js';
import type { AtHand, ObjectInfo, ObjectPart, ObjectRef, OpenObject } from './contract.js';
import { noSuchKey, type Core, type Found } from './core.js';
import { describe, isAppending, knowledge, openIfThere, SMALL_FILE } from './describe.js';
import { endsOf, etagOf, md5sOf } from './etag.js';
import { holdsGrown, stateOf } from './growth.js';
import { isUnproven, type Identifier } from './identifier.js';
import type { Markers } from './markers.js';

/** How often a file is looked at again that was replaced between stat and open. */
const OPEN_ATTEMPTS = 20;

/** An open file, and what is known of exactly this file. */
export interface Current {
  found: Found;
  file: OpenFile;
}

export class Reading {
  private readonly hand: ObjectsAtHand;
  private readonly firsts = new FirstReads();

  constructor(
    private readonly core: Core,
    private readonly identifier: Identifier,
    private readonly markers: Markers,
  ) {
    this.hand = new ObjectsAtHand(core);
  }

  /** What was told a moment ago of an object of which nothing has changed. */
  atHand(bucket: string, key: string, whole: boolean): AtHand | undefined {
    return this.hand.find(bucket, key, whole);
  }

  /** @throws NoSuchKey. */
  async found(bucket: string, key: string, prove = false): Promise<Found> {
    const found = this.core.find(bucket, key) ?? this.findAgain(bucket, key);
    if (!found) {
      this.core.bucketDir(bucket);
      throw noSuchKey(key);
    }
    return this.identifier.identify(bucket, key, found, prove);
  }

  /** It may just have got another body in overflow, or been moved from there to its path, between looking here and there. */
  private findAgain(bucket: string, key: string): Found | undefined {
    this.core.catalog.index.refresh();
    return this.core.find(bucket, key);
  }

  async head(bucket: string, key: string): Promise<ObjectInfo> {
    const marker = this.markers.find(bucket, key);
    if (marker) return marker;
    const kept = this.hand.find(bucket, key);
    if (kept) return kept.info;
    const found = await this.found(bucket, key, true);
    this.identifier.tell([found]);
    this.hand.keep(bucket, key, found);
    return describe(bucket, key, found);
  }

  async open(bucket: string, key: string): Promise<OpenObject> {
    const marker = this.markers.find(bucket, key);
    if (marker)
      return { info: marker, parts: async () => [], read: async () => undefined, close: async () => undefined };
    const kept = this.hand.find(bucket, key, true);
    if (kept?.bytes) return openKept(kept.info, kept.bytes);
    const before = this.firsts.of(bucket, key);
    if (!before) return this.openFirst({ bucket, key }, this.firsts.begin(bucket, key));
    await before;
    const now = this.hand.find(bucket, key, true);
    return now?.bytes ? openKept(now.info, now.bytes) : this.openNow({ bucket, key });
  }

  private async openFirst(object: ObjectRef, first: FirstRead): Promise<OpenObject> {
    try {
      const open = await this.openNow(object, first);
      first.opened();
      return open;
    } catch (error) {
      first.end();
      throw error;
    }
  }

  private async openNow({ bucket, key }: ObjectRef, first?: FirstRead): Promise<OpenObject> {
    const current = await this.openCurrent(bucket, key);
    this.identifier.tell([current.found]);
    return this.opened({ bucket, key }, current, first);
  }

  private partsOf({ row }: Found, { partCount, checksum }: ObjectInfo): OpenObject['parts'] {
    const layout = partCount === undefined ? undefined : row?.layout;
    return async () => partsOf(layout === undefined ? undefined : this.core.catalog.index.layout(layout), checksum);
  }

  /**
   * Opens the file at a key, with what is known of exactly this file; the caller closes `file.fd`.
   *
   * The row is read again once the file is open: an inode number is free again as soon as its file is replaced, so before that the file may be
   * another one with the same number, size and, within a tick, times - while we hold it open it cannot.
   * @throws NoSuchKey, OperationAborted while others change it all the time.
   */
  async openCurrent(bucket: string, key: string): Promise<Current> {
    for (let attempt = 0; ; attempt++) {
      const found = await this.found(bucket, key, true);
      const file = openIfThere(found);
      if (file) {
        let same = false;
        try {
          this.core.catalog.index.refresh();
          const now = this.core.find(bucket, key);
          same = now !== undefined && isSame(now, file.stat);
          same &&= now !== undefined && (knowledge(now) === 'known' || knowledge(found) !== 'known');
          // nor has come to be known since by a rename alone
          same &&= now !== undefined && (!isUnproven(now) || isUnproven(found));
          // bytes that nothing is known of must not meet what was said in another folder
          same &&= now !== undefined && (knowledge(now) === 'known' || this.core.tracker.isAmongOwn(now));
          if (same && now) return { found: now, file };
        } finally {
          if (!same) closeSync(file.fd);
        }
      }
      // replaced between stat and open: look again
      if (attempt > OPEN_ATTEMPTS)
        throw new S3Error('OperationAborted', 'The file is being changed by another program. Try again.');
    }
  }

  /** What the contract gives of an open file; closing it closes the file. */
  opened({ bucket, key }: ObjectRef, { found, file }: Current, first?: FirstRead): OpenObject {
    const info = describe(bucket, key, found);
    const keeps = info.size > 0 && this.hand.accepts(found);
    if (!keeps) first?.end();
    let closed = false;
    return {
      info,
      parts: this.partsOf(found, info),
      read: (start, end, sink) => {
        let unchanged = keeps && end - start === info.size;
        if (unchanged) first?.begun();
        // that small a body comes in one piece, and after the last look at its file
        const taken = (chunk: Buffer): Promise<void> | void => {
          if (unchanged) this.hand.keep(bucket, key, found, chunk);
          first?.end();
          return sink(chunk);
        };
        return readRange(file, start, end, taken, (since) => {
          unchanged = false;
          return this.stillHolds(info, found, file, since);
        });
      },
      close: async () => {
        if (closed) return;
        closed = true;
        first?.end();
        closeQuietly(file.fd);
      },
    };
  }

  /** Whether a file that has changed while it was read holds the same bytes all the same. @throws SlowDown if that must be asked again. */
  private async stillHolds(info: ObjectInfo, told: Found, file: OpenFile, since: 'renamed' | 'torn'): Promise<boolean> {
    try {
      return since === 'torn' ? this.holdsMoved(info, told, file) : await holdsRenamed(this.core, info, told, file);
    } catch (error) {
      if (!(error instanceof NotReady || error instanceof DamagedIndex)) throw error;
      throw new S3Error(
        'SlowDown',
        'The file was changed while it was read, and the index is being made anew. Try again.',
      );
    }
  }

  /**
   * It seems torn: it may have been moved away and back, or only appended to by us, wherever it is now. Under the lock, for a rename under way shows its
   * new ctime before its new path.
   */
  private holdsMoved({ bucket, key, size }: ObjectInfo, told: Found, file: OpenFile): boolean {
    return this.core.catalog.index.write(() => {
      if (!isTorn(file)) return true;
      const now = this.core.find(bucket, key);
      const there = now?.stat.ino === file.stat.ino && now.stat.dev === file.stat.dev && knowledge(now) === 'known';
      if (there && told.row?.etag === now.row?.etag && now.stat.size === BigInt(size)) return true;
      return holdsGrown(this.core.catalog.index, stateOf(told), file, size);
    });
  }
}

/** An object whose bytes are at hand. */
function openKept(info: ObjectInfo, bytes: Buffer): OpenObject {
  return {
    info,
    parts: async () => [],
    read: async (start, end, sink) => {
      if (end > start) await sink(bytes.subarray(start, end));
    },
    close: async () => undefined,
  };
}

/**
 * Whether a file that was replaced, unlinked or renamed while it was read holds the bytes that its ETag tells of: another program may have rewritten it
 * just before, with its old size and mtime. A small one is read once more; of a large one it is taken for granted.
 */
async function holdsRenamed({ catalog }: Core, { size }: ObjectInfo, told: Found, file: OpenFile): Promise<boolean> {
  if (size > SMALL_FILE) return true;
  const { row } = told;
  if (!row || isAppending(told) || knowledge(told) !== 'known') return true;
  const layout = row.layout === undefined ? undefined : catalog.index.layout(row.layout);
  const md5s = await md5sOf(file, endsOf(size, layout)).catch(() => []);
  // none: it has changed again, by us or in a way that shows
  return md5s.length === 0 || etagOf(md5s, layout) === row.etag;
}

/** Whether an open file is the one that was found, unchanged but for what is being appended to it. */
function isSame(found: Found, b: BigIntStats): boolean {
  const { stat: a } = found;
  if (a.ino !== b.ino || a.dev !== b.dev) return false;
  return isAppending(found) || (a.mtimeNs === b.mtimeNs && a.size === b.size);
}

/** Parts in order, from a layout's runs. @param checksum of the object: without it nothing proves those of the parts. */
function partsOf(layout: Layout | undefined, checksum: Checksum | undefined): ObjectPart[] {
  if (!layout) return [];
  const out: ObjectPart[] = [];
  for (const [size, times] of layout.sizes) {
    for (let i = 0; i < times; i++) {
      const value = checksum && layout.checksums?.[out.length];
      out.push({
        partNumber: layout.numbers?.[out.length] ?? out.length + 1,
        size,
        ...(value !== undefined && { checksum: value }),
      });
    }
  }
  return out;
}
