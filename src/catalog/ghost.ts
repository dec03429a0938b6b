/** Rows whose file is gone: which are kept, and who must hear of it. */
import type { FileRow } from './rows.js';

/** Counts times that rows became ghosts: whoever reads a directory meanwhile reads it again. */
export const GONE_COUNTER = 'gone';

/** Whether anything is known of a file that may come back, or of its key. */
export function isWorthKeeping(row: FileRow): boolean {
  return row.etag !== '' || row.facts !== undefined || row.published || row.from !== undefined;
}
