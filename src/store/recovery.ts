/** After a crash: what was prepared is adopted or dropped, what was appended is cut back, stale staging files go (DESIGN rule 3). */
import { closeSync, existsSync, lstatSync, openSync, readFileSync, readSync, readdirSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errno } from '../base/errors.js';
import { tokenAlive } from '../base/process.js';
import { placeOf, split } from '../catalog/catalog.js';
import type { JournalLine } from '../catalog/lines.js';
import type { Dangling, Origin } from '../catalog/replay.js';
import { fingerprint, fingerprintSize, parseFingerprint } from '../fs/fingerprint.js';
import type { Upload } from './contract.js';
import type { Core } from './core.js';
import { discard } from '../fs/stage.js';
import { cutFile } from './append.js';
import type { Publisher } from './publish.js';
import type { Uploads } from './uploads.js';

type Prepare = Extract<JournalLine, { op: 'prepare' }>;
type Append = Extract<JournalLine, { op: 'append' }>;

export function recover(core: Core, publisher: Publisher, dangling: Dangling): void {
  for (const { line, origin } of dangling.prepares) {
    if (!dangling.aborted.has(line.id)) tryOne(core, () => settlePrepare(core, publisher, line, origin));
  }
  for (const { line, origin } of dangling.appends) {
    if (!dangling.aborted.has(line.id)) tryOne(core, () => settleAppend(core, line, origin));
  }
  for (const { paths, origin } of dangling.dirs) {
    tryOne(core, () => core.catalog.index.write(() => removeEmpty(core, publisher, paths, origin)));
  }
}

/** One file that cannot be looked at must not keep the store from opening. */
function tryOne(core: Core, work: () => void): void {
  try {
    work();
  } catch (error) {
    core.log('warn', 'an interrupted operation could not be settled', { error: String(error) });
  }
}

function settlePrepare(core: Core, publisher: Publisher, line: Prepare, origin: Origin): void {
  const { catalog } = core;
  const path = 'path' in line ? core.pathOf(split(line.path)) : join(core.overflowDir(line.bucket), line.file ?? '');
  catalog.index.write(() => {
    const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    const place = placeOf(line);
    if (stat?.isFile()) {
      const fp = fingerprint(stat, 'path' in line ? core.mounts.idOf(stat.dev, join(path, '..')) : 0);
      const row = catalog.row(place);
      if (fp.equals(parseFingerprint(line.bytes.fp)) && row?.fp.equals(fp) !== true) {
        catalog.adoptLine(line, stat.ctimeNs);
        if ('key' in line) settleOverflow(core, line);
        return;
      }
    }
    if (tokenAlive(tokenOf(line.id), 0)) return;
    if ('key' in line) settleOverflow(core, line);
    removeEmpty(core, publisher, line.mkdirs ?? [], origin);
    catalog.journal.append({ op: 'abort', id: line.id });
    settled(core, origin);
  });
}

/** Of two overflow files of one key only that of the row stays. */
function settleOverflow(core: Core, line: Extract<Prepare, { key: string }>): void {
  const { file } = core.catalog.row(placeOf(line)) ?? {};
  for (const name of [line.file, line.replaces]) {
    if (name !== undefined && name !== file) discard(join(core.overflowDir(line.bucket), name));
  }
}

/** A segment whose process is dead grows no more: it need not be looked at again. */
function settled(core: Core, { segment, end }: Origin): void {
  core.catalog.index.setNumber(`seg:${segment}`, end);
}

/** How long (ms) after its last line a process may still have made or removed directories: it waited for the lock. */
const LOCK_WAIT = 60_000;

/**
 * Removes those of the directories, parents first, that a killed process made for something that never came, or had no time to remove. Only what stands empty
 * and has not been changed since: a directory that somebody else made there later is theirs (DESIGN rule 6). Under the lock.
 */
function removeEmpty(core: Core, publisher: Publisher, paths: readonly string[], { until }: Origin): void {
  const ours = paths.filter((path) => {
    const stat = lstatSync(core.pathOf(split(path)), { throwIfNoEntry: false });
    return stat?.isDirectory() === true && stat.ctimeMs <= until + LOCK_WAIT;
  });
  const { catalog } = core;
  for (const path of ours) catalog.changeDir(split(path), (row) => (row.made = true));
  const deepest = ours.at(-1);
  if (deepest === undefined) return;
  const removed = publisher.prune(split(deepest));
  if (removed.length > 0) publisher.recordDelete({ path: `${deepest}/` }, removed);
}

/** Cuts back what a dead process appended in part; bytes that are not of its piece are somebody else's and stay. */
function settleAppend(core: Core, line: Append, origin: Origin): void {
  if (tokenAlive(tokenOf(line.id), 0)) return;
  const { catalog } = core;
  const place = placeOf({ path: line.path });
  const path = core.pathOf(split(line.path));
  catalog.index.write(() => {
    const row = catalog.row(place);
    const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    if (row && fingerprintSize(row.fp) > line.size) return;
    const same = stat?.isFile() === true && String(stat.ino) === line.ino;
    if (same && Number(stat.size) > line.size && isPieceOf(path, line.size, line.piece))
      cutFile(path, stat.ino, line.size);
    catalog.journal.append({ op: 'abort', id: line.id });
    if (!row) return;
    const { appendFrom: _ended, ...rest } = row;
    const now = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    if (same && now && Number(now.size) === line.size) {
      catalog.putRow(place, {
        ...rest,
        fp: fingerprint(now, core.mounts.idOf(now.dev, dirname(path))),
        ctimeNs: now.ctimeNs,
      });
    } else {
      catalog.putRow(place, rest);
    }
  });
}

/** Whether what lies behind `size` is the beginning of the piece that was to be appended (or zeros: blocks that never reached the disk). */
function isPieceOf(path: string, size: number, piece: string): boolean {
  const file = openSync(path, 'r');
  try {
    const from = existsSync(piece) ? openSync(piece, 'r') : undefined;
    try {
      const [a, b] = [Buffer.alloc(1 << 20), Buffer.alloc(1 << 20)];
      for (let at = 0; ;) {
        const got = readSync(file, a, 0, a.length, size + at);
        if (got === 0) return true;
        const expected = from === undefined ? 0 : readSync(from, b, 0, got, at);
        const chunk = a.subarray(0, got);
        if ((expected !== got || !chunk.equals(b.subarray(0, got))) && !chunk.every((byte) => byte === 0)) return false;
        at += got;
      }
    } finally {
      if (from !== undefined) closeSync(from);
    }
  } finally {
    closeSync(file);
  }
}

/** Process token of an operation's id. */
function tokenOf(id: string): string {
  return id.slice(0, id.lastIndexOf('-'));
}

/** Removes staging files whose process no longer lives; parts of uploads stay. */
export function cleanStaging(core: Core): void {
  const staging = join(core.dataDir, 'staging');
  const uploads = join(staging, 'uploads');
  for (const directory of [staging, ...names(uploads).map((id) => join(uploads, id))]) {
    for (const name of names(directory)) {
      const dash = name.lastIndexOf('-');
      if (dash < 0 || name.split('.').length !== 3) continue;
      const path = join(directory, name);
      const age = Date.now() - (lstatSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0);
      if (!tokenAlive(name.slice(0, dash), age)) unlinkSync(path);
    }
  }
}

/** Uploads under way, from their files: after the index was made anew. */
export function restoreUploads(core: Core, uploads: Uploads): void {
  const directory = join(core.dataDir, 'staging', 'uploads');
  const known = new Set<string>();
  core.catalog.index.write(() => {
    for (const id of names(directory)) {
      try {
        const upload = JSON.parse(readFileSync(join(directory, id, 'upload.json'), 'utf8')) as Upload;
        uploads.remember(upload);
        known.add(id);
      } catch (error) {
        core.log('warn', 'an upload could not be read', { id, error: String(error) });
      }
    }
    uploads.dropUnknown(known);
  });
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR') return [];
    throw error;
  }
}
