/** Objects: read, put, delete, facts. Each method is one promise of the contract; copies, moves and appends have files of their own. */
import { closeSync, unlinkSync, type BigIntStats } from 'node:fs';
import { S3Error } from '../base/errors.js';
import type {
  Body,
  Checksum,
  ChecksumAlgorithm,
  DigestPlan,
  Digests,
  KeyFacts,
  WriteCondition,
} from '../base/model.js';
import { NO_FINGERPRINT, subjectOf, type Place } from '../catalog/catalog.js';
import type { ClientToken, Via } from '../catalog/lines.js';
import { NotReady } from '../catalog/lmdb.js';
import { DamagedIndex, type FileRow, type Layout } from '../catalog/rows.js';
import { formatFingerprint } from '../fs/fingerprint.js';
import { createHasher, prepareHashes } from '../fs/hash.js';
import { keyToPath } from '../fs/keypath.js';
import { closeRead, isTorn, readRange, type OpenFile } from '../fs/reader.js';
import { stageBody, type StageOptions } from '../fs/stage.js';
import { viaOf } from './attribution.js';
import { Bodies } from './bodies.js';
import type { Attribution, ObjectInfo, ObjectPart, ObjectRef, OpenObject, PutOptions } from './contract.js';
import { lstatOf, noSuchKey, type Core, type Found, type Target } from './core.js';
import { describe, isAppending, knowledge, openIfThere, sameFacts, SMALL_FILE } from './describe.js';
import { endsOf, etagOf, md5sOf } from './etag.js';
import { holdsGrown, stateOf } from './growth.js';
import { holdBucket, type Hold } from './hold.js';
import type { Identifier } from './identifier.js';
import { Markers } from './markers.js';
import { clientMtime } from './mtime.js';
import { Publisher, retried, type Facts } from './publish.js';

/** How often a file is looked at again that was replaced between stat and open. */
const OPEN_ATTEMPTS = 20;

/** An open file, and what is known of exactly this file. */
export interface Current {
  found: Found;
  file: OpenFile;
}

/** What the line of a removal tells beside it. */
interface Said {
  via: Via;
  /** Of the move that ends by it. */
  clientToken?: ClientToken;
}

export class Objects {
  readonly publisher: Publisher;
  readonly markers: Markers;
  private readonly bodies = new Bodies();

  constructor(
    private readonly core: Core,
    readonly identifier: Identifier,
  ) {
    this.publisher = new Publisher(core, identifier);
    this.markers = new Markers(core, this.publisher);
  }

  /** @throws NoSuchKey. */
  async found(bucket: string, key: string, prove = false): Promise<Found> {
    const found = this.core.find(bucket, key) ?? this.findAgain(bucket, key);
    if (!found) {
      this.core.bucketDir(bucket);
      throw noSuchKey(key);
    }
    return this.identifier.identify(bucket, key, found, prove);
  }

  /** It may just have got another body in overflow, or been moved from there to its path, between looking here and there. */
  private findAgain(bucket: string, key: string): Found | undefined {
    this.core.catalog.index.refresh();
    return this.core.find(bucket, key);
  }

  async head(bucket: string, key: string): Promise<ObjectInfo> {
    const marker = this.markers.find(bucket, key);
    if (marker) return marker;
    const found = await this.found(bucket, key);
    this.identifier.tell([found]);
    return describe(bucket, key, found);
  }

  async open(bucket: string, key: string): Promise<OpenObject> {
    const marker = this.markers.find(bucket, key);
    if (marker)
      return { info: marker, parts: async () => [], read: async () => undefined, close: async () => undefined };
    const kept = this.bodies.has(bucket, key) ? await this.openKept(bucket, key) : undefined;
    if (kept) return kept;
    const current = await this.openCurrent(bucket, key);
    this.identifier.tell([current.found]);
    return this.opened({ bucket, key }, current);
  }

  /** An object whose bytes are at hand. */
  private async openKept(bucket: string, key: string): Promise<OpenObject | undefined> {
    const found = await this.found(bucket, key, true);
    const bytes = this.bodies.of(bucket, key, found);
    if (!bytes) return undefined;
    this.identifier.tell([found]);
    const info = describe(bucket, key, found);
    return {
      info,
      parts: this.partsOf(found, info),
      read: async (start, end, sink) => {
        if (end > start) await sink(bytes.subarray(start, end));
      },
      close: async () => undefined,
    };
  }

  private partsOf({ row }: Found, { partCount, checksum }: ObjectInfo): OpenObject['parts'] {
    const layout = partCount === undefined ? undefined : row?.layout;
    return async () => partsOf(layout === undefined ? undefined : this.core.catalog.index.layout(layout), checksum);
  }

  /**
   * Opens the file at a key, with what is known of exactly this file; the caller closes `file.fd`.
   *
   * The row is read again once the file is open: an inode number is free again as soon as its file is replaced, so before that the file may be
   * another one with the same number, size and, within a tick, times - while we hold it open it cannot.
   * @throws NoSuchKey, OperationAborted while others change it all the time.
   */
  async openCurrent(bucket: string, key: string): Promise<Current> {
    for (let attempt = 0; ; attempt++) {
      const found = await this.found(bucket, key, true);
      const file = openIfThere(found);
      if (file) {
        let same = false;
        try {
          this.core.catalog.index.refresh();
          const now = this.core.find(bucket, key);
          same = now !== undefined && isSame(now, file.stat);
          same &&= now !== undefined && (knowledge(now) === 'known' || knowledge(found) !== 'known');
          // bytes that nothing is known of must not meet what was said in another folder
          same &&= now !== undefined && (knowledge(now) === 'known' || this.core.tracker.isAmongOwn(now));
          if (same && now) return { found: now, file };
        } finally {
          if (!same) closeSync(file.fd);
        }
      }
      // replaced between stat and open: look again
      if (attempt > OPEN_ATTEMPTS)
        throw new S3Error('OperationAborted', 'The file is being changed by another program. Try again.');
    }
  }

  /** What the contract gives of an open file; closing it closes the file. */
  opened({ bucket, key }: ObjectRef, { found, file }: Current): OpenObject {
    const info = describe(bucket, key, found);
    const keeps = info.size > 0 && this.bodies.accepts(found, this.core.clock);
    let closed = false;
    return {
      info,
      parts: this.partsOf(found, info),
      read: (start, end, sink) => {
        let unchanged = keeps && end - start === info.size;
        // that small a body comes in one piece, and after the last look at its file
        const taken = (chunk: Buffer): Promise<void> | void => {
          if (unchanged) this.bodies.keep(bucket, key, found, chunk);
          return sink(chunk);
        };
        return readRange(file, start, end, taken, (since) => {
          unchanged = false;
          return this.stillHolds(info, found, file, since);
        });
      },
      close: async () => {
        if (closed) return;
        closed = true;
        closeRead(file.fd);
      },
    };
  }

  /** Whether a file that has changed while it was read holds the same bytes all the same. @throws SlowDown if that must be asked again. */
  private async stillHolds(info: ObjectInfo, told: Found, file: OpenFile, since: 'renamed' | 'torn'): Promise<boolean> {
    try {
      return since === 'torn' ? this.holdsMoved(info, told, file) : await holdsRenamed(this.core, info, told, file);
    } catch (error) {
      if (!(error instanceof NotReady || error instanceof DamagedIndex)) throw error;
      throw new S3Error(
        'SlowDown',
        'The file was changed while it was read, and the index is being made anew. Try again.',
      );
    }
  }

  /**
   * It seems torn: it may have been moved away and back, or only appended to by us, wherever it is now. Under the lock, for a rename under way shows its
   * new ctime before its new path.
   */
  private holdsMoved({ bucket, key, size }: ObjectInfo, told: Found, file: OpenFile): boolean {
    return this.core.catalog.index.write(() => {
      if (!isTorn(file)) return true;
      const now = this.core.find(bucket, key);
      const there = now?.stat.ino === file.stat.ino && now.stat.dev === file.stat.dev && knowledge(now) === 'known';
      if (there && told.row?.etag === now.row?.etag && now.stat.size === BigInt(size)) return true;
      return holdsGrown(this.core.catalog.index, stateOf(told), file, size);
    });
  }

  /** @param hold of the bucket, if the write began before. */
  async put(
    bucket: string,
    key: string,
    body: Body,
    options: PutOptions = {},
    hold: Hold = holdBucket(this.core, bucket),
  ): Promise<ObjectInfo> {
    const { core } = this;
    core.checkWritable();
    if (key.endsWith('/') && this.markers.possible(bucket, key)) {
      const marker = await this.putMarker(bucket, key, body, options, hold);
      if ('key' in marker) return marker;
      body = marker;
    }
    const target = core.target(bucket, key);
    const plan = options.digests ?? { algorithms: [] };
    const { path: directory, stat } = core.stagingAt(target.base);
    const staging = { ...this.stagingIn(directory), mtime: clientMtime(options.facts ?? {}) };
    const inherit = this.publisher.inheritFrom(target, stat);
    const staged = await core.room.during(
      directory,
      body,
      (body) => stageBody(body, plan, staging, inherit, core.durable),
      stat.dev,
    );
    const { algorithm, checksum } = storedChecksum(plan, staged.digests);
    const facts: Facts = {
      bytes: { etag: staged.digests.MD5.toString('hex'), ...(algorithm && checksum && { checksum }) },
      facts: options.facts ?? {},
      via: viaOf(options.via, 'ObjectCreated:Put'),
    };
    return this.publisher.publish({ bucket, key }, staged, facts, { hold }, options.condition, target);
  }

  /** A key that ends in `/`: an empty body makes a directory and a marker; any other is an overflow object. */
  private async putMarker(
    bucket: string,
    key: string,
    body: Body,
    options: PutOptions,
    hold: Hold,
  ): Promise<ObjectInfo | Body> {
    const iterator = body.chunks[Symbol.asyncIterator]();
    let first = await iterator.next();
    while (!first.done && first.value.byteLength === 0) first = await iterator.next();
    if (first.done) {
      if (body.size) throw new S3Error('IncompleteBody', `0 of the announced ${body.size} bytes arrived`);
      const plan = options.digests ?? { algorithms: [] };
      await prepareHashes();
      const digests = createHasher(plan.algorithms).digest();
      plan.check?.(digests, 0);
      const { checksum } = storedChecksum(plan, digests);
      return this.markers.put(
        bucket,
        key,
        { facts: options.facts ?? {}, ...(checksum && { checksum }) },
        viaOf(options.via, 'ObjectCreated:Put'),
        { hold },
        options.condition,
      );
    }
    const head = first.value;
    async function* rest(): AsyncGenerator<Uint8Array> {
      yield head;
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
    }
    return { chunks: rest(), ...(body.size !== undefined && { size: body.size }) };
  }

  staging(target: Target): StageOptions {
    return this.stagingIn(this.core.stagingFor(target.base));
  }

  private stagingIn(directory: string): StageOptions {
    return { directory, owner: this.core.token, ...this.core.fileMode() };
  }

  async delete(bucket: string, key: string, condition?: WriteCondition, by?: Attribution): Promise<boolean> {
    const { core, publisher } = this;
    const via = viaOf(by, 'ObjectRemoved:Delete');
    core.checkWritable();
    core.bucketDir(bucket);
    if (key.endsWith('/')) {
      const removed = await this.markers.remove(bucket, key, via, condition);
      if (removed) return true;
    }
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
    if (existed || forgotten) await this.flushed(dirtied);
    return existed;
  }

  /** Under the lock: what is remembered of a key whose file is gone, in case it came back. @returns whether there was anything. */
  private forget(bucket: string, key: string): boolean {
    const { core } = this;
    const path = keyToPath(key);
    if (!path || path.name === '') return false;
    const place: Place = { kind: 'tree', dirs: [...core.bucketDirs(bucket), ...path.dirs], name: path.name };
    const row = core.catalog.row(place);
    if (!row || (row.etag === '' && !row.facts && !row.published)) return false;
    if (lstatOf(`${core.pathOf(place.dirs)}/${place.name}`)) return false;
    // its file may have been renamed
    const kept = core.catalog.keepBytes(place, undefined);
    core.catalog.removeRow(place);
    this.publisher.recordDelete(subjectOf(place), [], { kept });
    return true;
  }

  /** Under the lock: the file, then its line; and an overflow copy that was kept aside. */
  private unlink(bucket: string, key: string, found: Found, said: Said, dirtied: Set<string>): void {
    const { core, publisher } = this;
    const inTree = found.place.kind === 'tree';
    core.catalog.journal.checkRoom(freesRoom(found.stat));
    const prunes = found.place.kind === 'tree' && publisher.announcePrune(found.place.dirs, found.name);
    const kept = inTree && core.tracker.keepBytes(found.place, found);
    unlinkSync(found.dir.at(found.name));
    dirtied.add(found.dir.path);
    core.catalog.removeRow(found.place);
    const rmdirs = prunes && found.place.kind === 'tree' ? publisher.prune(found.place.dirs) : [];
    for (const path of rmdirs) dirtied.add(core.pathOf(path.split('/').slice(0, -1)));
    publisher.recordDelete(subjectOf(found.place), rmdirs, { ...said, kept, ...(!inTree && { file: found.name }) });
    if (inTree) publisher.dropOverflow(bucket, key, dirtied);
  }

  /**
   * Deletes an object if it is still what was found.
   * @param check asked under the lock, right before it goes; what it throws leaves everything as it was.
   * @throws OperationAborted if it is something else by now.
   */
  async removeSame({ bucket, key }: ObjectRef, found: Found, said: Said, check: (now: Found) => void): Promise<void> {
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
    await this.flushed(dirtied);
  }

  async updateFacts(
    bucket: string,
    key: string,
    change: (facts: KeyFacts, info: ObjectInfo) => KeyFacts,
    via?: Attribution,
  ): Promise<ObjectInfo> {
    const { core } = this;
    core.checkWritable();
    if (this.markers.find(bucket, key)) return this.markers.updateFacts(bucket, key, change, via);
    await this.found(bucket, key);
    const { catalog } = core;
    const found = catalog.record((): Found => {
      const now = core.find(bucket, key);
      if (!now) throw noSuchKey(key);
      const old =
        (now.place.kind === 'tree' && now.row && core.tracker.settleFile(now.place, now.row, true)) || now.row;
      const facts = change(old?.facts ?? {}, describe(bucket, key, { ...now, row: old }));
      const seq = catalog.nextSeq();
      // by these it is known when it is renamed, though nobody has hashed it
      const hashed = old !== undefined && old.etag !== '';
      const stamps = hashed ? {} : { fp: formatFingerprint(now.fp), ctime: String(now.stat.ctimeNs) };
      const said = via?.event === undefined ? {} : { via: viaOf(via, via.event) };
      catalog.journal.append({ op: 'facts', seq, ...subjectOf(now.place), facts, ...stamps, ...said });
      const row: FileRow = { ...(old ?? newRow()), facts, seq };
      if (!hashed) Object.assign(row, { fp: now.fp, ctimeNs: now.stat.ctimeNs });
      catalog.putRow(now.place, row);
      catalog.noteSettled();
      return { ...now, row };
    });
    await this.flushed(new Set());
    return describe(bucket, key, found);
  }

  /** Journal and folders, unless durability is `fast`. */
  async flushed(dirtied: Set<string>): Promise<void> {
    if (!this.core.durable) return;
    await this.core.catalog.journal.flush(this.core.catalog.journal.segment);
    await this.core.syncDirs(dirtied);
  }
}

/** Whether the disk has more room once a file has lost this name. */
function freesRoom({ nlink, blocks }: BigIntStats): boolean {
  return nlink === 1n && blocks > 0n;
}

/**
 * Whether a file that was replaced, unlinked or renamed while it was read holds the bytes that its ETag tells of: another program may have rewritten it
 * just before, with its old size and mtime. A small one is read once more; of a large one it is taken for granted.
 */
async function holdsRenamed({ catalog }: Core, { size }: ObjectInfo, told: Found, file: OpenFile): Promise<boolean> {
  if (size > SMALL_FILE) return true;
  const { row } = told;
  if (!row || isAppending(told) || knowledge(told) !== 'known') return true;
  const layout = row.layout === undefined ? undefined : catalog.index.layout(row.layout);
  const md5s = await md5sOf(file, endsOf(size, layout)).catch(() => []);
  // none: it has changed again, by us or in a way that shows
  return md5s.length === 0 || etagOf(md5s, layout) === row.etag;
}

/** Whether an open file is the one that was found, unchanged but for what is being appended to it. */
function isSame(found: Found, b: BigIntStats): boolean {
  const { stat: a } = found;
  if (a.ino !== b.ino || a.dev !== b.dev) return false;
  return isAppending(found) || (a.mtimeNs === b.mtimeNs && a.size === b.size);
}

export function newRow(): FileRow {
  return { kind: 'file', fp: NO_FINGERPRINT, ctimeNs: 0n, seq: 0, etag: '', published: false };
}

/** The checksum that a plan wants stored, from the digests. */
export function storedChecksum(
  plan: DigestPlan,
  digests: Digests,
): { algorithm?: ChecksumAlgorithm; checksum?: Checksum } {
  const digest = plan.store && digests[plan.store];
  if (!plan.store || !digest) return {};
  return {
    algorithm: plan.store,
    checksum: { algorithm: plan.store, type: 'FULL_OBJECT', value: digest.toString('base64') },
  };
}

/** Parts in order, from a layout's runs. @param checksum of the object: without it nothing proves those of the parts. */
function partsOf(layout: Layout | undefined, checksum: Checksum | undefined): ObjectPart[] {
  if (!layout) return [];
  const out: ObjectPart[] = [];
  for (const [size, times] of layout.sizes) {
    for (let i = 0; i < times; i++) {
      const value = checksum && layout.checksums?.[out.length];
      out.push({
        partNumber: layout.numbers?.[out.length] ?? out.length + 1,
        size,
        ...(value !== undefined && { checksum: value }),
      });
    }
  }
  return out;
}
