/** Listings: the walk over the tree and the overflow objects merged in byte order, rolled up by any delimiter (ListObjects, ListObjectsV2). */
import { S3Error } from '../base/errors.js';
import { REKEYED_COUNTER } from '../catalog/moved.js';
import { escapeNul, pairKey } from '../catalog/rows.js';
import { RowsAtHand } from '../catalog/rows-at-hand.js';
import { stampsOf } from '../fs/stat.js';
import { isPlain } from './at-hand.js';
import type { ListEntry, ListPage, ListQuery } from './contract.js';
import type { Core, Found } from './core.js';
import { describeListed } from './describe.js';
import { adoptLost, noteGone, type Missing } from './ghosts.js';
import type { Identifier } from './identifier.js';
import { markerInfo } from './markers.js';
import type { DirReader } from './dir-reader.js';
import { whereRoom } from './where-room.js';
import { Walker, type Bound, type Listed, type Walked } from './walker.js';

/** Files that nobody has hashed: this much is read a page at most. */
const HASH_BUDGET = 4 << 20;
const OVERFLOW_PAGE = 128;
/** How often a stretch of keys is read again since folders were renamed meanwhile. */
const READINGS = 20;

export class Lister {
  private readonly rows: RowsAtHand<Listed>;

  constructor(
    private readonly core: Core,
    private readonly reader: DirReader,
    private readonly identifier: Identifier,
  ) {
    this.rows = new RowsAtHand(core.catalog.index);
  }

  /** @param denied told of what may not be read and is left out; may throw. */
  async list(bucket: string, query: ListQuery, denied?: (path: string) => void): Promise<ListPage> {
    this.core.bucketDir(bucket);
    if (query.max <= 0) return { entries: [] };
    const begin = (): Merged => new Merged(this.core, this.reader, this.rows, bucket, query.prefix, denied);
    let source = begin();
    let { found, truncated } = await walk(source, query);
    const adopted = whereRoom(() => adoptLost(this.core, source.missing)) === true;
    // what came before a folder was known again has the keys of its old name
    if (adopted || source.rekeyed) {
      source = begin();
      ({ found, truncated } = await walk(source, query));
    }
    const entries = await this.entries(bucket, found);
    whereRoom(() => noteGone(this.core, source.missing));
    const last = found.at(-1);
    return { entries, ...(truncated && last && { next: last.key }) };
  }

  /** What is told of each; files that went meanwhile are left out. */
  private async entries(bucket: string, page: OnPage[]): Promise<ListEntry[]> {
    const { identifier } = this;
    const files = page.filter((one) => 'found' in one);
    let now: (Found | undefined)[] = files.map(({ found }) => found);
    if (files.length > 0) {
      // a file that cannot be read must not spoil the listing
      if (!this.core.options.readOnly) now = await identifier.identifyPage(bucket, files, HASH_BUDGET).catch(() => now);
      identifier.tell(now.filter((found) => found !== undefined));
    }
    const out: ListEntry[] = [];
    let at = 0;
    for (const one of page) {
      if ('listed' in one) out.push(one.listed);
      else if ('marker' in one) out.push(one.marker);
      else if ('prefix' in one) out.push({ prefix: one.prefix });
      else {
        const found = now[at++];
        if (found) out.push(this.tell(bucket, one, found));
      }
    }
    return out;
  }

  /** What is told of a file, which is kept with its row if that is all that decides it. */
  private tell(
    bucket: string,
    { key, found: walked, row }: Extract<OnPage, { found: Found }>,
    found: Found,
  ): ListEntry {
    const info = describeListed(bucket, key, found);
    if (row && found === walked && isPlain(this.core, found)) {
      Object.freeze(info);
      row.known = { stat: stampsOf(found.stat), info, published: found.row?.published === true };
    }
    return info;
  }
}

/** What a page holds, before the files are looked at more closely. `key` is where the next page starts. */
type OnPage = Walked | { key: string; prefix: string };

/** The entries of a page in order. */
async function walk(source: Merged, query: ListQuery): Promise<{ found: OnPage[]; truncated: boolean }> {
  const found: OnPage[] = [];
  for (let bound: Bound | undefined = start(query); bound;) {
    source.seek(bound);
    bound = undefined;
    for (;;) {
      const walked = source.nextNow() ?? (await source.next());
      if (!walked) break;
      const prefix = commonPrefix(walked.key, query);
      // the page after a common prefix starts behind all of it
      if (prefix !== undefined && prefix === query.after) {
        bound = { bytes: successor(prefix), inclusive: true };
        break;
      }
      if (found.length === query.max) return { found, truncated: true };
      if (prefix !== undefined) {
        found.push({ key: prefix, prefix });
        bound = { bytes: successor(prefix), inclusive: true };
        break;
      }
      found.push(walked);
    }
  }
  return { found, truncated: false };
}

/** Inclusive at the prefix, exclusive at `after`. */
function start({ after }: ListQuery): Bound {
  return { bytes: Buffer.from(after), inclusive: after === '' };
}

/** The common prefix that the key rolls up to, if any. */
function commonPrefix(key: string, { prefix, delimiter }: ListQuery): string | undefined {
  if (delimiter === '') return undefined;
  const at = key.indexOf(delimiter, prefix.length);
  return at < 0 ? undefined : key.slice(0, at + delimiter.length);
}

/** The least bytes greater than everything that starts with `prefix`. UTF-8 never has 0xff, so the last byte can be raised. */
export function successor(prefix: string): Buffer {
  const bytes = Buffer.from(prefix);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) + 1;
  return bytes;
}

/**
 * Tree and overflow as one ordered sequence; at the same key the real file wins.
 *
 * Objects move between the two meanwhile (gc, a body in place of a marker), each within one write. So the overflow rows of a stretch of keys are read
 * before its tree: what has left them by then is found in the tree, and the walker looks for what came to them from the tree since. Where a folder is
 * known again under another name, which only the walk finds out, its overflow objects get other keys: the stretch is read again.
 */
class Merged {
  private readonly walker: Walker;
  private readonly overflow: Overflow;
  /** Overflow objects got other keys in its course. */
  rekeyed = false;
  private tree: Walked | undefined;
  private other: Walked | undefined;
  private fresh = false;
  /** Directories that the walker had looked at when it was last known that no overflow object had got another key. */
  private entered = 0;
  /** Where both go on: behind this key, or where they were told to begin. */
  private bound: Bound | string = '';

  constructor(
    core: Core,
    reader: DirReader,
    rows: RowsAtHand<Listed>,
    bucket: string,
    prefix: string,
    denied?: (path: string) => void,
  ) {
    this.walker = new Walker(core, reader, rows, bucket, prefix, denied);
    this.overflow = new Overflow(core, bucket, prefix);
  }

  get missing(): readonly Missing[] {
    return this.walker.missing;
  }

  seek(bound: Bound): void {
    this.bound = bound;
    this.fresh = true;
  }

  /** The next one if only files follow that were read already; undefined says nothing. */
  nextNow(): Walked | undefined {
    const { tree } = this;
    if (this.fresh || this.other || !tree) return undefined;
    const after = this.walker.nextNow();
    if (!after) return undefined;
    this.bound = tree.key;
    this.tree = after;
    return tree;
  }

  async next(): Promise<Walked | undefined> {
    if (this.fresh) await this.read();
    this.fresh = false;
    const { tree, other } = this;
    const order = !other ? -1 : tree ? Buffer.from(tree.key).compare(Buffer.from(other.key)) : 1;
    const first = order > 0 ? other : tree;
    if (!first) return undefined;
    this.bound = first.key;
    if (order <= 0) this.tree = await this.walker.next();
    if (order >= 0) await this.advance();
    if (this.isRekeyed()) await this.read();
    return first;
  }

  private get goesOnAt(): Bound {
    const { bound } = this;
    return typeof bound === 'string' ? { bytes: Buffer.from(bound), inclusive: false } : bound;
  }

  /** Both from the bound on. @throws OperationAborted while folders are renamed all the time. */
  private async read(): Promise<void> {
    const bound = this.goesOnAt;
    for (let reading = 0; reading < READINGS; reading++) {
      this.overflow.seek(bound);
      await this.walker.seek(bound);
      this.tree = await this.walker.next();
      await this.advance();
      if (!this.isRekeyed()) return;
    }
    throw new S3Error('OperationAborted', 'Folders are being renamed by another program. Try again.');
  }

  /** The next of overflow; where its rows are read on, the tree is read again. */
  private async advance(): Promise<void> {
    for (;;) {
      this.other = this.overflow.next();
      if (this.other || !this.overflow.readOn()) return;
      await this.walker.seek(this.goesOnAt);
      this.tree = await this.walker.next();
    }
  }

  /** Whether the rows of overflow that were read have other keys by now. */
  private isRekeyed(): boolean {
    const { entered } = this.walker;
    if (entered === this.entered) return false;
    this.entered = entered;
    if (!this.overflow.isRekeyed()) return false;
    this.rekeyed = true;
    return true;
  }
}

/** Rows are read a page at a time, and only when asked. */
class Overflow {
  private page: { key: Buffer; value: Buffer }[] = [];
  private at = 0;
  private position: Buffer = Buffer.alloc(0);
  private end = false;
  /** See {@link REKEYED_COUNTER}. */
  private count = 0;
  private readonly head: Buffer;

  constructor(
    private readonly core: Core,
    private readonly bucket: string,
    private readonly prefix: string,
  ) {
    this.head = pairKey(core.overflowFolder(bucket), '');
  }

  /** Reads the first page. */
  seek(bound: Bound): void {
    const prefix = Buffer.from(this.prefix);
    const from = prefix.compare(bound.bytes) > 0 ? { bytes: prefix, inclusive: true } : bound;
    this.position = Buffer.concat([
      this.head,
      escapeNul(from.bytes),
      from.inclusive ? Buffer.alloc(0) : Buffer.from([0]),
    ]);
    this.end = false;
    this.count = this.core.catalog.index.number(REKEYED_COUNTER);
    this.readOn();
  }

  /** Whether rows have got other keys since the first page was read. */
  isRekeyed(): boolean {
    return this.core.catalog.index.number(REKEYED_COUNTER) !== this.count;
  }

  /** Reads the next page, which may be empty. @returns false if the last one was read before. */
  readOn(): boolean {
    this.page = [];
    this.at = 0;
    if (this.end) return false;
    const limit = Buffer.concat([this.head, Buffer.from([0xff])]);
    this.page = this.core.catalog.index.page('overflow', this.position, limit, OVERFLOW_PAGE);
    this.end = this.page.length < OVERFLOW_PAGE;
    const last = this.page.at(-1);
    if (last) this.position = Buffer.concat([last.key, Buffer.from([0])]);
    return true;
  }

  /** The next on the page. */
  next(): Walked | undefined {
    for (let entry = this.page[this.at++]; entry; entry = this.page[this.at++]) {
      const key = entry.key.toString('utf8', this.head.length).replaceAll('\0\u0001', '\0');
      if (!key.startsWith(this.prefix)) {
        this.end = true;
        return undefined;
      }
      const walked = this.look(key);
      if (walked) return walked;
    }
    return undefined;
  }

  /** What was in overflow when its row was read; by now it may stand at its path, or be a marker, or have another body. */
  private look(key: string): Walked | undefined {
    const { core, bucket } = this;
    const there = core.findOverflow(bucket, key);
    if (there) return { key, found: there };
    core.catalog.index.refresh();
    const found = core.find(bucket, key);
    if (found) return { key, found };
    const marker = core.findMarker(bucket, key);
    return marker && { key, marker: markerInfo(bucket, key, marker) };
  }
}
