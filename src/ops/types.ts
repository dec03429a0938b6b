/**
 * The shape of an S3 operation. `ops/table.ts` is the one list of all of them: the router matches on it, authorization takes the
 * action from it, the README's table is generated from it. A row without a handler answers 501 NotImplemented.
 */
import type { Grantees } from '../auth/keyring.js';
import type { Identity } from '../auth/types.js';
import type { Body, Owner, Tags } from '../base/model.js';
import type { Notifier } from '../jobs/events/targets.js';
import type { Attribution, Bucket, ObjectInfo, OpenObject, Store } from '../store/contract.js';
import type { ConditionKeys } from '../wire/conditions.js';
import type { XmlElement } from '../wire/xml.js';

export type Level = 'service' | 'bucket' | 'object';
/** `none`: a body is read and thrown away (bounded); `xml`: whole, bounded, as a Buffer; `stream`: as it comes; `form`: multipart/form-data, whose fields become headers and whose file the body. */
export type BodyMode = 'none' | 'xml' | 'stream' | 'form';

export interface Operation {
  /** Name in the S3 model, e.g. `ListObjectsV2`. */
  name: string;
  method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  level: Level;
  /** Query parameters that must be there: `['uploads']`, `['partNumber', 'uploadId']`, or with a value `['list-type=2']`. */
  query?: readonly string[];
  /** Header that must be there, e.g. `x-amz-copy-source`. */
  header?: string;
  /** Policy action, e.g. `s3:PutObject`; also what ownership is checked by. */
  action: string;
  body: BodyMode;
  /** True if it changes anything: refused under --read-only. */
  writes: boolean;
  /** May run for buckets that do not exist (CreateBucket). */
  bucketOptional?: boolean;
  /** Rights it needs beyond `action`, by what the request says (ops/rights.ts). */
  alsoNeeds?: (asked: Asked, store: Pick<Store, 'head'>) => readonly (AuthorizeTerms & Subject)[];
  /** How its own action is judged, where it matters. */
  terms?: (asked: Asked, store: Pick<Store, 'getUpload'>) => AuthorizeTerms;
  /** The tags that the request gives an object, for policies that ask for them; undefined while they are in a body that is not read. */
  tags?: (asked: AskedWithBody) => Tags | undefined;
  /** Refused before the body is asked for (before 100-continue is answered). */
  precheck?: (ctx: OpContext, input: OpInput) => Promise<void>;
  handler?: Handler;
  /**
   * What the handler answers, without waiting, as far as the store has it at hand. Undefined, or whatever it throws: the handler tells.
   * @param before what it answered to the very same request: the same again, if it still holds.
   */
  atHand?: (ctx: Pick<OpContext, 'store' | 'identity'>, asked: Asked, before?: Answered) => AnsweredAtHand | undefined;
}

/** What was answered of an object, but for its bytes: to the same request it is the same as long as `info` is the very one that the store tells. */
export interface Answered {
  info: ObjectInfo;
  status: number;
  headers: Record<string, string>;
  /** Of the body, exclusive. */
  start: number;
  end: number;
}

export interface AnsweredAtHand {
  answer: Answered;
  /** None for HEAD. */
  bytes?: Buffer;
}

/** What a request asks for, as far as it is known before the body. */
export type Asked = Pick<OpInput, 'bucket' | 'key' | 'query' | 'headers'>;
/** `text` once the body was read (mode `xml`). */
export type AskedWithBody = Asked & { text?: string | undefined };

export interface Subject {
  action: string;
  bucket: string;
  key: string;
}

/** How a right beyond a row's own is judged. */
export interface AuthorizeTerms {
  /** Not needed unless this holds; asked only where the answer matters. */
  onlyIf?: () => Promise<boolean>;
  /** A Deny refuses, no Allow is needed. */
  unlessDenied?: boolean;
  /**
   * What it is a part of. A bucket's ACL knows only writing as a whole, so who may do `within` by it may do this, too; so may whom a statement of
   * the policy allows `within` on conditions that fix all of `pins` (condition keys), which says as much.
   */
  within?: string;
  pins?: readonly string[];
  /** Tags that the object is to have, where they are not those that the request names. */
  tags?: () => Promise<Tags>;
  /** What is said of this very object, where the headers and the query of the request speak of another one. */
  about?: ConditionKeys & { versionId?: string | undefined };
  /**
   * Who began the upload that is gone on with; undefined if it is not there. A bucket's ACL lets nobody else meddle with it, and he himself may list and
   * abort it unless a policy denies it.
   */
  initiator?: () => Promise<Owner | undefined>;
}

export type Handler = (ctx: OpContext, input: OpInput) => Promise<OpResult>;

/** Settings of the service that operations need. */
export interface ServiceConfig {
  region: string;
  /** Bytes; 5 MiB unless a test says otherwise. */
  minPartSize: number;
  /** `https://s3.example.com` without a trailing slash, if told by --public-url. */
  publicUrl?: string;
  /** Owner of buckets that have none recorded: the first credential's. */
  rootOwner?: Owner;
  /** Sends events; without it no bucket can be configured to. */
  notifier?: Notifier;
  /** Who may be named in an ACL; without it any id is taken. */
  grantees?: Grantees;
}

export interface OpContext {
  store: Store;
  service: ServiceConfig;
  identity: Identity;
  requestId: string;
  /** For notifications: handed on to every method of the store that changes an object. */
  via?: Attribution;
  /** The bucket was named by the host: `bucket.s3.example.com`. */
  virtualHosted?: boolean;
  /** The client came by TLS. */
  secure?: boolean;
  /** The request's bucket, loaded by the pipeline; absent at the service level and where bucketOptional found none. */
  bucket?: Bucket;
  /** Throws AccessDenied unless the identity may do `action` there: for the source of a rename, keys of DeleteObjects. */
  authorize(action: string, bucket: string, key?: string, terms?: AuthorizeTerms): Promise<void>;
  /** Sends status 200 and white space now, and again at each call, so that a long operation outlives client timeouts; errors then travel in the body. */
  keepAlive(): void;
}

export interface OpInput {
  /** '' at the service level. */
  bucket: string;
  /** Decoded once, by the router; '' unless at the object level. */
  key: string;
  /** Decoded; the first value of each name. A parameter without `=` has the value ''. */
  query: ReadonlyMap<string, string>;
  /** Names in lower case; several lines joined by `,`. */
  headers: Readonly<Record<string, string | undefined>>;
  /** Body mode `stream`: after aws-chunked decoding and signature checks. */
  body: Body;
  /** Body mode `xml`: the whole text, `''` if empty. */
  text: string;
  /** Trailing headers; filled once the body was read to its end. */
  trailers: Readonly<Record<string, string | undefined>>;
}

/** What the pipeline sends. Exactly one of `xml`, `object`, `text` or none of them. */
export interface OpResult {
  /** 200 unless told. */
  status?: number;
  headers?: Record<string, string>;
  xml?: XmlElement;
  /** Bytes `start` to `end` (exclusive) of an open object; the responder closes it. Headers (Content-Length too) come from the handler. */
  object?: { open: OpenObject; start: number; end: number };
  text?: string;
  /** All that is told of a body, at hand; headers (Content-Length too) come from the handler. */
  bytes?: Buffer;
}
