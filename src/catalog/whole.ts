/**
 * The index as one file that was whole when some work began. What has no row in another one, or in one that is being made anew, is not known to be nothing:
 * whatever takes something away because nothing speaks of it decides so in here (DESIGN rule 2).
 */
import { NotReady, type Index } from './lmdb.js';

export class WholeIndex {
  private readonly generation: number;

  /** @throws NotReady if it is being made anew. */
  constructor(private readonly index: Index) {
    index.refresh();
    this.generation = index.generation;
    this.check();
  }

  /** @throws NotReady if it was lost or set aside since, even if another one is whole by now. */
  check(): void {
    if (this.index.generation !== this.generation || !this.index.ready)
      throw new NotReady('the index is being made anew');
  }

  /** A transaction in it. @throws NotReady as {@link check} does. */
  write<T>(work: () => T): T {
    return this.index.writeIn(this.generation, () => {
      this.check();
      return work();
    });
  }
}
