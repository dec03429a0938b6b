/**
 * Appends (`x-amz-write-offset-bytes`): in place, after a prepare line with the old length. Readers see the old object until the new one is
 * whole; a crash in between is cut back to the old length (store/recovery.ts). A file with several links is copied instead.
 *
 * Where the piece goes is decided when it has arrived, under the lock: what is at the key then must have the size that the client named.
 */
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, constants, fchmodSync, fstatSync, ftruncateSync, openSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { S3Error } from '../base/errors.js';
import type { Body, Checksum, DigestPlan, Digests, KeyFacts, WriteCondition } from '../base/model.js';
import { subjectOf, type Place } from '../catalog/catalog.js';
import { identityOf } from '../catalog/identities.js';
import type { ByteFacts, Via } from '../catalog/lines.js';
import { rowName, type FileRow, type Layout } from '../catalog/rows.js';
import { fingerprint, formatFingerprint } from '../fs/fingerprint.js';
import { closeRead, type OpenFile } from '../fs/reader.js';
import { appendFile, applyInherit, discard, openAgain, stageBody, stageCopy, type Staged } from '../fs/stage.js';
import { combineChecksums } from '../wire/checksums.js';
import { viaOf } from './attribution.js';
import type { ObjectInfo, ObjectRef, PutOptions } from './contract.js';
import { isAbsent, noSuchKey, type Core, type Found } from './core.js';
import { describe, isAppending, knowledge } from './describe.js';
import { holdBucket, type Hold } from './hold.js';
import { clientMtime } from './mtime.js';
import { newRow, storedChecksum, type Current, type Objects } from './objects.js';
import { Outdated } from './place.js';
import { Retry, retried, thinkOver } from './publish.js';

/** What is to be appended, and where. */
interface Piece extends ObjectRef {
  offset: number;
  staged: Staged;
  plan: DigestPlan;
  hold: Hold;
  condition: WriteCondition | undefined;
  /** What the client says of an object that this append makes. */
  facts: KeyFacts;
  via: Via;
}

type Bytes = Omit<ByteFacts, 'fp'>;

/** ms; the next attempt waits longer. */
const WAIT_MS = 10;

export class Appender {
  constructor(
    private readonly core: Core,
    private readonly objects: Objects,
  ) {}

  /**
   * Appends to what is at the key when the piece has arrived whole; 0 makes the object if there is none. Readers see the old object until the new one
   * is whole.
   * @throws InvalidWriteOffset unless the object then has this size, NoSuchKey.
   */
  async append(bucket: string, key: string, offset: number, body: Body, options: PutOptions = {}): Promise<ObjectInfo> {
    const { core, objects } = this;
    core.checkWritable();
    const hold = holdBucket(core, bucket);
    this.checkOffset({ bucket, key, offset }, core.find(bucket, key));
    const target = core.target(bucket, key);
    const { digests: plan = { algorithms: [] }, facts = {}, condition } = options;
    const staging = { ...objects.staging(target), mtime: clientMtime(facts) };
    const staged = await core.room.during(staging.directory, body, (body) =>
      stageBody(body, plan, staging, undefined, core.durable),
    );
    const via = viaOf(options.via, 'ObjectCreated:Put');
    const piece: Piece = { bucket, key, offset, staged, plan, hold, condition, facts, via };
    let waited = 0;
    try {
      return await retried(async () => {
        if (this.isBusy(piece)) {
          // one after the other: who comes second finds the object longer
          await sleep((waited += WAIT_MS));
          throw new Retry();
        }
        return this.attempt(piece).catch(thinkOver);
      });
    } finally {
      discard(staged.path);
    }
  }

  private isBusy({ bucket, key }: ObjectRef): boolean {
    this.core.catalog.index.refresh();
    const found = this.core.find(bucket, key);
    return found !== undefined && isAppending(found);
  }

  /** @throws InvalidWriteOffset, NoSuchKey, NoSuchBucket. */
  private checkOffset({ bucket, key, offset }: ObjectRef & { offset: number }, found: Found | undefined): void {
    const size = found && describe(bucket, key, found).size;
    if (size === undefined) this.core.bucketDir(bucket);
    if (size === undefined && offset > 0) throw noSuchKey(key);
    if (size !== undefined && size !== offset) throw wrongOffset(offset, size);
  }

  private async attempt(piece: Piece): Promise<ObjectInfo> {
    const { core, objects } = this;
    const { bucket, key, staged } = piece;
    const there = core.find(bucket, key);
    this.checkOffset(piece, there);
    if (!there) return this.create(piece);
    const { found, file } = await objects.openCurrent(bucket, key);
    try {
      this.checkOffset(piece, found);
      if (found.row?.from) throw this.settled(found);
      if (isAppending(found)) throw new Retry();
      const added = { size: staged.size, md5: staged.digests.MD5, digests: staged.digests };
      const bytes = this.appendedFacts(found, etagOf(bucket, key, found), added, piece.plan);
      if (found.stat.nlink > 1n || found.link || found.place.kind === 'overflow') {
        return await this.appendByCopy(piece, { found, file }, bytes);
      }
      return await this.appendInPlace(piece, { found, file }, bytes);
    } finally {
      closeRead(file.fd);
    }
  }

  /** What was said of a file that another program has renamed follows it now: a client speaks of the new key. */
  private settled({ place, row }: Found): Retry {
    const { catalog, tracker } = this.core;
    catalog.index.write(() => {
      const now = catalog.row(place) ?? row;
      if (place.kind === 'tree' && now) tracker.settleFile(place, now, true);
    });
    return new Retry();
  }

  /** The first bytes of an object that does not exist; a marker is an empty object, of which all that was said stays. */
  private async create(piece: Piece): Promise<ObjectInfo> {
    const { core, objects } = this;
    const { bucket, key, staged, plan, hold, condition, facts, via } = piece;
    const guard = {
      hold,
      exclusive: true,
      check: (now: Found | undefined) => {
        if (now) throw new Outdated();
      },
    };
    const said = (): KeyFacts => core.findMarker(bucket, key)?.facts ?? facts;
    if (staged.size === 0 && objects.markers.possible(bucket, key)) {
      const marker = { facts: said(), ...this.checksumOf(staged.digests, plan) };
      return objects.markers.put(bucket, key, marker, via, guard, condition);
    }
    const bytes = { etag: staged.digests.MD5.toString('hex'), ...this.checksumOf(staged.digests, plan) };
    return objects.publisher.publish(piece, staged, { bytes, facts: said, via }, guard, condition);
  }

  private checksumOf(digests: Digests, plan: DigestPlan): { checksum?: Checksum } {
    const { checksum } = storedChecksum(plan, digests);
    return checksum ? { checksum } : {};
  }

  /** ETag over the old object and the piece as over parts, so that nothing is read again: md5(md5s)-N. */
  private appendedFacts(
    before: Found,
    etag: string,
    added: { size: number; md5: Buffer; digests: Digests },
    plan: DigestPlan,
  ): Bytes {
    if (before.stat.size === 0n) return { etag: added.md5.toString('hex'), ...this.checksumOf(added.digests, plan) };
    const old = before.row?.layout === undefined ? undefined : this.core.catalog.index.layout(before.row.layout);
    const pieces = etag.length > 32 ? Buffer.from(etag.slice(0, 32), 'hex') : Buffer.from(etag, 'hex');
    const oldSizes: [number, number][] =
      knowledge(before) === 'known' && old ? old.sizes : [[Number(before.stat.size), 1]];
    const layout: Layout = { sizes: [...oldSizes, [added.size, 1]] };
    const count = layout.sizes.reduce((sum, [, times]) => sum + times, 0);
    if (count > 10_000)
      throw new S3Error('InvalidRequest', 'The object was appended to 10,000 times; copy it before going on.');
    const checksum = appendedChecksum(before, added, plan);
    return {
      etag: `${createHash('md5').update(pieces).update(added.md5).digest('hex')}-${count}`,
      layout,
      ...(checksum && { checksum }),
    };
  }

  /** For files with several names, and where a rename is all that is needed. */
  private async appendByCopy(piece: Piece, { found, file: source }: Current, bytes: Bytes): Promise<ObjectInfo> {
    const { core } = this;
    const { bucket, key, staged, hold, via, condition } = piece;
    const { mode, uid, gid, size } = found.stat;
    const directory = core.stagingFor(core.target(bucket, key).base);
    const from = openAgain(source.fd, source.path);
    const { path, file } = await stageCopy(from, { directory, owner: core.token, ...core.fileMode() });
    try {
      applyInherit(file.fd, { mode: withoutSetId(mode), uid: Number(uid), gid: Number(gid) });
      await appendFile(file, staged.path, Number(size));
      if (core.durable) await file.sync();
      const stat = fstatSync(file.fd, { bigint: true });
      const check = (now: Found | undefined): void => {
        if (!now || !isUnchanged(now, found)) throw new Outdated();
      };
      // what is said of the key when the new object comes to stand there
      const facts = (now: Found | undefined): KeyFacts => (now ? describe(bucket, key, now).facts : {});
      return await this.objects.publisher.publish(
        piece,
        { path, stat },
        { bytes, facts, via },
        { hold, check },
        condition,
      );
    } finally {
      discard(path);
      await file.close();
    }
  }

  /** Marks the row, appends, and commits; a crash in between is cut back to the old length (see store/recovery.ts). */
  private async appendInPlace(piece: Piece, { found, file: open }: Current, bytes: Bytes): Promise<ObjectInfo> {
    const { core } = this;
    const { bucket, key, staged, via, condition } = piece;
    const { publisher } = this.objects;
    const { catalog } = core;
    const size = Number(found.stat.size);
    const facts = found.row?.facts ?? {};
    const subject = subjectOf(found.place);
    if (!('path' in subject)) throw new S3Error('InternalError');
    // of the very file that was found, whatever others have called it meanwhile
    const file = await openForAppend(found, open);
    let marked = false;
    try {
      const known = await publisher.current(bucket, key, condition);
      const id = `${core.token}-${randomBytes(6).toString('hex')}`;
      const ino = String(found.stat.ino);
      const ticket = catalog.journal.prepare({
        op: 'append',
        id,
        path: subject.path,
        size,
        ino,
        piece: staged.path,
        bytes,
        facts,
        via,
      });
      try {
        if (core.durable) await catalog.journal.flush(ticket.segment);
        catalog.index.write(() => {
          piece.hold();
          const now = publisher.checkAgain(bucket, key, condition, known);
          if (!now || !isUnchanged(now, found) || now.stat.nlink > 1n || isAppending(now)) throw new Retry();
          this.mark(bucket, key, now);
        });
        marked = true;
        const info = await this.writePiece(piece, found, file, id, bytes);
        catalog.journal.settle(ticket);
        return info;
      } catch (error) {
        // what cannot be cut back now stays open: the next start does it
        if (marked)
          this.cutBack(piece, found, file.fd, id, bytes, !(error instanceof Mixed || error instanceof Touched));
        publisher.abandon(id, ticket);
        throw error;
      }
    } finally {
      await file.close();
    }
  }

  /** From now on the object is what it is now, however long its file becomes. Under the lock. */
  private mark(bucket: string, key: string, now: Found): void {
    const { catalog } = this.core;
    const { stat, fp, place } = now;
    const known = knowledge(now) === 'known';
    const { facts, published, seq } = now.row ?? newRow();
    const base: FileRow = known && now.row ? now.row : { ...newRow(), published, seq, ...(facts && { facts }) };
    const etag = known ? base.etag : describe(bucket, key, now).etag;
    catalog.putRow(place, { ...base, etag, fp, ctimeNs: stat.ctimeNs, appendFrom: Number(stat.size) });
  }

  private async writePiece(
    { bucket, key, staged }: Piece,
    before: Found,
    file: FileHandle,
    id: string,
    bytes: Bytes,
  ): Promise<ObjectInfo> {
    const { core } = this;
    const { catalog } = core;
    const dirtied = new Set<string>();
    const { size, mtimeNs, mode } = fstatSync(file.fd, { bigint: true });
    if (size !== before.stat.size || mtimeNs !== before.stat.mtimeNs) throw new Touched();
    // for others than root the system itself does so
    if (process.getuid?.() === 0 && (mode & 0o6000n) !== 0n) fchmodSync(file.fd, withoutSetId(mode));
    await appendFile(file, staged.path, Number(size));
    const written = fstatSync(file.fd, { bigint: true });
    if (core.durable) await file.sync();
    const found = catalog.index.write((): Found => {
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
      catalog.removeRow(there.place);
      const row = catalog.fileRow({ ...bytes, fp: formatFingerprint(fp) }, facts, seq, ctimeNs, true);
      row.appended = true;
      if (there.row?.unproven) row.unproven = true;
      this.objects.publisher.dropOverflow(bucket, key, dirtied);
      catalog.putRow(there.place, row);
      catalog.noteSettled();
      return { ...there, stat: written, fp, row };
    });
    await this.objects.flushed(dirtied);
    return describe(bucket, key, found);
  }

  /**
   * Through the open file, whatever others have called it meanwhile. The cut gave it another mtime: that is written down, so that what is known of its
   * bytes holds without the index too, and when it comes back to its place.
   * @param undisturbed whether all that is behind the old end is ours, as far as was seen.
   */
  private cutBack(
    { staged }: Piece,
    before: Found,
    fd: number,
    id: string,
    { etag }: Bytes,
    undisturbed: boolean,
  ): void {
    const { catalog, mounts } = this.core;
    catalog.index.write(() => {
      // what others have put behind the piece is not ours to cut off
      const most = before.stat.size + BigInt(staged.size);
      const ours = undisturbed && fstatSync(fd, { bigint: true }).size <= most;
      const { place, row } = this.rowOf(before);
      // committed, but not flushed: it stands
      if (row && row.appendFrom === undefined && row.etag === etag) return;
      if (ours) ftruncateSync(fd, Number(before.stat.size));
      if (!place || row?.appendFrom === undefined) return;
      const { appendFrom: _ended, ...rest } = row;
      // an ETag that was only derived is no fact
      const fact = before.row?.etag ?? '';
      if (!ours || knowledge(before) !== 'known') return catalog.putRow(place, { ...rest, etag: ours ? fact : '' });
      const stat = fstatSync(fd, { bigint: true });
      const fp = formatFingerprint(fingerprint(stat, mounts.idOf(stat.dev, before.dir.path)));
      const { facts = {}, published } = rest;
      const bytes = { ...catalog.bytesOf(rest), fp };
      catalog.adoptLine({ op: 'prepare', id, ...subjectOf(place), bytes, facts, published }, stat.ctimeNs);
    });
  }

  /** The row of a file, also where a folder above it was renamed. */
  private rowOf({ place, fp }: Found): { place?: Place; row?: FileRow } {
    const { catalog } = this.core;
    const isOurs = (row: FileRow | undefined): row is FileRow =>
      row !== undefined && identityOf(row.fp).equals(identityOf(fp));
    const row = catalog.row(place);
    if (isOurs(row)) return { place, row };
    const seen = catalog.identities.find(identityOf(fp));
    if (seen?.kind !== 'file') return {};
    const dirs = catalog.identities.pathOf(seen.key.readUIntBE(0, 6));
    const moved = catalog.rowAt(seen.key);
    if (!dirs || !isOurs(moved)) return {};
    return { place: { kind: 'tree', dirs, name: rowName(seen.key).toString('utf8') }, row: moved };
  }
}

/** Another program has written to the file as well: nobody knows what it holds. */
class Mixed extends S3Error {
  constructor() {
    super('OperationAborted', 'The file was changed by another program while it was appended to.');
  }
}

/** Another program has written to the file before we did: it is looked at again, and nothing of it is ours to cut off. */
class Touched extends Retry {}

/** What a client appends must not run as the file's owner. */
function withoutSetId(mode: bigint): number {
  return Number(mode) & 0o1777;
}

/** Whether a file is what was found before, with all that is known of its bytes. */
function isUnchanged(now: Found, before: Found): boolean {
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
    return await open(openAgain(fd, current.path), constants.O_RDWR);
  } finally {
    closeRead(fd);
  }
}

/** A full-object CRC goes on over the piece; others cannot. */
function appendedChecksum(
  before: Found,
  added: { size: number; digests: Digests },
  plan: DigestPlan,
): Checksum | undefined {
  const old = knowledge(before) === 'known' ? before.row?.checksum : undefined;
  const digest = plan.store && added.digests[plan.store];
  if (!old || !digest || old.type !== 'FULL_OBJECT' || old.algorithm !== plan.store) return undefined;
  if (old.algorithm !== 'CRC32' && old.algorithm !== 'CRC32C' && old.algorithm !== 'CRC64NVME') return undefined;
  const parts = [
    { value: old.value, size: Number(before.stat.size) },
    { value: digest.toString('base64'), size: added.size },
  ];
  return { ...old, value: combineChecksums(old.algorithm, parts) };
}

/** Cuts a file back to `size` if it is still the file with that inode. */
export function cutFile(path: string, ino: bigint, size: number): void {
  const fd = openRw(path);
  try {
    if (fstatSync(fd, { bigint: true }).ino === ino) ftruncateSync(fd, size);
  } finally {
    closeSync(fd);
  }
}

function openRw(path: string): number {
  return openSync(path, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK);
}

function wrongOffset(offset: number, size: number): S3Error {
  return new S3Error('InvalidWriteOffset', `The write offset ${offset} is not the size of the object, ${size}.`);
}

/** Of the bytes, whatever was told before they were hashed. */
function etagOf(bucket: string, key: string, found: Found): string {
  return knowledge(found) === 'known' && found.row ? found.row.etag : describe(bucket, key, found).etag;
}
