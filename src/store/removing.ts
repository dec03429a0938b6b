/** Objects as they are removed: the file, then its line and row, then the flush. */
import { unlinkSync, type BigIntStats } from 'node:fs';
import { S3Error, errno } from '../base/errors.js';
import type { WriteCondition } from '../base/model.js';
import { subjectOf, type Place } from '../catalog/catalog.js';
import type { ClientToken, Via } from '../catalog/lines.js';
import { isPresent } from '../catalog/rows.js';
import { freedLater } from '../fs/freed.js';
import { keyToPath } from '../fs/keypath.js';
import { viaOf } from './attribution.js';
import { claimWay } from './claim-way.js';
import { Company } from './company.js';
import type { Attribution, ObjectRef, Removal } from './contract.js';
import { lstatOf, type Core, type Found } from './core.js';
import { sameFacts } from './describe.js';
import type { Markers } from './markers.js';
import { Retry, retried, type Publisher } from './publish.js';

/** What the line of a removal tells beside it. */
interface Said {
  via: Via;
  /** Of the move that ends by it. */
  clientToken?: ClientToken;
}

/** What several removals have left to be flushed before anybody is told. */
export interface Unflushed {
  dirs: Set<string>;
  /** Of the journal: a segment that was given up meanwhile must not pass for flushed. */
  segments: Set<string>;
}

/** How long (ms) several removals may keep the lock, and others waiting. */
const MOMENT_MS = 10;

export class Removing {
  constructor(
    private readonly core: Core,
    private readonly publisher: Publisher,
    private readonly markers: Markers,
  ) {}

  async delete(bucket: string, key: string, condition?: WriteCondition, by?: Attribution): Promise<boolean> {
    const { core, publisher } = this;
    const via = viaOf(by, 'ObjectRemoved:Delete');
    core.checkWritable();
    core.bucketDir(bucket);
    if (key.endsWith('/')) {
      const removed = await this.markers.remove(bucket, key, via, condition);
      if (removed) return true;
    }
    claimWay(core, bucket, key);
    const dirtied = new Set<string>();
    let forgotten = false;
    const existed = await retried(async () => {
      const known = await publisher.current(bucket, key, condition);
      return core.catalog.recordRemoval((again) => {
        const found = again ? undefined : publisher.checkAgain(bucket, key, condition, known);
        if (!found) {
          forgotten = this.forget(bucket, key);
          return again;
        }
        this.unlink(bucket, key, found, { via }, dirtied);
        return true;
      });
    });
    if (existed || forgotten) await core.flushed(dirtied);
    return existed;
  }

  /**
   * Deletes the first of these that are files under one lock, as many as a moment allows; they are to be flushed (`Core.flushed`) behind.
   * @returns of each that was looked at whether there was one, or undefined where {@link delete} must decide. @throws if the index could not be written:
   * then {@link delete} must decide of all.
   */
  async some(
    bucket: string,
    removals: readonly Removal[],
    by: Attribution | undefined,
    unflushed: Unflushed,
  ): Promise<(boolean | undefined)[]> {
    const { core, publisher } = this;
    const via = viaOf(by, 'ObjectRemoved:Delete');
    core.checkWritable();
    core.bucketDir(bucket);
    claimWay(core, bucket, ...removals.map(({ key }) => key));
    const known = await Promise.allSettled(removals.map((one) => publisher.current(bucket, one.key, one.condition)));
    let company: Company | undefined;
    const take = ({ key, condition }: Removal, known: Found | undefined): boolean => {
      const found = publisher.checkAgain(bucket, key, condition, known);
      if (found) this.unlink(bucket, key, found, { via }, unflushed.dirs, company);
      if (found || this.forget(bucket, key)) unflushed.segments.add(core.catalog.journal.segment);
      return found !== undefined;
    };
    const results: (boolean | undefined)[] = [];
    core.catalog.recordRemoval((again) => {
      if (again) {
        for (const [i, existed] of results.entries()) if (existed) this.forget(bucket, removals[i]?.key ?? '');
        return;
      }
      const end = performance.now() + MOMENT_MS;
      company = new Company(core, bucket);
      core.dirs.together(() => {
        for (const [i, removal] of removals.entries()) {
          if (i > 0 && performance.now() > end) return;
          const before = known[i];
          const plain = before?.status === 'fulfilled' && !removal.key.endsWith('/');
          results.push(plain ? unlessRefused(() => take(removal, before.value)) : undefined);
        }
      });
    });
    return results;
  }

  /** Under the lock: what is remembered of a key whose file is gone, in case it came back. @returns whether there was anything. */
  private forget(bucket: string, key: string): boolean {
    const { core } = this;
    const forgotten = this.forgetBodiless(bucket, key);
    const path = keyToPath(key);
    if (!path || path.name === '') return forgotten;
    const place: Place = { kind: 'tree', dirs: [...core.bucketDirs(bucket), ...path.dirs], name: path.name };
    const row = core.catalog.row(place);
    if (!row || (row.etag === '' && !row.facts && !row.published)) return forgotten;
    if (lstatOf(`${core.pathOf(place.dirs)}/${place.name}`)) return forgotten;
    // its file may have been renamed
    const kept = core.catalog.keepBytes(place, undefined);
    core.catalog.removeRow(place);
    if (isPresent(row)) core.catalog.untold.note(place.dirs, place.name, 'removed');
    this.publisher.recordDelete(subjectOf(place), [], { kept });
    return true;
  }

  /** The same of an overflow object: its body may come back from quarantine. */
  private forgetBodiless(bucket: string, key: string): boolean {
    const { core, publisher } = this;
    const place: Place = { kind: 'overflow', bucket: core.overflowFolder(bucket), key };
    const file = core.catalog.row(place)?.file;
    if (file === undefined || core.findOverflow(bucket, key)) return false;
    core.catalog.removeRow(place);
    publisher.recordDelete(subjectOf(place), [], { file });
    return true;
  }

  /** Under the lock: the file, then its line; and an overflow copy that was kept aside. @param company of several that are removed under one lock. */
  private unlink(bucket: string, key: string, found: Found, said: Said, dirtied: Set<string>, company?: Company): void {
    const { core, publisher } = this;
    const inTree = found.place.kind === 'tree';
    core.catalog.journal.checkRoom(freesRoom(found.stat));
    const stays = company?.holds(found) === true;
    const prunes = found.place.kind === 'tree' && !stays && publisher.announcePrune(found.place.dirs, found.name);
    const kept = inTree && core.tracker.keepBytes(found.place, found);
    const path = found.dir.at(found.name);
    const { stat } = found;
    freedLater({ path, folder: found.dir.path, stat, flushed: core.durable }, () => unlinkSync(path));
    dirtied.add(found.dir.path);
    core.catalog.removeRow(found.place, kept || found.row?.appendFrom !== undefined ? undefined : found.row);
    const rmdirs = prunes && found.place.kind === 'tree' ? publisher.prune(found.place.dirs) : [];
    for (const path of rmdirs) dirtied.add(core.pathOf(path.split('/').slice(0, -1)));
    publisher.recordDelete(subjectOf(found.place), rmdirs, { ...said, kept, ...(!inTree && { file: found.name }) });
    if (inTree && company?.hasOverflow() !== false) publisher.dropOverflow(bucket, key, dirtied);
  }

  /**
   * Deletes an object if it is still what was found.
   * @param check asked under the lock, right before it goes; what it throws leaves everything as it was.
   * @throws OperationAborted if it is something else by now.
   */
  async same({ bucket, key }: ObjectRef, found: Found, said: Said, check: (now: Found) => void): Promise<void> {
    const dirtied = new Set<string>();
    this.core.catalog.recordRemoval((again) => {
      if (again) {
        this.forget(bucket, key);
        if (said.clientToken) this.core.catalog.clientTokens.note(said.clientToken);
        return;
      }
      const now = this.core.find(bucket, key);
      // the number of the row says nothing: somebody may have hashed the file meanwhile
      const same = now?.fp.equals(found.fp) === true && now.stat.ctimeNs === found.stat.ctimeNs;
      if (!now || !same || !sameFacts(now.row?.facts ?? {}, found.row?.facts ?? {}))
        throw new S3Error('OperationAborted', `"${key}" was changed while it was moved; it is kept beside its copy.`);
      check(now);
      this.unlink(bucket, key, now, said, dirtied);
    });
    await this.core.flushed(dirtied);
  }
}

/** Whether the disk has more room once a file has lost this name. */
function freesRoom({ nlink, blocks }: BigIntStats): boolean {
  return nlink === 1n && blocks > 0n;
}

/** What must be told of one removal alone is left to be told by it; all else ends all of them. */
function unlessRefused(take: () => boolean): boolean | undefined {
  try {
    return take();
  } catch (error) {
    const refused = error instanceof S3Error || error instanceof Retry || isDenied(error);
    if (refused) return undefined;
    throw error;
  }
}

/** The file stands, or another program has removed it. */
function isDenied(error: unknown): boolean {
  return ['EACCES', 'EPERM', 'ENOENT'].includes(errno(error) ?? '');
}
