/** The headers that describe an object: read from a request into facts of the key, and written back into a response. */
import { S3Error } from '../base/errors.js';
import type { KeyFacts } from '../base/model.js';
import { decodeWords, encodeWords, fromWire, toWire } from './rfc2047.js';
import { parseTagging } from './tagging.js';

export { httpDate, isoDate, parseHttpDate } from './dates.js';
export { parseTagging, validateTags } from './tagging.js';

/** Request headers: names in lower case, several lines of one name joined by `,`, values as Node gives them (latin1). */
export type Headers = Readonly<Record<string, string | undefined>>;

/** Facts that are kept as they came: member of KeyFacts -> header. */
const PLAIN = [
  ['contentType', 'Content-Type'],
  ['contentDisposition', 'Content-Disposition'],
  ['contentLanguage', 'Content-Language'],
  ['cacheControl', 'Cache-Control'],
  ['expires', 'Expires'],
] as const;

/** The classes that PutObject takes in a general purpose bucket; here they are labels. */
const STORAGE_CLASSES = new Set([
  'STANDARD',
  'REDUCED_REDUNDANCY',
  'STANDARD_IA',
  'ONEZONE_IA',
  'INTELLIGENT_TIERING',
  'GLACIER',
  'DEEP_ARCHIVE',
  'GLACIER_IR',
  'EXPRESS_ONEZONE',
]);

const META = 'x-amz-meta-';
/** Bytes of all names and values of user metadata together, in UTF-8 (S3 User Guide, "User-defined object metadata"). */
const MAX_METADATA = 2048;
const MAX_REDIRECT = 2048;

/**
 * What the client says of the key it writes. Headers that are empty count as absent, but for user metadata.
 * @throws InvalidStorageClass, MetadataTooLarge, InvalidRedirectLocation, InvalidArgument, InvalidTag, BadRequest (x-amz-tagging).
 */
export function readFacts(h: Headers): KeyFacts {
  const facts: KeyFacts = {};
  for (const [member, header] of PLAIN) {
    const value = fromWire(h[header.toLowerCase()] ?? '').trim();
    if (value !== '') facts[member] = value;
  }
  const encoding = contentEncoding(h['content-encoding'] ?? '');
  if (encoding !== '') facts.contentEncoding = encoding;
  const redirect = h['x-amz-website-redirect-location'];
  if (redirect !== undefined) facts.websiteRedirect = checkRedirect(fromWire(redirect));
  const storageClass = h['x-amz-storage-class'];
  if (storageClass !== undefined) {
    if (!STORAGE_CLASSES.has(storageClass)) {
      throw new S3Error('InvalidStorageClass', undefined, { data: { StorageClassRequested: fromWire(storageClass) } });
    }
    if (storageClass !== 'STANDARD') facts.storageClass = storageClass;
  }
  const metadata = userMetadata(h);
  if (metadata !== undefined) facts.metadata = metadata;
  const tagging = h['x-amz-tagging'];
  if (tagging !== undefined && tagging !== '') facts.tags = parseTagging(tagging);
  return facts;
}

/** `aws-chunked` frames the body on its way and is no property of the object (SigV4 streaming). */
function contentEncoding(value: string): string {
  const tokens = fromWire(value).split(',');
  return tokens
    .map((t) => t.trim())
    .filter((t) => t !== '' && t.toLowerCase() !== 'aws-chunked')
    .join(', ');
}

function checkRedirect(location: string): string {
  if (!/^(?:\/|https?:\/\/)/.test(location)) {
    throw new S3Error('InvalidRedirectLocation');
  }
  if (Buffer.byteLength(location) > MAX_REDIRECT) {
    throw new S3Error(
      'InvalidRedirectLocation',
      'The length of website redirect location cannot exceed 2,048 characters.',
    );
  }
  return location;
}

function userMetadata(h: Headers): Record<string, string> | undefined {
  const entries: [string, string][] = [];
  let size = 0;
  for (const [header, raw] of Object.entries(h)) {
    if (raw === undefined || !header.startsWith(META) || header === META) continue;
    const name = fromWire(header.slice(META.length));
    const value = decodeWords(fromWire(raw));
    size += Buffer.byteLength(name) + Buffer.byteLength(value);
    entries.push([name, value]);
  }
  if (size > MAX_METADATA) {
    throw new S3Error('MetadataTooLarge', undefined, { data: { Size: size, MaxSizeAllowed: MAX_METADATA } });
  }
  // fromEntries and not assignment: x-amz-meta-__proto__ is a name like any other.
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

/**
 * Response headers of GetObject and HeadObject for the facts of a key. Values can be sent as they are: control characters are gone,
 * user metadata outside ASCII is in RFC 2047 encoded words, other text is UTF-8 as latin1.
 */
export function factsHeaders(facts: KeyFacts): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [member, header] of PLAIN) {
    const value = facts[member];
    if (value !== undefined) headers[header] = toWire(value);
  }
  if (facts.contentEncoding !== undefined) headers['Content-Encoding'] = toWire(facts.contentEncoding);
  if (facts.websiteRedirect !== undefined) headers['x-amz-website-redirect-location'] = toWire(facts.websiteRedirect);
  if (facts.storageClass !== undefined && facts.storageClass !== 'STANDARD') {
    headers['x-amz-storage-class'] = toWire(facts.storageClass);
  }
  let missing = 0;
  for (const [name, value] of Object.entries(facts.metadata ?? {})) {
    // RFC 9110 section 5.1: a header's name is a token. Others can only come from POST forms or an edited journal.
    if (/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name)) headers[META + name] = encodeWords(value);
    else missing++;
  }
  if (missing > 0) headers['x-amz-missing-meta'] = String(missing);
  if (facts.tags !== undefined && facts.tags.length > 0) headers['x-amz-tagging-count'] = String(facts.tags.length);
  return headers;
}
