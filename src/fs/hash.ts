import type { ChecksumAlgorithm, Digests } from '../base/model.js';
export interface Hasher {
  update(chunk: Uint8Array): void;
  digest(): Digests;
}
export declare function prepareHashes(): Promise<void>;
export declare function createHasher(algorithms: readonly ChecksumAlgorithm[]): Hasher;
