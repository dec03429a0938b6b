/**
 * Finds out what bytes a file holds: hashes files that nobody has hashed, one at a time in the background; waiting requests for one file
 * share one computation.
 */
import { createHash } from 'node:crypto';
import { closeSync } from 'node:fs';
import { subjectOf } from '../catalog/catalog.js';
import type { FileRow, Layout } from '../catalog/rows.js';
import { formatFingerprint } from '../fs/fingerprint.js';
import { isTorn, readRange, type OpenFile } from '../fs/reader.js';
import { openAgain } from '../fs/stage.js';
import { noSuchKey, type Core, type Found } from './core.js';
import { SMALL_FILE, knowledge, openFound } from './describe.js';
import type { HashOutcome, Md5 } from './live-contract.js';
import { endMove } from './settle.js';

/** Finds the same place again, as it is now. */
type Again = () => Found | undefined;

/** The time (ms) after which a change to a file gets another stamp. */
const TICK_MS = 25;
/** Files that wait for the background; what is asked for again comes again. */
const QUEUE_LIMIT = 1000;

export class Identifier {
  /** Whole files read by this process. */
  hashes = 0;
  private readonly running = new Map<string, Promise<HashOutcome>>();
  private readonly queue = new Map<string, () => Promise<unknown>>();
  private busy = false;
  private closed = false;

  constructor(private readonly core: Core) {}

  /** The object at a key with its true ETag if that is known or cheap to know. */
  async identify(bucket: string, key: string, found: Found): Promise<Found> {
    // while the index is made anew nothing can be recorded
    if (knowledge(found) === 'known' || !this.core.catalog.index.ready) return found;
    const again = (): Found | undefined => this.core.find(bucket, key);
    const now = this.recall(key, found, again);
    if (knowledge(now) === 'known') return now;
    const { hash } = this.core;
    if (hash === 'off') return now;
    if (Number(now.stat.size) > SMALL_FILE) {
      this.later(now, again);
      return now;
    }
    await this.shared(now, again);
    return again() ?? now;
  }

  /** What rows and journal know of the file without reading it. @returns the file as it is now. */
  private recall(key: string, found: Found, again: Again): Found {
    const { catalog } = this.core;
    return catalog.index.write(() => {
      const now = again();
      if (!now) throw noSuchKey(key);
      if (knowledge(now) === 'known') return now;
      // a process may have been killed between rename and commit
      const row = catalog.adopt(now.place, now.fp, now.stat.ctimeNs, (line) => endMove(this.core, line));
      return row ? { ...now, row } : found.place.kind === now.place.kind ? now : found;
    });
  }

  /** Hashes a file and records it, if it stayed as it was. */
  hashPlace(found: Found, again: Again, md5?: Md5): Promise<HashOutcome> {
    if (knowledge(found) === 'known') return Promise.resolve('known');
    if (this.core.hash === 'off') return Promise.resolve('off');
    return this.shared(found, again, md5);
  }

  private shared(found: Found, again: Again, md5?: Md5): Promise<HashOutcome> {
    const id = placeId(found);
    let work = this.running.get(id);
    if (!work) {
      work = this.hash(found, again, md5).finally(() => this.running.delete(id));
      this.running.set(id, work);
    }
    return work;
  }

  private later(found: Found, again: Again): void {
    if (this.closed || this.core.options.readOnly || this.queue.size > QUEUE_LIMIT) return;
    this.queue.set(placeId(found), () => this.shared(found, again));
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

  private async hash(found: Found, again: Again, md5: Md5 | undefined): Promise<HashOutcome> {
    const file = openFound(found);
    try {
      if (file.stat.size !== found.stat.size || file.stat.ctimeNs !== found.stat.ctimeNs) return 'changed';
      // young stamps prove nothing: the next change in the same tick would not show
      if (this.core.clock.isYoung(file.stat.ctimeNs)) await new Promise((resolve) => setTimeout(resolve, TICK_MS));
      const layout = found.row?.layout === undefined ? undefined : this.core.catalog.index.layout(found.row.layout);
      const etag = await this.etagOf(file, knowledge(found) === 'provisional' ? layout : undefined, md5);
      if (etag === undefined || isTorn(file)) return 'changed';
      return this.record(file, found, again, etag) ? 'done' : 'changed';
    } finally {
      closeSync(file.fd);
    }
  }

  /** MD5 of the whole, or by the parts of a layout; undefined if told to stop. */
  private async etagOf(file: OpenFile, layout: Layout | undefined, md5?: Md5): Promise<string | undefined> {
    this.hashes++;
    const ends = endsOf(Number(file.stat.size), layout);
    const digests = md5 ? await md5(openAgain(file.fd, file.path), ends) : await md5Here(file, ends, () => this.closed);
    if (digests.length !== ends.length) return undefined;
    if (!layout) return digests[0];
    const all = Buffer.concat(digests.map((digest) => Buffer.from(digest, 'hex')));
    return `${createHash('md5').update(all).digest('hex')}-${digests.length}`;
  }

  private record(file: OpenFile, found: Found, again: Again, etag: string): boolean {
    const { catalog } = this.core;
    return catalog.index.write(() => {
      const now = again();
      if (!now || !now.fp.equals(found.fp) || now.stat.ctimeNs !== file.stat.ctimeNs) return false;
      const old = now.row;
      const same = old?.etag === etag;
      if (!same && old?.layout !== undefined) catalog.index.removeLayout(old.layout);
      const seq = catalog.nextSeq();
      const row: FileRow = {
        ...(old ?? { kind: 'file', published: false }),
        fp: now.fp,
        ctimeNs: now.stat.ctimeNs,
        seq,
        etag,
      };
      delete row.goneAt;
      if (!same) {
        delete row.checksum;
        delete row.layout;
        delete row.partCount;
      }
      const subject = subjectOf(now.place);
      const ctime = String(now.stat.ctimeNs);
      if (same && row.facts) {
        // all facts again, under the new fingerprint: a hash line alone would drop checksum and parts
        catalog.journal.append({
          op: 'prepare',
          id: `seen-${seq}`,
          ...subject,
          bytes: { ...catalog.bytesOf(row) },
          facts: row.facts,
          published: row.published,
          ...(row.file !== undefined && { file: row.file }),
        });
        catalog.journal.append({ op: 'commit', id: `seen-${seq}`, seq, ctime });
      } else {
        catalog.journal.append({ op: 'hash', seq, ...subject, fp: formatFingerprint(now.fp), ctime, etag });
      }
      catalog.putRow(now.place, row);
      catalog.noteSettled();
      return true;
    });
  }

  async close(): Promise<void> {
    this.closed = true;
    this.queue.clear();
    await Promise.allSettled(this.running.values());
  }
}

function placeId({ place }: Found): string {
  return place.kind === 'tree' ? `/${[...place.dirs, place.name].join('/')}` : `${place.bucket}/${place.key}`;
}

/** Where the pieces of a file end that are hashed one by one. */
function endsOf(size: number, layout: Layout | undefined): number[] {
  if (!layout) return [size];
  const ends: number[] = [];
  for (const [bytes, times] of layout.sizes) {
    for (let i = 0; i < times; i++) ends.push(Math.min((ends.at(-1) ?? 0) + bytes, size));
  }
  return ends;
}

/** MD5 in hex of each piece; fewer if told to stop. */
async function md5Here(file: OpenFile, ends: number[], stopped: () => boolean): Promise<string[]> {
  const digests: string[] = [];
  let at = 0;
  for (const end of ends) {
    const md5 = createHash('md5');
    await readRange(file, at, end, (chunk) => {
      md5.update(chunk);
      if (stopped()) throw new Error('stopped');
    }).catch((error: unknown) => {
      if (!stopped()) throw error;
    });
    if (stopped()) break;
    digests.push(md5.digest('hex'));
    at = end;
  }
  return digests;
}
