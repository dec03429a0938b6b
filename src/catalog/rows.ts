/**
 * Rows of the index: what is known of a file or directory, and their binary form.
 *
 * A row is keyed by (directory id, name); a directory's name ends in `/`, which gives S3's order, and moving a directory changes one row
 * whatever lies below it. Fixed fields come first so that a listing decodes little; rare facts follow as JSON.
 */
import type { BigIntStats } from 'node:fs';
import { crc32 } from '@node-rs/crc32';
import type { Checksum, KeyFacts } from '../base/model.js';
import { FINGERPRINT_BYTES, wrapNs } from '../fs/fingerprint.js';

export interface FileRow {
  kind: 'file';
  /** What the byte facts (etag, checksum, parts) belong to. */
  fp: Buffer;
  /** ctime when the byte facts were last known to hold; a later one makes them provisional. */
  ctimeNs: bigint;
  /** Place in the order of events; 0 for what the journal does not know. */
  seq: number;
  /** MD5 hex or `hex-N`; '' if nobody has hashed these bytes. */
  etag: string;
  /** Whether a client put it: shown even where an exclude pattern matches. */
  published: boolean;
  /** When (ms) the file was first missed; its facts are kept for a while. */
  goneAt?: number;
  facts?: KeyFacts;
  checksum?: Checksum;
  /** Number of parts, with the layout in its own table under `layout`. */
  partCount?: number;
  layout?: number;
  /** Overflow objects: name of the file under `.gos3rve/overflow/<bucket>/`. */
  file?: string;
  /** Made longer in place by us, by the appends of this chain (store/growth.ts). Only in the index. */
  appended?: string;
  /** An append is under way: readers see only this many bytes, with `fp` and etag as they were. */
  appendFrom?: number;
  /** Which one: the id of its line in the journal, which names the process. */
  appendId?: string;
  /**
   * The derived ETag that was told while nobody had hashed the file, and until when (ms) it stays. Only in the index. `ctime` (ns): of the file since
   * we have renamed it, for which another one would be derived.
   */
  told?: [until: number, etag: string, ctime?: string];
  /** Bytes of another program that a request came upon, and no look at the live index yet. Only in the index. */
  unseen?: 'new' | 'changed';
  /** A link stands there that leads to no file of the bucket, and that was noted: as if the file were gone, but it may be back without a trace. Only in the index. */
  dangling?: boolean;
  /** The byte facts are in doubt (a later ctime, a restored file), and nobody has hashed it again yet. Only in the index. */
  doubtful?: boolean;
  /** The byte facts came with a rename or link of one file, behind whose ctime an earlier write may hide (identity.ts). */
  unproven?: true;
  /** Of a file that others have changed, nobody has hashed, and has the size of before: the ETag that `checksum` and `layout` go with, should its bytes still be the same. */
  was?: string;
  /** Top-level folder that the ACL and the owner in `facts` belong to: under another they are not told. */
  home?: string;
  /** Renamed by another program: key (base64) of the row whose key facts follow, and since when (ms, file system's clock) its path has been empty. */
  from?: { key: string; since: number };
}

export interface DirRow {
  kind: 'dir';
  id: number;
  seq: number;
  /** Made by gos3rve: removed when it falls empty. */
  made: boolean;
  /** Put as `dir/` by a client: listed. Time in ms; `home` as of a file. */
  marker?: { time: number; facts: KeyFacts; checksum?: Checksum; home?: string };
  /** Which directory of the file system it is (`identityOf`, identities.ts), as far as somebody has looked. */
  identity?: Buffer;
  /** The journal knows this identity. */
  noted?: boolean;
  /** Identity and times when it was last read whole; absent or `stampTrusted` false: read again. */
  stamp?: Buffer;
  stampTrusted: boolean;
  /** When it was as the stamp says, every row of a file in it had its file. Only in the index. */
  full?: boolean;
  /** As it was then, no row of a directory lay in it, and none has come since. Only in the index. */
  leaf?: boolean;
  /** Not read yet, and made by gos3rve, or since the directory above was read: all in it is new. Only in the index. */
  fresh?: boolean;
}
export type Row = FileRow | DirRow;

/** Part layout of a multipart object: runs of equal sizes, and each part's checksum if there is one. */
export interface Layout {
  /** [size, how many parts of it][] in part order. */
  sizes: [number, number][];
  /** Part numbers as the client gave them, if they are not 1…N. */
  numbers?: number[];
  /** base64, per part. */
  checksums?: string[];
  /**
   * How many of the last parts were appended one after the other: each makes a new ETag of the one before and its own MD5 (store/etag.ts). All of
   * them: the first part was a whole object, and its MD5 the ETag.
   */
  chained?: number;
}

/** Mount, inode and birth time: the head of a fingerprint. */
export const IDENTITY_BYTES = 20;

const FILE = 1;
const DIR = 2;
const PUBLISHED = 1;
const HAS_ETAG = 2;
const GONE = 4;
const UNSEEN = 8;
const UNSEEN_NEW = 16;
const DOUBTFUL = 32;
const UNPROVEN = 64;
const DANGLING = 128;
const MADE = 1;
const TRUSTED = 2;
const HAS_STAMP = 4;
const HAS_IDENTITY = 8;
const NOTED = 16;
const FULL = 32;
const FRESH = 64;
const LEAF = 128;

const FILE_HEAD = 2 + FINGERPRINT_BYTES + 8 + 6 + 16 + 2;
const STAMP_BYTES = 32;
/** Every row ends in the CRC32 of what is before: LMDB gives wrong values from a damaged file without a word. */
const CRC_BYTES = 4;
const DIR_HEAD = 2 + 6 + 6 + STAMP_BYTES;

export function encodeRow(row: Row): Buffer {
  const out = row.kind === 'file' ? encodeFile(row) : encodeDir(row);
  const body = out.subarray(0, -CRC_BYTES);
  out.writeUInt32BE(crc32(body), body.length);
  return out;
}

function encodeFile(row: FileRow): Buffer {
  const { facts, checksum, partCount, layout, file, goneAt, appendFrom, appendId, appended, told, was, home, from } =
    row;
  const append = { appendFrom, appendId, appended };
  // a time that 64 bits cannot hold
  const ctime = wrapNs(row.ctimeNs) === row.ctimeNs ? undefined : String(row.ctimeNs);
  const rare = { facts, checksum, partCount, layout, file, goneAt, ...append, told, was, home, from, ctime };
  const tail = Object.values(rare).some((v) => v !== undefined) ? Buffer.from(JSON.stringify(rare)) : Buffer.alloc(0);
  const out = Buffer.alloc(FILE_HEAD + tail.length + CRC_BYTES);
  out[0] = FILE;
  out[1] =
    (row.published ? PUBLISHED : 0) |
    (row.etag ? HAS_ETAG : 0) |
    (row.goneAt === undefined ? 0 : GONE) |
    (row.unseen ? UNSEEN : 0) |
    (row.unseen === 'new' ? UNSEEN_NEW : 0) |
    (row.doubtful ? DOUBTFUL : 0) |
    (row.unproven ? UNPROVEN : 0) |
    (row.dangling ? DANGLING : 0);
  row.fp.copy(out, 2);
  let at = 2 + FINGERPRINT_BYTES;
  out.writeBigInt64BE(wrapNs(row.ctimeNs), at);
  out.writeUIntBE(row.seq, (at += 8), 6);
  at += 6;
  if (row.etag) {
    out.write(row.etag.slice(0, 32), at, 'hex');
    out.writeUInt16BE(row.etag.length > 32 ? Number(row.etag.slice(33)) : 0, at + 16);
  }
  tail.copy(out, FILE_HEAD);
  return out;
}

function encodeDir(row: DirRow): Buffer {
  const tail = row.marker ? Buffer.from(JSON.stringify(row.marker)) : Buffer.alloc(0);
  const head = DIR_HEAD + (row.identity?.length ?? 0);
  const out = Buffer.alloc(head + tail.length + CRC_BYTES);
  out[0] = DIR;
  out[1] =
    (row.made ? MADE : 0) |
    (row.stampTrusted ? TRUSTED : 0) |
    (row.stamp ? HAS_STAMP : 0) |
    (row.identity ? HAS_IDENTITY : 0) |
    (row.noted ? NOTED : 0) |
    (row.full ? FULL : 0) |
    (row.fresh ? FRESH : 0) |
    (row.leaf ? LEAF : 0);
  out.writeUIntBE(row.id, 2, 6);
  out.writeUIntBE(row.seq, 8, 6);
  row.stamp?.copy(out, 14);
  row.identity?.copy(out, DIR_HEAD);
  tail.copy(out, head);
  return out;
}

/** The index holds what we never wrote: it must be made anew from journal and tree. */
export class DamagedIndex extends Error {
  constructor(what = 'a damaged row') {
    super(`the index holds ${what}`);
  }
}

/** @throws DamagedIndex on bytes that are no row. */
export function decodeRow(bytes: Buffer): Row {
  const end = bytes.length - CRC_BYTES;
  const body = end > 0 ? bytes.subarray(0, end) : bytes;
  if (end > 0 && crc32(body) === bytes.readUInt32BE(end)) {
    if (body[0] === FILE && end >= FILE_HEAD) return decodeFile(body);
    if (body[0] === DIR && end >= DIR_HEAD) return decodeDir(body);
  }
  throw new DamagedIndex();
}

function decodeFile(bytes: Buffer): FileRow {
  const flags = bytes[1] ?? 0;
  let at = 2 + FINGERPRINT_BYTES;
  const row: FileRow = {
    kind: 'file',
    fp: Buffer.from(bytes.subarray(2, at)),
    ctimeNs: bytes.readBigInt64BE(at),
    seq: bytes.readUIntBE(at + 8, 6),
    etag: '',
    published: (flags & PUBLISHED) !== 0,
  };
  if (flags & DOUBTFUL) row.doubtful = true;
  if (flags & UNPROVEN) row.unproven = true;
  if (flags & DANGLING) row.dangling = true;
  if (flags & UNSEEN) row.unseen = flags & UNSEEN_NEW ? 'new' : 'changed';
  at += 14;
  if (flags & HAS_ETAG) {
    const parts = bytes.readUInt16BE(at + 16);
    row.etag = bytes.toString('hex', at, at + 16) + (parts > 0 ? `-${parts}` : '');
  }
  if (bytes.length === FILE_HEAD) return row;
  const { ctime, ...rare } = JSON.parse(bytes.toString('utf8', FILE_HEAD)) as Partial<FileRow> & { ctime?: string };
  if (ctime !== undefined) row.ctimeNs = BigInt(ctime);
  return Object.assign(row, rare);
}

function decodeDir(bytes: Buffer): DirRow {
  const flags = bytes[1] ?? 0;
  const row: DirRow = {
    kind: 'dir',
    id: bytes.readUIntBE(2, 6),
    seq: bytes.readUIntBE(8, 6),
    made: (flags & MADE) !== 0,
    stampTrusted: (flags & TRUSTED) !== 0,
  };
  if (flags & HAS_STAMP) row.stamp = Buffer.from(bytes.subarray(14, 14 + STAMP_BYTES));
  if (flags & NOTED) row.noted = true;
  if (flags & FULL) row.full = true;
  if (flags & FRESH) row.fresh = true;
  if (flags & LEAF) row.leaf = true;
  let at = DIR_HEAD;
  if (flags & HAS_IDENTITY) row.identity = Buffer.from(bytes.subarray(at, (at += IDENTITY_BYTES)));
  if (bytes.length > at) row.marker = JSON.parse(bytes.toString('utf8', at)) as NonNullable<DirRow['marker']>;
  return row;
}

/** Id of the directory that an encoded row speaks of; undefined if it is that of a file. @throws DamagedIndex. */
export function dirIdOf(bytes: Buffer): number | undefined {
  const end = bytes.length - CRC_BYTES;
  if (bytes[0] !== DIR || end < DIR_HEAD) return undefined;
  if (crc32(bytes.subarray(0, end)) !== bytes.readUInt32BE(end)) throw new DamagedIndex();
  return bytes.readUIntBE(2, 6);
}

/** Whether the file of a row was there when somebody last looked. */
export function isPresent({ goneAt, dangling }: FileRow): boolean {
  return goneAt === undefined && dangling !== true;
}

/** Whether an encoded row is that of a file which was missing when somebody last looked. */
export function isGone(bytes: Buffer): boolean {
  return bytes[0] === FILE && ((bytes[1] ?? 0) & GONE) !== 0;
}

/** Whether an encoded row is that of a file that a request came upon, and that nobody knew of before. */
export function isUnseenNew(bytes: Buffer): boolean {
  return bytes[0] === FILE && ((bytes[1] ?? 0) & UNSEEN_NEW) !== 0;
}

/** Whether an encoded row is that of a file whose bytes nobody has hashed, or whose hash is in doubt or unproven. */
export function isUnhashed(bytes: Buffer): boolean {
  const flags = bytes[1] ?? 0;
  return (
    bytes[0] === FILE && (flags & GONE) === 0 && ((flags & HAS_ETAG) === 0 || (flags & (DOUBTFUL | UNPROVEN)) !== 0)
  );
}

/** Facts without what must not reach another owner's bucket. */
export function withoutAccess(facts: KeyFacts): KeyFacts {
  const { acl: _acl, owner: _owner, ...rest } = facts;
  return rest;
}

/**
 * Identity and times of a directory: equal stamps mean that no entry came, went or was renamed.
 * @param view names the settings (excludes, links) under which it was read: under others it must be read again.
 */
export function dirStamp(stat: BigIntStats, view = 0n): Buffer {
  const out = Buffer.allocUnsafe(STAMP_BYTES);
  out.writeBigUInt64BE(stat.dev ^ view, 0);
  out.writeBigUInt64BE(stat.ino, 8);
  out.writeBigInt64BE(wrapNs(stat.mtimeNs), 16);
  out.writeBigInt64BE(wrapNs(stat.ctimeNs), 24);
  return out;
}

/** Whether a stamp was taken of a directory on the same file system and under the same settings: of this one, or of one whose place it took. */
export function isStampAt(stamp: Buffer, stat: BigIntStats, view: bigint): boolean {
  return stamp.subarray(0, 8).equals(dirStamp(stat, view).subarray(0, 8));
}

/** Whether a stamp was taken of this directory with the same entries; a rename of the directory itself changes only its ctime. */
export function hasSameEntries(stamp: Buffer, stat: BigIntStats, view: bigint): boolean {
  return stamp.subarray(0, STAMP_BYTES - 8).equals(dirStamp(stat, view).subarray(0, STAMP_BYTES - 8));
}

const ID_BYTES = 6;

/** Key of a row: 6 bytes of directory id, then the name. */
export function rowKey(dir: number, name: string | Buffer): Buffer {
  const length = typeof name === 'string' ? Buffer.byteLength(name) : name.length;
  const out = Buffer.allocUnsafe(ID_BYTES + length);
  out.writeUIntBE(dir, 0, ID_BYTES);
  if (typeof name === 'string') out.write(name, ID_BYTES);
  else name.copy(out, ID_BYTES);
  return out;
}

/** Id of the directory whose row a key is. */
export function directoryOf(key: Buffer): number {
  return key.readUIntBE(0, ID_BYTES);
}

export function rowName(key: Buffer): Buffer {
  return key.subarray(ID_BYTES);
}

/** Key of (bucket, text, rest…): ordered as the parts are, in bytes; NUL inside a part is escaped. */
export function pairKey(...parts: string[]): Buffer {
  if (!parts.some((part) => part.includes('\0'))) return Buffer.from(parts.join('\0\0'));
  return Buffer.concat(
    parts.flatMap((part, i) => (i === 0 ? [escapeNul(part)] : [Buffer.from([0, 0]), escapeNul(part)])),
  );
}

/** The parts again. */
export function unpairKey(key: Buffer): string[] {
  return key
    .toString('latin1')
    .split('\0\0')
    .map((part) => Buffer.from(part.replaceAll('\0\u0001', '\0'), 'latin1').toString());
}

/** A NUL inside a part becomes NUL 01, so that the NUL NUL between parts sorts before it. */
export function escapeNul(part: string | Buffer): Buffer {
  const bytes = Buffer.from(part as string);
  if (!bytes.includes(0)) return bytes;
  return Buffer.from(bytes.toString('latin1').replaceAll('\0', '\0\u0001'), 'latin1');
}
