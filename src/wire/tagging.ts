/** Tags of objects and buckets: as XML (PutObjectTagging, PutBucketTagging), as a header (x-amz-tagging), and S3's rules for them. */
import { S3Error } from '../base/errors.js';
import type { Tags } from '../base/model.js';
import { fromWire } from './rfc2047.js';
import { child, childText, childrenOf, el, parseXml } from './xml.js';
import type { XmlElement } from './xml.js';

export function tagsXml(tags: Tags): XmlElement {
  const set = tags.map(([key, value]) => el('Tag', [el('Key', key), el('Value', value)]));
  return el('Tagging', [el('TagSet', set)]);
}

/** Reads a `Tagging` document; the caller runs {@link validateTags} with its own limit. @throws MalformedXML */
export function parseTagsXml(text: string): Tags {
  const root = parseXml(text, 'Tagging');
  const set = child(root, 'TagSet');
  if (set === undefined) throw new S3Error('MalformedXML');
  return readTags(set);
}

/** The `Tag` elements of a set. @throws MalformedXML */
export function readTags(set: XmlElement): Tags {
  return childrenOf(set, 'Tag').map((tag) => {
    const key = childText(tag, 'Key');
    const value = childText(tag, 'Value');
    if (key === undefined || value === undefined) throw new S3Error('MalformedXML');
    return [key, value];
  });
}

const HEADER_RULE =
  "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.";

/**
 * Reads the x-amz-tagging header, `key=value&key=value` in query encoding, and checks it by the rules for objects. A query has
 * no order, so the tags are in that of their keys.
 * @throws InvalidArgument if it cannot be decoded or a key comes twice; InvalidTag, BadRequest.
 */
export function parseTagging(header: string): Tags {
  const tags: Tags = [];
  for (const pair of header.split('&')) {
    if (pair === '') continue;
    const at = pair.indexOf('=');
    tags.push(at === -1 ? [decode(pair), ''] : [decode(pair.slice(0, at)), decode(pair.slice(at + 1))]);
  }
  if (new Set(tags.map(([key]) => key)).size !== tags.length) throw invalidHeader();
  validateTags(tags);
  return tags.sort(([a], [b]) => (a < b ? -1 : 1));

  function decode(text: string): string {
    try {
      return decodeURIComponent(fromWire(text).replace(/\+/g, ' '));
    } catch {
      throw invalidHeader();
    }
  }
  function invalidHeader(): S3Error {
    const data = { ArgumentName: 'x-amz-tagging', ArgumentValue: fromWire(header) };
    return new S3Error('InvalidArgument', HEADER_RULE, { data });
  }
}

/** Letters, white space, numbers and `_ . : / = + - @` (S3 User Guide, "Tag restrictions"). */
const ALLOWED = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u;
const MAX_KEY = 128;
const MAX_VALUE = 256;

/**
 * S3's rules for a set of tags; `max` is 10 for an object, 50 for a bucket. Lengths are in characters.
 * @throws BadRequest (too many), InvalidTag (all else).
 */
export function validateTags(tags: Tags, max = 10): void {
  if (tags.length > max) {
    throw new S3Error('BadRequest', `${max > 10 ? 'Bucket tag count' : 'Object tags'} cannot be greater than ${max}`);
  }
  const seen = new Set<string>();
  for (const [key, value] of tags) {
    if (key === '' || length(key) > MAX_KEY || !ALLOWED.test(key)) {
      throw new S3Error('InvalidTag', 'The TagKey you have provided is invalid', { data: { TagKey: key } });
    }
    if (length(value) > MAX_VALUE || !ALLOWED.test(value)) {
      throw new S3Error('InvalidTag', 'The TagValue you have provided is invalid', {
        data: { TagKey: key, TagValue: value },
      });
    }
    if (key.startsWith('aws:')) {
      throw new S3Error('InvalidTag', 'System tags cannot be added/updated by requester', { data: { TagKey: key } });
    }
    if (seen.has(key)) {
      throw new S3Error('InvalidTag', 'Cannot provide multiple Tags with the same key', { data: { TagKey: key } });
    }
    seen.add(key);
  }
}

function length(text: string): number {
  return text.length > MAX_KEY ? Array.from(text).length : text.length;
}
