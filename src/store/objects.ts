/** Objects: put, delete, facts. Each method is one promise of the contract; copies, moves and appends have files of their own. */
import { unlinkSync, type BigIntStats } from 'node:fs';
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
import type { FileRow } from '../catalog/rows.js';
import { formatFingerprint } from '../fs/fingerprint.js';
import { createHasher, prepareHashes } from '../fs/hash.js';
import { keyToPath } from '../fs/keypath.js';
import { stageBody, type StageOptions } from '../fs/stage.js';
import { viaOf } from './attribution.js';
import type { Attribution, ObjectInfo, ObjectRef, PutOptions } from './contract.js';
import { lstatOf, noSuchKey, type Core, type Found, type Target } from './core.js';
import { describe, sameFacts } from './describe.js';
import { holdBucket, type Hold } from './hold.js';
import type { Identifier } from './identifier.js';
import { Markers } from './markers.js';
import { clientMtime } from './mtime.js';
import { Publisher, retried, type Facts } from './publish.js';
import { Reading } from './reading.js';

/** What the line of a removal tells beside it. */
interface Said {
  via: Via;
  /** Of the move that ends by it. */
  clientToken?: ClientToken;
}

export class Objects {
  readonly publisher: Publisher;
  readonly markers: Markers;
  readonly reading: Reading;

  constructor(
    private readonly core: Core,
    readonly identifier: Identifier,
  ) {
    this.publisher = new Publisher(core, identifier);
    this.markers = new Markers(core, this.publisher);
    this.reading = new Reading(core, identifier, this.markers);
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
    await this.reading.found(bucket, key);
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
