/** Digests of the bodies that come at the same time, in this thread: the MD5 of all of them is computed together. */
import type { ChecksumAlgorithm } from '../base/model.js';
import { createHasher, createSums, type BodyHasher } from './hash.js';
import { Md5Together } from './md5-together.js';

/** What is longer may well be the only one for most of its time, and is hashed as such. */
const LONGEST_BYTES = 64 << 20;

let md5s: Md5Together | 'impossible' | undefined;

/** @param size bytes to come, if that is known. @throws as `createHasher` does. */
export function hashTogether(algorithms: readonly ChecksumAlgorithm[], size: number | undefined): BodyHasher {
  md5s ??= Md5Together.make() ?? 'impossible';
  if (md5s === 'impossible' || size === undefined || size > LONGEST_BYTES)
    return { ...createHasher(algorithms), drop: () => undefined };
  const md5 = md5s.openBody();
  const sums = createSums(algorithms.filter((algorithm) => algorithm !== 'MD5'));
  return {
    update(bytes) {
      sums.update(bytes);
      return md5.update(bytes);
    },
    digest: () => ({ ...sums.digest(), MD5: md5.digest() }),
    drop: () => md5.drop(),
  };
}
