/** Multipart uploads: `staging/uploads/<id>/` holds `upload.json` and one file a part; the journal records the parts, the index finds them. */
import { randomBytes } from 'node:crypto';
import { readFileSync, renameSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { S3Error, errno } from '../base/errors.js';
import type { Body, DigestPlan } from '../base/model.js';
import type { PartRecord } from '../catalog/lines.js';
import { pairKey } from '../catalog/rows.js';
import { makeStateDir, writeFileAtomic } from '../fs/statefile.js';
import { discard, stageBody } from '../fs/stage.js';
import { lstatOf } from '../fs/stat.js';
import type { ListUploadsQuery, Part, PartPage, Upload, UploadOptions, UploadPage } from './contract.js';
import type { Dir } from '../fs/dirs.js';
import type { Core } from './core.js';
import { successor } from './listing.js';

const MAX_PARTS = 10_000;
const UPLOAD_ID = /^[A-Za-z0-9_-]{20,64}$/;
const PAGE = 256;
const PART_FILE = /^\d{5}-[0-9a-f]{12}$/;

export interface EndedUploads {
  /** If the write they ended in is given up. */
  restore(): void;
  /** After it: removes their files. */
  remove(): Promise<void>;
}

export class Uploads {
  constructor(private readonly core: Core) {}

  async create(bucket: string, key: string, options: UploadOptions): Promise<Upload> {
    const { core } = this;
    core.checkWritable();
    const uploadId = `${Date.now().toString(36).padStart(9, '0')}${randomBytes(18).toString('base64url')}`;
    const upload: Upload = {
      uploadId,
      bucket,
      key,
      initiated: Date.now(),
      facts: options.facts ?? {},
      ...(options.initiator && { initiator: options.initiator }),
      ...(options.checksum && { checksum: options.checksum }),
    };
    const directory = this.directory(bucket, uploadId);
    // made aside: a folder of an upload always has its upload.json
    const aside = this.aside(directory);
    try {
      makeStateDir(aside, core.owner);
      writeFileAtomic(join(aside, 'upload.json'), `${JSON.stringify(upload, null, 2)}\n`, core.owner);
      makeStateDir(join(directory, '..'), core.owner);
      core.catalog.record(() => {
        renameSync(aside, directory);
        this.remember(upload);
      });
    } catch (error) {
      await rm(aside, { recursive: true, force: true }).catch(() => undefined);
      throw error;
    }
    await core.syncDirs([directory, join(directory, '..'), join(directory, '../..')]);
    return upload;
  }

  /** Puts the index row. Only inside a write. */
  remember(upload: Upload): void {
    this.core.catalog.index.put(
      'uploads',
      pairKey(upload.bucket, upload.key, upload.uploadId),
      Buffer.from(JSON.stringify(upload)),
    );
  }

  has(bucket: string, key: string, uploadId: string): boolean {
    return this.core.catalog.index.has('uploads', pairKey(bucket, key, uploadId));
  }

  /** @throws NoSuchUpload. */
  get(bucket: string, key: string, uploadId: string): Upload {
    this.core.bucketDir(bucket);
    const { catalog } = this.core;
    const bytes = UPLOAD_ID.test(uploadId) ? catalog.index.get('uploads', pairKey(bucket, key, uploadId)) : undefined;
    // completed, and about to be removed
    if (!bytes || catalog.completed(uploadId))
      throw new S3Error('NoSuchUpload', undefined, { data: { UploadId: uploadId } });
    return JSON.parse(bytes.toString()) as Upload;
  }

  async putPart(
    bucket: string,
    key: string,
    uploadId: string,
    partNumber: number,
    body: Body,
    digests: DigestPlan = { algorithms: [] },
  ): Promise<Part> {
    const { core } = this;
    core.checkWritable();
    if (!Number.isInteger(partNumber) || partNumber < 1 || partNumber > MAX_PARTS) {
      throw new S3Error('InvalidArgument', `Part number must be an integer between 1 and ${MAX_PARTS}, inclusive`);
    }
    this.get(bucket, key, uploadId);
    const directory = this.directory(bucket, uploadId);
    const staging = { directory, mustExist: true, owner: core.token, mode: 0o600 };
    const staged = await core.room
      .during(directory, body, (body) => stageBody(body, digests, staging, { ...core.owner }, core.durable))
      .catch((error: unknown) => {
        // the folder goes when the upload ends, before the transaction that says so: asked under the lock
        if (errno(error) === 'ENOENT') core.catalog.index.write(() => this.get(bucket, key, uploadId));
        throw error;
      });
    try {
      const file = `${String(partNumber).padStart(5, '0')}-${randomBytes(6).toString('hex')}`;
      const value = digests.store && staged.digests[digests.store];
      const part: PartRecord = {
        partNumber,
        file,
        size: staged.size,
        etag: staged.digests.MD5.toString('hex'),
        lastModified: Date.now(),
        ...(digests.store && value && { checksum: { algorithm: digests.store, value: value.toString('base64') } }),
      };
      const old = this.record(bucket, key, uploadId, part, staged.path);
      await core.flushed([directory]);
      if (old) discard(join(directory, old.file));
      return partOf(part);
    } finally {
      discard(staged.path);
    }
  }

  /** Under the lock: the upload still exists, the file gets its name, the line and the row. @returns the part that is replaced. */
  private record(
    bucket: string,
    key: string,
    uploadId: string,
    part: PartRecord,
    staged: string,
  ): PartRecord | undefined {
    const { catalog } = this.core;
    return catalog.record(() => {
      this.get(bucket, key, uploadId);
      const old = this.part(uploadId, part.partNumber);
      renameSync(staged, join(this.directory(bucket, uploadId), part.file));
      catalog.journal.append({ op: 'part', seq: catalog.nextSeq(), uploadId, part });
      catalog.index.put('parts', partKey(uploadId, part.partNumber), Buffer.from(JSON.stringify(part)));
      catalog.noteSettled();
      return old;
    });
  }

  part(uploadId: string, partNumber: number): PartRecord | undefined {
    const bytes = this.core.catalog.index.get('parts', partKey(uploadId, partNumber));
    return bytes && (JSON.parse(bytes.toString()) as PartRecord);
  }

  listParts(bucket: string, key: string, uploadId: string, after: number, max: number): PartPage {
    this.get(bucket, key, uploadId);
    const parts = this.records(uploadId, after, max + 1).map(partOf);
    return { parts: parts.slice(0, max), truncated: parts.length > max };
  }

  private records(uploadId: string, after: number, limit: number): PartRecord[] {
    const rows = this.core.catalog.index.page('parts', partKey(uploadId, after + 1), partKey(uploadId, 99_999), limit);
    return rows.map(({ value }) => JSON.parse(value.toString()) as PartRecord);
  }

  list(bucket: string, query: ListUploadsQuery): UploadPage {
    this.core.bucketDir(bucket);
    const page: UploadPage = { entries: [] };
    let start = this.listStart(bucket, query);
    const end = Buffer.from(`${bucket}\0\u0001`);
    let last: Upload | undefined;
    for (;;) {
      const rows = this.core.catalog.index.page('uploads', start, end, PAGE);
      let skipped = false;
      for (const row of rows) {
        const upload = JSON.parse(row.value.toString()) as Upload;
        start = Buffer.concat([row.key, Buffer.from([0])]);
        if (!upload.key.startsWith(query.prefix)) return page;
        // completed, and could not be removed
        if (this.core.catalog.completed(upload.uploadId)) continue;
        const prefix = rolledUp(upload.key, query);
        if (prefix !== undefined && prefix === query.keyMarker) continue;
        if (page.entries.length === query.max) return { ...page, ...nextMarkers(page, last) };
        last = upload;
        if (prefix === undefined) page.entries.push(upload);
        else {
          page.entries.push({ prefix });
          start = Buffer.concat([pairKey(bucket, ''), successor(prefix)]);
          skipped = true;
          break;
        }
      }
      if (!skipped && rows.length < PAGE) return page;
    }
  }

  private listStart(bucket: string, { prefix, keyMarker, uploadIdMarker }: ListUploadsQuery): Buffer {
    const head = pairKey(bucket, prefix);
    if (keyMarker === '') return head;
    const after =
      uploadIdMarker === ''
        ? Buffer.concat([pairKey(bucket, keyMarker), Buffer.from([0, 1])])
        : Buffer.concat([pairKey(bucket, keyMarker, uploadIdMarker), Buffer.from([0])]);
    return after.compare(head) > 0 ? after : head;
  }

  async abort(bucket: string, key: string, uploadId: string): Promise<void> {
    this.core.checkWritable();
    await this.abortAt({ bucket, key, uploadId }, () => {
      this.get(bucket, key, uploadId);
      return this.directory(bucket, uploadId);
    });
  }

  /** The same of a bucket that has lost its folder (carry.ts): no client can name it. @returns false if its disk is away, or somebody was faster. */
  async abortLost(upload: Upload): Promise<boolean> {
    const { bucket, key, uploadId } = upload;
    this.core.checkWritable();
    return this.abortAt(upload, () => {
      const stands = this.core.catalog.index.has('uploads', pairKey(bucket, key, uploadId));
      return stands ? this.lostDirectory(uploadId) : undefined;
    });
  }

  /** On a full disk, too: it makes room. @param directoryOf of its files; undefined if it must not be ended. @returns whether it was. */
  private async abortAt(
    { bucket, key, uploadId }: Pick<Upload, 'bucket' | 'key' | 'uploadId'>,
    directoryOf: () => string | undefined,
  ): Promise<boolean> {
    const moved: [from: string, to: string][] = [];
    const putBack = (): void => moved.splice(0).forEach(([from, to]) => renamed(to, from));
    try {
      this.core.catalog.recordFreeing(() => {
        putBack();
        const from = directoryOf();
        if (from === undefined) return;
        const to = this.aside(from);
        renamed(from, to);
        moved.push([from, to]);
        this.forget(bucket, key, uploadId);
      });
    } catch (error) {
      putBack();
      throw error;
    }
    for (const [, aside] of moved) await this.removeFiles(aside);
    return moved.length > 0;
  }

  /** Ends an upload: its rows go, and its folder is put aside in one rename(2). Only inside a write. @returns where the files are now. */
  end(bucket: string, key: string, uploadId: string): string {
    const directory = this.directory(bucket, uploadId);
    const aside = this.aside(directory);
    renamed(directory, aside);
    this.forget(bucket, key, uploadId);
    return aside;
  }

  /**
   * Ends all uploads of a bucket that is about to go, or of a name that is about to be a bucket: one that lives on would come back in the next
   * bucket of that name, which may be somebody else's. Only inside a write.
   * @param holder the bucket's folder, or the root where there is none.
   */
  endAll(bucket: string, holder: Dir): EndedUploads {
    const staging = this.core.stagingFor(holder);
    const moved: [from: string, to: string][] = [];
    const head = pairKey(bucket, '');
    const end = Buffer.from(`${bucket}\0\u0001`);
    for (let start = head, rows = [{ key: start, value: start }]; rows.length > 0;) {
      rows = this.core.catalog.index.page('uploads', start, end, PAGE);
      for (const { key, value } of rows) {
        const upload = JSON.parse(value.toString()) as Upload;
        const directory = join(staging, 'uploads', upload.uploadId);
        const aside = this.aside(directory);
        if (renamed(directory, aside)) moved.push([directory, aside]);
        this.forget(upload.bucket, upload.key, upload.uploadId);
        start = Buffer.concat([key, Buffer.from([0])]);
      }
    }
    return {
      restore: () => moved.forEach(([from, to]) => renamed(to, from)),
      remove: async () => {
        for (const [, aside] of moved) await this.removeFiles(aside);
      },
    };
  }

  /** A name in staging that is known for this process's: removed at the next start if it is killed. */
  private aside(directory: string): string {
    return join(directory, '../..', `${this.core.token}-${randomBytes(8).toString('hex')}`);
  }

  /** Drops the rows of an upload that has ended. Only inside a write. */
  forget(bucket: string, key: string, uploadId: string): void {
    const { index } = this.core.catalog;
    index.remove('uploads', pairKey(bucket, key, uploadId));
    for (const { key: part } of index.page('parts', partKey(uploadId, 0), partKey(uploadId, 99_999), MAX_PARTS))
      index.remove('parts', part);
  }

  /** Drops part rows of uploads that have ended: a journal names them for ever. Only inside a write. */
  dropUnknown(known: ReadonlySet<string>): void {
    const { index } = this.core.catalog;
    for (let start: Buffer = Buffer.alloc(0), rows = [{ key: start }]; rows.length > 0;) {
      rows = index.page('parts', start, Buffer.from([0xff]), PAGE);
      for (const { key } of rows) {
        if (!known.has(key.toString('utf8', 0, key.indexOf('\0\0')))) index.remove('parts', key);
        start = Buffer.concat([key, Buffer.from([0])]);
      }
    }
  }

  /** @param aside what {@link end} gave. */
  async removeFiles(aside: string): Promise<void> {
    try {
      await this.core.syncDirs([join(aside, '../uploads')]);
    } finally {
      // what cannot be removed now goes at the next start
      await rm(aside, { recursive: true, force: true }).catch(() => undefined);
    }
  }

  /** Brings the index in line with the folders of uploads, by id, which are the truth: after a crash, or when the index was made anew. Only inside a write. */
  reconcile(folders: ReadonlyMap<string, string>, warn: (id: string, error: unknown) => void): void {
    const { index } = this.core.catalog;
    const unknown = new Map(folders);
    for (let start: Buffer = Buffer.alloc(0), rows = [{ key: start, value: start }]; rows.length > 0;) {
      rows = index.page('uploads', start, Buffer.from([0xff]), PAGE);
      for (const { key, value } of rows) {
        const upload = JSON.parse(value.toString()) as Upload;
        if (!unknown.delete(upload.uploadId) && this.isGone(upload))
          this.forget(upload.bucket, upload.key, upload.uploadId);
        start = Buffer.concat([key, Buffer.from([0])]);
      }
    }
    for (const [id, folder] of unknown) {
      try {
        this.remember(JSON.parse(readFileSync(join(folder, 'upload.json'), 'utf8')) as Upload);
      } catch (error) {
        warn(id, error);
      }
    }
  }

  /**
   * Removes files of parts that were replaced, or whose process was killed before the line. An upload without any part in the index keeps all: its
   * disk may have been away when the index was made anew. Only inside a write, which is also where such files get their names.
   */
  dropStrayParts(uploadId: string, names: readonly string[], folder: string): void {
    const known = new Set(this.records(uploadId, 0, MAX_PARTS).map(({ file }) => file));
    if (known.size === 0) return;
    for (const name of names) if (PART_FILE.test(name) && !known.has(name)) discard(join(folder, name));
  }

  private isGone({ bucket, uploadId }: Upload): boolean {
    try {
      return lstatOf(this.directory(bucket, uploadId)) === undefined;
    } catch {
      // the bucket's folder is gone, perhaps with its disk
      return false;
    }
  }

  directory(bucket: string, uploadId: string): string {
    return join(this.core.stagingFor(this.core.bucketDir(bucket)), 'uploads', uploadId);
  }

  /** Nobody knows on which file system the bucket was. */
  lostDirectory(uploadId: string): string | undefined {
    const places = this.core.mounts.stagings().map((staging) => join(staging, 'uploads', uploadId));
    return places.find((place) => lstatOf(place));
  }

  /** Path of a part's file, if it still has the recorded size. @throws InvalidPart. */
  partPath(bucket: string, uploadId: string, part: PartRecord): string {
    const path = join(this.directory(bucket, uploadId), part.file);
    if (lstatOf(path)?.size !== BigInt(part.size)) throw invalidPart(uploadId, part.partNumber, part.etag);
    return path;
  }
}

export function invalidPart(uploadId: string, partNumber: number, etag: string): S3Error {
  return new S3Error('InvalidPart', undefined, { data: { UploadId: uploadId, PartNumber: partNumber, ETag: etag } });
}

/** @returns false if there is nothing to rename. */
function renamed(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch (error) {
    if (errno(error) !== 'ENOENT') throw error;
    return false;
  }
}

function partKey(uploadId: string, partNumber: number): Buffer {
  return pairKey(uploadId, String(partNumber).padStart(5, '0'));
}

function partOf({ partNumber, size, etag, lastModified, checksum }: PartRecord): Part {
  return { partNumber, size, etag, lastModified, ...(checksum && { checksum }) };
}

function rolledUp(key: string, { prefix, delimiter }: ListUploadsQuery): string | undefined {
  if (delimiter === '') return undefined;
  const at = key.indexOf(delimiter, prefix.length);
  return at < 0 ? undefined : key.slice(0, at + delimiter.length);
}

function nextMarkers(page: UploadPage, last: Upload | undefined): Partial<UploadPage> {
  const entry = page.entries.at(-1);
  if (!entry || !last) return {};
  return 'prefix' in entry
    ? { nextKeyMarker: entry.prefix }
    : { nextKeyMarker: last.key, nextUploadIdMarker: last.uploadId };
}
