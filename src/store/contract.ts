/**
 * The contract of a store: what the S3 operations and the commands may ask of it. It knows no HTTP and names no path.
 *
 * - Keys are decoded Unicode strings of 1 to 1,024 UTF-8 bytes; any such key works (DESIGN rule 5). A key that ends in `/`
 *   with an empty body is a directory and a listed marker.
 * - Every object has versions; today there is one, the *null version*, whose id is the string `null`.
 * - Times are milliseconds since 1970, sizes are bytes, ETags are without quotes.
 * - Everything that fails throws an S3Error; a write that throws has changed nothing that a reader can see.
 * - A write that returns has been flushed to the disk (durability `flush`), or handed to the system (`fast`).
 *
 * `test/suites/store.ts` is this contract as tests; every implementation runs it.
 */
import type {
  Acl,
  Body,
  Checksum,
  ChecksumAlgorithm,
  ChecksumType,
  DigestPlan,
  KeyFacts,
  NotificationSettings,
  Owner,
  ReadCondition,
  Tags,
  WriteCondition,
} from '../base/model.js';

export interface Store {
  /** Buckets in byte order of their names. */
  listBuckets(query?: ListBucketsQuery): Promise<BucketPage>;
  /** @throws NoSuchBucket; ServiceUnavailable when the root's mount has vanished. */
  getBucket(name: string): Promise<Bucket>;
  /** The same without waiting, if nothing is in the way; else ask {@link getBucket}. Never throws. */
  bucketAtHand(name: string): Bucket | undefined;
  /** Makes the folder. @throws BucketAlreadyExists (whoever owns it; the caller says which of S3's two codes fits), InvalidBucketName when it can be no folder. */
  createBucket(name: string, settings: BucketSettings): Promise<Bucket>;
  /** @throws BucketNotEmpty naming something that is in the way, NoSuchBucket. */
  deleteBucket(name: string): Promise<void>;
  /** Replaces the settings by what `change` returns, atomically. */
  updateBucket(name: string, change: (settings: BucketSettings) => BucketSettings): Promise<Bucket>;

  /** One page in byte order of the keys, files checked against the disk. */
  list(bucket: string, query: ListQuery): Promise<ListPage>;
  /** @throws NoSuchKey. */
  head(bucket: string, key: string, options?: ReadOptions): Promise<ObjectInfo>;
  /**
   * The object, without waiting, if it was told a moment ago and nothing has changed since; else ask {@link head} or {@link open}. Never throws.
   * @param whole only with its bytes.
   */
  atHand(bucket: string, key: string, whole?: boolean): AtHand | undefined;
  /** Opens the object for reading; the caller closes. Info and bytes are of one and the same file. @throws NoSuchKey. */
  open(bucket: string, key: string, options?: ReadOptions): Promise<OpenObject>;
  put(bucket: string, key: string, body: Body, options?: PutOptions): Promise<ObjectInfo>;
  /** Appends `body` at `offset`, which must be the object's size. @throws InvalidWriteOffset otherwise; 0 creates. */
  append(bucket: string, key: string, offset: number, body: Body, options?: PutOptions): Promise<ObjectInfo>;
  copy(from: ObjectRef, to: ObjectRef, options?: CopyOptions): Promise<ObjectInfo>;
  /** Deletes; a key without an object is no error. Resolves to whether there was one. @throws PreconditionFailed. */
  delete(bucket: string, key: string, options?: DeleteOptions): Promise<boolean>;
  /** The same for many, each by itself, with one flush for all. Resolves to what {@link delete} would for each. */
  deleteEach(
    bucket: string,
    removals: readonly Removal[],
    options?: ChangeOptions,
  ): Promise<PromiseSettledResult<boolean>[]>;
  /** Renames within or across buckets in one rename(2); the target is replaced unless the condition forbids. @throws NoSuchKey, PreconditionFailed. */
  move(from: ObjectRef, to: ObjectRef, options?: MoveOptions): Promise<ObjectInfo>;
  /**
   * Whether the move that a client token asks for has been done, by any process; forgotten after a day. @throws IdempotencyParameterMismatch if the
   * token asked for another one.
   */
  wasMoved(from: ObjectRef, to: ObjectRef, clientToken: MoveToken): Promise<boolean>;
  /**
   * Moves all objects whose keys begin with `from.key` (empty: all of the bucket, which stays) to keys that begin with `to.key`. A folder is one
   * rename(2), at once for all readers; else each entry is.
   * @throws NoSuchKey if there is nothing; PreconditionFailed if something is at the target, then nothing was moved unless an entry came meanwhile;
   * InvalidRequest for a prefix into itself.
   */
  movePrefix(from: ObjectRef, to: ObjectRef, options?: MovePrefixOptions): Promise<MoveReport>;
  /** Changes what a client said of the key (tags, ACL …), not the bytes; `change` sees the current facts. @throws NoSuchKey. */
  updateFacts(
    bucket: string,
    key: string,
    change: (facts: KeyFacts, info: ObjectInfo) => KeyFacts,
    options?: ChangeOptions,
  ): Promise<ObjectInfo>;

  /** Starts a multipart upload; resolves to its id (letters, digits, `-`, `_`). */
  createUpload(bucket: string, key: string, options: UploadOptions): Promise<Upload>;
  /** @throws NoSuchUpload, also when bucket or key do not match the id. */
  getUpload(bucket: string, key: string, uploadId: string): Promise<Upload>;
  listUploads(bucket: string, query: ListUploadsQuery): Promise<UploadPage>;
  putPart(
    bucket: string,
    key: string,
    uploadId: string,
    partNumber: number,
    body: Body,
    options?: { digests?: DigestPlan },
  ): Promise<Part>;
  listParts(bucket: string, key: string, uploadId: string, query: { after: number; max: number }): Promise<PartPage>;
  /**
   * Publishes the object made of `parts`. Completing again what was completed gives the same answer (S3: idempotent retry).
   * @throws NoSuchUpload, InvalidPart, InvalidPartOrder, EntityTooSmall, PreconditionFailed, BadDigest.
   */
  completeUpload(
    bucket: string,
    key: string,
    uploadId: string,
    parts: PartRef[],
    options?: CompleteOptions,
  ): Promise<ObjectInfo>;
  abortUpload(bucket: string, key: string, uploadId: string): Promise<void>;

  /** Ends background work and closes the index and the journal. */
  close(): Promise<void>;
}

/** See {@link Store.atHand}. */
export interface AtHand {
  info: ObjectInfo;
  /** All of a small one's, if they were read; not to be written to. */
  bytes?: Buffer;
}

export interface ObjectRef {
  bucket: string;
  key: string;
}

export interface Bucket {
  name: string;
  /** Creation time: of the folder, or when CreateBucket made it. */
  created: number;
  settings: BucketSettings;
}

/** One JSON file per bucket under `.gos3rve/buckets/`; absent members mean S3's default. Later issues add members. */
export interface BucketSettings {
  owner?: Owner;
  created?: number;
  region?: string;
  acl?: Acl;
  ownership?: 'BucketOwnerEnforced' | 'BucketOwnerPreferred' | 'ObjectWriter';
  tags?: Tags;
  /** Policy document as given (JSON text). */
  policy?: string;
  publicAccessBlock?: PublicAccessBlock;
  cors?: CorsRule[];
  notification?: NotificationSettings;
  /** Identity of the folder that they came along with when another program renamed it. */
  folder?: string;
}
export interface PublicAccessBlock {
  blockPublicAcls: boolean;
  ignorePublicAcls: boolean;
  blockPublicPolicy: boolean;
  restrictPublicBuckets: boolean;
}
export interface CorsRule {
  id?: string;
  allowedOrigins: string[];
  allowedMethods: string[];
  allowedHeaders: string[];
  exposeHeaders: string[];
  maxAgeSeconds?: number;
}

export interface ListBucketsQuery {
  prefix?: string;
  /** Names after this one only. */
  after?: string;
  max?: number;
}
export interface BucketPage {
  buckets: Bucket[];
  /** Pass as `after` to go on; absent at the end. */
  next?: string;
}

export interface ListQuery {
  prefix: string;
  /** Any length; empty for none. */
  delimiter: string;
  /** Only keys and common prefixes after this one (start-after, marker or the decoded continuation token). */
  after: string;
  /** 0 to 1,000. */
  max: number;
}
export interface ListPage {
  /** Objects and common prefixes together, in byte order. */
  entries: ListEntry[];
  /** The last key or common prefix of a truncated page; absent at the end. */
  next?: string;
}
export type ListEntry = { prefix: string } | ObjectInfo;

export interface ObjectInfo {
  bucket: string;
  key: string;
  size: number;
  /** MD5 in hex, `hex-N` for multipart; derived from the fingerprint (also with a `-`) until a foreign file was hashed. */
  etag: string;
  /** Other ETags that were told of the same bytes, before they were hashed; conditions accept them too. */
  aliases?: string[];
  /** Milliseconds; the file's mtime. */
  lastModified: number;
  /** When the file became what it is (ctime): `lastModified` is its mtime, which anybody can set. */
  changed?: number;
  versionId: 'null';
  facts: KeyFacts;
  checksum?: Checksum;
  /** Parts of a multipart object, absent for others; only the count is filled by list and head: see {@link OpenObject.parts}. */
  partCount?: number;
  /** Told from the file alone, while the index is made anew: what clients said of it is not known yet. */
  incomplete?: true;
}

export interface ReadOptions {
  /** Rather be told what the file alone says than wait while the index is made anew. */
  incomplete?: boolean;
}

export interface OpenObject {
  info: ObjectInfo;
  /** Part layout of a multipart object in order. */
  parts(): Promise<ObjectPart[]>;
  /**
   * Reads bytes `start` to `end` (exclusive) and hands them to `sink` in order; a chunk is valid until the promise of its `sink` call
   * resolves. The file is checked once more before the last bytes are handed over.
   * @throws S3Error InternalError when the file was changed meanwhile: cut the connection.
   */
  read(start: number, end: number, sink: (chunk: Buffer) => Promise<void> | void): Promise<void>;
  close(): Promise<void>;
}
export interface ObjectPart {
  partNumber: number;
  size: number;
  checksum?: string;
}

/** For notifications: who asked for a change. */
export interface Attribution {
  /** As in an S3 event record, where it is another than the method's own: `ObjectCreated:Post`, `ObjectTagging:Put`. */
  event?: string;
  /** Access key id, or `Anonymous`; absent for commands on this machine. */
  principal?: string;
  ip?: string;
  requestId?: string;
}
/** Options of every method that changes an object. */
export interface ChangeOptions {
  via?: Attribution | undefined;
}

export interface PutOptions extends ChangeOptions {
  facts?: KeyFacts;
  digests?: DigestPlan;
  condition?: WriteCondition;
}

/** One of several keys that are deleted. */
export interface Removal {
  key: string;
  condition?: WriteCondition;
}

export interface DeleteOptions extends ChangeOptions {
  condition?: WriteCondition;
}

export interface CopyOptions extends ChangeOptions {
  /** Computes the facts of the copy from those of the source; without it they are taken over, but ACL and owner. May throw (conditions on the source). */
  facts?: (source: ObjectInfo) => KeyFacts;
  condition?: WriteCondition;
  /** Recompute this checksum over the copied bytes; without it the source's full-object checksum is kept. */
  checksum?: ChecksumAlgorithm;
}

export interface MoveOptions extends ChangeOptions {
  condition?: WriteCondition;
  /** Checked against the source under the lock. */
  sourceCondition?: ReadCondition;
  /** What a killed move to another file system has left at the target, a copy of the source, does not count against the condition: the source goes. */
  resume?: boolean;
  /** The move is done once: @throws OperationAborted if {@link Store.wasMoved}. */
  clientToken?: MoveToken;
}

/** Given by a client, in one bucket; 1 to 64 ASCII characters. */
export interface MoveToken {
  token: string;
  /** What is asked for by it, whatever tells it from another request. */
  request: string;
}

export interface MovePrefixOptions extends ChangeOptions {
  /** Replace objects at the target, and merge with what is there. */
  force?: boolean;
  /** Only tell. */
  dryRun?: boolean;
  /** Ends between two steps. */
  signal?: AbortSignal;
  /** Called after each step, or for each that would be. */
  onStep?: (step: MoveStep) => Promise<void> | void;
  /** Called before objects are copied to another mount one by one. */
  onTotal?: (total: { objects: number; bytes: number }) => void;
}
/** Keys or prefixes, without the bucket. */
export interface MoveStep {
  kind: 'directory' | 'object';
  from: string;
  to: string;
  /** Something else was there. */
  replaced?: boolean;
  /** Bytes of an object. */
  size?: number;
  /** An interrupted run had copied it. */
  resumed?: boolean;
  /** It was not moved: it was there when it was listed, and no more when its turn came. */
  gone?: boolean;
}
export interface MoveReport {
  /** Renamed as they are. */
  directories: number;
  /** Moved one by one, and their bytes. */
  objects: number;
  bytes: number;
  replaced: number;
  /** Listed, but not there any more when their turn came; absent if there were none. */
  gone?: number;
}

export interface UploadOptions {
  facts?: KeyFacts;
  initiator?: Owner;
  checksum?: { algorithm: ChecksumAlgorithm; type: ChecksumType };
}
export interface Upload {
  uploadId: string;
  bucket: string;
  key: string;
  initiated: number;
  facts: KeyFacts;
  initiator?: Owner;
  checksum?: { algorithm: ChecksumAlgorithm; type: ChecksumType };
}
export interface ListUploadsQuery {
  prefix: string;
  delimiter: string;
  keyMarker: string;
  uploadIdMarker: string;
  max: number;
}
export interface UploadPage {
  /** Uploads and common prefixes in byte order of key, then by time of initiation. */
  entries: (Upload | { prefix: string })[];
  nextKeyMarker?: string;
  nextUploadIdMarker?: string;
}
export interface Part {
  partNumber: number;
  size: number;
  etag: string;
  lastModified: number;
  /** base64, of the upload's algorithm or of the one the part came with. */
  checksum?: { algorithm: ChecksumAlgorithm; value: string };
}
export interface PartPage {
  parts: Part[];
  truncated: boolean;
}
export interface PartRef {
  partNumber: number;
  etag: string;
  checksums: Partial<Record<ChecksumAlgorithm, string>>;
}
export interface CompleteOptions extends ChangeOptions {
  condition?: WriteCondition;
  /** Given by the client for the whole object; must match. */
  checksum?: { algorithm: ChecksumAlgorithm; value: string };
  /** Announced x-amz-mp-object-size; must match. */
  size?: number;
  /** Called now and then while a long completion runs (keep-alive white space). */
  onProgress?: () => void;
}
