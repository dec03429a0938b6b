/**
 * A write that takes its time - a slow body, a long copy - belongs to the bucket that it began in: if that was deleted meanwhile, the next bucket of
 * its name may be somebody else's.
 */
import { identityOf } from '../catalog/identities.js';
import { fingerprint } from '../fs/fingerprint.js';
import { noSuchBucket, type Core, type WhichBucket } from './core.js';

/** Asked under the lock. @throws NoSuchBucket if the bucket is no longer the one that the write began in. */
export type Hold = () => void;

/** @throws NoSuchBucket. */
export function holdBucket(core: Core, bucket: string): Hold {
  const then = core.bucketsSeen.get(bucket, () => core.dirs.beforehand(() => whichBucket(core, bucket)));
  return () => {
    const now = whichBucket(core, bucket);
    // an index that was made anew counts from 0 again
    if (now.identity !== then.identity || now.deletions > then.deletions) throw noSuchBucket(bucket);
  };
}

/** Counts deletions of a bucket name: inode and birth time of a folder that is made at once may be those of the one that went. Under the lock. */
export function noteBucketDeleted(core: Core, bucket: string): void {
  core.catalog.index.next(counter(bucket));
  core.catalog.clientTokens.forgetBucket(bucket);
}

function whichBucket(core: Core, bucket: string): WhichBucket {
  const dir = core.bucketDir(bucket);
  const { born } = dir;
  const identity = identityOf(fingerprint(born, core.mounts.idOf(born.dev, dir.path))).toString('hex');
  return { identity, deletions: deletionsOf(core, bucket) };
}

/** How often the bucket of a name went, or was renamed by others, as far as the index knows. */
export function deletionsOf(core: Core, bucket: string): number {
  return core.catalog.index.number(counter(bucket));
}

function counter(bucket: string): string {
  return `deleted:${bucket}`;
}
