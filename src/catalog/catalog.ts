/**
 * The catalog: index and journal as one. It answers what is known of a place and records what happens to it; whether the file is
 * really there is for the store to check by stat.
 */
import { join } from 'node:path';
import { FINGERPRINT_BYTES, formatFingerprint, parseFingerprint } from '../fs/fingerprint.js';
import { isFull } from '../fs/statefile.js';
import type { KeyFacts } from '../base/model.js';
import { Seen } from '../base/turn.js';
import { Appends } from './appends.js';
import { hasChildren } from './children.js';
import { ClientTokens } from './client-tokens.js';
import { Identities, identityOf } from './identities.js';
import { Journal, listSegments, readTail } from './journal.js';
import type { Appended, ByteFacts, CompletedUpload, JournalLine, Subject } from './lines.js';
import { NotReady, ROOT_ID, type Index } from './lmdb.js';
import type { AwayDir, LostDir } from './lost-dirs.js';
import { Untold } from './untold.js';
import { Records } from './records.js';
import {
  decodeRow,
  dirIdOf,
  encodeRow,
  pairKey,
  rowKey,
  withoutAccess,
  type DirRow,
  type FileRow,
  type Layout,
} from './rows.js';

/** Where an object lies: a path below the root, or an overflow object of a bucket. */
export type Place =
  { kind: 'tree'; dirs: readonly string[]; name: string } | { kind: 'overflow'; bucket: string; key: string };

type Prepare = Extract<JournalLine, { op: 'prepare' }>;
type Moving = Extract<JournalLine, { op: 'moving' }>;
/** Another program renamed a file. */
export type MovedFile = Extract<JournalLine, { op: 'moved'; bytes: ByteFacts }>;

/** How long (ms) the answer of a completed upload is remembered for retries. */
const REMEMBER_MS = 24 * 3_600_000;

/** What is remembered of a completed upload. */
export interface Completed extends CompletedUpload {
  bytes: Omit<ByteFacts, 'layout'>;
  facts: KeyFacts;
  partCount?: number;
}

export class Catalog {
  private readonly dirsSeen = new Seen<number | undefined>();
  readonly identities: Identities;
  /** By number. */
  readonly lost: Records<LostDir>;
  /** By id. */
  readonly away: Records<AwayDir>;
  /** Since when (ms) the folder of a marker has been missed, by id. Of files their rows say so. */
  readonly missed: Records<number>;
  private readonly done: Records<Completed>;
  readonly untold: Untold;
  readonly appends: Appends;
  readonly clientTokens: ClientTokens;
  /** Tells the identity of the directory that stands at a path now; a replay, which speaks of the past, does not ask. */
  world: ((dirs: readonly string[]) => Buffer | undefined) | undefined;
  /** Tells the fingerprint of the file that stands at a place now; for an overflow object, of the body with this name, else of its row's. */
  standing: ((place: Place, file?: string) => Buffer | undefined) | undefined;
  private readonly dirIds = new InWrite<number>();
  private readonly waysNoted = new InWrite<true>();
  private replaying = false;
  /** The highest sequence number that this process has given. */
  private given = 0;

  constructor(
    readonly index: Index,
    readonly journal: Journal,
  ) {
    this.identities = new Identities(index);
    this.lost = new Records(index, 'lost');
    this.away = new Records(index, 'away');
    this.missed = new Records(index, 'missed');
    this.done = new Records(index, 'done');
    this.untold = new Untold(index);
    this.appends = new Appends(index);
    this.clientTokens = new ClientTokens(index);
  }

  /** What is recorded from now on, or no longer, is of the past: it says nothing of the tree as it is. Only inside one write. */
  replay(on: boolean): void {
    this.replaying = on;
  }

  /** Row of a directory given by its segments below the root. */
  findDir(dirs: readonly string[]): DirRow | undefined {
    const lost = dirs[0] === '' ? dirs[1] : undefined;
    let row = this.index.row(0, `${lost ?? ''}/`);
    for (const name of lost === undefined ? dirs : dirs.slice(2)) {
      if (row?.kind !== 'dir') return undefined;
      row = this.index.row(row.id, `${name}/`);
    }
    return row?.kind === 'dir' ? row : undefined;
  }

  private rowKeySeen({ dirs, name }: Extract<Place, { kind: 'tree' }>): Buffer | undefined {
    const id = this.dirIdSeen(dirs);
    return id === undefined ? undefined : rowKey(id, name);
  }

  private dirIdSeen(dirs: readonly string[]): number | undefined {
    return this.dirsSeen.get(dirs.join('/'), () => this.findDirId(dirs));
  }

  /** Names what the index says of a directory, as it was seen in this turn: where it has the same name again, no row in it is another one. */
  stateSeen(dirs: readonly string[]): string | undefined {
    const id = this.dirIdSeen(dirs);
    return id === undefined ? undefined : this.index.stateSeen(id);
  }

  /** The same, its id only: the rest is not decoded. */
  private findDirId(dirs: readonly string[]): number | undefined {
    if (dirs[0] === '') return this.findDir(dirs)?.id;
    let id: number | undefined = 0;
    for (let depth = 0; depth <= dirs.length && id !== undefined; depth++) {
      const bytes = this.index.get('tree', rowKey(id, `${depth === 0 ? '' : (dirs[depth - 1] ?? '')}/`));
      id = bytes && dirIdOf(bytes);
    }
    return id;
  }

  /** Rows of all directories on the way to one, that of the root first, as far as they are known: each is asked for once. */
  dirsDown(dirs: readonly string[]): DirRow[] {
    const rows: DirRow[] = [];
    let row = this.index.row(0, '/');
    for (const name of dirs) {
      if (row?.kind !== 'dir') return rows;
      rows.push(row);
      row = this.index.row(row.id, `${name}/`);
    }
    if (row?.kind === 'dir') rows.push(row);
    return rows;
  }

  /** The same by its id. */
  dirById(id: number): DirRow | undefined {
    const place = this.identities.placeOf(id);
    const row = place && this.index.row(place.parent, place.name);
    return row?.kind === 'dir' ? row : undefined;
  }

  /** The same, made where missing. Only inside a write. */
  ensureDir(dirs: readonly string[]): DirRow {
    const lost = dirs[0] === '' ? dirs[1] : undefined;
    let row = this.ensureRoot();
    if (lost !== undefined) row = this.findDir(dirs.slice(0, 2)) ?? this.newDir(0, ['', lost]);
    for (const [i, name] of dirs.entries()) {
      if (lost !== undefined && i < 2) continue;
      const found = this.index.row(row.id, `${name}/`);
      row = found?.kind === 'dir' ? found : this.newDir(row.id, dirs.slice(0, i + 1));
    }
    return row;
  }

  /** Changes a directory's row. Only inside a write. */
  changeDir(dirs: readonly string[], change: (row: DirRow) => void): DirRow {
    const row = this.ensureDir(dirs);
    change(row);
    const name = dirs.at(-1);
    const parent = name === undefined ? 0 : this.ensureDir(dirs.slice(0, -1)).id;
    this.index.putRow(parent, name === undefined ? '/' : `${name}/`, row);
    return row;
  }

  /** The same by its id, whatever path it has by now; nothing if it is known no more. */
  changeDirById(
    id: number,
    change: (row: DirRow) => void,
    wants: (row: DirRow) => boolean = () => true,
  ): DirRow | undefined {
    const place = this.identities.placeOf(id);
    const row = place && this.index.row(place.parent, place.name);
    if (!place || row?.kind !== 'dir') return undefined;
    if (!wants(row)) return row;
    change(row);
    this.index.putRow(place.parent, place.name, row);
    return row;
  }

  /** We have made a directory. Only inside a write. @param stays also when it falls empty. */
  setMade(dirs: readonly string[], stays = false): void {
    this.changeDir(dirs, (row) => {
      if (!stays) row.made = true;
      // in a replay it may have been there for long
      if (!row.stamp && !this.replaying) row.fresh = true;
    });
  }

  /** A client put `dir/`, or said something of it. Only inside a write. */
  setMarker(dirs: readonly string[], marker: NonNullable<DirRow['marker']>, seq: number): void {
    const owned = (marker.facts.acl ?? marker.facts.owner) !== undefined;
    const { id } = this.changeDir(dirs, (row) => {
      row.marker = owned ? { ...marker, home: topOf(dirs) } : marker;
      row.seq = seq;
    });
    this.missed.remove(id);
  }

  /** Forgets a directory that was removed, unless rows below it keep facts of files that may come back. Only inside a write. */
  dropDir(dirs: readonly string[]): void {
    const row = dirs.length > 0 ? this.findDir(dirs) : undefined;
    if (row) this.dropDirRow(row);
  }

  /** The same by its row, as it is now. */
  dropDirRow(row: DirRow): void {
    const at = this.identities.placeOf(row.id);
    if (!at) return;
    this.identities.setDir(row, undefined);
    if (hasChildren(this.index, row.id)) {
      delete row.marker;
      delete row.stamp;
      this.index.putRow(at.parent, at.name, { ...row, made: false, stampTrusted: false });
    } else {
      this.index.remove('tree', rowKey(at.parent, at.name));
      this.identities.removeDir(row);
    }
  }

  /**
   * Writes down which directories hold what the journal speaks of, once each: so a rename is known as one though the index was lost. Only inside a
   * write, after the line itself: numbers go up in a segment.
   */
  noteDirs(dirs: readonly string[]): void {
    if (this.replaying || !this.index.ready || dirs[0] === '') return;
    const { transaction, dirsChanged } = this.index;
    const way = dirs.join('/');
    if (this.waysNoted.get(way, transaction, dirsChanged)) return;
    this.noteWay(dirs);
    this.waysNoted.set(way, true);
  }

  private noteWay(dirs: readonly string[]): void {
    for (let depth = dirs.length; depth > 0; depth--) {
      const path = dirs.slice(0, depth);
      const row = this.findDir(path);
      if (!row || row.noted) return;
      if (row.identity) this.noteDir(row, path);
    }
  }

  /** The same for one. */
  noteDir(row: DirRow, dirs: readonly string[]): void {
    const { identity } = row;
    const path = `${dirs.join('/')}/`;
    const said = identity ? { identity: identity.toString('hex') } : {};
    try {
      this.journal.append({ op: 'stands', seq: this.nextSeq(), path, ...said });
    } catch {
      // a full disk: it is only a help
      return;
    }
    row.noted = true;
    const at = this.identities.placeOf(row.id);
    if (at) this.index.putRow(at.parent, at.name, row);
  }

  /** A directory's stamp says nothing any more of which of its rows have files. Only inside a write. */
  distrustDir(dirs: readonly string[]): void {
    const row = this.findDir(dirs);
    const at = row?.stampTrusted ? this.identities.placeOf(row.id) : undefined;
    if (row && at) this.index.putRow(at.parent, at.name, { ...row, stampTrusted: false });
  }

  /** Rows in a directory may have no file. Only inside a write. */
  doubtFull(dirs: readonly string[]): void {
    const row = this.findDir(dirs);
    const at = row?.full ? this.identities.placeOf(row.id) : undefined;
    if (row && at) this.index.putRow(at.parent, at.name, { ...row, full: false });
  }

  /**
   * Moves a directory's row with all that is below it. A row that stands at the new place is another directory's, which may turn up elsewhere
   * or not: it is lost, under `seq`. Only inside a write.
   */
  moveDir(from: readonly string[], to: readonly string[], seq: number): DirRow | undefined {
    const { index, identities } = this;
    const row = this.findDir(from);
    const old = row && identities.placeOf(row.id);
    if (!row || !old) return undefined;
    // a lost one lies beside the root
    const parent = to[0] === '' ? { id: 0 } : this.ensureDir(to.slice(0, -1));
    const name = `${to.at(-1) ?? ''}/`;
    const there = index.row(parent.id, name);
    if (there?.kind === 'dir' && there.id === row.id) return row;
    if (there?.kind === 'dir') this.loseDir(there, rowKey(parent.id, name), to, seq);
    index.remove('tree', rowKey(old.parent, old.name));
    this.noLeaf(parent.id);
    identities.setPlace(row.id, parent.id, name);
    row.seq = seq;
    index.putRow(parent.id, name, row);
    return row;
  }

  /** Whether objects whose keys are no paths are kept aside for a directory that is lost under a number. */
  private hasKeysAside(seq: number): boolean {
    const aside = `/${seq}`;
    return this.index.page('overflow', pairKey(aside, ''), Buffer.from(`${aside}\0\u0001`), 1).length > 0;
  }

  private loseDir(row: DirRow, key: Buffer, dirs: readonly string[], seq: number): void {
    this.index.remove('tree', key);
    if (!row.marker && !hasChildren(this.index, row.id) && !this.hasKeysAside(seq))
      return this.identities.removeDir(row);
    this.identities.setPlace(row.id, 0, `${seq}/`);
    this.index.putRow(0, `${seq}/`, row);
    if (dirs[0] !== '') this.lost.put(seq, { seq, dirs, since: Date.now() });
  }

  /**
   * What a line says of a file that another program renamed. If it waited at its old key for what was said of an older one, it goes on waiting for that.
   * Only inside a write.
   */
  moveFile(line: MovedFile): FileRow {
    const place = placeOf(line);
    const source = placeOf({ path: line.from });
    const from = this.rowKeyOf(source, false);
    const [old, before] = [this.row(place), from && this.rowAt(from)];
    const waiting = from && before && line.gone !== undefined ? this.identities.waitingFor(from, before) : undefined;
    if (line.facts) this.removeRow(source);
    else if (before?.from) this.endWait(source);
    const { facts = old?.facts ?? {}, published = old?.published ?? false } = line;
    const row = this.fileRow(line.bytes, facts, line.seq, BigInt(line.ctime), published);
    if (from && line.since !== undefined) row.from = { key: from.toString('base64'), since: line.since };
    else if (before?.from && !row.facts && !published) row.from = before.from;
    if (line.gone !== undefined) row.goneAt = line.gone;
    this.putRow(place, row);
    const key = this.rowKeyOf(place, false);
    if (key && row.from) this.index.put('pending', key, Buffer.alloc(1));
    if (key && waiting?.row.from)
      this.putAt(waiting.key, { ...waiting.row, from: { ...waiting.row.from, key: key.toString('base64') } });
    return row;
  }

  /** Nothing that was said of another key follows a row any more. Only inside a write. */
  endWait(place: Place): void {
    const key = place.kind === 'tree' ? this.rowKeyOf(place, false) : undefined;
    const row = key && this.rowAt(key);
    if (!key) return;
    this.index.remove('pending', key);
    if (!row?.from) return;
    const { from: _from, ...rest } = row;
    this.putAt(key, rest);
  }

  /** Puts the row of a file that stays the same one. */
  private putAt(key: Buffer, row: FileRow): void {
    this.identities.putFile(key, row, undefined);
    this.index.put('tree', key, encodeRow(row));
  }

  /** What is known of a place. An ACL and an owner from under another top-level folder are not told: they never cross buckets. */
  row(place: Place): FileRow | undefined {
    const bytes = this.rowBytes(place);
    return bytes && this.rowOf(bytes, place);
  }

  /** The same as it is in the index: as long as it has these bytes, it says the same. @param seen for a read: its folder as it was seen in this turn will do. */
  rowBytes(place: Place, seen = false): Buffer | undefined {
    const key = seen && place.kind === 'tree' ? this.rowKeySeen(place) : this.rowKeyOf(place, false);
    return key && this.index.get(place.kind === 'tree' ? 'tree' : 'overflow', key);
  }

  /** The same, its bytes having been read. */
  rowOf(bytes: Buffer, place: Place): FileRow | undefined {
    const row = decodeRow(bytes);
    if (row.kind !== 'file') return undefined;
    if (row.home === undefined || place.kind !== 'tree' || row.home === topOf(place.dirs)) return row;
    const { home: _elsewhere, ...rest } = row;
    return { ...rest, facts: withoutAccess(row.facts ?? {}) };
  }

  /** The file at this key, for a row that remembers it. */
  rowAt(key: Buffer): FileRow | undefined {
    const bytes = this.index.get('tree', key);
    const row = bytes && decodeRow(bytes);
    return row?.kind === 'file' ? row : undefined;
  }

  /**
   * Puts a row; what its file was known by, and a layout that nobody needs any more, go. Only inside a write.
   * @param alone of the row that was there nothing is left.
   */
  putRow(place: Place, row: FileRow, alone = false): void {
    const key = this.rowKeyOf(place, true);
    if (!key) return;
    const table = place.kind === 'tree' ? 'tree' : 'overflow';
    const bytes = alone ? undefined : this.index.get(table, key);
    const there = bytes && decodeRow(bytes);
    const old = there?.kind === 'file' ? there : undefined;
    const kept = place.kind === 'tree' && this.identities.putFile(key, row, old);
    if (old?.layout !== undefined && old.layout !== row.layout && !kept) this.index.removeLayout(old.layout);
    if (place.kind === 'tree' && row.seq > 0) this.noteDirs(place.dirs);
    const { home: _old, ...rest } = row;
    const owned = place.kind === 'tree' && (row.facts?.acl ?? row.facts?.owner) !== undefined;
    this.index.put(table, key, encodeRow(owned ? { ...rest, home: topOf(place.dirs) } : rest));
  }

  /**
   * Keeps what is known of the bytes that a row speaks of, unless they are those of the file with this fingerprint. Only inside a write.
   * @param row of the place, if it was read in this write. @returns whether a replay must do so, too: the line that follows says it (`kept`).
   */
  keepBytes(place: Place, fp: Buffer | undefined, row = this.row(place)): boolean {
    const key = row && this.rowKeyOf(place, false);
    if (!key) return false;
    // bytes that no line may speak of: what the last line of this place spoke of was kept when they were found
    const foreign = row.etag === '';
    if (foreign && row.was === undefined) return true;
    if (fp && identityOf(row.fp).equals(identityOf(fp))) return foreign;
    const { checksum: _checksum, layout: _layout, partCount: _parts, was: _was, ...rest } = row;
    // not by putRow: the layout belongs to the bytes
    if (!this.identities.displace(key, row)) return foreign;
    this.index.put('tree', key, encodeRow({ ...rest, etag: '' }));
    return true;
  }

  /** Only inside a write. @param row of the place, if it was read in this write and stands unchanged. */
  removeRow(place: Place, row = this.row(place)): void {
    const key = this.letGo(place, row);
    if (key) this.index.remove(place.kind === 'tree' ? 'tree' : 'overflow', key);
  }

  /** What a row stands for goes; the row itself is to be removed or put anew. @returns its key. */
  private letGo(place: Place, row: FileRow | undefined): Buffer | undefined {
    const key = row && this.rowKeyOf(place, false);
    if (!key) return undefined;
    if (row.layout !== undefined) this.index.removeLayout(row.layout);
    if (place.kind === 'tree') this.identities.removeFile(key, row);
    return key;
  }

  /**
   * Next sequence number. Only inside a write. A number that a write gave and then rolled back may stand in the journal: no other line gets it.
   * @throws NotReady while the index is made anew: its numbers are not known yet.
   */
  nextSeq(): number {
    if (!this.index.ready) throw new NotReady('the index is being made anew');
    this.given = this.comingSeq();
    this.index.setNumber('seq', this.given);
    return this.given;
  }

  /** What {@link nextSeq} will give. Only inside a write. */
  comingSeq(): number {
    return Math.max(this.index.number('seq'), this.given) + 1;
  }

  /**
   * A write that changes files or the journal: decided by all that the index knows, or not at all.
   * @throws NotReady while the index is made anew.
   */
  record<T>(work: () => T): T {
    return this.index.write(() => {
      if (!this.index.ready) throw new NotReady('the index is being made anew');
      return work();
    });
  }

  /**
   * The same for a write that takes something away from the tree: its lines, and the pages of the index, find room on a full disk, too.
   * @param work is run `again` if all of it was done but the index: what it took away is gone then.
   */
  recordRemoval<T>(work: (again: boolean) => T): T {
    const { journal } = this;
    return journal.whileRemoving(() => {
      for (let again = false; ; again = true) {
        let worked = false;
        try {
          return this.record(() => {
            const result = work(again);
            worked = true;
            return result;
          });
        } catch (error) {
          if (!worked || !journal.reserve.release()) throw error;
        }
      }
    });
  }

  /**
   * The same for a write that makes room, or has to come before one that does: so it can be made on a full disk.
   * @param work is run again if it or its pages found no room: what it does beside the index has to bear that.
   */
  recordFreeing<T>(work: () => T): T {
    const { journal } = this;
    return journal.whileRemoving(() => {
      for (;;) {
        try {
          return this.record(work);
        } catch (error) {
          if (!isFull(error) || !journal.reserve.release()) throw error;
        }
      }
    });
  }

  /**
   * Remembers how far this process's segment needs no second look. Inside the write that committed; an index that is being made anew has not applied what was
   * committed in another.
   */
  noteSettled(): void {
    if (!this.index.ready) return;
    for (const [segment, size] of this.journal.takeSealed()) this.index.setNumber(`seg:${segment}`, size);
    if (this.journal.segment !== '') this.index.setNumber(`seg:${this.journal.segment}`, this.journal.settledOffset());
  }

  /** The same after the journal was closed. */
  noteSealed(): void {
    try {
      this.index.write(() => this.noteSettled());
    } catch {
      // the next start reads the segment again
    }
  }

  /** Before the file of a line gets its name, which nothing takes back: whether the index has room for its row. Only inside a write. @throws ENOSPC, EDQUOT. */
  foresee(line: Prepare): void {
    this.index.foresee(() => {
      const bytes = 2 * Buffer.byteLength(JSON.stringify(line)) + 256;
      const dirs = (line.mkdirs?.length ?? 0) + (line.from ? 1 : 0);
      return [
        ['tree', { entries: 2 + 3 * dirs, bytes: bytes + 256 * dirs }],
        ['identities', { entries: 3 + dirs, bytes }],
        ['dirs', { entries: dirs, bytes: 16 * dirs }],
        ['meta', { entries: 5 + dirs, bytes }],
        ['overflow', { entries: 'path' in line && !line.aside ? 0 : 2, bytes }],
        ['layouts', { entries: line.upload ? 1 : 0, bytes }],
      ];
    });
  }

  /** The row that a prepare line makes, once published. */
  publish(line: Prepare, seq: number, ctimeNs: bigint): FileRow {
    const place = placeOf(line);
    for (const made of line.mkdirs ?? []) this.setMade(split(made));
    this.letGo(place, this.row(place));
    if (line.from) this.removeRow(placeOf(line.from));
    const row = this.fileRow(line.bytes, line.facts, seq, ctimeNs, line.published);
    if (line.file !== undefined) row.file = line.file;
    if (line.told && line.told.until > Date.now()) row.told = [line.told.until, line.told.etag, String(ctimeNs)];
    this.putRow(place, row, true);
    if (line.upload) this.rememberCompleted(line.upload, line);
    if (line.clientToken) this.clientTokens.note(line.clientToken);
    return row;
  }

  private rememberCompleted(upload: CompletedUpload, { bytes, facts }: Prepare): void {
    if (Date.now() - upload.time > REMEMBER_MS) return;
    const { layout, ...rest } = bytes;
    this.done.put(upload.id, { ...upload, bytes: rest, facts, ...(layout && { partCount: partCount(layout) }) });
  }

  /** What a completed upload made, for a day. */
  completed(uploadId: string): Completed | undefined {
    return this.done.get(uploadId);
  }

  /** Remembers it as it was told. Only inside a write. */
  restoreCompleted(uploadId: string, answer: Completed): void {
    this.done.put(uploadId, answer);
  }

  /** Drops what is remembered for retries of requests that were answered long ago. */
  forgetAnswers(now = Date.now()): void {
    this.done.prune(({ time }) => now - time > REMEMBER_MS);
    this.clientTokens.forgetOld(now);
  }

  /** A row of these facts; a layout goes to its own table. Only inside a write. */
  fileRow(bytes: ByteFacts, facts: KeyFacts, seq: number, ctimeNs: bigint, published: boolean): FileRow {
    const row: FileRow = { kind: 'file', fp: parseFingerprint(bytes.fp), ctimeNs, seq, etag: bytes.etag, published };
    if (Object.keys(facts).length > 0) row.facts = facts;
    if (bytes.checksum) row.checksum = bytes.checksum;
    if (bytes.unproven) row.unproven = true;
    if (bytes.was !== undefined) row.was = bytes.was;
    if (bytes.layout) {
      row.partCount = partCount(bytes.layout);
      row.layout = seq;
      this.index.putLayout(seq, bytes.layout);
    }
    return row;
  }

  /** What the journal says of the bytes of a row. */
  bytesOf(row: FileRow): ByteFacts {
    const layout = row.layout === undefined ? undefined : this.index.layout(row.layout);
    return {
      fp: formatFingerprint(row.fp),
      etag: row.etag,
      ...(row.checksum && { checksum: row.checksum }),
      ...(layout && { layout }),
      ...(row.unproven && { unproven: true }),
      ...(row.was !== undefined && { was: row.was }),
    };
  }

  /** The bytes of a file were read and are as recorded. Inside a write. */
  proved(place: Place, row: FileRow): void {
    const { unproven: doubt, ...proven } = row;
    if (!doubt || !this.index.ready) return;
    try {
      const seq = this.nextSeq();
      const ctime = String(row.ctimeNs);
      this.journal.append({ op: 'hash', seq, ...subjectOf(place), ctime, ...this.bytesOf(proven) });
      proven.seq = seq;
    } catch {
      // a full disk: without the line they are read once more if the index is lost
    }
    this.putRow(place, proven);
  }

  /**
   * Prepare lines that nobody is known to have ended, the latest of each segment first: every segment is read to its end, ours too (the write after a
   * rename may have failed).
   */
  loosePrepares(): Prepare[] {
    return this.tails().flatMap((lines) => lines.filter((line) => line.op === 'prepare').reverse());
  }

  /** Of an append that a killed process had written down as done, before the index knew. */
  looseAppended(id: string): Appended | undefined {
    return this.tails()
      .flat()
      .find((line) => line.op === 'appended' && line.id === id) as Appended | undefined;
  }

  /** The same of directories that were about to be renamed. */
  looseMoves(): Moving[] {
    return this.tails().flatMap((lines) => lines.filter((line) => line.op === 'moving').reverse());
  }

  /** Lines of each segment that are not known to have ended. */
  private tails(): JournalLine[][] {
    const { directory } = this.journal;
    return listSegments(directory).map((segment) =>
      readTail(join(directory, segment), this.index.number(`seg:${segment}`)),
    );
  }

  /**
   * Looks for a prepare line whose process was killed between rename and commit (DESIGN rule 3): before a file is called foreign. Only
   * inside a write.
   * @param done asks whether the file's being there means that the line has happened. @returns the row, put in place, or undefined.
   */
  adopt(
    place: Place,
    fp: Buffer,
    ctimeNs: bigint,
    done: (line: Prepare) => boolean,
    lines = this.loosePrepares(),
  ): FileRow | undefined {
    // a body that is no file of the tree has a name of its own: the same bytes may have been there before, under another
    const file = place.kind === 'overflow' ? this.row(place)?.file : undefined;
    for (const line of lines) {
      if (!samePlace(placeOf(line), place) || (file !== undefined && line.file !== file)) continue;
      if (parseFingerprint(line.bytes.fp).equals(fp) && done(line)) return this.adoptLine(line, ctimeNs);
    }
    return undefined;
  }

  /** Publishes what a killed process had prepared and renamed, under a new number in our own segment. Only inside a write. */
  adoptLine(found: Prepare, ctimeNs: bigint): FileRow {
    const line = this.withoutSuccessor(found);
    const seq = this.nextSeq();
    this.journal.append({ ...line, id: `adopt-${seq}` });
    this.journal.append({ op: 'commit', id: `adopt-${seq}`, seq, ctime: String(ctimeNs) });
    const row = this.publish(line, seq, ctimeNs);
    this.noteSettled();
    return row;
  }

  /** A move as a copy, if another object has come to where it was moved from: its row is not the move's to remove. */
  private withoutSuccessor(line: Prepare): Prepare {
    const { from, ...rest } = line;
    const place = from && placeOf(from);
    const row = place && this.row(place);
    if (!row || row.fp.equals(parseFingerprint(line.bytes.fp)) || !this.standing?.(place)) return line;
    return rest;
  }

  private ensureRoot(): DirRow {
    const row = this.index.row(0, '/');
    if (row?.kind === 'dir') return row;
    const root: DirRow = { kind: 'dir', id: ROOT_ID, seq: 0, made: false, stampTrusted: false };
    this.index.putRow(0, '/', root);
    this.identities.setPlace(ROOT_ID, 0, '/');
    this.index.setNumber('dir', ROOT_ID);
    return root;
  }

  /** Only inside a write. @param parent id of the directory above. */
  newDir(parent: number, dirs: readonly string[]): DirRow {
    const name = `${dirs.at(-1) ?? ''}/`;
    const row: DirRow = { kind: 'dir', id: this.index.next('dir'), seq: 0, made: false, stampTrusted: false };
    const identity = this.replaying ? undefined : this.world?.(dirs);
    // one that is known elsewhere was renamed: whoever looks at it moves the row
    if (identity && this.identities.find(identity)?.kind !== 'dir') this.identities.setDir(row, identity);
    this.noLeaf(parent);
    this.identities.setPlace(row.id, parent, name);
    this.index.putRow(parent, name, row);
    return row;
  }

  /** The row of a directory comes into another one. Only inside a write. */
  private noLeaf(id: number): void {
    this.changeDirById(
      id,
      (row) => delete row.leaf,
      ({ leaf }) => leaf === true,
    );
  }

  /** Key of a row. With `make`, its directories are made: only inside a write. */
  rowKeyOf(place: Place, make: boolean): Buffer | undefined {
    if (place.kind === 'overflow') return pairKey(place.bucket, place.key);
    const id = this.dirId(place.dirs, make);
    return id === undefined ? undefined : rowKey(id, place.name);
  }

  /** Id of a directory. With `make`, it is made: only inside a write. Within a write each is looked for once. */
  dirId(dirs: readonly string[], make = false): number | undefined {
    const { transaction, dirsRemoved } = this.index;
    const path = transaction === undefined ? undefined : dirs.join('/');
    const known = path === undefined ? undefined : this.dirIds.get(path, transaction, dirsRemoved);
    if (known !== undefined) return known;
    const id = make ? this.ensureDir(dirs).id : this.findDirId(dirs);
    if (id !== undefined && path !== undefined) this.dirIds.set(path, id);
    return id;
  }
}

/** What is known of directories by path, within one transaction, forgotten as soon as their rows have changed as some counter tells. */
class InWrite<T> {
  private readonly known = new Map<string, T>();
  private transaction = 0;
  private changes = 0;

  get(path: string, transaction = 0, changes = 0): T | undefined {
    if (transaction !== this.transaction || changes !== this.changes || this.known.size > 20_000) this.known.clear();
    this.transaction = transaction;
    this.changes = changes;
    return this.known.get(path);
  }

  set(path: string, value: T): void {
    this.known.set(path, value);
  }
}

/** A fingerprint that no file has: of rows that only keep facts of a key. */
export const NO_FINGERPRINT = Buffer.alloc(FINGERPRINT_BYTES);

export function split(path: string): string[] {
  return path === '' ? [] : path.split('/');
}

export function placeOf(subject: Subject): Place {
  if ('key' in subject) return { kind: 'overflow', bucket: subject.bucket, key: subject.key };
  const dirs = split(subject.path);
  const name = dirs.pop() ?? '';
  return { kind: 'tree', dirs, name };
}

export function subjectOf(place: Place): Subject {
  return place.kind === 'tree'
    ? { path: [...place.dirs, place.name].join('/') }
    : { bucket: place.bucket, key: place.key };
}

export function samePlace(a: Place, b: Place): boolean {
  if (a.kind === 'overflow') return b.kind === 'overflow' && a.bucket === b.bucket && a.key === b.key;
  return (
    b.kind === 'tree' &&
    a.name === b.name &&
    a.dirs.length === b.dirs.length &&
    a.dirs.every((dir, i) => dir === b.dirs[i])
  );
}

export function partCount(layout: Layout): number {
  return layout.sizes.reduce((sum, [, times]) => sum + times, 0);
}

/** The folder at the top that a place lies in; '' for what lies beside the buckets. */
function topOf(dirs: readonly string[]): string {
  return dirs[0] ?? '';
}
