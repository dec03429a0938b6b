/** What the main thread and the hashing thread say to each other. */

export interface Job {
  id: number;
  path: string;
  /** Offset where each piece ends; the first begins at 0. */
  ends: number[];
}

export type Answer = { id: number; digests: string[] } | { id: number; error: { code: string; message: string } };

/** States of the shared word: work; rest between reads, for requests are busy; give up. */
export const RUN = 0;
export const REST = 1;
export const STOP = 2;
