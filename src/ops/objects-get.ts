/** GetObject and HeadObject: conditions, ranges, parts, overrides. */
import { S3Error } from '../base/errors.js';
import type { AtHand, ObjectInfo, OpenObject, ReadOptions } from '../store/contract.js';
import { checksumHeaders } from '../wire/checksums.js';
import { checkRead, readConditions } from '../wire/conditions.js';
import { factsHeaders, httpDate, parseHttpDate } from '../wire/headers.js';
import { parseRange } from '../wire/ranges.js';
import { checkVersion, partNumberOf, quoted, refuseEncryption } from './input.js';
import type { Answered, AnsweredAtHand, Asked, OpContext, OpInput, OpResult } from './types.js';

/** Query parameter -> response header that it replaces. */
const OVERRIDES = [
  ['response-content-type', 'Content-Type'],
  ['response-content-language', 'Content-Language'],
  ['response-expires', 'Expires'],
  ['response-cache-control', 'Cache-Control'],
  ['response-content-disposition', 'Content-Disposition'],
  ['response-content-encoding', 'Content-Encoding'],
] as const;

export async function getObject(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const kept = getAtHand(ctx, input);
  if (kept) {
    const { status, headers } = kept.answer;
    return { status, headers, ...(kept.bytes && { bytes: kept.bytes }) };
  }
  const open = await ctx.store.open(input.bucket, input.key, quickRead(input));
  try {
    const part = input.query.has('partNumber') ? await readPart(open, input) : undefined;
    const { start, end, status, headers } = answer(open.info, input, part);
    return { status, headers, object: { open, start, end } };
  } catch (error) {
    await open.close();
    throw error;
  }
}

/** GetObject of what the store has at hand. */
export function getAtHand(ctx: Reader, asked: Asked, before?: Answered): AnsweredAtHand | undefined {
  const kept = answerAtHand(ctx, asked, true, before);
  const bytes = kept?.hand.bytes;
  if (!kept || !bytes) return undefined;
  const { answer } = kept;
  const { start, end } = answer;
  return { answer, bytes: end - start === bytes.length ? bytes : bytes.subarray(start, end) };
}

/** HeadObject of what the store has at hand. */
export function headAtHand(ctx: Reader, asked: Asked, before?: Answered): AnsweredAtHand | undefined {
  const kept = answerAtHand(ctx, asked, false, before);
  return kept && { answer: kept.answer };
}

type Reader = Pick<OpContext, 'store' | 'identity'>;

function answerAtHand(
  ctx: Reader,
  asked: Asked,
  whole: boolean,
  before: Answered | undefined,
): { answer: Answered; hand: AtHand } | undefined {
  if (!before) checkReadable(ctx, asked);
  if (asked.query.has('partNumber')) return undefined;
  const hand = ctx.store.atHand(asked.bucket, asked.key, whole);
  if (!hand) return undefined;
  return { hand, answer: hand.info === before?.info ? before : answer(hand.info, asked, undefined) };
}

export async function headObject(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const kept = headAtHand(ctx, input);
  if (kept) return { status: kept.answer.status, headers: kept.answer.headers };
  if (!input.query.has('partNumber')) {
    const { status, headers } = answer(
      await ctx.store.head(input.bucket, input.key, { incomplete: true }),
      input,
      undefined,
    );
    return { status, headers };
  }
  const open = await ctx.store.open(input.bucket, input.key);
  try {
    const { status, headers } = answer(open.info, input, await readPart(open, input));
    return { status, headers };
  } finally {
    await open.close();
  }
}

/** While the index is made anew an object is told from its file alone, unless the request depends on what the file does not tell. */
function quickRead({ headers, query }: OpInput): ReadOptions {
  const depends = ['if-match', 'if-none-match', 'if-range', 'x-amz-checksum-mode'].some((name) => name in headers);
  return { incomplete: !depends && !query.has('partNumber') };
}

function checkReadable(ctx: Reader, input: Asked): void {
  checkVersion(input.query.get('versionId'), input.key);
  refuseEncryption(input.headers, 'read');
  // S3, GetObject: overrides need a signed request, or anyone could make the bucket's host serve chosen headers.
  if (ctx.identity.kind === 'anonymous' && OVERRIDES.some(([name]) => input.query.has(name))) {
    throw new S3Error('InvalidRequest', 'Request specific response headers cannot be used for anonymous GET requests.');
  }
}

interface Slice {
  start: number;
  end: number;
  /** Parts of the whole object; absent if it was no multipart upload. */
  count?: number;
  /** base64 of this part. */
  checksum?: string;
}

/** The bytes that `partNumber` names; part 1 of what was never uploaded in parts is all of it. @throws InvalidPartNumber. */
async function readPart(open: OpenObject, input: OpInput): Promise<Slice> {
  const number = partNumberOf(input.query.get('partNumber'));
  if (input.headers.range !== undefined) {
    throw new S3Error('InvalidRequest', 'Cannot specify both Range header and partNumber query parameter');
  }
  const unsatisfiable = new S3Error('InvalidPartNumber', undefined, {
    data: { PartNumberRequested: number, ActualPartCount: open.info.partCount ?? 1 },
  });
  if (open.info.partCount === undefined) {
    if (number !== 1) throw unsatisfiable;
    return { start: 0, end: open.info.size };
  }
  const parts = await open.parts();
  let start = 0;
  for (const part of parts) {
    if (part.partNumber === number) {
      const slice = { start, end: start + part.size, count: parts.length };
      return part.checksum === undefined ? slice : { ...slice, checksum: part.checksum };
    }
    start += part.size;
  }
  throw unsatisfiable;
}

/** Status, headers and bytes of the answer. @throws NotModified, PreconditionFailed, InvalidRange. */
function answer(info: ObjectInfo, input: Asked, part: Slice | undefined): Answered {
  checkConditions(info, input);
  const range =
    part ?? (ifRange(input.headers['if-range'], info) ? parseRange(input.headers.range, info.size) : undefined);
  // An empty range cannot be written as Content-Range (RFC 9110 section 14.4): empty objects and parts are 200.
  const partial = range !== undefined && range.end > range.start;
  const start = range?.start ?? 0;
  const end = range?.end ?? info.size;
  const headers = describing(info, input);
  headers['Content-Length'] = String(end - start);
  if (partial) headers['Content-Range'] = `bytes ${start}-${end - 1}/${info.size}`;
  if (part?.count !== undefined) headers['x-amz-mp-parts-count'] = String(part.count);
  Object.assign(headers, checksums(info, input, part, start, end));
  return { info, status: partial ? 206 : 200, headers, start, end };
}

/** {@link objectHeaders} of what is told again and again. */
const described = new WeakMap<ObjectInfo, Readonly<Record<string, string>>>();

/** What is told of the object, with the overrides of the query. */
function describing(info: ObjectInfo, input: Asked): Record<string, string> {
  let told = described.get(info);
  if (!told) described.set(info, (told = objectHeaders(info)));
  const headers = { ...told };
  // nobody may keep what is not the whole truth
  if (info.incomplete) headers['Cache-Control'] = 'no-store';
  for (const [name, header] of OVERRIDES) {
    const value = input.query.get(name);
    if (value !== undefined) headers[header] = overrideValue(name, value);
  }
  return headers;
}

/** A 304 says of caching what the 200 would have said (RFC 9110 section 15.4.5). @throws NotModified, PreconditionFailed. */
function checkConditions(info: ObjectInfo, input: Asked): void {
  try {
    checkRead(readConditions(input.headers), info, 'get');
  } catch (error) {
    if (!(error instanceof S3Error) || error.code !== 'NotModified') throw error;
    const told = Object.entries(describing(info, input)).filter(([name]) => CACHING.has(name));
    throw new S3Error('NotModified', undefined, { headers: Object.fromEntries(told) });
  }
}

const CACHING = new Set(['Cache-Control', 'ETag', 'Expires', 'Last-Modified']);

/** The headers that describe an object, without those of its body's length. */
export function objectHeaders(info: ObjectInfo): Record<string, string> {
  return {
    'Content-Type': 'binary/octet-stream',
    ...factsHeaders(info.facts),
    ETag: quoted(info.etag),
    'Last-Modified': httpDate(info.lastModified),
    'Accept-Ranges': 'bytes',
  };
}

/** ChecksumMode: that of the object for the whole, that of the part for a part, none for a range. */
function checksums(
  info: ObjectInfo,
  input: Asked,
  part: Slice | undefined,
  start: number,
  end: number,
): Record<string, string> {
  if (info.checksum === undefined || input.headers['x-amz-checksum-mode']?.toUpperCase() !== 'ENABLED') return {};
  if (part?.count !== undefined) {
    if (part.checksum === undefined) return {};
    return checksumHeaders({ ...info.checksum, value: part.checksum });
  }
  return start === 0 && end === info.size ? checksumHeaders(info.checksum) : {};
}

/** RFC 9110 section 13.1.5: a Range counts only if If-Range still describes the object; the ETag comparison is strong. */
function ifRange(header: string | undefined, info: ObjectInfo): boolean {
  if (header === undefined) return true;
  const value = header.trim();
  if (value.startsWith('"')) return value === quoted(info.etag);
  const date = parseHttpDate(value);
  return date !== undefined && date === Math.floor(info.lastModified / 1000) * 1000;
}

/** Header values are bytes on the wire: UTF-8, and no control character may get out. */
function overrideValue(name: string, value: string): string {
  if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(value)) {
    throw new S3Error('InvalidArgument', 'Header value cannot be represented using ISO-8859-1.', {
      data: { ArgumentName: name, ArgumentValue: value },
    });
  }
  return Buffer.from(value, 'utf8').toString('latin1');
}
