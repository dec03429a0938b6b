/**
 * What the system's watches told: "look at this name, in this directory, again". Many hints about one thing are one; a hint rests for a
 * moment, so that a file being written is not looked at after each write. Bounded: too many names make it the whole directory, too
 * many directories the whole tree.
 */

/** ms from the first hint to the look. */
const REST_MS = 100;
/** Names in all directories together. */
const NAMES_LIMIT = 50_000;
const DIRS_LIMIT = 10_000;

/** A directory (path below the root, '' the root) and its names of which something was told; `whole`: any of them. */
export interface Hint {
  dir: string;
  names: Set<string>;
  whole: boolean;
}

interface Entry extends Hint {
  due: number;
}

export class Hints {
  private readonly entries = new Map<string, Entry>();
  private names = 0;

  /** @param onOverflow told when hints were lost: anything may have changed. */
  constructor(private readonly onOverflow: () => void) {}

  get size(): number {
    return this.entries.size;
  }

  /** @param name absent: any name of the directory. */
  add(dir: string, name?: string, now = performance.now()): void {
    let entry = this.entries.get(dir);
    if (!entry) {
      if (this.entries.size >= DIRS_LIMIT) {
        this.clear();
        this.onOverflow();
        return;
      }
      entry = { dir, names: new Set(), whole: false, due: now + REST_MS };
      this.entries.set(dir, entry);
    }
    if (entry.whole || (name !== undefined && entry.names.has(name))) return;
    if (name === undefined || this.names >= NAMES_LIMIT) {
      entry.whole = true;
      this.names -= entry.names.size;
      entry.names.clear();
      return;
    }
    entry.names.add(name);
    this.names++;
  }

  /** Takes the oldest hint that has rested; else tells how long (ms) until there is one, undefined if none waits. */
  take(now = performance.now()): Hint | number | undefined {
    for (const entry of this.entries.values()) {
      if (entry.due > now) return entry.due - now;
      this.entries.delete(entry.dir);
      this.names -= entry.names.size;
      return entry;
    }
    return undefined;
  }

  clear(): void {
    this.entries.clear();
    this.names = 0;
  }
}
