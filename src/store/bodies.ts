/**
 * Bytes of small objects that were read a moment ago: a hit costs neither open(2) nor read(2).
 *
 * Nothing is believed that the file system does not say anew: whoever asks has just found the file by stat(2), and its fingerprint, ctime and ETag must
 * be those that the bytes were read under. Only files whose ctime was old by then are kept, since a later change must show in it. What changes a file
 * without any stamp (a store through a mapping, before it is written back) shows within a second: no bytes are kept for longer.
 */
import type { FileRow } from '../catalog/rows.js';
import type { FileClock } from '../fs/clock.js';
import type { Found } from './core.js';
import { knowledge } from './describe.js';

const MAX_OBJECT = 32 << 10;
const MAX_TOTAL = 16 << 20;
const KEEP_MS = 1000;

interface Kept {
  bytes: Buffer;
  fp: Buffer;
  ctimeNs: bigint;
  etag: string;
  until: number;
}

export class Bodies {
  /** By path, the oldest first. */
  private readonly kept = new Map<string, Kept>();
  private total = 0;

  /** Whether it is worth asking {@link of} for what stands at a key. */
  has(bucket: string, key: string): boolean {
    return this.kept.has(nameOf(bucket, key));
  }

  /** The bytes of what was found just now at a key. */
  of(bucket: string, key: string, found: Found): Buffer | undefined {
    const name = nameOf(bucket, key);
    const kept = this.kept.get(name);
    if (!kept) return undefined;
    const same =
      kept.until > performance.now() &&
      isWhole(found) &&
      kept.etag === found.row.etag &&
      kept.ctimeNs === found.stat.ctimeNs &&
      kept.fp.equals(found.fp);
    if (same) return kept.bytes;
    this.drop(name, kept);
    return undefined;
  }

  /** @param found as it was when the file was opened. @returns whether its bytes may be kept once they were read. */
  accepts(found: Found, clock: FileClock): boolean {
    return found.stat.size <= MAX_OBJECT && isWhole(found) && !clock.isYoung(found.stat.ctimeNs);
  }

  /** @param bytes all of the object, of a file that was the same before and after; a copy is kept. */
  keep(bucket: string, key: string, { fp, stat, row }: Found, bytes: Buffer): void {
    const name = nameOf(bucket, key);
    const old = this.kept.get(name);
    if (old) this.drop(name, old);
    this.total += bytes.length;
    const etag = row?.etag ?? '';
    this.kept.set(name, {
      bytes: Buffer.from(bytes),
      fp,
      ctimeNs: stat.ctimeNs,
      etag,
      until: performance.now() + KEEP_MS,
    });
    for (const [oldest, one] of this.kept) {
      if (this.total <= MAX_TOTAL && one.until > performance.now()) break;
      this.drop(oldest, one);
    }
  }

  private drop(name: string, { bytes }: Kept): void {
    this.kept.delete(name);
    this.total -= bytes.length;
  }
}

/** Known, and nothing is being appended to it. */
function isWhole(found: Found): found is Found & { row: FileRow } {
  return found.row !== undefined && found.row.appendFrom === undefined && knowledge(found) === 'known';
}

function nameOf(bucket: string, key: string): string {
  return `${bucket}/${key}`;
}
