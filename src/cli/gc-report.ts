/** The one line that gc prints. */
import type { GcReport } from '../jobs/gc.js';
import { count, humanSize } from './output.js';

export function resultLine(report: GcReport, dryRun: boolean): string {
  if (report.busy) return 'another process is at it; nothing was done';
  const {
    uploads,
    staging,
    returned,
    settled,
    quarantined,
    forgotten,
    directories,
    segments,
    segmentBytes,
    journalBytes,
  } = report;
  const done = [
    uploads > 0 && `${count(uploads, 'upload')} ended`,
    staging > 0 && `${count(staging, 'staging file')} removed`,
    returned > 0 && `${count(returned, 'object')} brought back from .gos3rve/quarantine`,
    settled > 0 && `${count(settled, 'overflow object')} moved to the path of the key`,
    quarantined > 0 && `${count(quarantined, 'file')} without a record put into .gos3rve/quarantine`,
    forgotten > 0 && `${count(forgotten, 'file')} long gone forgotten`,
    directories > 0 && `${count(directories, 'empty folder')} removed`,
    segments > 0 &&
      `${count(segments, 'journal segment')} of ${humanSize(segmentBytes)} ` +
        // none is written where nothing has happened since the last one
        (journalBytes > 0 ? `became one of ${humanSize(journalBytes)}` : 'with nothing new removed'),
  ].filter((part) => part !== false);
  const text = done.length === 0 ? 'nothing to do' : done.join('; ');
  return dryRun ? `would be done: ${text}` : text;
}
