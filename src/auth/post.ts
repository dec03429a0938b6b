/**
 * POST policies: what a browser's form may upload, signed by somebody who may. Both sides: making the fields of a form, and judging the
 * fields that came. Source: Amazon S3 API Reference, "Authenticating Requests in Browser-Based Uploads Using POST (AWS Signature Version 4)".
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { S3Error } from '../base/errors.js';
import { identityOf, type Keyring } from './keyring.js';
import { findScope } from './scope.js';
import {
  ALGORITHM,
  formatTimestamp,
  hmac,
  parseTimestamp,
  signatureEquals,
  signatureOf,
  signingKey,
} from './signature.js';
import type { Credential, Identity, Signature } from './types.js';
import { refuseSessionToken, type AuthOptions } from './verify.js';

/** Form fields, names in lower case, values decoded. */
export type FormFields = ReadonlyMap<string, string>;

export type PolicyCondition =
  | { operator: 'eq' | 'starts-with'; field: string; value: string }
  | { operator: 'content-length-range'; min: number; max: number };

/** Bytes that the file may have. */
export interface SizeRange {
  min: number;
  max: number;
}

export interface PostInput {
  bucket: string;
  /** With `${filename}` in it, the uploader's file name completes it. */
  key: string;
  /** Fields with these very values, such as `Content-Type`. */
  fields?: Readonly<Record<string, string>>;
  size?: SizeRange;
  credential: Pick<Credential, 'accessKey' | 'secretKey'>;
  region: string;
  /** Seconds. */
  expires: number;
  /** ms since 1970; now unless told. */
  now?: number;
}

const FILENAME = '${filename}';

/** The fields of a form that uploads one object; `file` comes last and is the uploader's. */
export function signPost(input: PostInput): Record<string, string> {
  const { bucket, key, fields = {}, size, credential, region, expires, now = Date.now() } = input;
  const timestamp = formatTimestamp(now);
  const day = timestamp.slice(0, 8);
  const signed = {
    ...fields,
    'x-amz-algorithm': ALGORITHM,
    'x-amz-credential': `${credential.accessKey}/${day}/${region}/s3/aws4_request`,
    'x-amz-date': timestamp,
  };
  const open = key.indexOf(FILENAME);
  const conditions: unknown[] = [
    { bucket },
    open < 0 ? { key } : ['starts-with', '$key', key.slice(0, open)],
    ...Object.entries(signed).map(([name, value]) => ({ [name]: value })),
    ...(size === undefined ? [] : [['content-length-range', size.min, size.max]]),
  ];
  const document = { expiration: new Date(now + expires * 1000).toISOString(), conditions };
  const policy = Buffer.from(JSON.stringify(document)).toString('base64');
  const signature = hmac(signingKey(credential.secretKey, day, region), policy).toString('hex');
  return { key, ...signed, policy, 'x-amz-signature': signature };
}

/**
 * Who made the form, and how large the file may be. A form without policy and signature is anonymous.
 * @throws AccessDenied (expired, unmet conditions, a half signature), InvalidAccessKeyId, SignatureDoesNotMatch, InvalidPolicyDocument,
 *   InvalidArgument, InvalidToken.
 */
export function authenticatePost(
  bucket: string,
  fields: FormFields,
  keyring: Keyring,
  options: AuthOptions,
): { identity: Identity; signature?: Signature; size?: SizeRange } {
  const policy = fields.get('policy');
  const signed = ['x-amz-signature', 'x-amz-credential', 'signature', 'awsaccesskeyid'].some((name) =>
    fields.has(name),
  );
  if (policy === undefined) {
    if (!signed) return { identity: { kind: 'anonymous' } };
    throw missing('Policy');
  }
  const version2 = fields.has('awsaccesskeyid') && !fields.has('x-amz-signature');
  const signer = version2 ? signerV2(policy, fields, keyring) : signerV4(policy, fields, keyring, options);
  const { expiration, conditions } = parsePolicy(policy);
  if (expiration <= options.now) throw denied('Policy expired.');
  const size = checkConditions(conditions, bucket, fields);
  return { ...signer, ...(size === undefined ? {} : { size }) };
}

interface Signer {
  identity: Identity;
  signature: Signature;
}

function signerV4(policy: string, fields: FormFields, keyring: Keyring, options: AuthOptions): Signer {
  const algorithm = required(fields, 'x-amz-algorithm', 'X-Amz-Algorithm');
  const credential = required(fields, 'x-amz-credential', 'X-Amz-Credential');
  const timestamp = required(fields, 'x-amz-date', 'X-Amz-Date');
  const signature = required(fields, 'x-amz-signature', 'X-Amz-Signature');
  if (algorithm !== ALGORITHM)
    throw invalid('X-Amz-Algorithm', algorithm, `X-Amz-Algorithm only supports "${ALGORITHM}"`);
  const at = parseTimestamp(timestamp);
  if (at === undefined) throw invalid('X-Amz-Date', timestamp, 'X-Amz-Date must be formatted as ISO8601 basic');
  const complaint = { code: 'InvalidArgument', prefix: 'Error parsing the X-Amz-Credential field;' } as const;
  const scope = findScope(credential, timestamp, options.region, keyring, complaint);
  refuseSessionToken(fields.get('x-amz-security-token'));
  // The string to sign is the policy as it was sent, in base64.
  if (!signatureEquals(hmac(scope.key, policy), signature))
    throw mismatch(scope.credential.accessKey, policy, signature);
  return { identity: identityOf(scope.credential), signature: signatureOf(at) };
}

/**
 * Forms of version 2 (HMAC-SHA1 over the policy) are still what many programs make. Unlike a request of version 2, whose signature leaves out most of
 * what it asks for, the policy says it all.
 */
function signerV2(policy: string, fields: FormFields, keyring: Keyring): Signer {
  const accessKey = required(fields, 'awsaccesskeyid', 'AWSAccessKeyId');
  const signature = required(fields, 'signature', 'Signature');
  const credential = keyring.byAccessKey(accessKey);
  if (credential === undefined)
    throw new S3Error('InvalidAccessKeyId', undefined, { data: { AWSAccessKeyId: accessKey } });
  const expected = createHmac('sha1', credential.secretKey).update(policy).digest();
  const provided = Buffer.from(signature, 'base64');
  if (provided.length !== expected.length || !timingSafeEqual(provided, expected))
    throw mismatch(accessKey, policy, signature);
  return { identity: identityOf(credential), signature: { version: 'AWS' } };
}

function mismatch(accessKey: string, policy: string, signature: string): S3Error {
  return new S3Error('SignatureDoesNotMatch', undefined, {
    data: { AWSAccessKeyId: accessKey, StringToSign: policy, SignatureProvided: signature },
  });
}

interface Policy {
  /** ms */
  expiration: number;
  conditions: PolicyCondition[];
}

/** @param text base64 of JSON. @throws InvalidPolicyDocument. */
export function parsePolicy(text: string): Policy {
  let document: unknown;
  try {
    document = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(text, 'base64')));
  } catch {
    throw malformed('Invalid JSON.');
  }
  if (!isRecord(document)) throw malformed('Invalid JSON.');
  // Member names are case-sensitive (S3, "POST Policy").
  const { expiration, conditions } = document;
  if (expiration === undefined) throw malformed('Policy missing expiration.');
  const end = typeof expiration === 'string' && ISO_DATE.test(expiration) ? Date.parse(expiration) : NaN;
  if (Number.isNaN(end)) throw malformed("Invalid 'expiration' value.");
  if (conditions === undefined) throw malformed('Policy missing conditions.');
  if (!Array.isArray(conditions) || conditions.length === 0)
    throw malformed("Invalid 'conditions' value: must contain a List.");
  return { expiration: end, conditions: conditions.flatMap(parseCondition) };
}

const ISO_DATE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/;

function parseCondition(condition: unknown): PolicyCondition[] {
  if (isRecord(condition)) {
    const entries = Object.entries(condition);
    if (entries.length === 0) throw malformed('Invalid Condition: it is empty.');
    return entries.map(([name, value]) => {
      if (typeof value !== 'string') throw malformed(`Invalid Simple-Condition: value of ${name} must be a string.`);
      return { operator: 'eq', field: name.toLowerCase(), value };
    });
  }
  if (!Array.isArray(condition)) throw malformed('Invalid Condition: it must be a list or an object.');
  const [operator, first, second] = condition as unknown[];
  if (condition.length !== 3) throw malformed('Invalid Condition: it must have three elements.');
  const kind = typeof operator === 'string' ? operator.toLowerCase() : '';
  if (kind === 'content-length-range') return [{ operator: kind, min: limit(first), max: limit(second) }];
  if (
    (kind === 'eq' || kind === 'starts-with') &&
    typeof first === 'string' &&
    typeof second === 'string' &&
    first.startsWith('$')
  )
    return [{ operator: kind, field: first.slice(1).toLowerCase(), value: second }];
  throw malformed(`Invalid Condition: unknown or malformed operation '${String(operator)}'.`);
}

function limit(value: unknown): number {
  const number = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < 0)
    throw malformed('Invalid content-length-range: a limit is no whole number.');
  return number;
}

/** Fields that no condition has to name. */
const FREE: ReadonlySet<string> = new Set(['policy', 'x-amz-signature', 'signature', 'awsaccesskeyid', 'file']);

/** Every condition holds and every field is named by one. @returns the limits of the size, if there are any. */
function checkConditions(
  conditions: readonly PolicyCondition[],
  bucket: string,
  fields: FormFields,
): SizeRange | undefined {
  let size: SizeRange | undefined;
  const named = new Set<string>();
  for (const condition of conditions) {
    if (condition.operator === 'content-length-range') {
      const { min, max } = condition;
      size = { min: Math.max(min, size?.min ?? 0), max: Math.min(max, size?.max ?? Infinity) };
      continue;
    }
    const { operator, field, value } = condition;
    named.add(field);
    // The bucket is that of the address, whatever a field says.
    const found = field === 'bucket' ? bucket : fields.get(field);
    if (!(operator === 'eq' ? found === value : startsWith(field, found, value)))
      throw denied(`Policy Condition failed: ["${operator}", "$${field}", "${value}"]`);
  }
  // S3 wants the bucket to be named, too: a form must not work for all buckets of its maker.
  for (const name of ['bucket', ...fields.keys()])
    if (!named.has(name) && !FREE.has(name) && !/^x-(ignore|amz-checksum)-/.test(name))
      throw denied(`Extra input fields: ${name}`);
  return size;
}

/** An empty start fits anything, but the field has to be there. Of a list of content types each has to fit. */
function startsWith(field: string, found: string | undefined, start: string): boolean {
  if (found === undefined) return false;
  if (field === 'content-type' && found.includes(','))
    return found.split(',').every((type) => type.trim().startsWith(start));
  return found.startsWith(start);
}

function required(fields: FormFields, name: string, shown: string): string {
  const value = fields.get(name);
  if (value === undefined) throw missing(shown);
  return value;
}

function missing(field: string): S3Error {
  return invalid(
    field,
    '',
    `Bucket POST must contain a field named '${field}'.  If it is specified, please check the order of the fields.`,
  );
}

function invalid(name: string, value: string, message: string): S3Error {
  return new S3Error('InvalidArgument', message, { data: { ArgumentName: name, ArgumentValue: value } });
}

function denied(message: string): S3Error {
  return new S3Error('AccessDenied', `Invalid according to Policy: ${message}`);
}

function malformed(message: string): S3Error {
  return new S3Error('InvalidPolicyDocument', `Invalid Policy: ${message}`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
