/**
 * ETags from bytes, one definition for whoever makes or checks one. Of an object that was sent whole: its MD5. Of one in parts: the MD5 of the parts' MD5s,
 * and their number (S3, multipart uploads). Of one that was appended to: the MD5 of the MD5 in the ETag before and that of the piece, and the number of all
 * parts; so an append costs reading nothing but the piece, and the sizes of the parts are all that must be known to make the ETag again from the bytes.
 */
import { createHash } from 'node:crypto';
import type { Layout } from '../catalog/rows.js';
import { readRange, type OpenFile } from '../fs/reader.js';

/** Digits. */
const MD5_HEX = 32;

/** Where the pieces of a file end that are hashed one by one. */
export function endsOf(size: number, layout: Layout | undefined): number[] {
  if (!layout) return [size];
  const ends: number[] = [];
  for (const [bytes, times] of layout.sizes) {
    for (let i = 0; i < times; i++) ends.push(Math.min((ends.at(-1) ?? 0) + bytes, size));
  }
  return ends;
}

/** MD5 in hex of each piece; fewer if told to stop. */
export async function md5sOf(
  file: OpenFile,
  ends: readonly number[],
  stopped: () => boolean = () => false,
): Promise<string[]> {
  const digests: string[] = [];
  let at = 0;
  for (const end of ends) {
    const md5 = createHash('md5');
    await readRange(file, at, end, (chunk) => {
      md5.update(chunk);
      if (stopped()) throw new Error('stopped');
    }).catch((error: unknown) => {
      if (!stopped()) throw error;
    });
    if (stopped()) break;
    digests.push(md5.digest('hex'));
    at = end;
  }
  return digests;
}

/** @param md5s in hex: of the whole, or of each part of the layout. */
export function etagOf(md5s: readonly string[], layout: Layout | undefined): string {
  const sent = md5s.length - (layout?.chained ?? 0);
  // appended to an object that was sent whole, or not in parts at all
  const [first = ''] = md5s;
  if (!layout) return first;
  let md5 = sent > 0 ? md5Of(md5s.slice(0, sent)) : first;
  for (const piece of md5s.slice(Math.max(sent, 1))) md5 = md5Of([md5, piece]);
  return `${md5}-${md5s.length}`;
}

/** @param etag of the object before, no derived one. @param md5 of the piece. @param count of all parts. */
export function etagAppended(etag: string, md5: string, count: number): string {
  return `${md5Of([etag.slice(0, MD5_HEX), md5])}-${count}`;
}

function md5Of(md5s: readonly string[]): string {
  const all = createHash('md5');
  for (const md5 of md5s) all.update(md5, 'hex');
  return all.digest('hex');
}
