/** The store on a local directory: the contract, each method handed to the part that keeps its promise. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { S3Error, toS3Error } from '../base/errors.js';
import type { Body, DigestPlan, KeyFacts } from '../base/model.js';
import { NotReady } from '../catalog/lmdb.js';
import { DamagedIndex } from '../catalog/rows.js';
import type { Presence } from '../fs/presence.js';
import { checkKey } from '../wire/keys.js';
import { Buckets, type Notes } from './buckets.js';
import { Completer } from './complete.js';
import { ChangeFeed } from './changes.js';
import type { Changes } from './changes-contract.js';
import type * as C from './contract.js';
import type { Core } from './core.js';
import { Identifier } from './identifier.js';
import { bringKeysBack, carryState } from './carry.js';
import { DirReader } from './dir-reader.js';
import { Lister } from './listing.js';
import { Inspector } from './inspect.js';
import { Collector } from './collect/collector.js';
import { LiveIndex } from './live.js';
import type { Live } from './live-contract.js';
import { Objects } from './objects.js';
import { Appender } from './append.js';
import { PrefixMover } from './prefix.js';
import { adoptLostMove } from './settle.js';
import { Transfer } from './transfer.js';
import { settleFoundAppend } from './append-recovery.js';
import { noteRunning, restoreAppends } from './appends-running.js';
import { cleanStaging, knowUploads, recover, restoreUploads } from './recovery.js';
import { Uploads } from './uploads.js';
import { Verifier } from './verify.js';
import { Upkeep } from './upkeep.js';

/** HTTP statuses of answers that tell what there is, or is not. */
const MISSED = new Set([400, 404, 412]);
/** So many objects are deleted under one lock, if they are quickly. */
const REMOVED_AT_ONCE = 64;
/** How long (ms) requests wait while the index is made anew. */
const PATIENCE = { read: 5000, write: 20_000 };

/** Reader slots of dead processes are freed this often, ms. */
const READER_CHECK_MS = 60_000;
/** Whether the root and the index are there is looked at this often, ms. */
const PRESENCE_MS = 1_000;

export interface LocalStore extends C.Store {
  /** Everything that changes objects, whoever does it. */
  readonly changes: Changes;
  /** Real path. */
  readonly root: string;
  readonly stateDir: string;
  /** For the watcher, the scan and the background. */
  readonly live: Live;
  readonly inspect: Inspector;
  readonly verifier: Verifier;
  readonly collector: Collector;
  /** Whether its disk is there, and who wants to know when it goes or comes back. */
  readonly presence: Presence;
  /** Oddities at the top of the tree, for whoever starts a server. */
  notes(): Promise<Notes>;
}

export class LocalStoreImpl implements LocalStore {
  readonly changes: Changes;
  readonly root: string;
  readonly stateDir: string;
  readonly live: Live;
  readonly inspect: Inspector;
  readonly verifier: Verifier;
  readonly collector: Collector;
  private readonly identifier: Identifier;
  private readonly objects: Objects;
  private readonly transfer: Transfer;
  private readonly appender: Appender;
  private readonly buckets: Buckets;
  private readonly lister: Lister;
  private readonly prefixes: PrefixMover;
  private readonly uploads: Uploads;
  private readonly completer: Completer;
  private readonly upkeep: Upkeep;
  private readonly timers: NodeJS.Timeout[];
  private readonly patience: { read: number; write: number };
  private closing: Promise<void> | undefined;

  constructor(
    private readonly core: Core,
    private readonly release: () => Promise<void>,
  ) {
    this.root = core.root;
    this.stateDir = core.stateDir;
    this.identifier = new Identifier(core);
    this.objects = new Objects(core, this.identifier);
    this.transfer = new Transfer(core, this.objects);
    this.appender = new Appender(core, this.objects);
    this.uploads = new Uploads(core);
    this.buckets = new Buckets(core, this.objects.publisher, this.uploads);
    const reader = new DirReader(core);
    this.lister = new Lister(core, reader, this.identifier);
    core.tracker.adopt = (from, to) => adoptLostMove(core, from, to);
    core.settleAppend = (line, path) => settleFoundAppend(core, line, path);
    core.tracker.carry = (renamed) => carryState(core, renamed);
    core.tracker.bringBack = (lost, dirs) => bringKeysBack(core, lost, dirs);
    this.prefixes = new PrefixMover(core, this.objects, this.transfer, this.lister);
    this.live = new LiveIndex(core, reader, this.identifier);
    this.inspect = new Inspector(core);
    this.changes = new ChangeFeed(core);
    this.verifier = new Verifier(core, this.identifier);
    this.collector = new Collector(core, {
      uploads: this.uploads,
      publisher: this.objects.publisher,
      transfer: this.transfer,
    });
    this.completer = new Completer(core, this.uploads, this.objects);
    this.patience = { ...PATIENCE, ...core.options.patience };
    this.upkeep = new Upkeep(core, {
      begin: () => noteRunning(core),
      restore: ({ appends, aborted }) => {
        restoreAppends(
          core,
          appends.map(({ line }) => line).filter(({ id }) => !aborted.has(id)),
        );
        knowUploads(core, this.uploads);
      },
      settle: (dangling) => {
        if (core.options.readOnly) return;
        recover(core, this.objects.publisher, dangling);
        cleanStaging(core);
        restoreUploads(core, this.uploads);
      },
    });
    this.timers = [
      setInterval(() => core.catalog.index.checkReaders(), READER_CHECK_MS),
      // open files keep a disk busy that was taken away, and nobody may ask
      setInterval(() => {
        core.presence.look();
        this.upkeep.watch();
        this.appender.settleLeft();
        core.dirs.closeIdle();
      }, PRESENCE_MS),
    ];
    for (const timer of this.timers) timer.unref();
    core.presence.listen({
      back: () => {
        core.log('info', 'the directory that is served is back', { root: core.root });
        // in a turn of its own: nobody is let in before
        setImmediate(() => void this.upkeep.ready(0));
      },
    });
  }

  get presence(): Presence {
    return this.core.presence;
  }

  /** Once, before anything else. Resolves when the index is ready, or after `patience` ms. */
  prepare(patience: number): Promise<void> {
    return this.upkeep.open(patience);
  }

  notes(): Promise<Notes> {
    return this.run(() => this.buckets.notes());
  }
  listBuckets(query: C.ListBucketsQuery = {}): Promise<C.BucketPage> {
    return this.run(() => this.buckets.list(query));
  }
  getBucket(name: string): Promise<C.Bucket> {
    return this.run(() => this.buckets.get(name));
  }
  bucketAtHand(name: string): C.Bucket | undefined {
    return this.atOnce(() => this.buckets.get(name));
  }
  createBucket(name: string, settings: C.BucketSettings): Promise<C.Bucket> {
    const create = (): Promise<C.Bucket> => this.buckets.create(name, settings);
    return this.buckets.isLeft(name) ? this.runReady(create) : this.run(create);
  }
  deleteBucket(name: string): Promise<void> {
    return this.runReady(() => this.buckets.delete(name));
  }
  updateBucket(name: string, change: (settings: C.BucketSettings) => C.BucketSettings): Promise<C.Bucket> {
    return this.run(() => this.buckets.update(name, change));
  }
  list(bucket: string, query: C.ListQuery): Promise<C.ListPage> {
    return this.runSoon(async (ready) => {
      if (ready) return this.lister.list(bucket, query);
      if (this.core.hasOverflow(bucket)) throw this.upkeep.refusal();
      const page = await this.lister.list(bucket, query);
      return { ...page, entries: page.entries.map((entry) => ('prefix' in entry ? entry : incompleteInfo(entry))) };
    }, true);
  }
  head(bucket: string, key: string, { incomplete = false }: C.ReadOptions = {}): Promise<C.ObjectInfo> {
    return this.runSoon(async (ready) => {
      const info = await this.objects.reading.head(bucket, key);
      return ready ? info : incompleteInfo(info);
    }, incomplete);
  }
  open(bucket: string, key: string, { incomplete = false }: C.ReadOptions = {}): Promise<C.OpenObject> {
    return this.runSoon(
      async (ready) => {
        const open = await this.objects.reading.open(bucket, key);
        return ready ? open : { ...open, info: incompleteInfo(open.info) };
      },
      incomplete,
      (open) => open.close(),
    );
  }
  atHand(bucket: string, key: string, whole = false): C.AtHand | undefined {
    return this.atOnce(() => this.objects.reading.atHand(bucket, key, whole));
  }
  put(bucket: string, key: string, body: Body, options?: C.PutOptions): Promise<C.ObjectInfo> {
    return this.runReady(() => this.objects.put(bucket, checked(key), body, options));
  }
  append(bucket: string, key: string, offset: number, body: Body, options?: C.PutOptions): Promise<C.ObjectInfo> {
    return this.runReady(() => this.appender.append(bucket, checked(key), offset, body, options));
  }
  copy(from: C.ObjectRef, to: C.ObjectRef, options?: C.CopyOptions): Promise<C.ObjectInfo> {
    return this.runReady(() => this.transfer.copy(from, { ...to, key: checked(to.key) }, options));
  }
  delete(bucket: string, key: string, options: C.DeleteOptions = {}): Promise<boolean> {
    return this.runReady(() => this.objects.removing.delete(bucket, key, options.condition, options.via));
  }
  async deleteEach(
    bucket: string,
    removals: readonly C.Removal[],
    options: C.ChangeOptions = {},
  ): Promise<PromiseSettledResult<boolean>[]> {
    const { removing } = this.objects;
    const unflushed = { dirs: new Set<string>(), segments: new Set<string>() };
    const together = new Set<number>();
    const results: PromiseSettledResult<boolean>[] = [];
    while (results.length < removals.length) {
      // others are answered between any two
      if (results.length > 0) await nextTurn();
      const some = removals.slice(results.length, results.length + REMOVED_AT_ONCE);
      const done = await this.runReady(() => removing.some(bucket, some, options.via, unflushed)).catch(() =>
        some.map(() => undefined),
      );
      for (const [i, existed] of done.entries()) if (existed !== undefined) together.add(results.length + i);
      const decide = async (existed: boolean | undefined, { key, ...condition }: C.Removal): Promise<boolean> =>
        existed ?? this.delete(bucket, key, { ...condition, ...options });
      const looked = some.slice(0, done.length).map((one, i) => decide(done[i], one));
      results.push(...(await Promise.allSettled(looked)));
    }
    try {
      await this.run(() => this.core.flushed(unflushed.dirs, unflushed.segments));
    } catch (reason) {
      for (const i of together) results[i] = { status: 'rejected', reason };
    }
    return results;
  }
  move(from: C.ObjectRef, to: C.ObjectRef, options?: C.MoveOptions): Promise<C.ObjectInfo> {
    return this.runReady(() => this.transfer.move(from, { ...to, key: checked(to.key) }, options));
  }
  wasMoved(from: C.ObjectRef, to: C.ObjectRef, clientToken: C.MoveToken): Promise<boolean> {
    return this.runReady(() => this.transfer.wasMoved(from, to, clientToken));
  }
  movePrefix(from: C.ObjectRef, to: C.ObjectRef, options?: C.MovePrefixOptions): Promise<C.MoveReport> {
    return this.runReady(() => this.prefixes.move(from, to, options));
  }
  updateFacts(
    bucket: string,
    key: string,
    change: (facts: KeyFacts, info: C.ObjectInfo) => KeyFacts,
    options: C.ChangeOptions = {},
  ): Promise<C.ObjectInfo> {
    return this.runReady(() => this.objects.updateFacts(bucket, key, change, options.via));
  }
  createUpload(bucket: string, key: string, options: C.UploadOptions): Promise<C.Upload> {
    return this.runReady(() => this.uploads.create(bucket, checked(key), options));
  }
  getUpload(bucket: string, key: string, uploadId: string): Promise<C.Upload> {
    return this.runReady(() => this.uploads.get(bucket, key, uploadId));
  }
  listUploads(bucket: string, query: C.ListUploadsQuery): Promise<C.UploadPage> {
    return this.runReady(() => this.uploads.list(bucket, query));
  }
  putPart(
    bucket: string,
    key: string,
    uploadId: string,
    partNumber: number,
    body: Body,
    options: { digests?: DigestPlan } = {},
  ): Promise<C.Part> {
    return this.runReady(() => this.uploads.putPart(bucket, key, uploadId, partNumber, body, options.digests));
  }
  listParts(bucket: string, key: string, uploadId: string, query: { after: number; max: number }): Promise<C.PartPage> {
    return this.runReady(() => this.uploads.listParts(bucket, key, uploadId, query.after, query.max));
  }
  completeUpload(
    bucket: string,
    key: string,
    uploadId: string,
    parts: C.PartRef[],
    options: C.CompleteOptions = {},
  ): Promise<C.ObjectInfo> {
    return this.runReady(() => this.completer.complete(bucket, key, uploadId, parts, options));
  }
  abortUpload(bucket: string, key: string, uploadId: string): Promise<void> {
    return this.runReady(() => this.uploads.abort(bucket, key, uploadId));
  }

  close(): Promise<void> {
    this.closing ??= this.shut();
    return this.closing;
  }

  private async shut(): Promise<void> {
    for (const timer of this.timers) clearInterval(timer);
    await this.upkeep.close();
    await this.identifier.close();
    await this.release();
    this.core.close();
  }

  /** The start of every request: the root is there, reads see the last commit of all processes; and what fails is an S3 error. */
  private async run<T>(work: () => T | Promise<T>): Promise<T> {
    const { index } = this.core.catalog;
    let began: number | undefined;
    try {
      this.presence.checkSeen();
      index.refresh();
      if (index.ready) began = index.generation;
      return await work();
    } catch (error) {
      // whatever was not found, or could not be written, was looked for on a disk that has gone meanwhile
      this.core.checkRoot();
      if (error instanceof DamagedIndex) this.upkeep.damaged(error);
      if (error instanceof DamagedIndex || error instanceof NotReady) throw this.upkeep.refusal();
      const told = toS3Error(error);
      // it may have been looked for in an index that was empty
      if (MISSED.has(told.status) && began !== undefined && this.isLost(began)) throw this.upkeep.refusal();
      throw told;
    }
  }

  /** What can be told without waiting, or nothing: whatever is in the way is told by who asks in full. */
  private atOnce<T>(work: () => T | undefined): T | undefined {
    const { index } = this.core.catalog;
    if (this.upkeep.rebuilding) return undefined;
    try {
      this.presence.checkSeen();
      index.refreshSeen();
      return index.ready ? work() : undefined;
    } catch {
      return undefined;
    }
  }

  /** For what needs the whole index. @throws SlowDown when it is made anew for longer than a client waits. */
  private async runReady<T>(work: () => T | Promise<T>): Promise<T> {
    do {
      this.refreshed();
      if (!(await this.upkeep.ready(this.patience.write))) throw this.upkeep.refusal();
      // lost again while we waited: nothing was begun yet
      this.refreshed();
    } while (this.upkeep.rebuilding);
    return this.run(work);
  }

  /** For reads: after a while they are answered from the tree, if `incomplete` answers are good enough. Run again if the index turned out damaged. */
  private async runSoon<T>(
    work: (ready: boolean) => Promise<T>,
    incomplete: boolean,
    drop: (answer: T) => Promise<void> = () => Promise.resolve(),
  ): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      this.refreshed();
      const ready = await this.upkeep.ready(this.patience.read);
      if (!ready && !incomplete) throw this.upkeep.refusal();
      const { generation } = this.core.catalog.index;
      try {
        return await this.run(async () => {
          const answer = await work(ready);
          if (!ready || !this.isLost(generation, true)) return answer;
          await drop(answer);
          throw new NotReady('the index was lost while it was read');
        });
      } catch (error) {
        // what is not in the tree may be an overflow object that is not known yet
        if (!ready && error instanceof S3Error && error.code === 'NoSuchKey') throw this.upkeep.refusal();
        if (attempt > 0 || !(this.upkeep.rebuilding || this.isLost(generation))) throw error;
      }
    }
  }

  /** Whether what was read from the index since may be wrong, or not all there is. @param asSeen in this turn. */
  private isLost(generation: number, asSeen = false): boolean {
    const { index } = this.core.catalog;
    try {
      return (asSeen ? index.seemsLost() : index.isLost()) || !index.ready || index.generation !== generation;
    } catch {
      // its disk is going away
      return true;
    }
  }

  /** Notices here already that the index was set aside by another process. */
  private refreshed(): void {
    try {
      this.core.catalog.index.refresh();
    } catch {
      // told by the request itself
    }
  }
}

/** What the tree alone says of an object. */
function incompleteInfo(info: C.ObjectInfo): C.ObjectInfo {
  const { contentType } = info.facts;
  return { ...info, facts: contentType === undefined ? {} : { contentType }, incomplete: true };
}

/** @throws InvalidURI, KeyTooLongError for what S3 takes for no key. */
function checked(key: string): string {
  checkKey(key);
  return key;
}
