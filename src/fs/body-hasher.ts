/** Where the digests of a body are computed. */
import type { ChecksumAlgorithm } from '../base/model.js';
import { createHasher, prepareHashes, type BodyHasher } from './hash.js';

export async function openBodyHasher(algorithms: readonly ChecksumAlgorithm[]): Promise<BodyHasher> {
  await prepareHashes();
  return { ...createHasher(algorithms), drop: () => undefined };
}
