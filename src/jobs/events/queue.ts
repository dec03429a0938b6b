/**
 * Events that wait for their target, on the disk: files of JSON lines, appended at one end, removed whole at the other. Bounded: when it is
 * full the oldest file goes, and how many events went with it is counted.
 *
 * `state.json` tells up to where they were delivered. It may be a little old after a crash: then some are delivered again.
 */
import {
  closeSync,
  fdatasync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { errno } from '../../base/errors.js';
import { giveTo, makeStateDir, syncDirSync, writeFileAtomic, type Ownership } from '../../fs/statefile.js';
import type { EventRecord } from './record.js';

export interface QueueLimits {
  events: number;
  /** Bytes. */
  bytes: number;
}
export const DEFAULT_LIMITS: QueueLimits = { events: 100_000, bytes: 64 * 1024 * 1024 };

/** What waits. */
export interface Queued {
  /** Number of the change. */
  seq: number;
  /** ms, when it was queued. */
  at: number;
  /** Events of one of these keep their order. */
  key: string;
  record: EventRecord;
}

/** Behind an event: a file's number and a byte offset in it. */
export interface Place {
  file: number;
  offset: number;
}

interface File {
  number: number;
  bytes: number;
  events: number;
}

/** Share of a full queue in one file: so much goes at once. */
const FILES = 32;
const CHUNK = 64 * 1024;
const LF = 10;

export class DiskQueue {
  /** Oldest first; the last is appended to. */
  private readonly files: File[] = [];
  private tail: number | undefined;
  private read: Place = { file: 0, offset: 0 };
  private done: Place = { file: 0, offset: 0 };
  private doneInFile = 0;
  private doneSaved = true;
  private unsynced = false;
  /** Number of the change that was queued last. */
  lastSeq = 0;
  private lost = 0;

  /** @throws the system's error. */
  constructor(
    readonly directory: string,
    private readonly owner: Ownership | undefined,
    private readonly limits: QueueLimits = DEFAULT_LIMITS,
  ) {
    makeStateDir(directory, owner);
    const state = readState(join(directory, 'state.json'));
    this.lastSeq = state.lastSeq;
    for (const number of numbers(directory)) {
      if (number < state.done.file) unlinkSync(this.path(number));
      else this.files.push({ number, ...this.inspect(number) });
    }
    const [first] = this.files;
    if (first?.number === state.done.file) {
      this.done = { ...state.done };
      this.doneInFile = this.countLines(first.number, state.done.offset);
    } else if (first) this.done = { file: first.number, offset: 0 };
    this.read = { ...this.done };
  }

  /** Events that wait. */
  get length(): number {
    return this.files.reduce((sum, { events }) => sum + events, 0) - this.doneInFile;
  }

  /** Events that were given up for want of room; then 0 again. */
  takeLost(): number {
    const { lost } = this;
    this.lost = 0;
    return lost;
  }

  /** Written, not flushed. @throws the system's error; then nothing was appended. */
  append(events: readonly Queued[]): void {
    for (const event of events) {
      const bytes = Buffer.from(`${JSON.stringify(event)}\n`);
      const file = this.writable(bytes.length);
      const fd = this.tail ?? this.openTail(file.number);
      try {
        for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
      } catch (error) {
        ftruncateSync(fd, file.bytes);
        throw error;
      }
      file.bytes += bytes.length;
      file.events++;
      this.unsynced = true;
      if (event.seq > this.lastSeq) this.lastSeq = event.seq;
    }
    this.makeRoom();
  }

  /** Resolves once all that was appended is on the disk. */
  async flush(): Promise<void> {
    const { tail } = this;
    if (!this.unsynced || tail === undefined) return;
    this.unsynced = false;
    await new Promise<void>((resolve, reject) => {
      fdatasync(tail, (error) => (error && errno(error) !== 'EBADF' ? reject(error) : resolve()));
    });
  }

  /** The next events that were not taken yet, in order, each with the place behind it. */
  take(max: number): { event: Queued; end: Place }[] {
    const out: { event: Queued; end: Place }[] = [];
    while (out.length < max) {
      const file = this.files.find(({ number }) => number >= this.read.file);
      if (!file) break;
      if (file.number > this.read.file) this.read = { file: file.number, offset: 0 };
      if (this.read.offset >= file.bytes) {
        if (file === this.files.at(-1)) break;
        this.read = { file: file.number + 1, offset: 0 };
        continue;
      }
      this.readLines(file, max - out.length, out);
    }
    return out;
  }

  /** Everything before `place` was delivered, or given up. */
  acknowledge(place: Place, events: number): void {
    if (place.file < this.done.file) return;
    if (place.file === this.done.file) this.doneInFile += events;
    else this.doneInFile = this.countLines(place.file, place.offset);
    this.done = place;
    this.doneSaved = false;
    while (this.files.length > 1 && (this.files[0]?.number ?? Infinity) < place.file) this.removeFirst();
  }

  /** Writes down what was delivered. */
  save(): void {
    if (this.doneSaved) return;
    const state = { done: this.done, lastSeq: this.lastSeq };
    writeFileAtomic(join(this.directory, 'state.json'), `${JSON.stringify(state)}\n`, this.owner);
    this.doneSaved = true;
  }

  async close(): Promise<void> {
    await this.flush();
    this.save();
    this.letGo();
  }

  /** Closes its file, which is opened again when it is needed: its disk is away. */
  letGo(): void {
    if (this.tail !== undefined) closeSync(this.tail);
    this.tail = undefined;
  }

  private writable(bytes: number): File {
    const last = this.files.at(-1);
    const full = last && (last.bytes + bytes > this.limits.bytes / FILES || last.events >= this.limits.events / FILES);
    if (last && !full) return last;
    this.letGo();
    const next = { number: Math.max(last?.number ?? 0, this.done.file) + 1, bytes: 0, events: 0 };
    this.files.push(next);
    return next;
  }

  private openTail(number: number): number {
    const path = this.path(number);
    this.tail = openSync(path, 'a', 0o600);
    giveTo(path, this.owner);
    syncDirSync(this.directory);
    return this.tail;
  }

  /** Lets go of the oldest file while there are too many events. */
  private makeRoom(): void {
    for (;;) {
      const [first] = this.files;
      if (!first || this.files.length < 2) return;
      const bytes = this.files.reduce((sum, file) => sum + file.bytes, 0);
      if (this.length <= this.limits.events && bytes <= this.limits.bytes) return;
      this.lost += first.events - (first.number === this.done.file ? this.doneInFile : 0);
      this.removeFirst();
      const next = this.files[0]?.number ?? 0;
      this.done = { file: next, offset: 0 };
      this.doneInFile = 0;
      this.doneSaved = false;
      if (this.read.file < next) this.read = { file: next, offset: 0 };
    }
  }

  private removeFirst(): void {
    const first = this.files.shift();
    if (!first) return;
    try {
      unlinkSync(this.path(first.number));
    } catch (error) {
      if (errno(error) !== 'ENOENT') throw error;
    }
  }

  private readLines(file: File, max: number, out: { event: Queued; end: Place }[]): void {
    const fd = openSync(this.path(file.number), 'r');
    try {
      let size = CHUNK;
      for (let found = 0; found === 0; size *= 2) {
        const buffer = Buffer.allocUnsafe(Math.min(size, file.bytes - this.read.offset));
        const chunk = buffer.subarray(0, readSync(fd, buffer, 0, buffer.length, this.read.offset));
        let at = 0;
        for (let lf = chunk.indexOf(LF); lf >= 0 && found < max; lf = chunk.indexOf(LF, at)) {
          const event = parse(chunk.toString('utf8', at, lf));
          at = lf + 1;
          found++;
          const end = { file: file.number, offset: this.read.offset + at };
          if (event) out.push({ event, end });
        }
        this.read.offset += at;
        if (found === 0 && chunk.length < size) {
          // cut short by somebody
          this.read.offset = file.bytes;
          return;
        }
      }
    } finally {
      closeSync(fd);
    }
  }

  /** Size and lines of a file; half a line at its end, of a writer that was killed, is cut off. */
  private inspect(number: number): { bytes: number; events: number } {
    const text = readFileSync(this.path(number));
    const bytes = text.lastIndexOf(LF) + 1;
    if (bytes < text.length) {
      const fd = openSync(this.path(number), 'r+');
      ftruncateSync(fd, bytes);
      closeSync(fd);
    }
    const last = text.lastIndexOf(LF, bytes - 2) + 1;
    const seq = parse(text.toString('utf8', last, Math.max(last, bytes - 1)))?.seq ?? 0;
    if (seq > this.lastSeq) this.lastSeq = seq;
    return { bytes, events: lines(text.subarray(0, bytes)) };
  }

  private countLines(number: number, until: number): number {
    const fd = openSync(this.path(number), 'r');
    try {
      const buffer = Buffer.allocUnsafe(Math.min(until, fstatSync(fd).size));
      return lines(buffer.subarray(0, readSync(fd, buffer, 0, buffer.length, 0)));
    } finally {
      closeSync(fd);
    }
  }

  private path(number: number): string {
    return join(this.directory, `${String(number).padStart(12, '0')}.jsonl`);
  }
}

function lines(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1)) count++;
  return count;
}

function numbers(directory: string): number[] {
  return readdirSync(directory)
    .flatMap((name) => (/^\d{12}\.jsonl$/.test(name) ? [Number(name.slice(0, 12))] : []))
    .sort((a, b) => a - b);
}

function parse(text: string): Queued | undefined {
  try {
    return JSON.parse(text) as Queued;
  } catch {
    return undefined;
  }
}

function readState(path: string): { done: Place; lastSeq: number } {
  const nothing = { done: { file: 0, offset: 0 }, lastSeq: 0 };
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return nothing;
  try {
    return { ...nothing, ...(JSON.parse(readFileSync(path, 'utf8')) as Partial<typeof nothing>) };
  } catch {
    return nothing;
  }
}
