/**
 * All segments of a journal as one stream of events in the order of their sequence numbers, with one line of each in memory; and what no
 * commit line ever followed.
 *
 * A compacted segment (`compaction.ts`) is the base: it comes first, and lines that it already holds are left out of all others.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { Place } from './catalog.js';
import type { Append, JournalLine } from './lines.js';
import { SegmentReader, baseOf, listSegments, type Damage, type Placed } from './segments.js';

export type Prepare = Extract<JournalLine, { op: 'prepare' }>;
export type Moving = Extract<JournalLine, { op: 'moving' }>;
export type Numbered = Extract<JournalLine, { seq: number }>;

/** Segment of an interrupted operation. `end`: bytes; `until`: ms, when it was last written. */
export interface Origin {
  segment: string;
  end: number;
  until: number;
}

export interface Dangling {
  /** Without commit line, or with one of the last transaction of its segment: nobody knows whether that ended. */
  prepares: { line: Prepare; origin: Origin; committed?: true }[];
  /** Committed for certain, whatever has become of them since: only what they replaced may lie there still. */
  superseding: { line: Prepare; origin: Origin }[];
  appends: { line: Append; origin: Origin }[];
  /** Renames of directories. */
  moves: { line: Moving; origin: Origin }[];
  /** Directories that were about to be made or removed. */
  dirs: { paths: string[]; origin: Origin }[];
  /** Ended by the last line of a segment, which is read again as long as its process may live. */
  ended: Origin[];
  /** Settled since by another process: its segment says so. */
  aborted: Set<string>;
  /** Where a numbered line came to the disk, but not what it tells of: the old file stands there still (lost.ts). */
  kept: Place[];
}

/** Something that happened: a numbered line, with the line that it completes. */
export interface Event {
  line: Numbered;
  prepare?: Prepare | Append | Moving;
  /** Where it lies. */
  segment: string;
  start: number;
  end: number;
  /** Its transaction is the last of the segment, whose process has not said that it ends: it may have been killed before that one ended. */
  last?: boolean;
}

export class Merge {
  private readonly heads = new Map<string, Head>();
  /** Least event first. */
  private readonly heap: Head[] = [];
  private readonly base: { segment: string; upTo: number } | undefined;

  /**
   * @param from where to begin in a segment, in bytes.
   * @param damaged is told of bytes that are no line.
   * @param asFeed gives every line that is still there, whatever a compacted segment speaks for.
   */
  constructor(
    private readonly directory: string,
    private readonly from: (segment: string) => number,
    private readonly damaged: (segment: string, damage: Damage) => void,
    asFeed = false,
  ) {
    this.base = asFeed ? undefined : baseOf(directory);
    this.more();
  }

  /** Highest number that the base speaks for; 0 without one. */
  get upTo(): number {
    return this.base?.upTo ?? 0;
  }

  get baseName(): string {
    return this.base?.segment ?? '';
  }

  /**
   * Whether an event was written by a process that was killed before its transaction ended: another has taken the number since. Asked right after {@link next}.
   */
  isOrphan(event: Event): boolean {
    const head = this.heads.get(event.segment);
    if (!head || head.sealed || event.last !== true) return false;
    return (!head.event || isTogether(head.event, event)) && this.peek() === event.line.seq;
  }

  /** Number of the next event; -1 at the end. */
  peek(): number {
    return this.heap[0]?.event?.line.seq ?? -1;
  }

  /** Lines of the base, which are in no order of numbers. */
  baseReader(): SegmentReader | undefined {
    const { base } = this;
    if (!base) return undefined;
    return new SegmentReader(join(this.directory, base.segment), 0, (damage) => this.damaged(base.segment, damage));
  }

  /** The next event, or undefined at the end; {@link more} looks again. */
  next(): Event | undefined {
    const head = this.heap[0];
    const event = head?.event;
    if (!head || !event) return undefined;
    if (head.advance()) sink(this.heap, 0);
    else {
      const last = this.heap.pop();
      if (last && last !== head) {
        this.heap[0] = last;
        sink(this.heap, 0);
      }
    }
    return event;
  }

  /** Looks for segments that are new, and behind the ends of those that were read. @returns whether there is anything. */
  more(): boolean {
    for (const segment of listSegments(this.directory)) {
      if (segment.startsWith('compact-')) continue;
      let head = this.heads.get(segment);
      if (head?.event) continue;
      if (!head) {
        const path = join(this.directory, segment);
        const reader = new SegmentReader(path, this.from(segment), (damage) => this.damaged(segment, damage));
        const until = statSync(path, { bigint: true, throwIfNoEntry: false })?.mtimeNs ?? 0n;
        head = new Head(segment, reader, this.upTo, until);
        this.heads.set(segment, head);
      }
      if (!head.advance()) continue;
      this.heap.push(head);
      rise(this.heap, this.heap.length - 1);
    }
    return this.heap.length > 0;
  }

  /** What is open at the ends, and up to where each segment need not be read again. */
  ends(): { dangling: Dangling; settled: Map<string, number> } {
    const dangling: Dangling = {
      prepares: [],
      superseding: [],
      appends: [],
      moves: [],
      dirs: [],
      ended: [],
      aborted: new Set(),
      kept: [],
    };
    const settled = new Map<string, number>();
    const waits = (id: string): boolean => [...this.heads.values()].some((head) => head.waitsFor(id));
    for (const [segment, head] of this.heads) {
      const path = join(this.directory, segment);
      const stat = statSync(path, { throwIfNoEntry: false });
      if (stat) settled.set(segment, head.close(dangling, waits, { segment, end: stat.size, until: stat.mtimeMs }));
    }
    return { dangling, settled };
  }
}

/** As many operations as a process may have had under way when it was killed. */
const AT_ONCE = 1000;

function supersedes(line: Prepare | Append | Moving): boolean {
  return line.op === 'prepare' && (line.replaces !== undefined || line.aside !== undefined);
}

/** A line that waits for another, and where it lies. */
interface Held {
  line: Prepare | Append | Moving;
  start: number;
}

/** The next event of a segment; prepare lines wait here for their commit. */
class Head {
  event: Event | undefined;
  /** Its process has ended well. */
  sealed = false;
  /** The rest of the transaction of {@link event}, and the first of the next one. */
  private readonly ahead: Event[] = [];
  /** What the last transaction completed. */
  private committed: Held[] = [];
  /** Number of its first line. */
  private first = -1;
  /** The latest that were completed and whose process may have had no time to remove what they supersede. */
  private readonly superseding: Held[] = [];
  private dirs: { paths: string[]; start: number } | undefined;
  private readonly waiting = new Map<string, Held>();
  /** Operations of other segments that a line here settles, and where it lies: it is to be seen as long as they are. */
  private readonly aborted = new Map<string, number>();

  constructor(
    private readonly segment: string,
    private readonly reader: SegmentReader,
    private readonly above: number,
    /** When the segment was written last, ns. */
    readonly until: bigint,
  ) {}

  advance(): boolean {
    const event = (this.event = this.ahead.shift() ?? this.read());
    if (!event) return false;
    const isMore = (): boolean => this.ahead.some((next) => !isTogether(event, next));
    for (let next: Event | undefined; !isMore() && (next = this.read());) this.ahead.push(next);
    event.last = !this.sealed && !isMore();
    return true;
  }

  private read(): Event | undefined {
    for (let next = this.reader.next(); next; next = this.reader.next()) {
      const event = this.take(next);
      if (event && event.line.seq > this.above) return event;
    }
    return undefined;
  }

  private take({ line, start, end }: Placed): Event | undefined {
    const { segment } = this;
    if (line.op === 'prepare' || line.op === 'append' || line.op === 'moving')
      this.waiting.set(line.id, { line, start });
    else if (line.op === 'dirs') this.dirs = { paths: line.paths, start };
    else if (line.op === 'abort') this.drop(line.id, start);
    else if (line.op === 'sealed') {
      // its process lived on: the last commit is no orphan
      this.sealed = true;
      this.committed = [];
      this.superseding.length = 0;
    } else if ('seq' in line && Number.isSafeInteger(line.seq)) {
      this.dirs = undefined;
      const ends = line.op === 'commit' || line.op === 'appended' || line.op === 'moved';
      const held = ends && 'id' in line && line.id !== undefined ? this.waiting.get(line.id) : undefined;
      if (held) this.waiting.delete(held.line.id);
      const first = firstOf(line);
      if (first !== this.first) this.committed = [];
      this.first = first;
      if (held) this.committed.push(held);
      if (held && supersedes(held.line)) this.superseding.push(held);
      if (this.superseding.length > AT_ONCE) this.superseding.shift();
      return { line, segment, start, end, ...(held && { prepare: held.line }) };
    }
    return undefined;
  }

  private drop(id: string, start: number): void {
    if (this.waiting.delete(id)) return;
    if (!this.aborted.has(id)) this.aborted.set(id, start);
  }

  waitsFor(id: string): boolean {
    return this.waiting.has(id) || this.committed.some(({ line }) => line.id === id);
  }

  /**
   * @param waits whether an operation is open in any segment.
   * @returns the offset before which all lines are applied and belong to operations that have ended.
   */
  close(dangling: Dangling, waits: (id: string) => boolean, origin: Origin): number {
    // the last commits may be orphans: written by a process that was killed before their transaction ended
    const { committed, dirs } = this;
    for (const id of this.aborted.keys()) dangling.aborted.add(id);
    const before = this.superseding.filter((one) => !committed.includes(one));
    for (const { line } of before) if (line.op === 'prepare') dangling.superseding.push({ line, origin });
    const held = [...committed, ...this.waiting.values()];
    for (const one of held) {
      const { line } = one;
      const isCommitted = committed.includes(one);
      if (line.op === 'prepare') dangling.prepares.push({ line, origin, ...(isCommitted && { committed: true }) });
      else if (line.op === 'moving') dangling.moves.push({ line, origin });
      else if (isCommitted) dangling.ended.push(origin);
      else dangling.appends.push({ line, origin });
    }
    if (dirs) dangling.dirs.push({ paths: dirs.paths, origin });
    const open = [...before, ...held, ...(dirs ? [dirs] : [])];
    const needed = [...this.aborted].filter(([id]) => waits(id)).map(([, start]) => ({ start }));
    return [...open, ...needed].reduce((least, { start }) => Math.min(least, start), this.reader.end);
  }
}

/** Number of the first line of a line's transaction. */
function firstOf(line: Numbered): number {
  return line.first ?? line.seq;
}

function isTogether(a: Event, b: Event): boolean {
  return firstOf(a.line) === firstOf(b.line);
}

/**
 * Least number first; of equal ones that of the last transaction of its segment, which is the orphan of a killed process. If that may be either, the one whose process has
 * written nothing since: the other took the number after it was killed.
 */
function isBefore(a: Head, b: Head): boolean {
  const [left, right] = [a.event?.line.seq ?? Infinity, b.event?.line.seq ?? Infinity];
  if (left !== right) return left < right;
  const [isLeftLast, isRightLast] = [a, b].map(({ event }) => event?.last === true);
  return isLeftLast === isRightLast ? a.until < b.until : isLeftLast === true;
}

function rise(heap: Head[], at: number): void {
  for (let child = at; child > 0;) {
    const parent = (child - 1) >> 1;
    if (!swapped(heap, parent, child)) return;
    child = parent;
  }
}

function sink(heap: Head[], at: number): void {
  for (let parent = at; ;) {
    const [left, right] = [2 * parent + 1, 2 * parent + 2];
    const [a, b] = [heap[left], heap[right]];
    const child = b && a && isBefore(b, a) ? right : left;
    if (!swapped(heap, parent, child)) return;
    parent = child;
  }
}

/** Puts the two in order. */
function swapped(heap: Head[], parent: number, child: number): boolean {
  const [above, below] = [heap[parent], heap[child]];
  if (!above || !below || !isBefore(below, above)) return false;
  heap[parent] = below;
  heap[child] = above;
  return true;
}
