/** RenameObject: one rename(2), atomic, in the bucket of the request. */
import { createHash } from 'node:crypto';
import { S3Error } from '../base/errors.js';
import type { MoveOptions, MoveToken } from '../store/contract.js';
import { renameSourceConditions, writeConditions } from '../wire/conditions.js';
import { checkKey, decodeKey } from '../wire/keys.js';
import { renameRights } from './rights.js';
import type { OpContext, OpInput, OpResult } from './types.js';

export async function renameObject(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const { bucket, key, headers } = input;
  checkKey(key);
  const source = sourceKey(headers['x-amz-rename-source']);
  if (source === key) throw new S3Error('InvalidRequest', 'The source and the destination of a rename are the same.');
  const [from, to] = [
    { bucket, key: source },
    { bucket, key },
  ];
  const clientToken = clientTokenOf(input, source);
  const isDone = async (): Promise<boolean> => clientToken !== undefined && ctx.store.wasMoved(from, to, clientToken);
  if (await isDone()) return {};
  try {
    // Not in its row: once a token's rename is done, there is no source to ask about.
    for (const right of renameRights(input, source, ctx.store))
      await ctx.authorize(right.action, right.bucket, right.key, right);
    const condition = writeConditions(headers);
    const options: MoveOptions = {
      sourceCondition: renameSourceConditions(headers),
      via: ctx.via,
      ...(condition === undefined ? {} : { condition }),
      ...(clientToken === undefined ? {} : { clientToken }),
    };
    await ctx.store.move(from, to, options);
  } catch (error) {
    // the same request, sent twice, may have done it meanwhile; a flush that failed is no such thing
    if (error instanceof S3Error && error.status < 500 && (await isDone())) return {};
    throw error;
  }
  return {};
}

/**
 * x-amz-client-token: a retry of a rename that was done succeeds instead of missing its source, or moving another object that came there since.
 * @throws InvalidArgument.
 */
function clientTokenOf({ bucket, key, headers }: OpInput, source: string): MoveToken | undefined {
  const token = headers['x-amz-client-token'];
  if (token === undefined) return undefined;
  if (!/^[!-~]{1,64}$/.test(token)) {
    throw new S3Error('InvalidArgument', 'x-amz-client-token has up to 64 ASCII characters, without spaces.', {
      data: { ArgumentName: 'x-amz-client-token', ArgumentValue: token },
    });
  }
  const asked = JSON.stringify([bucket, source, key, conditionHeaders(headers)]);
  return { token, request: createHash('sha256').update(asked).digest('base64') };
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
