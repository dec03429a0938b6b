/** Directories beside one that has gone from its path: most are renamed where they are. */
import { opendirSync } from 'node:fs';
import type { FileClock } from '../fs/clock.js';
import { lstatOf } from '../fs/stat.js';

/** Among more entries than these it is not looked for, unless it is a bucket's. */
const LIMIT = 1000;
/** So many are remembered. */
const SOUGHT_LIMIT = 1000;

export class Beside {
  /** What stood above a directory when that was looked for. */
  private readonly sought = new Map<string, string>();

  constructor(private readonly core: { readonly clock: FileClock; pathOf(dirs: readonly string[]): string }) {}

  /** Names of other directories beside one; none if they have not changed since this was asked. */
  of(dirs: readonly string[]): string[] {
    const above = this.core.pathOf(dirs.slice(0, -1));
    if (dirs.length === 1) return namesIn(above, dirs[0], Infinity);
    return this.isSought(dirs, above) ? [] : namesIn(above, dirs.at(-1), LIMIT);
  }

  private isSought(dirs: readonly string[], above: string): boolean {
    const stat = lstatOf(above);
    if (!stat || this.core.clock.isYoung(stat.mtimeNs)) return false;
    const path = dirs.join('/');
    const stamp = `${stat.ino}:${stat.mtimeNs}`;
    if (this.sought.get(path) === stamp) return true;
    if (this.sought.size >= SOUGHT_LIMIT) this.sought.clear();
    this.sought.set(path, stamp);
    return false;
  }
}

function namesIn(path: string, but: string | undefined, limit: number): string[] {
  const names: string[] = [];
  const directory = opendirSync(path);
  try {
    let n = 0;
    for (let entry = directory.readSync(); entry; entry = directory.readSync()) {
      if (++n > limit) return [];
      if (entry.isDirectory() && entry.name !== but) names.push(entry.name);
    }
  } finally {
    directory.closeSync();
  }
  return names;
}
