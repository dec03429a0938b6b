/**
 * Appending to a file that other programs may append to at the same time: by O_APPEND, so that nothing of theirs is written over, and with a look at
 * the length around every write(2), so that it is known where the bytes came to stand.
 *
 * One write(2) is one piece: Linux holds the inode's lock while it lasts, and nobody's bytes come in between (NFS and SMB do not promise that between
 * machines).
 */
import { constants, fstatSync, readSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';

/** Bytes of one write(2). What is longer goes in several, between which others may write. */
export const WRITE_BYTES = 64 << 20;
/** Up to this many bytes memory is not worth waiting for. */
const SMALL_BYTES = 1 << 20;
const COMPARE_BYTES = 1 << 20;
/** Of a file system: what was not written yet when the power went reads as zeros, by blocks. */
const BLOCK = 4096;

/** Where the bytes of a piece stand. */
export interface Appended {
  /** How many stand contiguously from the old end on. */
  placed: number;
  /** The last ones came to stand behind bytes of another program: here, if they are at the end of the file. */
  strayed?: { at: number; length: number };
  /** Of the file, after the last write. */
  mtimeNs?: bigint;
  /** Told how many bytes each write has written. */
  wrote?: (bytes: number) => void;
}

/**
 * Appends a whole file, and stops as soon as the bytes no longer stand together.
 * @param file opened with O_APPEND. @param from its size. @param state is kept up to date, also when this throws.
 */
export async function appendTogether(file: FileHandle, source: string, from: number, state: Appended): Promise<void> {
  const piece = await open(source, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { size } = fstatSync(piece.fd);
    const bytes = Math.min(size, WRITE_BYTES);
    await inTurn(bytes, async () => {
      const buffer = Buffer.allocUnsafeSlow(bytes);
      while (state.placed < size) {
        const chunk = await fill(piece, buffer, state.placed);
        if (chunk.length === 0 || !(await appendChunk(file, chunk, from, state))) return;
      }
    });
  } finally {
    await piece.close();
  }
}

/** @returns whether all of it stands behind what was appended before. */
async function appendChunk(file: FileHandle, chunk: Buffer, from: number, state: Appended): Promise<boolean> {
  for (let done = 0; done < chunk.length;) {
    const at = from + state.placed;
    if (sizeOf(file) !== at) return false;
    const { bytesWritten } = await file.write(chunk, done, chunk.length - done, null);
    const written = chunk.subarray(done, (done += bytesWritten));
    const { size, mtimeNs } = fstatSync(file.fd, { bigint: true });
    state.mtimeNs = mtimeNs;
    state.wrote?.(bytesWritten);
    const end = Number(size);
    if (end !== at + bytesWritten && !stands(file.fd, at, written)) {
      const tail = end - bytesWritten;
      if (stands(file.fd, tail, written)) state.strayed = { at: tail, length: bytesWritten };
      return false;
    }
    state.placed += bytesWritten;
  }
  return true;
}

async function fill(piece: FileHandle, buffer: Buffer, position: number): Promise<Buffer> {
  let filled = 0;
  while (filled < buffer.length) {
    const { bytesRead } = await piece.read(buffer, filled, buffer.length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

function sizeOf(file: FileHandle): number {
  return fstatSync(file.fd).size;
}

/** Whether these bytes are in the file at `position`. */
function stands(fd: number, position: number, bytes: Buffer): boolean {
  const buffer = Buffer.allocUnsafe(Math.min(bytes.length, COMPARE_BYTES));
  for (let at = 0; at < bytes.length;) {
    const got = readSync(fd, buffer, 0, Math.min(buffer.length, bytes.length - at), position + at);
    if (got === 0 || !buffer.subarray(0, got).equals(bytes.subarray(at, at + got))) return false;
    at += got;
  }
  return true;
}

/**
 * How many bytes of a file from `position` on are those of `piece` from its beginning on.
 * @param piece absent: its bytes were lost. @param zeros whether blocks of zeros count as the piece's: they never reached the disk.
 */
export function commonLength(file: number, position: number, piece: number | undefined, zeros = false): number {
  const [a, b] = [Buffer.allocUnsafe(COMPARE_BYTES), Buffer.allocUnsafe(COMPARE_BYTES)];
  // so that blocks are those of the file
  for (let at = 0, want = COMPARE_BYTES - (position % BLOCK); ; want = COMPARE_BYTES) {
    const got = readSync(file, a, 0, want, position + at);
    const known = piece === undefined ? 0 : readSync(piece, b, 0, got, at);
    const same = commonPrefix(a.subarray(0, got), b.subarray(0, known), BLOCK - ((position + at) % BLOCK), zeros);
    at += same;
    if (same < got || got === 0) return at;
  }
}

/** @param first length of the first block; the others are whole ones. */
function commonPrefix(a: Buffer, b: Buffer, first: number, zeros: boolean): number {
  if (a.equals(b)) return a.length;
  for (let at = 0, end = first; at < a.length; at = end, end += BLOCK) {
    const [left, right] = [a.subarray(at, end), b.subarray(at, end)];
    if (left.equals(right) || (zeros && left.every((byte) => byte === 0))) continue;
    return at + firstDifference(left, right, Math.min(left.length, right.length));
  }
  return a.length;
}

function firstDifference(a: Buffer, b: Buffer, length: number): number {
  let at = 0;
  while (at < length && a[at] === b[at]) at++;
  return at;
}

let turn: Promise<unknown> = Promise.resolve();

/** One large buffer at a time: memory does not grow with the number of appends. */
async function inTurn<T>(bytes: number, work: () => Promise<T>): Promise<T> {
  if (bytes <= SMALL_BYTES) return work();
  const mine = turn.then(work);
  turn = mine.catch(() => undefined);
  return mine;
}
