/** Objects: read, put, append, copy, move, delete, facts. Each method is one promise of the contract. */
import { closeSync, constants, fstatSync, ftruncateSync, lstatSync, openSync, renameSync, unlinkSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { createHash, randomBytes } from 'node:crypto';
import { S3Error, errno } from '../base/errors.js';
import type {
  Body,
  Checksum,
  ChecksumAlgorithm,
  DigestPlan,
  Digests,
  KeyFacts,
  WriteCondition,
} from '../base/model.js';
import { subjectOf } from '../catalog/catalog.js';
import type { ByteFacts, JournalLine } from '../catalog/lines.js';
import { NO_FINGERPRINT } from '../catalog/catalog.js';
import type { FileRow, Layout } from '../catalog/rows.js';
import { fingerprint, formatFingerprint } from '../fs/fingerprint.js';
import { createHasher, prepareHashes } from '../fs/hash.js';
import { isTorn, readRange } from '../fs/reader.js';
import { appendFile, applyInherit, discard, stageBody, stageCopy, type StageOptions } from '../fs/stage.js';
import { checkRead } from '../wire/conditions.js';
import { combineChecksums } from '../wire/checksums.js';
import type {
  CopyOptions,
  MoveOptions,
  ObjectInfo,
  ObjectPart,
  ObjectRef,
  OpenObject,
  PutOptions,
} from './contract.js';
import { noSuchKey, type Core, type Found, type Target } from './core.js';
import { describe, knowledge, openFound, withoutAccess, type Identifier } from './describe.js';
import { Markers } from './markers.js';
import { Publisher, madePaths, type Facts } from './publish.js';

type Prepare = Extract<JournalLine, { op: 'prepare' }>;

export class Objects {
  readonly publisher: Publisher;
  readonly markers: Markers;

  constructor(
    private readonly core: Core,
    readonly identifier: Identifier,
  ) {
    this.publisher = new Publisher(core, identifier);
    this.markers = new Markers(core, this.publisher);
  }

  /** @throws NoSuchKey. */
  async found(bucket: string, key: string): Promise<Found> {
    const found = this.core.find(bucket, key);
    if (!found) {
      this.core.bucketDir(bucket);
      throw noSuchKey(key);
    }
    return this.identifier.identify(bucket, key, found);
  }

  async head(bucket: string, key: string): Promise<ObjectInfo> {
    const marker = this.markers.find(bucket, key);
    if (marker) return marker;
    return describe(bucket, key, await this.found(bucket, key));
  }

  async open(bucket: string, key: string): Promise<OpenObject> {
    const marker = this.markers.find(bucket, key);
    if (marker)
      return { info: marker, parts: async () => [], read: async () => undefined, close: async () => undefined };
    for (let attempt = 0; ; attempt++) {
      const found = await this.found(bucket, key);
      try {
        const file = openFound(found);
        if (
          file.stat.ino === found.stat.ino &&
          file.stat.mtimeNs === found.stat.mtimeNs &&
          file.stat.size === found.stat.size
        )
          return this.opened(bucket, key, found, file);
        closeSync(file.fd);
      } catch (error) {
        if (errno(error) !== 'ENOENT' || attempt > 5) throw error;
      }
      // replaced between stat and open: look again
      if (attempt > 5)
        throw new S3Error('OperationAborted', 'The file is being changed by another program. Try again.');
    }
  }

  private opened(bucket: string, key: string, found: Found, file: ReturnType<typeof openFound>): OpenObject {
    const info = describe(bucket, key, found);
    const appending = found.row?.appendFrom !== undefined;
    const layout = found.row?.layout;
    let closed = false;
    return {
      info,
      parts: async () => partsOf(layout === undefined ? undefined : this.core.catalog.index.layout(layout)),
      read: (start, end, sink) => {
        // while bytes are appended behind what we serve, size and mtime move on: only the part before them is read
        const checked = appending ? { ...file, stat: fstatSync(file.fd, { bigint: true }) } : file;
        return readRange(checked, start, end, sink);
      },
      close: async () => {
        if (closed) return;
        closed = true;
        closeSync(file.fd);
      },
    };
  }

  async put(bucket: string, key: string, body: Body, options: PutOptions = {}): Promise<ObjectInfo> {
    const { core } = this;
    core.checkWritable();
    if (key.endsWith('/') && this.markers.possible(bucket, key)) {
      const marker = await this.putMarker(bucket, key, body, options);
      if ('key' in marker) return marker;
      body = marker;
    }
    const target = core.target(bucket, key);
    core.checkFree(target.base.path, body.size ?? 0);
    const plan = options.digests ?? { algorithms: [] };
    const staged = await stageBody(body, plan, this.staging(target), this.publisher.inheritFrom(target), core.durable);
    const { algorithm, checksum } = storedChecksum(plan, staged.digests);
    const facts: Facts = {
      bytes: { etag: staged.digests.MD5.toString('hex'), ...(algorithm && checksum && { checksum }) },
      facts: options.facts ?? {},
    };
    return this.publisher.publish(bucket, key, staged, facts, options.condition);
  }

  /** A key that ends in `/`: an empty body makes a directory and a marker; any other is an overflow object. */
  private async putMarker(bucket: string, key: string, body: Body, options: PutOptions): Promise<ObjectInfo | Body> {
    const iterator = body.chunks[Symbol.asyncIterator]();
    let first = await iterator.next();
    while (!first.done && first.value.byteLength === 0) first = await iterator.next();
    if (first.done) {
      if (body.size) throw new S3Error('IncompleteBody', `0 of the announced ${body.size} bytes arrived`);
      const plan = options.digests ?? { algorithms: [] };
      await prepareHashes();
      plan.check?.(createHasher(plan.algorithms).digest(), 0);
      return this.markers.put(bucket, key, options.facts ?? {}, options.condition);
    }
    const head = first.value;
    async function* rest(): AsyncGenerator<Uint8Array> {
      yield head;
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
    }
    return { chunks: rest(), ...(body.size !== undefined && { size: body.size }) };
  }

  staging(target: Target): StageOptions {
    return { directory: this.core.stagingFor(target.base), owner: this.core.token, mode: this.core.fileMode() };
  }

  /** Appends in place; readers see the old object until the new one is whole. A file with several links is copied instead. */
  async append(bucket: string, key: string, offset: number, body: Body, options: PutOptions = {}): Promise<ObjectInfo> {
    const { core } = this;
    core.checkWritable();
    const exists = core.find(bucket, key);
    if (offset === 0 && (!exists || exists.stat.size === 0n)) return this.put(bucket, key, body, options);
    const before = await this.found(bucket, key);
    if (Number(before.stat.size) !== offset) throw wrongOffset(offset, Number(before.stat.size));
    core.checkFree(before.dir.path, body.size ?? 0);
    const plan = options.digests ?? { algorithms: [] };
    const staging = { directory: core.stagingFor(before.dir), owner: core.token, mode: 0o600 };
    const staged = await stageBody(body, plan, staging, undefined, false);
    try {
      const added = { size: staged.size, md5: staged.digests.MD5, digests: staged.digests };
      const bytes = this.appendedFacts(before, describe(bucket, key, before).etag, added, plan);
      if (before.stat.nlink > 1n || before.link || before.place.kind === 'overflow') {
        return await this.appendByCopy(bucket, key, before, staged.path, bytes, options.condition);
      }
      return await this.appendInPlace(bucket, key, before, staged, bytes, options.condition);
    } finally {
      discard(staged.path);
    }
  }

  /** ETag over the old object and the piece as over parts, so that nothing is read again: md5(md5s)-N. */
  private appendedFacts(
    before: Found,
    etag: string,
    added: { size: number; md5: Buffer; digests: Digests },
    plan: DigestPlan,
  ): Omit<ByteFacts, 'fp'> {
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

  private async appendByCopy(
    bucket: string,
    key: string,
    before: Found,
    piece: string,
    bytes: Omit<ByteFacts, 'fp'>,
    condition?: WriteCondition,
  ): Promise<ObjectInfo> {
    const { core } = this;
    const source = openFound(before);
    try {
      const directory = core.stagingFor(before.dir);
      const { path, file } = await stageCopy(procPath(source.fd, source.path), {
        directory,
        owner: core.token,
        mode: core.fileMode(),
      });
      try {
        applyInherit(file.fd, {
          mode: Number(before.stat.mode),
          uid: Number(before.stat.uid),
          gid: Number(before.stat.gid),
        });
        await appendFile(file, piece, Number(before.stat.size));
        if (core.durable) await file.sync();
        const stat = fstatSync(file.fd, { bigint: true });
        const facts = { bytes, facts: before.row?.facts ?? {} };
        const same = [describe(bucket, key, before).etag];
        return await this.publisher.publish(bucket, key, { path, stat }, facts, {
          ...condition,
          ifMatch: condition?.ifMatch ?? same,
        });
      } finally {
        await file.close();
      }
    } finally {
      closeSync(source.fd);
    }
  }

  /** Marks the row, appends, and commits; a crash in between is cut back to the old length (see store/recovery.ts). */
  private async appendInPlace(
    bucket: string,
    key: string,
    before: Found,
    staged: { path: string; size: number },
    bytes: Omit<ByteFacts, 'fp'>,
    condition?: WriteCondition,
  ): Promise<ObjectInfo> {
    const { core, publisher } = this;
    const { catalog } = core;
    const size = Number(before.stat.size);
    const facts = before.row?.facts ?? {};
    const known = await publisher.current(bucket, key, condition);
    const subject = subjectOf(before.place);
    if (!('path' in subject)) throw new S3Error('InternalError');
    const id = `${core.token}-${randomBytes(6).toString('hex')}`;
    const ticket = catalog.journal.prepare({
      op: 'append',
      id,
      path: subject.path,
      size,
      ino: String(before.stat.ino),
      bytes,
      facts,
    });
    try {
      if (core.durable) await catalog.journal.flush(ticket.segment);
      catalog.index.write(() => {
        const now = publisher.checkAgain(bucket, key, condition, known);
        if (!now || !now.fp.equals(before.fp) || now.row?.appendFrom !== undefined) {
          throw new S3Error('OperationAborted', 'The object was changed meanwhile.');
        }
        const row: FileRow = { ...(now.row ?? newRow()), fp: now.fp, ctimeNs: now.stat.ctimeNs, appendFrom: size };
        if (row.etag === '') row.etag = describe(bucket, key, now).etag;
        catalog.putRow(now.place, row);
      });
      try {
        return await this.writePiece(bucket, key, before, staged.path, id, bytes, facts);
      } catch (error) {
        this.cutBack(before, size);
        throw error;
      }
    } finally {
      catalog.journal.settle(ticket);
    }
  }

  private async writePiece(
    bucket: string,
    key: string,
    before: Found,
    piece: string,
    id: string,
    bytes: Omit<ByteFacts, 'fp'>,
    facts: KeyFacts,
  ): Promise<ObjectInfo> {
    const { core } = this;
    const { catalog } = core;
    const file = await open(before.dir.at(before.name), constants.O_RDWR | constants.O_NOFOLLOW);
    try {
      await appendFile(file, piece, Number(before.stat.size));
      if (core.durable) await file.sync();
      const found = catalog.index.write((): Found => {
        const stat = fstatSync(file.fd, { bigint: true });
        const there = core.find(bucket, key);
        if (there?.stat.ino !== stat.ino) throw new S3Error('OperationAborted', 'The object was replaced meanwhile.');
        const fp = fingerprint(stat, core.mounts.idOf(stat.dev, before.dir.path));
        const seq = catalog.nextSeq();
        catalog.journal.append({ op: 'appended', id, seq, fp: formatFingerprint(fp), ctime: String(stat.ctimeNs) });
        catalog.removeRow(before.place);
        const row = catalog.fileRow({ ...bytes, fp: formatFingerprint(fp) }, facts, seq, stat.ctimeNs, true);
        catalog.putRow(before.place, row);
        catalog.noteSettled();
        return { ...there, stat, fp, row };
      });
      if (core.durable) await catalog.journal.flush(catalog.journal.segment);
      return describe(bucket, key, found);
    } finally {
      await file.close();
    }
  }

  private cutBack(before: Found, size: number): void {
    const { catalog } = this.core;
    const file = openFound(before);
    closeSync(file.fd);
    catalog.index.write(() => {
      const row = catalog.row(before.place);
      if (row?.appendFrom === undefined) return;
      cutFile(before.dir.at(before.name), before.stat.ino, size);
      const { appendFrom: _ended, ...rest } = row;
      const stat = lstatSync(before.dir.at(before.name), { bigint: true });
      const fp = fingerprint(stat, this.core.mounts.idOf(stat.dev, before.dir.path));
      catalog.putRow(before.place, { ...rest, fp, ctimeNs: stat.ctimeNs });
    });
  }

  async copy(from: ObjectRef, to: ObjectRef, options: CopyOptions = {}): Promise<ObjectInfo> {
    const { core } = this;
    core.checkWritable();
    const source = await this.open(from.bucket, from.key);
    try {
      const facts = options.facts ? options.facts(source.info) : withoutAccess(source.info.facts);
      if (to.key.endsWith('/') && source.info.size === 0 && this.markers.possible(to.bucket, to.key)) {
        return await this.markers.put(to.bucket, to.key, facts, options.condition);
      }
      const target = core.target(to.bucket, to.key);
      core.checkFree(target.base.path, source.info.size);
      const found =
        from.key.endsWith('/') && this.markers.find(from.bucket, from.key)
          ? undefined
          : await this.found(from.bucket, from.key);
      if (!found || found.row?.appendFrom !== undefined) return await this.copyByReading(source, to, facts, options);
      return await this.copyFile(found, source.info, to, target, facts, options);
    } finally {
      await source.close();
    }
  }

  private async copyByReading(
    source: OpenObject,
    to: ObjectRef,
    facts: KeyFacts,
    options: CopyOptions,
  ): Promise<ObjectInfo> {
    const chunks: Buffer[] = [];
    await source.read(0, source.info.size, (chunk) => {
      chunks.push(Buffer.from(chunk));
    });
    async function* all(): AsyncGenerator<Uint8Array> {
      yield* chunks;
    }
    const digests: DigestPlan = options.checksum
      ? { algorithms: [options.checksum], store: options.checksum }
      : { algorithms: [] };
    return this.put(
      to.bucket,
      to.key,
      { chunks: all() },
      { facts, digests, ...(options.condition && { condition: options.condition }) },
    );
  }

  /** A reflink where the file system can; what is known of the bytes is kept, what is not is computed over the copy. */
  private async copyFile(
    found: Found,
    info: ObjectInfo,
    to: ObjectRef,
    target: Target,
    facts: KeyFacts,
    options: CopyOptions,
  ): Promise<ObjectInfo> {
    const { core } = this;
    const source = openFound(found);
    try {
      const { path, file } = await stageCopy(procPath(source.fd, source.path), this.staging(target));
      try {
        const inherit = this.publisher.inheritFrom(target);
        if (inherit) applyInherit(file.fd, inherit);
        if (isTorn(source) || source.stat.mtimeNs !== found.stat.mtimeNs) {
          throw new S3Error(
            'OperationAborted',
            'The source was changed by another program while it was copied. Try again.',
          );
        }
        if (core.durable) await file.sync();
        const stat = fstatSync(file.fd, { bigint: true });
        const bytes = await this.copiedFacts(info, found, { fd: file.fd, stat, path }, options.checksum);
        return await this.publisher.publish(to.bucket, to.key, { path, stat }, { bytes, facts }, options.condition);
      } catch (error) {
        discard(path);
        throw error;
      } finally {
        await file.close();
      }
    } finally {
      closeSync(source.fd);
    }
  }

  /** A copy is one piece: the MD5 is kept if it is one, else computed; likewise a full-object checksum. */
  private async copiedFacts(
    info: ObjectInfo,
    found: Found,
    copy: Parameters<typeof readRange>[0],
    wanted: ChecksumAlgorithm | undefined,
  ): Promise<Omit<ByteFacts, 'fp'>> {
    const kept =
      info.checksum?.type === 'FULL_OBJECT' && (wanted === undefined || wanted === info.checksum.algorithm)
        ? info.checksum
        : undefined;
    const algorithm = kept ? undefined : (wanted ?? info.checksum?.algorithm);
    if (knowledge(found) === 'known' && !info.etag.includes('-') && !algorithm)
      return { etag: info.etag, ...(kept && { checksum: kept }) };
    await prepareHashes();
    const hasher = createHasher(algorithm ? [algorithm] : []);
    await readRange(copy, 0, Number(copy.stat.size), (chunk) => hasher.update(chunk));
    const digests = hasher.digest();
    const checksum =
      kept ?? (algorithm && storedChecksum({ algorithms: [algorithm], store: algorithm }, digests).checksum);
    return { etag: digests.MD5.toString('hex'), ...(checksum && { checksum }) };
  }

  async move(from: ObjectRef, to: ObjectRef, options: MoveOptions = {}): Promise<ObjectInfo> {
    const { core, publisher } = this;
    core.checkWritable();
    const source = await this.found(from.bucket, from.key);
    if (options.sourceCondition) checkRead(options.sourceCondition, describe(from.bucket, from.key, source), 'copy');
    const known = await publisher.current(to.bucket, to.key, options.condition);
    const target = core.target(to.bucket, to.key);
    const bytes =
      knowledge(source) === 'known' && source.row
        ? core.catalog.bytesOf(source.row)
        : { etag: '', fp: formatFingerprint(source.fp) };
    const file = target.place.kind === 'overflow' ? randomBytes(12).toString('hex') : undefined;
    const line: Prepare = {
      op: 'prepare',
      id: `${core.token}-${randomBytes(6).toString('hex')}`,
      ...subjectOf(target.place),
      from: subjectOf(source.place),
      bytes,
      facts: source.row?.facts ?? {},
      published: source.row?.published ?? false,
      ...(target.missing.length > 0 && { mkdirs: madePaths(target) }),
      ...(file !== undefined && { file }),
    };
    try {
      const found = await publisher.committed(line, target, (dirtied) => {
        const now = core.find(from.bucket, from.key);
        if (!now?.fp.equals(source.fp)) throw new S3Error('OperationAborted', 'The source was changed meanwhile.');
        publisher.checkAgain(to.bucket, to.key, options.condition, known);
        const { dir, made } = core.makeMissing(core.target(to.bucket, to.key));
        for (const path of made) dirtied.add(path);
        renameSync(now.dir.at(now.name), dir.at(file ?? target.name));
        dirtied.add(now.dir.path);
        return { dir, name: file ?? target.name };
      });
      this.pruneAfter(source);
      return describe(to.bucket, to.key, found);
    } catch (error) {
      if (errno(error) !== 'EXDEV') throw error;
      const facts = source.row?.facts ?? {};
      const info = await this.copy(from, to, {
        facts: () => facts,
        ...(options.condition && { condition: options.condition }),
      });
      await this.delete(from.bucket, from.key);
      return info;
    }
  }

  private pruneAfter(source: Found): void {
    if (source.place.kind !== 'tree') return;
    const { dirs } = source.place;
    this.core.catalog.index.write(() => {
      const rmdirs = this.publisher.prune(dirs);
      if (rmdirs.length > 0) this.publisher.recordDelete(subjectOf(source.place), rmdirs);
    });
  }

  async delete(bucket: string, key: string, condition?: WriteCondition): Promise<boolean> {
    const { core, publisher } = this;
    core.checkWritable();
    core.bucketDir(bucket);
    if (key.endsWith('/')) {
      const removed = await this.markers.remove(bucket, key, condition);
      if (removed) return true;
    }
    const known = await publisher.current(bucket, key, condition);
    const dirtied = new Set<string>();
    const existed = core.catalog.index.write(() => {
      const found = publisher.checkAgain(bucket, key, condition, known);
      if (!found) return false;
      this.unlink(bucket, key, found, dirtied);
      return true;
    });
    if (existed) await this.flushed(dirtied);
    return existed;
  }

  /** Under the lock: the file, then its line; and an overflow copy that was kept aside. */
  private unlink(bucket: string, key: string, found: Found, dirtied: Set<string>): void {
    const { core, publisher } = this;
    unlinkSync(found.dir.at(found.name));
    dirtied.add(found.dir.path);
    core.catalog.removeRow(found.place);
    const rmdirs = found.place.kind === 'tree' ? publisher.prune(found.place.dirs) : [];
    for (const path of rmdirs) dirtied.add(core.pathOf(path.split('/').slice(0, -1)));
    publisher.recordDelete(subjectOf(found.place), rmdirs);
    if (found.place.kind === 'overflow') return;
    const aside = core.findOverflow(bucket, key);
    if (!aside) return;
    discard(aside.dir.at(aside.name));
    dirtied.add(aside.dir.path);
    core.catalog.removeRow(aside.place);
    publisher.recordDelete({ bucket, key }, []);
  }

  async updateFacts(
    bucket: string,
    key: string,
    change: (facts: KeyFacts, info: ObjectInfo) => KeyFacts,
  ): Promise<ObjectInfo> {
    const { core } = this;
    core.checkWritable();
    if (this.markers.find(bucket, key)) return this.markers.updateFacts(bucket, key, change);
    await this.found(bucket, key);
    const { catalog } = core;
    const found = catalog.index.write((): Found => {
      const now = core.find(bucket, key);
      if (!now) throw noSuchKey(key);
      const facts = change(now.row?.facts ?? {}, describe(bucket, key, now));
      const seq = catalog.nextSeq();
      catalog.journal.append({ op: 'facts', seq, ...subjectOf(now.place), facts });
      const row: FileRow = { ...(now.row ?? newRow()), facts, seq };
      catalog.putRow(now.place, row);
      catalog.noteSettled();
      return { ...now, row };
    });
    await this.flushed(new Set());
    return describe(bucket, key, found);
  }

  /** Journal and folders, unless durability is `fast`. */
  async flushed(dirtied: Set<string>): Promise<void> {
    if (!this.core.durable) return;
    await this.core.catalog.journal.flush(this.core.catalog.journal.segment);
    await this.core.syncDirs(dirtied);
  }
}

export function newRow(): FileRow {
  return { kind: 'file', fp: NO_FINGERPRINT, ctimeNs: 0n, seq: 0, etag: '', published: false };
}

/** The checksum that a plan wants stored, from the digests. */
export function storedChecksum(
  plan: DigestPlan,
  digests: Digests,
): { algorithm?: ChecksumAlgorithm; checksum?: Checksum } {
  const digest = plan.store && digests[plan.store];
  if (!plan.store || !digest) return {};
  return {
    algorithm: plan.store,
    checksum: { algorithm: plan.store, type: 'FULL_OBJECT', value: digest.toString('base64') },
  };
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

/** Parts in order, from a layout's runs. */
export function partsOf(layout: Layout | undefined): ObjectPart[] {
  if (!layout) return [];
  const out: ObjectPart[] = [];
  for (const [size, times] of layout.sizes) {
    for (let i = 0; i < times; i++) {
      const checksum = layout.checksums?.[out.length];
      out.push({
        partNumber: layout.numbers?.[out.length] ?? out.length + 1,
        size,
        ...(checksum !== undefined && { checksum }),
      });
    }
  }
  return out;
}

function procPath(fd: number, path: string): string {
  return process.platform === 'linux' ? `/proc/self/fd/${fd}` : path;
}

function wrongOffset(offset: number, size: number): S3Error {
  return new S3Error('InvalidWriteOffset', `The write offset ${offset} is not the size of the object, ${size}.`);
}
