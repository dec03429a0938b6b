/**
 * Ghosts: rows whose file is gone. What clients said of the key and what is known of the bytes is kept for a while: the file may come back,
 * with a disk or from a backup (DESIGN rules 2 and 4). `gc` drops them in the end.
 *
 * A listing need not look for them as long as the directory has not changed since somebody did.
 */
import type { BigIntStats } from 'node:fs';
import { errno } from '../base/errors.js';
import { NO_FINGERPRINT } from '../catalog/catalog.js';
import { GONE_COUNTER, isWorthKeeping } from '../catalog/ghost.js';
import type { DirRow } from '../catalog/rows.js';
import { isAbsent, lstatOf, type Core } from './core.js';
import { adoptStanding } from './settle.js';

/** A file, or with the name '' the marker whose folder is `dirs`. */
export interface Missing {
  dirs: readonly string[];
  name: string;
}

/**
 * Objects that a killed process had moved to a key that is no path, without its commit line: only the file that is missing tells of them.
 * @returns whether there were any.
 */
export function adoptLost(core: Core, missing: readonly Missing[]): boolean {
  const { catalog } = core;
  if (missing.length === 0 || !catalog.index.ready || core.options.readOnly === true) return false;
  return catalog.index.write(() => {
    const lost = new Set(missing.filter(({ dirs, name }) => absence(core, dirs, name) === 'gone').map(pathOf));
    const lines = lost.size === 0 ? [] : catalog.loosePrepares();
    const moves = lines.filter((line) => 'key' in line && line.from && 'path' in line.from && lost.has(line.from.path));
    return moves.filter((line) => adoptStanding(core, line)).length > 0;
  });
}

function pathOf({ dirs, name }: Missing): string {
  return [...dirs, name].join('/');
}

/** Notes that files and markers are gone, those that really are. @returns how many. */
export function noteGone(core: Core, missing: readonly Missing[], now = Date.now()): number {
  if (missing.length === 0 || !core.catalog.index.ready) return 0;
  const { catalog } = core;
  return catalog.index.write(() => {
    const gone = missing.filter((one) => noteOne(core, one, now));
    if (gone.length > 0) catalog.index.next(GONE_COUNTER);
    // a directory that is away itself may come back with the stamp that it had
    for (const [i, { dirs }] of gone.entries()) {
      if (dirs === gone[i - 1]?.dirs) continue;
      if (isDirectory(core, dirs)) catalog.doubtFull(dirs);
      else catalog.distrustDir(dirs);
    }
    // rolled back if it was the disk that went
    core.checkRoot();
    return gone.length;
  });
}

function noteOne(core: Core, { dirs, name }: Missing, now: number): boolean {
  if (name === '') return noteMarker(core, dirs, now);
  const place = { kind: 'tree', dirs, name } as const;
  const row = core.catalog.row(place);
  const how = row && row.goneAt === undefined ? absence(core, dirs, name) : undefined;
  if (!row || how === undefined) return false;
  // a link that never led anywhere is nothing that went
  if (how === 'dangling' && (row.dangling === true || row.fp.equals(NO_FINGERPRINT))) return false;
  const { dangling: told, ...rest } = row;
  if (how === 'dangling') core.catalog.putRow(place, { ...rest, dangling: true });
  else if (isWorthKeeping(row)) core.catalog.putRow(place, { ...rest, goneAt: now });
  else core.catalog.removeRow(place);
  if (told !== true) core.catalog.untold.note(dirs, name, 'removed');
  return true;
}

function noteMarker(core: Core, dirs: readonly string[], now: number): boolean {
  const { catalog } = core;
  const row = catalog.findDir(dirs);
  if (!row?.marker || catalog.missed.get(row.id) !== undefined) return false;
  // where it was before is told once that is known (left.ts)
  if (catalog.away.get(row.id)) return false;
  if (!isFolderGone(core, dirs)) return false;
  catalog.missed.put(row.id, now);
  catalog.untold.note(dirs, '', 'removed');
  return true;
}

/** A folder that stands there is no longer missed, if it is a marker's. @returns whether it was. */
export function noteMarkerBack(core: Core, dirs: readonly string[], { id, marker }: DirRow): boolean {
  const { catalog } = core;
  if (!marker || !catalog.index.ready || catalog.missed.get(id) === undefined) return false;
  return catalog.index.write(() => {
    if (catalog.findDir(dirs)?.id !== id || !isDirectory(core, dirs)) return false;
    catalog.missed.remove(id);
    catalog.untold.noteBack(dirs, '');
    return true;
  });
}

/** No folder has the path any more. */
export function isFolderGone(core: Core, dirs: readonly string[]): boolean {
  // a lost directory has no path
  if (dirs[0] === '') return true;
  try {
    return isNoFolder(core, lstatOf(core.pathOf(dirs)));
  } catch (error) {
    // not to be seen: nobody can tell
    if (errno(error) === 'EACCES' || errno(error) === 'EPERM') return false;
    throw error;
  }
}

/** What a link leads to, where such links are followed, may come back without a trace. */
function isNoFolder(core: Core, stat: BigIntStats | undefined): boolean {
  if (!stat) return true;
  return stat.isSymbolicLink() ? core.symlinks !== 'all' : !stat.isDirectory();
}

/**
 * Whether a file is away. `gone`: nothing has its name, or what is no file, so that the directory changes before it can be back. `dangling`: a link
 * that leads to none; what it leads to may come back without a trace in this directory.
 */
export function absence(core: Core, dirs: readonly string[], name: string): 'gone' | 'dangling' | undefined {
  // a lost directory has no path
  if (dirs[0] === '') return 'gone';
  try {
    // behind a link that is not followed are other files
    if (core.symlinks !== 'all' && !core.existingDir(dirs.slice(0, 1), dirs.slice(1))) return 'gone';
    const stat = lstatOf(`${core.pathOf(dirs)}/${name}`);
    if (stat?.isFile()) return undefined;
    if (!stat?.isSymbolicLink() || core.symlinks === 'none') return 'gone';
    return core.findPlace(dirs, name) ? undefined : 'dangling';
  } catch (error) {
    return isAbsent(error) ? 'gone' : undefined;
  }
}

function isDirectory(core: Core, dirs: readonly string[]): boolean {
  return dirs[0] !== '' && lstatOf(core.pathOf(dirs))?.isDirectory() === true;
}
