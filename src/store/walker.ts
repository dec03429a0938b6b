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
import { dirStamp, isGone, rowKey, rowName } from '../catalog/rows.js';
import type { ObjectInfo } from './contract.js';
import { MAX_KEY_BYTES, isAbsent, lstatOf, type Core, type Found } from './core.js';
import { identityOf } from '../catalog/identities.js';
import { fingerprint } from '../fs/fingerprint.js';
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

export type Walked = { key: string; found: Found } | { key: string; marker: ObjectInfo };

interface Entry {
  name: Buffer;
  /** Its row. */
  value: Buffer;
  /** Its file, if several were looked at together. */
  found?: Found;
}

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
  page: Entry[];
  at: number;
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
    private readonly bucket: string,
    prefix: string,
    /** Told of what may not be read and is passed over; may throw to end the walk. */
    private readonly denied: (path: string) => void = () => undefined,
  ) {
    this.bucketDirs = core.bucketDirs(bucket);
    this.bucketPath = core.pathOf(this.bucketDirs);
    this.prefix = Buffer.from(prefix);
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
      const frame = this.stack.at(-1);
      if (!frame) return undefined;
      const entry = await this.take(frame);
      if (!entry) {
        this.stack.pop();
        continue;
      }
      const bound = frame.bound;
      frame.bound = undefined;
      const name = entry.name.toString('utf8');
      const key = frame.key + name;
      if (this.isPast(key)) {
        this.stack = [];
        return undefined;
      }
      const inner = bound && rest(bound, entry.name);
      if (name.endsWith('/')) {
        const walked = await this.directory(frame, name.slice(0, -1), key, inner);
        if (walked) return walked;
      } else if (this.isWithin(key) && Buffer.byteLength(key) <= MAX_KEY_BYTES) {
        const found = this.readable(frame, name, () => this.file(frame, name, entry));
        if (found) return { key, found };
        if (!isGone(entry.value) && this.missing.length < MAX_MISSING)
          this.missing.push({ dirs: frame.segments, name });
      }
    }
  }

  /** Enters a directory; its marker comes first. */
  private async directory(
    frame: Frame,
    name: string,
    key: string,
    bound: Bound | undefined,
  ): Promise<Walked | undefined> {
    // nothing that is below it can be asked for
    if (Buffer.byteLength(key) > MAX_KEY_BYTES) return undefined;
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
    if (!wanted || !this.isWithin(key)) return undefined;
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

  private file(frame: Frame, name: string, entry: Entry): Found | undefined {
    if (!entry.found) this.lookAhead(frame);
    const found = entry.found ?? this.lookCloser(frame, name);
    if (!found) return undefined;
    if (found.row?.published === true) return found;
    const hidden = frame.hidden || this.core.excludes.entry([...frame.segments, name], this.bucketDirs.length, false);
    return hidden ? undefined : found;
  }

  private lookCloser({ path, segments: dirs }: Frame, name: string): Found | undefined {
    const dir = this.core.openDir(path);
    return dir && this.core.statFile(dir, name, this.bucketPath, { kind: 'tree', dirs, name });
  }

  /** Looks at the file just taken and at those behind it: the page will most likely tell them all. */
  private lookAhead(frame: Frame): void {
    const files = frame.page.slice(frame.at - 1, frame.at - 1 + AHEAD).filter(({ name }) => name.at(-1) !== 0x2f);
    const found = this.core.statFiles(
      frame.path,
      files.map(({ name, value }) => ({
        place: { kind: 'tree', dirs: frame.segments, name: name.toString('utf8') },
        row: value,
      })),
    );
    for (const [i, one] of files.entries()) {
      const there = found[i];
      if (there) one.found = there;
    }
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
      pageSize: FIRST_PAGE,
      next: rowKey(row.id, first),
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
      const page = this.core.catalog.index.page('tree', frame.next, rowKey(frame.row.id + 1, ''), frame.pageSize);
      frame.page = page.map(({ key, value }) => ({ name: Buffer.from(rowName(key)), value }));
      frame.at = 0;
      frame.end = page.length < frame.pageSize;
      frame.pageSize = Math.min(frame.pageSize * 4, PAGE);
      const last = page.at(-1);
      if (last) frame.next = Buffer.concat([last.key, Buffer.from([0])]);
    }
  }

  /** The next names of a directory whose rows are not those of its names, with the rows that they have. */
  private async readUnrecorded(frame: Frame): Promise<void> {
    const from = rowName(frame.next);
    const names = await this.reader.namesFrom(frame.path, from, UNRECORDED_PAGE);
    frame.page = names.map((name) => ({
      name: Buffer.from(name),
      value: this.core.catalog.index.get('tree', rowKey(frame.row.id, name)) ?? SEEN,
    }));
    frame.at = 0;
    frame.end = names.length < UNRECORDED_PAGE;
    const last = names.at(-1);
    if (last !== undefined) frame.next = rowKey(frame.row.id, Buffer.concat([Buffer.from(last), Buffer.alloc(1)]));
  }

  private isWithin(key: string): boolean {
    return this.prefix.length === 0 || Buffer.from(key).subarray(0, this.prefix.length).equals(this.prefix);
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

function directoryStat(path: string): BigIntStats | undefined {
  try {
    const stat = lstatSync(path, { bigint: true });
    return stat.isDirectory() ? stat : undefined;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
