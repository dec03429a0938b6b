/** Files in quarantine that records speak of after all: they were put aside when the index was not whole, and nothing has come to their keys since. */
import { renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Place } from '../../catalog/catalog.js';
import { decodeRow, unpairKey } from '../../catalog/rows.js';
import type { WholeIndex } from '../../catalog/whole.js';
import { fingerprint } from '../../fs/fingerprint.js';
import { lstatOf } from '../../fs/stat.js';
import { makeStateDir, syncDirSync } from '../../fs/statefile.js';
import { stateName, type Core } from '../core.js';
import { names } from './overflow.js';
import { rowsOf, type CollectOptions } from './rows.js';

/** @returns how many objects have their bodies again, or would have. */
export async function bringBack(core: Core, whole: WholeIndex, { dryRun, signal }: CollectOptions): Promise<number> {
  const top = join(core.dataDir, 'quarantine');
  const days = names(top).map((day) => join(top, day));
  if (days.length === 0) return 0;
  let back = 0;
  for await (const { key, value } of rowsOf(core, whole, 'overflow', signal)) {
    const row = decodeRow(value);
    const file = row.kind === 'file' ? row.file : undefined;
    const [folder = '', name = ''] = unpairKey(key);
    if (file === undefined || lstatOf(join(core.overflowDir(folder), file))) continue;
    const place = { kind: 'overflow', bucket: folder, key: name } as const;
    for (const day of days) {
      const from = join(day, `${stateName(folder)}-${file}`);
      if (lstatOf(from) && (dryRun ? isBodyOf(core, place, from) : putBack(core, whole, place, from))) back++;
    }
  }
  return back;
}

/** Whether it is the very file, unchanged. */
function isBodyOf({ catalog }: Core, place: Place, from: string): boolean {
  const stat = lstatOf(from);
  return stat?.isFile() === true && catalog.row(place)?.fp.equals(fingerprint(stat, 0)) === true;
}

function putBack(core: Core, whole: WholeIndex, place: Extract<Place, { kind: 'overflow' }>, from: string): boolean {
  const directory = core.overflowDir(place.bucket);
  makeStateDir(directory, core.owner);
  const moved = whole.write(() => {
    const file = core.catalog.row(place)?.file;
    if (file === undefined || !from.endsWith(`-${file}`) || lstatOf(join(directory, file))) return false;
    if (!isBodyOf(core, place, from)) return false;
    renameSync(from, join(directory, file));
    return true;
  });
  if (!moved) return false;
  for (const path of [directory, dirname(from)]) syncDirSync(path);
  core.log('warn', 'an object was brought back from quarantine', { bucket: place.bucket, key: place.key });
  return true;
}
