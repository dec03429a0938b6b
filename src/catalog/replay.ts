/**
 * Bringing the index up to the journal: what it does not have yet is applied, in slices, each one write transaction, so that reads of this and other
 * processes go on meanwhile. A killed replay is taken up where its last transaction ended.
 */
import { derivedEtag, parseFingerprint } from '../fs/fingerprint.js';
import { NO_FINGERPRINT, placeOf, split, type Catalog, type Place } from './catalog.js';
import { grownBytes } from './grown.js';
import { LooseMoves, lostBy } from './lost.js';
import type { JournalLine } from './lines.js';
import { applyMoved, applyTouched } from './moved.js';
import { Merge, type Dangling, type Event } from './merge.js';
import { restoreDir, restoreDone, restoreRow, restoreSeen } from './restore.js';
import { pairKey, type FileRow } from './rows.js';
import type { Damage, SegmentReader } from './segments.js';

export type { Dangling, Origin } from './merge.js';

/** Time of one slice, ms: as long as a request may be kept waiting. */
const SLICE_MS = 50;

/** Applies what the index does not have yet. @returns what was prepared but never committed, as far as the journal tells. */
export async function replay(
  catalog: Catalog,
  damaged: (segment: string, damage: Damage) => void,
  sliceMs = SLICE_MS,
): Promise<Dangling> {
  const work = new Replay(catalog, damaged);
  while (!work.step(sliceMs)) await new Promise((resolve) => setImmediate(resolve));
  return work.finish();
}

export class Replay {
  private readonly merge: Merge;
  private base: SegmentReader | undefined;
  /** The index has all events up to this one. */
  private floor = -1;
  /** Number that the last slice left in the index. */
  private top = -1;
  /** Whose operations were lost. */
  private readonly kept: Place[] = [];
  private readonly loose: LooseMoves;
  /** A part of the journal in another file would be taken for all of it. */
  private readonly generation: number;

  /** @throws NotReady, and so do all methods, once another file is open as the index. */
  constructor(
    private readonly catalog: Catalog,
    private readonly damaged: (segment: string, damage: Damage) => void,
  ) {
    const { index, journal } = catalog;
    this.generation = index.generation;
    this.loose = new LooseMoves(journal.directory);
    this.merge = new Merge(journal.directory, (segment) => index.number(`seg:${segment}`), damaged);
    if (index.number('seq') < this.merge.upTo) this.base = this.merge.baseReader();
  }

  /** Applies for about `ms`. @returns whether the end was reached. */
  step(ms: number): boolean {
    const until = performance.now() + ms;
    return this.inWrite(() => this.readBase(until) && this.readEvents(until));
  }

  /** Applies what came meanwhile and notes how far was read: whatever looks for a lost prepare line reads only the rest. */
  finish(): Dangling {
    const { index } = this.catalog;
    return this.inWrite(() => {
      while (this.merge.more()) this.readEvents(Infinity);
      const { dangling, settled } = this.merge.ends();
      for (const [segment, offset] of settled) {
        // a living process may have gone on meanwhile
        if (offset > index.number(`seg:${segment}`)) index.setNumber(`seg:${segment}`, offset);
      }
      return { ...dangling, kept: this.kept };
    });
  }

  private inWrite<T>(work: () => T): T {
    const { catalog } = this;
    try {
      return catalog.index.writeIn(this.generation, () => {
        catalog.replay(true);
        return work();
      });
    } finally {
      catalog.replay(false);
    }
  }

  private readBase(until: number): boolean {
    const { base, merge, catalog } = this;
    if (!base) return true;
    for (let n = 1; ; n++) {
      const next = base.next();
      if (!next) break;
      if ('seq' in next.line)
        this.applied({ line: next.line, segment: merge.baseName, start: next.start, end: next.end });
      if (n % 64 === 0 && performance.now() > until) return false;
    }
    this.base = undefined;
    catalog.index.setNumber(`seg:${merge.baseName}`, base.end);
    catalog.index.setNumber('seq', merge.upTo);
    return true;
  }

  private readEvents(until: number): boolean {
    const { index } = this.catalog;
    // whoever wrote between two slices had applied all that is before
    const now = index.number('seq');
    if (now !== this.top) this.floor = now;
    this.top = now;
    let last = -1;
    let ended = false;
    for (let n = 1; ; n++) {
      // never between lines of one number: the later slice would take the second for applied
      if (n % 64 === 0 && performance.now() > until && this.merge.peek() !== last) break;
      const event = this.merge.next();
      if (!event) {
        ended = true;
        break;
      }
      last = event.line.seq;
      if (last <= this.floor) continue;
      if (!(isAside(event) && this.merge.isOrphan(event))) this.applied(event);
      if (last > this.top) this.top = last;
    }
    if (this.top !== now) index.setNumber('seq', this.top);
    return ended;
  }

  /** A line that cannot be understood (mended wrongly by hand) costs itself only. */
  private applied(event: Event): void {
    try {
      const lost = lostBy(this.catalog, event, this.loose);
      if (!lost) apply(this.catalog, event);
      else if (lost.halfway) apply(this.catalog, withoutSource(event));
      this.kept.push(...(lost?.places ?? []));
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof SyntaxError || error instanceof RangeError)) throw error;
      this.damaged(event.segment, { start: event.start, bytes: Buffer.from(JSON.stringify(event.line)) });
    }
  }
}

/**
 * Whether an overflow object came by it. What never came into the index, nobody has seen: others went on with the object that was there. (A file at a
 * path is seen by all at once.)
 */
function isAside({ line, prepare }: Event): boolean {
  return line.op === 'commit' && prepare?.op === 'prepare' && 'key' in prepare;
}

/** A move as a copy, which ends nothing that was asked for. */
function withoutSource({ prepare, ...event }: Event): Event {
  if (prepare?.op !== 'prepare') return event;
  const { from: _stays, clientToken: _undone, ...rest } = prepare;
  return { ...event, prepare: rest };
}

function unmark(catalog: Catalog, path: string): void {
  if (catalog.findDir(split(path))) catalog.changeDir(split(path), (row) => delete row.marker);
}

function toldBy({ told, ctime }: Extract<JournalLine, { op: 'hash' }>, { fp, ctimeNs }: FileRow): FileRow['told'] {
  if (typeof told === 'number') return [told, derivedEtag(fp, ctimeNs)];
  return told && [told.until, told.etag, ctime];
}

function apply(catalog: Catalog, { line, prepare }: Event): void {
  const { index } = catalog;
  switch (line.op) {
    case 'commit':
      if (prepare?.op !== 'prepare') return;
      if (line.kept) catalog.keepBytes(placeOf(prepare), undefined);
      catalog.publish(prepare, line.seq, BigInt(line.ctime));
      return;
    case 'appended':
      if (prepare?.op === 'append') {
        const place = placeOf({ path: prepare.path });
        const bytes = grownBytes(catalog, prepare, catalog.row(place));
        catalog.removeRow(place);
        catalog.putRow(
          place,
          catalog.fileRow({ ...bytes, fp: line.fp }, line.facts ?? prepare.facts, line.seq, BigInt(line.ctime), true),
        );
      }
      return;
    case 'delete':
      if (line.kept) catalog.keepBytes(placeOf(line), undefined);
      catalog.removeRow(placeOf(line));
      for (const path of line.rmdirs ?? []) catalog.dropDir(split(path));
      if (line.clientToken) catalog.clientTokens.note(line.clientToken);
      if ('path' in line && !line.path.includes('/')) catalog.clientTokens.forgetBucket(line.path);
      return;
    case 'facts': {
      const place = placeOf(line);
      const row: FileRow = catalog.row(place) ?? {
        kind: 'file',
        fp: line.fp === undefined ? NO_FINGERPRINT : parseFingerprint(line.fp),
        ctimeNs: BigInt(line.ctime ?? 0),
        seq: 0,
        etag: '',
        published: false,
      };
      if (row.etag === '' && line.fp !== undefined) row.fp = parseFingerprint(line.fp);
      catalog.putRow(place, { ...row, facts: line.facts, seq: line.seq });
      return;
    }
    case 'hash': {
      const place = placeOf(line);
      const { facts = {}, published = false, file, from } = catalog.row(place) ?? {};
      const row = catalog.fileRow(line, facts, line.seq, BigInt(line.ctime), published);
      if (file !== undefined) row.file = file;
      if (from) row.from = from;
      const told = toldBy(line, row);
      if (told && told[0] > Date.now()) row.told = told;
      catalog.putRow(place, row);
      return;
    }
    case 'touched':
      applyTouched(catalog, line);
      return;
    case 'moved':
      if (line.bytes) catalog.moveFile(line);
      else applyMoved(catalog, line);
      return;
    case 'stands':
      catalog.changeDir(split(line.path.slice(0, -1)), (row) => {
        catalog.identities.setDir(row, line.identity === undefined ? undefined : Buffer.from(line.identity, 'hex'));
        row.noted = true;
      });
      return;
    case 'marker':
      for (const made of line.mkdirs ?? []) catalog.setMade(split(made));
      catalog.setMarker(
        split(line.path),
        { time: line.time, facts: line.facts, ...(line.checksum && { checksum: line.checksum }) },
        line.seq,
      );
      if (line.from !== undefined) unmark(catalog, line.from);
      for (const path of line.rmdirs ?? []) catalog.dropDir(split(path));
      if (line.clientToken) catalog.clientTokens.note(line.clientToken);
      return;
    case 'unmark':
      unmark(catalog, line.path);
      for (const path of line.rmdirs ?? []) catalog.dropDir(split(path));
      if (line.clientToken) catalog.clientTokens.note(line.clientToken);
      return;
    case 'seen':
      restoreSeen(catalog, line);
      return;
    case 'row':
      restoreRow(catalog, line);
      return;
    case 'dir':
      restoreDir(catalog, line);
      return;
    case 'done':
      restoreDone(catalog, line);
      return;
    case 'client-token':
      catalog.clientTokens.note(line.clientToken);
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
