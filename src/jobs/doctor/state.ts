/** Our own files: damaged lines that were set aside, quarantine, permissions and owners, objects whose key is no path. */
import { existsSync, lstatSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { errno } from '../../base/errors.js';
import { STATE_DIR, keyToPath } from '../../fs/keypath.js';
import { HALF_APPENDED } from '../../store/half-appended.js';
import type { LocalStore } from '../../store/local.js';
import { Tally, type Report } from './finding.js';

export function examineState(root: string, stateDir: string, report: Report): void {
  examineDamage(join(stateDir, 'journal', 'damaged'), report);
  // with --state-dir, too: bodies lie on the root's mount
  examineQuarantine(join(root, STATE_DIR, 'quarantine'), report);
  examineAppends(join(stateDir, HALF_APPENDED), report);
  examineSecrets(stateDir, report);
  examineOwners(root, stateDir, report);
}

function examineDamage(directory: string, report: Report): void {
  const damaged = new Tally();
  for (const name of names(directory)) damaged.add(name);
  damaged.tell(report, {
    check: 'journal-damage',
    level: 'problem',
    one: 'journal segment held damaged lines, which were set aside: what they said is lost',
    message: 'journal segments held damaged lines, which were set aside: what they said is lost',
    cure: `look at ${directory}; mend the lines in the segment with an editor (without their "crc"), or remove what was set aside; and test the disk`,
  });
}

function examineQuarantine(directory: string, report: Report): void {
  const held = new Tally();
  for (const day of names(directory)) for (const name of names(join(directory, day))) held.add(`${day}/${name}`);
  held.tell(report, {
    check: 'quarantine',
    level: 'note',
    one: 'file without a record is kept aside',
    message: 'files without a record are kept aside',
    cure: `look at ${directory} and remove what nobody misses`,
  });
}

function examineAppends(path: string, report: Report): void {
  const half = new Tally();
  for (const line of lines(path)) half.add(line);
  half.tell(report, {
    check: 'half-appended',
    level: 'warning',
    one: 'append came to nothing, and part of it stays in a file, for another program had written behind it',
    message: 'appends came to nothing, and part of them stays in files, for another program had written behind them',
    cure: `look at those bytes, and take them out if the file is better without; then remove ${path}`,
  });
}

function examineSecrets(stateDir: string, report: Report): void {
  const open = new Tally();
  for (const name of ['credentials.json', 'config.yaml']) {
    const mode = modeOf(join(stateDir, name));
    if (mode !== undefined && (mode & 0o077) !== 0 && name === 'credentials.json') open.add(name);
    else if (mode !== undefined && (mode & 0o007) !== 0) open.add(name);
  }
  open.tell(report, {
    check: 'secrets-readable',
    level: 'problem',
    one: 'file with secret keys can be read by others on this machine',
    message: 'files with secret keys can be read by others on this machine',
    cure: `chmod 600 in ${stateDir}`,
  });
}

/** Whatever lies under `.gos3rve` belongs to the owner of the root, or a server of that user could not write to it. */
function examineOwners(root: string, stateDir: string, report: Report): void {
  const { uid } = statSync(root);
  const foreign = new Tally();
  const look = (directory: string): void => {
    for (const name of names(directory)) {
      const path = join(directory, name);
      const stat = lstatSync(path, { throwIfNoEntry: false });
      if (stat && stat.uid !== uid) foreign.add(path.slice(stateDir.length + 1));
    }
  };
  for (const below of ['', 'journal', 'index', 'buckets']) look(join(stateDir, below));
  foreign.tell(report, {
    check: 'state-owner',
    level: 'warning',
    one: 'file of gos3rve does not belong to the owner of the root',
    message: 'files of gos3rve do not belong to the owner of the root',
    cure: `chown -R --reference=${root} ${stateDir}`,
  });
}

/** Settings and objects of buckets whose folder is not there: they would come back with a folder of that name. */
export function examineBuckets(store: LocalStore, stateDir: string, report: Report): void {
  const homeless = new Tally();
  const replaced = new Tally();
  const look = (bucket: string): void => {
    if (bucket.startsWith('/')) replaced.add(bucket);
    else if (!store.inspect.hasFolder(bucket)) homeless.add(bucket);
  };
  const settings = names(join(stateDir, 'buckets')).filter((name) => /^[^=]+\.json$/.test(name));
  const folders = new Set(settings.map((name) => decoded(name.slice(0, -'.json'.length))));
  for (const folder of store.inspect.overflowFolders()) folders.add(folder);
  for (const bucket of folders) look(bucket);
  homeless.tell(report, {
    check: 'bucket-without-folder',
    level: 'note',
    one: 'bucket has settings or objects under .gos3rve, and no folder: they belong to the next folder that others put there; CreateBucket keeps them aside',
    message:
      'buckets have settings or objects under .gos3rve, and no folder: they belong to the next folders that others put there; CreateBucket keeps them aside',
    cure: `bring the folder back; or remove ${join(stateDir, 'buckets')}/<name>.json, and what lies in .gos3rve/overflow/<name>`,
  });
  replaced.tell(report, {
    check: 'bucket-replaced',
    level: 'warning',
    one: 'bucket lost its folder, and another one has its name: its settings and objects are kept aside',
    message: 'buckets lost their folders, and others have their names: their settings and objects are kept aside',
    cure: `move the folder back to the top, or look at ${join(stateDir, 'buckets')}/%2F*.json and .gos3rve/overflow/%2F* and remove what nobody misses`,
  });
}

/** Why each object lies in overflow instead of at its path. */
export function examineOverflow(store: LocalStore, report: Report): void {
  const impossible = new Tally();
  const inTheWay = new Tally();
  let after: Buffer | undefined;
  do {
    const page = store.inspect.overflow(after, 1000);
    for (const { folder, key } of page.entries) {
      const path = keyToPath(key);
      (path && path.name !== '' ? inTheWay : impossible).add(`${folder}/${key}`);
    }
    after = page.next;
  } while (after);
  impossible.tell(report, {
    check: 'overflow-impossible',
    level: 'note',
    one: 'object has a key that is no possible path; other programs find it under .gos3rve/overflow',
    message: 'objects have keys that are no possible path; other programs find them under .gos3rve/overflow',
    cure: 'nothing to do; S3 clients see them as any other',
  });
  inTheWay.tell(report, {
    check: 'overflow-conflict',
    level: 'note',
    one: 'object had something in the way of its path; other programs find it under .gos3rve/overflow',
    message: 'objects had something in the way of their path; other programs find them under .gos3rve/overflow',
    cure: 'once the path is free, gos3rve gc moves them to it',
  });
}

/** Files of others may lie there. */
function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

function lines(path: string): string[] {
  const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
  return text.split('\n').filter((line) => line !== '');
}

function modeOf(path: string): number | undefined {
  return lstatSync(path, { throwIfNoEntry: false })?.mode;
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR' || errno(error) === 'EACCES') return [];
    throw error;
  }
}
