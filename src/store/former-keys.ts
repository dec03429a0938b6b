/**
 * Renames of folders that a reader of the journal has come upon while there were lines behind them. The objects below were told of by rows as they are
 * after those lines: what the lines take out of the folder had a key before the rename, too, which is gone.
 */
import type { MovedDir } from '../catalog/moved.js';

/** Renames that are remembered. */
const LIMIT = 256;
/** How long (ms) somebody may take to tell of a file that went. */
const LATE_MS = 60_000;

interface Rename {
  seq: number;
  from: string;
  to: string;
  /** Last of the lines behind it. */
  until: number;
  /** Until when (ms) what was gone then may be told of. */
  late: number;
}

export class FormerKeys {
  private renames: Rename[] = [];
  /** The line that is told: of a folder that was lost, its old path is that of before the loss. */
  private told: { seq: number; lostAt: number } | undefined;

  /** A rename whose objects are about to be told. @returns what is to be called once they were, with the number of the last line by then. */
  begin({ seq, from: last, was, path: to }: MovedDir): (until: number) => void {
    this.told = { seq, lostAt: lostAt(last) };
    const rename: Rename = { seq, from: was ?? last, to, until: Infinity, late: Infinity };
    // one that was lost has no path
    const hasPaths = ![rename.from, to].some((path) => path.startsWith('/'));
    if (hasPaths) this.renames = [...this.renames.slice(1 - LIMIT), rename];
    return (until) => {
      rename.until = until;
      rename.late = Date.now() + LATE_MS;
    };
  }

  /**
   * Paths that an object had which the line `seq` takes away, the latest first.
   * @param late it may have gone before the line was written.
   */
  of(path: string, seq: number, late: boolean): string[] {
    const ms = Date.now();
    const before = this.told?.seq === seq ? this.told.lostAt : Infinity;
    this.renames = this.renames.filter((one) => one.until >= seq || one.late > ms);
    const paths: string[] = [];
    let now = path;
    for (const { seq: renamed, from, to, until } of [...this.renames].reverse()) {
      if (!now.startsWith(to) || renamed >= before || !(until >= seq || late)) continue;
      now = from + now.slice(to.length);
      paths.push(now);
    }
    return paths;
  }

  /** The number of the first rename that lines behind `last` still belong to. */
  firstHeld(last: number): number | undefined {
    return this.renames.find(({ until }) => until > last)?.seq;
  }
}

/** A lost folder is called `/` and the number of the rename that took its name. */
function lostAt(path: string): number {
  return path.startsWith('/') ? Number.parseInt(path.slice(1), 10) : Infinity;
}
