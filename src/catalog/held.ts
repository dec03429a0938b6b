/** How far whoever sends events has read the journal: lines behind that are needed, even where all that they came to is known. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** A server that was not seen for so long (ms) holds nothing back any more. */
const PATIENCE_MS = 7 * 86_400_000;

export function cursorPath(stateDir: string): string {
  return join(stateDir, 'events', 'cursor.json');
}

/** Number of the last line that was read; undefined if nobody has to read the journal. */
export function heldUpTo(journalDirectory: string, now = Date.now()): number | undefined {
  try {
    const text = readFileSync(cursorPath(dirname(journalDirectory)), 'utf8');
    const { seq, time } = JSON.parse(text) as { seq?: unknown; time?: unknown };
    return typeof seq === 'number' && typeof time === 'number' && now - time < PATIENCE_MS ? seq : undefined;
  } catch {
    return undefined;
  }
}
