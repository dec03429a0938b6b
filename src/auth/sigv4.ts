/**
 * Who sent this request? Signature Version 4 in the Authorization header or in the query, a bearer token, or nobody.
 * Source: Amazon S3 API Reference, "Authenticating Requests (AWS Signature Version 4)".
 */
import { S3Error } from '../base/errors.js';
import { canonicalQuery, queryPairs, splitTarget } from './canonical.js';
import { identityOf, type Keyring } from './keyring.js';
import { payloadMode, unsignedPayloadMode } from './payload.js';
import { authenticateQuery } from './presigned.js';
import { findScope } from './scope.js';
import { ALGORITHM, formatTimestamp, parseTimestamp, signatureOf } from './signature.js';
import type { AuthResult, SignedRequest } from './types.js';
import { MAX_SKEW_MS, refuseSessionToken, verify, type AuthOptions } from './verify.js';

export type { AuthOptions } from './verify.js';

/**
 * Verifies the signature of a request and says who sent it and how its body is to be read. A request without any credentials is
 * anonymous; whether it may do anything is not decided here.
 * @throws S3Error AccessDenied, AuthorizationHeaderMalformed, AuthorizationQueryParametersError, InvalidAccessKeyId, InvalidArgument,
 *   InvalidRequest, InvalidToken, NotImplemented, RequestTimeTooSkewed, SignatureDoesNotMatch.
 * @example authenticate({ method, url, headers }, keyring, { region: 'us-east-1', now: Date.now() })
 */
export function authenticate(request: SignedRequest, keyring: Keyring, options: AuthOptions): AuthResult {
  const authorization = request.headers.authorization ?? '';
  const { path, query } = splitTarget(request.url);
  const presigned = isPresigned(query);
  const presignedV2 = !presigned && /(?:^|&)AWSAccessKeyId=/.test(query) && /(?:^|&)Signature=/.test(query);
  if (authorization !== '' && (presigned || presignedV2)) {
    throw new S3Error(
      'InvalidArgument',
      'Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified',
      { data: { ArgumentName: 'Authorization' } },
    );
  }
  if (presigned) return authenticateQuery(request, { path, query }, keyring, options);
  if (presignedV2) throw signatureV2();
  if (authorization === '') {
    return { identity: { kind: 'anonymous' }, payload: unsignedPayloadMode(request.headers), via: 'none' };
  }
  if (authorization.startsWith(ALGORITHM)) {
    return authenticateHeader(request, authorization, path, query, keyring, options);
  }
  return authenticateOtherwise(request, authorization, keyring, options);
}

/** Whether a query (as sent, without `?`) carries a signature of version 4, right or wrong. */
export function isPresigned(query: string): boolean {
  return /(?:^|&)X-Amz-(?:Algorithm|Credential|Signature)=/.test(query);
}

function authenticateHeader(
  request: SignedRequest,
  authorization: string,
  path: string,
  query: string,
  keyring: Keyring,
  options: AuthOptions,
): AuthResult {
  const { headers } = request;
  const fields = parseAuthorization(authorization);
  const { timestamp, at } = requestTime(request, options);
  const scope = findScope(fields.credential, timestamp, options.region, keyring, {
    code: 'AuthorizationHeaderMalformed',
    prefix: 'The authorization header is malformed;',
  });
  refuseSessionToken(headers['x-amz-security-token']);
  const payloadHash = headers['x-amz-content-sha256'];
  if (payloadHash === undefined) {
    throw new S3Error('InvalidRequest', 'Missing required header for this request: x-amz-content-sha256');
  }
  const payload = payloadMode(payloadHash, { key: scope.key, timestamp, scope: scope.text, seed: fields.signature });
  verify(request, scope, {
    path,
    query: query === '' ? '' : canonicalQuery(queryPairs(query)),
    signedHeaders: fields.signedHeaders,
    payloadHash,
    timestamp,
    signature: fields.signature,
  });
  keyring.rememberScope(fields.credential, scope);
  return { identity: scope.identity, payload, signature: signatureOf(at), via: 'header' };
}

interface AuthorizationFields {
  credential: string;
  signedHeaders: string;
  signature: string;
}

function parseAuthorization(authorization: string): AuthorizationFields {
  const fields: Record<string, string> = {};
  for (const piece of authorization.slice(ALGORITHM.length).split(',')) {
    const equals = piece.indexOf('=');
    if (equals > 0) fields[piece.slice(0, equals).trim()] = piece.slice(equals + 1).trim();
  }
  const { Credential: credential, SignedHeaders: signedHeaders, Signature: signature } = fields;
  if (!credential || !signedHeaders || !signature) {
    throw new S3Error(
      'AuthorizationHeaderMalformed',
      'The authorization header is malformed; the authorization header requires three components: Credential, SignedHeaders, and Signature.',
    );
  }
  return { credential, signedHeaders, signature };
}

/** x-amz-date goes before Date; both may be ISO 8601 basic or an HTTP date. Returns `YYYYMMDDTHHMMSSZ`, and the same in ms. */
function requestTime(
  { headers }: SignedRequest,
  { now, maxSkewMs = MAX_SKEW_MS }: AuthOptions,
): { timestamp: string; at: number } {
  const text = headers['x-amz-date'] ?? headers.date ?? '';
  const basic = parseTimestamp(text);
  const ms = basic ?? parseHttpDate(text);
  if (ms === undefined) {
    throw new S3Error('AccessDenied', 'AWS authentication requires a valid Date or x-amz-date header');
  }
  if (Math.abs(now - ms) > maxSkewMs) {
    throw new S3Error('RequestTimeTooSkewed', undefined, {
      data: {
        RequestTime: text,
        ServerTime: new Date(now).toISOString().replace(/\.\d+/, ''),
        MaxAllowedSkewMilliseconds: maxSkewMs,
      },
    });
  }
  return { timestamp: basic === undefined ? formatTimestamp(ms) : text, at: ms };
}

function parseHttpDate(text: string): number | undefined {
  if (!/^(?:[A-Za-z]{3,9}, )?\d{1,2}[ -][A-Za-z]{3}[ -]\d{4} \d\d:\d\d:\d\d (?:GMT|UTC|[+-]\d{4})$/.test(text))
    return undefined;
  const ms = Date.parse(text);
  return ms >= 0 ? ms : undefined;
}

/** Everything but AWS4-HMAC-SHA256: bearer tokens, and schemes that are refused each with its own reason. */
function authenticateOtherwise(
  request: SignedRequest,
  authorization: string,
  keyring: Keyring,
  options: AuthOptions,
): AuthResult {
  const space = authorization.indexOf(' ');
  const scheme = space < 0 ? authorization : authorization.slice(0, space);
  if (scheme.toLowerCase() === 'bearer') {
    const credential = keyring.byToken(authorization.slice(scheme.length).trim());
    if (credential === undefined) throw new S3Error('InvalidToken');
    return { identity: identityOf(credential), payload: unsignedPayloadMode(request.headers), via: 'bearer' };
  }
  if (scheme.startsWith('AWS4-ECDSA-P256-SHA256')) {
    throw new S3Error(
      'NotImplemented',
      'Signature Version 4A (AWS4-ECDSA-P256-SHA256) is not supported; use AWS4-HMAC-SHA256.',
    );
  }
  if (scheme === 'AWS') {
    requestTime(request, options);
    if (!/^AWS [^:\s]+:\S+$/.test(authorization)) {
      throw new S3Error('InvalidArgument', 'AWS authorization header is invalid.  Expected AwsAccessKeyId:signature', {
        data: { ArgumentName: 'Authorization' },
      });
    }
    throw signatureV2();
  }
  throw new S3Error('InvalidArgument', 'Unsupported Authorization Type', { data: { ArgumentName: 'Authorization' } });
}

function signatureV2(): S3Error {
  return new S3Error(
    'InvalidRequest',
    'The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.',
  );
}
