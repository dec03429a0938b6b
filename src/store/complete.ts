/** CompleteMultipartUpload: the parts are checked, joined into one staging file and published like any other object. */
import { createHash } from 'node:crypto';
import { fstatSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { S3Error } from '../base/errors.js';
import type { Checksum } from '../base/model.js';
import type { Completed } from '../catalog/catalog.js';
import type { CompletedUpload, PartRecord } from '../catalog/lines.js';
import type { Layout } from '../catalog/rows.js';
import { fingerprintMtimeNs, fingerprintSize, parseFingerprint } from '../fs/fingerprint.js';
import { appendFile, applyInherit, createStaging, discard, setMtime } from '../fs/stage.js';
import { clientMtime } from './mtime.js';
import { combineChecksums, compositeChecksum } from '../wire/checksums.js';
import { viaOf } from './attribution.js';
import type { CompleteOptions, ObjectInfo, ObjectRef, PartRef, Upload } from './contract.js';
import { isAbsent, type Core } from './core.js';
import { flushWay } from './again.js';
import { etagOf } from './etag.js';
import { holdBucket, type Hold } from './hold.js';
import type { Objects } from './objects.js';
import type { Ready } from './publish.js';
import { invalidPart, type Uploads } from './uploads.js';

/** Which upload is to be completed, and with which parts. */
type Asked = Omit<CompletedUpload, 'time'>;

export class Completer {
  /** Completions of one upload go one after the other, so that a retry finds the answer of the first. */
  private readonly running = new Map<string, Promise<unknown>>();

  constructor(
    private readonly core: Core,
    private readonly uploads: Uploads,
    private readonly objects: Objects,
  ) {}

  async complete(
    bucket: string,
    key: string,
    uploadId: string,
    refs: PartRef[],
    options: CompleteOptions,
  ): Promise<ObjectInfo> {
    this.core.checkWritable();
    const hold = holdBucket(this.core, bucket);
    const before = this.running.get(uploadId) ?? Promise.resolve();
    const work = before.catch(() => undefined).then(() => this.run({ bucket, key }, uploadId, refs, options, hold));
    this.running.set(uploadId, work);
    try {
      return await work;
    } finally {
      if (this.running.get(uploadId) === work) this.running.delete(uploadId);
    }
  }

  private async run(
    { bucket, key }: ObjectRef,
    uploadId: string,
    refs: PartRef[],
    options: CompleteOptions,
    hold: Hold,
  ): Promise<ObjectInfo> {
    const asked = { bucket, key, id: uploadId, parts: digest(refs) };
    const done = this.done(asked);
    if (done) return this.answer(done);
    try {
      const upload = this.uploads.get(bucket, key, uploadId);
      if (refs.length === 0) throw new S3Error('MalformedXML', 'You must specify at least one part');
      return await this.publish(upload, asked, refs, this.check(uploadId, refs), options, hold);
    } catch (error) {
      // not those of the disk: a flush that failed stays so
      if (!(error instanceof S3Error || isAbsent(error))) throw error;
      const now = this.endedMeanwhile(asked);
      if (now) return this.answer(now);
      throw error;
    }
  }

  /** What the completion that is asked for made, if that has been done. */
  private done({ bucket, key, id, parts }: Asked): Completed | undefined {
    const done = this.core.catalog.completed(id);
    return done?.bucket === bucket && done.key === key && done.parts === parts ? done : undefined;
  }

  /**
   * Another process may have completed it while we were at it: then its object is in the way of the client's condition, and the parts are gone. Asked
   * under the lock: both are seen before its transaction ends. @throws NoSuchUpload if the upload was aborted, or completed with other parts.
   */
  private endedMeanwhile(asked: Asked): Completed | undefined {
    return this.core.catalog.index.write(() => {
      const done = this.done(asked);
      if (!done) this.uploads.get(asked.bucket, asked.key, asked.id);
      return done;
    });
  }

  /** The process that completed it may have been killed before the upload was ended, or before the folders were flushed, or be still at it. */
  private async answer(done: Completed): Promise<ObjectInfo> {
    const { core, uploads } = this;
    const { bucket, key, id } = done;
    if (uploads.has(bucket, key, id)) await this.end(bucket, key, id);
    await flushWay(core, bucket, key);
    return answerOf(done);
  }

  private async publish(
    upload: Upload,
    asked: Asked,
    refs: PartRef[],
    parts: PartRecord[],
    options: CompleteOptions,
    hold: Hold,
  ): Promise<ObjectInfo> {
    const { bucket, key, uploadId } = upload;
    const size = parts.reduce((sum, part) => sum + part.size, 0);
    if (options.size !== undefined && options.size !== size) {
      throw new S3Error(
        'InvalidRequest',
        `The announced object size is ${options.size} bytes, the parts have ${size}.`,
      );
    }
    const checksum = checksumOf(upload, parts);
    checkDeclared(upload, checksum, options);
    checkListed(upload, refs);
    await this.objects.publisher.checkEarly(bucket, key, options.condition);
    const ready = await this.join(upload, refs, parts, options);
    const layout = layoutOf(parts);
    const md5s = parts.map(({ etag }) => etag);
    const bytes = {
      etag: etagOf(md5s, layout),
      layout,
      ...(checksum && { checksum }),
    };
    const info = await this.objects.publisher.publish(
      { bucket, key },
      ready,
      {
        bytes,
        facts: upload.facts,
        upload: { ...asked, time: Date.now() },
        via: viaOf(options.via, 'ObjectCreated:CompleteMultipartUpload'),
      },
      // an abort that was answered meanwhile counts
      { hold, check: () => void this.uploads.get(bucket, key, uploadId) },
      options.condition,
    );
    await this.end(bucket, key, uploadId);
    return info;
  }

  private async end(bucket: string, key: string, uploadId: string): Promise<void> {
    const { core, uploads } = this;
    await uploads.removeFiles(core.catalog.record(() => uploads.end(bucket, key, uploadId)));
  }

  /** @throws InvalidPartOrder, InvalidPart, EntityTooSmall. */
  private check(uploadId: string, refs: PartRef[]): PartRecord[] {
    const parts: PartRecord[] = [];
    let previous = 0;
    for (const ref of refs) {
      if (ref.partNumber <= previous)
        throw new S3Error('InvalidPartOrder', undefined, { data: { UploadId: uploadId } });
      previous = ref.partNumber;
    }
    for (const ref of refs) parts.push(this.listed(uploadId, ref));
    for (const part of parts.slice(0, -1)) {
      if (part.size >= this.core.minPartSize) continue;
      throw new S3Error('EntityTooSmall', undefined, {
        data: {
          ProposedSize: part.size,
          MinSizeAllowed: this.core.minPartSize,
          PartNumber: part.partNumber,
          ETag: part.etag,
        },
      });
    }
    return parts;
  }

  /** The part that a client lists, as it is recorded now. @throws InvalidPart if it is another. */
  private listed(uploadId: string, { partNumber, etag, checksums }: PartRef): PartRecord {
    const part = this.uploads.part(uploadId, partNumber);
    if (part?.etag !== etag) throw invalidPart(uploadId, partNumber, etag);
    for (const [algorithm, value] of Object.entries(checksums)) {
      // also one of an algorithm that the part was not sent with: nothing says that it is right
      if (part.checksum?.algorithm !== algorithm || part.checksum.value !== value)
        throw invalidPart(uploadId, partNumber, etag);
    }
    return part;
  }

  private async join(
    { bucket, key, uploadId, facts }: Upload,
    refs: PartRef[],
    parts: PartRecord[],
    options: CompleteOptions,
  ): Promise<Ready> {
    const { core } = this;
    const target = core.target(bucket, key);
    const total = parts.reduce((sum, part) => sum + part.size, 0);
    return core.room.writing(target.base.path, total, async (wrote) => {
      const inherit = this.objects.publisher.inheritFrom(target);
      const { path, file } = await createStaging(this.objects.staging(target));
      try {
        let size = 0;
        for (const [i, part] of parts.entries()) {
          await this.appendPart(file, { bucket, uploadId }, part, refs[i], size);
          size += part.size;
          wrote(part.size);
          options.onProgress?.();
        }
        applyInherit(file.fd, inherit);
        await setMtime(file, clientMtime(facts));
        if (core.durable) await file.sync();
        return { path, stat: fstatSync(file.fd, { bigint: true }) };
      } catch (error) {
        discard(path);
        throw error;
      } finally {
        // it was flushed
        await file.close().catch(() => undefined);
      }
    });
  }

  /**
   * A part that is sent again takes the place of the old file while we read: the same bytes are as good from the new one. @param ref what the client
   * lists. @throws InvalidPart if the part is another by now, or its file is damaged.
   */
  private async appendPart(
    file: FileHandle,
    { bucket, uploadId }: Pick<Upload, 'bucket' | 'uploadId'>,
    part: PartRecord,
    ref: PartRef | undefined,
    position: number,
  ): Promise<void> {
    const { core, uploads } = this;
    for (let from = part; ;) {
      try {
        const copied = await appendFile(file, uploads.partPath(bucket, uploadId, from), position);
        if (copied === part.size) return;
        throw invalidPart(uploadId, part.partNumber, part.etag);
      } catch (error) {
        if (!isLost(error) || !ref) throw error;
        core.catalog.index.refresh();
        const now = this.listed(uploadId, ref);
        if (now.file === from.file || now.size !== part.size) throw error;
        from = now;
      }
    }
  }
}

/** What is missing, or not as it was recorded. */
function isLost(error: unknown): boolean {
  return isAbsent(error) || (error instanceof S3Error && error.code === 'InvalidPart');
}

function layoutOf(parts: PartRecord[]): Layout {
  const sizes: [number, number][] = [];
  for (const { size } of parts) {
    const run = sizes.at(-1);
    if (run?.[0] === size) run[1]++;
    else sizes.push([size, 1]);
  }
  const layout: Layout = { sizes };
  if (parts.some(({ partNumber }, i) => partNumber !== i + 1))
    layout.numbers = parts.map(({ partNumber }) => partNumber);
  if (parts.every(({ checksum }) => checksum)) layout.checksums = parts.map(({ checksum }) => checksum?.value ?? '');
  return layout;
}

/** The object's checksum from those of its parts, if the upload has an algorithm. */
function checksumOf(upload: Upload, parts: PartRecord[]): Checksum | undefined {
  if (!upload.checksum) return undefined;
  const { algorithm, type } = upload.checksum;
  const values = parts.map(({ checksum, size }) => ({
    value: checksum?.algorithm === algorithm ? checksum.value : '',
    size,
  }));
  if (values.some(({ value }) => value === '')) return undefined;
  if (type === 'COMPOSITE')
    return {
      algorithm,
      type,
      value: compositeChecksum(
        algorithm,
        values.map(({ value }) => value),
      ),
    };
  if (algorithm !== 'CRC32' && algorithm !== 'CRC32C' && algorithm !== 'CRC64NVME') return undefined;
  return { algorithm, type, value: combineChecksums(algorithm, values) };
}

/** @throws BadDigest if the client's checksum of the whole is another. */
function checkDeclared(upload: Upload, checksum: Checksum | undefined, { checksum: declared }: CompleteOptions): void {
  if (!declared) return;
  if (!checksum || declared.algorithm !== checksum.algorithm) {
    throw new S3Error(
      'InvalidRequest',
      `Upload ${upload.uploadId} was not started with the checksum ${declared.algorithm}.`,
    );
  }
  // a composite may be given with or without the number of parts
  if (declared.value === checksum.value || declared.value === checksum.value.replace(/-\d+$/, '')) return;
  throw new S3Error(
    'BadDigest',
    `The ${declared.algorithm} that you specified did not match the one of upload ${upload.uploadId}.`,
  );
}

/**
 * S3 wants the checksum of each part in the list of a composite upload. A list without any is taken: Ceph's s3-tests complete so
 * (test_get_multipart_checksum_object_attributes), and the ETags name the parts as well. @throws InvalidRequest.
 */
function checkListed(upload: Upload, refs: PartRef[]): void {
  if (upload.checksum?.type !== 'COMPOSITE') return;
  const { algorithm } = upload.checksum;
  const missing = refs.find(({ checksums }) => checksums[algorithm] === undefined);
  if (!missing || refs.every(({ checksums }) => Object.keys(checksums).length === 0)) return;
  const name = algorithm.toLowerCase();
  throw new S3Error(
    'InvalidRequest',
    `The upload was created using a ${name} checksum. The complete request must include the checksum for each part. ` +
      `It was missing for part ${missing.partNumber} in the request.`,
  );
}

function answerOf({ bucket, key, bytes, facts, partCount }: Completed): ObjectInfo {
  const fp = parseFingerprint(bytes.fp);
  return {
    bucket,
    key,
    size: fingerprintSize(fp),
    etag: bytes.etag,
    lastModified: Number(fingerprintMtimeNs(fp) / 1_000_000n),
    versionId: 'null',
    facts,
    ...(bytes.checksum && { checksum: bytes.checksum }),
    ...(partCount !== undefined && { partCount }),
  };
}

function digest(refs: PartRef[]): string {
  const asked = refs.map(({ partNumber, etag }) => `${partNumber}:${etag}`).join(',');
  return createHash('md5').update(asked).digest('hex');
}
