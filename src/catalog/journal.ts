/**
 * The journal: plain text, one JSON object a line with a checksum, one segment per process; the durable half of what gos3rve knows
 * (DESIGN rules 2 and 3). Narrow on purpose: append, flush, replay.
 *
 * The line ends in `,"crc":"xxxxxxxx"}`: CRC32 in hex of the text before that member. An editor can mend a line by removing the member.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  createReadStream,
  fdatasync,
  fstatSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { crc32 } from '@node-rs/crc32';
import { S3Error } from '../base/errors.js';
import { giveTo, syncDirSync, type Ownership } from '../fs/statefile.js';
import type { JournalLine } from './lines.js';

export const SEGMENT_SUFFIX = '.jsonl';

export function encodeLine(line: JournalLine): string {
  const text = JSON.stringify(line).slice(0, -1);
  return `${text},"crc":"${crc32(text).toString(16).padStart(8, '0')}"}\n`;
}

/** The line, or undefined if it is damaged. A line without the member (written by hand) is taken as it is. */
export function decodeLine(text: string): JournalLine | undefined {
  const at = text.lastIndexOf(',"crc":"');
  if (at > 0 && text.endsWith('"}') && text.length - at === 18) {
    const body = text.slice(0, at);
    if (crc32(body).toString(16).padStart(8, '0') !== text.slice(at + 8, at + 16)) return undefined;
  }
  try {
    const line: unknown = JSON.parse(text);
    return typeof line === 'object' && line !== null && 'op' in line ? (line as JournalLine) : undefined;
  } catch {
    return undefined;
  }
}

/** Writes this process's segment. One flush serves all that wait at that moment. */
export class Journal {
  private fd: number | undefined;
  private name = '';
  private offset = 0;
  private flushing: Promise<void> | undefined;
  private queued: Promise<void> | undefined;
  /** Start offsets of prepare lines whose operation has not ended. */
  private readonly open = new Set<number>();

  constructor(
    readonly directory: string,
    private readonly owner: Ownership | undefined,
    private readonly header: () => JournalLine,
  ) {}

  /** Name of the current segment; '' until the first line. */
  get segment(): string {
    return this.name;
  }

  /**
   * Appends one line (written, not flushed). @returns its offset in the segment.
   * @throws the system's error; a line written in part is cut off again.
   */
  append(line: JournalLine): number {
    const fd = this.ensureOpen();
    const bytes = Buffer.from(encodeLine(line));
    const at = this.offset;
    let done = 0;
    try {
      while (done < bytes.length) done += writeSync(fd, bytes, done);
    } catch (error) {
      try {
        ftruncateSync(fd, at);
      } catch {
        this.abandon();
      }
      throw error;
    }
    this.offset += bytes.length;
    return at;
  }

  /** Appends a prepare line; call {@link settle} with the result when the operation has ended, well or not. */
  prepare(line: JournalLine): { segment: string; offset: number } {
    const offset = this.append(line);
    this.open.add(offset);
    return { segment: this.name, offset };
  }

  settle(ticket: { segment: string; offset: number }): void {
    if (ticket.segment === this.name) this.open.delete(ticket.offset);
  }

  /** All lines before this offset belong to operations that have ended. */
  settledOffset(): number {
    let least = this.offset;
    for (const at of this.open) if (at < least) least = at;
    return least;
  }

  /**
   * Resolves once everything appended to `segment` before the call is on the disk. A failed flush is never retried: the segment is given
   * up, all that wait for it fail, and the next append opens another.
   */
  flush(segment: string): Promise<void> {
    if (segment !== this.name || this.fd === undefined) return Promise.reject(flushFailed());
    if (!this.flushing) return (this.flushing = this.flushNow());
    this.queued ??= this.flushing
      .catch(() => undefined)
      .then(() => {
        this.queued = undefined;
        return (this.flushing = this.flushNow());
      });
    return this.queued;
  }

  async close(): Promise<void> {
    await this.flushing?.catch(() => undefined);
    if (this.fd !== undefined) closeSync(this.fd);
    this.fd = undefined;
  }

  private async flushNow(): Promise<void> {
    const fd = this.fd;
    if (fd === undefined) throw flushFailed();
    try {
      await new Promise<void>((resolve, reject) => fdatasync(fd, (e) => (e ? reject(e) : resolve())));
    } catch (error) {
      this.abandon();
      throw error;
    } finally {
      this.flushing = undefined;
    }
  }

  /** After a failed flush the kernel may have dropped the pages: nothing more goes to this segment. */
  private abandon(): void {
    if (this.fd !== undefined) closeSync(this.fd);
    this.fd = undefined;
  }

  private ensureOpen(): number {
    if (this.fd !== undefined) return this.fd;
    const stamp = new Date().toISOString().replace(/[-:]/g, '').replace('.', '');
    this.name = `${stamp}-${randomBytes(4).toString('hex')}${SEGMENT_SUFFIX}`;
    const path = join(this.directory, this.name);
    const { O_CREAT, O_EXCL, O_APPEND, O_WRONLY } = constants;
    this.fd = openSync(path, O_CREAT | O_EXCL | O_APPEND | O_WRONLY, 0o600);
    giveTo(path, this.owner);
    this.offset = 0;
    this.open.clear();
    this.append(this.header());
    syncDirSync(this.directory);
    return this.fd;
  }
}

function flushFailed(): S3Error {
  return new S3Error('InternalError', 'The journal could not be written to the disk.');
}

/** Names of all segments, oldest first. */
export function listSegments(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => name.endsWith(SEGMENT_SUFFIX))
    .sort();
}

/** Lines of a segment from a byte offset on, as a stream: memory does not grow with the journal. Damaged lines go to `damaged`. */
export async function* readSegment(
  path: string,
  offset: number,
  damaged: (line: string) => void,
): AsyncGenerator<JournalLine> {
  const lines = createInterface({
    input: createReadStream(path, { start: offset, encoding: 'utf8' }),
    crlfDelay: Infinity,
  });
  for await (const text of lines) {
    if (text === '') continue;
    const line = decodeLine(text);
    if (line) yield line;
    else damaged(text);
  }
}

/** Lines of a segment from an offset on, read at once and synchronously: for short tails, under the lock. */
export function readTail(path: string, offset: number): JournalLine[] {
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    if (size <= offset) return [];
    const buffer = Buffer.alloc(size - offset);
    const read = readSync(fd, buffer, 0, buffer.length, offset);
    return buffer
      .toString('utf8', 0, read)
      .split('\n')
      .flatMap((text) => (text === '' ? [] : (decodeLine(text) ?? [])));
  } finally {
    closeSync(fd);
  }
}
