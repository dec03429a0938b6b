/**
 * Appends (`x-amz-write-offset-bytes`): in place, after a prepare line with the old length. Readers see the old object until the new one is
 * whole; a crash in between is cut back to the old length (store/recovery.ts). A file with several links is copied instead.
 */
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, ftruncateSync, openSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { S3Error } from '../base/errors.js';
import type { Body, Checksum, DigestPlan, Digests, WriteCondition } from '../base/model.js';
import { subjectOf } from '../catalog/catalog.js';
import type { ByteFacts, Via } from '../catalog/lines.js';
import type { FileRow, Layout } from '../catalog/rows.js';
import { fingerprint, formatFingerprint } from '../fs/fingerprint.js';
import { appendFile, applyInherit, discard, openAgain, stageBody, stageCopy } from '../fs/stage.js';
import { combineChecksums } from '../wire/checksums.js';
import { viaOf } from './attribution.js';
import type { ObjectInfo, PutOptions } from './contract.js';
import type { Core, Found } from './core.js';
import { describe, knowledge, openFound } from './describe.js';
import { newRow, type Objects } from './objects.js';

export class Appender {
  constructor(
    private readonly core: Core,
    private readonly objects: Objects,
  ) {}

  /** Appends in place; readers see the old object until the new one is whole. A file with several links is copied instead. */
  async append(bucket: string, key: string, offset: number, body: Body, options: PutOptions = {}): Promise<ObjectInfo> {
    const { core } = this;
    core.checkWritable();
    const exists = core.find(bucket, key);
    if (offset === 0 && (!exists || exists.stat.size === 0n)) return this.objects.put(bucket, key, body, options);
    const before = await this.objects.found(bucket, key);
    if (Number(before.stat.size) !== offset) throw wrongOffset(offset, Number(before.stat.size));
    core.checkFree(before.dir.path, body.size ?? 0);
    const plan = options.digests ?? { algorithms: [] };
    const staging = { directory: core.stagingFor(before.dir), owner: core.token, mode: 0o600 };
    const staged = await stageBody(body, plan, staging, undefined, core.durable);
    try {
      const via = viaOf(options.via, 'ObjectCreated:Put');
      const added = { size: staged.size, md5: staged.digests.MD5, digests: staged.digests };
      const bytes = this.appendedFacts(before, etagOf(bucket, key, before), added, plan);
      if (before.stat.nlink > 1n || before.link || before.place.kind === 'overflow') {
        return await this.appendByCopy(bucket, key, before, staged.path, bytes, via, options.condition);
      }
      return await this.appendInPlace(bucket, key, before, staged, bytes, via, options.condition);
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
    via: Via,
    condition?: WriteCondition,
  ): Promise<ObjectInfo> {
    const { core } = this;
    const source = openFound(before);
    try {
      const directory = core.stagingFor(before.dir);
      const { path, file } = await stageCopy(openAgain(source.fd, source.path), {
        directory,
        owner: core.token,
        ...core.fileMode(),
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
        const facts = { bytes, facts: before.row?.facts ?? {}, via };
        const same = [describe(bucket, key, before).etag];
        return await this.objects.publisher
          .publish(bucket, key, { path, stat }, facts, { ...condition, ifMatch: condition?.ifMatch ?? same })
          .catch((error: unknown) => {
            const ours = condition?.ifMatch === undefined && error instanceof S3Error;
            if (!ours || (error.code !== 'PreconditionFailed' && error.code !== 'NoSuchKey')) throw error;
            throw new S3Error('OperationAborted', 'The object was changed meanwhile.', { cause: error });
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
    via: Via,
    condition?: WriteCondition,
  ): Promise<ObjectInfo> {
    const { core } = this;
    const { publisher } = this.objects;
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
      piece: staged.path,
      bytes,
      facts,
      via,
    });
    const file = await openSame(before).catch((error: unknown) => {
      publisher.abandon(id, ticket);
      throw error;
    });
    let marked = false;
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
      marked = true;
      const info = await this.writePiece(bucket, key, before, file, staged.path, id, bytes);
      catalog.journal.settle(ticket);
      return info;
    } catch (error) {
      // what cannot be cut back now stays open: the next start does it
      if (marked) this.cutBack(before, file.fd, id);
      publisher.abandon(id, ticket);
      throw error;
    } finally {
      await file.close();
    }
  }

  private async writePiece(
    bucket: string,
    key: string,
    before: Found,
    file: FileHandle,
    piece: string,
    id: string,
    bytes: Omit<ByteFacts, 'fp'>,
  ): Promise<ObjectInfo> {
    const { core } = this;
    const { catalog } = core;
    const dirtied = new Set<string>();
    await appendFile(file, piece, Number(before.stat.size));
    if (core.durable) await file.sync();
    const found = catalog.index.write((): Found => {
      const stat = fstatSync(file.fd, { bigint: true });
      const there = core.find(bucket, key);
      if (there?.stat.ino !== stat.ino) throw new S3Error('OperationAborted', 'The object was replaced meanwhile.');
      const fp = fingerprint(stat, core.mounts.idOf(stat.dev, before.dir.path));
      const seq = catalog.nextSeq();
      catalog.journal.append({ op: 'appended', id, seq, fp: formatFingerprint(fp), ctime: String(stat.ctimeNs) });
      // tags may have been changed meanwhile
      const facts = there.row?.facts ?? {};
      catalog.removeRow(before.place);
      const row = catalog.fileRow({ ...bytes, fp: formatFingerprint(fp) }, facts, seq, stat.ctimeNs, true);
      row.appended = true;
      this.objects.publisher.dropOverflow(bucket, key, dirtied);
      catalog.putRow(before.place, row);
      catalog.noteSettled();
      return { ...there, stat, fp, row };
    });
    await this.objects.flushed(dirtied);
    return describe(bucket, key, found);
  }

  /**
   * Through the open file, whatever others have called it meanwhile. The cut gave it another mtime: that is written down, so that what is known of its
   * bytes holds without the index too, and when it comes back to its place.
   */
  private cutBack(before: Found, fd: number, id: string): void {
    const { catalog, mounts } = this.core;
    catalog.index.write(() => {
      const row = catalog.row(before.place);
      if (row && row.appendFrom === undefined) {
        // committed, but not flushed: it stands. Or the row is that of another file: then ours is unlinked, and harmless
        if (row.fp.readBigUInt64BE(4) === before.stat.ino) return;
      }
      ftruncateSync(fd, Number(before.stat.size));
      const subject = subjectOf(before.place);
      if (row?.appendFrom === undefined || !('path' in subject)) return;
      const { appendFrom: _ended, ...rest } = row;
      // an ETag that was only derived is no fact
      if (knowledge(before) !== 'known') return catalog.putRow(before.place, { ...rest, etag: before.row?.etag ?? '' });
      const stat = fstatSync(fd, { bigint: true });
      const fp = formatFingerprint(fingerprint(stat, mounts.idOf(stat.dev, before.dir.path)));
      const { facts = {}, published } = rest;
      const bytes = { ...catalog.bytesOf(rest), fp };
      catalog.adoptLine({ op: 'prepare', id, ...subject, bytes, facts, published }, stat.ctimeNs);
    });
  }
}

/** Opens for writing what was found. @throws OperationAborted if it is another file by now. */
async function openSame(found: Found): Promise<FileHandle> {
  const file = await open(found.dir.at(found.name), constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    if (fstatSync(file.fd, { bigint: true }).ino === found.stat.ino) return file;
    throw new S3Error('OperationAborted', 'The object was replaced meanwhile.');
  } catch (error) {
    await file.close();
    throw error;
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
