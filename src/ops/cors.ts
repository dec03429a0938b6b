/** CORS: a bucket's configuration, and what it makes of a browser's request (Fetch standard, "CORS protocol"). */
import { S3Error } from '../base/errors.js';
import type { CorsRule } from '../store/contract.js';
import { childrenOf, childText, el, parseXml, type XmlElement } from '../wire/xml.js';
import { without } from './input.js';
import type { OpContext, OpInput, OpResult } from './types.js';

const METHODS: ReadonlySet<string> = new Set(['GET', 'PUT', 'HEAD', 'POST', 'DELETE']);
/** S3: rules of one configuration. */
const MAX_RULES = 100;

export async function getBucketCors(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const rules = ctx.bucket?.settings.cors;
  if (rules === undefined) {
    throw new S3Error('NoSuchCORSConfiguration', undefined, { data: { BucketName: input.bucket } });
  }
  return { xml: el('CORSConfiguration', rules.map(ruleElement)) };
}

export async function putBucketCors(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const cors = parseRules(input.text);
  await ctx.store.updateBucket(input.bucket, (settings) => ({ ...settings, cors }));
  return {};
}

export async function deleteBucketCors(ctx: OpContext, input: OpInput): Promise<OpResult> {
  await ctx.store.updateBucket(input.bucket, (settings) => without(settings, 'cors'));
  return { status: 204 };
}

function ruleElement(rule: CorsRule): XmlElement {
  return el('CORSRule', [
    rule.id !== undefined && el('ID', rule.id),
    ...rule.allowedOrigins.map((origin) => el('AllowedOrigin', origin)),
    ...rule.allowedMethods.map((method) => el('AllowedMethod', method)),
    ...rule.allowedHeaders.map((header) => el('AllowedHeader', header)),
    ...rule.exposeHeaders.map((header) => el('ExposeHeader', header)),
    rule.maxAgeSeconds !== undefined && el('MaxAgeSeconds', rule.maxAgeSeconds),
  ]);
}

/** @throws MalformedXML, InvalidRequest naming an unknown method or a second wildcard. */
function parseRules(text: string): CorsRule[] {
  const rules = childrenOf(parseXml(text, 'CORSConfiguration'), 'CORSRule');
  if (rules.length === 0 || rules.length > MAX_RULES) throw new S3Error('MalformedXML');
  return rules.map(parseRule);
}

function parseRule(rule: XmlElement): CorsRule {
  const texts = (name: string): string[] =>
    childrenOf(rule, name).map((e) => (typeof e.children === 'string' ? e.children.trim() : ''));
  const parsed: CorsRule = {
    allowedOrigins: texts('AllowedOrigin'),
    allowedMethods: texts('AllowedMethod'),
    allowedHeaders: texts('AllowedHeader'),
    exposeHeaders: texts('ExposeHeader'),
  };
  const id = childText(rule, 'ID');
  if (id !== undefined) parsed.id = id;
  const maxAge = childText(rule, 'MaxAgeSeconds')?.trim();
  if (maxAge !== undefined) {
    if (!/^\d{1,9}$/.test(maxAge)) throw new S3Error('MalformedXML');
    parsed.maxAgeSeconds = Number(maxAge);
  }
  if (parsed.allowedOrigins.length === 0 || parsed.allowedMethods.length === 0) throw new S3Error('MalformedXML');
  for (const method of parsed.allowedMethods) {
    if (METHODS.has(method)) continue;
    throw new S3Error(
      'InvalidRequest',
      `Found unsupported HTTP method in CORS config. Unsupported method is ${method}`,
    );
  }
  for (const pattern of [...parsed.allowedOrigins, ...parsed.allowedHeaders]) {
    if (pattern.split('*').length > 2) {
      throw new S3Error('InvalidRequest', `"${pattern}" can not have more than one wildcard.`);
    }
  }
  for (const header of parsed.exposeHeaders) {
    // These go out as they are: nothing but a token may stand in a header's list (RFC 9110 section 5.6.2).
    if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(header) || header.includes('*')) {
      throw new S3Error('InvalidRequest', `ExposeHeader "${header}" contains characters that are not allowed.`);
    }
  }
  return parsed;
}

/** One `*` stands for any characters. */
function matches(pattern: string, value: string): boolean {
  const star = pattern.indexOf('*');
  if (star < 0) return pattern === value;
  const head = pattern.slice(0, star);
  const tail = pattern.slice(star + 1);
  return value.length >= head.length + tail.length && value.startsWith(head) && value.endsWith(tail);
}

/**
 * Response headers for a request from `origin`: of the first rule that fits origin, method and all headers that a preflight
 * asks for; undefined if none does (the request is served all the same, the browser keeps the answer from the page).
 * @param headers of the request, for Access-Control-Request-Method and -Headers.
 */
export function corsHeaders(
  rules: readonly CorsRule[] | undefined,
  origin: string,
  method: string,
  headers: OpInput['headers'],
): Record<string, string> | undefined {
  // S3 goes by the method that the headers ask for even in a request that is no preflight.
  const asked = headers['access-control-request-method'] ?? method;
  const wanted = (headers['access-control-request-headers'] ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  for (const rule of rules ?? []) {
    const allowed = rule.allowedOrigins.find((pattern) => matches(pattern, origin));
    if (allowed === undefined || !rule.allowedMethods.includes(asked)) continue;
    const fits = (name: string): boolean => rule.allowedHeaders.some((p) => matches(p.toLowerCase(), name));
    if (!wanted.every(fits)) continue;
    return {
      // A plain `*` is for anyone and never with credentials (Fetch standard, "CORS protocol and credentials").
      'Access-Control-Allow-Origin': allowed === '*' ? '*' : origin,
      'Access-Control-Allow-Methods': rule.allowedMethods.join(', '),
      ...(wanted.length === 0 ? {} : { 'Access-Control-Allow-Headers': wanted.join(', ') }),
      ...(rule.exposeHeaders.length === 0 ? {} : { 'Access-Control-Expose-Headers': rule.exposeHeaders.join(', ') }),
      ...(rule.maxAgeSeconds === undefined ? {} : { 'Access-Control-Max-Age': String(rule.maxAgeSeconds) }),
      ...(allowed === '*' ? {} : { 'Access-Control-Allow-Credentials': 'true' }),
      Vary: 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method',
    };
  }
  return undefined;
}

/**
 * Answers a preflight (OPTIONS), which browsers send without credentials.
 * @throws BadRequest if it names no origin or method, AccessForbidden if no rule fits.
 */
export function preflight(rules: readonly CorsRule[] | undefined, headers: OpInput['headers']): OpResult {
  const { origin } = headers;
  if (origin === undefined || origin === '') {
    throw new S3Error('BadRequest', 'Insufficient information. Origin request header needed.');
  }
  const method = headers['access-control-request-method'];
  if (method === undefined || method === '') {
    throw new S3Error('BadRequest', 'Insufficient information. Access-Control-Request-Method request header needed.');
  }
  if (!METHODS.has(method)) throw new S3Error('BadRequest', `Invalid Access-Control-Request-Method: ${method}`);
  const allowed = corsHeaders(rules, origin, method, headers);
  if (allowed !== undefined) return { status: 200, headers: allowed };
  throw new S3Error(
    'AccessForbidden',
    rules === undefined || rules.length === 0
      ? 'CORSResponse: CORS is not enabled for this bucket.'
      : 'CORSResponse: This CORS request is not allowed. No rule of the bucket allows this origin, method and headers together.',
  );
}
