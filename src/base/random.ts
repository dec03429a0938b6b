/** Random names. */
import { randomFillSync } from 'node:crypto';

// one call of the random generator serves hundreds of them
const pool = Buffer.allocUnsafe(4096);
let used = pool.length;

/** @param bytes at most 4096. @returns twice as many hex digits. */
export function randomHex(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += bytes;
  return pool.toString('hex', used - bytes, used);
}
