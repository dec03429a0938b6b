/**
 * Words that all layers share: checksum algorithms, ACLs, tags.
 * Plain data; no behaviour.
 */
export const CHECKSUM_ALGORITHMS = [
  'CRC32',
  'CRC32C',
  'CRC64NVME',
  'SHA1',
  'SHA256',
  'SHA512',
  'MD5',
  'XXHASH64',
  'XXHASH3',
  'XXHASH128',
] as const;
export type ChecksumAlgorithm = (typeof CHECKSUM_ALGORITHMS)[number];
export type ChecksumType = 'FULL_OBJECT' | 'COMPOSITE';

/** A checksum of an object or part; `value` is base64 of the big-endian digest, with `-N` behind it when composite of N parts. */
export interface Checksum {
  algorithm: ChecksumAlgorithm;
  type: ChecksumType;
  value: string;
}

export interface Owner {
  id: string;
  displayName: string;
}

export type Permission = 'FULL_CONTROL' | 'READ' | 'WRITE' | 'READ_ACP' | 'WRITE_ACP';
export type Grantee =
  | { type: 'CanonicalUser'; id: string; displayName?: string }
  | { type: 'Group'; uri: string }
  | { type: 'AmazonCustomerByEmail'; email: string };
export interface Grant {
  grantee: Grantee;
  permission: Permission;
}
/** Access control list as S3 shows it: the owner is always named. */
export interface Acl {
  owner: Owner;
  grants: Grant[];
}

/** What a bucket tells of its objects, and whom. */
export interface NotificationSettings {
  rules: NotificationRule[];
  /** S3's switch for its event bus: everything goes to the target `eventbridge`. */
  eventBridge?: true;
  /** Number of the last change that is not told of any more: what was before is not told at all. */
  since?: number;
}
export interface NotificationRule {
  id: string;
  kind: 'Topic' | 'Queue' | 'CloudFunction';
  /** As the client gave it; its name is that of a target. */
  arn: string;
  /** `s3:ObjectCreated:Put`, `s3:ObjectCreated:*` … */
  events: string[];
  prefix?: string;
  suffix?: string;
}

/** Tags in the order given; keys are unique. */
export type Tags = [key: string, value: string][];

/** What a client said of a key; stays with the key whatever happens to the bytes outside (DESIGN rule 4). */
export interface KeyFacts {
  contentType?: string;
  contentEncoding?: string;
  contentDisposition?: string;
  contentLanguage?: string;
  cacheControl?: string;
  /** As the client gave it, an HTTP date or not. */
  expires?: string;
  websiteRedirect?: string;
  storageClass?: string;
  /** User metadata: names in lower case without `x-amz-meta-`, values decoded. */
  metadata?: Record<string, string>;
  tags?: Tags;
  acl?: Acl;
  owner?: Owner;
}

/**
 * A body as it comes: bytes after transfer decoding, in order. A throw of the iterable aborts the write. A chunk is lent: it is as it
 * was until the next one is asked for, and who needs it longer copies it.
 */
export interface Body {
  chunks: AsyncIterable<Uint8Array>;
  /** Bytes announced, where known: checked against what came (IncompleteBody) and against `--min-free`. */
  size?: number;
}

/** Digests of a body: raw bytes per algorithm. MD5 is always computed. */
export type Digests = Partial<Record<ChecksumAlgorithm, Buffer>> & { MD5: Buffer };

/** Which digests to compute on the way, and the check on them before anything is published. */
export interface DigestPlan {
  algorithms: ChecksumAlgorithm[];
  /** Called once after the last byte (trailers are known then). Throws BadDigest … to refuse the body. */
  check?: (digests: Digests, size: number) => void;
  /** The one whose value is stored with the object or part. */
  store?: ChecksumAlgorithm;
}

/** Conditions of a write, evaluated under the lock at the instant of publishing. ETags without quotes. */
export interface WriteCondition {
  /** The object must exist with one of these ETags; `*`: it must exist. @throws PreconditionFailed, NoSuchKey. */
  ifMatch?: string[];
  /** `*`: no object may exist. Or: none with one of these ETags. */
  ifNoneMatch?: string[];
  /** DeleteObject(s) only: last modified (ms, whole seconds) and size must match. */
  ifLastModified?: number;
  ifSize?: number;
}

/** Conditions on the source of a copy or of a read. Times in ms. */
export interface ReadCondition {
  ifMatch?: string[];
  ifNoneMatch?: string[];
  ifModifiedSince?: number;
  ifUnmodifiedSince?: number;
}
