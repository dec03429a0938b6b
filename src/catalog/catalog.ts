/**
 * The catalog: index and journal as one. It answers what is known of a place and records what happens to it; whether the file is
 * really there is for the store to check by stat.
 */
import { join } from 'node:path';
import { FINGERPRINT_BYTES, formatFingerprint, parseFingerprint } from '../fs/fingerprint.js';
import type { KeyFacts } from '../base/model.js';
import { Journal, listSegments, readTail } from './journal.js';
import type { ByteFacts, CompletedUpload, JournalLine, Subject } from './lines.js';
import { NotReady, ROOT_ID, type Index } from './lmdb.js';
import { decodeRow, encodeRow, pairKey, rowKey, type DirRow, type FileRow, type Layout } from './rows.js';

/** Where an object lies: a path below the root, or an overflow object of a bucket. */
export type Place =
  { kind: 'tree'; dirs: readonly string[]; name: string } | { kind: 'overflow'; bucket: string; key: string };

type Prepare = Extract<JournalLine, { op: 'prepare' }>;

/** How long (ms) the answer of a completed upload is remembered for retries. */
const REMEMBER_MS = 24 * 3_600_000;

/** What is remembered of a completed upload. */
export interface Completed extends CompletedUpload {
  bytes: Omit<ByteFacts, 'layout'>;
  facts: KeyFacts;
  partCount?: number;
}

export class Catalog {
  private dirIds: DirIds | undefined;

  constructor(
    readonly index: Index,
    readonly journal: Journal,
  ) {}

  /** Remembers ids of directories from now on, or no longer: a replay asks for the same ones again and again. Only inside one write. */
  rememberDirs(on: boolean): void {
    this.dirIds = on ? new DirIds() : undefined;
  }

  /** Row of a directory given by its segments below the root. */
  findDir(dirs: readonly string[]): DirRow | undefined {
    let row = this.index.row(0, '/');
    for (const name of dirs) {
      if (row?.kind !== 'dir') return undefined;
      row = this.index.row(row.id, `${name}/`);
    }
    return row?.kind === 'dir' ? row : undefined;
  }

  /** The same, made where missing. Only inside a write. */
  ensureDir(dirs: readonly string[]): DirRow {
    let row = this.ensureRoot();
    for (const name of dirs) {
      const found = this.index.row(row.id, `${name}/`);
      row = found?.kind === 'dir' ? found : this.newDir(row.id, `${name}/`);
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

  /** Forgets a directory that was removed, unless rows below it keep facts of files that may come back. Only inside a write. */
  dropDir(dirs: readonly string[]): void {
    const name = dirs.at(-1);
    const row = this.findDir(dirs);
    const parent = this.findDir(dirs.slice(0, -1));
    if (name === undefined || !row || !parent) return;
    if (this.index.page('tree', rowKey(row.id, ''), rowKey(row.id + 1, ''), 1).length > 0) {
      delete row.marker;
      delete row.stamp;
      this.index.putRow(parent.id, `${name}/`, { ...row, made: false, stampTrusted: false });
    } else {
      this.index.remove('tree', rowKey(parent.id, `${name}/`));
    }
  }

  row(place: Place): FileRow | undefined {
    const key = this.rowKeyOf(place, false);
    const bytes = key && this.index.get(place.kind === 'tree' ? 'tree' : 'overflow', key);
    const row = bytes && decodeRow(bytes);
    return row?.kind === 'file' ? row : undefined;
  }

  /** Only inside a write. */
  putRow(place: Place, row: FileRow): void {
    const key = this.rowKeyOf(place, true);
    if (key) this.index.put(place.kind === 'tree' ? 'tree' : 'overflow', key, encodeRow(row));
  }

  /** Only inside a write. */
  removeRow(place: Place): void {
    const row = this.row(place);
    const key = row && this.rowKeyOf(place, false);
    if (!key) return;
    if (row.layout !== undefined) this.index.removeLayout(row.layout);
    this.index.remove(place.kind === 'tree' ? 'tree' : 'overflow', key);
  }

  /** Next sequence number. Only inside a write. @throws NotReady while the index is made anew: its numbers are not known yet. */
  nextSeq(): number {
    if (!this.index.ready) throw new NotReady('the index is being made anew');
    return this.index.next('seq');
  }

  /** Remembers how far this process's segment needs no second look. Inside the write that committed. */
  noteSettled(): void {
    if (this.journal.segment !== '') this.index.setNumber(`seg:${this.journal.segment}`, this.journal.settledOffset());
  }

  /** The row that a prepare line makes, once published. */
  publish(line: Prepare, seq: number, ctimeNs: bigint): FileRow {
    const place = placeOf(line);
    for (const made of line.mkdirs ?? []) this.changeDir(split(made), (row) => (row.made = true));
    this.removeRow(place);
    if (line.from) this.removeRow(placeOf(line.from));
    const row = this.fileRow(line.bytes, line.facts, seq, ctimeNs, line.published);
    if (line.file !== undefined) row.file = line.file;
    this.putRow(place, row);
    if (line.upload) this.rememberCompleted(line.upload, line);
    return row;
  }

  private rememberCompleted(upload: CompletedUpload, { bytes, facts }: Prepare): void {
    if (Date.now() - upload.time > REMEMBER_MS) return;
    const { layout, ...rest } = bytes;
    const done: Completed = { ...upload, bytes: rest, facts, ...(layout && { partCount: partCount(layout) }) };
    this.index.put('meta', doneKey(upload.id), Buffer.from(JSON.stringify(done)));
  }

  /** What a completed upload made, for a day. */
  completed(uploadId: string): Completed | undefined {
    const bytes = this.index.get('meta', doneKey(uploadId));
    return bytes && (JSON.parse(bytes.toString()) as Completed);
  }

  /** Drops what is remembered of uploads that were completed long ago. Only inside a write. */
  forgetCompleted(now = Date.now()): void {
    let start = doneKey('');
    for (;;) {
      const rows = this.index.page('meta', start, doneKey('\xff'), 256);
      for (const { key, value } of rows) {
        const { time = 0 } = JSON.parse(value.toString()) as Partial<Completed>;
        if (now - time > REMEMBER_MS) this.index.remove('meta', key);
        start = Buffer.concat([key, Buffer.from([0])]);
      }
      if (rows.length < 256) return;
    }
  }

  /** A row of these facts; a layout goes to its own table. Only inside a write. */
  fileRow(bytes: ByteFacts, facts: KeyFacts, seq: number, ctimeNs: bigint, published: boolean): FileRow {
    const row: FileRow = { kind: 'file', fp: parseFingerprint(bytes.fp), ctimeNs, seq, etag: bytes.etag, published };
    if (Object.keys(facts).length > 0) row.facts = facts;
    if (bytes.checksum) row.checksum = bytes.checksum;
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
    };
  }

  /**
   * Looks for a prepare line whose process was killed between rename and commit (DESIGN rule 3): before a file is called foreign, every
   * segment is read to its end, ours too (the write after a rename may have failed). Only inside a write.
   * @param done asks whether the file's being there means that the line has happened. @returns the row, put in place, or undefined.
   */
  adopt(place: Place, fp: Buffer, ctimeNs: bigint, done: (line: Prepare) => boolean): FileRow | undefined {
    for (const segment of listSegments(this.journal.directory)) {
      const lines = readTail(join(this.journal.directory, segment), this.index.number(`seg:${segment}`));
      for (const line of lines.reverse()) {
        if (line.op !== 'prepare' || !samePlace(placeOf(line), place)) continue;
        if (!parseFingerprint(line.bytes.fp).equals(fp) || !done(line)) continue;
        return this.adoptLine(line, ctimeNs);
      }
    }
    return undefined;
  }

  /** Publishes what a killed process had prepared and renamed, under a new number in our own segment. Only inside a write. */
  adoptLine(line: Prepare, ctimeNs: bigint): FileRow {
    const seq = this.nextSeq();
    const row = this.publish(line, seq, ctimeNs);
    this.journal.append({ ...line, id: `adopt-${seq}` });
    this.journal.append({ op: 'commit', id: `adopt-${seq}`, seq, ctime: String(ctimeNs) });
    this.noteSettled();
    return row;
  }

  private ensureRoot(): DirRow {
    const row = this.index.row(0, '/');
    if (row?.kind === 'dir') return row;
    const root: DirRow = { kind: 'dir', id: ROOT_ID, seq: 0, made: false, stampTrusted: false };
    this.index.putRow(0, '/', root);
    this.index.setNumber('dir', ROOT_ID);
    return root;
  }

  private newDir(parent: number, name: string): DirRow {
    const row: DirRow = { kind: 'dir', id: this.index.next('dir'), seq: 0, made: false, stampTrusted: false };
    this.index.putRow(parent, name, row);
    return row;
  }

  private rowKeyOf(place: Place, make: boolean): Buffer | undefined {
    if (place.kind === 'overflow') return pairKey(place.bucket, place.key);
    const path = this.dirIds && place.dirs.join('/');
    const known = path === undefined ? undefined : this.dirIds?.get(path, this.index.dirsRemoved);
    if (known !== undefined) return rowKey(known, place.name);
    const dir = make ? this.ensureDir(place.dirs) : this.findDir(place.dirs);
    if (dir && path !== undefined) this.dirIds?.set(path, dir.id);
    return dir && rowKey(dir.id, place.name);
  }
}

/** Ids of directories by path, forgotten as soon as any directory's row went. */
class DirIds {
  private readonly ids = new Map<string, number>();
  private removed = 0;

  get(path: string, removed: number): number | undefined {
    if (removed !== this.removed || this.ids.size > 20_000) this.ids.clear();
    this.removed = removed;
    return this.ids.get(path);
  }

  set(path: string, id: number): void {
    this.ids.set(path, id);
  }
}

/** A fingerprint that no file has: of rows that only keep facts of a key. */
export const NO_FINGERPRINT = Buffer.alloc(FINGERPRINT_BYTES);

function doneKey(uploadId: string): Buffer {
  return Buffer.from(`done:${uploadId}`, 'latin1');
}

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
