/** What is said to the thread that computes digests, and what it says. Each update and digest is answered, by its number. */
import type { ChecksumAlgorithm } from '../base/model.js';

export type ToDigester =
  | { kind: 'open'; body: number; algorithms: readonly ChecksumAlgorithm[]; size: number | undefined }
  /** The first `length` bytes of memory that both see; it is passed when it is first spoken of, and known by its number then. */
  | { kind: 'shared'; asked: number; body: number; slot: number; length: number; memory?: SharedArrayBuffer }
  /** A copy. */
  | { kind: 'copied'; asked: number; body: number; bytes: Uint8Array }
  | { kind: 'digest'; asked: number; body: number }
  | { kind: 'drop'; body: number };

export type FromDigester =
  /** Once: what was said before is done now. */
  | { kind: 'ready' }
  | { kind: 'updated'; asked: number }
  | { kind: 'digests'; asked: number; digests: Partial<Record<ChecksumAlgorithm, Uint8Array>> };
