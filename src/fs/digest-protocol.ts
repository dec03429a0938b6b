/** What is said to the thread that computes digests, and what it says. It does all in turn, and answers updates and digests in turn. */
import type { ChecksumAlgorithm } from '../base/model.js';

export type ToDigester =
  | { kind: 'open'; body: number; algorithms: readonly ChecksumAlgorithm[] }
  /** The first `length` bytes of memory that both see; it is passed when it is first spoken of, and known by its number then. */
  | { kind: 'shared'; body: number; slot: number; length: number; memory?: SharedArrayBuffer }
  /** A copy. */
  | { kind: 'copied'; body: number; bytes: Uint8Array }
  | { kind: 'digest'; body: number }
  | { kind: 'drop'; body: number };

export type FromDigester =
  /** Once: what was said before is done now. */
  | { kind: 'ready' }
  | { kind: 'updated' }
  | { kind: 'digests'; digests: Partial<Record<ChecksumAlgorithm, Uint8Array>> };
