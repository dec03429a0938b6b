/**
 * Appends (`x-amz-write-offset-bytes`): in place, after a prepare line with the old length. Readers see the old object until the new one is
 * whole; a crash in between is cut back to the old length (store/recovery.ts). A file with several links, or one that is a running program, is copied instead.
 *
 * Where the piece goes is decided when it has arrived, under the lock: what is at the key then must have the size that the client named.
 */
import { fstatSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { S3Error, errno } from '../base/errors.js';
import type { Body, ChecksumAlgorithm, KeyFacts } from '../base/model.js';
import { identityOfAppend } from '../catalog/appends.js';
import type { Append } from '../catalog/lines.js';
import { closeQuietly } from '../fs/close.js';
import { appendFile, applyInherit, discard, openAgain, stageBody, stageCopy } from '../fs/stage.js';
import { InPlace, isUnchanged, withoutSetId, type Bytes, type Piece } from './append-in-place.js';
import { algorithmOf, appendedFacts, digestsWith } from './appended.js';
import { viaOf } from './attribution.js';
import type { ObjectInfo, ObjectRef, PutOptions } from './contract.js';
import { claimWay } from './claim-way.js';
import { noSuchKey, type Core, type Found } from './core.js';
import { describe, isAppending, knowledge } from './describe.js';
import { holdBucket } from './hold.js';
import { clientMtime } from './mtime.js';
import { storedChecksum, type Objects } from './objects.js';
import type { Current } from './reading.js';
import { Outdated } from './place.js';
import { Retry, retried, thinkOver } from './publish.js';

/** ms; the next attempt waits longer. */
const WAIT_MS = 10;

export class Appender {
  private readonly inPlace: InPlace;
  /** Neither done nor cut off. */
  private left: Append[] = [];

  constructor(
    private readonly core: Core,
    private readonly objects: Objects,
  ) {
    this.inPlace = new InPlace(core, objects);
  }

  /**
   * Appends to what is at the key when the piece has arrived whole; 0 makes the object if there is none. Readers see the old object until the new one
   * is whole.
   * @throws InvalidWriteOffset unless the object then has this size, NoSuchKey.
   */
  async append(bucket: string, key: string, offset: number, body: Body, options: PutOptions = {}): Promise<ObjectInfo> {
    const { core, objects } = this;
    core.checkWritable();
    const hold = holdBucket(core, bucket);
    claimWay(core, bucket, key);
    const there = core.find(bucket, key);
    this.checkOffset({ bucket, key, offset }, there);
    const target = core.target(bucket, key);
    const { digests: plan = { algorithms: [] }, facts = {}, condition } = options;
    const staging = { ...objects.staging(target), mtime: clientMtime(facts) };
    const going = algorithmOf(there) ?? this.algorithmOfMarker({ bucket, key });
    const wanted = going ? { ...plan, algorithms: [...plan.algorithms, going] } : plan;
    // before its first byte is read: as a piece, and once more in the object
    if (there && body.size !== undefined) core.room.check(staging.directory, 2 * body.size);
    const staged = await core.room.during(staging.directory, body, (body) =>
      stageBody(body, wanted, staging, objects.publisher.inheritFrom(target), core.durable),
    );
    const via = viaOf(options.via, 'ObjectCreated:Put');
    let kept = false;
    const leave = (line: Append): void => {
      kept = true;
      this.left.push(line);
    };
    const piece: Piece = { bucket, key, offset, staged, plan, hold, condition, facts, via, leave };
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
      if (!kept) discard(staged.path);
    }
  }

  /** Ends what could not be ended when it failed. Asked from time to time, for nobody else may come upon the file. */
  settleLeft(): void {
    const { appends, index } = this.core.catalog;
    if (this.left.length === 0 || !this.core.presence.here || !index.ready) return;
    this.left = this.left.filter((line) => {
      if (appends.find(identityOfAppend(line))?.id === line.id && this.core.settleAppend?.(line) !== true) return true;
      discard(line.piece);
      return false;
    });
  }

  private isBusy({ bucket, key }: ObjectRef): boolean {
    const { core } = this;
    core.catalog.index.refresh();
    const found = core.find(bucket, key);
    return found !== undefined && isAppending(found);
  }

  /** @throws InvalidWriteOffset, NoSuchKey, NoSuchBucket. */
  private checkOffset({ bucket, key, offset }: ObjectRef & { offset: number }, found: Found | undefined): void {
    const size = found ? describe(bucket, key, found).size : this.core.findMarker(bucket, key) && 0;
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
    const { found, file } = await objects.reading.openCurrent(bucket, key);
    try {
      this.checkOffset(piece, found);
      if (core.tracker.settleNow(found)) throw new Retry();
      if (isAppending(found)) throw new Retry();
      if (await this.wasHashed(piece, found)) throw new Retry();
      const added = { size: staged.size, digests: await digestsWith(staged, algorithmOf(found)) };
      const bytes = appendedFacts(core, found, added, piece.plan);
      if (found.stat.nlink > 1n || found.link || found.place.kind === 'overflow') {
        return await this.appendByCopy(piece, { found, file }, bytes);
      }
      try {
        return await this.inPlace.append(piece, { found, file }, bytes);
      } catch (error) {
        // a program that is running: no system lets its file be written to
        if (errno(error) !== 'ETXTBSY') throw error;
        return await this.appendByCopy(piece, { found, file }, bytes);
      }
    } finally {
      closeQuietly(file.fd);
    }
  }

  /**
   * The ETag goes on from that of the old bytes, and is told for good: a file that nobody has hashed, or whose hash is in doubt, is read for it - once,
   * for then it is known, and not if it is never to be read. One that others are writing to stays unknown.
   */
  private async wasHashed(piece: Piece, found: Found): Promise<boolean> {
    if (piece.unhashed || found.stat.size === 0n || knowledge(found) === 'known') return false;
    const again = (): Found | undefined => this.core.find(piece.bucket, piece.key);
    const outcome = await this.objects.identifier.hashPlace(found, again);
    piece.unhashed = outcome === 'off' || outcome === 'changed';
    return outcome !== 'off';
  }

  private algorithmOfMarker({ bucket, key }: ObjectRef): ChecksumAlgorithm | undefined {
    return this.core.findMarker(bucket, key)?.checksum?.algorithm;
  }

  /** The first bytes of an object that does not exist; a marker is an empty object, of which all that was said stays, and its kind of checksum. */
  private async create(piece: Piece): Promise<ObjectInfo> {
    const { core, objects } = this;
    const { bucket, key, staged, hold, condition, facts, via } = piece;
    const going = this.algorithmOfMarker(piece);
    const guard = {
      hold,
      exclusive: true,
      check: (now: Found | undefined) => {
        if (now || this.algorithmOfMarker(piece) !== going) throw new Outdated();
      },
    };
    const said = (): KeyFacts => core.findMarker(bucket, key)?.facts ?? facts;
    const digests = await digestsWith(staged, going);
    const plan = going ? { algorithms: [going], store: going } : piece.plan;
    const { checksum } = storedChecksum(plan, digests);
    if (staged.size === 0 && objects.markers.possible(bucket, key)) {
      const marker = { facts: said(), ...(checksum && { checksum }) };
      return objects.markers.put(bucket, key, marker, via, guard, condition);
    }
    const bytes = { etag: digests.MD5.toString('hex'), ...(checksum && { checksum }) };
    return objects.publisher.publish(piece, staged, { bytes, facts: said, via }, guard, condition);
  }

  /** For files with several names, and where a rename is all that is needed. */
  private async appendByCopy(piece: Piece, { found, file: source }: Current, bytes: Bytes): Promise<ObjectInfo> {
    const { core } = this;
    const { bucket, key, staged, hold, via, condition } = piece;
    const { mode, uid, gid, size } = found.stat;
    const directory = core.stagingFor(core.target(bucket, key).base);
    const from = openAgain(source.fd, source.path);
    // the piece lies on the disk already, and once more in the copy until that is published
    return core.room.writing(directory, Number(size) + staged.size, async (_wrote, fills) => {
      const staging = { directory, owner: core.token, ...core.fileMode() };
      const { path, file } = await stageCopy(from, staging, fills);
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
    });
  }
}

function wrongOffset(offset: number, size: number): S3Error {
  return new S3Error('InvalidWriteOffset', `The write offset ${offset} is not the size of the object, ${size}.`);
}
