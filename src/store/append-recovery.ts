/**
 * Appends of processes that were killed: what they had put behind the old end is cut off, or stays where another program has written behind it. Done when a
 * store is opened, by `gc`, and by whoever comes upon such a file, which may bear another name by now.
 */
import { closeSync, existsSync, fstatSync, ftruncateSync, openSync, type BigIntStats } from 'node:fs';
import { dirname } from 'node:path';
import { errno } from '../base/errors.js';
import { bootId, processToken, tokenAlive } from '../base/process.js';
import { afterAppend } from '../catalog/after-append.js';
import { identityOfAppend } from '../catalog/appends.js';
import { placeOf, split, subjectOf, type Place } from '../catalog/catalog.js';
import { grownBytes } from '../catalog/grown.js';
import { identityOf } from '../catalog/identities.js';
import type { Append } from '../catalog/lines.js';
import { rowOf } from '../catalog/row-of.js';
import type { FileRow } from '../catalog/rows.js';
import { commonLength } from '../fs/append.js';
import { fingerprint, fingerprintSize, formatFingerprint, parseFingerprint } from '../fs/fingerprint.js';
import { lstatOf } from '../fs/stat.js';
import { openRw } from './append-in-place.js';
import { isRunning } from './appends-running.js';
import type { Core } from './core.js';
import { breakGrowth } from './growth.js';
import { tellHalfAppended } from './half-appended.js';
import { tokenOf } from './settle.js';

/** What is known of the file, and where. */
interface Recorded {
  place: Place | undefined;
  row: FileRow | undefined;
}

/** How long (ms) a file that was renamed, or whose disk is away, is waited for. */
const KEEP_MS = 7 * 24 * 3_600_000;

/**
 * How long (ms) a file must have stood still before a process of another container, of which nobody can say whether it lives, is taken for one that appends no
 * more. If it does live, it finds under the lock that its append was ended, and begins anew.
 */
const STILL_MS = 60_000;

/**
 * Whether the process that appends to a file has died meanwhile, or has left it to others: the index was lost when it was to be cut off.
 * @param seen path where the file stands, if that is known.
 */
export function isOrphaned(core: Core, line: Append, seen?: string): boolean {
  const { boot, time } = line;
  const token = tokenOf(line.id);
  if (token === processToken()) return !isRunning(line);
  if (boot !== bootId() || !tokenAlive(token, Date.now() - time)) return true;
  // the process table knows it
  if (tokenAlive(token, Infinity)) return false;
  const path = locate(core, line, undefined, seen);
  const stat = path === undefined ? undefined : lstatOf(path);
  return stat !== undefined && Date.now() - Math.max(time, Number(stat.ctimeMs)) > STILL_MS;
}

/** Ends the appends of dead processes, as far as their files are found. */
export function settleOrphans(core: Core): void {
  for (const line of core.catalog.appends.all()) settleFoundAppend(core, line);
}

/**
 * Cuts off what a dead process appended in part; bytes that are not of its piece are somebody else's and stay.
 * @param seen path where the file stands, if that is known. @returns false if there is more to do later: its process lives, or the file is not found.
 */
export function settleAppend(core: Core, line: Append, seen?: string): boolean {
  if (!isOrphaned(core, line, seen)) return false;
  const { catalog } = core;
  return catalog.record(() => {
    const { place, row } = rowOf(catalog, identityOfAppend(line), placeOf({ path: line.path }));
    const begun = isBegun(core, line, row);
    if (begun !== false) {
      const path = locate(core, line, place, seen);
      if (path === undefined && Date.now() - line.time < KEEP_MS) {
        catalog.appends.note({ ...line, ...(begun && { begun }) });
        return false;
      }
      const after = begun || path === undefined ? undefined : later(core, line, path);
      if (after === 'under way') return false;
      if (after === undefined && (path === undefined || !adoptAppended(core, line, path, { place, row })))
        cutBack(core, line, path, { place, row });
    }
    catalog.journal.append({ op: 'abort', id: line.id });
    breakGrowth(catalog.index, parseFingerprint(line.fp), line.id);
    catalog.appends.forget(line);
    return true;
  });
}

/**
 * Whether its process had marked the file, and nobody has ended the append since; undefined if the index was made since then, or its last writes were lost:
 * then only bytes and journal can tell.
 */
function isBegun({ catalog }: Core, line: Append, row: FileRow | undefined): boolean | undefined {
  const { appends, identities, index } = catalog;
  const identity = identityOfAppend(line);
  // it was ended, or others have appended since; the row may be one whose place was taken by another file
  const seen = identities.find(identity);
  const known = row ?? (seen?.kind === 'displaced' ? seen.row : undefined);
  if (known && known.appendFrom === undefined && fingerprintSize(known.fp) > line.size) return false;
  const noted = appends.find(identity);
  if (row?.appendId !== undefined || noted?.begun) return (row?.appendId ?? noted?.id) === line.id;
  return line.boot === bootId() && index.since < line.time ? false : undefined;
}

/** What has become of the file since, by the journal: only asked where there is something to cut off. */
function later(core: Core, line: Append, path: string): 'done' | 'under way' | undefined {
  const stat = lstatOf(path);
  if (!stat || Number(stat.size) <= line.size) return undefined;
  const { done, open } = afterAppend(core.catalog.journal.directory, line);
  if (done) return 'done';
  return open.some((other) => !isOrphaned(core, other, path)) ? 'under way' : undefined;
}

const complained = new Set<string>();

/** The same where what cannot be done must not keep others from what they are at: a file that somebody has come upon is to be read. */
export function settleFoundAppend(core: Core, line: Append, seen?: string): boolean {
  const { index } = core.catalog;
  if (core.options.readOnly || !index.ready || !isOrphaned(core, line, seen)) return false;
  try {
    return settleAppend(core, line, seen);
  } catch (error) {
    if (errno(error) === undefined) throw error;
    if (!complained.has(line.id))
      core.log('warn', 'an interrupted append could not be cut off; the object stays what it was', {
        file: line.path,
        error: String(error),
      });
    complained.add(line.id);
    return false;
  }
}

/** Where the file stands now, as far as anybody knows. */
function locate(core: Core, line: Append, place: Place | undefined, seen: string | undefined): string | undefined {
  const paths = [seen, core.pathOf(split(line.path))];
  if (place?.kind === 'tree' && place.dirs[0] !== '') paths.push(`${core.pathOf(place.dirs)}/${place.name}`);
  const identity = identityOfAppend(line);
  return paths.find((path) => {
    const stat = path === undefined ? undefined : lstatOf(path);
    return path !== undefined && stat?.isFile() === true && identityOf(fpOf(core, stat, path)).equals(identity);
  });
}

function fpOf(core: Core, stat: BigIntStats, path: string): Buffer {
  return fingerprint(stat, core.mounts.idOf(stat.dev, dirname(path)));
}

/** Its process had written down that it was done, and was killed before the index knew. */
function adoptAppended(core: Core, line: Append, path: string, { place, row }: Recorded): boolean {
  const { catalog } = core;
  const appended = catalog.looseAppended(line.id);
  const stat = lstatOf(path);
  if (!appended || !stat || formatFingerprint(fpOf(core, stat, path)) !== appended.fp) return false;
  const subject = place ? subjectOf(place) : { path: line.path };
  const { facts = line.facts, fp } = appended;
  const bytes = { ...grownBytes(catalog, line, row), fp };
  catalog.adoptLine({ op: 'prepare', id: line.id, ...subject, bytes, facts, published: true }, BigInt(appended.ctime));
  return true;
}

function cutBack(core: Core, line: Append, path: string | undefined, { place, row }: Recorded): void {
  const { catalog } = core;
  if (path !== undefined) cutOff(core, path, line);
  if (!row || !place) return;
  const { appendFrom: _ended, appendId: _id, ...rest } = row;
  const stat = path === undefined ? undefined : lstatOf(path);
  if (path === undefined || !stat || Number(stat.size) !== line.size)
    return catalog.putRow(place, { ...rest, ...(row.appendFrom !== undefined && { etag: line.etag ?? '' }) });
  // the cut gave it another mtime: written down, so that the facts also hold once the index was made anew
  const fp = fpOf(core, stat, path);
  const { facts = {}, published } = rest;
  const known = line.etag !== undefined && (row.etag === line.etag || row.appendFrom !== undefined);
  if (known && row.fp.equals(parseFingerprint(line.fp))) {
    const bytes = { ...catalog.bytesOf(rest), fp: formatFingerprint(fp) };
    catalog.adoptLine({ op: 'prepare', id: line.id, ...subjectOf(place), bytes, facts, published }, stat.ctimeNs);
  } else {
    const { checksum: _checksum, layout: _layout, partCount: _parts, ...bare } = rest;
    const seq = row.facts ? catalog.nextSeq() : row.seq;
    const said = { fp: formatFingerprint(fp), ctime: String(stat.ctimeNs) };
    if (row.facts) catalog.journal.append({ op: 'facts', seq, ...subjectOf(place), facts, ...said });
    catalog.putRow(place, { ...bare, seq, etag: '', fp, ctimeNs: stat.ctimeNs });
  }
}

function cutOff(core: Core, path: string, line: Append): void {
  const file = openRw(path);
  try {
    const stat = fstatSync(file, { bigint: true });
    const end = Number(stat.size);
    if (!identityOf(fpOf(core, stat, path)).equals(identityOfAppend(line)) || end <= line.size) return;
    // zeros: blocks that never reached the disk
    const common = commonBytes(file, line);
    if (line.size + common === end) return ftruncateSync(file, line.size);
    // all of it, or nothing: others have written first
    if (common === 0 || BigInt(common) === lstatOf(line.piece)?.size) return;
    tellHalfAppended(core, 'warn', { file: path.slice(core.root.length + 1), offset: line.size, bytes: common });
  } finally {
    closeSync(file);
  }
}

function commonBytes(file: number, { size, piece }: Append): number {
  const from = existsSync(piece) ? openSync(piece, 'r') : undefined;
  try {
    return commonLength(file, size, from, true);
  } finally {
    if (from !== undefined) closeSync(from);
  }
}
