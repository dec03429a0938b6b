/** Signature Version 4 in the query: presigned URLs. Source: Amazon S3 API Reference, "Authenticating Requests: Using Query Parameters". */
import { S3Error } from '../base/errors.js';
import { canonicalQuery, queryPairs, type QueryPair } from './canonical.js';
import type { Keyring } from './keyring.js';
import { payloadMode } from './payload.js';
import { findScope } from './scope.js';
import { ALGORITHM, parseTimestamp, signatureOf } from './signature.js';
import type { AuthResult, SignedRequest, Validity } from './types.js';
import { MAX_SKEW_MS, refuseSessionToken, verify, type AuthOptions } from './verify.js';

/** Seven days, in seconds. */
export const MAX_EXPIRES = 604_800;

/**
 * @throws AuthorizationQueryParametersError, AccessDenied (expired, not yet valid, unsigned headers), and what {@link verify} throws.
 */
export function authenticateQuery(
  request: SignedRequest,
  { path, query }: { path: string; query: string },
  keyring: Keyring,
  options: AuthOptions,
): AuthResult {
  const { method, url, headers } = request;
  const { host } = headers;
  const { region } = options;
  const alone = isCoveredAlone(headers);
  const known = alone ? keyring.recallPresigned(url) : undefined;
  if (known?.method === method && known.host === host && known.region === region) {
    checkTime(known, options);
    return known.result;
  }
  const pairs = queryPairs(query);
  const fields = readFields(pairs);
  const result = authenticatePairs(request, path, pairs, fields, keyring, options);
  const isPlain = fields.signedHeaders === 'host' && result.payload.kind === 'unsigned';
  const { date, expires } = fields;
  if (alone && isPlain) keyring.rememberPresigned(url, { method, host, region, result, date, expires });
  return result;
}

/** Whether no header but `host` has a say. */
function isCoveredAlone(headers: SignedRequest['headers']): boolean {
  for (const header in headers) if (header.startsWith('x-amz-')) return false;
  return true;
}

function authenticatePairs(
  request: SignedRequest,
  path: string,
  pairs: QueryPair[],
  fields: QueryFields,
  keyring: Keyring,
  options: AuthOptions,
): AuthResult {
  const scope = findScope(fields.credential, fields.timestamp, options.region, keyring, {
    code: 'AuthorizationQueryParametersError',
    prefix: 'Error parsing the X-Amz-Credential parameter;',
  });
  checkTime(fields, options);
  refuseSessionToken(parameter(pairs, 'X-Amz-Security-Token') ?? request.headers['x-amz-security-token']);
  // Presigned: the body is unknown in advance, unless a signed header or parameter promises a digest.
  const payloadHash =
    request.headers['x-amz-content-sha256'] ?? parameter(pairs, 'X-Amz-Content-Sha256') ?? 'UNSIGNED-PAYLOAD';
  const { timestamp, signature, signedHeaders } = fields;
  const payload = payloadMode(payloadHash, { key: scope.key, timestamp, scope: scope.text, seed: signature });
  const query = canonicalQuery(pairs.filter((pair) => pair.name !== 'X-Amz-Signature'));
  verify(request, scope, { path, query, signedHeaders, payloadHash, timestamp, signature });
  keyring.rememberScope(fields.credential, scope);
  return {
    ...{ identity: scope.identity, payload, signature: signatureOf(fields.date), via: 'query' },
    valid: validityOf(fields, options),
  };
}

interface QueryFields {
  credential: string;
  timestamp: string;
  /** ms */
  date: number;
  /** Seconds. */
  expires: number;
  signedHeaders: string;
  signature: string;
}

function readFields(pairs: readonly QueryPair[]): QueryFields {
  const algorithm = parameter(pairs, 'X-Amz-Algorithm');
  const credential = parameter(pairs, 'X-Amz-Credential');
  const timestamp = parameter(pairs, 'X-Amz-Date');
  const expires = parameter(pairs, 'X-Amz-Expires');
  const signedHeaders = parameter(pairs, 'X-Amz-SignedHeaders');
  const signature = parameter(pairs, 'X-Amz-Signature');
  if (algorithm === 'AWS4-ECDSA-P256-SHA256') {
    throw new S3Error(
      'NotImplemented',
      'Signature Version 4A (AWS4-ECDSA-P256-SHA256) is not supported; use AWS4-HMAC-SHA256.',
    );
  }
  if (!algorithm || !credential || !timestamp || expires === undefined || !signedHeaders || !signature) {
    throw malformed(
      'Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.',
    );
  }
  if (algorithm !== ALGORITHM) throw malformed(`X-Amz-Algorithm only supports "${ALGORITHM}"`);
  const date = parseTimestamp(timestamp);
  if (date === undefined) {
    throw malformed("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"");
  }
  return { credential, timestamp, date, expires: readExpires(expires), signedHeaders, signature };
}

function readExpires(text: string): number {
  if (!/^-?\d+$/.test(text)) throw malformed('X-Amz-Expires should be a number');
  const expires = Number(text);
  if (expires < 0) throw malformed('X-Amz-Expires must be non-negative');
  if (expires > MAX_EXPIRES) {
    throw malformed(
      `X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than ${MAX_EXPIRES} seconds`,
    );
  }
  return expires;
}

type Times = Pick<QueryFields, 'date' | 'expires'>;

/** A URL that expires after 0 s has expired when it is made. */
function validityOf({ date, expires }: Times, { maxSkewMs = MAX_SKEW_MS }: AuthOptions): Validity {
  return { from: date - maxSkewMs, until: expires > 0 ? date + expires * 1000 : -Infinity };
}

function checkTime({ date, expires }: Times, options: AuthOptions): void {
  const { now } = options;
  const { from, until } = validityOf({ date, expires }, options);
  if (now < from) throw new S3Error('AccessDenied', 'Request is not yet valid');
  if (now <= until) return;
  const end = date + expires * 1000;
  throw new S3Error('AccessDenied', 'Request has expired', {
    data: { 'X-Amz-Expires': expires, Expires: isoSeconds(end), ServerTime: isoSeconds(now) },
  });
}

/** The decoded value of the first parameter of that name. */
function parameter(pairs: readonly QueryPair[], name: string): string | undefined {
  for (const pair of pairs) {
    if (pair.name !== name) continue;
    return pair.value.includes('%') ? decode(pair.value) : pair.value;
  }
  return undefined;
}

/** Byte by byte: what is no UTF-8 stays as it is and fails later checks. */
function decode(text: string): string {
  return text.replace(/%([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
}

function malformed(message: string): S3Error {
  return new S3Error('AuthorizationQueryParametersError', message);
}

function isoSeconds(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+/, '');
}
