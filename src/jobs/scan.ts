/** A look at the whole tree, or at a part of it: directories one by one, deepest last, at low priority. */
import type { FileReport, Live } from '../store/live-contract.js';
import type { Patience } from './patience.js';

export interface ScanOptions {
  /** Compare every file with its row, not only directories with their stamps. */
  files: boolean;
  /** Files that nobody knew of were made now. */
  told?: boolean;
  patience: Patience;
  signal: AbortSignal;
  /** Before a directory is looked at; and when it turns out to be gone. */
  enter?: (dir: string) => void;
  leave?: (dir: string) => void;
  /** Files that differ from their rows, and those that nobody has hashed; only with `files`. */
  onFile?: (dirs: readonly string[], name: string, report: FileReport) => void;
}

/** How many directories were seen, and names that came, went, and changed. */
export interface ScanReport {
  directories: number;
  added: number;
  gone: number;
  changed: number;
}

/**
 * Scans from a directory (path below the root, '' the root) down. Memory: the names of the directories beside the way down.
 * @throws ServiceUnavailable when the root has vanished.
 */
export async function scan(live: Live, from: string, options: ScanOptions): Promise<ScanReport> {
  const { signal, patience } = options;
  const report: ScanReport = { directories: 0, added: 0, gone: 0, changed: 0 };
  const waiting: string[][] = [from === '' ? [] : from.split('/')];
  for (let dirs = waiting.pop(); dirs && !signal.aborted; dirs = waiting.pop()) {
    const here = dirs;
    const path = here.join('/');
    options.enter?.(path);
    const found = await live.lookAtDir(here, {
      files: options.files,
      told: options.told === true,
      onFile: (name, file) => options.onFile?.(here, name, file),
    });
    if (!found) {
      options.leave?.(path);
      continue;
    }
    report.directories++;
    report.added += found.added;
    report.gone += found.gone;
    report.changed += found.changed;
    for (const name of found.subdirs.reverse()) waiting.push([...here, name]);
    await patience.turn();
  }
  return report;
}
