/** Reads the journal as a feed of changes; see changes-contract.ts. */
import { errno } from '../base/errors.js';
import { NO_FINGERPRINT, placeOf, split, type Place } from '../catalog/catalog.js';
import type { Append, Subject, Via } from '../catalog/lines.js';
import { Merge, type Event } from '../catalog/merge.js';
import { dirsOf, overflowBelow, type MovedDir } from '../catalog/moved.js';
import { childPages } from '../catalog/children.js';
import { decodeRow, isPresent, type DirRow, type FileRow } from '../catalog/rows.js';
import { baseOf } from '../catalog/segments.js';
import { fingerprintSize, formatFingerprint, parseFingerprint } from '../fs/fingerprint.js';
import { UNCERTAIN, type Change, type ChangeReader, type Position } from './changes-contract.js';
import type { Core } from './core.js';
import { EMPTY_ETAG } from './describe.js';
import { FormerKeys } from './former-keys.js';

/** Files of which is remembered what was told. */
const TOLD_LIMIT = 100_000;
type Facts = Pick<Change, 'size' | 'etag'>;
type Row = DirRow | FileRow;
/** What is remembered of a marker that was told of, in place of a file's fingerprint; its path ends in `/`. */
export const MARKER = '/';
/** Of a marker. */
const NOTHING: Facts = { size: 0, etag: EMPTY_ETAG };

export class JournalReader implements ChangeReader {
  private merge: Merge;
  private readonly toldOf = new Map<string, string>();
  /** Those of them that were told by rows as they were when a rename was read: who read it before knows nothing of what has changed since. */
  private readonly uncertain = new Set<string>();
  /** Changes of a line that makes many: a folder was renamed. */
  private many: Iterator<Change> | undefined;
  private readonly former = new FormerKeys();
  /** Paths below them whose bytes came after the rename: a line that is yet to be read tells of them. */
  private readonly owed = new Set<string>();
  /** Of the line whose changes were given last. */
  private last: number;
  /** What is not behind this was given, or not asked for. */
  private floor: number;
  /** Lines may be missing before the next one. */
  private gap: boolean;
  /** Number up to which was read. */
  private seen = -1;
  private offsets: Readonly<Record<string, number>>;
  private lost = 0;

  constructor(
    private readonly core: Core,
    private readonly names: (place: Place, marker: boolean) => Change['names'],
    from: Position,
  ) {
    this.offsets = from.segments ?? {};
    this.last = this.floor = from.seq;
    this.merge = this.open();
    // a compacted segment speaks for what was before the least that is left
    this.gap = (baseOf(core.catalog.journal.directory)?.upTo ?? 0) > from.seq;
  }

  next(max: number): Change[] {
    const out: Change[] = [];
    const { index } = this.core.catalog;
    index.refresh();
    // while the index is made anew its number says nothing
    const now = index.ready ? index.number('seq') : this.seen;
    if (now > this.seen) {
      this.gap ||= (baseOf(this.core.catalog.journal.directory)?.upTo ?? 0) > Math.max(this.last, this.seen);
      this.merge.more();
      this.seen = now;
    }
    try {
      this.collect(out, max);
    } catch (error) {
      if (errno(error) !== 'ENOENT') throw error;
      // compacted away while it was read
      this.floor = this.last;
      this.offsets = {};
      this.gap = true;
      this.merge = this.open();
    }
    return out;
  }

  private collect(out: Change[], max: number): void {
    while (out.length < max) {
      const change = this.takeMany();
      if (change) {
        out.push(change);
        continue;
      }
      const next = this.merge.peek();
      // a line behind the number is of a write that has not ended yet, or never will
      if (next < 0 || next > this.seen) break;
      const event = this.merge.next();
      if (!event || event.line.seq <= this.floor) continue;
      if (this.gap) this.lost += Math.max(0, event.line.seq - this.last - 1);
      this.gap = false;
      this.last = event.line.seq;
      out.push(...this.changesOf(event));
    }
  }

  position(): Position {
    if (this.merge.peek() < 0 && !this.many) {
      this.offsets = Object.fromEntries(this.merge.ends().settled);
      return { seq: this.last, segments: this.offsets };
    }
    // what is under way is given again, and a rename by which later lines have to be read
    const last = this.many ? this.last - 1 : this.last;
    const held = this.former.firstHeld(this.last) ?? Infinity;
    return { seq: Math.min(last, held - 1), segments: this.offsets };
  }

  takeLost(): number {
    const { lost } = this;
    this.lost = 0;
    return lost;
  }

  told(path: string): string | undefined {
    return this.uncertain.has(path) ? UNCERTAIN : this.toldOf.get(path);
  }

  private open(): Merge {
    const from = (segment: string): number => this.offsets[segment] ?? 0;
    return new Merge(this.core.catalog.journal.directory, from, () => undefined, true);
  }

  private takeMany(): Change | undefined {
    const next = this.many?.next();
    if (next && next.done !== true) return next.value;
    this.many = undefined;
    return undefined;
  }

  private changesOf(event: Event): Change[] {
    const { line, prepare } = event;
    switch (line.op) {
      case 'commit': {
        if (prepare?.op !== 'prepare') return [];
        const time = Number(BigInt(line.ctime) / 1_000_000n);
        const via: Via = { ...(prepare.via ?? { event: '' }), time };
        const before = this.goneBefore(prepare, line.seq, via, line.over === true);
        if (prepare.from) before.push(...this.goneBefore(prepare.from, line.seq, via));
        // first: an overflow object that goes to its path has that in both
        if (prepare.from) this.tell(prepare.from, '');
        this.tell(prepare, prepare.bytes.fp);
        if (!prepare.via) return [];
        const gone = [...before, ...(prepare.from ? this.removed(line.seq, prepare.from, via) : [])];
        return [...gone, ...this.change(line.seq, prepare, via, bytesFacts(prepare.bytes))];
      }
      case 'appended':
        if (prepare?.op !== 'append') return [];
        return this.appended(line, prepare);
      case 'delete':
        return this.deleted(line);
      case 'facts':
        return [...this.owedOf(line), ...(line.via ? this.change(line.seq, line, line.via) : [])];
      case 'hash':
        return this.owedOf(line);
      case 'marker':
        return this.marked(line);
      case 'unmark': {
        if (!line.via) return [];
        const before = this.goneBefore(line, line.seq, line.via, true, true);
        this.toldMarker(line, '');
        return [...before, ...this.change(line.seq, line, line.via, {}, true)];
      }
      case 'seen':
        if (line.path.endsWith('/')) return this.outsideMarker(line);
        return this.seenFile(line);
      case 'moved':
        if (line.bytes === undefined) {
          const identity = prepare?.op === 'moving' ? prepare.identity : undefined;
          this.many = this.remembered(line, line.via ? this.ours(line, line.via, identity) : this.below(line));
          return [];
        }
        if (line.missed) return [];
        if (line.gone !== undefined) return this.went(line.seq, line.gone, line.path);
        return this.movedFile(line.seq, line.from, line.path, line.bytes);
      default:
        return [];
    }
  }

  private marked(line: Extract<Event['line'], { op: 'marker' }>): Change[] {
    const { seq, via } = line;
    if (!via) return [];
    const from = line.from === undefined ? undefined : { path: line.from };
    const before = from ? this.goneBefore(from, seq, via, true, true) : [];
    this.toldMarker(line, MARKER);
    if (from) this.toldMarker(from, '');
    const made = this.change(seq, line, via, NOTHING, true);
    return from ? [...before, ...this.removed(seq, from, via, true), ...made] : made;
  }

  private deleted(line: Extract<Event['line'], { op: 'delete' }>): Change[] {
    const { seq, via } = line;
    // what is known of a key, and no object, was removed: of what another program has taken away another line tells
    if (!via) return [];
    const isFile = !('path' in line) || !line.path.endsWith('/');
    const before = isFile ? this.goneBefore(line, seq, via) : [];
    if (isFile) this.tell(line, '');
    return [...before, ...this.change(seq, line, via)];
  }

  private appended(line: Extract<Event['line'], { op: 'appended' }>, prepare: Append): Change[] {
    const { seq, fp } = line;
    const { via } = prepare;
    const before = via ? this.goneBefore(prepare, seq, via) : [];
    this.tell(prepare, fp);
    if (!via) return [];
    return [...before, ...this.change(seq, prepare, via, bytesFacts({ ...prepare.bytes, fp }))];
  }

  /**
   * Keys that an object had before the renames of its folder, where these have not told of it: its bytes were replaced, or it went, before they were
   * read, so nothing was known any more of what it had been. They are gone, too.
   * @param was whether there was an object that the line takes away.
   */
  private goneBefore(subject: Subject, seq: number, via: Via, was = true, marker = false, late = false): Change[] {
    if (!('path' in subject)) return [];
    const path = marker ? `${subject.path}/` : subject.path;
    const owed = this.owed.delete(path) || this.toldOf.get(path) === undefined;
    if (!owed || !was) return [];
    const keys = this.keysBefore(path, seq, late);
    for (const key of keys) this.tell({ path: key }, '');
    return keys.flatMap((key) => this.removed(seq, { path: marker ? key.slice(0, -1) : key }, via, marker));
  }

  /** The same of what other programs did. */
  private goneOutside(path: string, seq: number, time: number, marker = false, late = false): Change[] {
    const subject = { path: marker ? path.slice(0, -1) : path };
    const gone = this.goneBefore(subject, seq, { event: '', time }, true, marker, late);
    return gone.map((change): Change => ({ ...change, outside: true }));
  }

  /** @param late see {@link FormerKeys.of}. */
  private keysBefore(path: string, seq: number, late: boolean): string[] {
    const paths = this.former.of(path, seq, late);
    return paths.filter((one) => this.toldOf.get(one) !== '' && !this.stands(one)).reverse();
  }

  /** Changes of a rename; what the lines behind it have made of its objects meanwhile is told when these are read. */
  private *remembered(line: MovedDir, changes: Iterable<Change>): Generator<Change> {
    const done = this.former.begin(line);
    yield* changes;
    const { index } = this.core.catalog;
    done(Math.max(this.seen, index.ready ? index.number('seq') : 0));
  }

  private removed(seq: number, from: Subject, via: Via, marker = false): Change[] {
    return this.change(seq, from, { ...via, event: 'ObjectRemoved:Delete' }, {}, marker);
  }

  private change(seq: number, subject: Subject, via: Via, facts: Facts = {}, marker = false): Change[] {
    const names = this.names(placeOf(subject), marker);
    if (names.length === 0) return [];
    return [{ seq, names, ...facts, ...via }];
  }

  /** @param fp '' if it is gone. Nothing if that was told already. */
  private outside(seq: number, time: number, path: string, fp: string | undefined, etag = ''): Change[] {
    if (fp === undefined || this.toldOf.get(path) === fp) return [];
    if (fp === '') return this.goneFrom(seq, time, path);
    this.tell({ path }, fp);
    const names = this.names(placeOf({ path }), false);
    if (names.length === 0) return [];
    return [{ seq, time, event: 'ObjectCreated:Put', names, outside: true, ...bytesFacts({ fp, etag }) }];
  }

  /** What another program took away; where an overflow object has the key, that is what it has now. @param path of a marker it ends in `/`. */
  private goneFrom(seq: number, time: number, path: string): Change[] {
    const told = this.toldOf.get(path);
    this.tell({ path }, '');
    const gone: Change['names'] = [];
    const others: Change[] = [];
    for (const name of this.namesAt(path)) {
      const row = this.overflowAt(name);
      if (!row) {
        gone.push(name);
        continue;
      }
      const fp = formatFingerprint(row.fp);
      this.tell({ path }, fp);
      if (fp === told) continue;
      const facts = bytesFacts({ fp, etag: row.etag });
      others.push({ seq, time, event: 'ObjectCreated:Put', names: [name], outside: true, ...facts });
    }
    return gone.length === 0
      ? others
      : [{ seq, time, event: 'ObjectRemoved:Delete', names: gone, outside: true }, ...others];
  }

  private namesAt(path: string): Change['names'] {
    const marker = path.endsWith('/');
    return this.names(placeOf({ path: marker ? path.slice(0, -1) : path }), marker);
  }

  private overflowAt({ bucket, key }: Change['names'][number]): FileRow | undefined {
    return this.core.findOverflow(bucket, key)?.row;
  }

  private seenFile(line: Extract<Event['line'], { op: 'seen' }>): Change[] {
    const { seq, time, path, event, fp, etag } = line;
    const gone = event === 'removed' || this.owed.has(path) ? this.goneOutside(path, seq, time, false, true) : [];
    return [...gone, ...this.outside(seq, time, path, event === 'created' ? fp : '', etag)];
  }

  /** What was left to a line that does not change a file's bytes: they were in the folder when it was renamed. */
  private owedOf(line: { seq: number } & Subject): Change[] {
    if (!('path' in line) || !this.owed.has(line.path)) return [];
    const row = this.core.catalog.row(placeOf(line));
    const time = Date.now();
    const gone = this.goneOutside(line.path, line.seq, time, false, true);
    if (!row || !isPresent(row)) return gone;
    return [...gone, ...this.outside(line.seq, time, line.path, formatFingerprint(row.fp), row.etag)];
  }

  /** A file was missed when its folder was renamed, at its old key. */
  private went(seq: number, time: number, path: string): Change[] {
    return [...this.goneOutside(path, seq, time), ...this.outside(seq, time, path, '')];
  }

  private outsideMarker({ seq, time, path, event }: Extract<Event['line'], { op: 'seen' }>): Change[] {
    const now = event === 'created' ? MARKER : '';
    if (this.toldOf.get(path) === now) return [];
    if (now === '') return [...this.goneOutside(path, seq, time, true, true), ...this.goneFrom(seq, time, path)];
    this.tell({ path }, now);
    const names = this.namesAt(path);
    if (names.length === 0) return [];
    return [{ seq, time, event: 'ObjectCreated:Put', names, outside: true, ...NOTHING }];
  }

  private movedFile(seq: number, from: string, path: string, bytes: { fp: string; etag: string }): Change[] {
    if (this.toldOf.get(path) === bytes.fp) return [];
    const time = Date.now();
    // whether it came upon another nobody knows: a removal too many does no harm
    const gone = this.owed.has(path) ? this.goneOutside(path, seq, time, false, true) : [];
    return [...gone, ...this.went(seq, time, from), ...this.outside(seq, time, path, bytes.fp, bytes.etag)];
  }

  /** Every object below a folder that another program renamed: gone there, and new here. The rows are under its new name already. */
  private *below({ seq, from: last, was, path: to, overflow }: MovedDir): Generator<Change> {
    // a path that begins with / is of a folder that was lost meanwhile
    if (to.startsWith('/')) return;
    const { catalog } = this.core;
    const from = was ?? last;
    const lost = from.startsWith('/');
    const top = catalog.findDir(dirsOf(to));
    if (top?.marker) yield* this.renamed(seq, { path: from.slice(0, -1) }, { path: to.slice(0, -1) }, NOTHING, true);
    for (const { path, row } of top ? this.rows(top.id) : []) {
      if (row.kind === 'dir') {
        if (row.marker && !this.isLeft(row))
          yield* this.renamed(seq, { path: from + path }, { path: to + path }, NOTHING, true);
        continue;
      }
      // left here afterwards: another line tells of it
      if (row.goneAt !== undefined && row.seq > seq) continue;
      // of what nobody has looked at a scan will tell
      if (row.dangling || row.fp.equals(NO_FINGERPRINT) || this.isNew(to + path, row)) continue;
      // the line that the row is of tells more: whether it was there at all when the folder was renamed
      const laterLine = row.goneAt === undefined && row.seq > seq;
      if (laterLine && this.toldOf.get(from + path) === undefined && this.owed.size < TOLD_LIMIT) {
        this.owed.add(to + path);
        continue;
      }
      if (!lost && !this.stands(from + path)) yield* this.went(seq, Date.now(), from + path);
      // what had no file then stayed behind: it went afterwards, from its new key
      if (row.goneAt !== undefined) continue;
      yield* this.outside(seq, Date.now(), to + path, formatFingerprint(row.fp), row.etag);
    }
    if (!overflow) return;
    // a lost folder has no name, but had one
    const [bucket = '', ...below] = dirsOf(from);
    const prefix = below.map((name) => `${name}/`).join('');
    for (const { key, row } of overflowBelow(catalog, overflow.to, seq)) {
      const old = { bucket, key: prefix + key.slice(overflow.to.key.length) };
      const facts = bytesFacts({ fp: formatFingerprint(row.fp), etag: row.etag });
      const now = { bucket: overflow.to.bucket, key };
      if (!this.isAside(now)) yield* this.renamed(seq, old, now, facts);
    }
  }

  /** Whether a marker was missed where no folder was ever seen: it was left there, with what was said of its key, by one that had the name before. */
  private isLeft({ id, identity }: DirRow): boolean {
    return identity === undefined && this.core.catalog.missed.get(id) !== undefined;
  }

  /** Whether nobody has been told yet of a file, which came to its path after the rename: another line will tell of it. */
  private isNew(path: string, { fp }: FileRow): boolean {
    const segments = split(path);
    const untold = this.core.catalog.untold.of(segments.slice(0, -1), segments.at(-1) ?? '');
    return untold?.fresh === true && untold.fp === formatFingerprint(fp);
  }

  /** What has no path of its own went with a folder that another program renamed. */
  private *renamed(seq: number, from: Subject, to: Subject, facts: Facts, marker = false): Generator<Change> {
    const via = { event: 'ObjectCreated:Put', time: Date.now() };
    const isGone = !this.isThere(from, marker);
    const before = isGone ? this.goneBefore(from, seq, via, marker, marker) : [];
    const goes = isGone && !(marker && this.toldMarker(from, ''));
    const comes = !(marker && this.toldMarker(to, MARKER));
    const changes = [
      ...before,
      ...(goes ? this.removed(seq, from, via, marker) : []),
      ...(comes ? this.change(seq, to, via, facts, marker) : []),
    ];
    for (const change of changes) yield { ...change, outside: true };
  }

  /** Whether that was told of it already; from now on it was. */
  private toldMarker(subject: Subject, what: string): boolean {
    if (!('path' in subject)) return false;
    const path = `${subject.path}/`;
    const before = this.toldOf.get(path);
    this.tell({ path }, what);
    return before === what;
  }

  private isThere(subject: Subject, marker: boolean): boolean {
    if (marker && 'path' in subject) return this.stands(`${subject.path}/`);
    return this.core.catalog.row(placeOf(subject)) !== undefined;
  }

  /** The same of one that we renamed, with markers and with objects whose keys are no paths. It is known by its identity if it went on since. */
  private *ours(
    { seq, from, path: to, overflow }: MovedDir,
    via: Via,
    identity: string | undefined,
  ): Generator<Change> {
    const { catalog } = this.core;
    const seen = identity === undefined ? undefined : catalog.identities.find(Buffer.from(identity, 'hex'));
    const id = seen?.kind === 'dir' ? seen.id : catalog.findDir(split(to.slice(0, -1)))?.id;
    const top = id === undefined ? undefined : catalog.dirById(id);
    if (top?.marker)
      yield* this.carried(seq, { path: from.slice(0, -1) }, { path: to.slice(0, -1) }, via, NOTHING, true);
    for (const { path, row } of id === undefined ? [] : this.rows(id)) {
      const [old, now] = [{ path: from + path }, { path: to + path }];
      if (row.kind === 'dir') {
        // as of files below
        const missed = row.marker && catalog.missed.get(row.id);
        if (row.marker && !(missed !== undefined && missed < via.time))
          yield* this.carried(seq, old, now, via, NOTHING, true);
        continue;
      }
      // what had no file then stayed behind: it went afterwards, from its new key
      if (row.dangling || this.isNew(now.path, row)) continue;
      if (row.goneAt !== undefined) {
        if (row.goneAt < via.time || this.stands(old.path)) continue;
        yield* this.goneBefore(old, seq, via);
        this.tell(old, '');
        yield* this.removed(seq, old, via);
        continue;
      }
      const fp = formatFingerprint(row.fp);
      // a later line tells of these bytes, and whether there were others when the folder was renamed
      const later = row.seq > seq && Number(row.ctimeNs / 1_000_000n) > via.time;
      if (later && this.toldOf.get(old.path) !== fp && this.owed.size < TOLD_LIMIT) {
        this.owed.add(now.path);
        continue;
      }
      yield* this.goneBefore(old, seq, via);
      this.tell(old, '');
      this.tell(now, fp);
      yield* this.carried(seq, old, now, via, bytesFacts({ fp, etag: row.etag }));
    }
    if (!overflow) return;
    for (const { key, row } of overflowBelow(catalog, overflow.to, seq)) {
      const old = { bucket: overflow.from.bucket, key: overflow.from.key + key.slice(overflow.to.key.length) };
      const facts = bytesFacts({ fp: formatFingerprint(row.fp), etag: row.etag });
      const now = { bucket: overflow.to.bucket, key };
      if (!this.isAside(now)) yield* this.carried(seq, old, now, via, facts);
    }
  }

  /** Whether an overflow object is kept aside for a file, which is what its key has, and went with it. */
  private isAside(subject: Extract<Subject, { key: string }>): boolean {
    const row = subject.key.endsWith('/') ? undefined : this.core.catalog.row(placeOf({ path: pathOf(subject) }));
    return row !== undefined && isPresent(row);
  }

  private carried(seq: number, from: Subject, to: Subject, via: Via, facts: Facts, marker = false): Change[] {
    const before = marker ? this.goneBefore(from, seq, via, true, true) : [];
    if (marker) this.toldMarker(from, '');
    if (marker) this.toldMarker(to, MARKER);
    return [...before, ...this.removed(seq, from, via, marker), ...this.change(seq, to, via, facts, marker)];
  }

  /** Rows of all that lies below a directory, with paths from it on; those of directories and of files that are gone, too. */
  private *rows(id: number): Generator<{ path: string; row: Row }> {
    const { index, away } = this.core.catalog;
    const folders = [{ id, path: '' }];
    for (let folder = folders.pop(); folder; folder = folders.pop()) {
      for (const page of childPages(index, folder.id)) {
        for (const { name, value } of page) {
          const row = decodeRow(value);
          // it will be told of where it turns up, or once it has not
          if (row.kind === 'dir' && away.get(row.id)) continue;
          const path = folder.path + (row.kind === 'dir' ? name.slice(0, -1) : name);
          if (row.kind === 'dir') folders.push({ id: row.id, path: `${path}/` });
          yield { path, row };
        }
      }
    }
  }

  /** Whether another file, or marker, is known there by now, or an overflow object. */
  private stands(path: string): boolean {
    if (this.namesAt(path).some((name) => this.overflowAt(name) !== undefined)) return true;
    if (path.endsWith('/')) return this.core.catalog.findDir(dirsOf(path))?.marker !== undefined;
    const row = this.core.catalog.row(placeOf({ path }));
    return row !== undefined && isPresent(row);
  }

  /** An overflow object is remembered by the path that its key would be. */
  private tell(subject: Subject, fp: string): void {
    const path = 'path' in subject ? subject.path : pathOf(subject);
    this.toldOf.delete(path);
    this.toldOf.set(path, fp);
    if (this.many) this.uncertain.add(path);
    else this.uncertain.delete(path);
    const oldest = this.toldOf.size > TOLD_LIMIT ? this.toldOf.keys().next() : undefined;
    if (oldest?.done !== false) return;
    this.toldOf.delete(oldest.value);
    this.uncertain.delete(oldest.value);
  }
}

function pathOf({ bucket, key }: Extract<Subject, { key: string }>): string {
  return bucket === '.' ? key : `${bucket}/${key}`;
}

/** Of a file that nobody has looked at not even the size is known. */
function bytesFacts({ fp, etag }: { fp: string; etag: string }): Facts {
  const bytes = parseFingerprint(fp);
  return { ...(!bytes.equals(NO_FINGERPRINT) && { size: fingerprintSize(bytes) }), ...(etag !== '' && { etag }) };
}
