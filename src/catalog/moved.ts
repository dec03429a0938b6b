/** What is recorded of a directory that we renamed: its row, and the overflow objects whose keys begin with its path. */
import { createHash } from 'node:crypto';
import { derivedEtag } from '../fs/fingerprint.js';
import { split, type Catalog } from './catalog.js';
import type { JournalLine, MovedKeys } from './lines.js';
import { decodeRow, encodeRow, pairKey, unpairKey, withoutAccess, type FileRow } from './rows.js';

/** Announces a rename. */
export type Moving = Extract<JournalLine, { op: 'moving' }>;
/** Tells of one that happened. */
export type MovedDir = Extract<JournalLine, { op: 'moved'; bytes?: never }>;

export type Touched = Extract<JournalLine, { op: 'touched' }>;

/** Counts how often overflow objects got other keys, which those who read their rows by key must know of. */
export const REKEYED_COUNTER = 'rekeyed';
const PAGE = 256;

/** A directory's path as lines have it, with its `/`, in segments. */
export function dirsOf(path: string): string[] {
  return split(path.slice(0, -1));
}

/** Only inside a write. */
export function applyMoved(
  catalog: Catalog,
  { path, from, seq, lost, mkdirs, displaced, overflow, rmdirs }: MovedDir,
): void {
  for (const made of mkdirs ?? []) catalog.setMade(split(made));
  if (displaced) moveOverflow(catalog, displaced);
  if (catalog.moveDir(dirsOf(from), dirsOf(path), seq) && lost !== undefined)
    catalog.lost.put(seq, { seq, dirs: dirsOf(from), since: lost });
  if (overflow) moveOverflow(catalog, overflow);
  for (const removed of rmdirs ?? []) catalog.dropDir(split(removed));
}

/** Only inside a write. */
export function applyTouched({ index }: Catalog, { bucket, key, ctime }: Touched): void {
  const at = pairKey(bucket, key);
  const bytes = index.get('overflow', at);
  const row = bytes && decodeRow(bytes);
  if (row?.kind !== 'file') return;
  const touched: FileRow = { ...row, ctimeNs: BigInt(ctime) };
  // what was told of the bytes stays told
  const [until = 0, etag, before] = row.told ?? [];
  const held = before === undefined ? etag === derivedEtag(row.fp, row.ctimeNs) : before === String(row.ctimeNs);
  if (held && etag !== undefined) touched.told = [until, etag, ctime];
  index.put('overflow', at, encodeRow(touched));
}

/** Overflow objects of a bucket whose keys begin with `prefix` (not empty), page by page, as they were when the page was read. */
export function* overflowBelow(
  catalog: Catalog,
  { bucket, key: prefix }: { bucket: string; key: string },
  upTo = Infinity,
): Generator<{ key: string; index: Buffer; row: FileRow }> {
  const end = afterAll(bucket, prefix);
  let start = pairKey(bucket, prefix);
  for (;;) {
    const rows = catalog.index.page('overflow', start, end, PAGE);
    for (const { key, value } of rows) {
      start = Buffer.concat([key, Buffer.from([0])]);
      const row = decodeRow(value);
      if (row.kind === 'file' && row.seq <= upTo) yield { key: unpairKey(key)[1] ?? '', index: key, row };
    }
    if (rows.length < PAGE) return;
  }
}

/** The first key of the table that no longer begins so. */
function afterAll(bucket: string, prefix: string): Buffer {
  const end = pairKey(bucket, prefix);
  // never the last byte there is: UTF-8 has no 0xff
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  return end;
}

/** Name of an overflow object's file once its prefix was moved. */
export function renamedFile(tag: string, file: string): string {
  return createHash('sha256').update(`${tag}/${file}`).digest('hex').slice(0, 24);
}

/**
 * Overflow objects that get a new key; one that is there by now stays, and the old one too.
 * @param cleared what is there goes elsewhere by the same line.
 */
export function* movedOverflow(
  catalog: Catalog,
  { from, to, upTo }: MovedKeys,
  cleared = false,
): Generator<{ key: string; old: Buffer; target: Buffer; row: FileRow }> {
  for (const { key, index: old, row } of overflowBelow(catalog, from, upTo)) {
    const target = pairKey(to.bucket, to.key + key.slice(from.key.length));
    if (cleared || !catalog.index.has('overflow', target)) yield { key, old, target, row };
  }
}

function moveOverflow(catalog: Catalog, keys: MovedKeys): void {
  const { index } = catalog;
  const leaves = keys.from.bucket.split('/')[0] !== keys.to.bucket.split('/')[0];
  index.next(REKEYED_COUNTER);
  for (const { old, target, row } of movedOverflow(catalog, keys)) {
    const moved = row.file === undefined ? row : { ...row, file: renamedFile(keys.tag, row.file) };
    index.remove('overflow', old);
    index.put(
      'overflow',
      target,
      encodeRow(leaves && row.facts ? { ...moved, facts: withoutAccess(row.facts) } : moved),
    );
  }
}
