import { closeSync } from 'node:fs';

/**
 * Closes what was only read, was flushed already, or is given up. Whatever the system says (EIO of a network file system), the number is free, and may be
 * another file's the moment after.
 */
export function closeQuietly(fd: number): void {
  try {
    closeSync(fd);
  } catch {
    // nobody could do anything about it
  }
}
