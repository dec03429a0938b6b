/**
 * The fingerprint of a file: what must be unchanged for facts of its bytes (ETag, checksums) to hold (DESIGN rule 4).
 *
 * Binary form, 36 bytes, big-endian: mount identity u32, inode u64, birth time ns i64, size u64, mtime ns i64. Two are compared as bytes.
 *
 * A file may bear any time, and 64 bits of ns reach from 1677 to 2262: one beyond is kept modulo 2^64, 584 years. Equal stays equal.
 */
import { hash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';

export const FINGERPRINT_BYTES = 36;

/** @param mount stable identity of the mount, see `fs/mounts.ts`; device numbers change across boots. */
export function fingerprint(stat: BigIntStats, mount: number): Buffer {
  const out = Buffer.allocUnsafe(FINGERPRINT_BYTES);
  out.writeUInt32BE(mount, 0);
  out.writeBigUInt64BE(stat.ino, 4);
  out.writeBigInt64BE(wrapNs(stat.birthtimeNs), 12);
  out.writeBigUInt64BE(stat.size, 20);
  out.writeBigInt64BE(wrapNs(stat.mtimeNs), 28);
  return out;
}

/** A time in ns as 64 bits can hold it. */
export function wrapNs(ns: bigint): bigint {
  return BigInt.asIntN(64, ns);
}

/** What ext4, XFS (bigtime) and NFS can hold begins here, 1901-12-13, and ends within 2^64 ns of it, in 2446 and 2486. */
const EARLIEST_NS = -(2n ** 31n) * 1_000_000_000n;

/** A wrapped time as it most likely was: of 1901 to 2486. */
function unwrapNs(ns: bigint): bigint {
  return EARLIEST_NS + BigInt.asUintN(64, ns - EARLIEST_NS);
}

/** Readable form for the journal: `mount:inode:birth:size:mtime`, decimal. */
export function formatFingerprint(fp: Buffer): string {
  return `${fp.readUInt32BE(0)}:${fp.readBigUInt64BE(4)}:${unwrapNs(fp.readBigInt64BE(12))}:${fp.readBigUInt64BE(20)}:${fingerprintMtimeNs(fp)}`;
}

/** @throws SyntaxError on a text that {@link formatFingerprint} did not write. */
export function parseFingerprint(text: string): Buffer {
  const parts = text.split(':');
  if (parts.length !== 5) throw new SyntaxError(`not a fingerprint: ${text}`);
  const [mount, ino, birth, size, mtime] = parts as [string, string, string, string, string];
  const out = Buffer.allocUnsafe(FINGERPRINT_BYTES);
  out.writeUInt32BE(Number(mount), 0);
  out.writeBigUInt64BE(BigInt(ino), 4);
  out.writeBigInt64BE(wrapNs(BigInt(birth)), 12);
  out.writeBigUInt64BE(BigInt(size), 20);
  out.writeBigInt64BE(wrapNs(BigInt(mtime)), 28);
  return out;
}

/**
 * Same size and mtime, whatever the inode: the file may have been restored from a copy (rsync -a, cp -a), also by what knows whole seconds only (tar).
 * @param old of the file that was known.
 */
export function looksRestored(old: Buffer, now: Buffer): boolean {
  if (old.compare(now, 20, 28, 20, 28) !== 0) return false;
  const [from, to] = [fingerprintMtimeNs(old), fingerprintMtimeNs(now)];
  return from === to || (to % SECOND_NS === 0n && from > to && from - to < SECOND_NS);
}

const SECOND_NS = 1_000_000_000n;

export function fingerprintSize(fp: Buffer): number {
  return Number(fp.readBigUInt64BE(20));
}

/** mtime, for where no stat is at hand; of files dated before 1901 or after 2486 it is 584 years off. */
export function fingerprintMtimeNs(fp: Buffer): bigint {
  return unwrapNs(fp.readBigInt64BE(28));
}

/**
 * ETag of a file whose bytes nobody has hashed yet: 32 hex digits and `-1`, so that no client takes it for an MD5. The ctime is in it: an
 * overwrite in place with restored size and mtime gives another one.
 */
export function derivedEtag(fp: Buffer, ctimeNs: bigint): string {
  return `${hash('md5', Buffer.concat([fp, Buffer.from(String(ctimeNs))]))}-1`;
}
