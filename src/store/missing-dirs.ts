/**
 * Directories that are gone: what had rows below them is gone, too, and somebody may want to hear of it. A directory that another program has renamed is
 * gone from its path until somebody looks at the new one: so rows are noted only once the path has stayed empty for a moment.
 *
 * A hint, kept by this process only: the next scan comes upon the same directories again.
 */
import { childPagesInTurns } from '../catalog/children.js';
import { decodeRow, isGone } from '../catalog/rows.js';
import type { Core } from './core.js';
import { isFolderGone, noteGone, type Missing } from './ghosts.js';

/** More are left to the next scan. */
const LIMIT = 10_000;

export class MissingDirs {
  /** When (ms) it was first missed, by path below the root. */
  private readonly since = new Map<string, number>();

  constructor(private readonly core: Core) {}

  /** The directory has a row, and nothing or a file has its path. */
  note(dirs: readonly string[]): void {
    const path = dirs.join('/');
    if (this.since.size < LIMIT && !this.since.has(path)) this.since.set(path, performance.now());
  }

  /** Notes what is gone with those that have been away for a moment. @returns how many files. */
  async settle(): Promise<number> {
    let gone = 0;
    for (const [path, since] of this.since) {
      if (performance.now() - since < this.core.quietMs) continue;
      this.since.delete(path);
      gone += await this.noteBelow(path.split('/'));
    }
    return gone;
  }

  private async noteBelow(top: readonly string[]): Promise<number> {
    const { index } = this.core.catalog;
    const row = this.core.catalog.findDir(top);
    const folders = row && isFolderGone(this.core, top) ? [{ row, dirs: top }] : [];
    let gone = 0;
    for (let folder = folders.pop(); folder; folder = folders.pop()) {
      const { dirs } = folder;
      const { id, marker } = folder.row;
      // the keys that it had before are told once it has turned up nowhere (left.ts)
      if (this.core.catalog.away.get(id)) continue;
      if (marker) gone += noteGone(this.core, [{ dirs, name: '' }]);
      for await (const page of childPagesInTurns(index, id)) {
        const missing: Missing[] = [];
        for (const { name, value } of page) {
          const below = name.endsWith('/') ? decodeRow(value) : undefined;
          if (below?.kind === 'dir') folders.push({ row: below, dirs: [...dirs, name.slice(0, -1)] });
          else if (!below && !isGone(value)) missing.push({ dirs, name });
        }
        gone += noteGone(this.core, missing);
      }
    }
    return gone;
  }
}
