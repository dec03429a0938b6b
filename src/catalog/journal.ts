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
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { crc32 } from '@node-rs/crc32';
import { S3Error } from '../base/errors.js';
import { giveTo, syncDirSync, type Ownership } from '../fs/statefile.js';
import type { JournalLine } from './lines.js';

export const SEGMENT_SUFFIX = '.jsonl';

export function encodeLine(line: JournalLine): string {
  const text = JSON.stringify(line).slice(0, -1);
  return `${text},"crc":"${crc32(text).toString(16).padStart(8, '0')}"}\n`;
}

/** What the checksum looks like when its own bytes are damaged; `key` is the one name of ours with three letters that may end a line. */
const SPOILT_CRC = /,"(?!key")[^"]{3}":"[^"]{8}"\}$/;

/** The line, or undefined if it is damaged. A line without the member (written by hand) is taken as it is. */
export function decodeLine(text: string): JournalLine | undefined {
  const at = text.lastIndexOf(',"crc":"');
  let body = text;
  if (at > 0 && text.endsWith('"}') && text.length - at === 18) {
    body = text.slice(0, at);
    if (crc32(body).toString(16).padStart(8, '0') !== text.slice(at + 8, at + 16)) return undefined;
    body += '}';
  } else if (SPOILT_CRC.test(text)) return undefined;
  try {
    const line: unknown = JSON.parse(body);
    return typeof line === 'object' && line !== null && 'op' in line ? (line as JournalLine) : undefined;
  } catch {
    return undefined;
  }
}

/** The file that lines go to. */
interface Segment {
  readonly name: string;
  readonly fd: number;
  offset: number;
  /** A write or flush failed: nothing more goes to it, and nothing of it counts as flushed any more. */
  lost: boolean;
  flushing?: Promise<void>;
  queued?: Promise<void>;
}

/** Writes this process's segment. One flush serves all that wait at that moment. */
export class Journal {
  private current: Segment | undefined;
  /** Start offsets of prepare lines whose operation has not ended. */
  private readonly open = new Set<number>();

  constructor(
    readonly directory: string,
    private readonly owner: Ownership | undefined,
    private readonly header: () => JournalLine,
  ) {}

  /** Name of the current segment; '' until the first line. */
  get segment(): string {
    return this.current?.name ?? '';
  }

  /**
   * Appends one line (written, not flushed). @returns its offset in the segment.
   * @throws the system's error; a line written in part is cut off again.
   */
  append(line: JournalLine): number {
    const segment = this.current?.lost === false ? this.current : this.begin();
    const at = segment.offset;
    try {
      segment.offset += writeLine(segment.fd, line);
    } catch (error) {
      try {
        ftruncateSync(segment.fd, at);
      } catch {
        abandon(segment);
      }
      throw error;
    }
    return at;
  }

  /** Appends a prepare line; call {@link settle} with the result when the operation has ended, well or not. */
  prepare(line: JournalLine): { segment: string; offset: number } {
    const offset = this.append(line);
    this.open.add(offset);
    return { segment: this.segment, offset };
  }

  settle(ticket: { segment: string; offset: number }): void {
    if (ticket.segment === this.segment) this.open.delete(ticket.offset);
  }

  /** All lines before this offset belong to operations that have ended. */
  settledOffset(): number {
    let least = this.current?.offset ?? 0;
    for (const at of this.open) if (at < least) least = at;
    return least;
  }

  /**
   * Resolves once everything appended to `segment` before the call is on the disk. A failed flush is never retried: the segment is given
   * up, all that wait for it fail, and the next append opens another.
   */
  flush(segment: string): Promise<void> {
    const { current } = this;
    if (!current || current.name !== segment || current.lost) return Promise.reject(flushFailed());
    // a flush under way may have begun before the caller's line was written
    if (!current.flushing) return (current.flushing = flushNow(current));
    current.queued ??= current.flushing
      .catch(() => undefined)
      .then(() => {
        delete current.queued;
        return (current.flushing = flushNow(current));
      });
    return current.queued;
  }

  async close(): Promise<void> {
    const { current } = this;
    this.current = undefined;
    if (!current || current.lost) return;
    await current.flushing?.catch(() => undefined);
    await current.queued?.catch(() => undefined);
    abandon(current);
  }

  /** A new segment, with its header, whose name is on the disk. @throws the system's error; then there is none. */
  private begin(): Segment {
    const stamp = new Date().toISOString().replace(/[-:]/g, '').replace('.', '');
    const name = `${stamp}-${randomBytes(4).toString('hex')}${SEGMENT_SUFFIX}`;
    const path = join(this.directory, name);
    const { O_CREAT, O_EXCL, O_APPEND, O_WRONLY } = constants;
    const fd = openSync(path, O_CREAT | O_EXCL | O_APPEND | O_WRONLY, 0o600);
    try {
      giveTo(path, this.owner);
      const offset = writeLine(fd, this.header());
      syncDirSync(this.directory);
      this.open.clear();
      return (this.current = { name, fd, offset, lost: false });
    } catch (error) {
      closeSync(fd);
      unlinkSync(path);
      throw error;
    }
  }
}

function writeLine(fd: number, line: JournalLine): number {
  const bytes = Buffer.from(encodeLine(line));
  let done = 0;
  while (done < bytes.length) done += writeSync(fd, bytes, done);
  return bytes.length;
}

async function flushNow(segment: Segment): Promise<void> {
  if (segment.lost) throw flushFailed();
  const failure = await new Promise<Error | null>((resolve) => fdatasync(segment.fd, resolve));
  delete segment.flushing;
  // given up meanwhile: a line could not be cut off
  if (segment.lost) closeSync(segment.fd);
  else if (failure) abandon(segment);
  else return;
  throw failure ?? flushFailed();
}

/** After a failed flush the kernel may have dropped the pages: nothing more goes to this segment. */
function abandon(segment: Segment): void {
  if (segment.lost) return;
  segment.lost = true;
  // a flush under way still needs the descriptor, and closes it
  if (!segment.flushing) closeSync(segment.fd);
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

/** A line and where it lies in its segment, in bytes; `end` is behind its line break. */
export interface Placed {
  line: JournalLine;
  start: number;
  end: number;
}

/** Lines of a segment from a byte offset on, as a stream: memory does not grow with the journal. Damaged lines go to `damaged`. */
export async function* readSegment(
  path: string,
  offset: number,
  damaged: (line: string) => void,
): AsyncGenerator<Placed> {
  let end = offset;
  for await (const { text, bytes } of splitLines(createReadStream(path, { start: offset }))) {
    const start = end;
    end += bytes;
    if (text === '') continue;
    const line = decodeLine(text);
    if (line) yield { line, start, end };
    else damaged(text);
  }
}

/** By LF alone: node:readline also splits at U+2028 and U+2029, which JSON leaves as they are. */
async function* splitLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<{ text: string; bytes: number }> {
  let held: Buffer[] = [];
  for await (const chunk of chunks) {
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      const line = Buffer.concat([...held, chunk.subarray(from, at)]);
      yield { text: line.toString('utf8'), bytes: line.length + 1 };
      held = [];
      from = at + 1;
    }
    if (from < chunk.length) held.push(chunk.subarray(from));
  }
  const rest = Buffer.concat(held);
  if (rest.length > 0) yield { text: rest.toString('utf8'), bytes: rest.length };
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
