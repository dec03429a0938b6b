/**
 * Requests that a client sends again (S3: CompleteMultipartUpload, and RenameObject with a client token, are idempotent): whichever process did it
 * has written that down in the transaction that did it, where all others see it.
 */
import { S3Error } from '../base/errors.js';
import type { ClientToken } from '../catalog/lines.js';
import type { MoveToken } from './contract.js';
import type { Core } from './core.js';

/** Whether it has been done, as far as this process sees. @throws IdempotencyParameterMismatch if something else was asked for by the token. */
export function wasDone(core: Core, bucket: string, { token, request }: MoveToken): boolean {
  const done = core.catalog.clientTokens.find(bucket, token);
  if (done && done.request !== request) throw new S3Error('IdempotencyParameterMismatch');
  return done !== undefined;
}

/** Under the lock, before a move: by this token it is done once. @throws OperationAborted, IdempotencyParameterMismatch. */
export function checkNotDone(core: Core, bucket: string, token: MoveToken | undefined): void {
  if (token && wasDone(core, bucket, token))
    throw new S3Error('OperationAborted', 'What the client token asks for has been done.');
}

/** For the line that says that the move is done. */
export function tokenOf(bucket: string, given: MoveToken | undefined): { clientToken?: ClientToken } {
  return given ? { clientToken: { bucket, ...given, time: Date.now() } } : {};
}

/** Flushes the folders on the way to a key: who did what is answered again may be about to do so, or was killed before. */
export async function flushWay(core: Core, bucket: string, key: string): Promise<void> {
  const { place, dirPath } = core.target(bucket, key);
  const dirs = place.kind === 'tree' ? place.dirs : [];
  await core.syncDirs([dirPath, ...dirs.map((_, i) => core.pathOf(dirs.slice(0, i + 1)))]);
}
