/** ETags from bytes: the MD5 of the whole or, of an object in parts, the MD5 of the parts' MD5s and their number (S3, multipart uploads). */
import { createHash } from 'node:crypto';
import type { Layout } from '../catalog/rows.js';
import { readRange, type OpenFile } from '../fs/reader.js';

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

/** @param md5s in hex. */
export function etagOfParts(md5s: readonly string[]): string {
  const all = createHash('md5');
  for (const md5 of md5s) all.update(md5, 'hex');
  return `${all.digest('hex')}-${md5s.length}`;
}
