/**
 * The buffers in which bodies are gathered on their way to the disk. They lie in memory that threads share, so that another thread can hash what
 * this one writes without a copy of it.
 */
import { BufferPool } from './pool.js';

/** Of those that are kept. */
export const BUFFER_BYTES = 512 * 1024;
const SMALL_BYTES = 64 * 1024;
const pool = new BufferPool({ make: () => Buffer.from(new SharedArrayBuffer(BUFFER_BYTES)), most: 32, kept: 32 });

/** With whatever is in it; a small one, which is garbage afterwards, while many bodies are under way. */
export function takeBuffer(): Buffer {
  return pool.isExhausted ? Buffer.allocUnsafeSlow(SMALL_BYTES) : pool.take();
}

/** Gives back what nobody reads or writes any more. */
export function giveBuffer(buffer: Buffer): void {
  if (isShared(buffer)) pool.give(buffer);
}

/** Whether another thread sees it as it is; else it gets a copy. */
export function isShared(buffer: Uint8Array): buffer is Uint8Array<SharedArrayBuffer> {
  return buffer.buffer instanceof SharedArrayBuffer;
}
