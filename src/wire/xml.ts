/**
 * XML in and out. An element is plain data: name, attributes, and either text or children in order.
 *
 * Writing is string concatenation with one escape pass: a listing of 1,000 entries is the hot path. Reading checks the size of
 * the problem first (DOCTYPE, depth, elements, references) in one pass over the text, and only then parses.
 */
import { createRequire } from 'node:module';
import type { X2jOptions, XMLParser, XMLValidator } from 'fast-xml-parser';
import { S3Error } from '../base/errors.js';
import { readPlain } from './xml-plain.js';

export interface XmlElement {
  name: string;
  attributes?: Record<string, string>;
  /** Text, or children in order. */
  children: string | XmlElement[];
  /** What is written instead of all this: see {@link written}. */
  markup?: string;
}

export interface RenderOptions {
  /** Namespace of the root; null for none (Error documents). S3's own unless told. */
  xmlns?: string | null;
  /** The `<?xml …?>` line; true unless told. */
  declaration?: boolean;
}

export const S3_XMLNS = 'http://s3.amazonaws.com/doc/2006-03-01/';
const DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n';

/** CompleteMultipartUpload may bring 10,000 parts with an ETag and ten checksums each. */
const MAX_ELEMENTS = 200_000;
const MAX_DEPTH = 20;
const MAX_TAG_LENGTH = 4096;
const MAX_REFERENCES = 200_000;

/** Makes an element; undefined and false children are dropped, numbers and booleans become text. */
export function el(
  name: string,
  children: string | number | boolean | readonly (XmlElement | undefined | false)[] = [],
  attributes?: Record<string, string>,
): XmlElement {
  const content =
    typeof children === 'object'
      ? children.filter((c): c is XmlElement => c !== undefined && c !== false)
      : String(children);
  return attributes === undefined ? { name, children: content } : { name, attributes, children: content };
}

/** Elements that are written already, by {@link leaf}: long lists need no tree. */
export function written(markup: string): XmlElement {
  return { name: '', children: [], markup };
}

/** An element with text only, as it stands in the document. */
export function leaf(name: string, text: string | number): string {
  if (text === '') return `<${name}></${name}>`;
  return `<${name}>${typeof text === 'number' ? text : escape(text)}</${name}>`;
}

// CR, LF and TAB would be normalised by the reader (XML 1.0 sections 2.11 and 3.3.3); the other control characters cannot be
// written in XML 1.0 at all, and S3 writes them as numeric references all the same.
const SPECIAL = /[&<>"\u0000-\u001f\ufffe\uffff]/;
const SPECIAL_ALL = new RegExp(SPECIAL.source, 'g');
const NAMED = new Map([
  ['&', '&amp;'],
  ['<', '&lt;'],
  ['>', '&gt;'],
  ['"', '&quot;'],
]);

function escape(text: string): string {
  if (!SPECIAL.test(text)) return text;
  return text.replace(SPECIAL_ALL, (c) => NAMED.get(c) ?? `&#x${c.charCodeAt(0).toString(16).toUpperCase()};`);
}

/** The document as text. Names are not escaped: they are the program's own. */
export function renderXml(root: XmlElement, options: RenderOptions = {}): string {
  const xmlns = options.xmlns === undefined ? S3_XMLNS : options.xmlns;
  const head = options.declaration === false ? '' : DECLARATION;
  return head + renderElement(root, xmlns === null ? '' : ` xmlns="${escape(xmlns)}"`);
}

function renderElement(e: XmlElement, extra: string): string {
  if (e.markup !== undefined) return e.markup;
  let open = e.name + extra;
  if (e.attributes !== undefined) {
    for (const [name, value] of Object.entries(e.attributes)) open += ` ${name}="${escape(value)}"`;
  }
  if (e.children.length === 0) return `<${open}></${e.name}>`;
  let content = '';
  if (typeof e.children === 'string') content = escape(e.children);
  else for (const c of e.children) content += renderElement(c, '');
  return `<${open}>${content}</${e.name}>`;
}

const PARSER_OPTIONS: X2jOptions = {
  preserveOrder: true,
  ignoreAttributes: false,
  attributeNamePrefix: '',
  textNodeName: '#text',
  cdataPropName: '#cdata',
  removeNSPrefix: true,
  parseTagValue: false,
  parseAttributeValue: false,
  trimValues: false,
  processEntities: false,
  ignoreDeclaration: true,
  ignorePiTags: true,
};

let library: { validator: typeof XMLValidator; parser: XMLParser } | undefined;

/** Loaded with the first document: its many modules would take a fifth of the time that a server has to start. */
function parser(): NonNullable<typeof library> {
  if (!library) {
    const loaded = createRequire(import.meta.url)('fast-xml-parser') as typeof import('fast-xml-parser');
    library = { validator: loaded.XMLValidator, parser: new loaded.XMLParser(PARSER_OPTIONS) };
  }
  return library;
}

/**
 * Reads a document whose root is `rootName` (or one of several). Namespace prefixes are stripped, text of leaves is kept with its
 * white space, white space between elements is dropped; an element without content has the text `''`.
 * @throws MalformedXML: not well-formed, another root, DOCTYPE, undefined entities, too deep or too large a document.
 */
export function parseXml(text: string, rootName: string | readonly string[]): XmlElement {
  const source = text.startsWith('\ufeff') ? text.slice(1) : text;
  if (source.includes('\0')) throw malformed('A NUL byte cannot stand in XML.');
  const root = readPlain(source, { depth: MAX_DEPTH, elements: MAX_ELEMENTS }) ?? parseLimited(source);
  const expected = typeof rootName === 'string' ? [rootName] : rootName;
  if (!expected.includes(root.name)) {
    throw malformed(`The root element is ${root.name}; expected ${expected.join(' or ')}.`);
  }
  return root;
}

function parseLimited(source: string): XmlElement {
  checkLimits(source);
  return parseTree(source);
}

function malformed(detail?: string, cause?: unknown): S3Error {
  const base = 'The XML you provided was not well-formed or did not validate against our published schema';
  return new S3Error('MalformedXML', detail === undefined ? base : `${base}. ${detail}`, { cause });
}

/** One pass over the markup, no allocation per element: what is hostile fails here, before any tree exists. */
function checkLimits(text: string): void {
  let depth = 0;
  let elements = 0;
  let at = text.indexOf('<');
  while (at !== -1) {
    let end: number;
    if (text.startsWith('<!--', at)) end = after(text, '-->', at + 4);
    else if (text.startsWith('<![CDATA[', at)) end = after(text, ']]>', at + 9);
    else if (text.startsWith('<!', at)) throw malformed('Document type declarations are not allowed.');
    else if (text.startsWith('<?', at)) end = after(text, '?>', at + 2);
    else {
      end = tagEnd(text, at);
      if (text[at + 1] === '/') depth--;
      else {
        if (++elements > MAX_ELEMENTS) throw malformed(`More than ${MAX_ELEMENTS} elements.`);
        if (text[end - 2] !== '/' && ++depth > MAX_DEPTH) throw malformed(`Nested deeper than ${MAX_DEPTH} elements.`);
      }
    }
    at = text.indexOf('<', end);
  }
  let references = 0;
  for (at = text.indexOf('&'); at !== -1; at = text.indexOf('&', at + 1)) {
    if (++references > MAX_REFERENCES) throw malformed(`More than ${MAX_REFERENCES} entity references.`);
  }
}

function after(text: string, mark: string, from: number): number {
  const at = text.indexOf(mark, from);
  if (at === -1) throw malformed();
  return at + mark.length;
}

/** Index behind the `>` of the tag at `start`; a `>` inside quotes is text. */
function tagEnd(text: string, start: number): number {
  let quote = '';
  const limit = Math.min(text.length, start + MAX_TAG_LENGTH);
  for (let i = start + 1; i < limit; i++) {
    const c = text.charAt(i);
    if (quote !== '') {
      if (c === quote) quote = '';
    } else if (c === '"' || c === "'") quote = c;
    else if (c === '>') return i + 1;
    else if (c === '<') break;
  }
  throw malformed();
}

function parseTree(source: string): XmlElement {
  let nodes: unknown;
  try {
    const { validator, parser: reader } = parser();
    const verdict = validator.validate(source);
    if (verdict !== true) throw malformed(verdict.err.msg);
    nodes = reader.parse(source);
  } catch (error) {
    throw error instanceof S3Error ? error : malformed(undefined, error);
  }
  const roots = toContent(nodes);
  const root = typeof roots === 'string' ? undefined : roots[0];
  if (root === undefined || roots.length !== 1) throw malformed();
  return root;
}

/** fast-xml-parser's ordered form - `[{ name: [content], ':@': { attribute: value } }]` - to ours. */
function toContent(nodes: unknown): string | XmlElement[] {
  if (!Array.isArray(nodes)) throw malformed();
  const elements: XmlElement[] = [];
  let text = '';
  for (const node of nodes as Record<string, unknown>[]) {
    const name = Object.keys(node).find((k) => k !== ':@');
    if (name === undefined) continue;
    const value = node[name];
    if (name === '#text') text += typeof value === 'string' ? decodeReferences(value) : '';
    else if (name === '#cdata') text += rawText(value);
    else elements.push(toElement(name, value, node[':@']));
  }
  if (elements.length === 0) return text;
  if (/[^\t\n\r ]/.test(text)) throw malformed('Text between elements.');
  return elements;
}

function toElement(name: string, value: unknown, attributes: unknown): XmlElement {
  const children = toContent(value);
  if (typeof attributes !== 'object' || attributes === null) return { name, children };
  const entries = Object.entries(attributes).map(([k, v]) => [k, decodeReferences(String(v))] as const);
  return entries.length === 0 ? { name, children } : { name, attributes: Object.fromEntries(entries), children };
}

function rawText(value: unknown): string {
  if (!Array.isArray(value)) return '';
  return value.map((v: Record<string, unknown>) => (typeof v['#text'] === 'string' ? v['#text'] : '')).join('');
}

const PREDEFINED = new Map([
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
  ['apos', "'"],
]);

/** The five predefined entities and numeric references, once; anything else that begins with `&` is malformed (no DOCTYPE could define it). */
function decodeReferences(text: string): string {
  if (!text.includes('&')) return text;
  return text.replace(/&(?:#x([0-9a-fA-F]{1,8});|#([0-9]{1,10});|([a-zA-Z]{2,4});)?/g, (_all, hex, decimal, name) => {
    if (typeof name === 'string') {
      const char = PREDEFINED.get(name);
      if (char !== undefined) return char;
    } else {
      const point =
        typeof hex === 'string' ? parseInt(hex, 16) : typeof decimal === 'string' ? parseInt(decimal, 10) : -1;
      // Surrogates are no characters; U+0000 and other controls are: S3 writes them so.
      if (point >= 0 && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff)) return String.fromCodePoint(point);
    }
    throw malformed('Undefined entity or character reference.');
  });
}

/** The first child of that name. */
export function child(e: XmlElement, name: string): XmlElement | undefined {
  return typeof e.children === 'string' ? undefined : e.children.find((c) => c.name === name);
}

/** Text of the first child of that name; undefined if there is no such child or it holds elements. */
export function childText(e: XmlElement, name: string): string | undefined {
  const found = child(e, name);
  if (found === undefined) return undefined;
  if (typeof found.children === 'string') return found.children;
  return found.children.length === 0 ? '' : undefined;
}

/** All children of that name, in order. */
export function childrenOf(e: XmlElement, name: string): XmlElement[] {
  return typeof e.children === 'string' ? [] : e.children.filter((c) => c.name === name);
}

/** S3's error document: no namespace; Code, Message, the error's own elements, then Resource, RequestId, HostId. */
export function errorXml(error: S3Error, ids: { resource: string; requestId: string; hostId: string }): string {
  const root = el('Error', [
    el('Code', error.code),
    el('Message', error.message),
    ...Object.entries(error.data).map(([name, value]) => el(name, value)),
    el('Resource', ids.resource),
    el('RequestId', ids.requestId),
    el('HostId', ids.hostId),
  ]);
  return renderXml(root, { xmlns: null });
}
