/**
 * Finds out what bytes a file holds: hashes files that nobody has hashed, one at a time in the background; waiting requests for one file
 * share one computation.
 */
import { closeSync } from 'node:fs';
import { S3Error, errno } from '../base/errors.js';
import { NO_FINGERPRINT, subjectOf } from '../catalog/catalog.js';
import type { ByteFacts, Told } from '../catalog/lines.js';
import type { FileRow, Layout } from '../catalog/rows.js';
import { derivedEtag, formatFingerprint } from '../fs/fingerprint.js';
import { changeOf, isTorn, type OpenFile } from '../fs/reader.js';
import { openAgain } from '../fs/stage.js';
import { isFull } from '../fs/statefile.js';
import { noSuchKey, type Core, type Found } from './core.js';
import { SMALL_FILE, knowledge, openIfThere, toldOf } from './describe.js';
import { endsOf, etagOf, md5sOf } from './etag.js';
import { changedRow, formerEtag, formerLayout } from './former.js';
import type { HashOutcome, Md5 } from './live-contract.js';
import { noteRestored } from './restored.js';
import { endMove } from './settle.js';

/** Finds the same place again, as it is now. */
type Again = () => Found | undefined;

/** The time (ms) after which a change to a file gets another stamp. */
const TICK_MS = 25;
/** An ETag that is told again and again is noted this often, ms. */
const TOLD_AGAIN_MS = 60_000;
/** Where hashes find no room, no more files are read for so long, ms. */
const FULL_MS = 1000;
/** After so many ms what the system lacks is said again. */
const SAID_AGAIN_MS = 60_000;
/** Files that wait for the background; what is asked for again comes again. */
const QUEUE_LIMIT = 1000;
/** How often a path is looked at again whose folders were renamed between two looks. */
const LOOKS = 20;

/** Digests of a file that was read whole. */
interface Reading {
  found: Found;
  again: Again;
  ctimeNs: bigint;
  etag: string;
}

export class Identifier {
  /** Whole files read by this process. */
  hashes = 0;
  private readonly running = new Map<string, Promise<Reading | undefined>>();
  private readonly queue = new Map<string, () => Promise<unknown>>();
  private busy = false;
  private closed = false;
  private fullUntil = 0;
  /** When (ms) what the system says, by its code, was last told. */
  private readonly said = new Map<string, number>();

  constructor(private readonly core: Core) {}

  /**
   * The object at a key with its true ETag if that is known or cheap to know.
   * @param prove its ETag is to be told or compared: what is known of a small file by a rename alone is checked. @throws NoSuchKey if it is gone by now.
   */
  async identify(bucket: string, key: string, found: Found, prove = false): Promise<Found> {
    const isDone = (one: Found): boolean => knowledge(one) === 'known' && !(prove && isUnproven(one));
    if ((isSettled(found) && isDone(found)) || !this.core.catalog.index.ready) return found;
    const again = (): Found | undefined => this.core.find(bucket, key);
    let now = this.recall([{ found, again }])[0];
    for (let attempt = 0; ; attempt++) {
      if (!now) throw noSuchKey(key);
      if (isDone(now) || this.core.hash === 'off' || this.isFull) return now;
      if (Number(now.stat.size) > SMALL_FILE) {
        this.later(now, again);
        return now;
      }
      const reading = await this.read(now, again);
      if (reading) this.record([reading]);
      const then = this.standing({ found, again });
      if (!(prove && isUnproven(then ?? now))) return then ?? now;
      // what came to be known meanwhile is known by a rename alone, too
      if (then && attempt === LOOKS) return unread(then);
      now = then;
    }
  }

  /**
   * The same for a page of a listing, with few transactions.
   * @param budget bytes that may be read. @returns what is there now, undefined for what went meanwhile.
   */
  async identifyPage(
    bucket: string,
    page: { key: string; found: Found }[],
    budget: number,
  ): Promise<(Found | undefined)[]> {
    const out: (Found | undefined)[] = page.map(({ found }) => found);
    const open = page.flatMap(({ key, found }, at) =>
      isSettled(found) && !isUnproven(found)
        ? []
        : [{ at, found, again: (): Found | undefined => this.core.find(bucket, key) }],
    );
    if (open.length === 0 || !this.core.catalog.index.ready) return out;
    if (this.isFull) budget = 0;
    const tried = new Set<Found>();
    const readings = new Map<Found, Reading>();
    for (const [i, now] of this.recall(open).entries()) {
      const { at = 0, again } = open[i] ?? {};
      out[at] = now;
      if (!now || !again || this.core.hash === 'off' || (knowledge(now) === 'known' && !isUnproven(now))) continue;
      const size = Number(now.stat.size);
      if (size > SMALL_FILE || size > budget) continue;
      budget -= size;
      tried.add(now);
      const reading = await this.read(now, again).catch(() => undefined);
      if (reading) readings.set(now, reading);
    }
    this.record([...readings.values()]);
    for (const { at, again } of open) {
      const now = out[at];
      if (!now || !tried.has(now)) continue;
      // another request may have read it, as it was found there
      const then = readings.has(now) ? this.standing({ found: now, again }) : now;
      out[at] = then && isUnproven(then) ? await this.proved(bucket, page[at]?.key ?? '', then) : then;
    }
    return out;
  }

  /** What a listing tells of a file that was changed while it was read for it: one that cannot be read must not end the page. */
  private async proved(bucket: string, key: string, found: Found): Promise<Found | undefined> {
    try {
      return await this.identify(bucket, key, found, true);
    } catch (error) {
      return error instanceof S3Error && error.code === 'NoSuchKey' ? undefined : unread(found);
    }
  }

  /** A place that was looked into, as it is now. */
  private standing(one: { found: Found; again: Again }): Found | undefined {
    const now = one.again();
    return !now || knowledge(now) === 'known' ? now : this.recall([one])[0];
  }

  /**
   * What stands at a path, with the rows of the very folder that it is in: whatever renames it between two looks, the file of one folder never meets
   * what is known of another. Under the lock.
   * @throws OperationAborted while others rename it all the time.
   */
  private look(again: Again): Found | undefined {
    const { tracker } = this.core;
    for (let attempt = 0; attempt < LOOKS; attempt++) {
      const now = again();
      if (!now || knowledge(now) === 'known' || tracker.isAmongOwn(now)) return now;
      if (now.place.kind === 'tree') tracker.settleDirs(now.place.dirs);
    }
    throw new S3Error('OperationAborted', 'A folder of this path is being renamed by another program. Try again.');
  }

  /** What rows and journal know of files without reading them. @returns each as it is now, undefined if it is gone. */
  recall(wanted: readonly { found: Found; again: Again }[]): (Found | undefined)[] {
    const { catalog, tracker } = this.core;
    try {
      const dirs = wanted.map(({ found: { place } }) => (place.kind === 'tree' ? place.dirs : []));
      for (const [i, one] of dirs.entries()) if (one !== dirs[i - 1]) tracker.settleDirs(one);
      return catalog.index.write(() => {
        let prepares: ReturnType<typeof catalog.loosePrepares> | undefined;
        return wanted.map(({ again }) => {
          const now = this.look(again);
          if (!now) return undefined;
          const { place, row } = now;
          const moved = row?.from && place.kind === 'tree' ? tracker.settleFile(place, row) : undefined;
          const settled = moved ? { ...now, row: moved } : now;
          if (knowledge(settled) === 'known') return settled;
          prepares ??= catalog.loosePrepares();
          // a process may have been killed between rename and commit
          const adopted = catalog.adopt(place, now.fp, now.stat.ctimeNs, (line) => endMove(this.core, line), prepares);
          const known = adopted ?? tracker.recognise(settled) ?? noteRestored(this.core, settled);
          return known ? { ...settled, row: known } : settled;
        });
      });
    } catch (error) {
      // a full disk must not keep files from being read
      if (error instanceof S3Error) throw error;
      this.complain('what is known of a file could not be looked up', error);
      return wanted.map(({ again }) => again());
    }
  }

  /** Hashes a file and records it, if it stayed as it was. */
  async hashPlace(found: Found, again: Again, md5?: Md5): Promise<HashOutcome> {
    if (this.core.hash === 'off') return isSettled(found) ? 'known' : 'off';
    // the journal may know it
    if (!this.core.catalog.index.ready) return 'changed';
    const now = isSettled(found) ? found : this.recall([{ found, again }])[0];
    if (!now) return 'gone';
    if (knowledge(now) === 'known' && !isUnproven(now)) return 'known';
    const reading = await this.read(now, again, md5);
    return reading && this.record([reading]) === 1 ? 'done' : 'changed';
  }

  /** Reads a file whose byte facts came by a rename, or that was touched since, whatever its size, and records what it holds; `changed`: it is being written. */
  async prove(found: Found, again: Again): Promise<HashOutcome> {
    const reading = await this.read(found, again);
    return reading && this.record([reading]) === 1 ? 'done' : 'changed';
  }

  /** Records that a file which was restored or touched was read, when its stamps were not young any more, and holds what is recorded. */
  confirm(found: Found, again: Again): void {
    if (found.row) this.record([{ found, again, ctimeNs: found.stat.ctimeNs, etag: formerEtag(found.row) }]);
  }

  /**
   * Remembers which files an ETag was told of before they were hashed: it stays theirs as long as somebody goes on asking (DuckDB and others
   * compare it themselves).
   */
  tell(told: readonly Found[]): void {
    const { core } = this;
    if (core.options.readOnly || !core.catalog.index.ready) return;
    const until = Date.now() + core.etagGraceMs;
    const due = told.filter((found) => isToldAnew(found, until - TOLD_AGAIN_MS));
    if (due.length === 0) return;
    const { catalog } = core;
    try {
      catalog.index.write(() => {
        for (const found of due) {
          const { place, fp, stat } = found;
          const old = catalog.row(place);
          let row: FileRow = old ?? { kind: 'file', fp, ctimeNs: stat.ctimeNs, seq: 0, etag: '', published: false };
          if (row.etag === '' && !row.fp.equals(fp)) {
            row.unseen = isSeen(old) ? 'changed' : 'new';
            row.fp = fp;
            row.ctimeNs = stat.ctimeNs;
          } else if (!old) row.unseen = 'new';
          else if (this.isOverwritten(found, old))
            row = { ...changedRow(catalog, old, fp, stat.ctimeNs), unseen: 'changed' };
          // a rename must not make it certain again
          if (row.etag !== '' && row.fp.equals(fp) && row.ctimeNs !== stat.ctimeNs) row.doubtful = true;
          const [, etag, ctime] = toldOf({ ...found, row }) === undefined ? [] : (row.told ?? []);
          row.told =
            etag === undefined || ctime === undefined ? [until, derivedEtag(fp, stat.ctimeNs)] : [until, etag, ctime];
          catalog.putRow(place, row);
        }
      });
    } catch (error) {
      this.complain('an ETag that was told could not be noted', error);
    }
  }

  /** What the system lacks - room, open files - is said once in a while: it meets each file that is asked for. */
  private complain(message: string, error: unknown): void {
    const code = errno(error);
    if (code !== undefined) {
      if (performance.now() - (this.said.get(code) ?? -Infinity) < SAID_AGAIN_MS) return;
      this.said.set(code, performance.now());
    }
    this.core.log('warn', message, { error: String(error) });
  }

  /** Whether other bytes than the known ones stand at a place, as they were found. Without a hash only this tells, and by their file they are known again. */
  private isOverwritten(found: Found, row: FileRow): boolean {
    const { catalog, tracker } = this.core;
    const isOther = row.appendFrom === undefined && knowledge({ ...found, row }) === 'unknown';
    // somebody may have put an object meanwhile
    return isOther && catalog.standing?.(found.place)?.equals(found.fp) === true && tracker.isAmongOwn(found);
  }

  private read(found: Found, again: Again, md5?: Md5): Promise<Reading | undefined> {
    // what stood there before may still be read
    const id = `${placeId(found)} ${formatFingerprint(found.fp)} ${found.stat.ctimeNs}`;
    let work = this.running.get(id);
    if (!work) {
      work = this.readNow(found, again, md5).finally(() => this.running.delete(id));
      this.running.set(id, work);
    }
    return work;
  }

  private later(found: Found, again: Again): void {
    if (this.closed || this.core.options.readOnly || this.queue.size > QUEUE_LIMIT) return;
    this.queue.set(placeId(found), () => this.hashPlace(found, again));
    if (!this.busy) void this.work();
  }

  private async work(): Promise<void> {
    this.busy = true;
    for (const [id, run] of this.queue) {
      this.queue.delete(id);
      if (this.closed) break;
      await run().catch((error: unknown) =>
        this.core.log('warn', 'a file could not be hashed', { file: id, error: String(error) }),
      );
    }
    this.busy = false;
  }

  private async readNow(found: Found, again: Again, md5: Md5 | undefined): Promise<Reading | undefined> {
    // found again: its directory is held open for the turn only
    const now = again();
    if (!now?.fp.equals(found.fp) || now.stat.ctimeNs !== found.stat.ctimeNs) return undefined;
    const file = openIfThere(now);
    if (!file) return undefined;
    try {
      if (file.stat.size !== found.stat.size || file.stat.ctimeNs !== found.stat.ctimeNs) return undefined;
      // young stamps prove nothing: the next change in the same tick would not show
      if (this.core.clock.isYoung(file.stat.ctimeNs)) await new Promise((resolve) => setTimeout(resolve, TICK_MS));
      // whatever became of its stamps and its inode: they may be the same bytes
      const layout = formerLayout(this.core.catalog, found.row, Number(file.stat.size));
      let etag = await this.etagOf(file, layout, md5);
      // other bytes than those that were uploaded in parts: a file like any other
      if (layout && found.row && etag !== undefined && etag !== formerEtag(found.row))
        etag = await this.etagOf(file, undefined, md5);
      return etag === undefined || isTorn(file) ? undefined : { found, again, ctimeNs: file.stat.ctimeNs, etag };
    } catch (error) {
      // changed meanwhile, be it renamed since: its hash is not known, and that is all
      if (changeOf(file) !== 'same') return undefined;
      throw error;
    } finally {
      closeSync(file.fd);
    }
  }

  /** MD5 of the whole, or by the parts of a layout; undefined if told to stop. */
  private async etagOf(file: OpenFile, layout: Layout | undefined, md5?: Md5): Promise<string | undefined> {
    this.hashes++;
    const ends = endsOf(Number(file.stat.size), layout);
    const digests = md5 ? await md5(openAgain(file.fd, file.path), ends) : await md5sOf(file, ends, () => this.closed);
    if (digests.length !== ends.length) return undefined;
    return etagOf(digests, layout);
  }

  /** @returns how many were still as they were read. */
  private record(readings: readonly Reading[]): number {
    if (readings.length === 0) return 0;
    const { catalog } = this.core;
    try {
      return catalog.index.write(() => {
        const done = readings.filter((reading) => this.recordOne(reading)).length;
        catalog.noteSettled();
        return done;
      });
    } catch (error) {
      if (!isFull(error)) throw error;
      // a full disk must not keep files from being read: they have the ETag of a file that nobody has hashed
      this.fullUntil = performance.now() + FULL_MS;
      return 0;
    }
  }

  /** Whether what files hold found no room a moment ago: it is of no use to read them for it. */
  private get isFull(): boolean {
    return performance.now() < this.fullUntil;
  }

  private recordOne({ found, again, ctimeNs, etag }: Reading): boolean {
    const { catalog } = this.core;
    const now = this.look(again);
    if (!now || !now.fp.equals(found.fp) || now.stat.ctimeNs !== ctimeNs) return false;
    const old = now.row;
    // whoever appends puts the row that follows
    if (old?.appendFrom !== undefined) return false;
    const same = old !== undefined && formerEtag(old) === etag;
    if (knowledge(now) === 'known' && (same || old?.unproven !== true)) {
      if (old) catalog.proved(now.place, old);
      return true;
    }
    const seq = catalog.nextSeq();
    const fp = formatFingerprint(now.fp);
    const { unproven: _unproven, was: _was, ...before } = same ? catalog.bytesOf(old) : {};
    const bytes: ByteFacts = { ...before, fp, etag };
    const ctime = String(ctimeNs);
    const told = toldSoFar(now);
    const said = told?.etag === derivedEtag(now.fp, ctimeNs) ? told.until : told;
    catalog.journal.append({ op: 'hash', seq, ...subjectOf(now.place), ctime, ...bytes, ...(said && { told: said }) });
    const row = catalog.fileRow(bytes, old?.facts ?? {}, seq, ctimeNs, old?.published ?? false);
    if (old?.file !== undefined) row.file = old.file;
    if (old?.from) row.from = old.from;
    if (old?.told) row.told = old.told;
    // somebody had looked at these very bytes, and they were hashed only now
    const seen = old?.etag === '' && old.fp.equals(now.fp);
    if (old?.unseen) row.unseen = old.unseen;
    else if (!same && !seen) row.unseen = isSeen(old) ? 'changed' : 'new';
    catalog.putRow(now.place, row);
    return true;
  }

  async close(): Promise<void> {
    this.closed = true;
    this.queue.clear();
    await Promise.allSettled(this.running.values());
  }
}

/** Nothing is to be found out. */
export function isSettled({ row, ...found }: Found): boolean {
  return row !== undefined && row.from === undefined && knowledge({ row, ...found }) === 'known';
}

/** A small file whose byte facts came by a rename: cheap to check. */
export function isUnproven({ row, stat }: Found): boolean {
  return row?.unproven === true && row.appendFrom === undefined && Number(stat.size) <= SMALL_FILE;
}

/** The same as if nobody had ever known its bytes. */
function unread({ row, ...found }: Found): Found {
  return { ...found, row: row && { ...row, etag: '' } };
}

/** For whoever brings the object to another key. */
export function toldSoFar(found: Found): Told | undefined {
  const etag = toldOf(found);
  return etag === undefined ? undefined : { etag, until: found.row?.told?.[0] ?? 0 };
}

/** Whether a derived ETag was told that the row does not remember for long enough. */
function isToldAnew(found: Found, until: number): boolean {
  const { row } = found;
  const known = knowledge(found) === 'known';
  if (known && row?.told === undefined) return false;
  const remembered = toldOf(found, -Infinity) !== undefined;
  if (known && !(remembered && (row?.told?.[0] ?? 0) > Date.now())) return false;
  return !remembered || (row?.told?.[0] ?? 0) < until;
}

/** Whether anything was ever known of the bytes at a place. */
function isSeen(row: FileRow | undefined): boolean {
  return row !== undefined && !row.fp.equals(NO_FINGERPRINT);
}

function placeId({ place }: Found): string {
  return place.kind === 'tree' ? `/${[...place.dirs, place.name].join('/')}` : `${place.bucket}/${place.key}`;
}
