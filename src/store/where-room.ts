/** What a read notes of the tree in passing. */
import { isFull } from '../fs/statefile.js';

/** Runs work that is only a help to whoever reads; on a full disk they are answered without it. @returns undefined then. */
export function whereRoom<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (isFull(error)) return undefined;
    throw error;
  }
}
