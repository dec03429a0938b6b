/** What `rm` does: objects one after the other, each by the store's own delete. */
import { S3Error, UsageError } from '../base/errors.js';
import type { ObjectInfo, Store } from '../store/contract.js';
import { describe } from './failures.js';
import { objects } from './listing.js';
import { count, humanSize, printable, type Output } from './output.js';
import { prefixOf, showTarget, type ObjectTarget } from './target.js';

export interface RemoveOptions {
  recursive: boolean;
  dryRun: boolean;
  json: boolean;
  out: Output;
  signal: AbortSignal;
}

/** Resolves to the exit code: 1 if one of them was not there or could not be removed. @throws UsageError before anything is removed. */
export async function remove(store: Store, targets: readonly ObjectTarget[], options: RemoveOptions): Promise<number> {
  for (const target of targets) refuse(target, options.recursive);
  const { out } = options;
  let removed = 0;
  let bytes = 0;
  let failed = 0;
  for (const target of targets) {
    try {
      for await (const info of options.recursive ? below(store, target) : one(store, target)) {
        options.signal.throwIfAborted();
        try {
          if (!options.dryRun) await store.delete(info.bucket, info.key);
        } catch (error) {
          failed += 1;
          out.error(`${showTarget(info)}: ${describe(error) ?? 'stopped'}`);
          continue;
        }
        removed += 1;
        bytes += info.size;
        const { bucket, key, size } = info;
        await (options.json ? out.json({ bucket, key, size }) : tell(out, options.dryRun, showTarget(info), removed));
      }
    } catch (error) {
      options.signal.throwIfAborted();
      if (!(error instanceof S3Error)) throw error;
      failed += 1;
      out.error(`${showTarget(target)}: ${describe(error) ?? 'stopped'}`);
    }
  }
  if (!options.json && options.recursive)
    await out.line(`${options.dryRun ? 'would remove' : 'removed'} ${count(removed, 'object')}, ${humanSize(bytes)}`);
  return failed > 0 ? 1 : 0;
}

/** A dry run names each; a real one only shows that it goes on. */
async function tell(out: Output, dryRun: boolean, name: string, n: number): Promise<void> {
  if (dryRun) await out.line(printable(`would remove ${name}`));
  else out.progress(`${count(n, 'object')} removed, ${name}`);
}

/** One typing error must not empty a bucket: all of it is written with a slash. */
function refuse(target: ObjectTarget, recursive: boolean): void {
  const { bucket, key, whole } = target;
  if (key !== '') return;
  if (!recursive)
    throw new UsageError(`"${bucket}" is a bucket; write bucket/key, or -r ${bucket}/ for all that is in it`);
  if (whole !== true) throw new UsageError(`"${bucket}" is a bucket; write ${bucket}/ for all that is in it`);
}

async function* one(store: Store, { bucket, key }: ObjectTarget): AsyncGenerator<ObjectInfo> {
  yield await store.head(bucket, key);
}

/** What lies below, and an object of that very name; never what only begins alike. @throws NoSuchKey if there is nothing. */
async function* below(store: Store, target: ObjectTarget): AsyncGenerator<ObjectInfo> {
  const { bucket, key } = target;
  const prefix = prefixOf(target);
  let any = false;
  for await (const info of objects(store, { bucket, key: prefix })) {
    any = true;
    yield info;
  }
  if (prefix === key) {
    if (any || key === '') return;
    throw new S3Error('NoSuchKey', undefined, { data: { Key: key } });
  }
  try {
    yield await store.head(bucket, key);
  } catch (error) {
    if (!any || !(error instanceof S3Error && error.code === 'NoSuchKey')) throw error;
  }
}
