/**
 * Compaction: what all lines of the journal came to is written down as one segment, read from the index as it was at one moment, and the segments that
 * it speaks for go. It may be killed at any step, run twice at once, and run beside processes that write.
 *
 *   claim -> snapshot at number S -> `compact-S….tmp`, flushed -> renamed, folder flushed -> one by one, under the lock: segments that are
 *   sealed, read to their end, whole, and speak of nothing after S are removed
 *
 * A replay takes the newest `compact-S…` as its base and leaves out lines up to S of all other segments, so it does not matter which of them
 * are gone already.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { bootId, processToken, tokenAlive } from '../base/process.js';
import { formatFingerprint } from '../fs/fingerprint.js';
import { giveTo, syncDirSync, type Ownership } from '../fs/statefile.js';
import type { Catalog } from './catalog.js';
import { Aside } from './damaged.js';
import { heldUpTo } from './held.js';
import { encodeLine } from './journal.js';
import {
  KNOWN_OPS,
  type ClientToken,
  type JournalLine,
  type PartRecord,
  type StoredRow,
  type Subject,
} from './lines.js';
import { NotReady, type Snapshot } from './lmdb.js';
import { DamagedIndex, decodeRow, rowName, unpairKey, type DirRow, type FileRow } from './rows.js';
import { SegmentReader, baseOf, compactName, isDead, listSegments, placed } from './segments.js';
import { WholeIndex } from './whole.js';

export interface CompactOptions {
  /** Only tell what would be done. */
  dryRun?: boolean;
  /** Rows of files that have been gone for longer (ms) are left out; default 30 days. */
  ghostAge?: number;
  /** Whoever reads the journal as a feed has read up to this number: later lines stay. What held.ts tells, unless given. */
  readUpTo?: number;
  owner?: Ownership | undefined;
  signal?: AbortSignal;
}

export interface CompactReport {
  /** Rows and directories written down. */
  rows: number;
  /** Rows left out, of files long gone. */
  dropped: number;
  /** Segments that went, and their bytes. */
  segments: number;
  bytes: number;
  /** Size of the new segment. */
  size: number;
  /** Why segments stay. */
  kept: { segment: string; why: string }[];
  /** Another process is at it: nothing was done. */
  busy?: true;
}

const DAY_MS = 86_400_000;
const PAGE = 500;
const CLAIM = Buffer.from('compacting');
/** A claim that has not been renewed for so long (ms) is a dead process's. */
const SILENT_MS = 60_000;

/**
 * Compacts the journal of an open catalog.
 * @throws NotReady while the index is made anew, also if it was lost meanwhile; the system's errors, having changed nothing that counts.
 */
export async function compact(catalog: Catalog, options: CompactOptions = {}): Promise<CompactReport> {
  const { index, journal } = catalog;
  const report: CompactReport = { rows: 0, dropped: 0, segments: 0, bytes: 0, size: 0, kept: [] };
  const id = `${processToken()}-${randomBytes(4).toString('hex')}`;
  const whole = new WholeIndex(index);
  if (!options.dryRun && !whole.write(() => claim(catalog, id))) return { ...report, busy: true };
  try {
    if (!options.dryRun) {
      removeTemporary(journal.directory);
      journal.rotate();
      catalog.forgetAnswers();
      whole.write(() => catalog.noteSettled());
    }
    const upTo = await write(catalog, whole, id, report, options);
    await removeOld(catalog, whole, upTo, report, options);
    return report;
  } catch (error) {
    if (error instanceof DamagedIndex) index.distrust(error.message);
    throw error;
  } finally {
    if (!options.dryRun) giveUp(catalog, id);
  }
}

function giveUp(catalog: Catalog, id: string): void {
  try {
    catalog.index.write(() => {
      if (holds(catalog, id)) catalog.index.remove('meta', CLAIM);
    });
  } catch (error) {
    // it went with its index
    if (!(error instanceof NotReady)) throw error;
  }
}

/** Inside a write. */
function claim({ index }: Catalog, id: string): boolean {
  const [other = '', time = '0'] = (index.get('meta', CLAIM)?.toString() ?? '').split(' ');
  const heard = Date.now() - Number(time) < SILENT_MS;
  if (other !== '' && other !== id && heard && tokenAlive(other.slice(0, other.lastIndexOf('-')), 0)) return false;
  index.put('meta', CLAIM, Buffer.from(`${id} ${Date.now()}`));
  return true;
}

function holds({ index }: Catalog, id: string): boolean {
  return index.get('meta', CLAIM)?.toString().startsWith(`${id} `) === true;
}

/** What killed compactions left. Only with the claim. */
function removeTemporary(directory: string): void {
  for (const name of readdirSync(directory))
    if (name.startsWith('compact-') && name.endsWith('.tmp')) rmSync(join(directory, name), { force: true });
}

/** Writes the new segment. @returns the number that it speaks for. */
async function write(
  catalog: Catalog,
  whole: WholeIndex,
  id: string,
  report: CompactReport,
  options: CompactOptions,
): Promise<number> {
  const { index, journal } = catalog;
  const snapshot = snapshotOf(catalog, whole);
  const upTo = snapshot.number('seq');
  const base = baseOf(journal.directory);
  if (base?.upTo === upTo) {
    // nothing has happened since
    snapshot.close();
    return upTo;
  }
  const name = compactName(upTo, randomBytes(4).toString('hex'));
  const temporary = join(journal.directory, `${name}.tmp`);
  const file = options.dryRun ? undefined : openSync(temporary, 'wx', 0o600);
  try {
    const put = (lines: JournalLine[]): void => {
      const bytes = Buffer.from(lines.map(encodeLine).join(''));
      report.size += bytes.length;
      if (file === undefined) return;
      for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done);
    };
    const time = new Date().toISOString();
    put([{ op: 'segment', version: 1, boot: bootId(), pid: process.pid, host: 'compact', time, token: id, upTo }]);
    for (const lines of linesOf(catalog, snapshot, upTo, report, options.ghostAge ?? 30 * DAY_MS)) {
      put(lines);
      options.signal?.throwIfAborted();
      await new Promise((resolve) => setImmediate(resolve));
      if (options.dryRun) whole.check();
      else if (!whole.write(() => claim(catalog, id))) throw new Error('another process has taken the compaction over');
    }
    if (file === undefined) return upTo;
    giveTo(temporary, options.owner);
    fsyncSync(file);
    whole.write(() => {
      if (!holds(catalog, id)) throw new Error('another process has taken the compaction over');
      renameSync(temporary, join(journal.directory, name));
      index.setNumber(`seg:${name}`, report.size);
    });
    syncDirSync(journal.directory);
    return upTo;
  } finally {
    snapshot.close();
    if (file !== undefined) {
      closeSync(file);
      rmSync(temporary, { force: true });
    }
  }
}

/** Of the very index that is known to be whole: a part of it would be taken for all that there is. */
function snapshotOf({ index }: Catalog, whole: WholeIndex): Snapshot {
  const snapshot = index.snapshot();
  try {
    whole.check();
    return snapshot;
  } catch (error) {
    snapshot.close();
    throw error;
  }
}

/** The whole index as lines, a page at a time. */
function* linesOf(
  catalog: Catalog,
  snapshot: Snapshot,
  upTo: number,
  report: CompactReport,
  ghostAge: number,
): Generator<JournalLine[]> {
  const paths = new Paths(catalog, snapshot);
  for (const table of ['tree', 'overflow'] as const) {
    let rows = 0;
    for (const page of pages(snapshot, table)) {
      rows += page.length;
      const lines: JournalLine[] = [];
      for (const { key, value } of page) {
        const row = decodeRow(value);
        const line =
          row.kind === 'dir' ? dirLine(catalog, paths, key, row) : fileLine(paths, snapshot, table, key, row);
        if (!line) continue;
        if (row.kind === 'file' && row.goneAt !== undefined && Date.now() - row.goneAt > ghostAge) report.dropped++;
        else lines.push(line);
      }
      report.rows += lines.length;
      yield lines;
    }
    // a damaged page may hide others: what it leaves out would be lost with the old segments
    if (rows !== snapshot.count(table))
      throw new DamagedIndex(`${rows} rows where there should be ${snapshot.count(table)}`);
  }
  const uploads = new Set<string>();
  for (const page of pages(snapshot, 'uploads')) for (const { key } of page) uploads.add(unpairKey(key).at(-1) ?? '');
  for (const page of pages(snapshot, 'parts'))
    yield page.flatMap(({ key, value }) => partLine(uploads, upTo, key, value));
  const [from, to] = [Buffer.from('done:'), Buffer.from('done;')];
  for (const page of pages(snapshot, 'meta', from, to))
    yield page.map(({ key, value }) => ({
      op: 'done',
      seq: upTo,
      id: key.toString('latin1', from.length),
      answer: JSON.parse(value.toString()) as unknown,
    }));
  for (const page of pages(snapshot, 'meta', Buffer.from('token:'), Buffer.from('token;')))
    yield page.map(({ value }) => ({
      op: 'client-token',
      seq: upTo,
      clientToken: JSON.parse(value.toString()) as ClientToken,
    }));
}

function* pages(
  snapshot: Snapshot,
  table: 'tree' | 'overflow' | 'parts' | 'meta' | 'uploads',
  from: Buffer = Buffer.alloc(1),
  to: Buffer = Buffer.alloc(2, 0xff),
): Generator<{ key: Buffer; value: Buffer }[]> {
  for (let start = from; ;) {
    const page = snapshot.page(table, start, to, PAGE);
    const last = page.at(-1);
    if (!last) return;
    if (page.some(({ key }, i) => (page[i - 1]?.key ?? start).compare(key) > (i > 0 ? -1 : 0)))
      throw new DamagedIndex('rows out of order');
    yield page;
    start = Buffer.concat([last.key, Buffer.from([0])]);
  }
}

/** Paths of directories, as the snapshot has them; rows come directory by directory. */
class Paths {
  private id = -1;
  private path: string[] | undefined;

  constructor(
    private readonly catalog: Catalog,
    private readonly snapshot: Snapshot,
  ) {}

  /** Path below the root of a row, or undefined if nobody knows any more where its directory was. */
  of(key: Buffer): string | undefined {
    const id = key.readUIntBE(0, 6);
    const name = rowName(key).toString('utf8');
    // the root's own row, and those of directories that are lost
    if (id === 0) return name === '/' ? '/' : `/${name}`;
    if (id !== this.id) {
      this.id = id;
      this.path = this.catalog.identities.pathOf(id, this.snapshot);
    }
    return this.path && [...this.path, name].join('/');
  }
}

function dirLine(catalog: Catalog, paths: Paths, key: Buffer, row: DirRow): JournalLine | undefined {
  const path = paths.of(key);
  if (path === undefined || path === '/') return undefined;
  if (!row.made && !row.marker && !row.identity && !path.startsWith('/')) return undefined;
  // as it is now: a line behind the snapshot says the same
  const gone = row.marker && catalog.missed.get(row.id);
  return {
    op: 'dir',
    seq: row.seq,
    path,
    ...(row.made && { made: true }),
    ...(row.marker && { marker: row.marker }),
    ...(gone !== undefined && { gone }),
    ...(row.identity && { identity: row.identity.toString('hex') }),
  };
}

/** undefined for what the journal never spoke of. */
function fileLine(
  paths: Paths,
  snapshot: Snapshot,
  table: 'tree' | 'overflow',
  key: Buffer,
  row: FileRow,
): JournalLine | undefined {
  if (row.seq === 0) return undefined;
  const stored = storedRow(paths, snapshot, row);
  if (table === 'tree') {
    const path = paths.of(key);
    return path === undefined ? undefined : { op: 'row', seq: row.seq, path, row: stored };
  }
  const [bucket = '', name = ''] = unpairKey(key);
  const subject: Subject = { bucket, key: name };
  return { op: 'row', seq: row.seq, ...subject, row: stored };
}

/** All that the row holds but what only this index needs. */
function storedRow(paths: Paths, snapshot: Snapshot, row: FileRow): StoredRow {
  const {
    kind: _kind,
    seq: _seq,
    fp,
    ctimeNs,
    layout,
    from,
    told,
    unseen: _unseen,
    dangling: _dangling,
    appendFrom: _end,
    appendId: _id,
    ...rest
  } = row;
  const parts = layout === undefined ? undefined : snapshot.layout(layout);
  const source = from && paths.of(Buffer.from(from.key, 'base64'));
  return {
    ...rest,
    fp: formatFingerprint(fp),
    ctime: String(ctimeNs),
    ...(told && told[0] > Date.now() && { told }),
    ...(parts && { layout: parts }),
    ...(from && source !== undefined && { from: { path: source, since: from.since } }),
  };
}

/** Parts of uploads that have ended are named by the journal no more. */
function partLine(uploads: ReadonlySet<string>, upTo: number, key: Buffer, value: Buffer): JournalLine[] {
  const [uploadId = ''] = unpairKey(key);
  if (!uploads.has(uploadId)) return [];
  return [{ op: 'part', seq: upTo, uploadId, part: JSON.parse(value.toString()) as PartRecord }];
}

async function removeOld(
  catalog: Catalog,
  whole: WholeIndex,
  upTo: number,
  report: CompactReport,
  { dryRun, readUpTo = heldUpTo(catalog.journal.directory) ?? Infinity, owner }: CompactOptions,
): Promise<void> {
  const { index, journal } = catalog;
  const base = baseOf(journal.directory);
  for (const segment of listSegments(journal.directory)) {
    if (segment === base?.segment || (dryRun && segment.startsWith('compact-'))) continue;
    const path = join(journal.directory, segment);
    const why = whyKept(catalog, segment, Math.min(upTo, readUpTo), owner);
    await new Promise((resolve) => setImmediate(resolve));
    if (why !== undefined) {
      report.kept.push({ segment, why });
      continue;
    }
    const { size } = statSync(path);
    report.segments++;
    report.bytes += size;
    if (dryRun) continue;
    // under the lock and only while the index is whole: whoever makes it anew needs either all old segments or the new one from the start
    whole.write(() => {
      unlinkSync(path);
      index.removeNumber(`seg:${segment}`);
    });
  }
  if (!dryRun) syncDirSync(journal.directory);
}

/** Why a segment must stay, or undefined. */
function whyKept(
  { index, journal }: Catalog,
  segment: string,
  upTo: number,
  owner: Ownership | undefined,
): string | undefined {
  if (segment === journal.segment) return 'this process writes to it';
  const path = join(journal.directory, segment);
  const compacted = segment.startsWith('compact-');
  let sealed = compacted || journal.hasLeft(segment);
  let why: string | undefined;
  let isEmpty = true;
  const aside = new Aside(journal.directory, owner);
  const reader = new SegmentReader(path, 0, (damage) => void aside.put(segment, damage));
  for (const { line } of placed(reader)) {
    isEmpty = false;
    if (line.op === 'sealed') sealed = true;
    else if (line.op === 'segment') {
      if (line.version !== 1) why ??= 'a newer version has written it';
      sealed ||= isDead(line, Date.now() - statSync(path).mtimeMs);
    } else if (!KNOWN_OPS.has(line.op)) why ??= `it has lines that only a newer version knows (${String(line.op)})`;
    if ('seq' in line && line.seq > upTo && !compacted) why ??= 'it has lines that came later or were not read yet';
  }
  if (why !== undefined) return why;
  // its process was killed before it had said who it is
  sealed ||= isEmpty && Date.now() - statSync(path).mtimeMs > DAY_MS;
  if (!sealed) return 'its process may still write to it';
  // read again only after this: the half line of a killed process ends it
  if (index.number(`seg:${segment}`) < reader.end && !compacted) return 'an operation in it has not ended';
  return undefined;
}
