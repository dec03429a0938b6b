/**
 * The rights that a request needs beyond its row's action, by what it says: a PutObject that brings an ACL or tags needs what PutObjectAcl and
 * PutObjectTagging need, or a Deny of these could be walked around. Source: Amazon S3 API Reference, "Permissions" of each operation.
 *
 * Rows of table.ts name these functions; the pipeline asks for all rights before it reads the body. What CreateBucket says of its bucket
 * (ACL, ownership, tags) nothing can forbid: a bucket that is not there has no policy.
 */
import { aclHeaders } from '../auth/acl.js';
import { S3Error } from '../base/errors.js';
import type { Owner, Tags, WriteCondition } from '../base/model.js';
import type { ObjectInfo, Store } from '../store/contract.js';
import { conditionKeys, tellsOfObject, writeConditions } from '../wire/conditions.js';
import { parseTagging, validateTags } from '../wire/headers.js';
import { parseCopySource } from '../wire/keys.js';
import { parseTagsXml } from '../wire/tagging.js';
import type { Asked, AskedWithBody, AuthorizeTerms } from './types.js';

export interface Right extends AuthorizeTerms {
  action: string;
  bucket: string;
  key: string;
}

type Heads = Pick<Store, 'head'>;
type Subject = Pick<Right, 'bucket' | 'key'>;

/** PutObject, also where it appends. */
export function putRights(asked: Asked): readonly Right[] {
  return [...writeRights(asked), ...conditionRights(asked)];
}

/**
 * Who writes by ETag learns whether it is that of the object, and so must be let read it (S3 User Guide, "How to prevent object overwrites with
 * conditional writes"). CompleteMultipartUpload needs no more than that.
 */
export function conditionRights(asked: Asked): readonly Right[] {
  const condition = writeConditions(asked.headers);
  return condition !== undefined && tellsOfObject(condition) ? [right('s3:GetObject', asked)] : [];
}

/** CreateMultipartUpload, which takes no condition. */
export function writeRights(asked: Asked): readonly Right[] {
  return [...aclRights(asked), ...(asked.headers['x-amz-tagging'] ? tagRights(asked, headerTags(asked)) : [])];
}

/** PostObject: tags are in the field `tagging`, or in one that is named as the header. */
export function formRights(asked: Asked): readonly Right[] {
  const { headers } = asked;
  const tagged = headers.tagging || headers['x-amz-tagging'];
  return [...aclRights(asked), ...(tagged ? tagRights(asked, formTags(asked)) : [])];
}

/** CopyObject: the source is read, with its tags if they are to be the copy's. */
export function copyRights(asked: Asked, store: Heads): readonly Right[] {
  const source = sourceOf(asked);
  const written = [...aclRights(asked), ...conditionRights(asked)];
  if (asked.headers['x-amz-tagging-directive'] === 'REPLACE') {
    const tagged = asked.headers['x-amz-tagging'];
    return [...readRights(source), ...written, ...(tagged ? tagRights(asked, headerTags(asked)) : [])];
  }
  const tags = async (): Promise<Tags> => (await headOrNothing(store, source.bucket, source.key))?.facts.tags ?? [];
  const onlyIf = async (): Promise<boolean> => (await tags()).length > 0;
  return [
    ...readRights(source),
    ...written,
    right('s3:GetObjectTagging', source, { onlyIf, about: source.about }),
    ...versionRight('s3:GetObjectVersionTagging', source, source.versionId, { onlyIf, about: source.about }),
    right('s3:PutObjectTagging', asked, { onlyIf, tags, within: 's3:PutObject' }),
  ];
}

/** UploadPartCopy. */
export function partCopyRights(asked: Asked): readonly Right[] {
  return readRights(sourceOf(asked));
}

/** RenameObject: the source is read and goes away; its ACL and tags come to the new key. Writing there is the row's own action. */
export function renameRights(asked: Asked, sourceKey: string, store: Heads): readonly Right[] {
  const source = { bucket: asked.bucket, key: sourceKey };
  const about = conditionKeys(asked.headers, 'x-amz-rename-source-if-');
  const facts = async () => (await headOrNothing(store, source.bucket, source.key))?.facts ?? {};
  const tags = async (): Promise<Tags> => (await facts()).tags ?? [];
  return [
    right('s3:GetObject', source, { about }),
    ...deleteRights(source, undefined, about),
    ...conditionRights(asked),
    right('s3:PutObjectAcl', asked, { onlyIf: async () => (await facts()).acl !== undefined, within: 's3:PutObject' }),
    right('s3:PutObjectTagging', asked, {
      onlyIf: async () => (await tags()).length > 0,
      tags,
      within: 's3:PutObject',
    }),
  ];
}

/** DeleteObject, beyond s3:DeleteObject itself. */
export function moreDeleteRights(asked: Asked): readonly Right[] {
  return afterDelete(asked, writeConditions(asked.headers));
}

/** One key of DeleteObjects; the source of a rename. */
export function deleteRights(
  at: Subject,
  condition?: WriteCondition,
  about?: AuthorizeTerms['about'],
): readonly Right[] {
  const terms = about === undefined ? {} : { about };
  return [right('s3:DeleteObject', at, terms), ...afterDelete(at, condition, terms)];
}

/**
 * A Deny of s3:DeleteObjectVersion keeps objects without versions, too (S3, DeleteObject: permissions). Who deletes by ETag learns whether it is that
 * of the object, and so must be let read it (S3 User Guide, "How to perform conditional deletes").
 */
function afterDelete(at: Subject, condition: WriteCondition | undefined, terms: AuthorizeTerms = {}): readonly Right[] {
  return [
    right('s3:DeleteObjectVersion', at, { ...terms, unlessDenied: true }),
    ...(condition !== undefined && tellsOfObject(condition) ? [right('s3:GetObject', at, terms)] : []),
  ];
}

/** Operations on an upload: who began it counts (S3 User Guide, "Multipart upload and permissions"). */
export function ofUpload(asked: Asked, store: Pick<Store, 'getUpload'>): AuthorizeTerms {
  const { bucket, key, query } = asked;
  const initiator = async (): Promise<Owner | undefined> => {
    try {
      return (await store.getUpload(bucket, key, query.get('uploadId') ?? '')).initiator;
    } catch (error) {
      if (error instanceof S3Error && error.code === 'NoSuchUpload') return undefined;
      throw error;
    }
  };
  return { initiator };
}

/** GetObjectAttributes; s3:GetObject is the row's. */
export function attributeRights(asked: Asked): readonly Right[] {
  const versionId = asked.query.get('versionId');
  return [
    right('s3:GetObjectAttributes', asked),
    ...versionRight('s3:GetObjectVersion', asked, versionId),
    ...versionRight('s3:GetObjectVersionAttributes', asked, versionId),
  ];
}

/** For operations that take a versionId: the action that S3 asks for then must not be denied. */
export function ofVersion(action: string): (asked: Asked) => readonly Right[] {
  return (asked) => versionRight(action, asked, asked.query.get('versionId'));
}

/** The tags that x-amz-tagging gives. @throws InvalidArgument, InvalidTag, BadRequest. */
export function headerTags({ headers }: Asked): Tags {
  return parseTagging(headers['x-amz-tagging'] ?? '');
}

/** CopyObject takes tags from the header only where they replace the source's. */
export function copyTags(asked: Asked): Tags {
  return asked.headers['x-amz-tagging-directive'] === 'REPLACE' ? headerTags(asked) : [];
}

/** PostObject. @throws MalformedPOSTRequest, MalformedXML, InvalidTag, BadRequest. */
export function formTags(asked: Asked): Tags {
  const { tagging } = asked.headers;
  return tagging ? checkedTags(formText(tagging)) : headerTags(asked);
}

/** PutObjectTagging; undefined while the body is not read. @throws MalformedXML, InvalidTag, BadRequest. */
export function bodyTags({ text }: AskedWithBody): Tags | undefined {
  return text === undefined ? undefined : checkedTags(text);
}

/** A field of a form, whose bytes stand as Latin-1 where headers stand. @throws MalformedPOSTRequest if it is no UTF-8. */
export function formText(latin1: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(latin1, 'latin1'));
  } catch {
    throw new S3Error('MalformedPOSTRequest');
  }
}

function checkedTags(xml: string): Tags {
  const tags = parseTagsXml(xml);
  validateTags(tags);
  return tags;
}

function aclRights(asked: Asked): readonly Right[] {
  const given = aclHeaders(asked.headers);
  if (given.length === 0) return [];
  return [right('s3:PutObjectAcl', asked, { within: 's3:PutObject', pins: given.map((name) => `s3:${name}`) })];
}

function tagRights(asked: Asked, tags: Tags): readonly Right[] {
  const pins = tags.map(([name]) => `s3:RequestObjectTag/${name}`);
  return [right('s3:PutObjectTagging', asked, { within: 's3:PutObject', pins })];
}

type Source = ReturnType<typeof sourceOf>;

function readRights(source: Source): readonly Right[] {
  const { about, versionId } = source;
  return [
    right('s3:GetObject', source, { about }),
    ...versionRight('s3:GetObjectVersion', source, versionId, { about }),
  ];
}

function sourceOf({ headers }: Asked) {
  const { bucket, key, versionId } = parseCopySource(headers['x-amz-copy-source'] ?? '');
  return { bucket, key, versionId, about: { ...conditionKeys(headers, 'x-amz-copy-source-if-'), versionId } };
}

function versionRight(
  action: string,
  at: { bucket: string; key: string },
  versionId: string | undefined,
  terms: AuthorizeTerms = {},
): readonly Right[] {
  return versionId === undefined ? [] : [right(action, at, { ...terms, unlessDenied: true })];
}

function right(action: string, { bucket, key }: { bucket: string; key: string }, terms: AuthorizeTerms = {}): Right {
  return { action, bucket, key, ...terms };
}

async function headOrNothing(store: Heads, bucket: string, key: string): Promise<ObjectInfo | undefined> {
  try {
    return await store.head(bucket, key);
  } catch (error) {
    if (error instanceof S3Error && error.code === 'NoSuchKey') return undefined;
    throw error;
  }
}
