/** What the journal says of a file since an append to it was announced. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { identityOfAppend } from './appends.js';
import type { Append } from './lines.js';
import { SegmentReader, listSegments } from './segments.js';

/** Clocks of machines that share a root may differ by so much (ms). */
const SLACK_MS = 3_600_000;

/**
 * Reads all segments that were written to since, from their beginnings: rare, and under the lock.
 * @returns `done`: another append to the file was written down as done since; `open`: others whose end nobody has written down.
 */
export function afterAppend(directory: string, line: Append): { done: boolean; open: Append[] } {
  const identity = identityOfAppend(line);
  const open = new Map<string, Append>();
  const aborted = new Set<string>();
  for (const segment of listSegments(directory)) {
    const path = join(directory, segment);
    const stat = statSync(path, { throwIfNoEntry: false });
    if (!stat || stat.mtimeMs < line.time - SLACK_MS) continue;
    const reader = new SegmentReader(path, 0);
    for (let next = reader.next(); next; next = reader.next()) {
      const other = next.line;
      if (other.op === 'abort') aborted.add(other.id);
      else if (other.op === 'append' && other.id !== line.id && identityOfAppend(other).equals(identity))
        open.set(other.id, other);
      else if (other.op === 'appended') {
        const ended = open.get(other.id);
        if (ended && isAfter(ended, line)) return { done: true, open: [] };
        open.delete(other.id);
      }
    }
  }
  return { done: false, open: [...open.values()].filter(({ id }) => !aborted.has(id)) };
}

/** Whether an append came after the other one, or from the very same state of the file: of two of these only one can have begun. */
function isAfter(append: Append, before: Append): boolean {
  return append.fp === before.fp || append.time >= before.time;
}
