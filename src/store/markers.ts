/** Markers: keys like `dir/` with an empty body are directories, listed because a client put them (DESIGN rule 5). */
import type { Checksum, KeyFacts, WriteCondition } from '../base/model.js';
import type { ClientToken, Via } from '../catalog/lines.js';
import type { DirRow } from '../catalog/rows.js';
import { keyToPath } from '../fs/keypath.js';
import { discard } from '../fs/stage.js';
import { checkRead, checkWrite } from '../wire/conditions.js';
import { checkNotDone, tokenOf } from './again.js';
import { viaOf } from './attribution.js';
import type { Attribution, MoveOptions, ObjectInfo, ObjectRef } from './contract.js';
import { noSuchKey, type Target, type Core } from './core.js';
import { EMPTY_ETAG, factsAt } from './describe.js';
import { holdBucket } from './hold.js';
import type { Guard, Publisher } from './publish.js';

type Marker = NonNullable<DirRow['marker']>;

/** What a client said of a marker. */
interface Said {
  facts: KeyFacts;
  checksum?: Checksum;
}

export class Markers {
  constructor(
    private readonly core: Core,
    private readonly publisher: Publisher,
  ) {}

  /** Whether the key ends in `/` and its path can be a directory now. */
  possible(bucket: string, key: string): boolean {
    const path = keyToPath(key);
    if (path?.name !== '') return false;
    return this.core.reach(this.core.bucketDir(bucket), path.dirs) !== undefined;
  }

  find(bucket: string, key: string): ObjectInfo | undefined {
    const marker = this.core.findMarker(bucket, key);
    return marker && markerInfo(bucket, key, marker);
  }

  async put(
    bucket: string,
    key: string,
    said: Said,
    via: Via,
    guard: Guard,
    condition?: WriteCondition,
  ): Promise<ObjectInfo> {
    const marker = { time: Date.now(), ...said };
    const known = await this.publisher.current(bucket, key, condition);
    const dirtied = new Set<string>();
    const superseded = this.core.catalog.record(() => {
      guard.hold();
      const there = this.publisher.checkAgain(bucket, key, condition, known);
      guard.check?.(there);
      return this.mark(bucket, key, marker, via, dirtied);
    });
    await this.core.flushed(dirtied);
    if (superseded !== undefined) discard(superseded);
    return markerInfo(bucket, key, marker);
  }

  /**
   * The marker of one directory becomes that of another, which is made if need be. What the directory holds are objects of their own: they stay.
   * @throws NoSuchKey if the source is no marker, PreconditionFailed.
   */
  async move(from: ObjectRef, to: ObjectRef, options: MoveOptions): Promise<ObjectInfo> {
    const { condition, sourceCondition } = options;
    const { core, publisher } = this;
    const hold = holdBucket(core, to.bucket);
    const known = await publisher.current(to.bucket, to.key, condition);
    const dirtied = new Set<string>();
    let superseded: string | undefined;
    const info = core.catalog.record(() => {
      hold();
      checkNotDone(core, to.bucket, options.clientToken);
      const source = core.findMarker(from.bucket, from.key);
      if (!source) throw noSuchKey(from.key);
      const was = markerInfo(from.bucket, from.key, source);
      if (sourceCondition) checkRead(sourceCondition, was, 'rename');
      publisher.checkAgain(to.bucket, to.key, condition, known);
      if (from.bucket === to.bucket && from.key === to.key) return was;
      const via = viaOf(options.via, 'ObjectCreated:Copy');
      const marker = { ...source, facts: factsAt(core, from, to, source.facts) };
      const moved = { dirs: this.dirsOf(from.bucket, from.key), ...tokenOf(to.bucket, options.clientToken) };
      superseded = this.mark(to.bucket, to.key, marker, via, dirtied, moved);
      return markerInfo(to.bucket, to.key, source);
    });
    await core.flushed(dirtied);
    if (superseded !== undefined) discard(superseded);
    return info;
  }

  /**
   * Under the lock: makes the directory, puts the marker - and takes it from the directory `from`, which goes if it was ours and is empty.
   * @returns the body that it supersedes, to be discarded once the marker is flushed.
   */
  private mark(
    bucket: string,
    key: string,
    marker: Marker,
    via: Via,
    dirtied: Set<string>,
    from?: { dirs: readonly string[]; clientToken?: ClientToken },
  ): string | undefined {
    const { core, publisher } = this;
    const { catalog } = core;
    const dirs = this.dirsOf(bucket, key);
    core.tracker.claim(dirs);
    const old = core.findOverflow(bucket, key);
    if (old) publisher.forgetOverflow(old);
    const bucketDirs = core.bucketDirs(bucket);
    const reached = core.reach(core.bucketDir(bucket), dirs.slice(bucketDirs.length));
    if (!reached) throw noSuchKey(key);
    const depth = dirs.length - reached.missing.length;
    const mkdirs = reached.missing.map((_, i) => dirs.slice(0, depth + i + 1).join('/'));
    publisher.announce(mkdirs);
    const target: Target = { place: { kind: 'tree', dirs, name: '' }, ...reached, dirPath: '', name: '' };
    core.inMissing(target, (dir, made) => {
      // others may have made it a moment ago
      for (const path of [dir.path, ...made]) dirtied.add(path);
      for (const one of mkdirs) catalog.setMade(one.split('/'));
      const seq = catalog.nextSeq();
      catalog.setMarker(dirs, marker, seq);
      const rmdirs = from ? this.unmark(from.dirs) : [];
      for (const path of rmdirs) dirtied.add(core.pathOf(path.split('/').slice(0, -1)));
      catalog.journal.append({
        op: 'marker',
        seq,
        path: dirs.join('/'),
        ...marker,
        ...(mkdirs.length > 0 && { mkdirs }),
        ...(from && { from: from.dirs.join('/') }),
        ...(rmdirs.length > 0 && { rmdirs }),
        ...(from?.clientToken && { clientToken: from.clientToken }),
        via,
      });
      if (from?.clientToken) catalog.clientTokens.note(from.clientToken);
      catalog.noteDirs(dirs);
      catalog.noteSettled();
    });
    return old && `${old.dir.path}/${old.name}`;
  }

  /** Under the lock; a numbered line must follow. @returns the directories that were removed. */
  private unmark(dirs: readonly string[]): string[] {
    this.core.catalog.changeDir(dirs, (row) => delete row.marker);
    this.publisher.announcePrune(dirs);
    return this.publisher.prune(dirs);
  }

  private dirsOf(bucket: string, key: string): string[] {
    return [...this.core.bucketDirs(bucket), ...(keyToPath(key)?.dirs ?? [])];
  }

  /** @param clientToken of the move that this ends. @returns false if the key has no marker. */
  async remove(
    bucket: string,
    key: string,
    via: Via,
    condition?: WriteCondition,
    clientToken?: ClientToken,
  ): Promise<boolean> {
    const { core } = this;
    const { catalog } = core;
    const dirs = this.dirsOf(bucket, key);
    let begun = false;
    const removed = catalog.recordRemoval(() => {
      const old = this.find(bucket, key);
      if (!old && !begun) return false;
      if (!begun) checkWrite(condition, old);
      if (!begun) catalog.journal.checkRoom(false);
      begun = true;
      const rmdirs = this.unmark(dirs);
      catalog.journal.append({
        op: 'unmark',
        seq: catalog.nextSeq(),
        path: dirs.join('/'),
        ...(rmdirs.length > 0 && { rmdirs }),
        ...(clientToken && { clientToken }),
        via,
      });
      if (clientToken) catalog.clientTokens.note(clientToken);
      catalog.noteSettled();
      return true;
    });
    if (removed) await core.flushed([core.pathOf(dirs.slice(0, -1))]);
    return removed;
  }

  async updateFacts(
    bucket: string,
    key: string,
    change: (facts: KeyFacts, info: ObjectInfo) => KeyFacts,
    via?: Attribution,
  ): Promise<ObjectInfo> {
    const { core } = this;
    const dirs = this.dirsOf(bucket, key);
    const { catalog } = core;
    const marker = catalog.record((): Marker => {
      const old = core.findMarker(bucket, key);
      if (!old) throw noSuchKey(key);
      const marker = { ...old, facts: change(old.facts, markerInfo(bucket, key, old)) };
      const seq = catalog.nextSeq();
      const said = via?.event === undefined ? {} : { via: viaOf(via, via.event) };
      catalog.journal.append({ op: 'marker', seq, path: dirs.join('/'), ...marker, ...said });
      catalog.setMarker(dirs, marker, seq);
      catalog.noteDirs(dirs);
      catalog.noteSettled();
      return marker;
    });
    await core.flushed([]);
    return markerInfo(bucket, key, marker);
  }
}

/** A marker is an object like others: one that came without a content type has none that a copy would have to keep, or lose. */
export function markerInfo(bucket: string, key: string, marker: Marker): ObjectInfo {
  return {
    bucket,
    key,
    size: 0,
    etag: EMPTY_ETAG,
    lastModified: marker.time,
    versionId: 'null',
    facts: marker.facts,
    ...(marker.checksum && { checksum: marker.checksum }),
  };
}
