/** The condition keys that a bucket policy can ask of a request (S3 User Guide, "Bucket policy condition keys"). */
import type { EveryRequest } from '../auth/policy-keys.js';
import type { Identity } from '../auth/types.js';
import type { Tags } from '../base/model.js';
import type { Signature } from '../auth/types.js';
import type { Bucket } from '../store/contract.js';
import { conditionKeys } from '../wire/conditions.js';
import { parseCopySource } from '../wire/keys.js';
import { fromWire } from '../wire/rfc2047.js';
import type { AuthorizeTerms } from './types.js';

/** What of a request matters to authorization. */
export interface RequestFacts {
  /** Names in lower case. */
  headers: Readonly<Record<string, string | undefined>>;
  query: ReadonlyMap<string, string>;
  /** Address of the peer, without port. */
  sourceIp?: string;
  /** True behind TLS. */
  secure?: boolean;
  /** The tags that the request gives an object; undefined while they are not known, for the body is not read. */
  tags?: () => Tags | undefined;
  /** How it was signed: `form` by the fields of a browser's form. */
  via?: 'header' | 'query' | 'bearer' | 'none' | 'form';
  /** What the signature says of itself. */
  signature?: Signature | undefined;
  /** What x-amz-content-sha256 would say of the body, however the request told it; undefined where nobody asks. */
  payload?: string | undefined;
  /** Name of the operation. */
  operation?: string;
  /** The service's: where buckets lie that say no other. */
  region: string;
  /** The request's bucket, if loaded. */
  bucket?: Bucket;
}

/** Query parameters that are condition keys `s3:<name>`. */
const QUERY_KEYS = ['prefix', 'delimiter', 'max-keys'] as const;

const AUTH_TYPES = {
  header: 'REST-HEADER',
  query: 'REST-QUERY-STRING',
  form: 'POST',
  bearer: undefined,
  none: undefined,
} as const;

/** Whether an operation that writes makes an object at once (S3 User Guide, "Enforce conditional writes"): the steps before a completion do not. */
const CREATIONS: ReadonlyMap<string, boolean> = new Map([
  ['PutObject', true],
  ['PostObject', true],
  ['CopyObject', true],
  ['RenameObject', true],
  ['CompleteMultipartUpload', true],
  ['CreateMultipartUpload', false],
  ['UploadPart', false],
  ['UploadPartCopy', false],
]);

/** Those that heed If-Match and If-None-Match: elsewhere a header that says so says nothing. */
const CONDITIONAL: ReadonlySet<string> = new Set([
  ...['GetObject', 'HeadObject', 'PutObject', 'CopyObject', 'RenameObject', 'CompleteMultipartUpload', 'DeleteObject'],
]);

/** ms since a request was signed; S3: 0 for version 2. */
function ageOf({ at }: Signature, now: Date): string {
  return at === undefined ? '0' : String(Math.max(0, now.getTime() - at));
}

/** What is said of strangers who are asked for an account (IAM User Guide, "Principal key values"). */
const NOBODY = 'anonymous';

/** Keys that every request has. Nobody asks here for another: no request is a service's, or made by one in somebody's name. */
function always(facts: RequestFacts, identity: Identity, bucketOwner: string, now: Date): EveryRequest {
  const isUser = identity.kind === 'user';
  const id = isUser ? identity.owner.id : NOBODY;
  return {
    'aws:CurrentTime': now.toISOString(),
    'aws:EpochTime': String(Math.floor(now.getTime() / 1000)),
    'aws:PrincipalAccount': id,
    'aws:PrincipalIsAWSService': 'false',
    'aws:PrincipalType': isUser ? 'User' : 'Anonymous',
    'aws:RequestedRegion': facts.region,
    'aws:ResourceAccount': bucketOwner,
    'aws:SecureTransport': String(facts.secure === true),
    'aws:userid': id,
    'aws:ViaAWSService': 'false',
    's3:ResourceAccount': bucketOwner,
  };
}

/**
 * @param bucketOwner id of the owner of the bucket in question.
 * @param existingTags tags of the object named, for `s3:ExistingObjectTag/<key>`.
 * @param givenTags those that it is to have, for `s3:RequestObjectTag/<key>`.
 * @param about what is said of the object in question, where it is not by the request's own headers and query.
 */
export function policyConditions(
  facts: RequestFacts,
  identity: Identity,
  bucketOwner: string,
  existingTags: Tags,
  givenTags: Tags,
  about?: AuthorizeTerms['about'],
): Record<string, string[]> {
  const now = new Date();
  const conditions: Record<string, string[]> = {};
  const set = (name: string, value: string | undefined): void => {
    if (value !== undefined) conditions[name] = [value];
  };
  /** As the operations read it: UTF-8. */
  const setText = (name: string, header: string | undefined): void => {
    set(name, header === undefined ? undefined : fromWire(header));
  };
  for (const [name, value] of Object.entries(always(facts, identity, bucketOwner, now))) set(name, value);
  if (identity.kind === 'user') {
    const { id, displayName } = identity.owner;
    set('aws:PrincipalArn', `arn:aws:iam::${id}:user/${displayName}`);
    set('aws:username', displayName);
  }
  if (facts.signature !== undefined) {
    set('s3:authType', facts.via && AUTH_TYPES[facts.via]);
    set('s3:signatureversion', facts.signature.version);
    set('s3:signatureAge', ageOf(facts.signature, now));
  }
  const creation = facts.operation === undefined ? undefined : CREATIONS.get(facts.operation);
  if (creation !== undefined) set('s3:ObjectCreationOperation', String(creation));
  set('aws:SourceIp', facts.sourceIp);
  setText('aws:Referer', facts.headers.referer);
  setText('aws:UserAgent', facts.headers['user-agent']);
  for (const name of QUERY_KEYS) set(`s3:${name}`, facts.query.get(name));
  const { ifMatch, ifNoneMatch, versionId } = about ?? ownKeys(facts);
  set('s3:VersionId', versionId);
  set('s3:if-match', ifMatch);
  set('s3:if-none-match', ifNoneMatch);
  for (const [name, value] of Object.entries(facts.headers)) {
    if (name.startsWith('x-amz-') && !name.startsWith('x-amz-meta-')) setText(`s3:${name}`, value);
  }
  const source = facts.headers['x-amz-copy-source'];
  if (source !== undefined) set('s3:x-amz-copy-source', bareSource(source));
  Reflect.deleteProperty(conditions, 's3:x-amz-content-sha256');
  set('s3:x-amz-content-sha256', facts.payload);
  for (const [key, value] of existingTags) set(`s3:ExistingObjectTag/${key}`, value);
  for (const [key, value] of givenTags) set(`s3:RequestObjectTag/${key}`, value);
  conditions['s3:RequestObjectTagKeys'] = givenTags.map(([key]) => key);
  return conditions;
}

function ownKeys({ headers, query, operation }: RequestFacts): NonNullable<AuthorizeTerms['about']> {
  const heeded = operation === undefined || CONDITIONAL.has(operation);
  return { ...(heeded ? conditionKeys(headers) : {}), versionId: query.get('versionId') };
}

/** `/bucket/a%20b?versionId=null` -> `bucket/a b`: policies name the source so. What is no source is no one's: the operation refuses it. */
function bareSource(header: string): string {
  try {
    const { bucket, key } = parseCopySource(header);
    return `${bucket}/${key}`;
  } catch {
    return header;
  }
}
