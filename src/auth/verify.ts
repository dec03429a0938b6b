/** What signatures in the header and in the query have in common: options, the check itself. */
import { S3Error } from '../base/errors.js';
import { canonicalHeaders, canonicalPath } from './canonical.js';
import type { Scope } from './keyring.js';
import { hmac, signatureEquals, stringToSign } from './signature.js';
import type { SignedRequest } from './types.js';

export interface AuthOptions {
  /** The region that scopes must name, or `any`. */
  region: string;
  /** ms since 1970. */
  now: number;
  /** 15 minutes unless told. */
  maxSkewMs?: number;
}

export const MAX_SKEW_MS = 15 * 60 * 1000;

export interface Claim {
  path: string;
  /** Canonical. */
  query: string;
  /** Names in lower case, joined by `;`. */
  signedHeaders: string;
  payloadHash: string;
  timestamp: string;
  signature: string;
}

/** @throws AccessDenied when a header that must be signed is not, SignatureDoesNotMatch. */
export function verify({ method, headers }: SignedRequest, scope: Scope, claim: Claim): void {
  const names = claim.signedHeaders.split(';');
  requireSigned(headers, names);
  const canonical =
    `${method}\n${canonicalPath(claim.path)}\n${claim.query}\n` +
    `${canonicalHeaders(names, headers)}\n${claim.signedHeaders}\n${claim.payloadHash}`;
  const text = stringToSign(claim.timestamp, scope.text, canonical);
  if (signatureEquals(hmac(scope.key, text), claim.signature)) return;
  throw new S3Error('SignatureDoesNotMatch', undefined, {
    data: {
      AWSAccessKeyId: scope.credential.accessKey,
      StringToSign: text,
      SignatureProvided: claim.signature,
      CanonicalRequest: withoutSecrets(Buffer.from(canonical, 'latin1').toString('utf8')),
    },
  });
}

/** Error documents come to stand in logs of clients and proxies; a wrong signature is harmless there, a session token or a client's key is not. */
function withoutSecrets(canonical: string): string {
  return canonical.replace(
    /((?:^|[?&\n])x-amz-(?:security-token|s3session-token|[a-z-]*customer-key)[:=])[^&\n]*/gi,
    '$1REDACTED',
  );
}

/** SigV4 for S3: `host` and every `x-amz-*` header of the request must be among the signed ones. */
function requireSigned(headers: SignedRequest['headers'], names: readonly string[]): void {
  let missing = names.includes('host') ? '' : 'host';
  for (const name in headers) {
    if (name.startsWith('x-amz-') && headers[name] !== undefined && !names.includes(name)) {
      missing += missing === '' ? name : `, ${name}`;
    }
  }
  if (missing === '') return;
  throw new S3Error('AccessDenied', 'There were headers present in the request which were not signed', {
    data: { HeadersNotSigned: missing },
  });
}

/** Temporary credentials are not issued here, so no session token can be right. */
export function refuseSessionToken(token: string | undefined): void {
  if (token !== undefined && token !== '') throw new S3Error('InvalidToken');
}
