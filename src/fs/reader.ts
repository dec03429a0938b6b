/**
 * Range reads from one open file, with two buffers (one is filled while the other is sent) and the torn-read check: before the last
 * bytes go out the file must still be the one that was described to the client (DESIGN, "How the index stays true").
 */
import { closeSync, constants, fstatSync, openSync, read, readlinkSync, type BigIntStats } from 'node:fs';
import { basename, dirname } from 'node:path';
import { S3Error, TornRead, toS3Error } from '../base/errors.js';
import { idOf } from './dirs.js';
import { BufferPool } from './pool.js';
import { lstatOf } from './stat.js';

const CHUNK_BYTES = 512 * 1024;
const SMALL_CHUNK_BYTES = 64 * 1024;
const pool = new BufferPool({ make: () => Buffer.allocUnsafeSlow(CHUNK_BYTES), most: 64, kept: 16 });

const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW } = constants;

/** Opens a regular file for reading and nothing else: no FIFO blocks us, no device is touched. @throws NoSuchKey for other kinds. */
export function openRegular(path: string, follow = false): { fd: number; stat: BigIntStats } {
  const fd = openSync(path, O_RDONLY | O_NONBLOCK | (follow ? 0 : O_NOFOLLOW));
  try {
    const stat = fstatSync(fd, { bigint: true });
    if (stat.isFile()) return { fd, stat };
    throw new S3Error('NoSuchKey', 'The specified key is no regular file.');
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** A regular file that is open for reading. */
export interface OpenFile {
  fd: number;
  /** At opening; everything told to the client is of this file. */
  stat: BigIntStats;
  /** True path by which it was opened. */
  path: string;
  /** The directory it was in then, see `idOf` in `fs/dirs.ts`. Without it a rename of the directory is taken for one of the file. */
  folder?: string;
}

/**
 * Hands bytes `start` to `end` of the file to `sink`. A chunk is valid until its `sink` call resolves.
 * @param excused asked when the file has changed: whether these bytes hold all the same (we appended behind them).
 * @throws S3Error InternalError if the file was changed in place or cut short meanwhile.
 */
export async function readRange(
  file: OpenFile,
  start: number,
  end: number,
  sink: (chunk: Buffer) => Promise<void> | void,
  excused: (since: 'renamed' | 'torn') => boolean | Promise<boolean> = (since) => since === 'renamed',
): Promise<void> {
  if (end <= start) return;
  const size = Math.min(pool.isExhausted ? SMALL_CHUNK_BYTES : CHUNK_BYTES, end - start);
  const buffers: [Buffer, Buffer?] = [take(size)];
  let position = start;
  let turn = 0;
  let ahead = readFully(file.fd, buffers[0], position, size);
  try {
    while (position < end) {
      const chunk = await ahead;
      position += chunk.length;
      turn ^= 1;
      if (position < end) {
        const free = turn === 0 ? buffers[0] : (buffers[1] ??= take(size));
        ahead = readFully(file.fd, free, position, Math.min(size, end - position));
        // seen at the next await; the sink may throw first
        ahead.catch(() => undefined);
      } else {
        const since = changedNow(file);
        if (since !== 'same' && !(await excused(since))) throw new TornRead('changed');
      }
      await sink(chunk);
    }
  } finally {
    // a read under way still writes to its buffer: only then may others have it
    await ahead.catch(() => undefined);
    for (const buffer of buffers) if (buffer) give(buffer);
  }
}

/** A file as it was when it was opened. */
type OpenState = Pick<OpenFile, 'fd' | 'path' | 'folder'> & {
  stat: Pick<BigIntStats, 'size' | 'mtimeNs' | 'ctimeNs' | 'nlink'>;
};

/**
 * What has become of a file since it was opened. `renamed`: only its ctime has moved, and it was replaced, unlinked, linked or renamed itself, which
 * does that too. The bytes are most likely the same: a write with restored times cannot be told from these if it came with one of them. With the same
 * links and the same name in the same directory - which may have been renamed, its files know nothing of that - it is `torn`.
 */
export function changeOf(file: OpenState): 'same' | 'renamed' | 'torn' {
  const now = fstatSync(file.fd, { bigint: true });
  if (now.size !== file.stat.size || now.mtimeNs !== file.stat.mtimeNs) return 'torn';
  if (now.ctimeNs === file.stat.ctimeNs) return 'same';
  return now.nlink !== file.stat.nlink || wasRenamed(file) ? 'renamed' : 'torn';
}

export function isTorn(file: OpenState): boolean {
  return changeOf(file) === 'torn';
}

/** @throws S3Error if the system does not tell. */
function changedNow(file: OpenFile): ReturnType<typeof changeOf> {
  try {
    return changeOf(file);
  } catch (error) {
    throw toS3Error(error);
  }
}

/** Whether the file itself was: it has another name, or is in another directory. */
function wasRenamed({ fd, path, folder }: Pick<OpenFile, 'fd' | 'path' | 'folder'>): boolean {
  if (process.platform !== 'linux') return true;
  const now = readlinkSync(`/proc/self/fd/${fd}`);
  if (now === path) return false;
  if (folder === undefined || basename(now) !== basename(path)) return true;
  // renamed once more since: it is not known that the file was, so it is not said
  const parent = lstatOf(dirname(now));
  return parent !== undefined && idOf(parent) !== folder;
}

function readFully(fd: number, buffer: Buffer, position: number, length: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let done = 0;
    const step = (): void => {
      read(fd, buffer, done, length - done, position + done, (error, bytes) => {
        if (error) return reject(toS3Error(error));
        if (bytes === 0) return reject(new TornRead('cut short'));
        done += bytes;
        if (done < length) step();
        else resolve(buffer.subarray(0, length));
      });
    };
    step();
  });
}

function take(size: number): Buffer {
  return size < CHUNK_BYTES ? Buffer.allocUnsafeSlow(size) : pool.take();
}

function give(buffer: Buffer): void {
  if (buffer.length === CHUNK_BYTES) pool.give(buffer);
}
