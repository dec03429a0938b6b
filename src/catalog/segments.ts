/**
 * Reading the journal: segments line by line, synchronously and in small chunks, so that memory does not grow with them and a reader may
 * stand still at any line, and go on when the segment has grown.
 *
 * A damaged line costs that line only. Half a line at the end is no damage: its writer was killed, or is still writing.
 */
import { closeSync, existsSync, openSync, readSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { crc32 } from '@node-rs/crc32';
import { errno } from '../base/errors.js';
import { bootId, tokenAlive } from '../base/process.js';
import type { JournalLine } from './lines.js';

export const SEGMENT_SUFFIX = '.jsonl';

/** Names of all segments, oldest first; none if others have removed the folder. */
export function listSegments(directory: string): string[] {
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch (error) {
    if (errno(error) === 'ENOENT' && existsSync(dirname(directory))) return [];
    throw error;
  }
  return names.filter((name) => name.endsWith(SEGMENT_SUFFIX)).sort();
}

/** A line and where it lies in its segment, in bytes; `end` is behind its line break. */
export interface Placed {
  line: JournalLine;
  start: number;
  end: number;
}

/** Bytes that are no line of ours. */
export interface Damage {
  start: number;
  bytes: Buffer;
}

const CHUNK = 64 * 1024;
const LF = 10;
const OPENING = Buffer.from('{"op":"');

/** Gives the lines of a segment from a byte offset on. */
export class SegmentReader {
  /** Read and not given yet. */
  private buffer = Buffer.alloc(0);
  private at = 0;
  /** Offset in the file of the byte at `at`. */
  private offset: number;
  /** Lines found in a damaged stretch. */
  private saved: Placed[] = [];

  constructor(
    private readonly path: string,
    offset: number,
    private readonly damaged: (damage: Damage) => void = () => undefined,
  ) {
    this.offset = offset;
  }

  /** Everything before this offset has been given. */
  get end(): number {
    return this.offset;
  }

  /** @returns undefined at the end; a later call goes on if the segment has grown. */
  next(): Placed | undefined {
    for (;;) {
      const saved = this.saved.shift();
      if (saved) return saved;
      const lf = this.buffer.indexOf(LF, this.at);
      if (lf < 0) {
        if (this.fill()) continue;
        return this.last();
      }
      const start = this.offset;
      const bytes = this.buffer.subarray(this.at, lf);
      this.at = lf + 1;
      this.offset += bytes.length + 1;
      if (bytes.length === 0) continue;
      const line = decodeBytes(bytes);
      if (line) return { line, start, end: this.offset };
      this.saved = salvage(bytes, start, this.damaged);
    }
  }

  /** The last line, whole but for its line break. */
  private last(): Placed | undefined {
    const rest = this.buffer.subarray(this.at);
    for (const spoilt of [0, 1]) {
      const bytes = rest.subarray(0, rest.length - spoilt);
      const line = isSealed(bytes) ? decodeBytes(bytes) : undefined;
      if (!line) continue;
      const start = this.offset;
      this.at += rest.length;
      this.offset += rest.length;
      return { line, start, end: this.offset };
    }
    return undefined;
  }

  /** Reads on. @returns false at the end of the file. */
  private fill(): boolean {
    const held = this.buffer.length - this.at;
    // a line longer than a chunk: twice as much each time
    const next = Buffer.allocUnsafe(Math.max(CHUNK, 2 * held));
    this.buffer.copy(next, 0, this.at);
    // opened each time: there may be more segments than descriptors
    const fd = openIfThere(this.path);
    // compacted away: the index has all of it
    if (fd === undefined) return false;
    try {
      const got = readSync(fd, next, held, next.length - held, this.offset + held);
      if (got === 0) return false;
      this.buffer = next.subarray(0, held + got);
      this.at = 0;
      return true;
    } finally {
      closeSync(fd);
    }
  }
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if (errno(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Whether the process that began a segment is certain to write no more. @param age ms since its last line: decides for processes of other boots and containers. */
export function isDead({ boot, token }: Extract<JournalLine, { op: 'segment' }>, age: number): boolean {
  // without a token nobody knows, until the machine was started anew
  return token === undefined ? boot !== bootId() : !tokenAlive(token, age);
}

/** The same of a segment by its path. */
export function isLeft(path: string): boolean {
  const first = new SegmentReader(path, 0).next()?.line;
  return first?.op === 'segment' && isDead(first, Date.now() - statSync(path).mtimeMs);
}

/** Lines of a segment from an offset on, at once: for short tails, under the lock. */
export function readTail(path: string, offset: number): JournalLine[] {
  return [...placed(new SegmentReader(path, offset))].map(({ line }) => line);
}

export function* placed(reader: SegmentReader): Generator<Placed> {
  for (let next = reader.next(); next; next = reader.next()) yield next;
}

/** Lines that became one because the break between them was damaged: JSON escapes quotes, so what opens a line stands nowhere inside one. */
function salvage(bytes: Buffer, offset: number, damaged: (damage: Damage) => void): Placed[] {
  const found: Placed[] = [];
  for (let from = 0; from < bytes.length;) {
    const next = bytes.indexOf(OPENING, from + 1);
    const until = next < 0 ? bytes.length : next;
    const piece = bytes.subarray(from, next < 0 ? until : until - 1);
    const line = isSealed(piece) && (from > 0 || next > 0) ? decodeBytes(piece) : undefined;
    if (line) found.push({ line, start: offset + from, end: offset + until });
    else damaged({ start: offset + from, bytes: Buffer.from(bytes.subarray(from, until)) });
    from = until;
  }
  return found;
}

/** `,"crc":"xxxxxxxx"}` */
const SEAL = Buffer.from(',"crc":"');
const SEAL_BYTES = SEAL.length + 10;
const END = Buffer.from('"}');
const CLOSING = 0x7d;
/** What the checksum looks like when its own bytes are damaged; `key` is the one name of ours with three letters that may end a line. */
const SPOILT_CRC = /,"(?!key")[^"]{3}":"[^"]{8}"\}$/;

function isSealed(bytes: Buffer): boolean {
  const at = bytes.length - SEAL_BYTES;
  if (at <= 0 || bytes.compare(END, 0, END.length, bytes.length - END.length) !== 0) return false;
  return bytes.compare(SEAL, 0, SEAL.length, at, at + SEAL.length) === 0;
}

/** The line, or undefined if it is damaged. A line without checksum (written by hand) is taken as it is. */
export function decodeBytes(bytes: Buffer): JournalLine | undefined {
  if (!isSealed(bytes)) {
    const text = bytes.toString();
    return SPOILT_CRC.test(text) ? undefined : parse(text);
  }
  const at = bytes.length - SEAL_BYTES;
  const crc = crc32(bytes.subarray(0, at)).toString(16).padStart(8, '0');
  if (bytes.toString('latin1', at + SEAL.length, at + SEAL.length + 8) !== crc) return undefined;
  // closed where the checksum begins, so that no second text is made of it
  bytes[at] = CLOSING;
  const text = bytes.toString('utf8', 0, at + 1);
  bytes[at] = SEAL[0] ?? 0;
  return parse(text);
}

export function decodeLine(text: string): JournalLine | undefined {
  return decodeBytes(Buffer.from(text));
}

function parse(text: string): JournalLine | undefined {
  try {
    const line: unknown = JSON.parse(text);
    return typeof line === 'object' && line !== null && 'op' in line ? (line as JournalLine) : undefined;
  } catch {
    return undefined;
  }
}

/** Where damaged lines are put aside: beside the segments, for whoever wants to mend them. */
export function damagedDirectory(journal: string): string {
  return join(journal, 'damaged');
}

/** `compact-<upTo>-<random>.jsonl`: holds what all lines up to that number came to. The number is in the name, so no damage can hide it. */
const COMPACT = /^compact-(\d{15})-[0-9a-f]{8}\.jsonl$/;

export function compactName(upTo: number, random: string): string {
  return `compact-${String(upTo).padStart(15, '0')}-${random}${SEGMENT_SUFFIX}`;
}

/** The newest compacted segment. */
export function baseOf(directory: string): { segment: string; upTo: number } | undefined {
  const segment = listSegments(directory)
    .filter((name) => COMPACT.test(name))
    .at(-1);
  return segment === undefined ? undefined : { segment, upTo: Number(COMPACT.exec(segment)?.[1]) };
}
