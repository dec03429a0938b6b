/**
 * Walks the objects of a bucket in byte order of their keys, from any point on, page by page of ordered rows: the cost is that of the page,
 * wherever it lies and however much there is (DESIGN, "How the index stays true").
 *
 * Each directory that is entered is checked by one stat; one that changed is read again first. Files are checked by stat. A seek goes
 * down along the bound's own path, so skipping a common prefix costs its depth.
 */
import { lstatSync, type BigIntStats } from 'node:fs';
import { errno } from '../base/errors.js';
import type { DirRow, Row } from '../catalog/rows.js';
import { dirStamp, isGone, rowKey } from '../catalog/rows.js';
import type { RowAtHand, RowsAtHand } from '../catalog/rows-at-hand.js';
import type { ObjectInfo } from './contract.js';
import { MAX_KEY_BYTES, isAbsent, lstatOf, type Core, type Found } from './core.js';
import { identityOf } from '../catalog/identities.js';
import { fingerprint } from '../fs/fingerprint.js';
import { isSameFile, type Stamps } from '../fs/stat.js';
import { isFull } from '../fs/statefile.js';
import { markerInfo } from './markers.js';
import { SEEN, type DirReader } from './dir-reader.js';
import type { Missing } from './ghosts.js';

/** Rows are fetched in pages that grow: a delimiter's listing takes one entry of a directory and goes elsewhere. */
const FIRST_PAGE = 4;
const PAGE = 256;
/** Of names without a file so many are noted at a time. */
const MAX_MISSING = 2000;
/** Names that are kept of a directory that is read through without being recorded. */
const UNRECORDED_PAGE = 2000;
/** Stands for the row of a directory that has none, nor has anything in it. */
const UNRECORDED: DirRow = { kind: 'dir', id: 2 ** 40, seq: 0, made: false, stampTrusted: false };
/** Files that are looked at together. */
const AHEAD = 64;

/** Where to start: the first key that is `inclusive ? >= : >` these bytes. */
export interface Bound {
  bytes: Buffer;
  inclusive: boolean;
}

/** What is told of a file as long as it has these stamps and its row is the same. */
export interface Listed {
  stat: Stamps;
  info: Readonly<ObjectInfo>;
  /** Excludes do not hide it. */
  published: boolean;
}

/** `listed`: the file was seen to be as it was when that was found. */
export type Walked =
  | { key: string; found: Found; row?: RowAtHand<Listed> }
  | { key: string; listed: Readonly<ObjectInfo> }
  | { key: string; marker: ObjectInfo };

type Entry = RowAtHand<Listed>;

interface Frame {
  /** Real path. */
  path: string;
  row: DirRow;
  segments: string[];
  /** Key of the directory, '' or ending in `/`. */
  key: string;
  /** Identities of this directory and those above it, by which loops are known. */
  ids: string[];
  /** So many directories on the way were seen by this walk to be those that their rows speak of. */
  settled: number;
  /** An excluded name is on the way: only what clients put is shown. */
  hidden: boolean;
  page: readonly Entry[];
  at: number;
  /** Files of the page that were looked at together, as far as they need no closer look. */
  looked: (Found | Listed | undefined)[];
  pageSize: number;
  /** Where the next page starts. */
  next: Buffer;
  end: boolean;
  /** Nothing has come or gone since the directory was read: what was missing then is missing now. */
  unchanged: boolean;
  /** There was no room to read it into the index: its names are read from the directory itself, a page at a time. */
  unread: boolean;
  /** Bytes that the first entry still has to be at or after, below its own directory. */
  bound: Bound | undefined;
}

export class Walker {
  /** Names without a file that the walk came upon. */
  readonly missing: Missing[] = [];
  /** How many directories it has looked at: each may have been known again under another name by that. */
  entered = 0;
  private stack: Frame[] = [];
  private readonly bucketDirs: string[];
  private readonly bucketPath: string;
  private readonly prefix: Buffer;

  constructor(
    private readonly core: Core,
    private readonly reader: DirReader,
    private readonly rows: RowsAtHand<Listed>,
    private readonly bucket: string,
    private readonly within: string,
    /** Told of what may not be read and is passed over; may throw to end the walk. */
    private readonly denied: (path: string) => void = () => undefined,
  ) {
    this.bucketDirs = core.bucketDirs(bucket);
    this.bucketPath = core.pathOf(this.bucketDirs);
    this.prefix = Buffer.from(within);
  }

  /** Goes to the first key at the bound. */
  async seek(bound: Bound): Promise<void> {
    this.stack = [];
    const from = this.prefix.compare(bound.bytes) > 0 ? { bytes: this.prefix, inclusive: true } : bound;
    const frame = await this.enter(
      this.bucketPath,
      this.bucketDirs,
      '',
      { ids: [], settled: 0, row: this.core.catalog.findDir(this.bucketDirs) },
      from,
    );
    if (frame) this.stack.push(frame);
  }

  /** The next object, or undefined at the end of the prefix. */
  async next(): Promise<Walked | undefined> {
    for (;;) {
      const now = this.nextNow();
      if (now) return now;
      const frame = this.stack.at(-1);
      if (!frame) return undefined;
      const entry = await this.take(frame);
      if (!entry) {
        this.stack.pop();
        continue;
      }
      const walked = await this.entry(frame, entry);
      if (walked) return walked;
    }
  }

  /** The same if it is the next file of a page that was read; undefined says nothing. */
  nextNow(): Walked | undefined {
    const frame = this.stack.at(-1);
    // where it begins, and below a directory, more is to be looked at
    if (!frame || frame.bound) return undefined;
    for (let entry = frame.page[frame.at]; entry; entry = frame.page[frame.at]) {
      if (entry.text.endsWith('/')) return undefined;
      const key = frame.key + entry.text;
      if (!key.startsWith(this.within)) return undefined;
      frame.at++;
      const walked = frame.unchanged && isGone(entry.value) ? undefined : this.object(frame, entry, key);
      if (walked) return walked;
    }
    return undefined;
  }

  private async entry(frame: Frame, entry: Entry): Promise<Walked | undefined> {
    const bound = frame.bound;
    frame.bound = undefined;
    const key = frame.key + entry.text;
    if (this.isPast(key)) {
      this.stack = [];
      return undefined;
    }
    const inner = bound && rest(bound, entry.name);
    if (entry.text.endsWith('/')) return this.directory(frame, entry.text.slice(0, -1), key, inner);
    return key.startsWith(this.within) ? this.object(frame, entry, key) : undefined;
  }

  /** A file of the page that is within the prefix. */
  private object(frame: Frame, row: Entry, key: string): Walked | undefined {
    if (isTooLong(key)) return undefined;
    const { text: name } = row;
    const seen = this.readable(frame, name, () => this.file(frame, name));
    if (!seen) {
      if (!isGone(row.value) && this.missing.length < MAX_MISSING) this.missing.push({ dirs: frame.segments, name });
      return undefined;
    }
    return 'info' in seen ? { key, listed: seen.info } : { key, found: seen, row };
  }

  /** Enters a directory; its marker comes first. */
  private async directory(
    frame: Frame,
    name: string,
    key: string,
    bound: Bound | undefined,
  ): Promise<Walked | undefined> {
    // nothing that is below it can be asked for
    if (isTooLong(key)) return undefined;
    const path = this.readable(frame, name, () => this.childPath(frame, name));
    const row = this.core.catalog.index.row(frame.row.id, `${name}/`);
    if (path === undefined) {
      if (row?.kind === 'dir' && row.marker && this.missing.length < MAX_MISSING)
        this.missing.push({ dirs: [...frame.segments, name], name: '' });
      return undefined;
    }
    const child = await this.enter(path, [...frame.segments, name], key, { ...frame, row }, bound);
    if (!child) return undefined;
    child.hidden = frame.hidden || this.core.excludes.entry(child.segments, this.bucketDirs.length, true);
    this.stack.push(child);
    const { marker } = child.row;
    const wanted = bound === undefined || (bound.bytes.length === 0 && bound.inclusive);
    if (!wanted || !key.startsWith(this.within)) return undefined;
    if (marker) return { key, marker: markerInfo(this.bucket, key, marker) };
    // a body may have taken its place since overflow was read
    const found = this.core.findOverflow(this.bucket, key);
    return found && { key, found };
  }

  /** Real path of a sub-directory; a link only if links to directories are followed. */
  private childPath(frame: Frame, name: string): string | undefined {
    const path = `${frame.path}/${name}`;
    const stat = lstatOf(path);
    if (stat?.isDirectory()) return path;
    if (!stat?.isSymbolicLink() || this.core.symlinks !== 'all') return undefined;
    try {
      return this.core.followDirLink(path, frame.path, this.bucketPath) || undefined;
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  /** What may not be looked at - a directory without search permission, a link into one - is passed over: it must not spoil the listing. */
  private readable<T>(frame: Frame, name: string, look: () => T | undefined): T | undefined {
    try {
      return look();
    } catch (error) {
      if (errno(error) !== 'EACCES' && errno(error) !== 'EPERM') throw error;
      this.reader.complain(frame.path, `${frame.path}/${name}`);
      this.denied(`${frame.path}/${name}`);
      return undefined;
    }
  }

  private file(frame: Frame, name: string): Found | Listed | undefined {
    const at = frame.at - 1;
    if (!(at in frame.looked)) this.lookAhead(frame, at);
    const seen = frame.looked[at] ?? this.lookCloser(frame, name);
    if (!seen) return undefined;
    if ('info' in seen ? seen.published : seen.row?.published === true) return seen;
    const hidden = frame.hidden || this.core.excludes.entry([...frame.segments, name], this.bucketDirs.length, false);
    return hidden ? undefined : seen;
  }

  private lookCloser({ path, segments: dirs }: Frame, name: string): Found | undefined {
    const dir = this.core.openDir(path);
    return dir && this.core.statFile(dir, name, this.bucketPath, { kind: 'tree', dirs, name });
  }

  /** Looks at the file just taken and at those behind it: the page will most likely tell them all. */
  private lookAhead(frame: Frame, at: number): void {
    const { page, key, segments, looked } = frame;
    const batch = page.slice(at, at + AHEAD);
    const files = batch.filter(({ text }) => !text.endsWith('/'));
    const found = this.core.statFiles(frame.path, segments, files, (row, stat) => this.listedAs(key, row, stat));
    let n = 0;
    for (const [i, { text }] of batch.entries()) looked[at + i] = text.endsWith('/') ? undefined : found[n++];
  }

  /** What was told of a row's file, if it is the very same. */
  private listedAs(dir: string, { known, text }: Entry, stat: BigIntStats): Listed | undefined {
    if (!known || !isSameFile(known.stat, stat)) return undefined;
    const { info } = known;
    // the directory may have got another name since
    return info.key.length === dir.length + text.length && info.key.startsWith(dir) && info.bucket === this.bucket
      ? known
      : undefined;
  }

  /** Checks the directory by stat, reads it again if it changed. @returns undefined if it is gone, a loop, or not readable. */
  private async enter(
    path: string,
    segments: string[],
    key: string,
    { ids: above, settled, row: known }: Pick<Frame, 'ids' | 'settled'> & { row: Row | undefined },
    bound: Bound | undefined,
  ): Promise<Frame | undefined> {
    this.entered++;
    const stat = this.permitted(path, () => directoryStat(path));
    if (!stat) return undefined;
    // the device too: the tops of all btrfs subvolumes or ZFS datasets bear the same inode number
    const id = `${stat.dev}:${stat.ino}`;
    if (above.includes(id)) return undefined;
    let row = known?.kind === 'dir' ? known : undefined;
    let unread = false;
    if (!row?.stamp || !row.stampTrusted || !row.stamp.equals(dirStamp(stat, this.core.view))) {
      const read = await this.reader.read(path, segments, settled).catch((error: unknown) => {
        // a full disk must not keep it from being listed
        if (isFull(error)) return { row: row ?? UNRECORDED };
        return this.permitted(path, () => {
          throw error;
        });
      });
      if (!read) return undefined;
      unread = !('names' in read);
      row = read.row;
    }
    const first = bound ? firstName(bound) : Buffer.alloc(0);
    return {
      path,
      row,
      segments,
      key,
      ids: [...above, id],
      settled: settled === segments.length - 1 && this.isRowOf(row, stat, path) ? segments.length : settled,
      hidden: false,
      page: [],
      at: 0,
      looked: [],
      pageSize: FIRST_PAGE,
      next: first,
      end: false,
      unchanged: row.stampTrusted && !unread,
      unread,
      bound: bound && bound.bytes.length > 0 ? bound : undefined,
    };
  }

  /** The same of a directory itself. */
  private permitted<T>(path: string, look: () => T | undefined): T | undefined {
    try {
      return look();
    } catch (error) {
      if (errno(error) !== 'EACCES' && errno(error) !== 'EPERM') throw error;
      this.denied(path);
      return undefined;
    }
  }

  private isRowOf({ identity }: DirRow, stat: BigIntStats, path: string): boolean {
    return identity?.equals(identityOf(fingerprint(stat, this.core.mounts.idOf(stat.dev, path)))) === true;
  }

  private async take(frame: Frame): Promise<Entry | undefined> {
    for (;;) {
      const entry = frame.page[frame.at++];
      if (entry) {
        if (frame.unchanged && isGone(entry.value)) continue;
        if (frame.bound && isBefore(frame.bound, entry.name)) continue;
        return entry;
      }
      if (frame.end) return undefined;
      if (frame.unread) {
        await this.readUnrecorded(frame);
        continue;
      }
      frame.page = this.rows.page(frame.row.id, frame.next, frame.pageSize);
      frame.at = 0;
      frame.looked = [];
      frame.end = frame.page.length < frame.pageSize;
      frame.pageSize = Math.min(frame.pageSize * 4, PAGE);
      const last = frame.page.at(-1);
      if (last) frame.next = Buffer.concat([last.name, Buffer.alloc(1)]);
    }
  }

  /** The next names of a directory whose rows are not those of its names, with the rows that they have. */
  private async readUnrecorded(frame: Frame): Promise<void> {
    const names = await this.reader.namesFrom(frame.path, frame.next, UNRECORDED_PAGE);
    frame.page = names.map((name) => ({
      name: Buffer.from(name),
      text: name,
      value: this.core.catalog.index.get('tree', rowKey(frame.row.id, name)) ?? SEEN,
    }));
    frame.at = 0;
    frame.looked = [];
    frame.end = names.length < UNRECORDED_PAGE;
    const last = names.at(-1);
    if (last !== undefined) frame.next = Buffer.concat([Buffer.from(last), Buffer.alloc(1)]);
  }

  /** Beyond the prefix for good: neither within it nor on the way to it. */
  private isPast(key: string): boolean {
    if (this.prefix.length === 0) return false;
    const bytes = Buffer.from(key);
    const length = Math.min(bytes.length, this.prefix.length);
    return bytes.compare(this.prefix, 0, length, 0, length) > 0;
  }
}

/** What is left of a bound below `name`, an entry at its head; undefined if the entry lies beyond it. */
function rest(bound: Bound, name: Buffer): Bound | undefined {
  if (name.at(-1) !== 0x2f || bound.bytes.length < name.length) return undefined;
  if (!bound.bytes.subarray(0, name.length).equals(name)) return undefined;
  return { bytes: bound.bytes.subarray(name.length), inclusive: bound.inclusive };
}

/** First row name that can hold a key at the bound: up to and with its first slash. */
function firstName(bound: Bound): Buffer {
  const slash = bound.bytes.indexOf(0x2f);
  return slash < 0 ? bound.bytes : bound.bytes.subarray(0, slash + 1);
}

/** Whether the first entry of a page still lies before the bound: only its exact name can, when exclusive. */
function isBefore(bound: Bound, name: Buffer): boolean {
  return !bound.inclusive && name.at(-1) !== 0x2f && name.equals(bound.bytes);
}

function isTooLong(key: string): boolean {
  return key.length * 3 > MAX_KEY_BYTES && Buffer.byteLength(key) > MAX_KEY_BYTES;
}

function directoryStat(path: string): BigIntStats | undefined {
  try {
    const stat = lstatSync(path, { bigint: true });
    return stat.isDirectory() ? stat : undefined;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
