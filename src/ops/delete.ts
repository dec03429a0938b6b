/** DeleteObject and DeleteObjects. */
import { S3Error, toS3Error } from '../base/errors.js';
import type { WriteCondition } from '../base/model.js';
import { conditionKeys, mustName, writeConditions } from '../wire/conditions.js';
import { parseHttpDate } from '../wire/headers.js';
import { checkKey } from '../wire/keys.js';
import { childrenOf, childText, el, parseXml, type XmlElement } from '../wire/xml.js';
import { checkVersion } from './input.js';
import { deleteRights } from './rights.js';
import type { OpContext, OpInput, OpResult } from './types.js';

/** S3, DeleteObjects: keys of one request. */
const MAX_KEYS = 1000;
export async function deleteObject(ctx: OpContext, input: OpInput): Promise<OpResult> {
  checkVersion(input.query.get('versionId'), input.key);
  const condition = writeConditions(input.headers);
  await ctx.store.delete(input.bucket, input.key, { via: ctx.via, ...(condition && { condition }) });
  return { status: 204 };
}

export async function deleteObjects(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const root = parseXml(input.text, 'Delete');
  const objects = childrenOf(root, 'Object').map(target);
  if (objects.length === 0 || objects.length > MAX_KEYS) throw new S3Error('MalformedXML');
  const quiet = childText(root, 'Quiet')?.trim().toLowerCase() === 'true';
  const refused = await Promise.all(objects.map((object) => refusal(ctx, input.bucket, object)));
  const allowed = objects.filter((_, i) => refused[i] === undefined);
  const outcomes = (await ctx.store.deleteEach(input.bucket, allowed, { via: ctx.via })).values();
  const results = objects.map((object, i) => {
    const error = refused[i] ?? failure(outcomes.next().value);
    const named = [el('Key', object.key), object.versionId !== undefined && el('VersionId', object.versionId)];
    if (error === undefined) return quiet ? undefined : el('Deleted', named);
    return el('Error', [...named, el('Code', error.code), el('Message', error.message)]);
  });
  return { xml: el('DeleteResult', results) };
}

interface Target {
  key: string;
  versionId?: string;
  condition?: WriteCondition;
  /** Its ETag, as headers say it. */
  headers: { 'if-match'?: string };
  /** What is wrong with this entry alone. */
  error?: S3Error;
}

/** Reads one Object element. @throws MalformedXML without a key. */
function target(object: XmlElement): Target {
  const key = childText(object, 'Key');
  if (key === undefined || key === '') throw new S3Error('MalformedXML');
  const versionId = childText(object, 'VersionId');
  const etag = childText(object, 'ETag');
  const found: Target = { key, headers: etag === undefined ? {} : { 'if-match': etag } };
  if (versionId !== undefined && versionId !== '') found.versionId = versionId;
  const condition = conditionOf(object, found.headers);
  if (condition instanceof S3Error) found.error = condition;
  else if (condition !== undefined) found.condition = condition;
  return found;
}

/** ETag, LastModifiedTime and Size of an entry: it is deleted only if all those given match. */
function conditionOf(object: XmlElement, headers: Target['headers']): WriteCondition | S3Error | undefined {
  const modified = childText(object, 'LastModifiedTime');
  const size = childText(object, 'Size');
  const condition: WriteCondition = {};
  try {
    const ifMatch = mustName(headers, 'if-match', 'strong');
    if (ifMatch !== undefined) condition.ifMatch = ifMatch;
  } catch (error) {
    return toS3Error(error);
  }
  if (modified !== undefined) {
    // Clients send either form of date.
    const time = parseHttpDate(modified) ?? Date.parse(modified);
    if (Number.isNaN(time)) return new S3Error('InvalidArgument', 'LastModifiedTime is no date.');
    condition.ifLastModified = Math.floor(time / 1000) * 1000;
  }
  if (size !== undefined) {
    if (!/^\d{1,15}$/.test(size.trim())) return new S3Error('InvalidArgument', 'Size is no number of bytes.');
    condition.ifSize = Number(size);
  }
  return Object.keys(condition).length === 0 ? undefined : condition;
}

/** Why an entry is not even tried. */
async function refusal(ctx: OpContext, bucket: string, object: Target): Promise<S3Error | undefined> {
  const { key, versionId, condition, headers } = object;
  try {
    if (object.error !== undefined) throw object.error;
    checkKey(key);
    checkVersion(versionId, key);
    const about = { ...conditionKeys(headers), versionId };
    for (const right of deleteRights({ bucket, key }, condition, about))
      await ctx.authorize(right.action, bucket, key, right);
    return undefined;
  } catch (error) {
    return toS3Error(error);
  }
}

function failure(outcome: PromiseSettledResult<boolean> | undefined): S3Error | undefined {
  return outcome?.status === 'rejected' ? toS3Error(outcome.reason) : undefined;
}
