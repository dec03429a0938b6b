/** After a crash: what was prepared is adopted or dropped, what was appended is cut back, stale staging files go (DESIGN rule 3). */
import { existsSync, lstatSync, readFileSync, readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { errno } from '../base/errors.js';
import { tokenAlive } from '../base/process.js';
import { placeOf, split } from '../catalog/catalog.js';
import type { JournalLine } from '../catalog/lines.js';
import type { Dangling } from '../catalog/replay.js';
import { fingerprint, parseFingerprint } from '../fs/fingerprint.js';
import type { Upload } from './contract.js';
import type { Core } from './core.js';
import { cutFile } from './append.js';
import type { Publisher } from './publish.js';
import type { Uploads } from './uploads.js';

type Prepare = Extract<JournalLine, { op: 'prepare' }>;
type Append = Extract<JournalLine, { op: 'append' }>;

export function recover(core: Core, publisher: Publisher, dangling: Dangling): void {
  for (const line of dangling.prepares) tryOne(core, () => settlePrepare(core, publisher, line));
  for (const line of dangling.appends) tryOne(core, () => settleAppend(core, line));
}

/** One file that cannot be looked at must not keep the store from opening. */
function tryOne(core: Core, work: () => void): void {
  try {
    work();
  } catch (error) {
    core.log('warn', 'an interrupted operation could not be settled', { error: String(error) });
  }
}

function settlePrepare(core: Core, publisher: Publisher, line: Prepare): void {
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
        return;
      }
    }
    // directories that were made for a file that never came
    const made = (line.mkdirs ?? []).filter((dir) => existsSync(core.pathOf(split(dir))));
    for (const dir of made) if (!catalog.findDir(split(dir))) catalog.changeDir(split(dir), (now) => (now.made = true));
    const deepest = made.at(-1);
    if (deepest === undefined) return;
    const removed = publisher.prune(split(deepest));
    if (removed.length > 0) publisher.recordDelete({ path: `${deepest}/` }, removed);
  });
}

function settleAppend(core: Core, line: Append): void {
  if (tokenAlive(line.id.slice(0, line.id.lastIndexOf('-')), 0)) return;
  const { catalog } = core;
  const place = placeOf({ path: line.path });
  const path = core.pathOf(split(line.path));
  catalog.index.write(() => {
    const row = catalog.row(place);
    const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    if (
      stat?.isFile() &&
      String(stat.ino) === line.ino &&
      Number(stat.size) > line.size &&
      row?.appendFrom === line.size
    ) {
      cutFile(path, stat.ino, line.size);
    }
    if (row?.appendFrom === undefined) return;
    const { appendFrom: _ended, ...rest } = row;
    const now = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    if (now?.isFile() && String(now.ino) === line.ino && Number(now.size) === line.size) {
      catalog.putRow(place, {
        ...rest,
        fp: fingerprint(now, core.mounts.idOf(now.dev, join(path, '..'))),
        ctimeNs: now.ctimeNs,
      });
    } else {
      catalog.putRow(place, rest);
    }
  });
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
