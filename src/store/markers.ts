/** Markers: keys like `dir/` with an empty body are directories, listed because a client put them (DESIGN rule 5). */
import type { KeyFacts, WriteCondition } from '../base/model.js';
import { keyToPath } from '../fs/keypath.js';
import { checkWrite } from '../wire/conditions.js';
import type { ObjectInfo } from './contract.js';
import { noSuchKey, type Core } from './core.js';
import { EMPTY_ETAG } from './describe.js';
import type { Publisher } from './publish.js';

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

  async put(bucket: string, key: string, facts: KeyFacts, condition?: WriteCondition): Promise<ObjectInfo> {
    const { core } = this;
    const { catalog } = core;
    const below = keyToPath(key)?.dirs ?? [];
    const dirs = [...core.bucketDirs(bucket), ...below];
    const dirtied = new Set<string>();
    const marker = { time: Date.now(), facts };
    catalog.index.write(() => {
      const old = this.find(bucket, key);
      checkWrite(condition, old);
      this.publisher.dropOverflow(bucket, key, dirtied);
      const reached = core.reach(core.bucketDir(bucket), below);
      if (!reached) throw noSuchKey(key);
      const depth = dirs.length - reached.missing.length;
      const mkdirs = reached.missing.map((_, i) => dirs.slice(0, depth + i + 1).join('/'));
      this.publisher.announce(mkdirs);
      const { made } = core.makeMissing({ place: { kind: 'tree', dirs, name: '' }, ...reached, dirPath: '', name: '' });
      for (const path of made) dirtied.add(path);
      const seq = catalog.nextSeq();
      const path = dirs.join('/');
      catalog.journal.append({ op: 'marker', seq, path, ...marker, ...(mkdirs.length > 0 && { mkdirs }) });
      for (const one of mkdirs) catalog.changeDir(one.split('/'), (row) => (row.made = true));
      catalog.changeDir(dirs, (row) => Object.assign(row, { marker, seq }));
      catalog.noteSettled();
    });
    if (core.durable) await catalog.journal.flush(catalog.journal.segment);
    await core.syncDirs(dirtied);
    return markerInfo(bucket, key, marker);
  }

  /** @returns false if the key has no marker. */
  async remove(bucket: string, key: string, condition?: WriteCondition): Promise<boolean> {
    const { core } = this;
    const { catalog } = core;
    const below = keyToPath(key)?.dirs ?? [];
    const dirs = [...core.bucketDirs(bucket), ...below];
    const removed = catalog.index.write(() => {
      const old = this.find(bucket, key);
      if (!old) return false;
      checkWrite(condition, old);
      catalog.changeDir(dirs, (row) => delete row.marker);
      this.publisher.announcePrune(dirs);
      const rmdirs = this.publisher.prune(dirs);
      catalog.journal.append({
        op: 'unmark',
        seq: catalog.nextSeq(),
        path: dirs.join('/'),
        ...(rmdirs.length > 0 && { rmdirs }),
      });
      catalog.noteSettled();
      return true;
    });
    if (removed && core.durable) await catalog.journal.flush(catalog.journal.segment);
    if (removed) await core.syncDirs([core.pathOf(dirs.slice(0, -1))]);
    return removed;
  }

  async updateFacts(
    bucket: string,
    key: string,
    change: (facts: KeyFacts, info: ObjectInfo) => KeyFacts,
  ): Promise<ObjectInfo> {
    const { core } = this;
    const old = this.find(bucket, key);
    if (!old) throw noSuchKey(key);
    const dirs = [...core.bucketDirs(bucket), ...(keyToPath(key)?.dirs ?? [])];
    const marker = { time: old.lastModified, facts: change(old.facts, old) };
    const { catalog } = core;
    catalog.index.write(() => {
      const seq = catalog.nextSeq();
      catalog.journal.append({ op: 'marker', seq, path: dirs.join('/'), ...marker });
      catalog.changeDir(dirs, (row) => Object.assign(row, { marker, seq }));
      catalog.noteSettled();
    });
    if (core.durable) await catalog.journal.flush(catalog.journal.segment);
    return markerInfo(bucket, key, marker);
  }
}

export function markerInfo(bucket: string, key: string, marker: { time: number; facts: KeyFacts }): ObjectInfo {
  const facts =
    marker.facts.contentType === undefined ? { ...marker.facts, contentType: 'application/x-directory' } : marker.facts;
  return { bucket, key, size: 0, etag: EMPTY_ETAG, lastModified: marker.time, versionId: 'null', facts };
}
