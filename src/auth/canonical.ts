/**
 * The canonical request of Signature Version 4 as S3 computes it, straight from the wire form: the path is not normalised
 * (`//` and `..` stay) and is encoded once, the query is sorted by encoded name and value.
 * Source: Amazon S3 API Reference, "Signature Calculations for the Authorization Header", task 1.
 *
 * All strings here are the bytes of the request as Latin-1, which is what node:http gives.
 */

const HEX = Array.from({ length: 256 }, (_, byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`);

/** What SigV4 leaves unencoded: A-Z a-z 0-9 - . _ ~ */
const UNRESERVED = new Uint8Array(256);
for (const c of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~') UNRESERVED[c.charCodeAt(0)] = 1;

const PLAIN_PATH = /^[A-Za-z0-9\-._~/]*$/;
const PLAIN_QUERY = /^[A-Za-z0-9\-._~]*$/;
const SLASH = 0x2f;
const PERCENT = 0x25;
const PLUS = 0x2b;

export interface QueryPair {
  /** Encoded as SigV4 wants it. */
  name: string;
  value: string;
}

/** Splits a request target at the first `?`; the absolute form (`http://host/path`, RFC 9112 section 3.2.2) loses its authority. */
export function splitTarget(url: string): { path: string; query: string } {
  const start = url.charCodeAt(0) === SLASH ? 0 : (/^https?:\/\/[^/?]*/i.exec(url)?.[0].length ?? 0);
  const mark = url.indexOf('?', start);
  const path = mark < 0 ? url.slice(start) : url.slice(start, mark);
  return { path: path === '' ? '/' : path, query: mark < 0 ? '' : url.slice(mark + 1) };
}

/** The path with every byte but unreserved ones and `/` percent-encoded, exactly once. An encoded slash stays encoded. */
export function canonicalPath(path: string): string {
  return PLAIN_PATH.test(path) ? path : encodeOnce(path, true);
}

/** Name and value of each parameter, encoded; a parameter without `=` has the value ''. In the order of the wire. */
export function queryPairs(query: string): QueryPair[] {
  const pairs: QueryPair[] = [];
  for (const piece of query.split('&')) {
    if (piece === '') continue;
    const equals = piece.indexOf('=');
    const name = equals < 0 ? piece : piece.slice(0, equals);
    const value = equals < 0 ? '' : piece.slice(equals + 1);
    pairs.push({ name: encodeParameter(name), value: encodeParameter(value) });
  }
  return pairs;
}

/** Sorted by name, then by value, in byte order; joined by `&`. */
export function canonicalQuery(pairs: QueryPair[]): string {
  if (pairs.length > 1) pairs.sort(byNameThenValue);
  let text = '';
  for (const { name, value } of pairs) text += text === '' ? `${name}=${value}` : `&${name}=${value}`;
  return text;
}

/** `name:value\n` for each signed header in the order of the list; a header that is not there counts as empty. */
export function canonicalHeaders(
  names: readonly string[],
  headers: Readonly<Record<string, string | undefined>>,
): string {
  let text = '';
  for (const name of names) text += `${name}:${foldSpace(headers[name] ?? '')}\n`;
  return text;
}

function encodeParameter(text: string): string {
  return PLAIN_QUERY.test(text) ? text : encodeOnce(text, false);
}

function byNameThenValue(a: QueryPair, b: QueryPair): number {
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  if (a.value === b.value) return 0;
  return a.value < b.value ? -1 : 1;
}

/** Only ASCII white space is folded: the bytes A0 and 85 occur inside UTF-8 sequences. */
function foldSpace(value: string): string {
  if (!/^[ \t]|[ \t]$|[ \t]{2}|\t/.test(value)) return value;
  return value.replace(/[ \t]+/g, ' ').replace(/^ | $/g, '');
}

/** Decodes valid escapes and encodes what comes out, so that `%7e`, `%7E` and `~` sign alike. In a query `+` is a space. */
function encodeOnce(text: string, isPath: boolean): string {
  let out = '';
  for (let i = 0; i < text.length; i++) {
    let byte = text.charCodeAt(i) & 0xff;
    let escaped = false;
    if (byte === PERCENT) {
      const decoded = hexByte(text, i + 1);
      if (decoded >= 0) {
        byte = decoded;
        escaped = true;
        i += 2;
      }
    } else if (byte === PLUS && !isPath) byte = 0x20;
    if (UNRESERVED[byte] === 1 || (isPath && byte === SLASH && !escaped)) out += String.fromCharCode(byte);
    else out += HEX[byte] ?? '';
  }
  return out;
}

/** The byte that two hex digits at `at` stand for, or -1. */
function hexByte(text: string, at: number): number {
  const high = hexDigit(text.charCodeAt(at));
  const low = hexDigit(text.charCodeAt(at + 1));
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
