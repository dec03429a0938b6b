/** After a crash: what was prepared is adopted or dropped, what was appended is cut back, stale staging files go (DESIGN rule 3). */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { errno } from '../base/errors.js';
import { tokenAlive } from '../base/process.js';
import { split, subjectOf, type Place } from '../catalog/catalog.js';
import { isLeft } from '../catalog/segments.js';
import { dirsOf, type Moving } from '../catalog/moved.js';
import type { JournalLine } from '../catalog/lines.js';
import { NotReady } from '../catalog/lmdb.js';
import type { Dangling, Origin } from '../catalog/replay.js';
import { lstatOf } from '../fs/stat.js';
import { replacerOf } from '../fs/statefile.js';
import type { Core } from './core.js';
import { settleAppend, settleOrphans } from './append-recovery.js';
import { forgetGrowths } from './growth.js';
import type { Publisher } from './publish.js';
import { adoptMove, adoptStanding, identityAt, settleAside, settleOverflow, tokenOf } from './settle.js';
import type { Uploads } from './uploads.js';

type Prepare = Extract<JournalLine, { op: 'prepare' }>;

export function recover(core: Core, publisher: Publisher, dangling: Dangling): void {
  const { catalog } = core;
  const { index } = catalog;
  /** Segments of dead processes, or undefined where something is left to do. They grow no more: they need not be looked at again. */
  const ends = new Map<string, number | undefined>();
  const note = ({ segment, end }: Origin, whole: boolean): void => {
    ends.set(segment, whole && (!ends.has(segment) || ends.get(segment) !== undefined) ? end : undefined);
  };
  const settle = (origin: Origin, id: string, work: () => void): void => {
    const done = dangling.aborted.has(id) || tryOne(core, () => catalog.record(work));
    note(origin, done && !tokenAlive(tokenOf(id), 0));
  };
  for (const { line, origin } of dangling.superseding)
    settle(origin, line.id, () => {
      if (!tokenAlive(tokenOf(line.id), 0)) endSuperseding(core, line);
    });
  for (const { line, origin, committed } of dangling.prepares)
    settle(origin, line.id, () => settlePrepare(core, publisher, line, origin, committed));
  for (const { line, origin } of dangling.moves)
    settle(origin, line.id, () => settleMoving(core, publisher, line, origin));
  for (const { line, origin } of dangling.appends) {
    let settled = dangling.aborted.has(line.id);
    if (!settled) tryOne(core, () => (settled = settleAppend(core, line)));
    note(origin, settled);
  }
  // those that the index alone still has: their process was killed between its last line and its last word there
  tryOne(core, () => settleOrphans(core));
  for (const { paths, origin } of dangling.dirs) {
    const done = tryOne(core, () => catalog.record(() => removeEmpty(core, publisher, paths, origin)));
    note(origin, done && isLeft(join(catalog.journal.directory, origin.segment)));
  }
  for (const origin of dangling.ended) note(origin, isLeft(join(catalog.journal.directory, origin.segment)));
  for (const place of dangling.kept) tryOne(core, () => catalog.record(() => tellAgain(core, publisher, place)));
  catalog.record(() => {
    for (const [segment, end] of ends) if (end !== undefined) index.setNumber(`seg:${segment}`, end);
  });
}

/**
 * What stands there although the journal says that it was replaced or removed, and what does not stand there although it says that it came: said anew,
 * so that the next rebuild need not look again. Under the lock.
 */
function tellAgain(core: Core, publisher: Publisher, place: Place): void {
  const { catalog } = core;
  const row = catalog.row(place);
  if (row && catalog.standing?.(place)?.equals(row.fp) === true) {
    const { facts = {}, published, file } = row;
    const bytes = catalog.bytesOf(row);
    const line = { op: 'prepare', id: '', ...subjectOf(place), bytes, facts, published } as const;
    catalog.adoptLine({ ...line, ...(file !== undefined && { file }) }, row.ctimeNs);
    return;
  }
  publisher.recordDelete(subjectOf(place), []);
  if (!row?.facts) return;
  const seq = catalog.nextSeq();
  catalog.journal.append({ op: 'facts', seq, ...subjectOf(place), facts: row.facts });
  catalog.putRow(place, { ...row, seq });
}

/** One file that cannot be looked at must not keep the store from opening. @throws NotReady: in an index that was lost nothing can be settled. */
function tryOne(core: Core, work: () => void): boolean {
  try {
    work();
    return true;
  } catch (error) {
    if (error instanceof NotReady) throw error;
    core.log('warn', 'an interrupted operation could not be settled', { error: String(error) });
    return false;
  }
}

/** What a line replaced goes, and its own body if that was replaced in turn. */
function endSuperseding(core: Core, line: Prepare): void {
  if ('key' in line) settleOverflow(core, line);
  else settleAside(core, line);
}

function settlePrepare(core: Core, publisher: Publisher, line: Prepare, origin: Origin, committed = false): void {
  // a body that came to a key that is no path, with a commit line that the index does not know: nobody was told of it, and it is taken back
  const isNothing = committed && 'key' in line && !line.from;
  if (!isNothing && adoptStanding(core, line)) return;
  if (tokenAlive(tokenOf(line.id), 0)) return;
  endSuperseding(core, line);
  removeEmpty(core, publisher, line.mkdirs ?? [], origin);
  core.catalog.journal.append({ op: 'abort', id: line.id });
}

function settleMoving(core: Core, publisher: Publisher, line: Moving, origin: Origin): void {
  const { catalog } = core;
  if (tokenAlive(tokenOf(line.id), 0)) return;
  const to = dirsOf(line.path);
  const from = dirsOf(line.from);
  const done = identityAt(core, to) === line.identity;
  // its line was the last of the segment and was applied by the replay
  const recorded = done && !catalog.findDir(from) && catalog.findDir(to) !== undefined;
  if (!(recorded && !line.overflow) && !adoptMove(core, line, recorded)) {
    removeEmpty(core, publisher, line.mkdirs ?? [], origin);
    catalog.journal.append({ op: 'abort', id: line.id });
    return;
  }
  const above = from.slice(0, -1);
  publisher.pruneRecorded(above, { path: line.from });
}

/** How long (ms) after its last line a process may still have made or removed directories: it waited for the lock. */
const LOCK_WAIT = 60_000;

/**
 * Removes those of the directories, parents first, that a killed process made for something that never came, or had no time to remove. Only what stands empty
 * and has not been changed since: a directory that somebody else made there later is theirs (DESIGN rule 6). Under the lock.
 */
function removeEmpty(core: Core, publisher: Publisher, paths: readonly string[], { until }: Origin): void {
  const ours = paths.filter((path) => {
    const stat = lstatOf(core.pathOf(split(path)));
    return stat?.isDirectory() === true && Number(stat.ctimeMs) <= until + LOCK_WAIT;
  });
  const { catalog } = core;
  for (const path of ours) catalog.setMade(split(path));
  const deepest = ours.at(-1);
  if (deepest === undefined) return;
  const removed = publisher.prune(split(deepest));
  if (removed.length > 0) publisher.recordDelete({ path: `${deepest}/` }, removed);
}

/**
 * Removes staging files whose process no longer lives, on each mount, and small files that it was about to put in place; parts of uploads
 * stay. @returns how many.
 */
export function cleanStaging(core: Core, dryRun = false): number {
  let removed = 0;
  const clean = (folder: string, makerOf: MakerOf): boolean =>
    tryOne(core, () => (removed += cleanFolder(core, folder, makerOf, dryRun)));
  for (const staging of core.mounts.stagings()) clean(staging, stagerOf);
  for (const folder of uploadFolders(core).values()) clean(folder, stagerOf);
  const events = join(core.stateDir, 'events');
  for (const folder of [core.stateDir, join(core.stateDir, 'buckets'), events]) clean(folder, replacerOf);
  tryOne(core, () => names(events).forEach((target) => clean(join(events, target), replacerOf)));
  return removed;
}

/** Token of the process that made a file of this name; undefined for what is no temporary file. */
type MakerOf = (name: string) => string | undefined;

function stagerOf(name: string): string | undefined {
  const dash = name.lastIndexOf('-');
  return dash < 0 || name.split('.').length !== 3 ? undefined : name.slice(0, dash);
}

function cleanFolder(core: Core, directory: string, makerOf: MakerOf, dryRun: boolean): number {
  let removed = 0;
  for (const name of names(directory)) {
    const maker = makerOf(name);
    if (maker === undefined) continue;
    const path = join(directory, name);
    const age = Date.now() - Number(lstatOf(path)?.mtimeMs ?? 0);
    if (tokenAlive(maker, age) || isPiece(core, path)) continue;
    if (!dryRun) rmSync(path, { recursive: true, force: true });
    removed++;
  }
  return removed;
}

/** Whether a dead process had begun to append it: needed to cut that back, once its file is found. */
function isPiece({ catalog }: Core, path: string): boolean {
  return catalog.record(() => catalog.appends.all().some(({ piece }) => piece === path));
}

/** Folders of uploads by id, on each mount. */
function uploadFolders(core: Core): Map<string, string> {
  const folders = new Map<string, string>();
  for (const staging of core.mounts.stagings()) {
    const uploads = join(staging, 'uploads');
    tryOne(core, () => names(uploads).forEach((id) => folders.set(id, join(uploads, id))));
  }
  return folders;
}

/** Uploads under way, from their folders, for an index that was made anew: the journal gave it parts of all uploads ever. Inside a write. */
export function knowUploads(core: Core, uploads: Uploads): void {
  const folders = uploadFolders(core);
  // one that cannot be read is told of when all is settled
  uploads.reconcile(folders, () => undefined);
  uploads.dropUnknown(new Set(folders.keys()));
}

/** The same once the index is whole; and what a killed process left goes: uploads that were completed, and files of parts that have no line. */
export function restoreUploads(core: Core, uploads: Uploads): void {
  const { catalog } = core;
  const ended: string[] = [];
  catalog.record(() => {
    const folders = uploadFolders(core);
    uploads.reconcile(folders, (id, error) =>
      core.log('warn', 'an upload could not be read', { id, error: String(error) }),
    );
    catalog.forgetAnswers();
    forgetGrowths(catalog.index);
    for (const [id, folder] of folders) {
      const done = catalog.completed(id);
      tryOne(core, () => {
        if (done) ended.push(uploads.end(done.bucket, done.key, id));
        else uploads.dropStrayParts(id, names(folder), folder);
      });
    }
  });
  for (const aside of ended) tryOne(core, () => rmSync(aside, { recursive: true, force: true }));
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR') return [];
    throw error;
  }
}
