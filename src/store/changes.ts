/** The feed of changes: see changes-contract.ts. */
import { placeOf, subjectOf, type Place } from '../catalog/catalog.js';
import { NotReady } from '../catalog/lmdb.js';
import { listSegments } from '../catalog/segments.js';
import type { Untold } from '../catalog/untold.js';
import { formatFingerprint } from '../fs/fingerprint.js';
import { isFull } from '../fs/statefile.js';
import { JournalReader, MARKER } from './change-reader.js';
import type { Change, ChangeReader, Changes, Position, SeenChange } from './changes-contract.js';
import type { Core } from './core.js';
import { knowledge } from './describe.js';
import { isFolderGone } from './ghosts.js';

export class ChangeFeed implements Changes {
  constructor(private readonly core: Core) {}

  position(): number {
    const { index } = this.core.catalog;
    index.refresh();
    return index.number('seq');
  }

  read(from: 'now' | Position): ChangeReader {
    const names = (place: Place, marker: boolean): Change['names'] => this.namesOf(place, marker);
    if (from !== 'now') return new JournalReader(this.core, names, from);
    const { index, journal } = this.core.catalog;
    const seq = this.position();
    // where the index says that nothing is open that was written before
    const segments = Object.fromEntries(
      listSegments(journal.directory).map((name) => [name, index.number(`seg:${name}`)]),
    );
    return new JournalReader(this.core, names, { seq, segments });
  }

  want(ms: number): void {
    this.wish((untold) => untold.want(ms));
  }

  wantAlways(on: boolean): void {
    this.wish((untold) => untold.wantAlways(on));
  }

  /** Said again soon: where it cannot be written down now, it is then. */
  private wish(say: (untold: Untold) => void): void {
    const { index, untold } = this.core.catalog;
    try {
      index.refresh();
      say(untold);
    } catch (error) {
      if (!(error instanceof NotReady || isFull(error))) throw error;
    }
  }

  get wanted(): boolean {
    // asked several times a second, with no request that would have looked at the index
    this.core.catalog.index.refresh();
    return this.core.catalog.untold.wanted;
  }

  see(change: SeenChange, told: string | undefined): boolean {
    const { untold } = this.core.catalog;
    const noted = this.note(change, told, untold.isKnown(change.dirs, change.name));
    untold.forget(change.dirs, change.name);
    return noted;
  }

  /** @param known the file is known to have been there. */
  private note(change: SeenChange, told: string | undefined, known: boolean): boolean {
    const { core } = this;
    const { catalog } = core;
    const { dirs, name, event } = change;
    if (change.fresh && !told) return false;
    if (name === '') return this.noteMarker(change, told, known);
    const place: Place = { kind: 'tree', dirs, name };
    // also when nothing else may be changed: what is noted lies with the state
    if (this.namesOf(place, false).length === 0) return false;
    return catalog.index.write(() => {
      const found = core.findPlace(dirs, name);
      // it came, or went, again: that will be seen too
      if ((found !== undefined) !== (event === 'created')) return false;
      const row = found ? found.row : catalog.row(place);
      const fp = found ? formatFingerprint(found.fp) : '';
      if (fp === told || (!found && !row && told === undefined && !known)) return false;
      if (core.excludedPlace(dirs, name) && row?.published !== true) return false;
      catalog.journal.append({
        op: 'seen',
        seq: catalog.nextSeq(),
        path: [...dirs, name].join('/'),
        event,
        time: Date.now(),
        ...(found && { fp }),
        ...(found?.row && knowledge(found) === 'known' && { etag: found.row.etag }),
      });
      catalog.noteSettled();
      return true;
    });
  }

  private noteMarker({ dirs, event }: SeenChange, told: string | undefined, known: boolean): boolean {
    const { core } = this;
    const { catalog } = core;
    const path = dirs.join('/');
    if (this.namesOf(placeOf({ path }), true).length === 0) return false;
    return catalog.index.write(() => {
      const row = catalog.findDir(dirs);
      const there = row?.marker !== undefined && !isFolderGone(core, dirs);
      if (there !== (event === 'created') || told === (there ? MARKER : '')) return false;
      if (!there && !row?.marker && told === undefined && !known) return false;
      catalog.journal.append({ op: 'seen', seq: catalog.nextSeq(), path: `${path}/`, event, time: Date.now() });
      catalog.noteSettled();
      return true;
    });
  }

  /** Buckets that show a place, and its key there: that of the folder at the top first. */
  private namesOf(place: Place, marker: boolean): Change['names'] {
    const { core } = this;
    const subject = subjectOf(place);
    const dirs = 'path' in subject ? subject.path.split('/') : subject.bucket === '.' ? [] : subject.bucket.split('/');
    const end = marker ? '/' : '';
    const names: Change['names'] = [];
    const [top = ''] = dirs;
    const buckets = [
      ...(top === '' || core.isAlias(top) || core.excludedBucket(top) ? [] : [top]),
      ...core.aliasNames(),
    ];
    for (const bucket of buckets) {
      const folder = core.bucketDirs(bucket);
      if (!folder.every((segment, i) => segment === dirs[i])) continue;
      const below = dirs.slice(folder.length);
      // an overflow object is seen only through the folder that it was put to
      if ('key' in subject && below.length === 0) names.push({ bucket, key: subject.key });
      if ('path' in subject && below.length > 0) names.push({ bucket, key: below.join('/') + end });
    }
    return names;
  }
}
