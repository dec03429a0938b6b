/**
 * Opening the catalog: the index is taken as it is or rebuilt, and what the journal says beyond it is applied. All segments are merged by
 * sequence number, one line of each in memory.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { parseFingerprint } from '../fs/fingerprint.js';
import { NO_FINGERPRINT, placeOf, split, type Catalog } from './catalog.js';
import { listSegments, readSegment, type Placed } from './journal.js';
import type { JournalLine } from './lines.js';
import { pairKey, type FileRow } from './rows.js';

type Prepare = Extract<JournalLine, { op: 'prepare' }>;
type Append = Extract<JournalLine, { op: 'append' }>;
/** Segment of an interrupted operation. `end`: bytes; `until`: ms, when it was last written. */
export interface Origin {
  segment: string;
  end: number;
  until: number;
}
export interface Dangling {
  prepares: { line: Prepare; origin: Origin }[];
  appends: { line: Append; origin: Origin }[];
  /** Directories that were about to be made or removed. */
  dirs: { paths: string[]; origin: Origin }[];
  /** Settled since by another process: its segment says so. */
  aborted: Set<string>;
}

/** Applies what the index does not have yet. @returns what was prepared but never committed, as far as the journal tells. */
export async function replay(
  catalog: Catalog,
  warn: (message: string, data: Record<string, unknown>) => void,
): Promise<Dangling> {
  const { index, journal } = catalog;
  const applied = index.number('seq');
  const heads: Head[] = [];
  const all: Head[] = [];
  const dangling: Dangling = { prepares: [], appends: [], dirs: [], aborted: new Set() };
  for (const segment of listSegments(journal.directory)) {
    const path = join(journal.directory, segment);
    const lines = readSegment(path, index.number(`seg:${segment}`), (line) => {
      warn('a damaged journal line was passed over', { segment, line: line.slice(0, 200) });
    });
    const { size, mtimeMs } = statSync(path);
    const head = new Head(lines, dangling, { segment, end: size, until: mtimeMs });
    all.push(head);
    if (await head.advance()) heads.push(head);
  }
  let batch: Event[] = [];
  const flush = (): void => {
    const events = batch;
    batch = [];
    index.write(() => {
      let top = index.number('seq');
      for (const event of events) {
        apply(catalog, event);
        top = Math.max(top, event.line.seq);
      }
      index.setNumber('seq', top);
    });
  };
  for (;;) {
    const next = earliest(heads);
    if (!next?.event) break;
    if (next.event.line.seq > applied) batch.push(next.event);
    if (batch.length >= 1000) flush();
    await next.advance();
  }
  if (batch.length > 0) flush();
  noteRead(catalog, all);
  return dangling;
}

/** Remembers how far each segment needs no second look: the next start, and whoever looks for a lost prepare line, read only the rest. */
function noteRead({ index }: Catalog, heads: Head[]): void {
  const further = (head: Head): boolean => head.settled > index.number(`seg:${head.segment}`);
  if (!heads.some(further)) return;
  index.write(() => {
    // asked again: a living process may have gone on meanwhile
    for (const head of heads.filter(further)) index.setNumber(`seg:${head.segment}`, head.settled);
  });
}

type Numbered = Extract<JournalLine, { seq: number }>;
interface Event {
  line: Numbered;
  prepare?: Prepare | Append;
}

/** A line that waits for another, and where it lies. */
interface Held {
  line: Prepare | Append;
  start: number;
}

/** The next event of a segment; prepare lines wait here for their commit. */
class Head {
  event: Event | undefined;
  last = false;
  private ahead: Event | undefined;
  private started = false;
  private committed: Held | undefined;
  private dirs: { paths: string[]; start: number } | undefined;
  private readonly waiting = new Map<string, Held>();
  /** Where the first line lies that settles another segment's operation: it is to be seen as long as that one is. */
  private foreign = Infinity;
  private end = 0;
  /** At the end: all lines before this offset are applied and belong to operations that have ended. */
  settled = 0;

  constructor(
    private readonly lines: AsyncGenerator<Placed>,
    private readonly dangling: Dangling,
    private readonly origin: Origin,
  ) {}

  async advance(): Promise<boolean> {
    if (!this.started) {
      this.started = true;
      this.ahead = await this.read();
    }
    this.event = this.ahead;
    if (this.event) {
      this.ahead = await this.read();
      this.last = this.ahead === undefined;
    }
    return this.event !== undefined;
  }

  get segment(): string {
    return this.origin.segment;
  }

  private drop(id: string, start: number): void {
    if (this.waiting.delete(id)) return;
    this.dangling.aborted.add(id);
    this.foreign = Math.min(this.foreign, start);
  }

  private async read(): Promise<Event | undefined> {
    for (;;) {
      const next = await this.lines.next();
      if (next.done === true) break;
      const { line, start, end } = next.value;
      this.end = end;
      if (line.op === 'prepare' || line.op === 'append') this.waiting.set(line.id, { line, start });
      else if (line.op === 'dirs') this.dirs = { paths: line.paths, start };
      else if (line.op === 'abort') this.drop(line.id, start);
      else if ('seq' in line) {
        this.dirs = undefined;
        const held = line.op === 'commit' || line.op === 'appended' ? this.waiting.get(line.id) : undefined;
        if (held) this.waiting.delete(held.line.id);
        this.committed = held;
        return held ? { line, prepare: held.line } : { line };
      }
    }
    // the last commit may be an orphan: written by a process that was killed before its transaction ended
    const { dangling, origin, committed, dirs } = this;
    const open = [...this.waiting.values(), ...(committed ? [committed] : []), ...(dirs ? [dirs] : [])];
    this.settled = Math.min(this.end, this.foreign, ...open.map(({ start }) => start));
    if (committed?.line.op === 'prepare') dangling.prepares.push({ line: committed.line, origin });
    this.committed = undefined;
    for (const { line } of this.waiting.values()) {
      if (line.op === 'prepare') dangling.prepares.push({ line, origin });
      else dangling.appends.push({ line, origin });
    }
    this.waiting.clear();
    if (dirs) dangling.dirs.push({ paths: dirs.paths, origin });
    this.dirs = undefined;
    return undefined;
  }
}

/** Least number first; of equal ones the last line of its segment, which is the orphan of a killed process. */
function earliest(heads: Head[]): Head | undefined {
  let best: Head | undefined;
  for (const head of heads) {
    if (!head.event) continue;
    if (!best?.event || head.event.line.seq < best.event.line.seq) best = head;
    else if (head.event.line.seq === best.event.line.seq && head.last && !best.last) best = head;
  }
  return best;
}

function apply(catalog: Catalog, { line, prepare }: Event): void {
  const { index } = catalog;
  switch (line.op) {
    case 'commit':
      if (prepare?.op === 'prepare') catalog.publish(prepare, line.seq, BigInt(line.ctime));
      return;
    case 'appended':
      if (prepare?.op === 'append') {
        const place = placeOf({ path: prepare.path });
        catalog.removeRow(place);
        catalog.putRow(
          place,
          catalog.fileRow({ ...prepare.bytes, fp: line.fp }, prepare.facts, line.seq, BigInt(line.ctime), true),
        );
      }
      return;
    case 'delete':
      catalog.removeRow(placeOf(line));
      for (const path of line.rmdirs ?? []) catalog.dropDir(split(path));
      return;
    case 'facts': {
      const place = placeOf(line);
      const row: FileRow = catalog.row(place) ?? {
        kind: 'file',
        fp: NO_FINGERPRINT,
        ctimeNs: 0n,
        seq: 0,
        etag: '',
        published: false,
      };
      catalog.putRow(place, { ...row, facts: line.facts, seq: line.seq });
      return;
    }
    case 'hash': {
      const place = placeOf(line);
      const row = catalog.row(place);
      if (row?.layout !== undefined) index.removeLayout(row.layout);
      catalog.putRow(place, {
        kind: 'file',
        fp: parseFingerprint(line.fp),
        ctimeNs: BigInt(line.ctime),
        seq: line.seq,
        etag: line.etag,
        published: row?.published ?? false,
        ...(row?.facts && { facts: row.facts }),
        ...(row?.file !== undefined && { file: row.file }),
      });
      return;
    }
    case 'marker':
      for (const made of line.mkdirs ?? []) catalog.changeDir(split(made), (row) => (row.made = true));
      catalog.changeDir(split(line.path), (row) => {
        row.marker = { time: line.time, facts: line.facts };
        row.seq = line.seq;
      });
      return;
    case 'unmark':
      if (catalog.findDir(split(line.path))) catalog.changeDir(split(line.path), (row) => delete row.marker);
      for (const path of line.rmdirs ?? []) catalog.dropDir(split(path));
      return;
    case 'part':
      index.put(
        'parts',
        pairKey(line.uploadId, String(line.part.partNumber).padStart(5, '0')),
        Buffer.from(JSON.stringify(line.part)),
      );
      return;
  }
}
