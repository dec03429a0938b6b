/**
 * Damaged journal lines are set aside in `journal/damaged/<segment>.txt`, each with its offset and its bytes as they are, and reported
 * once. The segment itself is left as it is: an editor can mend it.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errno } from '../base/errors.js';
import { giveTo, makeStateDir, type Ownership } from '../fs/statefile.js';
import { damagedDirectory, type Damage } from './segments.js';

/** @returns whether this damage is new. @throws the system's error if it cannot be written down. */
export function setAside(journal: string, segment: string, { start, bytes }: Damage, owner?: Ownership): boolean {
  const directory = damagedDirectory(journal);
  const path = join(directory, `${segment}.txt`);
  const heading = `at byte ${start}, ${bytes.length} bytes:\n`;
  if (textOf(path).includes(`${heading}${bytes.toString('latin1')}\n`)) return false;
  makeStateDir(directory, owner);
  appendFileSync(path, Buffer.concat([Buffer.from(heading), bytes, Buffer.from('\n')]), { mode: 0o600 });
  giveTo(path, owner);
  return true;
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    if (errno(error) === 'ENOENT') return '';
    throw error;
  }
}
