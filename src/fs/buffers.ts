/**
 * The buffers in which bodies are gathered on their way to the disk. They lie in memory that threads share, so that another thread can hash what
 * this one writes without a copy of it, and they are used again: garbage of this size would have the whole heap collected every few requests.
 */

/** Of those that are kept. */
export const BUFFER_BYTES = 512 * 1024;
/** Buffers that are kept for the next body. */
const KEPT = 32;
/** What is needed beyond them is small, and garbage afterwards: hundreds of slow uploads must not hold hundreds of MiB. */
const SMALL_BYTES = 64 * 1024;
const free: Buffer[] = [];
let made = 0;

/** With whatever is in it. */
export function takeBuffer(): Buffer {
  const used = free.pop();
  if (used) return used;
  if (made === KEPT) return Buffer.allocUnsafeSlow(SMALL_BYTES);
  made++;
  return Buffer.from(new SharedArrayBuffer(BUFFER_BYTES));
}

/** Gives back what nobody reads or writes any more. */
export function giveBuffer(buffer: Buffer): void {
  if (isShared(buffer)) free.push(buffer);
}

/** Whether another thread sees it as it is; else it gets a copy. */
export function isShared(buffer: Uint8Array): buffer is Uint8Array<SharedArrayBuffer> {
  return buffer.buffer instanceof SharedArrayBuffer;
}
