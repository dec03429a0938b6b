/**
 * Appending in place: the file grows where it stands, for whoever writes to it as well must go on writing to the same file.
 *
 * The row is marked first: readers see the old object until the new one is whole. What does not come to a good end is cut off again, but only what
 * is ours, by its bytes, and while nothing stands behind it. Between the last look at the length and the cut another program's write can
 * still slip in; it would be lost.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, constants, fchmodSync, fstatSync, ftruncateSync, openSync, type BigIntStats } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { S3Error } from '../base/errors.js';
import { bootId } from '../base/process.js';
import type { DigestPlan, KeyFacts, WriteCondition } from '../base/model.js';
import { subjectOf, type Place } from '../catalog/catalog.js';
import { identityOfAppend } from '../catalog/appends.js';
import { partOf } from '../catalog/grown.js';
import { identityOf } from '../catalog/identities.js';
import type { Append, ByteFacts, Via } from '../catalog/lines.js';
import { NotReady } from '../catalog/lmdb.js';
import { rowOf } from '../catalog/row-of.js';
import type { FileRow } from '../catalog/rows.js';
import { appendTogether, commonLength, type Appended } from '../fs/append.js';
import { fingerprint, fingerprintSize, formatFingerprint } from '../fs/fingerprint.js';
import { closeQuietly } from '../fs/close.js';
import type { OpenFile } from '../fs/reader.js';
import { openAgain, type Staged } from '../fs/stage.js';
import { endRunning, setRunning } from './appends-running.js';
import type { ObjectInfo, ObjectRef } from './contract.js';
import { isAbsent, type Core, type Found } from './core.js';
import { describe, isAppending, knowledge } from './describe.js';
import { beginGrowth, breakGrowth, endGrowth, stateOf } from './growth.js';
import { tellHalfAppended } from './half-appended.js';
import type { Hold } from './hold.js';
import { newRow, type Objects } from './objects.js';
import type { Current } from './reading.js';
import { Retry } from './publish.js';

/** What is to be appended, and where. */
export interface Piece extends ObjectRef {
  offset: number;
  staged: Staged;
  plan: DigestPlan;
  hold: Hold;
  condition: WriteCondition | undefined;
  /** What the client says of an object that this append makes. */
  facts: KeyFacts;
  via: Via;
  /** Told of an append that could be neither done nor cut off: the piece is needed for that later. */
  leave: (line: Append) => void;
  /** The old bytes could not be hashed. */
  unhashed?: boolean;
}

export type Bytes = Omit<ByteFacts, 'fp'>;

/** A piece on its way into a file. */
interface Growth {
  piece: Piece;
  before: Found;
  file: FileHandle;
  /** Of the journal's line. */
  id: string;
  /** Of the whole object, once it is done. */
  bytes: Bytes;
  state: Appended;
  /** It has happened, and stands whatever fails now. */
  committed?: true;
}

export class InPlace {
  constructor(
    private readonly core: Core,
    private readonly objects: Objects,
  ) {}

  /**
   * Marks the row, appends, and commits; a crash in between is cut back to the old length (see store/recovery.ts).
   * @throws Retry if the file is no longer what was found, OperationAborted if other programs write to it as well.
   */
  append(piece: Piece, current: Current, bytes: Bytes): Promise<ObjectInfo> {
    // the piece lies on the disk already, and once more in the file until it is discarded
    return this.core.room.writing(current.found.dir.path, piece.staged.size, (wrote) =>
      this.appendNow(piece, current, bytes, wrote),
    );
  }

  private async appendNow(
    piece: Piece,
    { found, file: current }: Current,
    bytes: Bytes,
    wrote: (bytes: number) => void,
  ): Promise<ObjectInfo> {
    const { core } = this;
    const { bucket, key, condition } = piece;
    const { publisher } = this.objects;
    const subject = subjectOf(found.place);
    if (!('path' in subject)) throw new S3Error('InternalError');
    // of the very file that was found, whatever others have called it meanwhile
    const file = await openForAppend(found, current);
    const id = `${core.token}-${randomBytes(6).toString('hex')}`;
    const growth: Growth = { piece, before: found, file, id, bytes, state: { placed: 0, wrote } };
    try {
      const known = await publisher.current(bucket, key, condition);
      const line = this.lineOf(growth, subject.path);
      setRunning(core, line);
      try {
        return await this.grow(growth, line, known);
      } finally {
        endRunning(line);
      }
    } finally {
      await file.close();
    }
  }

  private async grow(growth: Growth, line: Append, known: Found | undefined): Promise<ObjectInfo> {
    const { core } = this;
    const { piece, before, id } = growth;
    const { bucket, key, condition } = piece;
    const { publisher } = this.objects;
    const { catalog } = core;
    const ticket = catalog.journal.prepare(line);
    let marked = false;
    try {
      if (core.durable) await catalog.journal.flush(ticket.segment);
      catalog.record(() => {
        piece.hold();
        const now = publisher.checkAgain(bucket, key, condition, known);
        if (!now || !isUnchanged(now, before) || now.stat.nlink > 1n || isAppending(now)) throw new Retry();
        this.mark(bucket, key, now, id);
        catalog.appends.note({ ...line, begun: true });
      });
      marked = true;
      setRunning(core, { ...line, begun: true });
      const info = await this.write(growth, line);
      catalog.journal.settle(ticket);
      return info;
    } catch (error) {
      let left: Leftover | undefined;
      try {
        if (marked) left = this.undo(growth, line, error);
      } catch (failed) {
        // it stays open, for whoever comes upon the file, and the next start
        piece.leave(line);
        catalog.journal.settle(ticket);
        throw failed;
      }
      publisher.abandon(id, ticket);
      this.forget(piece, line);
      throw error instanceof Mixed ? mixed(piece, left) : error;
    }
  }

  /** An index that was made anew meanwhile may know of it from the journal. */
  private forget(piece: Piece, line: Append): void {
    const { appends, index } = this.core.catalog;
    try {
      index.refresh();
      if (appends.find(identityOfAppend(line))?.id === line.id) index.write(() => appends.forget(line));
    } catch (error) {
      piece.leave(line);
      throw error;
    }
  }

  private lineOf({ piece, before, id, bytes }: Growth, path: string): Append {
    const { stat, fp, row } = before;
    const { layout, ...facts } = bytes;
    return {
      op: 'append',
      id,
      path,
      fp: formatFingerprint(fp),
      ctime: String(stat.ctimeNs),
      size: Number(stat.size),
      ...(row && knowledge(before) === 'known' && { etag: row.etag }),
      piece: piece.staged.path,
      time: Date.now(),
      boot: bootId(),
      bytes: facts,
      ...(layout && { part: partOf(layout) }),
      facts: row?.facts ?? {},
      via: piece.via,
    };
  }

  /** From now on the object is what it is now, however long its file becomes. Under the lock. */
  private mark(bucket: string, key: string, now: Found, id: string): void {
    const { catalog } = this.core;
    const { stat, fp, place } = now;
    const known = knowledge(now) === 'known';
    const { facts, published, seq } = now.row ?? newRow();
    const base: FileRow = known && now.row ? now.row : { ...newRow(), published, seq, ...(facts && { facts }) };
    const etag = known ? base.etag : describe(bucket, key, now).etag;
    const appending = { appendFrom: Number(stat.size), appendId: id };
    beginGrowth(catalog.index, stateOf(now), id);
    catalog.putRow(place, { ...base, etag, fp, ctimeNs: stat.ctimeNs, ...appending });
  }

  private async write(growth: Growth, line: Append): Promise<ObjectInfo> {
    const { core } = this;
    const { piece, before, file, id, bytes, state } = growth;
    const { bucket, key, staged } = piece;
    const { catalog } = core;
    const dirtied = new Set<string>();
    const { size, mtimeNs, mode } = fstatSync(file.fd, { bigint: true });
    if (size !== before.stat.size || mtimeNs !== before.stat.mtimeNs) throw new Touched();
    // for others than root the system itself does so
    if (process.getuid?.() === 0 && (mode & 0o6000n) !== 0n) fchmodSync(file.fd, withoutSetId(mode));
    await appendTogether(file, staged.path, Number(size), state);
    const written = fstatSync(file.fd, { bigint: true });
    if (state.placed < staged.size) throw new Mixed();
    if (core.durable) await file.sync();
    const found = catalog.record((): Found => {
      const stat = fstatSync(file.fd, { bigint: true });
      const there = core.find(bucket, key);
      // deleted, renamed or replaced meanwhile: what is there now decides
      if (there?.stat.ino !== stat.ino || there.stat.dev !== stat.dev || !isAppending(there)) throw new Retry();
      if (stat.size !== size + BigInt(staged.size) || stat.mtimeNs !== written.mtimeNs) throw new Mixed();
      const fp = fingerprint(stat, core.mounts.idOf(stat.dev, there.dir.path));
      const seq = catalog.nextSeq();
      // as they are now: tags may have been changed meanwhile
      const { facts } = describe(bucket, key, there);
      // of our own last write: if others have touched the file since, its bytes have yet to be proved
      const { ctimeNs } = written;
      const ctime = String(ctimeNs);
      catalog.journal.append({ op: 'appended', id, seq, fp: formatFingerprint(fp), ctime, facts });
      catalog.appends.end(line);
      catalog.removeRow(there.place);
      const row = catalog.fileRow({ ...bytes, fp: formatFingerprint(fp) }, facts, seq, ctimeNs, true);
      const chain = endGrowth(catalog.index, { fp, ctimeNs, etag: bytes.etag }, id);
      if (chain !== undefined) row.appended = chain;
      this.objects.publisher.dropOverflow(bucket, key, dirtied);
      catalog.putRow(there.place, row);
      catalog.noteSettled();
      return { ...there, stat: written, fp, row };
    });
    growth.committed = true;
    endRunning(line);
    await core.flushed(dirtied);
    return describe(bucket, key, found);
  }

  /**
   * Through the open file, whatever others have called it meanwhile. The cut gave it another mtime: that is written down, so that what is known of its
   * bytes holds without the index too, and when it comes back to its place.
   * @returns what of the piece is left in the file.
   */
  private undo(growth: Growth, line: Append, error: unknown): Leftover | undefined {
    const { piece, before, file, id, bytes } = growth;
    const { catalog, mounts } = this.core;
    if (growth.committed) return undefined;
    // an index that was lost is no reason to leave the bytes in the file
    catalog.index.refresh();
    const look = error instanceof Touched ? undefined : lookAtTail(growth, error);
    return catalog.index.write(() => {
      const { place, row } = rowOf(catalog, identityOf(before.fp), before.place);
      catalog.appends.forget(line);
      // committed, but not flushed: it stands
      const grown = row !== undefined && BigInt(fingerprintSize(row.fp)) > before.stat.size;
      if (grown && row.appendFrom === undefined && row.etag === bytes.etag) return undefined;
      const cut = look?.cutTo !== undefined && isSame(fstatSync(file.fd, { bigint: true }), look.stat);
      if (cut && look.cutTo !== undefined) ftruncateSync(file.fd, look.cutTo);
      const left = cut ? look.leftAfter : look?.left;
      const whole = cut && look.alone === true && look.cutTo === Number(before.stat.size);
      const stat = fstatSync(file.fd, { bigint: true });
      const fp = fingerprint(stat, mounts.idOf(stat.dev, before.dir.path));
      if (whole) endGrowth(catalog.index, { ...stateOf(before), fp, ctimeNs: stat.ctimeNs }, id);
      else breakGrowth(catalog.index, fp, id);
      if (left && left.length < piece.staged.size)
        tellHalfAppended(this.core, 'error', {
          file: pathOf(place ?? before.place),
          offset: left.at,
          bytes: left.length,
        });
      // what was known of the bytes is not there yet: the line stays open, and all that is left to do is to write it down
      if (!catalog.index.ready) throw new NotReady('the index is being made anew');
      const ours = row?.appendId === id || (row?.appendFrom === undefined && row?.fp.equals(before.fp) === true);
      if (!place || !row || !ours) return left;
      const { appendFrom: _ended, appendId: _id, ...rest } = row;
      // an ETag that was only derived is no fact
      const fact = before.row?.etag ?? '';
      if (!whole || knowledge(before) !== 'known') {
        catalog.putRow(place, { ...rest, etag: whole ? fact : '' });
        return left;
      }
      const { facts = {}, published } = rest;
      const old = { ...catalog.bytesOf(rest), fp: formatFingerprint(fp) };
      catalog.adoptLine({ op: 'prepare', id, ...subjectOf(place), bytes: old, facts, published }, stat.ctimeNs);
      return left;
    });
  }
}

/** Another program has written to the file as well: nobody knows what it holds. */
class Mixed extends S3Error {
  constructor(more = '') {
    super('OperationAborted', `The file was changed by another program while it was appended to.${more}`);
  }
}

/** Another program has written to the file before we did: it is looked at again, and nothing of it is ours to cut off. */
class Touched extends Retry {}

/** Bytes of a piece that stay in a file though its append came to nothing: others have written behind them. */
interface Leftover {
  at: number;
  length: number;
}

/** For the client: whether the piece is in the file after all. */
function mixed({ staged }: Piece, left: Leftover | undefined): Mixed {
  if (!left) return new Mixed(' Nothing of what was sent is in it.');
  if (left.length === staged.size) return new Mixed(` What was sent was written whole, at offset ${left.at}.`);
  return new Mixed(` ${left.length} bytes of what was sent were written, at offset ${left.at}.`);
}

function pathOf(place: Place): string {
  return place.kind === 'tree' ? [...place.dirs, place.name].join('/') : `${place.bucket}/${place.key}`;
}

interface Tail {
  stat: BigIntStats;
  /** Nobody else has written to the file since it was found: what was known of the bytes before the piece holds. */
  alone?: boolean;
  /** All that is behind this offset is ours. */
  cutTo?: number;
  /** What stays if it is cut off, and if it is not. */
  leftAfter?: Leftover;
  left?: Leftover;
}

/** What of a piece stands in its file, and what of it can be cut off. */
function lookAtTail({ piece: { staged }, before, file, state }: Growth, error: unknown): Tail {
  const from = Number(before.stat.size);
  const stat = fstatSync(file.fd, { bigint: true });
  const end = Number(stat.size);
  const leftOf = (length: number): Leftover | undefined => (length > 0 ? { at: from, length } : undefined);
  if (error instanceof Mixed) {
    const left = leftOf(Math.min(state.placed, end - from));
    const { strayed } = state;
    const cut = strayed && strayed.at + strayed.length === end ? { cutTo: strayed.at } : {};
    return { stat, ...(left && { left, leftAfter: left }), ...cut };
  }
  const alone = end === from + state.placed && stat.mtimeNs === (state.mtimeNs ?? before.stat.mtimeNs);
  const common = alone ? state.placed : commonBytes(file.fd, from, staged.path);
  const left = leftOf(common);
  return { stat, alone, ...(left && { left }), ...(from + common === end && { cutTo: from }) };
}

function commonBytes(fd: number, from: number, path: string): number {
  const piece = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    return commonLength(fd, from, piece);
  } finally {
    closeSync(piece);
  }
}

function isSame(a: BigIntStats, b: BigIntStats): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs;
}

/** What a client appends must not run as the file's owner. */
export function withoutSetId(mode: bigint): number {
  return Number(mode) & 0o1777;
}

/** Whether a file is what was found before, with all that is known of its bytes. */
export function isUnchanged(now: Found, before: Found): boolean {
  return (
    now.fp.equals(before.fp) &&
    now.stat.ctimeNs === before.stat.ctimeNs &&
    now.place.kind === before.place.kind &&
    knowledge(now) === knowledge(before) &&
    now.row?.etag === before.row?.etag
  );
}

/** Opens for writing what is open for reading. @throws Retry if it is another file by now. */
async function openForAppend(found: Found, current: OpenFile): Promise<FileHandle> {
  let fd: number;
  try {
    fd = openRw(found.dir.at(found.name));
  } catch (error) {
    if (isAbsent(error)) throw new Retry();
    throw error;
  }
  try {
    const { ino, dev } = fstatSync(fd, { bigint: true });
    if (ino !== current.stat.ino || dev !== current.stat.dev) throw new Retry();
    return await open(openAgain(fd, current.path), constants.O_RDWR | constants.O_APPEND);
  } finally {
    closeQuietly(fd);
  }
}

/** A file as it stands there, without following a link. */
export function openRw(path: string): number {
  return openSync(path, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK);
}
