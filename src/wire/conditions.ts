/** Conditional requests: headers to data, and the verdict. ETags are without quotes, times in ms. */
import { S3Error } from '../base/errors.js';
import type { ReadCondition, WriteCondition } from '../base/model.js';
import { httpDate, parseHttpDate } from './dates.js';
import type { Headers } from './headers.js';

/** What a condition is held against. `aliases`: other ETags that were handed out for the same bytes. */
export interface Validators {
  etag: string;
  lastModified: number;
  /** When it became what it is, where `lastModified` is a date that a client or another program gave it. */
  changed?: number;
  aliases?: readonly string[];
}

/** If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since. Dates that are no dates are ignored (RFC 9110 section 13.1.3). */
export function readConditions(h: Headers): ReadCondition {
  return conditionsOf(h, 'if-', parseEtags);
}

/** x-amz-copy-source-if-match, -none-match, -modified-since, -unmodified-since. @throws InvalidArgument for a list without an ETag. */
export function copySourceConditions(h: Headers): ReadCondition {
  return conditionsOf(h, 'x-amz-copy-source-if-', mustName);
}

/** x-amz-rename-source-if-match, -none-match, -modified-since, -unmodified-since (RenameObject). @throws InvalidArgument for a list without an ETag. */
export function renameSourceConditions(h: Headers): ReadCondition {
  return conditionsOf(h, 'x-amz-rename-source-if-', mustName);
}

const NONE: ReadCondition = Object.freeze({});

function conditionsOf(h: Headers, prefix: string, etags: typeof mustName): ReadCondition {
  if (!saysAny(h, prefix)) return NONE;
  const ifMatch = etags(h, `${prefix}match`, 'strong');
  const ifNoneMatch = etags(h, `${prefix}none-match`, 'weak');
  const ifModifiedSince = parseHttpDate(h[`${prefix}modified-since`] ?? '');
  const ifUnmodifiedSince = parseHttpDate(h[`${prefix}unmodified-since`] ?? '');
  return {
    ...(ifMatch && { ifMatch }),
    ...(ifNoneMatch && { ifNoneMatch }),
    ...(ifModifiedSince !== undefined && { ifModifiedSince }),
    ...(ifUnmodifiedSince !== undefined && { ifUnmodifiedSince }),
  };
}

function saysAny(h: Headers, prefix: string): boolean {
  for (const name in h) if (name.startsWith(prefix)) return true;
  return false;
}

/**
 * If-Match and If-None-Match of a write; x-amz-if-match-last-modified-time and -size of DeleteObject. Undefined if there are none.
 *
 * S3 takes no If-None-Match but `*`; here it may name ETags, too, which must not be those of the object.
 * @throws InvalidArgument for a header that says nothing that could be held against an object: a write must not go on without its condition.
 */
export function writeConditions(h: Headers): WriteCondition | undefined {
  const ifMatch = mustName(h, 'if-match', 'strong');
  const ifNoneMatch = mustName(h, 'if-none-match', 'weak');
  const ifLastModified = given(h, 'x-amz-if-match-last-modified-time', parseHttpDate);
  const ifSize = given(h, 'x-amz-if-match-size', (s) => (/^\d{1,15}$/.test(s) ? Number(s) : undefined));
  const condition: WriteCondition = {
    ...(ifMatch && { ifMatch }),
    ...(ifNoneMatch && { ifNoneMatch }),
    ...(ifLastModified !== undefined && { ifLastModified }),
    ...(ifSize !== undefined && { ifSize }),
  };
  return Object.keys(condition).length === 0 ? undefined : condition;
}

/** Whether a condition tells who asks more of an object than that it is there. */
export function tellsOfObject({ ifMatch, ifNoneMatch, ifLastModified, ifSize }: WriteCondition): boolean {
  const byTag = [ifMatch, ifNoneMatch].some((tags) => tags !== undefined && !tags.includes('*'));
  return byTag || ifLastModified !== undefined || ifSize !== undefined;
}

/** Headers of a request as policies ask for them, by s3:if-match and s3:if-none-match. */
export interface ConditionKeys {
  ifMatch?: string;
  ifNoneMatch?: string;
}

/**
 * Of those headers, what the functions above take for a condition. An If-None-Match that names ETags is none of what policies mean (S3 knows only
 * `*`): it lets overwrite whatever has another ETag.
 * @param prefix of the headers: `if-`, `x-amz-copy-source-if-` …
 */
export function conditionKeys(h: Headers, prefix = 'if-'): ConditionKeys {
  const ifMatch = parseEtags(h, `${prefix}match`, 'strong');
  const ifNoneMatch = parseEtags(h, `${prefix}none-match`, 'weak');
  return {
    ...(ifMatch && { ifMatch: ifMatch.includes('*') ? '*' : (h[`${prefix}match`] ?? '').trim() }),
    ...(ifNoneMatch?.includes('*') === true && { ifNoneMatch: '*' }),
  };
}

function given(h: Headers, name: string, parse: (s: string) => number | undefined): number | undefined {
  const value = h[name]?.trim();
  if (value === undefined) return undefined;
  const parsed = parse(value);
  if (parsed !== undefined) return parsed;
  throw unusable(name, value);
}

function unusable(name: string, value: string): S3Error {
  const data = { ArgumentName: name, ArgumentValue: value };
  return new S3Error('InvalidArgument', `Value for ${name} header is invalid.`, { data });
}

/** The ETags of a header, if it is there. @throws InvalidArgument if it names none. */
export function mustName(h: Headers, name: string, comparison: 'strong' | 'weak'): string[] | undefined {
  const value = h[name];
  if (value === undefined) return undefined;
  if (!ENTITY_TAG.test(value)) throw unusable(name, value);
  return parseEtags(h, name, comparison);
}

const ENTITY_TAG = /"[^"]*"|[^",\s]/;

/**
 * A list of entity tags without quotes; clients also send them bare. If-Match compares strongly, so weak tags can match nothing
 * and are dropped (RFC 9110 sections 8.8.3.2 and 13.1.1). Undefined if the header is absent or empty.
 */
function parseEtags(h: Headers, name: string, comparison: 'strong' | 'weak'): string[] | undefined {
  const value = h[name]?.trim() ?? '';
  if (value === '') return undefined;
  const tags: string[] = [];
  for (const [, weak, quoted, bare] of value.matchAll(/(W\/)?(?:"([^"]*)"|([^",\s]+))/g)) {
    if (weak === undefined || comparison === 'weak') tags.push(quoted ?? bare ?? '');
  }
  return tags;
}

/** HTTP dates have whole seconds. */
function seconds(ms: number): number {
  return Math.floor(ms / 1000);
}

function matches(tags: readonly string[], o: { etag: string; aliases?: readonly string[] }): boolean {
  return tags.includes('*') || tags.includes(o.etag) || (o.aliases?.some((a) => tags.includes(a)) ?? false);
}

function failed(condition: string): S3Error {
  return new S3Error('PreconditionFailed', undefined, { data: { Condition: condition } });
}

/**
 * Whether an object is what it was at `date`: that is its Last-Modified, or nothing has happened to it since. A date in between says nothing, for
 * a file may be new and bear an old date.
 */
function isUnmodified({ lastModified, changed = lastModified }: Validators, date: number): boolean {
  return seconds(date) === seconds(lastModified) || seconds(date) >= seconds(Math.max(lastModified, changed));
}

const SOURCE = { get: '', copy: 'x-amz-copy-source-', rename: 'x-amz-rename-source-' } as const;

/**
 * Holds the conditions of a read, or those on the source of a copy or rename, against an object, in the order of RFC 9110
 * section 13.2.2: a date counts only where the ETag header of its kind is absent. S3 documents the same for CopyObject.
 * @throws NotModified with ETag and Last-Modified (mode `get` only), PreconditionFailed with the element Condition.
 */
export function checkRead(c: ReadCondition, o: Validators, mode: 'get' | 'copy' | 'rename'): void {
  if (c.ifMatch !== undefined) {
    if (!matches(c.ifMatch, o)) throw failed(`${SOURCE[mode]}If-Match`);
  } else if (c.ifUnmodifiedSince !== undefined && !isUnmodified(o, c.ifUnmodifiedSince)) {
    throw failed(`${SOURCE[mode]}If-Unmodified-Since`);
  }
  let unmet: string | undefined;
  if (c.ifNoneMatch !== undefined) {
    if (matches(c.ifNoneMatch, o)) unmet = 'If-None-Match';
  } else if (c.ifModifiedSince !== undefined && isUnmodified(o, c.ifModifiedSince)) {
    unmet = 'If-Modified-Since';
  }
  if (unmet === undefined) return;
  if (mode !== 'get') throw failed(SOURCE[mode] + unmet);
  throw new S3Error('NotModified', undefined, {
    headers: { ETag: `"${o.etag}"`, 'Last-Modified': httpDate(o.lastModified) },
  });
}

/**
 * Holds the conditions of a write against what is at its key now; undefined if nothing is.
 * @throws NoSuchKey if something had to match and nothing is there; PreconditionFailed with the element Condition.
 */
export function checkWrite(c: WriteCondition | undefined, o: (Validators & { size: number }) | undefined): void {
  if (c === undefined) return;
  if (o === undefined) {
    if (c.ifMatch !== undefined || c.ifLastModified !== undefined || c.ifSize !== undefined)
      throw new S3Error('NoSuchKey');
    return;
  }
  if (c.ifMatch !== undefined && !matches(c.ifMatch, o)) throw failed('If-Match');
  if (c.ifNoneMatch !== undefined && matches(c.ifNoneMatch, o)) throw failed('If-None-Match');
  if (c.ifLastModified !== undefined && seconds(c.ifLastModified) !== seconds(o.lastModified)) {
    throw failed('x-amz-if-match-last-modified-time');
  }
  if (c.ifSize !== undefined && c.ifSize !== o.size) throw failed('x-amz-if-match-size');
}
