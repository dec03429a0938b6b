/** Prepare lines without commit: whether what they announce has happened, and ending what has (DESIGN rule 3). Under the lock. */
import { linkSync, lstatSync, renameSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errno } from '../base/errors.js';
import { tokenAlive } from '../base/process.js';
import { placeOf, samePlace, split } from '../catalog/catalog.js';
import type { JournalLine, MovedKeys, Subject } from '../catalog/lines.js';
import { identityOf } from '../catalog/identities.js';
import {
  applyMoved,
  applyTouched,
  dirsOf,
  movedOverflow,
  renamedFile,
  type MovedDir,
  type Moving,
  type Touched,
} from '../catalog/moved.js';
import { fingerprint, parseFingerprint } from '../fs/fingerprint.js';
import { discard } from '../fs/stage.js';
import { lstatOf } from '../fs/stat.js';
import { makeStateDir, syncDirSync } from '../fs/statefile.js';
import type { Core } from './core.js';
import { leaveMissing } from './left.js';

type Prepare = Extract<JournalLine, { op: 'prepare' }>;

/**
 * Takes over a line whose file stands at its key without a row. @returns false if it does not, if its process is still at it, or if others have
 * put or removed the overflow object since: the body of such a line stands for ever.
 */
export function adoptStanding(core: Core, line: Prepare): boolean {
  if ('key' in line && core.catalog.row(placeOf(line))?.file !== line.replaces) return false;
  const path = pathOf(core, line, line.file);
  const stat = path === undefined ? undefined : lstatOf(path);
  if (path === undefined || !stat?.isFile()) return false;
  const fp = fingerprint(stat, 'path' in line ? core.mounts.idOf(stat.dev, dirname(path)) : 0);
  if (!fp.equals(parseFingerprint(line.bytes.fp)) || core.catalog.row(placeOf(line))?.fp.equals(fp) === true)
    return false;
  if (!endMove(core, line)) return false;
  const place = placeOf(line);
  if (place.kind === 'tree') core.tracker.claim(place.dirs);
  // ending a move changed the ctime
  core.catalog.adoptLine(line, lstatSync(path, { bigint: true }).ctimeNs);
  if ('key' in line) settleOverflow(core, line);
  else settleAside(core, line);
  return true;
}

/** The overflow copy of an object that stands at its path goes, if the line says so. Its row alone says nothing: a power cut may have left only the line. */
export function settleAside(core: Core, line: Prepare): void {
  const { catalog } = core;
  if (!line.aside) return;
  const place = placeOf(line);
  const fp = parseFingerprint(line.bytes.fp);
  if (catalog.row(place)?.fp.equals(fp) !== true || catalog.standing?.(place)?.equals(fp) !== true) return;
  const { bucket, key, file } = line.aside;
  const old = core.findOverflowIn(bucket, key);
  if (old?.name !== file) return;
  catalog.removeRow(old.place);
  catalog.journal.append({ op: 'delete', seq: catalog.nextSeq(), bucket, key, file });
  discard(old.dir.at(file));
  catalog.noteSettled();
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
  const stat = path === undefined ? undefined : lstatOf(path);
  if (path === undefined || !stat?.isFile()) return true;
  const fp = fingerprint(stat, 'path' in line.from ? core.mounts.idOf(stat.dev, dirname(path)) : 0);
  if (!fp.equals(parseFingerprint(line.bytes.fp))) return true;
  if (tokenAlive(tokenOf(line.id), 0)) return false;
  unlinkSync(path);
  if (core.durable) syncDirSync(dirname(path));
  return true;
}

/** Identity (hex) of the directory at a path below the root; undefined if there is none. */
export function identityAt(core: Core, dirs: readonly string[]): string | undefined {
  const path = core.pathOf(dirs);
  const stat = lstatOf(path);
  if (!stat?.isDirectory()) return undefined;
  return identityOf(fingerprint(stat, core.mounts.idOf(stat.dev, path))).toString('hex');
}

/**
 * Records a rename of a directory that has happened without its `moved` line, under a new number in our own segment.
 * @param told whether its line is there: only overflow objects may be left to be moved.
 * @returns whether it has happened; what it leaves to be pruned is not looked at.
 */
export function adoptMove(core: Core, line: Moving, told = false): boolean {
  const { catalog } = core;
  const [from, to] = [dirsOf(line.from), dirsOf(line.path)];
  if (identityAt(core, to) !== line.identity) return false;
  const { op: _op, identity, via, ...said } = line;
  const seq = catalog.nextSeq();
  const moved: MovedDir = { op: 'moved', seq, ...said, id: `adopt-${seq}`, ...(via && !told && { via }) };
  if (moved.overflow) moveOverflowFiles(core, moved.overflow, seq);
  const [source, there] = [catalog.findDir(from), catalog.findDir(to)];
  const known = source?.identity?.toString('hex');
  // a source that came afterwards has nothing to do with it
  const follows = known === identity || (known === undefined && !there && identityAt(core, from) === undefined);
  if (!follows) moved.from = moved.path;
  catalog.journal.append(moved);
  catalog.journal.append({ op: 'abort', id: line.id });
  applyMoved(catalog, moved);
  const row = follows ? catalog.findDir(to) : undefined;
  if (row) leaveMissing(core, row.id, from);
  catalog.noteSettled();
  return true;
}

/** The same where a directory has turned up elsewhere: ends a move of ours whose process was killed. @returns whether there was one. */
export function adoptLostMove(core: Core, from: readonly string[], to: readonly string[]): boolean {
  const [source, target] = [`${from.join('/')}/`, `${to.join('/')}/`];
  return core.catalog
    .looseMoves()
    .some((line) => line.from === source && line.path === target && adoptMove(core, line));
}

/**
 * Gives the files of overflow objects their new names, in the folder of their bucket; their rows follow with the `moved` line of this number. Again
 * does no harm. What was known of the bytes stays known, though a rename changes the ctime.
 */
export function moveOverflowFiles(core: Core, keys: MovedKeys, seq: number): Set<string> {
  const { catalog } = core;
  const [source, target] = [core.overflowDir(keys.from.bucket), core.overflowDir(keys.to.bucket)];
  makeStateDir(target, core.owner);
  for (const { key, row } of movedOverflow(catalog, keys)) {
    if (row.file === undefined) continue;
    const [old, now] = [join(source, row.file), join(target, renamedFile(keys.tag, row.file))];
    const before = lstatOf(old);
    if (!before) continue;
    renameSync(old, now);
    if (before.ctimeNs !== row.ctimeNs || !fingerprint(before, 0).equals(row.fp)) continue;
    const { ctimeNs } = lstatSync(now, { bigint: true });
    const line: Touched = { op: 'touched', seq, bucket: keys.from.bucket, key, ctime: String(ctimeNs) };
    catalog.journal.append(line);
    applyTouched(catalog, line);
  }
  if (core.durable) for (const path of [source, target]) syncDirSync(path);
  return new Set([source, target]);
}

/**
 * The same before a line that nothing has announced: their files have both names until it is written, so that wherever that ends they are found by the
 * names that are recorded. Again does no harm.
 * @param cleared as of movedOverflow. @returns what is to be done once the line of this number is on the disk, and before it counts.
 */
export function linkOverflowFiles(core: Core, keys: MovedKeys, cleared = false): (seq: number) => void {
  const { catalog } = core;
  const [source, target] = [core.overflowDir(keys.from.bucket), core.overflowDir(keys.to.bucket)];
  makeStateDir(target, core.owner);
  /** Others have changed their files. */
  const changed = new Set<string>();
  for (const { key, row } of movedOverflow(catalog, keys, cleared)) {
    if (row.file === undefined) continue;
    const old = join(source, row.file);
    if (lstatOf(old)?.ctimeNs !== row.ctimeNs) changed.add(key);
    link(old, join(target, renamedFile(keys.tag, row.file)));
  }
  if (core.durable) syncDirSync(target);
  return (seq) => {
    for (const { key, row } of movedOverflow(catalog, keys, cleared)) {
      if (row.file === undefined) continue;
      discard(join(source, row.file));
      const stat = lstatOf(join(target, renamedFile(keys.tag, row.file)));
      if (!stat || changed.has(key) || !fingerprint(stat, 0).equals(row.fp)) continue;
      const to = { bucket: keys.to.bucket, key: keys.to.key + key.slice(keys.from.key.length) };
      const line: Touched = { op: 'touched', seq, ...to, ctime: String(stat.ctimeNs) };
      try {
        catalog.journal.append(line);
      } catch {
        // no room for the line: the file will be read once more
        changed.add(key);
        continue;
      }
      applyTouched(catalog, { ...line, bucket: keys.from.bucket, key });
    }
    if (core.durable) syncDirSync(source);
  };
}

/** A second name for a file, or the only one where a file system knows no second. */
function link(old: string, now: string): void {
  try {
    linkSync(old, now);
  } catch (error) {
    const code = errno(error) ?? '';
    // an attempt before this one has got so far
    if (code === 'EEXIST' || code === 'ENOENT') return;
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(code)) throw error;
    renameSync(old, now);
  }
}

/** Process token of an operation's id. */
export function tokenOf(id: string): string {
  return id.slice(0, id.lastIndexOf('-'));
}

function pathOf(core: Core, subject: Subject, file: string | undefined): string | undefined {
  if ('path' in subject) return core.pathOf(split(subject.path));
  return file === undefined ? undefined : join(core.overflowDir(subject.bucket), file);
}
