/** Prepare lines without commit: whether what they announce has happened, and ending what has (DESIGN rule 3). Under the lock. */
import { lstatSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { tokenAlive } from '../base/process.js';
import { placeOf, samePlace, split } from '../catalog/catalog.js';
import type { JournalLine, Subject } from '../catalog/lines.js';
import { fingerprint, parseFingerprint } from '../fs/fingerprint.js';
import { discard } from '../fs/stage.js';
import { syncDirSync } from '../fs/statefile.js';
import type { Core } from './core.js';

type Prepare = Extract<JournalLine, { op: 'prepare' }>;

/** Takes over a line whose file stands at its key without a row. @returns false if it does not, or if its process is still at it. */
export function adoptStanding(core: Core, line: Prepare): boolean {
  const path = pathOf(core, line, line.file);
  const stat = path === undefined ? undefined : lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (path === undefined || !stat?.isFile()) return false;
  const fp = fingerprint(stat, 'path' in line ? core.mounts.idOf(stat.dev, dirname(path)) : 0);
  if (!fp.equals(parseFingerprint(line.bytes.fp)) || core.catalog.row(placeOf(line))?.fp.equals(fp) === true)
    return false;
  if (!endMove(core, line)) return false;
  // ending a move changed the ctime
  core.catalog.adoptLine(line, lstatSync(path, { bigint: true }).ctimeNs);
  if ('key' in line) settleOverflow(core, line);
  return true;
}

/** Of two overflow files of one key only that of the row stays. */
export function settleOverflow(core: Core, line: Extract<Prepare, { key: string }>): void {
  const { file } = core.catalog.row(placeOf(line)) ?? {};
  for (const name of [line.file, line.replaces]) {
    if (name !== undefined && name !== file) discard(join(core.overflowDir(line.bucket), name));
  }
}

/**
 * A move by link(2) whose process was killed before the unlink has left the file under both names: the old one goes.
 * @returns false while the process lives: the move has not happened yet.
 */
export function endMove(core: Core, line: Prepare): boolean {
  if (!line.from || samePlace(placeOf(line.from), placeOf(line))) return true;
  const path = pathOf(core, line.from, core.catalog.row(placeOf(line.from))?.file);
  const stat = path === undefined ? undefined : lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (path === undefined || !stat?.isFile()) return true;
  const fp = fingerprint(stat, 'path' in line.from ? core.mounts.idOf(stat.dev, dirname(path)) : 0);
  if (!fp.equals(parseFingerprint(line.bytes.fp))) return true;
  if (tokenAlive(tokenOf(line.id), 0)) return false;
  unlinkSync(path);
  if (core.durable) syncDirSync(dirname(path));
  return true;
}

/** Process token of an operation's id. */
export function tokenOf(id: string): string {
  return id.slice(0, id.lastIndexOf('-'));
}

function pathOf(core: Core, subject: Subject, file: string | undefined): string | undefined {
  if ('path' in subject) return core.pathOf(split(subject.path));
  return file === undefined ? undefined : join(core.overflowDir(subject.bucket), file);
}
