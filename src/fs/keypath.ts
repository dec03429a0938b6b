/**
 * Key <-> path: which keys are a possible path below a bucket, and which must be *overflow objects* (DESIGN rule 5).
 *
 * A key arrives here decoded, once, by `http/request.ts` (or a JSON/XML body). Nothing below ever decodes again, and a path is only ever
 * built from the segments that {@link keyToPath} let through.
 */

/** The hidden directory, at any depth, that is never listed, served or reachable. */
export const STATE_DIR = '.gos3rve';

/** POSIX NAME_MAX on every file system that we know. */
const NAME_MAX = 255;

export interface KeyPath {
  /** Directory segments below the bucket. */
  dirs: string[];
  /** File name; '' for a key that ends in `/` (a directory). */
  name: string;
}

/**
 * Splits a key into path segments, or returns undefined if no such path can exist: empty, `.`, `..` or `.gos3rve` segments, a segment
 * over 255 bytes, NUL, a lone surrogate; and backslash on Windows.
 */
export function keyToPath(key: string): KeyPath | undefined {
  if (key === '' || key.includes('\0')) return undefined;
  const segments = key.split('/');
  const name = segments.pop() ?? '';
  if (segments.length === 0 && name === '') return undefined;
  for (const segment of segments) if (!isPossibleName(segment)) return undefined;
  if (name !== '' && !isPossibleName(name)) return undefined;
  return { dirs: segments, name };
}

/** Whether a single path segment can be a file name that we serve. */
export function isPossibleName(name: string): boolean {
  if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0')) return false;
  if (isStateDir(name)) return false;
  // 85 UTF-16 units are at most 255 bytes: most names need no byte count
  if (name.length > 85 && Buffer.byteLength(name) > NAME_MAX) return false;
  if (!name.isWellFormed()) return false;
  if (process.platform === 'win32' && /[\\:*?"<>|]|[. ]$/.test(name)) return false;
  return true;
}

/** `.gos3rve`, also as a folding file system would read it: case and compatibility forms, ignorable characters (HFS+, casefold), 8.3 names. */
export function isStateDir(name: string): boolean {
  if (name.length === STATE_DIR.length && name.toLowerCase() === STATE_DIR) return true;
  if (process.platform === 'win32' && /^gos3rv~\d+$/i.test(name)) return true;
  if (!/[^\0-\x7f]/.test(name)) return false;
  return (
    name
      .normalize('NFKD')
      .replace(/\p{Default_Ignorable_Code_Point}/gu, '')
      .toLowerCase() === STATE_DIR
  );
}

/** The name as text, or undefined if its bytes are no UTF-8 (such files cannot be served; `doctor` reports them). */
export function decodeName(bytes: Buffer): string | undefined {
  const text = bytes.toString('utf8');
  if (text.includes('\uFFFD') && !Buffer.from(text, 'utf8').equals(bytes)) return undefined;
  return text;
}
