import type { Checksum, ChecksumAlgorithm, ChecksumType, DigestPlan } from '../base/model.js';
import type { Headers } from './headers.js';
import type { XmlElement } from './xml.js';
export type ChecksumLike = Checksum | { algorithm: ChecksumAlgorithm; value: string; type?: ChecksumType };
export declare function planDigests(h: Headers, trailers: Headers): DigestPlan;
export declare function requestedChecksum(h: Headers): { algorithm: ChecksumAlgorithm; type: ChecksumType } | undefined;
export declare function checksumHeaders(c: ChecksumLike): Record<string, string>;
export declare function checksumElements(c: ChecksumLike): XmlElement[];
export declare function compositeChecksum(algorithm: ChecksumAlgorithm, parts: readonly string[]): string;
export declare function combineChecksums(
  algorithm: 'CRC32' | 'CRC32C' | 'CRC64NVME',
  parts: readonly { value: string; size: number }[],
): string;
export declare function checksumName(algorithm: ChecksumAlgorithm): string;
export declare function checksumHeaderName(algorithm: ChecksumAlgorithm): string;
