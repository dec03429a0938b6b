/**
 * From a body to its file: the chunks of a socket are gathered to large writes, and hashed as they lie there. Up to two writes are under way while the
 * next buffer is filled; then the body waits, so that memory is bounded however long it is.
 */
import type { FileHandle } from 'node:fs/promises';
import { S3Error } from '../base/errors.js';
import type { Body } from '../base/model.js';
import { giveBuffer, takeBuffer } from './buffers.js';
import type { BodyHasher } from './hash.js';

/** Buffers being written and hashed, beside the one that is filled. */
const UNDER_WAY = 2;

/**
 * Writes all of a body from the beginning of the file, each byte of which `hasher` is given too. Nothing is under way any more when it ends, in
 * whatever way. @returns bytes. @throws whatever the body or the disk does, IncompleteBody if more came than was announced.
 */
export async function writeGathered({ chunks, size: announced }: Body, file: FileHandle, hasher: BodyHasher) {
  const gather = new Gather(file, hasher);
  let size = 0;
  try {
    for await (const chunk of chunks) {
      size += chunk.byteLength;
      if (announced !== undefined && size > announced)
        throw new S3Error('IncompleteBody', `more than the announced ${announced} bytes arrived`);
      // without a promise where none is needed: most chunks only fill a buffer
      for (let at = 0; at < chunk.byteLength;) {
        at += gather.fill(chunk, at);
        if (gather.isFull) await gather.pass();
      }
    }
    await gather.pass();
    await gather.end();
    return size;
  } finally {
    await gather.settle();
  }
}

class Gather {
  private buffer: Buffer | undefined;
  private filled = 0;
  private position = 0;
  /** The oldest first. */
  private readonly underWay: Promise<void>[] = [];

  constructor(
    private readonly file: FileHandle,
    private readonly hasher: BodyHasher,
  ) {}

  get isFull(): boolean {
    return this.filled === this.buffer?.length;
  }

  /** Copies what fits of a chunk from `at` on. The chunk is garbage then, while it is young. @returns bytes, at least one. */
  fill(chunk: Uint8Array, at: number): number {
    this.buffer ??= takeBuffer();
    const bytes = Math.min(this.buffer.length - this.filled, chunk.byteLength - at);
    const part = at === 0 && bytes === chunk.byteLength ? chunk : chunk.subarray(at, at + bytes);
    // set() and copy() are ten times as slow where memory is shared and lies at odd offsets: fill() is memcpy
    this.buffer.fill(part, this.filled, this.filled + bytes);
    this.filled += bytes;
    return bytes;
  }

  /** Hands the buffer on, and waits until another one may be filled. */
  async pass(): Promise<void> {
    const { buffer, filled } = this;
    if (!buffer) return;
    this.buffer = undefined;
    this.filled = 0;
    const work = this.keep(buffer, filled, this.position);
    this.position += filled;
    this.underWay.push(work);
    // an early rejection is seen when its turn comes; without a handler until then Node would end the process
    work.catch(() => undefined);
    while (this.underWay.length >= UNDER_WAY) await this.underWay.shift();
  }

  /** All of it is written and hashed. @throws the first error. */
  async end(): Promise<void> {
    await Promise.all(this.underWay);
  }

  /** Nothing touches file or buffers any more. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.underWay);
    if (this.buffer) giveBuffer(this.buffer);
    this.buffer = undefined;
  }

  private async keep(buffer: Buffer, bytes: number, position: number): Promise<void> {
    const written = writeAll(this.file, buffer, bytes, position);
    written.catch(() => undefined);
    try {
      await this.hasher.update(buffer.subarray(0, bytes));
      await written;
    } finally {
      await written.catch(() => undefined);
      giveBuffer(buffer);
    }
  }
}

/** Writes the first `bytes` of a buffer. */
export async function writeAll(file: FileHandle, buffer: Uint8Array, bytes: number, position: number): Promise<void> {
  let done = 0;
  while (done < bytes) {
    const { bytesWritten } = await file.write(buffer, done, bytes - done, position + done);
    done += bytesWritten;
  }
}
