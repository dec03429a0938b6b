/**
 * What all parts of the local store share: options, paths, catalog, directory handles; and the way from (bucket, key) to a file.
 */
import { lstatSync, readdirSync, statSync, type BigIntStats, type Stats } from 'node:fs';
import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';
import { S3Error, errno } from '../base/errors.js';
import { parseAliases } from './aliases.js';
import { Excludes, READING } from './excludes.js';
import type { Catalog, Place } from '../catalog/catalog.js';
import { identityOf } from '../catalog/identities.js';
import type { Append } from '../catalog/lines.js';
import type { DirRow, FileRow } from '../catalog/rows.js';
import { withoutAccess } from '../catalog/rows.js';
import { FileClock } from '../fs/clock.js';
import { Dirs, type Dir } from '../fs/dirs.js';
import { derivedEtag, fingerprint, parseFingerprint } from '../fs/fingerprint.js';
import { STATE_DIR, keyToPath } from '../fs/keypath.js';
import { Mounts } from '../fs/mounts.js';
import { ExactNames, foldsNames } from '../fs/names.js';
import type { Presence } from '../fs/presence.js';
import { realPathOf, textOf } from '../fs/real-path.js';
import { isAbsent, lstatOf } from '../fs/stat.js';
import { makeStateDir, ownershipOf, type Ownership } from '../fs/statefile.js';
import { processToken } from '../base/process.js';
import { Seen } from '../base/turn.js';
import { Tracker } from './identity.js';
import { Likeness, makeDirLike, makeNewDir, removeEmpty } from './likeness.js';
import { Room } from './room.js';
import { whereRoom } from './where-room.js';

/** ms after which whoever has made a directory has flushed its name, or died, and the system has written it by itself. */
const NAMED_MS = 60_000;

export interface StoreOptions {
  /** Where state lies; default `<root>/.gos3rve`. Staging and overflow always lie on the root's mount, for they hold bodies. */
  stateDir?: string;
  readOnly?: boolean;
  /** Bucket name -> path below the root ('' or '.': the root itself). */
  aliases?: Record<string, string>;
  /** Globs of names or paths that are not served unless a client put them (excludes.ts). */
  exclude?: string[];
  /** Which links inside their bucket are followed; default `files`. */
  symlinks?: 'files' | 'all' | 'none';
  /** For new files and directories; default the process's. */
  umask?: number;
  /** Bytes that uploads must leave free. */
  minFree?: number;
  /** Bytes; default 5 MiB. */
  minPartSize?: number;
  durability?: 'flush' | 'fast';
  /**
   * When files that gos3rve did not write are read for their MD5: `lazy` (unless told) small ones when they are asked for, large ones
   * in the background then; `eager` all of them, by whoever runs the background; `off` never: they keep an ETag derived from their stamps.
   */
  hash?: 'eager' | 'lazy' | 'off';
  /** ms that an ETag told before a file was hashed stays its ETag after the last request; default 15 minutes. */
  etagGraceMs?: number;
  /** ms that a file must have been left alone before a change or a rename by another program counts; default 2 s. */
  quietMs?: number;
  /**
   * ms. `open`: how long opening waits while the index is made anew; the store then serves meanwhile (default: as long as it takes). `read`, `write`:
   * how long a request then waits.
   */
  patience?: { open?: number; read?: number; write?: number };
  log?: (level: 'info' | 'warn' | 'error', message: string, data?: Record<string, unknown>) => void;
}

/** S3's limit; a file whose path is longer cannot be asked for. */
export const MAX_KEY_BYTES = 1024;

type TreePlace = Extract<Place, { kind: 'tree' }>;
export type Marker = Omit<NonNullable<DirRow['marker']>, 'home'>;

/** A file that was found at a key, as stat told just now. */
export interface Found {
  place: Place;
  stat: BigIntStats;
  fp: Buffer;
  row: FileRow | undefined;
  /** Verified directory and name: where to open, rename, unlink. */
  dir: Dir;
  name: string;
  /** The name is a link that is followed: what is opened must lie in this directory, the bucket's. */
  link?: string;
}

/** Where a write to a key goes. */
export interface Target {
  place: Place;
  /** Deepest directory that exists, verified. */
  base: Dir;
  /** Directories still to be made below it. */
  missing: string[];
  /** Path of the directory that will hold the file. */
  dirPath: string;
  name: string;
  /** What is at the place in the tree, a file or a link. */
  there?: BigIntStats;
}

/** What tells a bucket from another one of its name. */
export interface WhichBucket {
  identity: string;
  deletions: number;
}

export class Core {
  readonly dirs = new Dirs();
  readonly mounts: Mounts;
  readonly clock: FileClock;
  readonly durable: boolean;
  readonly symlinks: 'files' | 'all' | 'none';
  readonly minPartSize: number;
  readonly hash: 'eager' | 'lazy' | 'off';
  readonly etagGraceMs: number;
  readonly quietMs: number;
  readonly log: NonNullable<StoreOptions['log']>;
  readonly owner: Ownership | undefined;
  /** `<root>/.gos3rve`: bodies. */
  readonly dataDir: string;
  readonly token = processToken();
  /** Only where the file system folds names. */
  private readonly exact: ExactNames | undefined;
  /** Whether several names may reach one file. */
  get folds(): boolean {
    return this.exact !== undefined;
  }
  /** Names the settings that decide which names a directory shows. */
  readonly view: bigint;
  /** What is not served unless a client put it. */
  readonly excludes: Excludes;
  private readonly aliases: Map<string, string[]>;
  readonly tracker: Tracker;
  readonly room: Room;
  /** Which bucket has a name, as it was seen in this turn. */
  readonly bucketsSeen = new Seen<WhichBucket>();
  private readonly stagingSeen = new Seen<Stats>();
  readonly likeness = new Likeness();
  /** Ends an append to a file - at this path, if that is known - if its process is at it no more. @returns whether that was done. */
  settleAppend: ((line: Append, path?: string) => boolean) | undefined;

  constructor(
    /** Real path. */
    readonly root: string,
    readonly stateDir: string,
    readonly catalog: Catalog,
    readonly options: StoreOptions,
    readonly presence: Presence,
  ) {
    this.mounts = new Mounts(root, statSync(root, { bigint: true }).dev);
    this.owner = ownershipOf(root);
    this.dataDir = join(root, STATE_DIR);
    this.clock = new FileClock(options.readOnly ? undefined : this.dataDir, this.owner);
    this.exact = foldsNames(root) ? new ExactNames() : undefined;
    this.durable = options.durability !== 'fast';
    this.symlinks = options.symlinks ?? 'files';
    this.minPartSize = options.minPartSize ?? 5 * 1024 * 1024;
    this.hash = options.hash ?? 'lazy';
    this.etagGraceMs = options.etagGraceMs ?? 15 * 60_000;
    this.quietMs = options.quietMs ?? 2000;
    this.log = options.log ?? (() => undefined);
    this.excludes = new Excludes(options.exclude ?? []);
    this.view = viewOf([this.symlinks, READING, ...(options.exclude ?? [])]);
    this.aliases = parseAliases(root, options.aliases ?? {});
    this.tracker = new Tracker(this);
    this.room = new Room(options.minFree);
    presence.listen({
      away: () => {
        this.log('error', 'the directory that is served has vanished; nothing is answered until its disk is back', {
          root,
        });
        this.letGo();
      },
      back: () => this.mounts.rebase(statSync(root, { bigint: true }).dev),
    });
  }

  /** @throws ServiceUnavailable if the root is no longer the directory that was opened: an empty mount point must not look like a mass deletion. */
  checkRoot(): void {
    this.presence.check();
  }

  /** @throws AccessDenied on a read-only store. */
  checkWritable(): void {
    if (this.options.readOnly) throw new S3Error('AccessDenied', 'This server is read-only.');
  }

  aliasNames(): string[] {
    return [...this.aliases.keys()];
  }

  /** Segments of a bucket's directory below the root. @throws NoSuchBucket for names that can be no folder. */
  bucketDirs(bucket: string): string[] {
    const alias = this.aliases.get(bucket);
    if (alias) return alias;
    if (bucket.includes('/') || keyToPath(bucket) === undefined || this.excludedBucket(bucket))
      throw noSuchBucket(bucket);
    return [bucket];
  }

  /** A bucket that shows a folder (path below the root, `.` for the root itself); undefined if none does any more. */
  bucketNamed(folder: string): string | undefined {
    for (const name of this.aliases.keys()) if (this.overflowFolder(name) === folder) return name;
    return folder === '.' || folder.includes('/') || this.aliases.has(folder) ? undefined : folder;
  }

  /** Whether every file below a directory has a longer key than S3 knows (1,024 bytes), whatever bucket shows it. */
  isBeyondKeys(dirs: readonly string[]): boolean {
    const roots = [...this.aliases.values()].filter((root) => root.every((name, i) => name === dirs[i]));
    const shown = dirs.slice(Math.max(1, ...roots.map(({ length }) => length)));
    return Buffer.byteLength(shown.join('/')) >= MAX_KEY_BYTES;
  }

  isAlias(bucket: string): boolean {
    return this.aliases.has(bucket);
  }

  /** Whether an alias shows just this folder: it stays, empty or not, or the next start would be refused. */
  isBucketFolder(dirs: readonly string[]): boolean {
    for (const folder of this.aliases.values())
      if (folder.length === dirs.length && folder.every((name, i) => name === dirs[i])) return true;
    return false;
  }

  pathOf(dirs: readonly string[]): string {
    return dirs.length === 0 ? this.root : `${this.root}/${dirs.join('/')}`;
  }

  /** Whether a name alone is enough to be left out, wherever it is. */
  excluded(name: string): boolean {
    return this.excludes.name(name);
  }

  /** The first directory on the way that is left out, below the folder of a bucket: only what clients put is shown there. */
  excludedOn(bucketDirs: readonly string[], dirs: readonly string[]): string | undefined {
    return dirs.find((_name, i) =>
      this.excludes.entry([...bucketDirs, ...dirs.slice(0, i + 1)], bucketDirs.length, true),
    );
  }

  /** Whether a place of the tree is left out, as the bucket of its top-level folder shows it. */
  excludedPlace(dirs: readonly string[], name: string): boolean {
    return dirs.slice(0, 1).some((top) => this.excludedBucket(top)) || this.excludes.object([...dirs, name], 1);
  }

  /** Whether a folder at the top is no bucket. */
  excludedBucket(name: string): boolean {
    return this.excludes.entry([name], 1, true);
  }

  /** The verified directory of a bucket. @throws NoSuchBucket. */
  bucketDir(bucket: string): Dir {
    try {
      const dirs = this.bucketDirs(bucket);
      if (!this.isExact(this.root, dirs)) throw noSuchBucket(bucket);
      return this.dirs.get(this.pathOf(dirs));
    } catch (error) {
      const code = errno(error);
      if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') throw noSuchBucket(bucket);
      throw error;
    }
  }

  /** The file at a key: the real one, else an overflow object. Synchronous, so it can be asked again under the lock. */
  find(bucket: string, key: string): Found | undefined {
    return this.findInTree(bucket, key) ?? this.findOverflow(bucket, key);
  }

  /** The same where a put would go: what {@link target} has just seen there is not looked at again. */
  findAt(bucket: string, key: string, { place, base, name, there }: Target): Found | undefined {
    if (place.kind !== 'tree') return this.find(bucket, key);
    const bucketDirs = this.bucketDirs(bucket);
    const found = there && this.statFile(base, name, this.pathOf(bucketDirs), place, undefined, there);
    return (found && this.shown(bucketDirs, place, found)) ?? this.findOverflow(bucket, key);
  }

  findInTree(bucket: string, key: string): Found | undefined {
    const path = keyToPath(key);
    if (!path || path.name === '') return undefined;
    const bucketDirs = this.bucketDirs(bucket);
    const dirs = [...bucketDirs, ...path.dirs];
    const dir = this.existingDir(bucketDirs, path.dirs);
    if (!dir) return undefined;
    const place: TreePlace = { kind: 'tree', dirs, name: path.name };
    const found = this.statFile(dir, path.name, this.pathOf(bucketDirs), place);
    return found && this.shown(bucketDirs, place, found);
  }

  /** A file, unless it is one of those that are not served. */
  private shown(bucketDirs: readonly string[], place: TreePlace, found: Found): Found | undefined {
    return found.row?.published === true || !this.hides(bucketDirs, place) ? found : undefined;
  }

  /** Whether an object of a bucket is shown at this place only if a client put it. */
  hides(bucketDirs: readonly string[], { dirs, name }: TreePlace): boolean {
    return this.excludes.object([...dirs, name], bucketDirs.length);
  }

  /** The file at a place of the tree, whatever bucket shows it; links only inside the top-level folder. */
  findPlace(dirs: readonly string[], name: string): Found | undefined {
    const top = dirs.slice(0, 1);
    const dir = this.existingDir(top, dirs.slice(1));
    return dir && this.statFile(dir, name, this.pathOf(top), { kind: 'tree', dirs, name });
  }

  findOverflow(bucket: string, key: string): Found | undefined {
    return this.findOverflowIn(this.overflowFolder(bucket), key);
  }

  /** @param folder of the bucket, below the root. */
  findOverflowIn(folder: string, key: string): Found | undefined {
    const place: Place = { kind: 'overflow', bucket: folder, key };
    const row = this.catalog.row(place);
    if (row?.file === undefined) return undefined;
    try {
      const dir = this.dirs.get(this.overflowDir(folder));
      const stat = lstatSync(dir.at(row.file), { bigint: true });
      if (!stat.isFile()) return undefined;
      return { place, stat, fp: fingerprint(stat, 0), row, dir, name: row.file };
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  /** What a client put as `dir/`, if the directory is there. */
  findMarker(bucket: string, key: string): Marker | undefined {
    if (!key.endsWith('/')) return undefined;
    const path = keyToPath(key);
    if (path?.name !== '') return undefined;
    const bucketDirs = this.bucketDirs(bucket);
    const dirs = [...bucketDirs, ...path.dirs];
    let row = this.catalog.findDir(dirs);
    if (!row?.marker || row.identity) {
      whereRoom(() => this.tracker.settleDirs(dirs));
      row = this.catalog.findDir(dirs);
    }
    if (!row?.marker || !this.existingDir(bucketDirs, path.dirs)) return undefined;
    return markerUnder(row.marker, dirs);
  }

  /** Whether each segment is the name that readdir gives, as far as the path exists. */
  private isExact(from: string, segments: readonly string[]): boolean {
    if (!this.exact) return true;
    let path = from;
    for (const name of segments) {
      if (!lstatOf(`${path}/${name}`)) return true;
      if (!this.exact.has(path, name)) return false;
      path = `${path}/${name}`;
    }
    return true;
  }

  /**
   * lstat of a name in a verified directory; links are followed only to a regular file inside the bucket.
   * @param seen what lstat said just now, if it was asked.
   */
  statFile(
    dir: Dir,
    name: string,
    bucketPath: string,
    place: Place,
    row: () => FileRow | undefined = () => this.catalog.row(place),
    seen?: BigIntStats,
  ): Found | undefined {
    let stat: BigIntStats;
    let link: string | undefined;
    try {
      stat = seen ?? lstatSync(dir.at(name), { bigint: true });
      if (stat.isSymbolicLink()) {
        if (this.symlinks === 'none') return undefined;
        const real = realPathOf(`${dir.path}/${name}`);
        if (!isInside(real, bucketPath)) return undefined;
        stat = lstatSync(real, { bigint: true });
        link = bucketPath;
      }
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
    if (!stat.isFile() || this.exact?.has(dir.path, name) === false) return undefined;
    const found: Found = {
      place,
      stat,
      fp: fingerprint(stat, this.mounts.idOf(stat.dev, dir.path)),
      row: row(),
      dir,
      name,
      ...(link !== undefined && { link }),
    };
    const append = this.appendTo(found);
    if (!append) return found;
    const settled = link === undefined && this.settleAppend?.(append, `${dir.path}/${name}`) === true;
    return settled ? this.statFile(dir, name, bucketPath, place) : asBefore(found, append);
  }

  /** What is being appended to a file, under whatever name that began. */
  private appendTo({ stat, fp, row }: Found): Append | undefined {
    if (row?.appendFrom === undefined && row?.fp.equals(fp) === true) return undefined;
    const append = this.catalog.appends.find(identityOf(fp));
    return append && stat.size >= BigInt(append.size) ? append : undefined;
  }

  /**
   * The same for several rows of directory `dirs`, which is looked for before and after only: so their paths can be short, which takes a third of the
   * time.
   * @param known what is known of a file with these stamps already, if anything. @returns undefined for what wants a closer look, or all of it.
   */
  statFiles<R extends { text: string; value: Buffer }, T>(
    path: string,
    dirs: readonly string[],
    rows: readonly R[],
    known: (row: R, stat: BigIntStats) => T | undefined,
  ): (Found | T | undefined)[] {
    const dir = this.exact ? undefined : this.openDir(path);
    if (!dir) return [];
    const all = rows.map((row): Found | T | undefined => {
      const { text: name, value } = row;
      const stat = plainFile(`${path}/${name}`);
      if (!stat) return undefined;
      const same = known(row, stat);
      if (same) return same;
      const place: Place = { kind: 'tree', dirs, name };
      const fp = fingerprint(stat, this.mounts.idOf(stat.dev, path));
      const found: Found = { place, stat, fp, row: this.catalog.rowOf(value, place), dir, name };
      return this.appendTo(found) ? undefined : found;
    });
    return this.dirs.stands(dir) ? all : [];
  }

  /** @returns undefined for a directory that has just gone. */
  openDir(path: string): Dir | undefined {
    try {
      return this.dirs.get(path);
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  /** Resolves directories below a bucket; directory links only in mode `all`, inside the bucket, and never upwards (loops). */
  existingDir(bucketDirs: readonly string[], below: readonly string[]): Dir | undefined {
    if (!this.isExact(this.root, [...bucketDirs, ...below])) return undefined;
    try {
      return this.dirs.get(this.pathOf([...bucketDirs, ...below]));
    } catch (error) {
      if (!isAbsent(error)) throw error;
      if (this.symlinks !== 'all' || errno(error) === 'ENOENT') return undefined;
    }
    return this.resolveLinks(this.pathOf(bucketDirs), below);
  }

  /** @returns the directory, or undefined if it does not exist or a link on the way may not be followed. */
  private resolveLinks(bucketPath: string, below: readonly string[]): Dir | undefined {
    let current = bucketPath;
    try {
      for (const name of below) {
        const next = `${this.dirs.get(current).path}/${name}`;
        current = lstatSync(next).isSymbolicLink() ? this.followDirLink(next, current, bucketPath) : next;
        if (current === '') return undefined;
      }
      return this.dirs.get(current);
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  /** Real path behind a directory link, or '' if it leaves the bucket or leads to a directory that holds the link itself, or whose name is no UTF-8. */
  followDirLink(link: string, holder: string, bucketPath: string): string {
    const real = textOf(realPathOf(link));
    if (real === undefined || !isInside(real, bucketPath)) return '';
    return holder === real || holder.startsWith(`${real}/`) ? '' : real;
  }

  /** Whether a link is followed as a directory now. A put must not replace it: what lies behind it are objects, as those in a directory are. */
  private isDirLink(link: string, holder: string, bucketPath: string): boolean {
    if (this.symlinks !== 'all') return false;
    try {
      const real = this.followDirLink(link, holder, bucketPath);
      return real !== '' && statSync(real).isDirectory();
    } catch (error) {
      if (isAbsent(error) || errno(error) === 'EACCES') return false;
      throw error;
    }
  }

  /** Where a put of this key goes, now. The tree if it can, else overflow (DESIGN rule 5). @throws NoSuchBucket. */
  target(bucket: string, key: string): Target {
    const bucketDir = this.bucketDir(bucket);
    const path = keyToPath(key);
    if (path && path.name !== '') {
      const inTree = this.treeTarget(bucket, bucketDir, path.dirs, path.name);
      if (inTree) return inTree;
    }
    return this.overflowTarget(bucket, key);
  }

  /** undefined if something is in the way. */
  private treeTarget(bucket: string, bucketDir: Dir, below: readonly string[], name: string): Target | undefined {
    const reached = this.reach(bucketDir, below);
    if (!reached) return undefined;
    const { base, missing } = reached;
    const dirPath = missing.length === 0 ? base.path : `${base.path}/${missing.join('/')}`;
    if (Buffer.byteLength(dirPath) + Buffer.byteLength(name) + 2 > 4095) return undefined;
    const there = missing.length === 0 ? lstatOf(base.at(name)) : undefined;
    if (there) {
      if (!there.isFile() && !there.isSymbolicLink()) return undefined;
      if (there.isSymbolicLink() && this.isDirLink(`${base.path}/${name}`, base.path, bucketDir.path)) return undefined;
      if (this.exact?.has(base.path, name) === false) return undefined;
    }
    return {
      place: { kind: 'tree', dirs: [...this.bucketDirs(bucket), ...below], name },
      base,
      missing,
      dirPath,
      name,
      ...(there && { there }),
    };
  }

  /** Goes down as far as directories exist. @returns undefined if a component is no directory. */
  reach(bucketDir: Dir, below: readonly string[]): { base: Dir; missing: string[] } | undefined {
    if (!this.isExact(bucketDir.path, below)) return undefined;
    try {
      return {
        base: this.dirs.get(below.length === 0 ? bucketDir.path : `${bucketDir.path}/${below.join('/')}`),
        missing: [],
      };
    } catch (error) {
      if (!isAbsent(error)) throw error;
    }
    let current = bucketDir.path;
    for (const [i, name] of below.entries()) {
      const next = `${current}/${name}`;
      const there = lstatOf(this.dirs.get(current).at(name));
      if (!there) return { base: this.dirs.get(current), missing: below.slice(i) };
      if (there.isSymbolicLink() && this.symlinks === 'all') {
        current = this.followDirLink(next, current, bucketDir.path);
        if (current === '' || !statSync(current).isDirectory()) return undefined;
      } else if (there.isDirectory()) current = next;
      else return undefined;
    }
    return { base: this.dirs.get(current), missing: [] };
  }

  private overflowTarget(bucket: string, key: string): Target {
    const folder = this.overflowFolder(bucket);
    const path = this.overflowDir(folder);
    let base: Dir;
    try {
      base = this.dirs.get(path);
    } catch (error) {
      if (!isAbsent(error)) throw error;
      makeStateDir(path, this.owner);
      base = this.dirs.get(path);
    }
    return { place: { kind: 'overflow', bucket: folder, key }, base, missing: [], dirPath: path, name: '' };
  }

  /** Whose overflow objects a bucket has: those of its folder, by the path below the root, so that all aliases of one folder share them. */
  overflowFolder(bucket: string): string {
    return this.bucketDirs(bucket).join('/') || '.';
  }

  /** Where overflow objects of a folder lie; the name is escaped so that any fits. */
  overflowDir(folder: string): string {
    return join(this.dataDir, 'overflow', stateName(folder));
  }

  /** Whether there are files of overflow objects; which keys they belong to only the index tells. */
  hasOverflow(bucket: string): boolean {
    try {
      return readdirSync(this.overflowDir(this.overflowFolder(bucket))).length > 0;
    } catch (error) {
      if (isAbsent(error)) return false;
      throw error;
    }
  }

  /**
   * Makes the missing directories of a target, then does `work` in the last. Only under the lock. If anything fails they are gone again.
   * @param work is given all paths in which an entry was made.
   */
  inMissing<T>(target: Target, work: (dir: Dir, made: string[]) => T): T {
    const made: string[] = [];
    const fresh: string[] = [];
    let dir = target.base;
    try {
      for (const name of target.missing) {
        try {
          this.makeDir(dir, name);
          made.push(dir.path);
          fresh.push(`${dir.path}/${name}`);
        } catch (error) {
          if (errno(error) !== 'EEXIST') throw error;
        }
        dir = this.dirs.get(`${dir.path}/${name}`);
      }
      return work(dir, made);
    } catch (error) {
      for (const path of fresh.reverse()) removeEmpty(path);
      throw error;
    }
  }

  /** Staging folder on the mount of a directory. */
  stagingFor(dir: Dir): string {
    return this.stagingAt(dir).path;
  }

  /** The same, with what stat said of it in this turn. */
  stagingAt(dir: Dir): { path: string; stat: Stats } {
    const path = this.mounts.stagingFor(dir.born.dev, dir.path);
    return { path, stat: this.stagingSeen.get(path, () => makeStateDir(path, this.owner)) };
  }

  /** Mode of new files: the process's umask applies unless --umask was given. */
  fileMode(): { mode: number; exactMode?: number } {
    const { umask } = this.options;
    return umask === undefined ? { mode: 0o666 } : { mode: 0o666, exactMode: 0o666 & ~umask };
  }

  /** Makes one directory with the mode of new ones, or of the one that is moved there. @throws EEXIST. */
  makeDir(parent: Dir, name: string): void {
    const like = this.likeness.of(`${parent.path}/${name}`);
    if (like) makeDirLike(parent, name, like);
    else makeNewDir(parent, name, this.options.umask);
  }

  /** Flushes directories, in parallel, unless durability is `fast`. */
  async syncDirs(paths: Iterable<string>): Promise<void> {
    if (!this.durable) return;
    const ended = await Promise.allSettled([...this.withAbove(paths)].map((path) => this.dirs.syncPath(path)));
    for (const one of ended) if (one.status === 'rejected') throw one.reason;
  }

  /**
   * With the folder of each that was made a moment ago, and so on up to the root: whoever made it, in whatever process, may not have flushed its name yet, and
   * a power cut would take with it what is in it by now.
   */
  private withAbove(paths: Iterable<string>): Set<string> {
    const all = new Set<string>();
    for (const one of paths) {
      for (let path = one; !all.has(path); path = dirname(path)) {
        all.add(path);
        if (!path.startsWith(`${this.root}/`) || !this.isNew(path)) break;
      }
    }
    return all;
  }

  private isNew(path: string): boolean {
    try {
      const { born } = this.dirs.get(path);
      // one above that may be passed, but not read, cannot be flushed by us
      return this.clock.ageMs(Number(born.birthtimeMs)) < NAMED_MS && this.openDir(dirname(path)) !== undefined;
    } catch {
      return false;
    }
  }

  /** Flushes what was appended to the journal, to its segment or to these, and directories; unless durability is `fast`. */
  async flushed(dirs: Iterable<string>, segments: Iterable<string> = [this.catalog.journal.segment]): Promise<void> {
    if (!this.durable) return;
    await Promise.all([...segments].map((segment) => this.catalog.journal.flush(segment)));
    await this.syncDirs(dirs);
  }

  close(): void {
    this.letGo();
  }

  /** Closes what is open below the root; it is opened again when it is needed. */
  private letGo(): void {
    this.dirs.close();
    this.clock.close();
  }
}

/** A regular file, not behind a link. */
function plainFile(path: string): BigIntStats | undefined {
  try {
    const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    return stat?.isFile() ? stat : undefined;
  } catch {
    // asked again, one by one
    return undefined;
  }
}

/** A file that is being appended to: the object is what was there before, also where another program has renamed it meanwhile. */
function asBefore(found: Found, { id, fp, ctime, size, etag }: Append): Found {
  const { row } = found;
  if (row?.appendFrom !== undefined && identityOf(row.fp).equals(identityOf(found.fp))) return found;
  const before = parseFingerprint(fp);
  const growing = { appendFrom: size, appendId: id };
  // of an index that was made anew meanwhile
  if (row && row.etag === etag && row.fp.equals(before)) return { ...found, row: { ...row, ...growing } };
  const old: FileRow = {
    kind: 'file',
    fp: before,
    ctimeNs: BigInt(ctime),
    seq: row?.seq ?? 0,
    etag: etag ?? derivedEtag(before, BigInt(ctime)),
    published: row?.published ?? false,
    ...(row?.facts && { facts: row.facts }),
    ...growing,
  };
  return { ...found, row: old };
}

export function noSuchBucket(bucket: string): S3Error {
  return new S3Error('NoSuchBucket', undefined, { data: { BucketName: bucket } });
}

export function noSuchKey(key: string): S3Error {
  return new S3Error('NoSuchKey', undefined, { data: { Key: key } });
}

export { isAbsent, lstatOf };

/** File name for any folder: percent-encoded, never hidden, never too long, and no two folders have the same. */
export function stateName(folder: string): string {
  const name = encodeURIComponent(folder).replace(/^\./, '%2E').replaceAll('*', '%2A');
  if (name.length <= LONGEST_STATE_NAME) return name;
  // no encoded name holds a `=`
  return `${name.slice(0, 120)}=${createHash('sha256').update(folder).digest('hex')}`;
}
const LONGEST_STATE_NAME = 200;

/** Strictly below `folder`, and through no `.gos3rve`. @param found in bytes where it may be no UTF-8. */
export function isInside(found: string | Buffer, below: string): boolean {
  if (typeof found !== 'string') return isInside(found.toString('latin1'), Buffer.from(below).toString('latin1'));
  const [path, folder] = [found, below];
  if (path !== folder && !path.startsWith(`${folder}/`)) return false;
  return !path
    .slice(folder.length)
    .split('/')
    .some((name) => name.toLowerCase() === STATE_DIR);
}

function viewOf(settings: readonly string[]): bigint {
  return createHash('md5').update(JSON.stringify(settings)).digest().readBigUInt64BE(0);
}

/** A marker as it is told under a top-level folder: an ACL never crosses buckets. */
export function markerUnder(marker: NonNullable<DirRow['marker']>, dirs: readonly string[]): Marker {
  const { home, ...rest } = marker;
  return home === undefined || home === dirs[0] ? rest : { ...rest, facts: withoutAccess(rest.facts) };
}
