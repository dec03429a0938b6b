/**
 * A prefix that is a directory moves by one rename(2) and one changed row, however much lies below (DESIGN, "The index").
 *
 *   `moving` line with the directory's identity, flushed -> under the lock: both places looked at again, rename, row, overflow objects,
 *   `moved` line -> fsync of both parents -> answer
 *
 * Killed in between, whoever comes upon the directory at its new path knows it by that identity (settle.ts).
 */
import { renameSync, statSync, type BigIntStats } from 'node:fs';
import { forgetSeen } from '../base/turn.js';
import { S3Error, errno } from '../base/errors.js';
import { randomHex } from '../base/random.js';
import { identityOf } from '../catalog/identities.js';
import type { MovedKeys, Via } from '../catalog/lines.js';
import { applyMoved, dirsOf, overflowBelow, type MovedDir, type Moving } from '../catalog/moved.js';
import { dirStamp } from '../catalog/rows.js';
import type { Dir } from '../fs/dirs.js';
import { fingerprint } from '../fs/fingerprint.js';
import { keyToPath } from '../fs/keypath.js';
import { mountsBelow } from '../fs/mount-table.js';
import { isEmptyDir, lstatOf } from '../fs/stat.js';
import { viaOf } from './attribution.js';
import type { ChangeOptions, ObjectRef } from './contract.js';
import type { Core, Target } from './core.js';
import type { Objects } from './objects.js';
import { leaveMissing, missingBelow, type Below } from './left.js';
import { Retry, destinationOf, retried } from './publish.js';
import { moveOverflowFiles } from './settle.js';

/**
 * `taken`: something is at the target. `apart`: it is on another mount. `none`: the prefix is no directory that could be renamed, or cannot be one
 * at the target: what it holds has to be moved one by one. `blocked`: so it has, to keys that are no paths, for a file stands where the directory, or
 * one above it, would be.
 */
export type DirOutcome = 'moved' | 'taken' | 'apart' | 'none' | 'blocked';

/** Keys of files that are gone, as many as are remembered; more are looked for under the lock. */
const MISSING_LIMIT = 10_000;

interface DirMoveOptions extends ChangeOptions {
  /** Only tell. */
  dryRun?: boolean;
}

interface Source {
  /** Segments below the root. */
  dirs: string[];
  parent: Dir;
  name: string;
  stat: BigIntStats;
  identity: string;
  mount: number;
}

export class DirMover {
  constructor(
    private readonly core: Core,
    private readonly objects: Objects,
  ) {}

  /**
   * @param from bucket and prefix, which ends in `/`; so does that of `to`.
   * @throws InvalidRequest if a mount is in the way.
   */
  async move(from: ObjectRef, to: ObjectRef, { dryRun = false, via }: DirMoveOptions = {}): Promise<DirOutcome> {
    return retried(() => this.attempt(from, to, dryRun, viaOf(via, 'ObjectCreated:Copy')));
  }

  private async attempt(from: ObjectRef, to: ObjectRef, dryRun: boolean, via: Via): Promise<DirOutcome> {
    const { core } = this;
    const { catalog } = core;
    const source = this.source(from);
    const target = source && this.target(to);
    if (!source || !target) return 'none';
    if (target === 'blocked') return target;
    this.checkMovable(source);
    if (this.mountOf(target) !== source.mount) return 'apart';
    if (this.isTaken(target, to)) return 'taken';
    if (dryRun) return 'moved';
    if (target.place.kind === 'tree') core.tracker.claim(target.place.dirs);
    const missing = await missingBelow(core, source.dirs, MISSING_LIMIT);
    const line: Moving = {
      op: 'moving',
      id: `${core.token}-${randomHex(6)}`,
      identity: source.identity,
      path: `${pathOf(target)}/`,
      from: `${source.dirs.join('/')}/`,
      ...destinationOf(core, target),
      ...this.overflow(from, to, randomHex(6)),
      via,
    };
    const ticket = catalog.journal.prepare(line);
    const done = { renamed: false };
    try {
      if (core.durable) await catalog.journal.flush(ticket.segment);
      const dirtied = catalog.record(() => {
        const paths = this.rename(from, to, line, target, missing, done);
        catalog.journal.settle(ticket);
        catalog.noteSettled();
        return paths;
      });
      await core.flushed(dirtied);
      return 'moved';
    } catch (error) {
      const code = done.renamed ? undefined : errno(error);
      if (code === 'EXDEV') core.mounts.refresh();
      if (code === 'EXDEV') return 'apart';
      if (code === 'ENOTEMPTY' || code === 'EEXIST') return 'taken';
      throw error;
    } finally {
      // else whoever comes upon the directory ends it
      if (!done.renamed) this.objects.publisher.abandon(line.id, ticket);
    }
  }

  /** Under the lock. @returns the directories to flush. */
  private rename(
    from: ObjectRef,
    to: ObjectRef,
    line: Moving,
    planned: Target,
    missing: readonly Below[] | undefined,
    done: { renamed: boolean },
  ): Set<string> {
    const { core } = this;
    const { catalog } = core;
    const { publisher } = this.objects;
    const source = this.source(from);
    const target = this.target(to);
    if (source?.identity !== line.identity || !target || target === 'blocked') throw new Retry();
    if (target.missing.length > planned.missing.length) throw new Retry();
    if (this.isTaken(target, to)) throw new Retry();
    core.tracker.settleDirs(source.dirs, 0, true);
    if (target.place.kind === 'tree') core.tracker.settleDirs(target.place.dirs, 0, true);
    const { dir, made } = core.inMissing(target, (dir, made) => {
      renameSync(source.parent.at(source.name), dir.at(target.name));
      forgetSeen();
      done.renamed = true;
      return { dir, made };
    });
    const { id, path, from: was, overflow, via } = line;
    // those that came while the line was flushed belong to it
    const keys = this.overflow(from, to, overflow?.tag ?? id).overflow;
    const seq = catalog.nextSeq();
    const there = destinationOf(core, target);
    const moved: MovedDir = {
      op: 'moved',
      seq,
      path,
      from: was,
      id,
      ...there,
      ...(keys && { overflow: keys }),
      ...(via && { via }),
    };
    const dirtied = new Set([
      source.parent.path,
      dir.path,
      ...made,
      ...(keys ? moveOverflowFiles(core, keys, seq) : []),
    ]);
    applyMoved(catalog, moved);
    this.keepStamp(line, source.stat, lstatOf(dir.at(target.name)));
    const above = source.dirs.slice(0, -1);
    publisher.announcePrune(above);
    const rmdirs = publisher.prune(above);
    for (const path of rmdirs) dirtied.add(core.pathOf(path.split('/').slice(0, -1)));
    catalog.journal.append({ ...moved, ...(rmdirs.length > 0 && { rmdirs }) });
    // what was said of a file that others removed belongs to the key that it had
    const row = catalog.findDir(dirsOf(path));
    if (row) leaveMissing(core, row.id, source.dirs, missing);
    return dirtied;
  }

  /** The directory of a prefix, unless it is the bucket's own, or reached by a link, or not served. */
  private source({ bucket, key }: ObjectRef): Source | undefined {
    const { core } = this;
    const path = keyToPath(key);
    const name = path?.dirs.at(-1);
    if (path?.name !== '' || name === undefined) return undefined;
    const bucketDirs = core.bucketDirs(bucket);
    if (core.excludedOn(bucketDirs, path.dirs) !== undefined) return undefined;
    const dirs = [...bucketDirs, ...path.dirs];
    if (core.existingDir(bucketDirs, path.dirs)?.path !== core.pathOf(dirs)) return undefined;
    const parent = core.dirs.get(core.pathOf(dirs.slice(0, -1)));
    const stat = lstatOf(parent.at(name));
    if (!stat?.isDirectory()) return undefined;
    const mount = core.mounts.idOf(stat.dev, `${parent.path}/${name}`);
    return { dirs, parent, name, stat, mount, identity: identityOf(fingerprint(stat, mount)).toString('hex') };
  }

  /** Where it goes; undefined for the bucket's own directory, for what is no path, and for what is reached by a link. @throws InvalidRequest. */
  private target({ bucket, key }: ObjectRef): Target | 'blocked' | undefined {
    const { core } = this;
    const path = keyToPath(key);
    const name = path?.dirs.at(-1);
    if (path?.name !== '' || name === undefined) return undefined;
    const hidden = core.excludedOn(core.bucketDirs(bucket), path.dirs);
    if (hidden !== undefined) throw invalid(`"${hidden}" is excluded from being served.`);
    const above = path.dirs.slice(0, -1);
    const reached = core.reach(core.bucketDir(bucket), above);
    if (!reached) return 'blocked';
    const { base, missing } = reached;
    const dirs = [...core.bucketDirs(bucket), ...above];
    if (base.path !== core.pathOf(dirs.slice(0, dirs.length - missing.length))) return undefined;
    if (missing.length === 0 && lstatOf(base.at(name))?.isDirectory() === false) return 'blocked';
    return { place: { kind: 'tree', dirs, name }, base, missing, dirPath: core.pathOf(dirs), name };
  }

  /** Of the directory at the target, or of the one that it would be made in. */
  private mountOf({ base, missing, name }: Target): number {
    const there = missing.length === 0 ? lstatOf(base.at(name)) : undefined;
    const path = there ? `${base.path}/${name}` : base.path;
    return this.core.mounts.idOf((there ?? statSync(base.at('.'), { bigint: true })).dev, path);
  }

  /** An empty directory that nobody put as a marker is no object. */
  private isTaken(target: Target, to: ObjectRef): boolean {
    const { core } = this;
    const folder = core.overflowFolder(to.bucket);
    for (const _ of overflowBelow(core.catalog, { bucket: folder, key: to.key })) return true;
    if (target.missing.length > 0 || !lstatOf(target.base.at(target.name))) return false;
    if (core.findMarker(to.bucket, to.key)) return true;
    return !isEmptyDir(target.base.at(target.name));
  }

  /** @throws InvalidRequest: a mount below would get other identities, an alias would lead nowhere. */
  private checkMovable({ dirs }: Source): void {
    const { core } = this;
    const path = core.pathOf(dirs);
    const mount = mountsBelow(path)[0];
    if (mount && mount.path !== path)
      throw invalid(`Another file system is mounted on ${mount.path}; unmount it, or move what is beside it.`);
    for (const alias of core.aliasNames()) {
      const folder = core.bucketDirs(alias);
      if (dirs.every((name, i) => folder[i] === name))
        throw invalid(`"${folder.join('/')}" is named as the bucket "${alias}".`);
    }
  }

  private overflow(from: ObjectRef, to: ObjectRef, tag: string): { overflow?: MovedKeys } {
    const { core } = this;
    const source = { bucket: core.overflowFolder(from.bucket), key: from.key };
    const target = { bucket: core.overflowFolder(to.bucket), key: to.key };
    for (const _ of overflowBelow(core.catalog, source))
      return { overflow: { from: source, to: target, upTo: core.catalog.index.number('seq'), tag } };
    return {};
  }

  /** The rename changed the directory's ctime, and with it the stamp by which its rows are known to be true: a million names need not be read again. */
  private keepStamp(line: Moving, before: BigIntStats, after: BigIntStats | undefined): void {
    const { core } = this;
    const dirs = line.path.slice(0, -1).split('/');
    const row = core.catalog.findDir(dirs);
    if (!row?.stampTrusted || row.stamp?.equals(dirStamp(before, core.view)) !== true) return;
    // an entry that came between the two would have changed the mtime
    if (after?.mtimeNs !== before.mtimeNs || after.ino !== before.ino) return;
    core.catalog.changeDir(dirs, (now) => (now.stamp = dirStamp(after, core.view)));
  }
}

function pathOf({ place, name }: Target): string {
  return place.kind === 'tree' ? [...place.dirs, name].join('/') : name;
}

function invalid(message: string): S3Error {
  return new S3Error('InvalidRequest', message);
}
