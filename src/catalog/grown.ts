/** What an append makes of what is known of the bytes: its line in the journal names only the piece, however many parts the object has. */
import type { Checksum } from '../base/model.js';
import type { Catalog } from './catalog.js';
import type { Append, ByteFacts } from './lines.js';
import type { FileRow, Layout } from './rows.js';

/** Parts have numbers up to this. */
export const MAX_PARTS = 10_000;

/** What is known of the old object. */
export interface Old {
  /** Bytes. */
  size: number;
  layout?: Layout | undefined;
  checksum?: Checksum | undefined;
}

/** The piece as the last part; an old object that was sent whole is the first. Checksums of parts go on only where all have one. */
export function grownLayout(old: Old, piece: { size: number; checksum?: string | undefined }): Layout {
  const { sizes, numbers, checksums, chained = 0 } = old.layout ?? wholeLayout(old, piece.checksum !== undefined);
  const layout: Layout = { sizes: longer(sizes, piece.size), chained: chained + 1 };
  const next = (numbers?.at(-1) ?? 0) + 1;
  // what ended with the last number that there is counts from 1 again
  if (numbers && next <= MAX_PARTS) layout.numbers = [...numbers, next];
  if (checksums && piece.checksum !== undefined) layout.checksums = [...checksums, piece.checksum];
  return layout;
}

function wholeLayout({ size, checksum }: Old, withChecksum: boolean): Layout {
  const value = withChecksum ? checksum?.value : undefined;
  return { sizes: [[size, 1]], chained: 1, ...(value !== undefined && { checksums: [value] }) };
}

function longer(sizes: Layout['sizes'], size: number): Layout['sizes'] {
  const [last, times] = sizes.at(-1) ?? [0, 0];
  return last === size ? [...sizes.slice(0, -1), [size, times + 1]] : [...sizes, [size, 1]];
}

/** As the journal has it. */
export function partOf({ sizes, checksums }: Layout): NonNullable<Append['part']> {
  const checksum = checksums?.at(-1);
  return { size: sizes.at(-1)?.[0] ?? 0, ...(checksum !== undefined && { checksum }) };
}

/**
 * Facts of the bytes once an append is done.
 * @param row of the object before. If it is not the one that the line speaks of - a damaged line - the bytes are to be hashed anew, and so they are where an
 * older version wrote the line: its ETags cannot be made from the bytes again.
 */
export function grownBytes(catalog: Catalog, line: Append, row: FileRow | undefined): Omit<ByteFacts, 'fp'> {
  const { bytes, part, size, etag } = line;
  if (bytes.layout) return { etag: '' };
  if (!part) return bytes;
  if (!row || row.etag !== etag) return { etag: '' };
  const { layout, checksum } = catalog.bytesOf(row);
  return { ...bytes, layout: grownLayout({ size, layout, checksum }, part) };
}
