/**
 * What was known of the bytes of a file that others have changed since: a new mtime, or another inode, may be all. Its hash will show; until then
 * nothing of it is told.
 */
import type { Catalog } from '../catalog/catalog.js';
import { identityOf } from '../catalog/identities.js';
import type { ByteFacts } from '../catalog/lines.js';
import type { FileRow, Layout } from '../catalog/rows.js';
import { fingerprintSize, formatFingerprint } from '../fs/fingerprint.js';

/** For a row whose ETag goes: what can be proved again, if the size is as before. Inside a write. @param fp of the file by now. */
export function formerBytes(
  catalog: Catalog,
  row: FileRow,
  fp: Buffer,
): Pick<FileRow, 'was' | 'checksum' | 'layout' | 'partCount'> {
  const { checksum, partCount } = row;
  const was = formerEtag(row);
  if (was === '' || (!checksum && row.layout === undefined) || fingerprintSize(row.fp) !== fingerprintSize(fp))
    return {};
  const layout = layoutFor(catalog, row, fp);
  return {
    was,
    ...(checksum && { checksum }),
    ...(layout !== undefined && { layout }),
    ...(layout !== undefined && partCount !== undefined && { partCount }),
  };
}

/** The row of a file that others have changed: what is known of the bytes goes, what clients said of the key stays, and is found by the file again. Inside a write. */
export function changedRow(catalog: Catalog, row: FileRow, fp: Buffer, ctimeNs: bigint): FileRow {
  const { facts, published, from, file, seq } = row;
  return {
    ...{ kind: 'file', fp, ctimeNs, seq, etag: '', published },
    ...formerBytes(catalog, row, fp),
    ...(facts && { facts }),
    ...(from && { from }),
    ...(file !== undefined && { file }),
  };
}

/** The same as a line has it, for a file that we rename or copy while nobody knows its bytes. */
export function formerFacts(catalog: Catalog, row: FileRow | undefined, fp: Buffer): ByteFacts {
  const unknown = { fp: formatFingerprint(fp), etag: '' };
  if (!row || row.appendFrom !== undefined || fingerprintSize(row.fp) !== fingerprintSize(fp)) return unknown;
  const { checksum, layout } = catalog.bytesOf(row);
  const was = formerEtag(row);
  if (was === '' || (!checksum && !layout)) return unknown;
  return { ...unknown, was, ...(checksum && { checksum }), ...(layout && { layout }) };
}

/** The ETag that checksum and layout of a row go with; '' if there is none. */
export function formerEtag({ etag, was = '' }: Pick<FileRow, 'etag' | 'was'>): string {
  return etag === '' ? was : etag;
}

/** The layout by which a file is to be hashed first; undefined if it has another size. */
export function formerLayout(catalog: Catalog, row: FileRow | undefined, size: number): Layout | undefined {
  const layout = row?.layout === undefined ? undefined : catalog.index.layout(row.layout);
  const length = layout?.sizes.reduce((sum, [bytes, times]) => sum + bytes * times, 0);
  return length === size ? layout : undefined;
}

/** Another inode has come here: the file of before keeps its own layout, wherever it is. Inside a write. */
export function layoutFor(catalog: Catalog, { fp: old, layout }: FileRow, fp: Buffer): number | undefined {
  const known = layout === undefined ? undefined : catalog.index.layout(layout);
  if (!known || identityOf(old).equals(identityOf(fp))) return known && layout;
  const own = catalog.nextSeq();
  catalog.index.putLayout(own, known);
  return own;
}
