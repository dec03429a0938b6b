/** Trailing headers of an aws-chunked body. */
import { S3Error } from '../base/errors.js';

export interface Trailers {
  /** Names in lower case; without x-amz-trailer-signature. */
  trailers: Record<string, string>;
  /** What x-amz-trailer-signature covers: `name:value\n` for each, in the order of the wire. */
  canonical: string;
  /** Hex, or '' if there is none. */
  signature: string;
}

/**
 * @param text lines as they came (Latin-1), CRLF or LF, with empty ones.
 * @param announced names of the x-amz-trailer header; each must come, once, and no other.
 * @throws MalformedTrailerError
 */
export function parseTrailers(text: string, announced: readonly string[]): Trailers {
  const expected = new Set(announced.map((name) => name.trim().toLowerCase()).filter((name) => name !== ''));
  const trailers: Record<string, string> = {};
  let canonical = '';
  let signature = '';
  for (const line of text.split('\n')) {
    const content = line.trim();
    if (content === '') continue;
    const colon = content.indexOf(':');
    const name = content.slice(0, Math.max(colon, 0)).trim().toLowerCase();
    const value = content.slice(colon + 1).trim();
    if (name === 'x-amz-trailer-signature') {
      if (signature !== '') throw malformed('x-amz-trailer-signature came twice');
      signature = value;
      continue;
    }
    if (!expected.delete(name)) throw malformed(`a trailing header was not announced by x-amz-trailer, or came twice`);
    if (signature !== '') throw malformed('a trailing header came after x-amz-trailer-signature');
    trailers[name] = value;
    canonical += `${name}:${value}\n`;
  }
  const missing = expected.values().next();
  if (missing.done !== true) throw malformed(`${missing.value} was announced by x-amz-trailer and did not come`);
  return { trailers, canonical, signature };
}

function malformed(why: string): S3Error {
  return new S3Error(
    'MalformedTrailerError',
    `The request contained trailing data that was not well-formed or did not conform to our published schema: ${why}.`,
  );
}
