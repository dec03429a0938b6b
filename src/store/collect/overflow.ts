/** Overflow objects whose path has become free, and files in overflow that no record speaks of (DESIGN rule 5). */
import { opendirSync, readdirSync, renameSync, type Dir as Entries } from 'node:fs';
import { join } from 'node:path';
import { S3Error, errno } from '../../base/errors.js';
import { decodeRow, unpairKey } from '../../catalog/rows.js';
import { makeStateDir, syncDirSync } from '../../fs/statefile.js';
import type { WholeIndex } from '../../catalog/whole.js';
import type { Core } from '../core.js';
import type { Transfer } from '../transfer.js';
import { lstatOf } from '../../fs/stat.js';
import { rowsOf, type CollectOptions } from './rows.js';

export interface OverflowReport {
  /** Moved to their path. */
  settled: number;
  /** Copies kept aside since a real file stands at their key. */
  aside: number;
}

/** A file younger than this (ms) may be on its way: its row comes under the lock. */
const YOUNG_MS = 3_600_000;
/** Files of a folder that are looked at together: memory does not grow with their number. */
const CHUNK = 10_000;

export async function settleOverflow(
  core: Core,
  whole: WholeIndex,
  transfer: Transfer,
  options: CollectOptions,
): Promise<OverflowReport> {
  const report: OverflowReport = { settled: 0, aside: 0 };
  for await (const { key } of rowsOf(core, whole, 'overflow', options.signal)) {
    const [folder = '', name = ''] = unpairKey(key);
    const bucket = core.bucketNamed(folder);
    if (bucket === undefined) continue;
    try {
      if (core.findInTree(bucket, name)) report.aside++;
      else if (core.target(bucket, name).place.kind === 'tree' && core.findOverflow(bucket, name)) {
        if (options.dryRun || (await transfer.settle(bucket, name))) report.settled++;
      }
    } catch (error) {
      // the bucket is gone, or somebody else was faster
      if (!(error instanceof S3Error)) throw error;
    }
  }
  return report;
}

/** @returns how many files were put aside. */
export async function quarantineStrays(
  core: Core,
  whole: WholeIndex,
  { dryRun, signal }: CollectOptions,
): Promise<number> {
  let found = 0;
  const top = join(core.dataDir, 'overflow');
  for (const folder of names(top)) {
    const entries = openFolder(join(top, folder));
    if (!entries) {
      // beside the folders nothing of ours lies
      if (isOldFile(join(top, folder)) && (dryRun || putAside(core, whole, '', folder))) found++;
      continue;
    }
    try {
      for (let chunk = take(entries); chunk.size > 0; chunk = take(entries)) {
        for await (const { value } of rowsOf(core, whole, 'overflow', signal)) {
          const row = decodeRow(value);
          if (row.kind === 'file' && row.file !== undefined) chunk.delete(row.file);
        }
        for (const name of chunk)
          if (isOldFile(join(top, folder, name)) && (dryRun || putAside(core, whole, folder, name))) found++;
      }
    } finally {
      entries.closeSync();
    }
  }
  return found;
}

/** Only while the index that knows nothing of the file is the one that is used: also a line that nobody has ended yet may speak of it. */
function putAside(core: Core, whole: WholeIndex, folder: string, name: string): boolean {
  const from = join(core.dataDir, 'overflow', folder, name);
  const directory = join(core.dataDir, 'quarantine', new Date().toISOString().slice(0, 10));
  makeStateDir(directory, core.owner);
  const { catalog } = core;
  const moved = whole.write(() => {
    if (catalog.loosePrepares().some((line) => line.file === name || line.replaces === name)) return false;
    return renamed(from, join(directory, folder === '' ? name : `${folder}-${name}`));
  });
  if (!moved) return false;
  syncDirSync(directory);
  core.log('warn', 'a file without a record was put aside', { from, directory });
  return true;
}

/** @returns false if it is gone. */
function renamed(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch (error) {
    if (errno(error) === 'ENOENT') return false;
    throw error;
  }
}

function take(entries: Entries): Set<string> {
  const chunk = new Set<string>();
  for (let entry = entries.readSync(); entry !== null; entry = entries.readSync()) {
    if (entry.isFile()) chunk.add(entry.name);
    if (chunk.size >= CHUNK) break;
  }
  return chunk;
}

function openFolder(path: string): Entries | undefined {
  try {
    return opendirSync(path);
  } catch (error) {
    if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

function isOldFile(path: string): boolean {
  const stat = lstatOf(path);
  return stat?.isFile() === true && Date.now() - Number(stat.ctimeMs) > YOUNG_MS;
}

/** Names in a folder of ours; of one that was never made none. */
export function names(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errno(error) === 'ENOENT') return [];
    throw error;
  }
}
