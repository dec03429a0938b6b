/**
 * File systems that fold names (macOS, Windows, vfat, SMB: `A` and `a`, NFC and NFD are one file): there only the name as readdir gives it
 * counts, so that two keys never share a file (DESIGN rule 5).
 */
import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { STATE_DIR } from './keypath.js';

const CACHED_DIRECTORIES = 64;

/** Whether names below `root` fold: our own directory answers to another spelling. */
export function foldsNames(root: string): boolean {
  const own = lstatSync(join(root, STATE_DIR), { throwIfNoEntry: false });
  if (!own) return process.platform === 'darwin' || process.platform === 'win32';
  return lstatSync(join(root, STATE_DIR.toUpperCase()), { throwIfNoEntry: false })?.ino === own.ino;
}

/** Exact names of directories, read once and again when they change. Only where names fold: it costs a readdir. */
export class ExactNames {
  private readonly cache = new Map<string, { stamp: string; names: Set<string> }>();

  has(directory: string, name: string): boolean {
    const stamp = stampOf(directory);
    let entry = this.cache.get(directory);
    if (entry?.stamp !== stamp) {
      entry = { stamp, names: new Set(readdirSync(directory)) };
      this.cache.delete(directory);
      this.cache.set(directory, entry);
      const [oldest] = this.cache.keys();
      if (this.cache.size > CACHED_DIRECTORIES && oldest !== undefined) this.cache.delete(oldest);
    }
    return entry.names.has(name);
  }
}

/** A directory changed within the last 3 s (FAT counts in twos) may change again under the same stamp: such a one is read each time. */
function stampOf(directory: string): string {
  const { ino, mtimeMs } = lstatSync(directory);
  return Math.abs(Date.now() - mtimeMs) < 3000 ? `${Math.random()}` : `${ino}:${mtimeMs}`;
}
