/** Buckets: top-level folders (and aliases), each with one JSON file of settings under `.gos3rve/buckets/`. */
import {
  existsSync,
  readFileSync,
  readdirSync,
  rmdirSync,
  statSync,
  unlinkSync,
  opendirSync,
  type Stats,
} from 'node:fs';
import { join } from 'node:path';
import { S3Error, errno } from '../base/errors.js';
import { Seen, forgetSeen } from '../base/turn.js';
import { decodeName, isPossibleName } from '../fs/keypath.js';
import type { Dir } from '../fs/dirs.js';
import { makeStateDir, syncDirSync, writeFileAtomic } from '../fs/statefile.js';
import { lstatOf, statOf } from '../fs/stat.js';
import { setAsideBucket } from './carry.js';
import type { Bucket, BucketPage, BucketSettings, ListBucketsQuery } from './contract.js';
import { pairKey } from '../catalog/rows.js';
import { isAbsent, noSuchBucket, stateName, type Core } from './core.js';
import { deletionsOf, noteBucketDeleted } from './hold.js';
import type { Publisher } from './publish.js';
import type { EndedUploads, Uploads } from './uploads.js';

const NAMES_LIMIT = 10_000;

interface Cached {
  stamp: string;
  settings: BucketSettings;
}

/** What is worth telling at start. */
export interface Notes {
  /** Folders served under a name that S3 would not allow. */
  badNames: string[];
  /** The first few files at the top, in no bucket. */
  looseFiles: string[];
  looseCount: number;
  /** Links at the top, which are not served. */
  links: string[];
  /** Folders that cannot be reached by their own name, for an alias has it. */
  shadowed: string[];
}

/** S3's rule for new names, in short: 3-63 of a-z 0-9 . - */
const S3_NAME = /^(?!xn--)(?!.*\.\.)(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

type EndUploads = (bucket: string, holder: Dir) => void;

export class Buckets {
  private readonly cache = new Map<string, Cached>();
  private readonly seen = new Seen<Bucket>();
  /** Which folder had a bucket's name when it was asked for. */
  private readonly standing = new Map<string, string>();
  private readonly directory: string;

  constructor(
    private readonly core: Core,
    private readonly publisher: Publisher,
    private readonly uploads: Uploads,
  ) {
    this.directory = join(core.stateDir, 'buckets');
  }

  list(query: ListBucketsQuery): BucketPage {
    const max = query.max ?? Number.MAX_SAFE_INTEGER;
    const after = Buffer.from(query.after ?? '');
    const names = this.names()
      .filter(
        (name) =>
          name.startsWith(query.prefix ?? '') && (query.after === undefined || Buffer.from(name).compare(after) > 0),
      )
      .sort((a, b) => Buffer.from(a).compare(Buffer.from(b)));
    const buckets: Bucket[] = [];
    for (const name of names) {
      if (buckets.length === max) return { buckets, next: buckets.at(-1)?.name ?? '' };
      try {
        buckets.push(this.get(name));
      } catch (error) {
        if (!(error instanceof S3Error && error.code === 'NoSuchBucket')) throw error;
      }
    }
    return { buckets };
  }

  /** @throws NoSuchBucket. */
  get(name: string): Bucket {
    return this.seen.get(name, () => this.look(name));
  }

  private look(name: string): Bucket {
    const dirs = this.core.bucketDirs(name);
    const stat = statOf(this.pathOf(name));
    if (!stat || (dirs.length === 0 && !this.core.isAlias(name))) throw noSuchBucket(name);
    this.settle(name, dirs, stat);
    const settings = this.settings(name);
    return { name, created: settings.created ?? Math.floor(stat.birthtimeMs || stat.ctimeMs), settings };
  }

  async create(name: string, settings: BucketSettings): Promise<Bucket> {
    const { core } = this;
    core.checkWritable();
    if (core.isAlias(name)) throw new S3Error('BucketAlreadyExists');
    if (!isPossibleName(name) || core.excludedBucket(name))
      throw new S3Error('InvalidBucketName', undefined, { data: { BucketName: name } });
    this.clear(name);
    const created = Date.now();
    const ended = this.withUploads((end) => {
      // settings first: a crash leaves settings without a folder, which the next CreateBucket replaces - never a bucket of nobody
      const there = lstatOf(core.pathOf([name]));
      if (there) throw inTheWay(name, there);
      // of a folder that an alias names as well
      end(name, core.dirs.get(core.root));
      this.write(name, { ...settings, created });
      try {
        core.makeDir(core.dirs.get(core.root), name);
        this.note(name, true);
      } catch (error) {
        if (errno(error) === 'EEXIST')
          throw new S3Error('BucketAlreadyExists', undefined, { data: { BucketName: name } });
        throw error;
      }
    });
    if (core.durable) syncDirSync(core.root);
    await ended?.remove();
    return this.get(name);
  }

  /** Whether anything is left of a bucket whose folder has gone: it takes the index to tell what becomes of it. */
  isLeft(name: string): boolean {
    const { core } = this;
    if (existsSync(core.pathOf([name]))) return false;
    return existsSync(this.settingsPath(name)) || existsSync(core.overflowDir(name));
  }

  /** Before a bucket is made: one that another program has renamed takes along what is its own, and of one whose folder is gone nothing stays under the name. */
  private clear(name: string): void {
    const { core } = this;
    if (!core.catalog.index.ready) return;
    core.catalog.index.write(() => {
      if (lstatOf(core.pathOf([name]))) return;
      // it may have been the disk that went
      core.checkRoot();
      core.tracker.seekBucket(name);
      setAsideBucket(core, name);
    });
    this.forget(name);
  }

  /** Refuses while anything at all is in the folder, and names it (DESIGN rule 6). */
  async delete(name: string): Promise<void> {
    const { core } = this;
    core.checkWritable();
    if (core.isAlias(name))
      throw new S3Error('AccessDenied', `Bucket ${name} is set by --bucket and cannot be deleted by a client.`);
    if (core.isBucketFolder([name]))
      throw new S3Error('AccessDenied', `The folder of bucket ${name} is served under another name by --bucket too.`);
    let gone = false;
    const ended = this.withUploads((end) => {
      if (!gone) this.removeFolder(name, end);
      gone = true;
      noteBucketDeleted(core, name);
      core.catalog.dropDir([name]);
      this.publisher.recordDelete({ path: name }, [name]);
      this.remove(name);
    }, true);
    await core.flushed([core.root]);
    await ended?.remove();
  }

  /** Under the lock. @throws BucketNotEmpty. */
  private removeFolder(name: string, end: EndUploads): void {
    const { core } = this;
    const dir = core.bucketDir(name);
    const { path } = dir;
    const from = pairKey(name, '');
    const [overflow] = core.catalog.index.page('overflow', from, Buffer.concat([from, Buffer.from([0xff])]), 1);
    const first = firstEntry(path) ?? overflow?.key.toString('utf8', from.length);
    if (first !== undefined) throw notEmpty(name, first);
    core.catalog.journal.checkRoom(statSync(dir.at('.')).blocks > 0);
    // before the folder goes: killed in between, the bucket has lost its uploads, and not the uploads their bucket
    end(name, dir);
    try {
      rmdirSync(core.dirs.get(core.root).at(name));
    } catch (error) {
      if (errno(error) === 'ENOTEMPTY' || errno(error) === 'EEXIST')
        throw notEmpty(name, firstEntry(path) ?? 'something');
      throw error;
    }
  }

  /** A write in which uploads of a bucket may end. If it fails they go on. */
  private withUploads(act: (end: EndUploads) => void, removal = false): EndedUploads | undefined {
    const { catalog } = this.core;
    let ended: EndedUploads | undefined;
    try {
      const end: EndUploads = (bucket, holder) => void (ended = this.uploads.endAll(bucket, holder));
      if (removal) catalog.recordRemoval(() => act(end));
      else catalog.index.write(() => act(end));
    } catch (error) {
      ended?.restore();
      throw error;
    }
    return ended;
  }

  /** So that the folder is known again under another name. Inside a write. @param made just now. */
  private note(name: string, made = false): void {
    const { catalog, tracker } = this.core;
    const dirs = this.core.bucketDirs(name);
    if (dirs.length !== 1 || !catalog.index.ready) return;
    if (made) catalog.setMade(dirs, true);
    else catalog.ensureDir(dirs);
    tracker.settleDir(dirs);
    catalog.noteDirs(dirs);
  }

  update(name: string, change: (settings: BucketSettings) => BucketSettings): Bucket {
    this.core.checkWritable();
    return this.core.catalog.index.write(() => {
      const bucket = this.get(name);
      this.write(name, change(bucket.settings));
      this.note(name);
      return this.get(name);
    });
  }

  notes(): Notes {
    const notes: Notes = { badNames: [], looseFiles: [], looseCount: 0, links: [], shadowed: [] };
    for (const alias of this.core.aliasNames()) if (!S3_NAME.test(alias)) notes.badNames.push(alias);
    for (const { name, kind } of this.top()) {
      const dirs = this.core.bucketDirs(name);
      if (kind === 'bucket' && (dirs.length !== 1 || dirs[0] !== name)) notes.shadowed.push(name);
      else if (kind === 'bucket' && !S3_NAME.test(name)) notes.badNames.push(name);
      if (kind === 'link') notes.links.push(name);
      if (kind !== 'file') continue;
      notes.looseCount++;
      if (notes.looseFiles.length < 5) notes.looseFiles.push(name);
    }
    return notes;
  }

  /** Another folder than before has the name: whether it was renamed, and whose settings it brings along. */
  private settle(name: string, dirs: readonly string[], { dev, ino, birthtimeMs }: Stats): void {
    if (dirs.length !== 1 || !this.core.catalog.index.ready) return;
    // renames are counted by whichever process sees them: the folder may have been away, and its settings gone along
    const stands = `${dev}:${ino}:${birthtimeMs}:${deletionsOf(this.core, name)}`;
    if (this.standing.get(name) === stands) return;
    if (this.core.options.readOnly !== true) this.core.tracker.settleDirs(dirs);
    if (this.standing.size > NAMES_LIMIT) this.standing.clear();
    this.standing.set(name, stands);
  }

  private names(): string[] {
    const own = this.top().flatMap(({ name, kind }) => (kind === 'bucket' ? [name] : []));
    return [...new Set([...own, ...this.core.aliasNames()])];
  }

  private top(): { name: string; kind: 'bucket' | 'file' | 'link' }[] {
    const out: { name: string; kind: 'bucket' | 'file' | 'link' }[] = [];
    for (const entry of readdirSync(this.core.root, { withFileTypes: true, encoding: 'buffer' })) {
      const name = decodeName(entry.name);
      if (name === undefined || !isPossibleName(name)) continue;
      if (this.core.excludes.entry([name], 1, entry.isDirectory())) continue;
      if (entry.isDirectory()) out.push({ name, kind: 'bucket' });
      else if (entry.isFile()) out.push({ name, kind: 'file' });
      else if (entry.isSymbolicLink()) out.push({ name, kind: 'link' });
    }
    return out;
  }

  /** A folder that we may not read is a bucket all the same: it is listed, and what is asked of it is refused. */
  private pathOf(name: string): string {
    try {
      return this.core.bucketDir(name).path;
    } catch (error) {
      if (errno(error) !== 'EACCES') throw error;
      return this.core.pathOf(this.core.bucketDirs(name));
    }
  }

  /** Parsed once, and again when the file is another. */
  private settings(name: string): BucketSettings {
    const path = this.settingsPath(name);
    const stat = statSync(path, { throwIfNoEntry: false, bigint: true });
    if (!stat) {
      this.cache.delete(name);
      return {};
    }
    const stamp = `${stat.ino}:${stat.mtimeNs}:${stat.ctimeNs}:${stat.size}`;
    const cached = this.cache.get(name);
    if (cached?.stamp === stamp) return cached.settings;
    const settings = readSettings(path, name);
    this.cache.set(name, { stamp, settings });
    return settings;
  }

  private write(name: string, settings: BucketSettings): void {
    makeStateDir(this.directory, this.core.owner);
    writeFileAtomic(this.settingsPath(name), `${JSON.stringify(settings, null, 2)}\n`, this.core.owner);
    this.forget(name);
  }

  private remove(name: string): void {
    try {
      unlinkSync(this.settingsPath(name));
    } catch (error) {
      if (!isAbsent(error)) throw error;
    }
    this.forget(name);
  }

  private forget(name: string): void {
    this.cache.delete(name);
    forgetSeen();
  }

  private settingsPath(name: string): string {
    return join(this.directory, `${stateName(name)}.json`);
  }
}

function readSettings(path: string, name: string): BucketSettings {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as BucketSettings;
  } catch (error) {
    throw new S3Error('InternalError', `The settings of bucket ${name} cannot be read; mend ${path}.`, {
      cause: error,
    });
  }
}

function firstEntry(path: string): string | undefined {
  const directory = opendirSync(path);
  try {
    return directory.readSync()?.name;
  } finally {
    directory.closeSync();
  }
}

/** @param there what has the name. */
function inTheWay(bucket: string, there: Pick<Stats, 'isFile' | 'isDirectory'>): S3Error {
  const what = there.isFile() ? 'a file' : there.isDirectory() ? undefined : 'something that is no folder';
  const message =
    what &&
    `The name is taken: ${what} called ${bucket} lies at the top of what is served. Rename it, or choose another name.`;
  return new S3Error('BucketAlreadyExists', message, { data: { BucketName: bucket } });
}

function notEmpty(bucket: string, entry: string): S3Error {
  return new S3Error('BucketNotEmpty', `The bucket you tried to delete is not empty: it holds ${entry}`, {
    data: { BucketName: bucket },
  });
}
