/** The other side of SigV4: signing requests and URLs, for commands and tests. */
import {
  canonicalHeaders,
  canonicalPath,
  canonicalQuery,
  queryPairs,
  splitTarget,
  type QueryPair,
} from './canonical.js';
import { formatTimestamp, hmac, signingKey, stringToSign, ALGORITHM } from './signature.js';
import type { ChunkSigning, Credential } from './types.js';

export interface SigningInput {
  method: string;
  /** Absolute: `http://host:port/bucket/key?list-type=2`, the path percent-encoded. */
  url: string;
  credential: Pick<Credential, 'accessKey' | 'secretKey'>;
  region: string;
  /** Headers to be signed beside `host`. */
  headers?: Readonly<Record<string, string>>;
  /** ms since 1970; now unless told. */
  now?: number;
}

export interface SignedHeaders {
  /** The given headers with names in lower case, and host, x-amz-date, x-amz-content-sha256 and authorization. */
  headers: Record<string, string>;
  /** What chunks of an aws-chunked body are signed with. */
  signing: ChunkSigning;
}

/**
 * The URL with a signature in its query, valid from `now` for `expires` seconds (1 to 604,800).
 * The given headers must then be sent with the same values.
 */
export function presignUrl(input: SigningInput & { expires: number }): string {
  const { origin, host, path, query } = splitUrl(input.url);
  const timestamp = formatTimestamp(input.now ?? Date.now());
  const scope = `${timestamp.slice(0, 8)}/${input.region}/s3/aws4_request`;
  const headers: Record<string, string> = { ...lowerCase(input.headers), host };
  const names = Object.keys(headers).sort();
  const added: Record<string, string> = {
    'X-Amz-Algorithm': ALGORITHM,
    'X-Amz-Credential': `${input.credential.accessKey}/${scope}`,
    'X-Amz-Date': timestamp,
    'X-Amz-Expires': String(input.expires),
    'X-Amz-SignedHeaders': names.join(';'),
  };
  const pairs: QueryPair[] = [
    ...queryPairs(query),
    ...Object.entries(added).map(([name, value]) => ({ name, value: encodeURIComponent(value) })),
  ];
  const canonical = canonicalQuery(pairs);
  const payloadHash = headers['x-amz-content-sha256'] ?? 'UNSIGNED-PAYLOAD';
  const signature = sign(input, { path, query: canonical, names, headers, payloadHash, timestamp, scope }).signature;
  return `${origin}${path}?${canonical}&X-Amz-Signature=${signature}`;
}

/**
 * Signs a request in its Authorization header.
 * @param input.payload value of x-amz-content-sha256: hex of the body's SHA-256, UNSIGNED-PAYLOAD (default) or a STREAMING-… form.
 */
export function signHeaders(input: SigningInput & { payload?: string }): SignedHeaders {
  const { host, path, query } = splitUrl(input.url);
  const timestamp = formatTimestamp(input.now ?? Date.now());
  const scope = `${timestamp.slice(0, 8)}/${input.region}/s3/aws4_request`;
  const payloadHash = input.payload ?? 'UNSIGNED-PAYLOAD';
  const headers: Record<string, string> = {
    ...lowerCase(input.headers),
    host,
    'x-amz-content-sha256': payloadHash,
    'x-amz-date': timestamp,
  };
  const names = Object.keys(headers).sort();
  const canonical = canonicalQuery(queryPairs(query));
  const { key, signature } = sign(input, { path, query: canonical, names, headers, payloadHash, timestamp, scope });
  headers.authorization =
    `${ALGORITHM} Credential=${input.credential.accessKey}/${scope}, ` +
    `SignedHeaders=${names.join(';')}, Signature=${signature}`;
  return { headers, signing: { key, timestamp, scope, seed: signature } };
}

interface Facts {
  path: string;
  query: string;
  names: string[];
  headers: Readonly<Record<string, string>>;
  payloadHash: string;
  timestamp: string;
  scope: string;
}

function sign({ method, credential, region }: SigningInput, facts: Facts): { key: Buffer; signature: string } {
  const { path, query, names, headers, payloadHash, timestamp, scope } = facts;
  const canonical =
    `${method}\n${canonicalPath(path)}\n${query}\n` +
    `${canonicalHeaders(names, headers)}\n${names.join(';')}\n${payloadHash}`;
  const key = signingKey(credential.secretKey, timestamp.slice(0, 8), region);
  return { key, signature: hmac(key, stringToSign(timestamp, scope, canonical)).toString('hex') };
}

/** Split by hand: the URL class would resolve `.` and `..` segments, which are legal in keys. */
function splitUrl(url: string): { origin: string; host: string; path: string; query: string } {
  const match = /^(https?:\/\/([^/?#]+))([^#]*)/.exec(url);
  if (match === null) throw new TypeError(`not an absolute http(s) URL: ${url}`);
  const [, origin = '', host = '', target = ''] = match;
  return { origin, host: host.toLowerCase(), ...splitTarget(target === '' ? '/' : target) };
}

function lowerCase(headers: Readonly<Record<string, string>> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}
