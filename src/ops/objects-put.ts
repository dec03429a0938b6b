/** PutObject, and append: PutObject with x-amz-write-offset-bytes. */
import { S3Error } from '../base/errors.js';
import type { DigestPlan, KeyFacts, WriteCondition } from '../base/model.js';
import type { ObjectInfo } from '../store/contract.js';
import { checksumHeaders, planDigests } from '../wire/checksums.js';
import { checkWrite, writeConditions } from '../wire/conditions.js';
import { readFacts } from '../wire/headers.js';
import { checkKey } from '../wire/keys.js';
import { limitBody, MAX_OBJECT, MAX_SINGLE, quoted, refuseEncryption, refuseLock, sizeHeader } from './input.js';
import { writeOwnership } from './owners.js';
import type { OpContext, OpInput, OpResult } from './types.js';

interface PutPlan {
  facts: KeyFacts;
  digests: DigestPlan;
  condition?: WriteCondition;
  offset?: number;
}

export async function putObject(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const { facts, digests, condition, offset } = planPut(ctx, input);
  const options = { digests, via: ctx.via, ...(condition === undefined ? {} : { condition }) };
  const body = limitBody(input.body, mostAfter(offset));
  const { store } = ctx;
  if (offset === undefined) {
    return { headers: putHeaders(await store.put(input.bucket, input.key, body, { ...options, facts })) };
  }
  // What the client said when the object was made stays: facts count only for the first bytes.
  const withFacts = offset === 0 ? { ...options, facts } : options;
  const info = await store.append(input.bucket, input.key, offset, body, withFacts);
  return { headers: { ...putHeaders(info), 'x-amz-object-size': String(info.size) } };
}

/** Refuses before the body is sent what headers alone can tell; conditions are checked again under the store's lock. */
export async function precheckPut(ctx: OpContext, input: OpInput): Promise<void> {
  const { condition, offset } = planPut(ctx, input);
  limitBody(input.body, mostAfter(offset));
  await precheckCondition(ctx, input, condition);
}

/** Bytes that may come in one request: an append ends where the largest object does. */
function mostAfter(offset = 0): number {
  return Math.min(MAX_SINGLE, Math.max(0, MAX_OBJECT - offset));
}

/** Evaluates a write's condition early, so that a refused client need not send its body. */
export async function precheckCondition(
  ctx: OpContext,
  input: OpInput,
  condition: WriteCondition | undefined,
): Promise<void> {
  if (condition === undefined) return;
  checkWrite(condition, await headIfAny(ctx, input.bucket, input.key));
}

async function headIfAny(ctx: OpContext, bucket: string, key: string): Promise<ObjectInfo | undefined> {
  try {
    return await ctx.store.head(bucket, key);
  } catch (error) {
    if (error instanceof S3Error && error.code === 'NoSuchKey') return undefined;
    throw error;
  }
}

/** Of requests whose headers were read before their bodies. */
const plans = new WeakMap<OpInput, PutPlan>();

function planPut(ctx: OpContext, input: OpInput): PutPlan {
  const known = plans.get(input);
  if (known) return known;
  const plan = readPlan(ctx, input);
  plans.set(input, plan);
  return plan;
}

function readPlan(ctx: OpContext, input: OpInput): PutPlan {
  const { headers, query, key } = input;
  // A part without its upload, or a version, must not become an object.
  for (const name of ['partNumber', 'versionId']) {
    if (query.has(name)) {
      throw new S3Error('InvalidArgument', `This operation does not accept a ${name} query parameter.`, {
        data: { ArgumentName: name, ArgumentValue: query.get(name) ?? '' },
      });
    }
  }
  checkKey(key);
  refuseEncryption(headers);
  refuseLock(headers);
  const offset = sizeHeader(headers, 'x-amz-write-offset-bytes');
  const condition = writeConditions(headers);
  return {
    facts: { ...readFacts(headers), ...writeOwnership(ctx, input) },
    digests: planDigests(headers, input.trailers),
    ...(condition === undefined ? {} : { condition }),
    ...(offset === undefined ? {} : { offset }),
  };
}

function putHeaders(info: ObjectInfo): Record<string, string> {
  return {
    ETag: quoted(info.etag),
    ...(info.checksum === undefined ? {} : checksumHeaders(info.checksum)),
  };
}
