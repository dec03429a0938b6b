/** Objects: put and facts. Each method is one promise of the contract; reading, removing, copies, moves and appends have files of their own. */
import { S3Error } from '../base/errors.js';
import type { Body, Checksum, ChecksumAlgorithm, DigestPlan, Digests, KeyFacts } from '../base/model.js';
import { NO_FINGERPRINT, subjectOf } from '../catalog/catalog.js';
import type { FileRow } from '../catalog/rows.js';
import { formatFingerprint } from '../fs/fingerprint.js';
import { createHasher, prepareHashes } from '../fs/hash.js';
import { stageBody, type StageOptions } from '../fs/stage.js';
import { viaOf } from './attribution.js';
import { claimWay } from './claim-way.js';
import type { Attribution, ObjectInfo, PutOptions } from './contract.js';
import { noSuchKey, type Core, type Found, type Target } from './core.js';
import { describe } from './describe.js';
import { holdBucket, type Hold } from './hold.js';
import type { Identifier } from './identifier.js';
import { Markers } from './markers.js';
import { clientMtime } from './mtime.js';
import { Publisher, type Facts } from './publish.js';
import { Reading } from './reading.js';
import { Removing } from './removing.js';

export class Objects {
  readonly publisher: Publisher;
  readonly markers: Markers;
  readonly reading: Reading;
  readonly removing: Removing;

  constructor(
    private readonly core: Core,
    readonly identifier: Identifier,
  ) {
    this.publisher = new Publisher(core, identifier);
    this.markers = new Markers(core, this.publisher);
    this.reading = new Reading(core, identifier, this.markers);
    this.removing = new Removing(core, this.publisher, this.markers);
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
    // under the lock it is looked at again
    const target = core.dirs.beforehand(() => core.target(bucket, key));
    const plan = options.digests ?? { algorithms: [] };
    const { path: directory, stat } = core.stagingAt(target.base);
    const staging = { ...this.stagingIn(directory), mtime: clientMtime(options.facts ?? {}) };
    const inherit = this.publisher.inheritFrom(target, stat);
    const staged = await core.room.during(
      directory,
      body,
      (body) => stageBody(body, plan, staging, inherit, core.durable && 'behind'),
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
    claimWay(core, bucket, key);
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
    await core.flushed([]);
    return describe(bucket, key, found);
  }
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
