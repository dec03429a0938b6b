/**
 * May this identity do that? The verdict behind the pipeline's authorize stage and `OpContext.authorize`.
 *
 * In order: the bucket's owner may do all that its policy does not deny; an explicit Deny of the policy; an Allow of
 * the policy; the ACL of bucket or object; else AccessDenied. For the owner of a bucket without a policy - the hot path -
 * nothing but two ids are compared.
 */
import { aclAllows } from '../auth/acl.js';
import { evaluatePolicy, isPublicPolicy, parsePolicy } from '../auth/policy.js';
import type { Identity } from '../auth/types.js';
import { S3Error } from '../base/errors.js';
import type { Acl, Owner, Permission, Tags } from '../base/model.js';
import type { Bucket, BucketSettings, ObjectInfo, Store } from '../store/contract.js';
import { policyConditions, type RequestFacts } from './policy-conditions.js';
import { bucketAcl, callerOwner, isPublicGrant, objectAcl } from './owners.js';
import type { AuthorizeTerms, OpContext } from './types.js';

export type { RequestFacts } from './policy-conditions.js';

/** What a bucket's ACL can allow. WRITE covers overwriting and deleting, too. */
const BUCKET_PERMISSION: Readonly<Record<string, Permission>> = {
  's3:ListBucket': 'READ',
  's3:ListBucketVersions': 'READ',
  's3:ListBucketMultipartUploads': 'READ',
  's3:PutObject': 'WRITE',
  's3:DeleteObject': 'WRITE',
  's3:AbortMultipartUpload': 'WRITE',
  's3:ListMultipartUploadParts': 'WRITE',
  's3:GetBucketAcl': 'READ_ACP',
  's3:PutBucketAcl': 'WRITE_ACP',
};
/** What an object's ACL can allow. */
const OBJECT_PERMISSION: Readonly<Record<string, Permission>> = {
  's3:GetObject': 'READ',
  's3:GetObjectAttributes': 'READ',
  's3:GetObjectAcl': 'READ_ACP',
  's3:PutObjectAcl': 'WRITE_ACP',
};
/** What the initiator of an upload may do with it by himself. */
const INITIATOR_ACTIONS: ReadonlySet<string> = new Set(['s3:ListMultipartUploadParts', 's3:AbortMultipartUpload']);
/**
 * The bucket owner's alone: a policy cannot give itself away, nor can it deny them to the owner, or it could lock everyone out (S3: the account's root
 * user). Nor can one that is not understood any more, since another program has renamed its bucket.
 */
const POLICY_ACTIONS: ReadonlySet<string> = new Set([
  's3:GetBucketPolicy',
  's3:PutBucketPolicy',
  's3:DeleteBucketPolicy',
]);

type Policy = ReturnType<typeof parsePolicy>;
type AuthStore = Pick<Store, 'getBucket' | 'head'>;

/**
 * Makes the function for one request.
 * @param rootOwner owner of buckets without recorded owner: that of the first credential.
 * @param facts of the request; `facts.bucket` spares loading the request's own bucket again.
 * @returns a function that resolves, or throws AccessDenied (NoSuchBucket, or NoSuchKey where the identity may list).
 */
export function makeAuthorize(
  store: AuthStore,
  rootOwner: Owner,
  identity: Identity,
  facts: RequestFacts,
): OpContext['authorize'] {
  return async (action, bucketName, key, terms = {}) => {
    if (bucketName === '') return allowService(identity);
    if (action === 's3:CreateBucket') return allowService(identity);
    const bucket = facts.bucket?.name === bucketName ? facts.bucket : await store.getBucket(bucketName);
    const owner = bucket.settings.owner ?? rootOwner;
    if (bucket === facts.bucket) checkExpectedOwner(facts.headers['x-amz-expected-bucket-owner'], owner);
    const isOwner = owns(identity, owner);
    if (isOwner && (bucket.settings.policy === undefined || POLICY_ACTIONS.has(action))) return;
    // DeleteObjects authorizes each of its keys by itself and reports refusals per key.
    if (action === 's3:DeleteObject' && (key === undefined || key === '')) return;
    if (terms.onlyIf && !(await terms.onlyIf())) return;
    const given = asksForTags(bucket) ? await (terms.tags ?? facts.tags ?? none)() : [];
    // The pipeline asks again once the body that holds them was read.
    if (given === undefined) return;
    await decide(
      { store, owner, identity, facts, bucket, isOwner, terms, given },
      action,
      key === '' ? undefined : key,
    );
  };
}

/** Whether this identity may do all in a bucket: it is the owner's, and has no policy that could deny anything. */
export function mayAll({ settings }: Bucket, rootOwner: Owner, identity: Identity): boolean {
  const { owner = rootOwner, policy } = settings;
  return policy === undefined && owns(identity, owner);
}

function owns(identity: Identity, owner: Owner): boolean {
  return identity.kind === 'user' && identity.owner.id === owner.id;
}

/** x-amz-expected-bucket-owner, x-amz-source-expected-bucket-owner. @throws AccessDenied. */
export function checkExpectedOwner(expected: string | undefined, owner: Owner): void {
  if (expected !== undefined && expected !== owner.id) {
    throw new S3Error('AccessDenied', 'The bucket does not belong to the expected owner.');
  }
}

/** ListBuckets and CreateBucket: anyone with a key pair. */
function allowService(identity: Identity): void {
  if (identity.kind === 'anonymous') throw new S3Error('AccessDenied');
}

interface Case {
  store: AuthStore;
  owner: Owner;
  identity: Identity;
  facts: RequestFacts;
  bucket: Bucket;
  isOwner: boolean;
  terms: AuthorizeTerms;
  /** Tags that the object is to have; only looked for where the policy asks for them. */
  given: Tags;
}

function none(): Tags {
  return [];
}

function asksForTags({ name, settings }: Bucket): boolean {
  return settings.policy !== undefined && policyOf(settings.policy, name).asksFor.requestTags;
}

async function decide(c: Case, action: string, key: string | undefined): Promise<void> {
  const verdict = await policyVerdict(c, action, key);
  if (verdict === 'Deny') throw new S3Error('AccessDenied');
  if (c.terms.unlessDenied === true) return;
  // S3, PutBucketPolicy: what those are told whom a policy allows it, but who are not of the owner's account.
  if (!c.isOwner && verdict === 'Allow' && POLICY_ACTIONS.has(action)) throw new S3Error('MethodNotAllowed');
  if (c.isOwner || verdict === 'Allow') {
    if (key !== undefined && action.startsWith('s3:GetObject')) await hideMissing(c, key);
    return;
  }
  if (await uploadVerdict(c, action, key)) return;
  throw new S3Error('AccessDenied');
}

/** An upload that is there is its initiator's: an ACL lets others begin uploads of their own. Of one that is gone, nobody's is said. */
async function uploadVerdict(c: Case, action: string, key: string | undefined): Promise<boolean> {
  const initiator = await c.terms.initiator?.();
  if (initiator !== undefined && initiator.id !== callerOwner(c.identity).id) return false;
  if (initiator !== undefined && c.identity.kind === 'user' && INITIATOR_ACTIONS.has(action)) return true;
  return aclVerdict(c, c.terms.within ?? action, key);
}

/** Only who may list learns that a key does not exist (S3, GetObject: permissions). @throws AccessDenied. */
async function hideMissing(c: Case, key: string): Promise<void> {
  if (await mayList(c, key)) return;
  if ((await headOrNothing(c.store, c.bucket.name, key)) === undefined) throw new S3Error('AccessDenied');
}

async function mayList(c: Case, key: string): Promise<boolean> {
  const verdict = await policyVerdict(listing(c, key), 's3:ListBucket', undefined);
  if (verdict === 'Deny') return false;
  if (c.isOwner || verdict === 'Allow') return true;
  return aclAllows(inForce(c.bucket.settings, bucketAcl(c.bucket.settings, c.owner)), c.identity, 'READ');
}

/** IgnorePublicAcls: what grants to everyone is without effect. */
function inForce(settings: BucketSettings, acl: Acl): Acl {
  if (settings.publicAccessBlock?.ignorePublicAcls !== true) return acl;
  return { ...acl, grants: acl.grants.filter((grant) => !isPublicGrant(grant)) };
}

async function policyVerdict(c: Case, action: string, key: string | undefined): Promise<'Allow' | 'Deny' | undefined> {
  const { name, settings } = c.bucket;
  if (settings.policy === undefined) return undefined;
  const policy = policyOf(settings.policy, name);
  // Existing tags are looked up only for a policy that asks for them.
  const tags =
    key !== undefined && policy.asksFor.existingTags
      ? ((await headOrNothing(c.store, name, key))?.facts.tags ?? [])
      : [];
  const facts = { ...c.facts, region: settings.region ?? c.facts.region };
  const request = {
    identity: c.identity,
    action,
    resource: `arn:aws:s3:::${name}${key === undefined ? '' : `/${key}`}`,
    conditions: policyConditions(facts, c.identity, c.owner.id, tags, c.given, c.terms.about),
  };
  const { within, pins } = c.terms;
  let verdict = evaluatePolicy(policy, request);
  if (verdict === undefined && within !== undefined && pins !== undefined) {
    verdict = evaluatePolicy(policy, { ...request, action: within, pins });
  }
  // RestrictPublicBuckets: a public policy lets in nobody but the owner.
  if (verdict === 'Allow' && settings.publicAccessBlock?.restrictPublicBuckets === true && isPublicPolicy(policy)) {
    return undefined;
  }
  return verdict;
}

async function aclVerdict(c: Case, action: string, key: string | undefined): Promise<boolean> {
  const { name, settings } = c.bucket;
  const ofBucket = BUCKET_PERMISSION[action];
  if (ofBucket !== undefined) return aclAllows(inForce(settings, bucketAcl(settings, c.owner)), c.identity, ofBucket);
  const ofObject = OBJECT_PERMISSION[action];
  if (ofObject === undefined || key === undefined || settings.ownership === 'BucketOwnerEnforced') return false;
  const info = await headOrNothing(c.store, name, key);
  if (info !== undefined)
    return aclAllows(inForce(settings, objectAcl(info.facts, settings, c.owner)), c.identity, ofObject);
  if (await mayList(c, key)) throw new S3Error('NoSuchKey', undefined, { data: { Key: key } });
  return false;
}

/** The case as a listing of this one key would be: a policy that lets list under `public/` shows what is missing there, not elsewhere. */
function listing(c: Case, key: string): Case {
  return { ...c, facts: { ...c.facts, query: new Map([['prefix', key]]) }, terms: {}, given: [] };
}

async function headOrNothing(store: AuthStore, bucket: string, key: string): Promise<ObjectInfo | undefined> {
  try {
    return await store.head(bucket, key);
  } catch (error) {
    if (error instanceof S3Error && error.code === 'NoSuchKey') return undefined;
    throw error;
  }
}

/** Parsed policies by their text: a bucket's policy changes rarely and is asked at every request. */
const parsed = new Map<string, Policy>();
const MAX_PARSED = 256;

function policyOf(text: string, bucket: string): Policy {
  const cacheKey = `${bucket}\n${text}`;
  const known = parsed.get(cacheKey);
  if (known !== undefined) return known;
  const policy = parsePolicy(text, bucket);
  if (parsed.size >= MAX_PARSED) parsed.clear();
  parsed.set(cacheKey, policy);
  return policy;
}
