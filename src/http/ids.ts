/** Request ids as S3 writes them: 16 upper-case hex digits. */
import { createHash, randomFillSync } from 'node:crypto';
import { hostname } from 'node:os';

// One call of the random generator serves 512 requests.
const pool = Buffer.allocUnsafe(4096);
let used = pool.length;

export function newRequestId(): string {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += 8;
  return pool.toString('hex', used - 8, used).toUpperCase();
}

/** x-amz-id-2: names this server process, as opaque as S3's (base64 of 56 bytes). */
export const HOST_ID = createHash('sha512')
  .update(`${hostname()} ${process.pid} ${Date.now()}`)
  .digest()
  .subarray(0, 56)
  .toString('base64');
