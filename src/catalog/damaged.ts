/**
 * Damaged journal lines are set aside in `journal/damaged/<segment>.txt`, each with its offset and its bytes as they are, and reported
 * once. The segment itself is left as it is: an editor can mend it.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { errno } from '../base/errors.js';
import { giveTo, makeStateDir, type Ownership } from '../fs/statefile.js';
import { damagedDirectory, type Damage } from './segments.js';

/** What was set aside of one journal. */
export class Aside {
  /** Of each segment: where its damage is, with a checksum of the bytes. Its file is read once, not for each line. */
  private readonly known = new Map<string, Set<string>>();

  constructor(
    private readonly journal: string,
    private readonly owner?: Ownership,
  ) {}

  /** @returns the how manieth damage of its segment this is, if it is new. @throws the system's error if it cannot be written down. */
  put(segment: string, { start, bytes }: Damage): number | undefined {
    const directory = damagedDirectory(this.journal);
    const path = join(directory, `${segment}.txt`);
    const known = this.known.get(segment) ?? knownIn(path);
    this.known.set(segment, known);
    const name = `${start} ${crc32(bytes)}`;
    if (known.has(name)) return undefined;
    makeStateDir(directory, this.owner);
    const heading = Buffer.from(`at byte ${start}, ${bytes.length} bytes:\n`);
    appendFileSync(path, Buffer.concat([heading, bytes, Buffer.from('\n')]), { mode: 0o600 });
    giveTo(path, this.owner);
    return known.add(name).size;
  }
}

const HEADING = /at byte (\d+), (\d+) bytes:\n/y;

function knownIn(path: string): Set<string> {
  const found = new Set<string>();
  const bytes = contentOf(path);
  const text = bytes.toString('latin1');
  HEADING.lastIndex = 0;
  for (let heading = HEADING.exec(text); heading; heading = HEADING.exec(text)) {
    const end = HEADING.lastIndex + Number(heading[2]);
    found.add(`${heading[1]} ${crc32(bytes.subarray(HEADING.lastIndex, end))}`);
    HEADING.lastIndex = end + 1;
  }
  return found;
}

function contentOf(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    if (errno(error) === 'ENOENT') return Buffer.alloc(0);
    throw error;
  }
}
