/** Directories that gos3rve made and that stand empty: left by a process that was killed, or emptied by other programs (DESIGN rule 6). */
import { readdirSync } from 'node:fs';
import { decodeRow } from '../../catalog/rows.js';
import type { WholeIndex } from '../../catalog/whole.js';
import { lstatOf, type Core } from '../core.js';
import type { Publisher } from '../publish.js';
import { rowsOf, type CollectOptions } from './rows.js';

/** @returns how many were removed, or would be. */
export async function pruneMade(
  core: Core,
  whole: WholeIndex,
  publisher: Publisher,
  { dryRun, signal }: CollectOptions,
): Promise<number> {
  let removed = 0;
  for await (const { value } of rowsOf(core, whole, 'tree', signal)) {
    const row = decodeRow(value);
    if (row.kind !== 'dir' || !row.made || row.marker) continue;
    const dirs = core.catalog.identities.pathOf(row.id);
    if (!dirs || dirs.length < 2 || dirs[0] === '' || !isEmpty(core.pathOf(dirs))) continue;
    if (dryRun) removed++;
    else removed += await prune(core, whole, publisher, dirs);
  }
  return removed;
}

async function prune(core: Core, whole: WholeIndex, publisher: Publisher, dirs: readonly string[]): Promise<number> {
  const paths = whole.write(() => publisher.pruneRecorded(dirs, { path: `${dirs.join('/')}/` }));
  if (paths.length === 0) return 0;
  // a parent may have gone as well: that needs none
  await core.flushed(paths.map((path) => core.pathOf(path.split('/').slice(0, -1))));
  return paths.length;
}

function isEmpty(path: string): boolean {
  try {
    return lstatOf(path)?.isDirectory() === true && readdirSync(path).length === 0;
  } catch {
    return false;
  }
}
