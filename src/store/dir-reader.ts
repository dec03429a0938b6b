/**
 * Reads a directory into the index: names that are new get a row. Names that are gone keep theirs - with what clients said of
 * them - and are found missing by the stat that every listed file gets; so memory and work are those of what is new.
 *
 * The stamp is taken before reading and trusted only if it is old enough that no change can hide behind it.
 */
import { lstatSync, type Dir, type Dirent } from 'node:fs';
import { opendir } from 'node:fs/promises';
import { errno } from '../base/errors.js';
import { NO_FINGERPRINT } from '../catalog/catalog.js';
import { GONE_COUNTER } from '../catalog/ghost.js';
import { dirStamp, encodeRow, isGone, isStampAt, isUnseenNew, rowKey, type DirRow } from '../catalog/rows.js';
import { decodeName, isPossibleName } from '../fs/keypath.js';
import { lstatOf } from '../fs/stat.js';
import { isFull } from '../fs/statefile.js';
import { isAbsent, type Core } from './core.js';

const CHUNK = 1000;
/** Of a million unreadable files the first are enough. */
const MAX_COMPLAINTS = 1000;
/** After the index found no room, nothing is read into it for so long, ms. */
const FULL_MS = 1000;
/** A file that was seen and nothing more. */
export const SEEN = encodeRow({ kind: 'file', fp: NO_FINGERPRINT, ctimeNs: 0n, seq: 0, etag: '', published: false });

export interface ReadDir {
  row: DirRow;
  /** How many rows its entries have. */
  names: number;
  /** How many of them are new, or there again. */
  added: number;
}

export class DirReader {
  private readonly running = new Map<string, Promise<ReadDir | undefined>>();
  /** To begin when the one under way has ended; all that ask meanwhile share it. */
  private readonly waiting = new Map<string, Promise<ReadDir | undefined>>();
  private readonly complained = new Set<string>();
  /** Until when (ms) it is not tried again to write down what a directory holds. */
  private full: { until: number; error: unknown } = { until: 0, error: undefined };

  constructor(private readonly core: Core) {}

  /** Reads it from now on. @param settled see {@link Tracker.settleDirs}. @returns its row, or undefined if it is gone. @throws EACCES, EPERM. */
  read(path: string, segments: readonly string[], settled = 0): Promise<ReadDir | undefined> {
    const id = segments.join('/');
    const running = this.running.get(id);
    if (!running) return this.begin(id, path, segments, settled);
    // one that is under way may have passed the place of a name that came since
    let next = this.waiting.get(id);
    if (!next) {
      const begin = (): Promise<ReadDir | undefined> => {
        this.waiting.delete(id);
        return this.begin(id, path, segments, settled);
      };
      next = running.then(begin, begin);
      this.waiting.set(id, next);
    }
    return next;
  }

  private begin(id: string, path: string, segments: readonly string[], settled: number): Promise<ReadDir | undefined> {
    const work = this.readNow(path, segments, settled).finally(() => {
      if (this.running.get(id) === work) this.running.delete(id);
    });
    this.running.set(id, work);
    return work;
  }

  private async readNow(path: string, segments: readonly string[], settled: number): Promise<ReadDir | undefined> {
    if (performance.now() < this.full.until) throw this.full.error;
    const { catalog, clock } = this.core;
    const { index } = catalog;
    try {
      const stat = lstatSync(path, { bigint: true });
      const trusted = !clock.isYoung(stat.mtimeNs > stat.ctimeNs ? stat.mtimeNs : stat.ctimeNs);
      this.core.tracker.settleDirs(segments, settled);
      const gone = index.number(GONE_COUNTER);
      const { id, stamp: before, fresh } = catalog.findDir(segments) ?? index.write(() => catalog.ensureDir(segments));
      // what has no row then was not there when it was read before, or when another directory was that stood here
      const known = fresh === true || (before !== undefined && isStampAt(before, stat, this.core.view));
      const counts = await this.addNew(path, segments, id, known);
      const stamp = dirStamp(stat, this.core.view);
      const note = (now: DirRow): void => {
        now.stamp = stamp;
        delete now.full;
        delete now.leaf;
        delete now.fresh;
        // a name that was missed while we read may be there after all
        now.stampTrusted = trusted && index.number(GONE_COUNTER) === gone;
      };
      const row = index.write(() => catalog.changeDirById(id, note) ?? catalog.changeDir(segments, note));
      return { row, ...counts };
    } catch (error) {
      if (isAbsent(error)) return undefined;
      if (isFull(error)) this.full = { until: performance.now() + FULL_MS, error };
      if (errno(error) !== 'EACCES' && errno(error) !== 'EPERM') throw error;
      this.warnOnce(path, 'a directory cannot be read and is not listed');
      throw error;
    }
  }

  /**
   * Up to `max` names of rows that a directory's entries would have, in order, from `from` on; nothing is recorded. The directory is read through for each
   * page, so that memory is that of the page.
   */
  async namesFrom(path: string, from: Buffer, max: number): Promise<string[]> {
    const least: { name: string; bytes: Buffer }[] = [];
    const keepLeast = (): void => {
      least.sort((a, b) => a.bytes.compare(b.bytes));
      least.length = Math.min(least.length, max);
    };
    let limit: Buffer | undefined;
    for await (const entry of await openNames(path)) {
      for (const name of this.rowNames(entry, path)) {
        const bytes = Buffer.from(name);
        if (bytes.compare(from) < 0 || (limit && bytes.compare(limit) >= 0)) continue;
        least.push({ name, bytes });
      }
      if (least.length < 2 * max) continue;
      keepLeast();
      limit = least.at(-1)?.bytes;
    }
    keepLeast();
    return least.map(({ name }) => name);
  }

  /** Tells once of a directory whose entries may not be looked at, or of one entry alone. */
  complain(directory: string, entry: string): void {
    try {
      lstatOf(entry);
      this.warnOnce(entry, 'a link leads to what may not be read and is not listed');
    } catch {
      this.warnOnce(directory, 'a directory may not be searched: what is in it is not listed');
    }
  }

  private warnOnce(path: string, message: string): void {
    if (this.complained.has(path) || this.complained.size >= MAX_COMPLAINTS) return;
    this.complained.add(path);
    this.core.log('warn', message, { path });
  }

  private async addNew(
    path: string,
    segments: readonly string[],
    id: number,
    known: boolean,
  ): Promise<{ names: number; added: number }> {
    const { index, untold } = this.core.catalog;
    const tells = known && untold.wanted;
    const directory = await openNames(path);
    let names = 0;
    let added = 0;
    let batch: string[] = [];
    const isNew = (name: string): boolean => {
      const value = index.get('tree', rowKey(id, name));
      return value === undefined || isGone(value);
    };
    const isUnseen = (name: string): boolean => {
      const value = index.get('tree', rowKey(id, name));
      return value !== undefined && isUnseenNew(value);
    };
    const flush = (): void => {
      names += batch.length;
      const missing = batch.filter(isNew);
      // a request came upon it first
      const unseen = tells ? batch.filter(isUnseen) : [];
      batch = [];
      if (missing.length === 0 && unseen.length === 0) return;
      index.write(() => {
        for (const name of missing) {
          if (!isNew(name)) continue;
          added++;
          this.add(segments, id, name, tells);
        }
        for (const name of unseen) if (isUnseen(name)) untold.note(segments, name, 'created', true);
      });
    };
    for await (const entry of directory) {
      batch.push(...this.rowNames(entry, path));
      if (batch.length >= CHUNK) flush();
    }
    flush();
    return { names, added };
  }

  /** @param tells it came since the directory was read before, and somebody wants to know. Under the lock. */
  private add(segments: readonly string[], id: number, name: string, tells: boolean): void {
    const { catalog, tracker } = this.core;
    const { index } = catalog;
    const key = rowKey(id, name);
    if (name.endsWith('/')) {
      const dirs = [...segments, name.slice(0, -1)];
      tracker.settleDir(dirs);
      if (index.has('tree', key)) return;
      const row = catalog.newDir(id, dirs);
      if (tells) index.putRow(id, name, { ...row, fresh: true });
      return;
    }
    const row = catalog.rowAt(key);
    if (!row) {
      if (tells) catalog.untold.note(segments, name, 'created', true);
      return index.put('tree', key, SEEN);
    }
    delete row.goneAt;
    index.put('tree', key, encodeRow(row));
    catalog.untold.noteBack(segments, name);
  }

  /** Names of the entry's rows (a directory's ends in `/`); none for what is never served. */
  private rowNames(entry: Dirent, path: string): string[] {
    const name = decodeName(entry.name as unknown as Buffer);
    if (name === undefined || !isPossibleName(name)) return [];
    // what a client itself put has its row already, whatever the pattern says; paths are judged when they are listed
    if (this.core.excludes.name(name)) return [];
    if (entry.isFile()) return [name];
    if (entry.isDirectory()) return [`${name}/`];
    if (entry.isSymbolicLink()) return this.linkNames(name);
    return entry.isFIFO() || entry.isSocket() || entry.isBlockDevice() || entry.isCharacterDevice()
      ? []
      : this.unknown(name, path);
  }

  /** A link's target comes and goes without a trace in this directory, so what it leads to is judged when it is listed, as files are. */
  private linkNames(name: string): string[] {
    if (this.core.symlinks === 'none') return [];
    return this.core.symlinks === 'all' ? [name, `${name}/`] : [name];
  }

  /** File systems that give no type with the name. */
  private unknown(name: string, path: string): string[] {
    const stat = lstatOf(`${path}/${name}`);
    if (stat?.isDirectory()) return [`${name}/`];
    if (stat?.isSymbolicLink()) return this.linkNames(name);
    return stat?.isFile() ? [name] : [];
  }
}

/** Names are given as bytes: not all are UTF-8. */
function openNames(path: string): Promise<Dir> {
  return opendir(path, { encoding: 'buffer' as BufferEncoding, bufferSize: CHUNK });
}
