/**
 * Whether a directory looks like the mount point of a disk that is not there. To serve it would begin a new root in it, and hide the old one
 * from everybody who looks at the keys only.
 */
import { readdirSync } from 'node:fs';
import { mountOf } from './mount-table.js';

/** What mkfs leaves in a new file system. */
const NOTHING = new Set(['lost+found']);

/** Where the mount stands that a directory (real path) lies on; undefined where there is no mount table. */
export function mountPoint(directory: string): string | undefined {
  return mountOf(directory)?.path;
}

/**
 * @param directory real path, known to have been a root with something in it.
 * @param mount what {@link mountPoint} said of it then; undefined if nobody could tell.
 * @param written whether we left something in it, so that it cannot have been empty.
 */
export function looksVanished(directory: string, mount: string | undefined, written: boolean): boolean {
  if (readdirSync(directory).some((name) => !NOTHING.has(name))) return false;
  if (mount !== mountPoint(directory)) return true;
  // another disk in its place; but not a folder that was emptied, or made anew, on the same disk
  return written && (mount === undefined || mount === directory);
}
