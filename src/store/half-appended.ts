/**
 * Parts of appends that came to nothing and stay in a file, because another program has written behind them: told at once, and noted in a text file for
 * whoever looks after the root (`doctor`). Nobody but its owner can say where such a file may be cut.
 */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { giveTo } from '../fs/statefile.js';
import type { Core } from './core.js';

/** In the state directory: one line for each. */
export const HALF_APPENDED = 'half-appended.txt';

export interface HalfAppended {
  /** Path below the root. */
  file: string;
  /** Where the part begins, and how long it is. */
  offset: number;
  bytes: number;
}

/** @param level `warn` if a process was killed, `error` if it happened just now. */
export function tellHalfAppended(core: Core, level: 'warn' | 'error', half: HalfAppended): void {
  core.log(
    level,
    'an append came to nothing, and part of what was sent stays in the file: another program has written behind it, and none of that is touched',
    { ...half },
  );
  const path = join(core.stateDir, HALF_APPENDED);
  const { file, offset, bytes } = half;
  try {
    const line = `${new Date().toISOString()} ${JSON.stringify(file)}: ${bytes} bytes from byte ${offset} on\n`;
    appendFileSync(path, line, { mode: 0o600 });
    giveTo(path, core.owner);
  } catch (error) {
    core.log('warn', 'that could not be noted', { path, error: String(error) });
  }
}
