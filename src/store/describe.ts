/**
 * What is told of a file: ETag, checksum, facts - and whether the recorded ones still hold (DESIGN rule 4).
 *
 * - Fingerprint and ctime as recorded: all holds.
 * - Same fingerprint, later ctime; or another inode with the same size and mtime (a restore): provisional, hashed again before it is told.
 * - Anything else: foreign bytes. A small file is hashed at once, a large one gets the derived ETag and is hashed in the background.
 */
import { closeSync, readlinkSync, realpathSync } from 'node:fs';
import { lookup as mimeType } from 'mime-types';
import type { Acl, KeyFacts } from '../base/model.js';
import { createHash } from 'node:crypto';
import { subjectOf } from '../catalog/catalog.js';
import type { FileRow, Layout } from '../catalog/rows.js';
import { derivedEtag, formatFingerprint, looksRestored } from '../fs/fingerprint.js';
import { isTorn, openRegular, readRange, type OpenFile } from '../fs/reader.js';
import type { ObjectInfo } from './contract.js';
import { S3Error } from '../base/errors.js';
import { isInside, noSuchKey, type Core, type Found } from './core.js';
import { endMove } from './settle.js';

/** Hashed on the way of a GET or HEAD; larger ones in the background. */
export const SMALL_FILE = 1 << 20;

/** MD5 of nothing. */
export const EMPTY_ETAG = 'd41d8cd98f00b204e9800998ecf8427e';

export type Knowledge = 'known' | 'provisional' | 'unknown';

/** Whether the byte facts of the row are those of the file. */
export function knowledge(found: Found): Knowledge {
  const { row, fp, stat } = found;
  if (!row || row.etag === '') return 'unknown';
  if (row.appendFrom !== undefined) return stat.ino === row.fp.readBigUInt64BE(4) ? 'known' : 'unknown';
  if (row.fp.equals(fp)) return row.ctimeNs === stat.ctimeNs ? 'known' : 'provisional';
  return looksRestored(row.fp, fp) ? 'provisional' : 'unknown';
}

/** The object as it is known without reading it. */
export function describe(bucket: string, key: string, found: Found): ObjectInfo {
  const { row, stat, fp } = found;
  const known = knowledge(found);
  const derived = derivedEtag(fp, stat.ctimeNs);
  const appending = known === 'known' && row?.appendFrom !== undefined;
  const info: ObjectInfo = {
    bucket,
    key,
    size: appending ? (row.appendFrom ?? 0) : Number(stat.size),
    etag: known === 'known' && row ? row.etag : derived,
    lastModified: Number((appending ? row.fp.readBigInt64BE(28) : stat.mtimeNs) / 1_000_000n),
    versionId: 'null',
    facts: factsOf(key, row?.facts, row?.published === true),
  };
  if (known === 'known' && row) {
    if (info.etag !== derived) info.aliases = [derived];
    if (row.checksum) info.checksum = row.checksum;
    if (row.partCount !== undefined) info.partCount = row.partCount;
  }
  return info;
}

/** Facts of a key; the content type of a file that no client put is guessed from its name. */
function factsOf(key: string, facts: KeyFacts | undefined, published: boolean): KeyFacts {
  if (published || facts?.contentType !== undefined) return facts ?? {};
  const guessed = mimeType(key);
  return { ...facts, contentType: guessed === false ? 'binary/octet-stream' : guessed };
}

/** Facts without what a move or copy must not carry to another owner. */
export function withoutAccess(facts: KeyFacts): KeyFacts {
  const { acl: _acl, owner: _owner, ...rest } = facts as KeyFacts & { acl?: Acl };
  return rest;
}

/** Hashes files that nobody has hashed, one at a time in the background; waiting requests for one file share one computation. */
export class Identifier {
  private readonly running = new Map<string, Promise<void>>();
  private readonly queue = new Map<string, () => Promise<void>>();
  private busy = false;
  private closed = false;

  constructor(private readonly core: Core) {}

  /**
   * The object at a key with its true ETag if that is known or cheap to know.
   */
  async identify(bucket: string, key: string, found: Found): Promise<Found> {
    if (knowledge(found) === 'known') return found;
    const adopted = this.adopt(bucket, key, found);
    if (adopted && knowledge(adopted) === 'known') return adopted;
    const now = adopted ?? found;
    if (Number(now.stat.size) > SMALL_FILE) {
      this.later(bucket, key, now);
      return now;
    }
    await this.shared(bucket, key, now);
    return this.core.find(bucket, key) ?? now;
  }

  /** Takes over what a killed process had published but not recorded. @returns the file as it is now. */
  private adopt(bucket: string, key: string, found: Found): Found | undefined {
    return this.core.catalog.index.write(() => {
      const now = this.core.find(bucket, key);
      if (!now) throw noSuchKey(key);
      if (knowledge(now) === 'known') return now;
      const row = this.core.catalog.adopt(now.place, now.fp, now.stat.ctimeNs, (line) => endMove(this.core, line));
      return row ? { ...now, row } : found.place.kind === now.place.kind ? now : undefined;
    });
  }

  private shared(bucket: string, key: string, found: Found): Promise<void> {
    const id = `${bucket}/${key}`;
    let work = this.running.get(id);
    if (!work) {
      work = this.hash(bucket, key, found).finally(() => this.running.delete(id));
      this.running.set(id, work);
    }
    return work;
  }

  /** Queues a large file; a bounded number, for it will be asked for again. */
  private later(bucket: string, key: string, found: Found): void {
    if (this.closed || this.core.options.readOnly || this.queue.size > 1000) return;
    this.queue.set(`${bucket}/${key}`, () => this.shared(bucket, key, found));
    if (!this.busy) void this.work();
  }

  private async work(): Promise<void> {
    this.busy = true;
    for (const [id, run] of this.queue) {
      this.queue.delete(id);
      if (this.closed) break;
      await run().catch((error: unknown) =>
        this.core.log('warn', 'a file could not be hashed', { file: id, error: String(error) }),
      );
    }
    this.busy = false;
  }

  /** Reads the file and records its hash, if it stayed as it was. */
  private async hash(bucket: string, key: string, found: Found): Promise<void> {
    const file = openFound(found);
    try {
      if (file.stat.size !== found.stat.size || file.stat.ctimeNs !== found.stat.ctimeNs) return;
      // young stamps prove nothing: the next change in the same tick would not show
      if (this.core.clock.isYoung(file.stat.ctimeNs)) await new Promise((resolve) => setTimeout(resolve, 25));
      const layout = found.row?.layout === undefined ? undefined : this.core.catalog.index.layout(found.row.layout);
      const etag = await etagOf(file, knowledge(found) === 'provisional' ? layout : undefined, () => this.closed);
      if (etag === undefined || isTorn(file)) return;
      this.record(bucket, key, file, found, etag);
    } finally {
      closeSync(file.fd);
    }
  }

  private record(bucket: string, key: string, file: OpenFile, found: Found, etag: string): void {
    const { catalog } = this.core;
    catalog.index.write(() => {
      const now = this.core.find(bucket, key);
      if (!now || !now.fp.equals(found.fp) || now.stat.ctimeNs !== file.stat.ctimeNs) return;
      const old = now.row;
      const same = old?.etag === etag;
      if (!same && old?.layout !== undefined) catalog.index.removeLayout(old.layout);
      const seq = catalog.nextSeq();
      const row: FileRow = {
        ...(old ?? { kind: 'file', published: false }),
        fp: now.fp,
        ctimeNs: now.stat.ctimeNs,
        seq,
        etag,
      };
      delete row.goneAt;
      if (!same) {
        delete row.checksum;
        delete row.layout;
        delete row.partCount;
      }
      const subject = subjectOf(now.place);
      const ctime = String(now.stat.ctimeNs);
      if (same && row.facts) {
        // all facts again, under the new fingerprint: a hash line alone would drop checksum and parts
        catalog.journal.append({
          op: 'prepare',
          id: `seen-${seq}`,
          ...subject,
          bytes: { ...catalog.bytesOf(row) },
          facts: row.facts,
          published: row.published,
          ...(row.file !== undefined && { file: row.file }),
        });
        catalog.journal.append({ op: 'commit', id: `seen-${seq}`, seq, ctime });
      } else {
        catalog.journal.append({ op: 'hash', seq, ...subject, fp: formatFingerprint(now.fp), ctime, etag });
      }
      catalog.putRow(now.place, row);
      catalog.noteSettled();
    });
  }

  async close(): Promise<void> {
    this.closed = true;
    this.queue.clear();
    await Promise.allSettled(this.running.values());
  }
}

/** Opens what was found, and nothing else: what a link leads to by now must still lie in the bucket. @throws NoSuchKey. */
export function openFound(found: Found): OpenFile {
  const { fd, stat } = openRegular(found.dir.at(found.name), found.link !== undefined);
  const path = `${found.dir.path}/${found.name}`;
  if (found.link === undefined) return { fd, stat, path };
  const real = process.platform === 'linux' ? readlinkSync(`/proc/self/fd/${fd}`) : realpathSync.native(path);
  if (isInside(real, found.link)) return { fd, stat, path: real };
  closeSync(fd);
  throw new S3Error('NoSuchKey');
}

/** MD5 of the whole, or by the parts of a layout; undefined if told to stop. */
async function etagOf(file: OpenFile, layout: Layout | undefined, stopped: () => boolean): Promise<string | undefined> {
  const size = Number(file.stat.size);
  const sizes = layout ? layout.sizes.flatMap(([bytes, times]) => Array<number>(times).fill(bytes)) : [size];
  const digests: Buffer[] = [];
  let at = 0;
  for (const part of sizes) {
    const md5 = createHash('md5');
    await readRange(file, at, Math.min(at + part, size), (chunk) => {
      md5.update(chunk);
    });
    if (stopped()) return undefined;
    at += part;
    digests.push(md5.digest());
  }
  if (!layout) return digests[0]?.toString('hex');
  return `${createHash('md5').update(Buffer.concat(digests)).digest('hex')}-${digests.length}`;
}
