/** Files to be hashed: small ones as they come, large ones last and the smallest of them first. Bounded: what does not fit is found again in the index. */

/** Read after all smaller ones. Bytes. */
export const LARGE_BYTES = 64 << 20;
const SMALL_LIMIT = 50_000;
const LARGE_LIMIT = 1_000;

export interface ToHash {
  dirs: readonly string[];
  name: string;
  size: number;
}

export class HashQueue {
  private readonly small = new Map<string, ToHash>();
  private readonly large = new Map<string, ToHash>();

  get size(): number {
    return this.small.size + this.large.size;
  }

  /** @returns false if there is no room. */
  add(file: ToHash): boolean {
    const [queue, limit] = file.size < LARGE_BYTES ? [this.small, SMALL_LIMIT] : [this.large, LARGE_LIMIT];
    const path = [...file.dirs, file.name].join('/');
    if (queue.size >= limit && !queue.has(path)) return false;
    queue.set(path, file);
    return true;
  }

  takeSmall(): ToHash | undefined {
    const [first] = this.small;
    if (first) this.small.delete(first[0]);
    return first?.[1];
  }

  takeLarge(): ToHash | undefined {
    let best: [string, ToHash] | undefined;
    for (const entry of this.large) if (!best || entry[1].size < best[1].size) best = entry;
    if (best) this.large.delete(best[0]);
    return best?.[1];
  }
}
