/** Copies (reflinked where the file system can) and moves (one rename(2)). */
import { fstatSync, unlinkSync } from 'node:fs';
import { S3Error, errno } from '../base/errors.js';
import type { ChecksumAlgorithm, DigestPlan, KeyFacts } from '../base/model.js';
import { randomHex } from '../base/random.js';
import { subjectOf } from '../catalog/catalog.js';
import { withoutAccess } from '../catalog/rows.js';
import type { ByteFacts, JournalLine } from '../catalog/lines.js';
import type { Dir } from '../fs/dirs.js';
import { createHasher, prepareHashes } from '../fs/hash.js';
import { realPathFrom, realPathOf } from '../fs/real-path.js';
import { closeQuietly } from '../fs/close.js';
import { changeOf, readRange } from '../fs/reader.js';
import { applyInherit, discard, openAgain, stageCopy, setMtime } from '../fs/stage.js';
import { checkRead } from '../wire/conditions.js';
import { viaOf } from './attribution.js';
import { checkNotDone, flushWay, tokenOf, wasDone } from './again.js';
import type { CopyOptions, MoveOptions, MoveToken, ObjectInfo, ObjectRef, OpenObject } from './contract.js';
import { isInside, lstatOf, type Core, type Found, type Target } from './core.js';
import { describe, isAppending, knowledge, factsAt, movedFacts } from './describe.js';
import { formerFacts } from './former.js';
import { holdBucket, type Hold } from './hold.js';
import { toldSoFar } from './identifier.js';
import { MountMover } from './mount-move.js';
import { storedChecksum, type Objects } from './objects.js';
import type { Current } from './reading.js';
import { clientMtime } from './mtime.js';
import { Outdated } from './place.js';
import { asideOf, destinationOf, Retry, retried, thinkOver, type Facts, type Guard } from './publish.js';
import { pulled } from './pulled.js';
import { checkTwoFiles } from './same-file.js';

type Prepare = Extract<JournalLine, { op: 'prepare' }>;

export class Transfer {
  readonly mounts: MountMover;

  constructor(
    private readonly core: Core,
    private readonly objects: Objects,
  ) {
    this.mounts = new MountMover(core, objects);
  }

  async copy(from: ObjectRef, to: ObjectRef, options: CopyOptions = {}): Promise<ObjectInfo> {
    this.core.checkWritable();
    const hold = holdBucket(this.core, to.bucket);
    return retried(() => this.attemptCopy(from, to, options, hold).catch(thinkOver));
  }

  private async attemptCopy(from: ObjectRef, to: ObjectRef, options: CopyOptions, hold: Hold): Promise<ObjectInfo> {
    const { core } = this;
    const { objects } = this;
    const isMarker = objects.markers.find(from.bucket, from.key) !== undefined;
    const current = isMarker ? undefined : await objects.reading.openCurrent(from.bucket, from.key);
    if (current && core.tracker.settleNow(current.found)) {
      closeQuietly(current.file.fd);
      throw new Retry();
    }
    const source = current ? objects.reading.opened(from, current) : await objects.reading.open(from.bucket, from.key);
    try {
      const said = (info: ObjectInfo): KeyFacts => (options.facts ? options.facts(info) : withoutAccess(info.facts));
      const facts = said(source.info);
      await objects.publisher.checkEarly(to.bucket, to.key, options.condition);
      const onMarker = to.key.endsWith('/') && source.info.size === 0 && objects.markers.possible(to.bucket, to.key);
      if (onMarker) return await this.copyByReading(source, to, facts, options, hold);
      const target = core.target(to.bucket, to.key);
      if (!current || isAppending(current.found)) return await this.copyByReading(source, to, facts, options, hold);
      const self = from.bucket === to.bucket && from.key === to.key;
      const guard: Guard = { hold, ...(self && { check: sameBytes(current.found) }) };
      // onto itself: what was said of the key meanwhile stays said
      const now = self
        ? (there: Found | undefined): KeyFacts => (there ? said(describe(from.bucket, from.key, there)) : facts)
        : facts;
      const told = { facts: now, mtime: clientMtime(facts), ...(self && { told: toldSoFar(current.found) }) };
      return await core.room.writing(target.base.at('.'), source.info.size, (_wrote, fills) =>
        this.copyFile(current, source.info, to, target, told, guard, { ...options, fills }),
      );
    } finally {
      await source.close();
    }
  }

  /** For markers, and objects that are being appended to: their file holds more than the object. */
  private async copyByReading(
    source: OpenObject,
    to: ObjectRef,
    facts: KeyFacts,
    options: CopyOptions,
    hold: Hold,
  ): Promise<ObjectInfo> {
    const algorithm = options.checksum ?? source.info.checksum?.algorithm;
    const digests: DigestPlan = algorithm ? { algorithms: [algorithm], store: algorithm } : { algorithms: [] };
    const reading = pulled((sink) => source.read(0, source.info.size, sink));
    return this.objects.put(
      to.bucket,
      to.key,
      { chunks: reading, size: source.info.size },
      {
        facts,
        digests,
        via: { event: 'ObjectCreated:Copy', ...options.via },
        ...(options.condition && { condition: options.condition }),
      },
      hold,
    );
  }

  /** A reflink where the file system can; what is known of the bytes is kept, what is not is computed over the copy. */
  private async copyFile(
    { found, file: source }: Current,
    info: ObjectInfo,
    to: ObjectRef,
    target: Target,
    { mtime, ...said }: Pick<Facts, 'facts' | 'told'> & { mtime: number | undefined },
    guard: Guard,
    options: CopyOptions & { fills: (fd: number) => void },
  ): Promise<ObjectInfo> {
    const { core } = this;
    const inherit = this.objects.publisher.inheritFrom(target);
    const staging = this.objects.staging(target);
    const { path, file } = await stageCopy(openAgain(source.fd, source.path), staging, options.fills);
    try {
      applyInherit(file.fd, inherit);
      // changed while it was copied, or nobody can tell: what is known of the source must be true of the copy
      if (changeOf(source) !== 'same') throw new Retry();
      await setMtime(file, mtime);
      if (core.durable) await file.sync();
      const stat = fstatSync(file.fd, { bigint: true });
      const bytes = await this.copiedFacts(info, found, { fd: file.fd, stat, path }, options.checksum);
      return await this.objects.publisher.publish(
        to,
        { path, stat },
        { bytes, ...said, via: viaOf(options.via, 'ObjectCreated:Copy') },
        guard,
        options.condition,
      );
    } catch (error) {
      discard(path);
      throw error;
    } finally {
      // it was flushed
      await file.close().catch(() => undefined);
    }
  }

  /** A copy is one piece: the MD5 is kept if it is one and known to be that of the bytes, else computed; likewise a full-object checksum. */
  private async copiedFacts(
    info: ObjectInfo,
    found: Found,
    copy: Parameters<typeof readRange>[0],
    wanted: ChecksumAlgorithm | undefined,
  ): Promise<Omit<ByteFacts, 'fp'>> {
    const proven = found.row?.unproven !== true;
    const kept =
      proven && info.checksum?.type === 'FULL_OBJECT' && (wanted === undefined || wanted === info.checksum.algorithm)
        ? info.checksum
        : undefined;
    const algorithm = kept ? undefined : (wanted ?? info.checksum?.algorithm);
    if (proven && knowledge(found) === 'known' && !info.etag.includes('-') && !algorithm)
      return { etag: info.etag, ...(kept && { checksum: kept }) };
    await prepareHashes();
    const hasher = createHasher(algorithm ? [algorithm] : []);
    await readRange(copy, 0, Number(copy.stat.size), (chunk) => hasher.update(chunk));
    const digests = hasher.digest();
    const checksum =
      kept ?? (algorithm && storedChecksum({ algorithms: [algorithm], store: algorithm }, digests).checksum);
    return { etag: digests.MD5.toString('hex'), ...(checksum && { checksum }) };
  }

  /** @param links `bytes`: a link becomes a copy of the file that it leads to, which is about to move too. Else one that leads there as before stays a link. */
  async move(
    from: ObjectRef,
    to: ObjectRef,
    options: MoveOptions = {},
    links: 'bytes' | 'keep' = 'keep',
  ): Promise<ObjectInfo> {
    this.core.checkWritable();
    return retried(async () =>
      this.objects.markers.find(from.bucket, from.key)
        ? this.moveMarker(from, to, options)
        : this.attemptMove(from, to, options, { links }),
    ).catch((error: unknown) => this.resumed(from, to, options, error));
  }

  /** Asked under the lock: a move is seen before its transaction ends. */
  async wasMoved(from: ObjectRef, to: ObjectRef, clientToken: MoveToken): Promise<boolean> {
    const { core } = this;
    if (!core.catalog.record(() => wasDone(core, to.bucket, clientToken))) return false;
    for (const { bucket, key } of [from, to]) await flushWay(core, bucket, key);
    return true;
  }

  /** @throws `error` unless a copy of the source stands at the target, on another mount. */
  private async resumed(from: ObjectRef, to: ObjectRef, options: MoveOptions, error: unknown): Promise<ObjectInfo> {
    if (!options.resume || !(error instanceof S3Error && error.code === 'PreconditionFailed')) throw error;
    const { core, objects } = this;
    const [source, there] = [core.find(from.bucket, from.key), core.find(to.bucket, to.key)];
    if (!source || !there || source.stat.dev === there.stat.dev) throw error;
    if (!(await this.mounts.resume(from, to, options.via))) throw error;
    await this.pruneAfter(source);
    return objects.reading.head(to.bucket, to.key);
  }

  /** A marker is an object of no bytes: at a key that can be no directory it becomes an empty file, before the marker goes. */
  private async moveMarker(from: ObjectRef, to: ObjectRef, options: MoveOptions): Promise<ObjectInfo> {
    const { markers } = this.objects;
    if (markers.possible(to.bucket, to.key)) return markers.move(from, to, options);
    const { condition, sourceCondition } = options;
    this.core.catalog.record(() => checkNotDone(this.core, to.bucket, options.clientToken));
    const info = await this.copy(from, to, {
      facts: (source) => {
        if (sourceCondition) checkRead(sourceCondition, source, 'rename');
        return source.facts;
      },
      via: options.via,
      ...(condition && { condition }),
    });
    const { clientToken } = tokenOf(to.bucket, options.clientToken);
    await markers.remove(from.bucket, from.key, viaOf(options.via, 'ObjectRemoved:Delete'), undefined, clientToken);
    return info;
  }

  /**
   * Moves an overflow object to its path, where nothing is in the way any more. No event: to clients nothing has changed.
   * @returns false if it is no overflow object any more, or something came in the way.
   */
  async settle(bucket: string, key: string): Promise<boolean> {
    this.core.checkWritable();
    const object = { bucket, key };
    try {
      return await retried(async () => {
        const { place } = await this.objects.reading.found(bucket, key);
        if (place.kind !== 'overflow' || this.core.target(bucket, key).place.kind !== 'tree') return false;
        await this.attemptMove(object, object, {}, { settling: true });
        return true;
      });
    } catch (error) {
      if (error instanceof Outdated) return false;
      if (error instanceof S3Error && ['PreconditionFailed', 'NoSuchKey', 'OperationAborted'].includes(error.code))
        return false;
      throw error;
    }
  }

  /** @param settling the object comes to its own path: nothing may be there. */
  private async attemptMove(
    from: ObjectRef,
    to: ObjectRef,
    options: MoveOptions,
    { settling = false, links = 'keep' }: { settling?: boolean; links?: 'bytes' | 'keep' },
  ): Promise<ObjectInfo> {
    const { core } = this;
    const { publisher } = this.objects;
    const { condition } = options;
    const hold = holdBucket(core, to.bucket);
    const source = await this.objects.reading.found(from.bucket, from.key, options.sourceCondition !== undefined);
    if (core.tracker.settleNow(source)) throw new Retry();
    if (options.sourceCondition) checkRead(options.sourceCondition, describe(from.bucket, from.key, source), 'rename');
    const known = await publisher.current(to.bucket, to.key, condition);
    const target = core.target(to.bucket, to.key);
    const stays = from.bucket === to.bucket && from.key === to.key;
    const isLink = source.link !== undefined && !stays;
    if (isLink && (links === 'bytes' || !leadsThere(source, target, core.pathOf(core.bucketDirs(to.bucket)))))
      return this.mounts.move(from, to, options);
    const destination = { ...destinationOf(core, target), ...(!stays && asideOf(core, to.bucket, to.key, target)) };
    const told = toldSoFar(source);
    // shown only as what a client put
    const shown = target.place.kind === 'tree' && core.hides(core.bucketDirs(to.bucket), target.place);
    const said = shown ? describe(from.bucket, from.key, source).facts : movedFacts(from.key, to.key, source.row);
    const line: Prepare = {
      op: 'prepare',
      id: `${core.token}-${randomHex(6)}`,
      ...subjectOf(target.place),
      from: subjectOf(source.place),
      ...(told && { told }),
      bytes:
        knowledge(source) === 'known' && source.row
          ? core.catalog.bytesOf(source.row)
          : formerFacts(core.catalog, source.row, source.fp),
      facts: factsAt(core, from, to, said),
      published: shown || source.row?.published === true,
      ...(!settling && { via: viaOf(options.via, 'ObjectCreated:Copy') }),
      ...tokenOf(to.bucket, options.clientToken),
      ...destination,
    };
    try {
      const found = await publisher.committed(line, target, (done) => {
        checkNotDone(core, to.bucket, options.clientToken);
        const now = this.checkSource(from, source);
        // a link that came to stand where it leads would lead to itself, and the bytes would be gone
        if (now.link !== undefined && !stays) checkTwoFiles(core, from, to);
        const guard = { hold, exclusive: settling };
        const arrival = { ...to, target, destination, condition, known, guard };
        const there = publisher.arrive(arrival, now.dir.at(now.name), done);
        dropTwin(now, there);
        done.dirtied.add(now.dir.path);
        // a copy kept aside must not come back at the source
        if (source.place.kind === 'tree') publisher.dropOverflow(from.bucket, from.key, done.dirtied);
        return there;
      });
      await this.pruneAfter(source);
      return describe(to.bucket, to.key, found);
    } catch (error) {
      if (errno(error) !== 'EXDEV') throw error;
      return settling ? this.mounts.settle(to) : this.mounts.move(from, to, options);
    }
  }

  /** Under the lock: the source as it is now. @throws Retry if it is not what was looked at, OperationAborted. */
  private checkSource(from: ObjectRef, source: Found): Found {
    const now = this.core.find(from.bucket, from.key);
    if (!now?.fp.equals(source.fp) || now.row?.seq !== source.row?.seq) throw new Retry();
    // somebody has just been told: the line does not say so
    const [told, before] = [toldSoFar(now), toldSoFar(source)];
    if (told?.until !== before?.until || told?.etag !== before?.etag) throw new Retry();
    if (now.row?.appendFrom !== undefined) throw new S3Error('OperationAborted', 'The source is being appended to.');
    return now;
  }

  /** Directories that were ours and that the source was the last to hold. The move has happened: if they cannot go, gc takes them. */
  private async pruneAfter(source: Found): Promise<void> {
    if (source.place.kind !== 'tree') return;
    const { core } = this;
    const { dirs } = source.place;
    const { publisher } = this.objects;
    try {
      const rmdirs = core.catalog.record(() => publisher.pruneRecorded(dirs, subjectOf(source.place)));
      if (rmdirs.length > 0)
        await core.flushed(new Set(rmdirs.map((path) => core.pathOf(path.split('/').slice(0, -1)))));
    } catch (error) {
      core.log('warn', 'directories that a move has emptied are left to gc', {
        path: dirs.join('/'),
        error: String(error),
      });
    }
  }
}

/** Whether a link that is renamed goes on leading to its file, and that is in the bucket it moves to. */
function leadsThere({ dir, name }: Found, target: Target, bucketPath: string): boolean {
  const old = `${dir.path}/${name}`;
  try {
    const real = realPathOf(old);
    const own = target.place.kind === 'tree' && real.equals(Buffer.from(`${target.dirPath}/${target.name}`));
    return !own && realPathFrom(target.dirPath, old).equals(real) && isInside(real, bucketPath);
  } catch {
    return false;
  }
}

/** The copy is to stand where its source is: only if that is still what was copied. @throws Outdated. */
function sameBytes(source: Found): (there: Found | undefined) => void {
  return (there) => {
    if (!there?.fp.equals(source.fp) || there.stat.ctimeNs !== source.stat.ctimeNs) throw new Outdated();
  };
}

/** rename(2) leaves both names of a file where they are: the old one goes, unless the file was moved onto itself. */
function dropTwin(source: Found, there: { dir: Dir; name: string }): void {
  if (source.dir.path === there.dir.path && source.name === there.name) return;
  const left = lstatOf(source.dir.at(source.name));
  if (left?.ino === source.stat.ino && left.dev === source.stat.dev) unlinkSync(source.dir.at(source.name));
}
