/**
 * The journal: plain text, one JSON object a line with a checksum, one segment per process; the durable half of what gos3rve knows
 * (DESIGN rules 2 and 3). Narrow on purpose: append, flush, replay. This is the writing half; `segments.ts` reads.
 *
 * The line ends in `,"crc":"xxxxxxxx"}`: CRC32 in hex of the text before that member. An editor can mend a line by removing the member.
 */
import { randomBytes } from 'node:crypto';
import {
  constants,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { crc32 } from '@node-rs/crc32';
import { S3Error, errno } from '../base/errors.js';
import { closeQuietly } from '../fs/close.js';
import { giveOpen, giveTo, isFull, syncDirSync, type Ownership } from '../fs/statefile.js';
import type { JournalLine } from './lines.js';
import { Reserve } from './reserve.js';
import { SEGMENT_SUFFIX } from './segments.js';

export function encodeLine(line: JournalLine): string {
  const text = JSON.stringify(line).slice(0, -1);
  return `${text},"crc":"${crc32(text).toString(16).padStart(8, '0')}"}\n`;
}

/** A segment of this size (bytes) is sealed as soon as no operation is under way. */
const ROTATE_BYTES = 64 << 20;

/** The file that lines go to. */
interface Segment {
  readonly name: string;
  readonly fd: number;
  offset: number;
  /** A write or flush failed: nothing more goes to it, and nothing of it counts as flushed any more. */
  lost: boolean;
  /** Of the flush or write by which it was lost. */
  failure?: unknown;
  flushing?: Promise<void>;
  queued?: Promise<void>;
}

/** Writes this process's segment. One flush serves all that wait at that moment. */
export class Journal {
  private current: Segment | undefined;
  /** The segment before that. */
  private before: Segment | undefined;
  /** Segments that this process has given up. */
  private readonly left = new Set<string>();
  /** Start offsets of prepare lines whose operation has not ended. */
  private readonly open = new Set<number>();
  /** Segments that this process has sealed. */
  private readonly sealed = new Set<string>();
  private readonly news: [segment: string, size: number][] = [];
  /** Whether lines may use up the reserve. */
  private removing = false;
  /** Whether several lines are appended in one go. */
  private many = false;
  /** The segment that was seen, meanwhile, to have its name still. */
  private seen: Segment | undefined;
  /** Lines of {@link appendLater}. */
  private later = '';
  /** Number of the first line of {@link together}. */
  private first: number | undefined;

  constructor(
    readonly directory: string,
    private readonly owner: Ownership | undefined,
    private readonly header: () => JournalLine,
    private readonly log: (message: string, data: Record<string, unknown>) => void = () => undefined,
    readonly reserve = new Reserve(undefined, undefined),
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
    return this.appendText(this.encode(line));
  }

  /**
   * The same for a line that is only missed by speed, inside {@link together}: it is written with the next one that is appended, at the end at the latest.
   */
  appendLater(line: JournalLine): void {
    this.later += this.encode(line);
  }

  /**
   * Runs short, synchronous work, one transaction, that appends many lines: they say so, and whether the segment still has its name is asked once for
   * all of them.
   */
  together<T>(work: () => T): T {
    const before = this.many;
    this.many = true;
    try {
      return work();
    } finally {
      this.many = before;
      this.seen = undefined;
      if (!before) this.first = undefined;
    }
  }

  private encode(line: JournalLine): string {
    if (!this.many || !('seq' in line)) return encodeLine(line);
    this.first ??= line.seq;
    return encodeLine(line.seq === this.first ? line : { ...line, first: this.first });
  }

  /** Writes what {@link appendLater} has left. @throws the system's error; the lines are given up then. */
  writeLater(): void {
    try {
      if (this.later !== '') this.appendText('');
    } finally {
      this.later = '';
    }
  }

  private appendText(text: string): number {
    for (;;) {
      try {
        return this.appendOnce(text);
      } catch (error) {
        if (!this.removing || !isFull(error) || !this.reserve.release()) throw error;
      }
    }
  }

  /**
   * Runs short work that takes something away and then writes it down, {@link together}: on a full disk its lines go where room was kept for them.
   */
  whileRemoving<T>(work: () => T): T {
    const before = this.removing;
    this.removing = true;
    try {
      return this.together(work);
    } finally {
      this.removing = before;
    }
  }

  /**
   * Asked before something is taken away whose line must follow, by {@link whileRemoving}.
   * @param frees whether its going makes room by itself. @throws ENOSPC if the line might find none, or why that cannot be told.
   */
  checkRoom(frees: boolean): void {
    if (frees) {
      if (!this.reserve.isFresh) this.reserve.tryFill();
      return;
    }
    if (this.reserve.fill()) return;
    throw Object.assign(new Error('ENOSPC: no room is left to write down what is removed'), { code: 'ENOSPC' });
  }

  private appendOnce(text: string): number {
    // not before what belongs to it is written
    if (this.current && this.current.offset > ROTATE_BYTES && this.later === '') this.rotate();
    if (this.current?.lost === false && !this.isNamed(this.current)) this.tellRemoved(this.current);
    const segment = this.current?.lost === false ? this.current : this.begin();
    const at = segment.offset;
    const { later } = this;
    this.later = '';
    try {
      segment.offset += writeText(segment.fd, later + text);
    } catch (error) {
      this.later = later;
      try {
        ftruncateSync(segment.fd, at);
      } catch {
        abandon(segment);
      }
      throw error;
    }
    return at + Buffer.byteLength(later);
  }

  /** Appends a prepare line; call {@link settle} with the result when the operation has ended, well or not. */
  prepare(line: JournalLine): { segment: string; offset: number } {
    const offset = this.append(line);
    this.open.add(offset);
    return { segment: this.segment, offset };
  }

  /** The same for several, in one write: all of them or none. */
  prepareAll(lines: readonly JournalLine[]): { segment: string; offset: number }[] {
    const texts = lines.map(encodeLine);
    let next = this.appendText(texts.join(''));
    return texts.map((text) => {
      const offset = next;
      this.open.add(offset);
      next += Buffer.byteLength(text);
      return { segment: this.segment, offset };
    });
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
    // sealed segments were flushed
    if ((segment === '' && !current) || this.sealed.has(segment)) return Promise.resolve();
    if (!current || current.name !== segment || current.lost) {
      const lost = [current, this.before].find((one) => one?.name === segment);
      return Promise.reject(flushFailed(lost));
    }
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

  /** The same at once, for those who hold the lock; rare. */
  flushSync(): void {
    const { current } = this;
    if (!current) return;
    if (current.lost) throw flushFailed(current);
    try {
      fdatasyncSync(current.fd);
    } catch (error) {
      abandon(current, error);
      throw error;
    }
  }

  /**
   * Seals the segment, flushed, unless an operation is under way: the next line begins another. So it can be compacted while this process lives.
   * @returns whether it did.
   */
  rotate(): boolean {
    const { current } = this;
    if (!current || current.lost || this.open.size > 0 || current.flushing || current.queued) return false;
    try {
      current.offset += writeLine(current.fd, { op: 'sealed' });
      fdatasyncSync(current.fd);
    } catch {
      abandon(current);
      return false;
    }
    this.current = undefined;
    closeQuietly(current.fd);
    this.sealed.add(current.name);
    this.news.push([current.name, current.offset]);
    return true;
  }

  /** Whether this process writes nothing to the segment any more, though it could not seal it. */
  hasLeft(segment: string): boolean {
    return this.left.has(segment);
  }

  /** Segments sealed since this was last asked, with their sizes. */
  takeSealed(): [segment: string, size: number][] {
    return this.news.splice(0);
  }

  async close(): Promise<void> {
    const { current } = this;
    if (!current || current.lost) return;
    await current.flushing?.catch(() => undefined);
    await current.queued?.catch(() => undefined);
    if (!this.rotate()) abandon(current);
    this.current = undefined;
  }

  /** Lets go of the segment, for its disk is away: what waits for a flush fails, and the next line begins another. */
  detach(): void {
    if (this.current) abandon(this.current);
  }

  private isNamed(segment: Segment): boolean {
    if (segment === this.seen) return true;
    if (fstatSync(segment.fd).nlink === 0) return false;
    if (this.many) this.seen = segment;
    return true;
  }

  /** Lines would go to a file without a name, and be gone with this process. */
  private tellRemoved(segment: Segment): void {
    abandon(segment);
    this.log(
      'the journal was removed under this process; it goes on in a new one; run gos3rve gc, which writes into it what the index knows',
      {
        path: join(this.directory, segment.name),
      },
    );
  }

  /** Others may have removed the folder. Not what it lies in: a disk that is away must not be mistaken for that. */
  private makeDirectory(): void {
    try {
      mkdirSync(this.directory, { mode: 0o700 });
      giveTo(this.directory, this.owner);
      syncDirSync(dirname(this.directory));
    } catch (error) {
      if (errno(error) !== 'EEXIST') throw error;
    }
  }

  /** A new segment, with its header, whose name is on the disk. @throws the system's error; then there is none. */
  private begin(): Segment {
    const stamp = new Date().toISOString().replace(/[-:]/g, '').replace('.', '');
    const name = `${stamp}-${randomBytes(4).toString('hex')}${SEGMENT_SUFFIX}`;
    const path = join(this.directory, name);
    const { O_CREAT, O_EXCL, O_APPEND, O_WRONLY } = constants;
    this.makeDirectory();
    const fd = openSync(path, O_CREAT | O_EXCL | O_APPEND | O_WRONLY, 0o600);
    try {
      giveOpen(fd, this.owner);
      const offset = writeLine(fd, this.header());
      syncDirSync(this.directory);
      this.reserve.tryFill();
      this.open.clear();
      this.before = this.current;
      if (this.before?.lost) this.left.add(this.before.name);
      return (this.current = { name, fd, offset, lost: false });
    } catch (error) {
      closeQuietly(fd);
      unlinkSync(path);
      throw error;
    }
  }
}

function writeLine(fd: number, line: JournalLine): number {
  return writeText(fd, encodeLine(line));
}

function writeText(fd: number, text: string): number {
  const bytes = Buffer.from(text);
  let done = 0;
  while (done < bytes.length) done += writeSync(fd, bytes, done);
  return bytes.length;
}

async function flushNow(segment: Segment): Promise<void> {
  if (segment.lost) throw flushFailed(segment);
  const failure = await new Promise<Error | null>((resolve) => fdatasync(segment.fd, resolve));
  delete segment.flushing;
  // given up meanwhile: a line could not be cut off
  if (segment.lost) closeQuietly(segment.fd);
  else if (failure) abandon(segment, failure);
  else return;
  throw failure ?? flushFailed(segment);
}

/** After a failed flush the kernel may have dropped the pages: nothing more goes to this segment. */
function abandon(segment: Segment, failure?: unknown): void {
  if (segment.lost) return;
  segment.lost = true;
  segment.failure = failure;
  // a flush under way still needs the descriptor, and closes it
  if (!segment.flushing) closeQuietly(segment.fd);
}

/** What it failed of, for all who wait: a full disk is told as one to each of them. */
function flushFailed(segment?: Segment): Error {
  const { failure } = segment ?? {};
  if (failure instanceof Error) return failure;
  return new S3Error('InternalError', 'The journal could not be written to the disk.');
}

export { listSegments, readTail } from './segments.js';
