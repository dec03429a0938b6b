/** Request ids as S3 writes them: 16 upper-case hex digits. */
import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { randomHex } from '../base/random.js';

export function newRequestId(): string {
  return randomHex(8).toUpperCase();
}

/** x-amz-id-2: names this server process, as opaque as S3's (base64 of 56 bytes). */
export const HOST_ID = createHash('sha512')
  .update(`${hostname()} ${process.pid} ${Date.now()}`)
  .digest()
  .subarray(0, 56)
  .toString('base64');
