/**
 * What is told of a file: ETag, checksum, facts - and whether the recorded ones still hold (DESIGN rule 4).
 *
 * - Fingerprint and ctime as recorded: all holds.
 * - Same fingerprint, later ctime; or another inode with the same size and mtime (a restore): provisional, hashed again before it is told. The sizes of
 *   the parts hold, for the size does.
 * - Anything else: foreign bytes. A small file is hashed at once, a large one gets the derived ETag and is hashed in the background.
 */
import { closeSync } from 'node:fs';
import { dirname } from 'node:path';
import { lookup as mimeType } from 'mime-types';
import type { KeyFacts } from '../base/model.js';
import { idOf } from '../fs/dirs.js';
import { derivedEtag, fingerprintMtimeNs, looksRestored } from '../fs/fingerprint.js';
import { lstatOf } from '../fs/stat.js';
import { pathOfOpen, realPathOf, textOf } from '../fs/real-path.js';
import { openRegular, type OpenFile } from '../fs/reader.js';
import { identityOf } from '../catalog/identities.js';
import { withoutAccess, type FileRow } from '../catalog/rows.js';
import type { ObjectInfo, ObjectRef } from './contract.js';
import { S3Error } from '../base/errors.js';
import { isAbsent, isInside, type Core, type Found } from './core.js';

/** Hashed on the way of a GET or HEAD; larger ones in the background. */
export const SMALL_FILE = 1 << 20;

/** MD5 of nothing. */
export const EMPTY_ETAG = 'd41d8cd98f00b204e9800998ecf8427e';

export type Knowledge = 'known' | 'provisional' | 'unknown';

/** Whether the byte facts of the row are those of the file. */
export function knowledge(found: Found): Knowledge {
  const { row, fp, stat } = found;
  if (!row || row.etag === '') return 'unknown';
  if (row.appendFrom !== undefined) {
    const same = identityOf(row.fp).equals(identityOf(fp)) && stat.size >= BigInt(row.appendFrom);
    return same ? 'known' : 'unknown';
  }
  if (row.fp.equals(fp)) return row.ctimeNs === stat.ctimeNs ? 'known' : 'provisional';
  return looksRestored(row.fp, fp) ? 'provisional' : 'unknown';
}

/** Whether we are making the file longer: the object is what was there before, until the append is done. */
export function isAppending(found: Found): boolean {
  return found.row?.appendFrom !== undefined && knowledge(found) === 'known';
}

/** The object as it is known without reading it. */
export function describe(bucket: string, key: string, found: Found): ObjectInfo {
  const info = describeListed(bucket, key, found);
  const { row } = found;
  if (knowledge(found) === 'known' && row) {
    const others = new Set([row.etag, derivedOf(found), toldOf(found) ?? info.etag]);
    others.delete(info.etag);
    if (others.size > 0) info.aliases = [...others];
  }
  return info;
}

/** The ETag that was told before the file was hashed, and still being asked for: it stays for a while. */
export function toldOf(found: Found, now = Date.now()): string | undefined {
  const { row, stat, fp } = found;
  const [until = 0, etag, ctime] = row?.told ?? [];
  if (until <= now) return undefined;
  if (ctime === undefined) return etag === derivedOf(found) ? etag : undefined;
  return ctime === String(stat.ctimeNs) && row?.fp.equals(fp) === true ? etag : undefined;
}

function derivedOf(found: Found): string {
  const { row, stat, fp } = found;
  return row && isAppending(found) ? derivedEtag(row.fp, row.ctimeNs) : derivedEtag(fp, stat.ctimeNs);
}

/** The same without the other ETags that conditions accept: a listing does not tell them. */
export function describeListed(bucket: string, key: string, found: Found): ObjectInfo {
  const { row, stat } = found;
  const known = knowledge(found);
  const appending = known === 'known' && row?.appendFrom !== undefined;
  const certain = known === 'known' && row !== undefined;
  const told = toldOf(found);
  const info: ObjectInfo = {
    bucket,
    key,
    size: appending ? (row?.appendFrom ?? 0) : Number(stat.size),
    etag: told ?? (certain ? row.etag : derivedOf(found)),
    lastModified: Number((appending && row ? fingerprintMtimeNs(row.fp) : stat.mtimeNs) / 1_000_000n),
    changed: Number((appending && row ? row.ctimeNs : stat.ctimeNs) / 1_000_000n),
    versionId: 'null',
    facts: factsOf(key, row?.facts, row?.published === true),
  };
  if (certain) {
    if (row.checksum) info.checksum = row.checksum;
  }
  // of a restored file, too: where its parts lie, no hash has to prove, only their ETag and checksums
  if (known !== 'unknown' && row?.partCount !== undefined) info.partCount = row.partCount;
  return info;
}

/** Facts of a key; the content type of a file that no client put is guessed from its name. */
function factsOf(key: string, facts: KeyFacts | undefined, published: boolean): KeyFacts {
  if (published || facts?.contentType !== undefined) return facts ?? {};
  const guessed = mimeType(key);
  return { ...facts, contentType: guessed === false ? 'binary/octet-stream' : guessed };
}

/** What is said of an object at a new key: a type that was guessed from the old name stays where the new one would give another. */
export function movedFacts(
  from: string,
  to: string,
  { facts = {}, published = false }: Partial<FileRow> = {},
): KeyFacts {
  const said = factsOf(from, facts, published);
  return factsOf(to, facts, published).contentType === said.contentType ? facts : said;
}

/** Opens what was found, and nothing else: what a link leads to by now must still lie in the bucket. @throws NoSuchKey. */
export function openFound(found: Found): OpenFile {
  // looked at before there is anything to be closed
  const folder = found.dir.id;
  const { fd, stat } = openRegular(found.dir.at(found.name), found.link !== undefined);
  const path = `${found.dir.path}/${found.name}`;
  if (found.link === undefined) return { fd, stat, path, folder };
  const real = process.platform === 'linux' ? pathOfOpen(fd) : realPathOf(path);
  if (isInside(real, found.link)) return { fd, stat, path: real.toString(), ...folderOf(real) };
  closeSync(fd);
  throw new S3Error('NoSuchKey');
}

/** undefined if it was removed, or replaced by no file, since it was found. */
export function openIfThere(found: Found): OpenFile | undefined {
  try {
    return openFound(found);
  } catch (error) {
    if (isAbsent(error) || (error instanceof S3Error && error.code === 'NoSuchKey')) return undefined;
    throw error;
  }
}

/** What a link leads to is in another directory than the link. */
function folderOf(real: Buffer): Pick<OpenFile, 'folder'> {
  const path = textOf(real);
  const stat = path === undefined ? undefined : lstatOf(dirname(path));
  return stat ? { folder: idOf(stat) } : {};
}

/** Whether clients said the same of two keys. */
export function sameFacts(a: KeyFacts, b: KeyFacts): boolean {
  const [left, right] = [a, b].map((facts) =>
    JSON.stringify(Object.entries(facts).sort(([x], [y]) => (x < y ? -1 : 1))),
  );
  return left === right;
}

/** ACL and owner never cross buckets. */
export function factsAt(core: Core, from: ObjectRef, to: ObjectRef, facts: KeyFacts): KeyFacts {
  return core.bucketDirs(from.bucket)[0] === core.bucketDirs(to.bucket)[0] ? facts : withoutAccess(facts);
}
