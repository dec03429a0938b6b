/** The store on a local directory: the contract, each method handed to the part that keeps its promise. */
import { toS3Error } from '../base/errors.js';
import type { Body, DigestPlan, KeyFacts, WriteCondition } from '../base/model.js';
import type { Dangling } from '../catalog/replay.js';
import { checkKey } from '../wire/keys.js';
import { Buckets, type Notes } from './buckets.js';
import { Completer } from './complete.js';
import type * as C from './contract.js';
import type { Core } from './core.js';
import { Identifier } from './identifier.js';
import { DirReader } from './dir-reader.js';
import { Lister } from './listing.js';
import { Inspector } from './inspect.js';
import { LiveIndex } from './live.js';
import type { Live } from './live-contract.js';
import { Objects } from './objects.js';
import { Appender } from './append.js';
import { Transfer } from './transfer.js';
import { cleanStaging, recover, restoreUploads } from './recovery.js';
import { Uploads } from './uploads.js';

/** Reader slots of dead processes are freed this often, ms. */
const READER_CHECK_MS = 60_000;

export interface LocalStore extends C.Store {
  /** Real path. */
  readonly root: string;
  readonly stateDir: string;
  /** For the watcher, the scan and the background. */
  readonly live: Live;
  readonly inspect: Inspector;
  /** Oddities at the top of the tree, for whoever starts a server. */
  notes(): Promise<Notes>;
}

export class LocalStoreImpl implements LocalStore {
  readonly root: string;
  readonly stateDir: string;
  readonly live: Live;
  readonly inspect: Inspector;
  private readonly identifier: Identifier;
  private readonly objects: Objects;
  private readonly transfer: Transfer;
  private readonly appender: Appender;
  private readonly buckets: Buckets;
  private readonly lister: Lister;
  private readonly uploads: Uploads;
  private readonly completer: Completer;
  private readonly timer: NodeJS.Timeout;
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
    this.buckets = new Buckets(core, this.objects.publisher);
    const reader = new DirReader(core);
    this.lister = new Lister(core, reader, this.identifier);
    this.live = new LiveIndex(core, reader, this.identifier);
    this.inspect = new Inspector(core);
    this.uploads = new Uploads(core);
    this.completer = new Completer(core, this.uploads, this.objects);
    this.timer = setInterval(() => core.catalog.index.checkReaders(), READER_CHECK_MS);
    this.timer.unref();
  }

  /** Once, at opening. */
  recover(dangling: Dangling, fresh: boolean): void {
    if (this.core.options.readOnly) return;
    recover(this.core, this.objects.publisher, dangling);
    cleanStaging(this.core);
    restoreUploads(this.core, this.uploads, fresh);
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
  createBucket(name: string, settings: C.BucketSettings): Promise<C.Bucket> {
    return this.run(() => this.buckets.create(name, settings));
  }
  deleteBucket(name: string): Promise<void> {
    return this.run(() => this.buckets.delete(name));
  }
  updateBucket(name: string, change: (settings: C.BucketSettings) => C.BucketSettings): Promise<C.Bucket> {
    return this.run(() => this.buckets.update(name, change));
  }
  list(bucket: string, query: C.ListQuery): Promise<C.ListPage> {
    return this.run(() => this.lister.list(bucket, query));
  }
  head(bucket: string, key: string): Promise<C.ObjectInfo> {
    return this.run(() => this.objects.head(bucket, key));
  }
  open(bucket: string, key: string): Promise<C.OpenObject> {
    return this.run(() => this.objects.open(bucket, key));
  }
  put(bucket: string, key: string, body: Body, options?: C.PutOptions): Promise<C.ObjectInfo> {
    return this.run(() => this.objects.put(bucket, checked(key), body, options));
  }
  append(bucket: string, key: string, offset: number, body: Body, options?: C.PutOptions): Promise<C.ObjectInfo> {
    return this.run(() => this.appender.append(bucket, checked(key), offset, body, options));
  }
  copy(from: C.ObjectRef, to: C.ObjectRef, options?: C.CopyOptions): Promise<C.ObjectInfo> {
    return this.run(() => this.transfer.copy(from, { ...to, key: checked(to.key) }, options));
  }
  delete(bucket: string, key: string, options: { condition?: WriteCondition } = {}): Promise<boolean> {
    return this.run(() => this.objects.delete(bucket, key, options.condition));
  }
  move(from: C.ObjectRef, to: C.ObjectRef, options?: C.MoveOptions): Promise<C.ObjectInfo> {
    return this.run(() => this.transfer.move(from, { ...to, key: checked(to.key) }, options));
  }
  updateFacts(
    bucket: string,
    key: string,
    change: (facts: KeyFacts, info: C.ObjectInfo) => KeyFacts,
  ): Promise<C.ObjectInfo> {
    return this.run(() => this.objects.updateFacts(bucket, key, change));
  }
  createUpload(bucket: string, key: string, options: C.UploadOptions): Promise<C.Upload> {
    return this.run(() => this.uploads.create(bucket, checked(key), options));
  }
  getUpload(bucket: string, key: string, uploadId: string): Promise<C.Upload> {
    return this.run(() => this.uploads.get(bucket, key, uploadId));
  }
  listUploads(bucket: string, query: C.ListUploadsQuery): Promise<C.UploadPage> {
    return this.run(() => this.uploads.list(bucket, query));
  }
  putPart(
    bucket: string,
    key: string,
    uploadId: string,
    partNumber: number,
    body: Body,
    options: { digests?: DigestPlan } = {},
  ): Promise<C.Part> {
    return this.run(() => this.uploads.putPart(bucket, key, uploadId, partNumber, body, options.digests));
  }
  listParts(bucket: string, key: string, uploadId: string, query: { after: number; max: number }): Promise<C.PartPage> {
    return this.run(() => this.uploads.listParts(bucket, key, uploadId, query.after, query.max));
  }
  completeUpload(
    bucket: string,
    key: string,
    uploadId: string,
    parts: C.PartRef[],
    options: C.CompleteOptions = {},
  ): Promise<C.ObjectInfo> {
    return this.run(() => this.completer.complete(bucket, key, uploadId, parts, options));
  }
  abortUpload(bucket: string, key: string, uploadId: string): Promise<void> {
    return this.run(() => this.uploads.abort(bucket, key, uploadId));
  }

  close(): Promise<void> {
    this.closing ??= this.shut();
    return this.closing;
  }

  private async shut(): Promise<void> {
    clearInterval(this.timer);
    await this.identifier.close();
    await this.release();
    this.core.close();
  }

  /** The start of every request: the root is there, reads see the last commit of all processes; and what fails is an S3 error. */
  private async run<T>(work: () => T | Promise<T>): Promise<T> {
    try {
      this.core.checkRoot();
      this.core.catalog.index.refresh();
      return await work();
    } catch (error) {
      throw toS3Error(error);
    }
  }
}

/** @throws InvalidURI, KeyTooLongError for what S3 takes for no key. */
function checked(key: string): string {
  checkKey(key);
  return key;
}
