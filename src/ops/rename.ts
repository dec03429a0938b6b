/** RenameObject: one rename(2), atomic, in the bucket of the request. */
import { S3Error } from '../base/errors.js';
import type { MoveOptions } from '../store/contract.js';
import { renameSourceConditions, writeConditions } from '../wire/conditions.js';
import { checkKey, decodeKey } from '../wire/keys.js';
import { renameRights } from './rights.js';
import type { OpContext, OpInput, OpResult } from './types.js';

export async function renameObject(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const { bucket, key, headers } = input;
  checkKey(key);
  const source = sourceKey(headers['x-amz-rename-source']);
  if (source === key) throw new S3Error('InvalidRequest', 'The source and the destination of a rename are the same.');
  const token = headers['x-amz-client-token'];
  const request = JSON.stringify([bucket, source, key, conditionHeaders(headers)]);
  const replayed = token === undefined ? undefined : DONE.get(`${bucket}\n${token}`);
  if (replayed !== undefined) {
    if (replayed !== request) throw new S3Error('IdempotencyParameterMismatch');
    return {};
  }
  // Not in its row: once a token's rename is done, there is no source to ask about.
  for (const right of renameRights(input, source, ctx.store))
    await ctx.authorize(right.action, right.bucket, right.key, right);
  const condition = writeConditions(headers);
  const options: MoveOptions = {
    sourceCondition: renameSourceConditions(headers),
    via: ctx.via,
    ...(condition === undefined ? {} : { condition }),
  };
  await ctx.store.move({ bucket, key: source }, { bucket, key }, options);
  if (token !== undefined) remember(`${bucket}\n${token}`, request);
  return {};
}

/** x-amz-rename-source is the URL-encoded key, without its bucket: a slash in front belongs to it. @throws InvalidArgument. */
function sourceKey(header: string | undefined): string {
  if (header === undefined || header === '') {
    throw new S3Error('InvalidArgument', 'x-amz-rename-source names no key.', {
      data: { ArgumentName: 'x-amz-rename-source', ArgumentValue: '' },
    });
  }
  const key = decodeKey(header);
  checkKey(key);
  return key;
}

function conditionHeaders(headers: OpInput['headers']): [string, string | undefined][] {
  return Object.entries(headers)
    .filter(([name]) => /^(?:if-|x-amz-rename-source-if-)/.test(name))
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

/**
 * x-amz-client-token: a retry of a rename that was done succeeds instead of missing its source. Remembered by this process
 * only, and the last thousand: a retry that meets another worker sees NoSuchKey, which is the truth.
 */
const DONE = new Map<string, string>();
const MAX_DONE = 1000;

function remember(token: string, request: string): void {
  DONE.set(token, request);
  const oldest = DONE.keys().next();
  if (DONE.size > MAX_DONE && oldest.done !== true) DONE.delete(oldest.value);
}
