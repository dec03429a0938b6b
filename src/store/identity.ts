/**
 * Renames by other programs (DESIGN, "How the index stays true"): files and directories are known again by their identity - mount,
 * inode, birth time. A directory's row moves with all below it; the byte facts of a file follow at once, what clients said of its key
 * once the old path has stayed away for a moment, because editors save by rename.
 *
 * Everything here runs synchronously; what changes something, under the lock.
 */
import { lstatSync, type BigIntStats } from 'node:fs';
import { firstChildren, hasChildren } from '../catalog/children.js';
import { subjectOf, type Catalog, type MovedFile, type Place } from '../catalog/catalog.js';
import { identityOf, type Seen } from '../catalog/identities.js';
import { applyMoved, type MovedDir } from '../catalog/moved.js';
import { placeAt } from '../catalog/row-of.js';
import { rowKey, type DirRow, type FileRow } from '../catalog/rows.js';
import { fingerprint, formatFingerprint } from '../fs/fingerprint.js';
import type { FileClock } from '../fs/clock.js';
import type { Dir } from '../fs/dirs.js';
import { isPossibleName } from '../fs/keypath.js';
import type { Mounts } from '../fs/mounts.js';
import { isAbsent, lstatOf } from '../fs/stat.js';
import { Beside } from './beside.js';
import { formerEtag } from './former.js';
import { followKey, putDoubt, saidUnder } from './key-follows.js';
import { leaveMissing, settleAway, settleLost } from './left.js';

/** Time stamps of one rename(2) may lie this far apart. */
const TICK_NS = 20_000_000n;
/** So many of what was known in a directory are looked for in the one that has its place. */
const KNOWN_ASKED = 100;

type TreePlace = Extract<Place, { kind: 'tree' }>;
/** What of the store's core is needed here. */
interface Ground {
  readonly catalog: Catalog;
  readonly clock: FileClock;
  readonly mounts: Mounts;
  /** How long (ms) an old path has to stay away. */
  readonly quietMs: number;
  readonly view: bigint;
  pathOf(dirs: readonly string[]): string;
  overflowDir(folder: string): string;
}
/** A file that was found, with what is known of its place. */
interface Found {
  place: Place;
  stat: BigIntStats;
  fp: Buffer;
  row: FileRow | undefined;
  dir: Dir;
  link?: string;
}
/** Where a file was seen before; without a place if other bytes are there now. */
interface Source {
  row: FileRow;
  place?: TreePlace;
}

/** What belongs to a directory beside its rows, on its way with it. */
export interface Carried {
  /** What the `moved` line has to say of it. */
  said: Pick<MovedDir, 'overflow' | 'displaced'>;
  /** To be called once the line is written, and before it is applied. */
  written(seq: number): void;
}

export class Tracker {
  /** Ends a move of ours that was interrupted; tells whether there was one from one path to another. */
  adopt: ((from: readonly string[], to: readonly string[]) => boolean) | undefined;

  /** What belongs to a directory beside its rows goes with it. */
  carry:
    | ((renamed: { from: readonly string[]; to: readonly string[]; identity: string; displaces: boolean }) => Carried)
    | undefined;
  /** What was kept aside for a directory that was lost, and has turned up nowhere, goes back to its keys. */
  bringBack: ((lost: number, dirs: readonly string[]) => void) | undefined;
  /** Directories that are looked for just now. */
  private readonly settling = new Set<string>();

  private readonly beside: Beside;

  constructor(private readonly core: Ground) {
    this.beside = new Beside(core);
    core.catalog.world = (dirs) => this.identityAt(dirs);
    core.catalog.standing = (place, file) => this.fingerprintAt(place, file);
  }

  /** Identity of the directory at a path now; undefined for what is none (a link too), or on a file system without birth times. */
  private identityAt(dirs: readonly string[]): Buffer | undefined {
    if (dirs[0] === '') return undefined;
    const path = this.core.pathOf(dirs);
    const stat = lstatOf(path);
    if (!stat?.isDirectory() || stat.birthtimeNs === 0n) return undefined;
    return Buffer.from(this.identityOf(path, stat));
  }

  private fingerprintAt(place: Place, file?: string): Buffer | undefined {
    if (place.kind === 'overflow') {
      const name = file ?? this.core.catalog.row(place)?.file;
      const stat = name === undefined ? undefined : lstatOf(`${this.core.overflowDir(place.bucket)}/${name}`);
      return stat?.isFile() === true ? fingerprint(stat, 0) : undefined;
    }
    if (place.dirs[0] === '') return undefined;
    const dir = this.core.pathOf(place.dirs);
    const stat = lstatOf(`${dir}/${place.name}`);
    return stat?.isFile() === true ? fingerprint(stat, this.core.mounts.idOf(stat.dev, dir)) : undefined;
  }

  /**
   * Makes the rows of the directories on a path those of the directories that stand there.
   * @param settled so many of them, from the top, are known to be so: whoever goes down a deep path need not look at all of it at each step.
   * @param claims something is about to be recorded there, as {@link claim} says; under the lock.
   */
  settleDirs(dirs: readonly string[], settled = 0, claims = false): void {
    if (!this.core.catalog.index.ready || this.holds(dirs, settled)) return;
    if (claims) return this.claimAll(dirs, true);
    this.core.catalog.index.write(() => {
      for (let depth = settled + 1; depth <= dirs.length; depth++) if (!this.settleDir(dirs.slice(0, depth))) return;
    });
  }

  /**
   * Before anything is recorded below a path, and before a line announces it: rows of a directory that stands there no more give way to those of the one
   * that does, or that will be made. They go to where the directory is found now; else they are lost (lost-dirs.ts), and follow it when it turns up.
   * @param makes directories that are missing will be made; if not, rows that are found nowhere stay.
   */
  claim(dirs: readonly string[], makes = true): void {
    const { catalog } = this.core;
    if (!catalog.index.ready) return;
    const identity = catalog.findDir(dirs)?.identity;
    if (identity && this.identityAt(dirs)?.equals(identity) === true) return;
    if (this.isStale(dirs)) this.claimAll(dirs, makes);
  }

  /** The same once something was done in a directory that was reached by the path: others may have renamed it since. Under the lock. */
  claimReached(dirs: readonly string[], { path, born }: Dir): void {
    // what was reached by a link has rows that stand for no directory
    const identity = path === this.core.pathOf(dirs) ? this.core.catalog.findDir(dirs)?.identity : undefined;
    if (identity && !this.identityOf(path, born).equals(identity)) this.claimAll(dirs, true);
  }

  private claimAll(dirs: readonly string[], makes: boolean): void {
    this.core.catalog.index.write(() => {
      for (let depth = 1; depth <= dirs.length; depth++) {
        const path = dirs.slice(0, depth);
        if (this.settleDir(path, true)) continue;
        const identity = this.isDirectory(path) ? undefined : this.core.catalog.findDir(path)?.identity;
        if (identity && !this.findElsewhere(path, identity) && makes) this.setAside(path);
        return;
      }
    });
  }

  private identityOf(path: string, stat: BigIntStats): Buffer {
    return identityOf(fingerprint(stat, this.core.mounts.idOf(stat.dev, path)));
  }

  /** Whether a row on a path is that of a directory that does not stand there. */
  private isStale(dirs: readonly string[]): boolean {
    const { index } = this.core.catalog;
    let row = index.row(0, '/');
    for (const [i, name] of dirs.entries()) {
      row = row?.kind === 'dir' ? index.row(row.id, `${name}/`) : undefined;
      if (row?.kind !== 'dir') return false;
      if (!row.identity) continue;
      const path = dirs.slice(0, i + 1);
      const there = this.identityAt(path);
      if (there ? !there.equals(row.identity) : !this.isDirectory(path)) return true;
    }
    return false;
  }

  private isDirectory(dirs: readonly string[]): boolean {
    return lstatOf(this.core.pathOf(dirs))?.isDirectory() === true;
  }

  /** The rows of a directory that is somewhere else, or nowhere, wait for it, or go back to their keys in a moment (left.ts). Under the lock. */
  private setAside(dirs: readonly string[]): void {
    const { catalog } = this.core;
    const row = catalog.findDir(dirs);
    if (!row) return;
    if (!row.marker && !hasChildren(catalog.index, row.id)) return catalog.dropDirRow(row);
    const seq = catalog.nextSeq();
    const line: MovedDir = { op: 'moved', seq, path: `/${seq}/`, from: `${dirs.join('/')}/`, lost: Date.now() };
    catalog.journal.append(line);
    applyMoved(catalog, line);
    catalog.noteSettled();
  }

  private holds(dirs: readonly string[], settled: number): boolean {
    const { index } = this.core.catalog;
    let row = index.row(0, '/');
    for (const [i, name] of dirs.entries()) {
      row = row?.kind === 'dir' ? index.row(row.id, `${name}/`) : undefined;
      if (row?.kind !== 'dir' || row.identity === undefined) return false;
      if (i < settled) continue;
      if (this.identityAt(dirs.slice(0, i + 1))?.equals(row.identity) !== true) return false;
    }
    return true;
  }

  /**
   * Whether a file was found in the very directory whose rows its path leads to: others may have renamed it since the rows were settled. Its own
   * identity alone tells, for rows hang on the last directory. Inside the write that goes by the row.
   */
  isAmongOwn({ place, dir }: Found): boolean {
    const { catalog, mounts } = this.core;
    // what was reached by a link has rows that stand for no directory
    if (place.kind !== 'tree' || dir.path !== this.core.pathOf(place.dirs)) return true;
    const identity = catalog.findDir(place.dirs)?.identity;
    if (!identity) return true;
    try {
      const stat = lstatSync(dir.at('.'), { bigint: true });
      return identityOf(fingerprint(stat, mounts.idOf(stat.dev, dir.path))).equals(identity);
    } catch (error) {
      if (isAbsent(error)) return false;
      throw error;
    }
  }

  /**
   * Notes which directories stand where the journal tells of some, once the index was made anew: so that a rename right afterwards is known as one.
   * Inside a write. @returns where to go on, undefined at the end.
   */
  noteDirs(after: Buffer, max: number): Buffer | undefined {
    const { identities, index } = this.core.catalog;
    const page = index.page('dirs', after, Buffer.alloc(7, 0xff), max);
    for (const { key } of page) {
      const id = key.readUIntBE(0, 6);
      const place = identities.placeOf(id);
      const row = place && index.row(place.parent, place.name);
      const dirs = identities.pathOf(id);
      if (!place || row?.kind !== 'dir' || row.identity || !dirs || dirs.length === 0) continue;
      const identity = this.identityIfSeen(dirs);
      if (!identity || identities.find(identity)) continue;
      identities.setDir(row, identity);
      index.putRow(place.parent, place.name, row);
    }
    const last = page.at(-1);
    return last && page.length === max ? Buffer.concat([last.key, Buffer.alloc(1)]) : undefined;
  }

  private identityIfSeen(dirs: readonly string[]): Buffer | undefined {
    try {
      return this.identityAt(dirs);
    } catch {
      // not to be seen (EACCES): nobody can tell
      return undefined;
    }
  }

  /**
   * The same for one directory whose parents are settled. Under the lock.
   * @param claims see {@link claim}. @returns false if there is none.
   */
  settleDir(dirs: readonly string[], claims = false): boolean {
    const { catalog } = this.core;
    const { identities, index } = catalog;
    const identity = this.identityAt(dirs);
    if (!identity) return false;
    const parent = catalog.findDir(dirs.slice(0, -1));
    const there = parent && index.row(parent.id, `${dirs.at(-1) ?? ''}/`);
    const row = there?.kind === 'dir' ? there : undefined;
    if (row?.identity?.equals(identity)) return true;
    if (dirs.length === 1 && row?.identity && this.findElsewhere(dirs, row.identity))
      return this.settleDir(dirs, claims);
    const seen = identities.find(identity);
    const known = seen?.kind === 'dir' && seen.id !== row?.id ? seen.id : undefined;
    if (known !== undefined && this.isAway(known, identity)) {
      this.moveDir(known, dirs);
    } else if (claims && row?.identity && known === undefined && dirs.length > 1 && !this.isRestored(row, dirs)) {
      if (!this.findElsewhere(dirs, row.identity)) this.setAside(dirs);
      catalog.ensureDir(dirs);
    } else if (row && parent) {
      // another directory stands here now: what clients said of the keys below stays with the keys
      const { noted } = row;
      identities.setDir(row, known === undefined ? identity : undefined);
      index.putRow(parent.id, `${dirs.at(-1) ?? ''}/`, row);
      if (noted) catalog.noteDir(row, dirs);
    }
    return true;
  }

  /** Looks for the folder of a bucket that is away from its name: if another program has renamed it, all of the bucket goes with it. Under the lock. */
  seekBucket(name: string): void {
    const identity = this.core.catalog.findDir([name])?.identity;
    if (identity) this.findElsewhere([name], identity);
  }

  /** Whether something that was known in a directory stands in the one that has its place now: it was copied back, and its keys are the same. */
  private isRestored({ id }: DirRow, dirs: readonly string[]): boolean {
    const path = this.core.pathOf(dirs);
    return firstChildren(this.core.catalog.index, id, KNOWN_ASKED).some(
      ({ name }) => lstatOf(`${path}/${name.replace(/\/$/, '')}`) !== undefined,
    );
  }

  /**
   * A directory that is not at its path is looked for under other names beside it: all that is known of it goes with it. Of a bucket's folder however many there are.
   * @returns whether it was found.
   */
  private findElsewhere(dirs: readonly string[], identity: Buffer): boolean {
    const path = dirs.join('/');
    if (this.settling.size > 0) return false;
    const above = dirs.slice(0, -1);
    this.settling.add(path);
    try {
      const there = this.nameBeside(dirs, identity);
      if (there === undefined) return false;
      // a folder that nobody has looked at has no row yet
      this.core.catalog.ensureDir([...above, there]);
      this.settleDir([...above, there]);
      const now = this.core.catalog.findDir(dirs);
      return now?.identity?.equals(identity) !== true;
    } finally {
      this.settling.delete(path);
    }
  }

  /** Whether a known directory no longer stands where it was seen. */
  private isAway(id: number, identity: Buffer): boolean {
    const path = this.core.catalog.identities.pathOf(id);
    if (!path) return false;
    try {
      return this.identityAt(path)?.equals(identity) !== true;
    } catch {
      return false;
    }
  }

  private moveDir(id: number, dirs: readonly string[]): void {
    const { catalog } = this.core;
    const from = catalog.identities.pathOf(id);
    if (!from) return;
    // a process of ours may have been killed between rename and its line
    if (this.adopt?.(from, dirs)) return;
    const identity = this.identityAt(dirs)?.toString('hex') ?? '';
    const refuge = this.refugeOf(dirs, id);
    const carried = this.carry?.({ from, to: dirs, identity, displaces: refuge !== undefined });
    const seq = catalog.nextSeq();
    const lost = from[0] === '' ? catalog.lost.get(Number(from[1])) : undefined;
    const before = catalog.away.get(id)?.dirs ?? (lost && [...lost.dirs, ...from.slice(2)]);
    const was = before && { was: `${before.join('/')}/` };
    const line: MovedDir = {
      op: 'moved',
      seq,
      path: `${dirs.join('/')}/`,
      from: `${from.join('/')}/`,
      ...was,
      ...carried?.said,
    };
    catalog.journal.append(line);
    carried?.written(seq);
    // one that no directory stands for has only keys whose files went: nothing of it can turn up
    const ghostly = catalog.findDir(dirs)?.identity === undefined;
    applyMoved(catalog, line);
    if (lost && from.length === 2) catalog.lost.remove(lost.seq);
    catalog.away.remove(id);
    const home = before ?? from;
    if (home[0] !== '') leaveMissing(this.core, id, home);
    const displaced = ghostly ? catalog.lost.get(seq) : undefined;
    if (displaced) settleLost(this.core, displaced, Infinity);
    // another one has the old name by now: whoever has read its parent must go on finding it
    if (this.identityAt(from)) catalog.ensureDir(from);
    catalog.noteSettled();
    if (refuge) {
      catalog.ensureDir(refuge);
      this.settleDir(refuge);
    }
  }

  /** Where a directory in a bucket stands whose path another one has got, if that is beside it. */
  private refugeOf(dirs: readonly string[], id: number): string[] | undefined {
    const row = dirs.length > 1 ? this.core.catalog.findDir(dirs) : undefined;
    if (!row?.identity || row.id === id) return undefined;
    const name = this.nameBeside(dirs, row.identity);
    return name === undefined ? undefined : [...dirs.slice(0, -1), name];
  }

  private nameBeside(dirs: readonly string[], identity: Buffer): string | undefined {
    const above = dirs.slice(0, -1);
    return this.beside
      .of(dirs)
      .find((name) => this.identityIfSeen([...above, name])?.equals(identity) && isPossibleName(name));
  }

  /** The row of a file that was seen elsewhere before, put at its place now; undefined if it was not. Under the lock. */
  recognise(found: Found): FileRow | undefined {
    if (found.place.kind !== 'tree' || found.link !== undefined) return undefined;
    const source = this.sourceOf(found, found.place);
    if (!source) return undefined;
    const held = source.place !== undefined && this.holdsFile(source.place, found);
    const linked = held || (source.place !== undefined && !this.cameFrom(found.place, source.row));
    const known = linked && found.row?.fp.equals(found.fp) === true;
    if (held) return this.copyBytes(found, source.row, known);
    const row = this.follow(found, found.place, source, known);
    // it has waited since its first rename
    return row?.from && source.row.from ? (this.settleFile(found.place, row) ?? row) : row;
  }

  private sourceOf(found: Found, place: TreePlace): Source | undefined {
    const { identities } = this.core.catalog;
    const identity = identityOf(found.fp);
    const source = this.sourceAt(identities.find(identity), found, place);
    if (source) return source;
    const second = this.sourceAt(identities.findSecond(identity), found, place);
    return second?.place && this.holdsFile(second.place, found) ? second : undefined;
  }

  private sourceAt(seen: Seen | undefined, found: Found, place: TreePlace): Source | undefined {
    if (!seen || seen.kind === 'dir') return undefined;
    let source: Source;
    if (seen.kind === 'displaced') source = { row: seen.row };
    else {
      const at = placeAt(this.core.catalog, seen.key);
      if (!at) return undefined;
      if (at.name === place.name && at.dirs.join('/') === place.dirs.join('/')) return undefined;
      const row = this.core.catalog.row(at);
      if (!row) return undefined;
      source = { row, place: at };
    }
    return source.row.fp.equals(found.fp) && source.row.appendFrom === undefined ? source : undefined;
  }

  /** Whether a place still holds the very file (hard links, folders reached by a link), or a link: that one's name, too, is not where it was renamed from. */
  private holdsFile({ dirs, name }: TreePlace, found: Found): boolean {
    if (dirs[0] === '') return false;
    const stat = lstatOf(`${this.core.pathOf(dirs)}/${name}`);
    return stat?.isSymbolicLink() === true || (stat?.ino === found.stat.ino && stat.dev === found.stat.dev);
  }

  /** Whether what a row speaks of was renamed from a place a moment ago: back there, it is no second name. */
  private cameFrom(place: TreePlace, { from }: FileRow): boolean {
    const dir = from && this.core.catalog.findDir(place.dirs);
    return dir !== undefined && rowKey(dir.id, place.name).toString('base64') === from?.key;
  }

  /**
   * Two names of one file. A ctime that neither link(2) nor rename(2) explains leaves the hash to be made again.
   * @param known the name was seen with these bytes before: it was not linked just now, so its later ctime may be that of a write.
   */
  private copyBytes(found: Found, source: FileRow, known: boolean): FileRow | undefined {
    if (source.etag === '' || !this.isExplained(found, source)) return undefined;
    if (known && found.stat.ctimeNs !== source.ctimeNs) return undefined;
    const { catalog } = this.core;
    const seq = catalog.nextSeq();
    const unproven = found.stat.ctimeNs !== source.ctimeNs && { unproven: true as const };
    const bytes = { ...catalog.bytesOf(source), ...unproven };
    const ctime = String(found.stat.ctimeNs);
    catalog.journal.append({ op: 'hash', seq, ...subjectOf(found.place), ctime, ...bytes });
    const { facts = {}, published = false } = found.row ?? {};
    const row = catalog.fileRow(bytes, facts, seq, found.stat.ctimeNs, published);
    if (found.row?.from) row.from = found.row.from;
    catalog.putRow(found.place, row);
    catalog.noteSettled();
    return row;
  }

  /**
   * The old place no longer holds it: it was renamed.
   * @param known the new place was seen with these bytes before: the old one was a second name, whose removal is no rename.
   */
  private follow(
    found: Found,
    place: TreePlace,
    { row: source, place: from }: Source,
    known: boolean,
  ): FileRow | undefined {
    const { catalog } = this.core;
    const says = source.facts !== undefined || source.published;
    const own = found.row?.facts !== undefined || found.row?.published === true;
    const keyFacts = from !== undefined && says && !own;
    const waits = source.from !== undefined && !own;
    if (formerEtag(source) === '' && !keyFacts && !waits) return undefined;
    const explained = this.isExplained(found, source) && (!known || found.stat.ctimeNs === source.ctimeNs);
    const ctime = explained ? found.stat.ctimeNs : source.ctimeNs;
    // where a rename leaves the ctime as it is, the old path has been away since now
    const since = Number((ctime === source.ctimeNs ? this.core.clock.now() : ctime) / 1_000_000n);
    const unproven = explained && source.etag !== '' && ctime !== source.ctimeNs && { unproven: true as const };
    const line: MovedFile = {
      op: 'moved',
      seq: catalog.nextSeq(),
      path: [...place.dirs, place.name].join('/'),
      from: from ? [...from.dirs, from.name].join('/') : '',
      bytes: { ...catalog.bytesOf(source), fp: formatFingerprint(found.fp), ...unproven },
      ctime: String(ctime),
      ...(keyFacts && this.keyFactsOf(source, from, place, since)),
    };
    catalog.journal.append(line);
    const row = putDoubt(catalog, place, catalog.moveFile(line), !explained);
    catalog.noteSettled();
    return row;
  }

  private keyFactsOf(
    row: FileRow,
    from: TreePlace,
    to: TreePlace,
    since: number,
  ): Pick<MovedFile, 'facts' | 'published' | 'since'> {
    // it is not known yet where a lost folder is, and which keys are its own
    return from.dirs[0] === '' || !this.isGoneSince(from, since) ? { since } : saidUnder(row, from, to);
  }

  private isGoneSince(place: TreePlace, since: number): boolean {
    return this.core.clock.ageMs(since) >= this.core.quietMs && this.isEmpty(place);
  }

  private isEmpty(place: TreePlace): boolean {
    return lstatOf(`${this.core.pathOf(place.dirs)}/${place.name}`) === undefined;
  }

  /**
   * What clients said of a renamed file follows it, if its old path has stayed away; if somebody else is there now, it stays there.
   * @param atOnce without waiting for the moment: a client speaks of the new key already. Under the lock.
   * @returns the row if it has changed.
   */
  settleFile(place: TreePlace, row: FileRow, atOnce = false): FileRow | undefined {
    if (!row.from || row.appendFrom !== undefined) return undefined;
    const { catalog } = this.core;
    const from = placeAt(catalog, Buffer.from(row.from.key, 'base64'));
    const source = from && catalog.row(from);
    const own = row.facts !== undefined || row.published;
    const same = source && identityOf(source.fp).equals(identityOf(row.fp));
    if (!from || !same || own) return this.stay(place, row);
    const lost = from.dirs[0] === '' ? catalog.lost.get(Number(from.dirs[1])) : undefined;
    // its folder turns up, or what was said of the keys in it goes back to them
    if (lost && !atOnce) return undefined;
    if (!lost && (from.dirs[0] === '' || !this.isEmpty(from))) return this.stay(place, row);
    if (row.goneAt !== undefined) return undefined;
    if (!atOnce && this.core.clock.ageMs(row.from.since) < this.core.quietMs) return undefined;
    return followKey(catalog, { place, row }, { place: from, row: source });
  }

  /**
   * The same at once, before a client's request speaks of the file at its new key. @returns whether it has followed, or need not wait any more: then the
   * file is to be found again.
   */
  settleNow({ place, row }: Pick<Found, 'place' | 'row'>): boolean {
    const { catalog } = this.core;
    if (!row?.from || place.kind !== 'tree') return false;
    return catalog.record(() => {
      const now = catalog.row(place);
      return now !== undefined && this.settleFile(place, now, true) !== undefined;
    });
  }

  /** The same by the key of a row that is known to wait. @returns whether anything followed. Under the lock. */
  settleKey(key: Buffer): boolean {
    const { catalog } = this.core;
    const place = placeAt(catalog, key);
    const row = catalog.rowAt(key);
    if (!place || !row?.from) {
      catalog.index.remove('pending', key);
      return false;
    }
    const moved = this.settleFile(place, row);
    return moved !== undefined && (moved.facts !== undefined || moved.published);
  }

  /**
   * Keys of directories that were lost or away a moment ago, and that turned up nowhere: what was said of them stays with them. Under the lock.
   * @param max rows in one go. @returns whether there is more to do now.
   */
  settleLost(max: number): boolean {
    const { catalog, quietMs } = this.core;
    const isDue = ({ since }: { since: number }): boolean => Date.now() - since >= quietMs;
    // before the lost ones: the path that an away one had is the older one
    for (const away of catalog.away.some().filter(isDue)) if (!settleAway(this.core, away, max)) return true;
    for (const lost of catalog.lost.some().filter(isDue)) {
      if (!settleLost(this.core, lost, max)) return true;
      this.bringBack?.(lost.seq, lost.dirs);
    }
    return false;
  }

  private stay(place: TreePlace, { from: _from, ...row }: FileRow): FileRow {
    this.core.catalog.endWait(place);
    return row;
  }

  /** Before a place gets another file: if the one that its row speaks of has gone elsewhere, its hash is kept for there. Under the lock. */
  keepBytes(place: Place, there: Found | undefined): boolean {
    if (place.kind !== 'tree') return false;
    // while an append is under way its row is told as it was before
    const row = there?.place.kind === 'tree' && there.row?.appendFrom === undefined ? there.row : undefined;
    return this.core.catalog.keepBytes(place, there?.place.kind === 'tree' ? there.fp : undefined, row);
  }

  /**
   * Whether the ctime is that of the rename or link, which also changed the directory, and of nothing later.
   *
   * A write before the rename that nobody has seen, of the same size and with the mtime put back, leaves no trace that a system call tells: the
   * rename's ctime covers its own. So byte facts follow, but as `unproven`: whoever tells or compares the ETag of a small file reads it first, and so
   * does the background.
   */
  private isExplained({ stat, dir }: Found, source: FileRow): boolean {
    if (stat.ctimeNs === source.ctimeNs) return true;
    if (source.doubtful) return false;
    try {
      return stat.ctimeNs <= lstatSync(dir.at('.'), { bigint: true }).mtimeNs + TICK_NS;
    } catch (error) {
      if (isAbsent(error)) return false;
      throw error;
    }
  }
}
