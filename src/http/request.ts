/**
 * The request target: which bucket, which key, which parameters. Percent-encoding is undone here, by wire/keys.ts, and nowhere
 * else; nothing is normalised: `..` and `//` are part of a key as any other text (S3, "Object key naming guidelines").
 */
import type { IncomingMessage } from 'node:http';
import { S3Error } from '../base/errors.js';
import { remember } from '../base/remember.js';
import type { Level } from '../ops/types.js';
import { checkKey, decodeKey } from '../wire/keys.js';

/** Names in lower case; several lines of one name joined by `,`. Without a prototype: `constructor` is no header. */
export type Headers = Readonly<Record<string, string | undefined>>;

export interface Target {
  level: Level;
  /** Decoded; '' at the service level. */
  bucket: string;
  /** Decoded; '' unless at the object level. */
  key: string;
  /** Decoded; the first value of each name. */
  query: ReadonlyMap<string, string>;
  /** Path as sent, undecoded, without the query. */
  path: string;
  /** Path and query as sent: what the signature covers. */
  url: string;
  style: 'path' | 'virtual';
}

const NO_QUERY: ReadonlyMap<string, string> = new Map();

/** The header lines as sent; Node's own record drops or joins repeated lines by rules of its own. */
export function readHeaders(rawHeaders: readonly string[]): Headers {
  // not Object.create(null), which is a hash table, and slow to make
  const headers: Record<string, string | undefined> = { __proto__: null } as never;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] ?? '').toLowerCase();
    const value = rawHeaders[i + 1] ?? '';
    const earlier = headers[name];
    headers[name] = earlier === undefined ? value : `${earlier},${value}`;
  }
  return headers;
}

/**
 * @param baseDomains in lower case; `photos.s3.example.com` with the base domain `s3.example.com` is the bucket `photos`.
 * @throws BadRequest for targets and Host headers that are none, InvalidURI for broken encodings, InvalidBucketName,
 *   KeyTooLongError.
 */
export function parseTarget(
  request: Pick<IncomingMessage, 'url' | 'httpVersion'>,
  headers: Headers,
  baseDomains: readonly string[],
): Target {
  const known = recall(request.url ?? '', headers['host'], baseDomains);
  if (known) return known;
  const { url, authority } = originForm(request.url ?? '');
  const host = hostOf(authority ?? headers['host'], request.httpVersion);
  const mark = url.indexOf('?');
  const path = mark < 0 ? url : url.slice(0, mark);
  const query = mark < 0 ? NO_QUERY : parseQuery(url.slice(mark + 1));
  const virtual = virtualBucket(host, baseDomains);
  const rest = path.slice(1);
  const kept = (target: Target): Target => {
    if (authority === undefined && mark >= 0) keep(target, headers['host'], baseDomains);
    return target;
  };
  if (virtual !== undefined) return kept(locate({ bucket: virtual, rawKey: rest, query, path, url, style: 'virtual' }));
  const slash = rest.indexOf('/');
  const rawBucket = slash < 0 ? rest : rest.slice(0, slash);
  const rawKey = slash < 0 ? '' : rest.slice(slash + 1);
  if (rawBucket === '' && rest !== '') throw new S3Error('InvalidBucketName');
  return kept(locate({ bucket: decodeKey(rawBucket), rawKey, query, path, url, style: 'path' }));
}

/** Targets with a query that were parsed before, by their URL, the oldest first: a presigned URL is asked for again and again. */
const targets = new Map<string, { target: Target; host: string | undefined; baseDomains: readonly string[] }>();
const REMEMBERED = 2000;
const LONGEST = 1024;

function recall(url: string, host: string | undefined, baseDomains: readonly string[]): Target | undefined {
  const known = targets.get(url);
  return known?.host === host && known?.baseDomains === baseDomains ? known.target : undefined;
}

function keep(target: Target, host: string | undefined, baseDomains: readonly string[]): void {
  if (host === undefined || target.url.length > LONGEST) return;
  remember(targets, target.url, { target, host, baseDomains }, REMEMBERED);
}

function locate(parts: Omit<Target, 'level' | 'key'> & { rawKey: string }): Target {
  const { bucket, rawKey, query, path, url, style } = parts;
  // A bucket is one folder name; these would be another place. All other names are the store's to judge.
  if (/[/\0]/.test(bucket) || bucket === '.' || bucket === '..')
    throw new S3Error('InvalidBucketName', undefined, { data: { BucketName: bucket.replaceAll('\0', '') } });
  if (rawKey === '') return { bucket, key: '', level: bucket === '' ? 'service' : 'bucket', query, path, url, style };
  const key = decodeKey(rawKey);
  checkKey(key);
  return { bucket, key, level: 'object', query, path, url, style };
}

/** RFC 9112 section 3.2: origin-form, or absolute-form whose authority then stands for the Host header. */
function originForm(target: string): { url: string; authority?: string } {
  if (target.startsWith('/')) return { url: target };
  const absolute = /^https?:\/\/([^/?#]*)(.*)$/is.exec(target);
  const [, authority, rest] = absolute ?? [];
  if (authority === undefined || rest === undefined) throw new S3Error('BadRequest', 'The request target is no path.');
  return { url: rest.startsWith('/') ? rest : `/${rest}`, authority };
}

/** RFC 9112 section 3.2: HTTP/1.1 needs exactly one Host, and it must be a host. Returns it in lower case, without port. */
function hostOf(value: string | undefined, httpVersion: string): string {
  if (value === undefined) {
    if (httpVersion === '1.0') return '';
    throw new S3Error('BadRequest', 'The Host header is missing.');
  }
  const host = /^(\[[0-9a-f:.]+\]|[^\s/\\@?#,:[\]]*)(?::\d*)?$/i.exec(value)?.[1];
  if (host === undefined) throw new S3Error('BadRequest', 'The Host header is malformed or given twice.');
  return host.toLowerCase();
}

/** The longest base domain wins: `s3.example.com` may be one beside `example.com`. */
function virtualBucket(host: string, baseDomains: readonly string[]): string | undefined {
  let found: string | undefined;
  for (const domain of baseDomains) {
    if (host === domain) return undefined;
    if (!host.endsWith(`.${domain}`)) continue;
    const bucket = host.slice(0, -domain.length - 1);
    if (found === undefined || bucket.length < found.length) found = bucket;
  }
  return found === '' ? undefined : found;
}

/** `+` is a space; a parameter without `=` has the value ''. Of several values the first counts. */
function parseQuery(text: string): ReadonlyMap<string, string> {
  const query = new Map<string, string>();
  for (const item of text.split('&')) {
    if (item === '') continue;
    const equals = item.indexOf('=');
    const name = decodeParameter(equals < 0 ? item : item.slice(0, equals));
    if (!query.has(name)) query.set(name, equals < 0 ? '' : decodeParameter(item.slice(equals + 1)));
  }
  return query;
}

function decodeParameter(raw: string): string {
  return decodeKey(raw.includes('+') ? raw.replaceAll('+', ' ') : raw);
}
