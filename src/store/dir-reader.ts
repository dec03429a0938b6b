/**
 * Reads a directory into the index: names that are new get a row. Names that are gone keep theirs - with what clients said of
 * them - and are found missing by the stat that every listed file gets; so memory and work are those of what is new.
 *
 * The stamp is taken before reading and trusted only if it is old enough that no change can hide behind it.
 */
import { lstatSync, type Dirent } from 'node:fs';
import { opendir } from 'node:fs/promises';
import { errno } from '../base/errors.js';
import { NO_FINGERPRINT } from '../catalog/catalog.js';
import { dirStamp, encodeRow, rowKey, type DirRow } from '../catalog/rows.js';
import { decodeName, isPossibleName } from '../fs/keypath.js';
import { isAbsent, type Core } from './core.js';

const CHUNK = 1000;
/** Of a million unreadable files the first are enough. */
const MAX_COMPLAINTS = 1000;
/** A file that was seen and nothing more. */
const SEEN = encodeRow({ kind: 'file', fp: NO_FINGERPRINT, ctimeNs: 0n, seq: 0, etag: '', published: false });

export class DirReader {
  private readonly running = new Map<string, Promise<DirRow | undefined>>();
  private readonly complained = new Set<string>();

  constructor(private readonly core: Core) {}

  /** @returns its row, or undefined if it is gone or not readable. */
  read(path: string, segments: readonly string[]): Promise<DirRow | undefined> {
    const id = segments.join('/');
    let work = this.running.get(id);
    if (!work) {
      work = this.readNow(path, segments).finally(() => this.running.delete(id));
      this.running.set(id, work);
    }
    return work;
  }

  private async readNow(path: string, segments: readonly string[]): Promise<DirRow | undefined> {
    const { catalog, clock } = this.core;
    const { index } = catalog;
    try {
      const stat = lstatSync(path, { bigint: true });
      const trusted = !clock.isYoung(stat.mtimeNs > stat.ctimeNs ? stat.mtimeNs : stat.ctimeNs);
      const row = catalog.findDir(segments) ?? index.write(() => catalog.ensureDir(segments));
      await this.addNew(path, row.id);
      const stamp = dirStamp(stat, this.core.view);
      return index.write(() =>
        catalog.changeDir(segments, (now) => Object.assign(now, { stamp, stampTrusted: trusted })),
      );
    } catch (error) {
      if (isAbsent(error)) return undefined;
      if (errno(error) !== 'EACCES' && errno(error) !== 'EPERM') throw error;
      this.warnOnce(path, 'a directory cannot be read and is not listed');
      return undefined;
    }
  }

  /** Tells once of a directory whose entries may not be looked at, or of one entry alone. */
  complain(directory: string, entry: string): void {
    try {
      lstatSync(entry, { throwIfNoEntry: false });
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

  private async addNew(path: string, id: number): Promise<void> {
    const { index } = this.core.catalog;
    const directory = await opendir(path, { encoding: 'buffer' as BufferEncoding, bufferSize: CHUNK });
    let batch: Buffer[] = [];
    const flush = (): void => {
      const missing = batch.filter((key) => !index.has('tree', key));
      batch = [];
      if (missing.length === 0) return;
      index.write(() => {
        for (const key of missing) {
          if (index.has('tree', key)) continue;
          if (key.at(-1) === 0x2f) index.put('tree', key, encodeRow(this.newDir(index.next('dir'))));
          else index.put('tree', key, SEEN);
        }
      });
    };
    for await (const entry of directory) {
      for (const name of this.rowNames(entry, path)) batch.push(rowKey(id, name));
      if (batch.length >= CHUNK) flush();
    }
    flush();
  }

  private newDir(id: number): DirRow {
    return { kind: 'dir', id, seq: 0, made: false, stampTrusted: false };
  }

  /** Names of the entry's rows (a directory's ends in `/`); none for what is never served. */
  private rowNames(entry: Dirent, path: string): string[] {
    const name = decodeName(entry.name as unknown as Buffer);
    if (name === undefined || !isPossibleName(name)) return [];
    // what a client itself put has its row already, whatever the pattern says
    if (this.core.excluded(name)) return [];
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
    const stat = lstatSync(`${path}/${name}`, { throwIfNoEntry: false });
    if (stat?.isDirectory()) return [`${name}/`];
    if (stat?.isSymbolicLink()) return this.linkNames(name);
    return stat?.isFile() ? [name] : [];
  }
}
