/**
 * Where each file and directory of the file system was last seen, by its identity: so a rename by another program is known as one
 * (DESIGN, "How the index stays true"). Index tables `identities`, `dirs` and `pending`; disposable like all of the index.
 *
 * - `identities`: identity -> `D` + directory id, or `P` + row key of a file, or `F` + file row: bytes that lay where other bytes lie now.
 *   With a byte 1 behind the identity: another name of a file (hard link), of which clients have said nothing.
 * - `dirs`: directory id -> key of its row. A directory whose path was taken by another one, and that has not turned up elsewhere yet, is
 *   *lost*: its row lies beside the root's (parent 0, name `<number>/`), its path is `/<number>`.
 * - `pending`: keys of rows that wait for their key facts (`from`).
 */
import type { Index } from './lmdb.js';
import { IDENTITY_BYTES, decodeRow, encodeRow, rowKey, rowName, type DirRow, type FileRow } from './rows.js';

export type Seen = { kind: 'dir'; id: number } | { kind: 'file'; key: Buffer } | { kind: 'displaced'; row: FileRow };

const DIR = 0x44;
const PLACE = 0x50;
const DISPLACED = 0x46;
/** Deeper than any path. */
const MAX_DEPTH = 4096;

/** Identity of a fingerprint: mount, inode and birth time, without what a write changes. */
export function identityOf(fp: Buffer): Buffer {
  return fp.subarray(0, IDENTITY_BYTES);
}

export class Identities {
  constructor(private readonly index: Index) {}

  find(identity: Buffer): Seen | undefined {
    return this.seenAt(identity);
  }

  /** Another name of the same file, where clients have said something of the one that {@link find} tells. */
  findSecond(identity: Buffer): Seen | undefined {
    return this.seenAt(secondOf(identity));
  }

  private seenAt(at: Buffer): Seen | undefined {
    const bytes = this.index.get('identities', at);
    if (!bytes) return undefined;
    const rest = Buffer.from(bytes.subarray(1));
    if (bytes[0] === DIR) return { kind: 'dir', id: rest.readUIntBE(0, 6) };
    if (bytes[0] === PLACE) return { kind: 'file', key: rest };
    const row = decodeRow(rest);
    return row.kind === 'file' ? { kind: 'displaced', row } : undefined;
  }

  /** A row is about to be put at `key`, instead of `old`. @returns whether the old row's bytes are kept in mind, with their layout. */
  putFile(key: Buffer, row: FileRow, old: FileRow | undefined): boolean {
    const identity = identityOf(row.fp);
    const moved = old !== undefined && isTracked(old) && !identityOf(old.fp).equals(identity);
    const kept = moved && this.displace(key, old);
    if (!isTracked(row)) return kept;
    const pointer = Buffer.concat([Buffer.from([PLACE]), key]);
    if (this.index.get('identities', identity)?.equals(pointer) === true) return kept;
    const better = this.betterKnown(key, row);
    if (better === undefined) {
      this.dropDisplacedLayout(identity, row.layout);
      this.index.put('identities', identity, pointer);
    } else if (better === 'said') this.index.put('identities', secondOf(identity), pointer);
    return kept;
  }

  /**
   * Whether the file of a row is known by another name, which stays the one to be found: it was renamed from here, or is gone from here alone (`left`), or
   * clients have said something of that name, and nothing of this one (`said`).
   */
  private betterKnown(key: Buffer, { fp, goneAt, ...row }: FileRow): 'left' | 'said' | undefined {
    const seen = this.find(identityOf(fp));
    const other = seen?.kind === 'file' ? this.rowAt(seen.key) : undefined;
    if (!other || !identityOf(other.fp).equals(identityOf(fp))) return undefined;
    if (other.from?.key === key.toString('base64')) return 'left';
    if (goneAt !== undefined && other.goneAt === undefined && isSaidOf(other) === isSaidOf(row)) return 'left';
    return isSaidOf(other) && !isSaidOf(row) ? 'said' : undefined;
  }

  private rowAt(key: Buffer): FileRow | undefined {
    const bytes = this.index.get('tree', key);
    const row = bytes && decodeRow(bytes);
    return row?.kind === 'file' ? row : undefined;
  }

  /** The row of a file that was renamed, and that waits for what was said of the key that it had: of the row at `key`. */
  waitingFor(key: Buffer, { fp }: FileRow): { key: Buffer; row: FileRow } | undefined {
    const seen = this.find(identityOf(fp));
    const row = seen?.kind === 'file' ? this.rowAt(seen.key) : undefined;
    return seen?.kind === 'file' && row?.from?.key === key.toString('base64') ? { key: seen.key, row } : undefined;
  }

  /** Forgets bytes that lay where others lie now. Only inside a write. */
  forget(identity: Buffer): void {
    const seen = this.find(identity);
    if (seen?.kind !== 'displaced') return;
    if (seen.row.layout !== undefined) this.index.removeLayout(seen.row.layout);
    this.index.remove('identities', identity);
  }

  removeFile(key: Buffer, row: FileRow): void {
    if (!isTracked(row)) return;
    const identity = identityOf(row.fp);
    const second = this.findSecond(identity);
    const isFirst = this.pointsTo(row.fp, key);
    if (isFirst) this.index.remove('identities', identity);
    if (second?.kind !== 'file' || !(isFirst || second.key.equals(key))) return;
    this.index.remove('identities', secondOf(identity));
    if (isFirst) this.index.put('identities', identity, Buffer.concat([Buffer.from([PLACE]), second.key]));
  }

  /** Keeps the facts of bytes whose place has other bytes now: their file may turn up elsewhere. */
  displace(key: Buffer, old: FileRow): boolean {
    const { fp, ctimeNs, seq, etag, checksum, partCount, layout, doubtful, unproven, was } = old;
    if (!this.pointsTo(fp, key)) return false;
    if (etag === '' && was === undefined) {
      this.index.remove('identities', identityOf(fp));
      return false;
    }
    const row: FileRow = { kind: 'file', fp, ctimeNs, seq, etag, published: false, goneAt: Date.now() };
    if (checksum) row.checksum = checksum;
    if (partCount !== undefined) row.partCount = partCount;
    if (layout !== undefined) row.layout = layout;
    if (doubtful) row.doubtful = true;
    if (unproven) row.unproven = true;
    if (was !== undefined) row.was = was;
    this.index.put('identities', identityOf(fp), Buffer.concat([Buffer.from([DISPLACED]), encodeRow(row)]));
    return true;
  }

  private dropDisplacedLayout(identity: Buffer, taken: number | undefined): void {
    const seen = this.find(identity);
    if (seen?.kind !== 'displaced' || seen.row.layout === undefined || seen.row.layout === taken) return;
    this.index.removeLayout(seen.row.layout);
  }

  private pointsTo(fp: Buffer, key: Buffer): boolean {
    const bytes = this.index.get('identities', identityOf(fp));
    return bytes?.[0] === PLACE && bytes.subarray(1).equals(key);
  }

  /** Notes which directory of the file system a row stands for. The caller puts the row. */
  setDir(row: DirRow, identity: Buffer | undefined): void {
    if (identity === undefined || row.identity?.equals(identity) !== true) delete row.noted;
    if (row.identity && identity?.equals(row.identity) !== true) {
      const seen = this.find(row.identity);
      if (seen?.kind === 'dir' && seen.id === row.id) this.index.remove('identities', row.identity);
    }
    if (!identity) {
      delete row.identity;
      return;
    }
    const value = Buffer.alloc(7);
    value[0] = DIR;
    value.writeUIntBE(row.id, 1, 6);
    this.index.put('identities', identity, value);
    row.identity = identity;
  }

  /** Notes where a directory's row lies. */
  setPlace(id: number, parent: number, name: string): void {
    this.index.put('dirs', idKey(id), rowKey(parent, name));
  }

  removeDir(row: DirRow): void {
    this.setDir(row, undefined);
    this.index.remove('dirs', idKey(row.id));
  }

  /** Key of a directory's row. */
  placeOf(id: number, source: Pick<Index, 'get'> = this.index): { parent: number; name: string } | undefined {
    const key = source.get('dirs', idKey(id));
    return key && { parent: key.readUIntBE(0, 6), name: rowName(key).toString('utf8') };
  }

  /** Segments below the root of a directory; those of a lost one begin with ''. undefined if it is known no more. */
  pathOf(id: number, source: Pick<Index, 'get'> = this.index): string[] | undefined {
    const names: string[] = [];
    for (let at = id; names.length < MAX_DEPTH;) {
      const place = this.placeOf(at, source);
      if (!place) return undefined;
      const name = place.name.slice(0, -1);
      if (place.parent === 0) return name === '' ? names.reverse() : ['', name, ...names.reverse()];
      names.push(name);
      at = place.parent;
    }
    return undefined;
  }
}

/** Whether something is known of a row's file that is worth to be found again. */
function isTracked({ fp, etag, was, checksum, facts, from }: FileRow): boolean {
  const known = etag !== '' || was !== undefined || checksum !== undefined || facts !== undefined || from !== undefined;
  return known && !fp.equals(NOTHING);
}

/** Whether clients said something of its key, or of the one that its file was renamed from. */
function isSaidOf({ facts, published, from }: Pick<FileRow, 'facts' | 'published' | 'from'>): boolean {
  return facts !== undefined || published || from !== undefined;
}

/** Where another name of the same file is noted. */
function secondOf(identity: Buffer): Buffer {
  return Buffer.concat([identity, Buffer.from([1])]);
}

const NOTHING = Buffer.alloc(36);

function idKey(id: number): Buffer {
  const out = Buffer.alloc(6);
  out.writeUIntBE(id, 0, 6);
  return out;
}
