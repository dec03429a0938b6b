/**
 * Appends of processes that were killed: what they had put behind the old end is cut off, or stays where another program has written behind it. Done when a
 * store is opened, by `gc`, and by the next append to the key.
 */
import { closeSync, existsSync, fstatSync, ftruncateSync, lstatSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { tokenAlive } from '../base/process.js';
import { placeOf, split } from '../catalog/catalog.js';
import type { JournalLine } from '../catalog/lines.js';
import { commonLength } from '../fs/append.js';
import { fingerprint, fingerprintSize, formatFingerprint } from '../fs/fingerprint.js';
import { FRAGMENT, openRw } from './append-in-place.js';
import type { Core, Found } from './core.js';
import { breakGrowth } from './growth.js';
import { tokenOf } from './settle.js';

type Append = Extract<JournalLine, { op: 'append' }>;

/** Whether the process that appends to a file has died meanwhile. */
export function isOrphaned({ row }: Found): boolean {
  return row?.appendId !== undefined && !tokenAlive(tokenOf(row.appendId), 0);
}

/** Ends the appends of dead processes that mark a row, this one or all. Nothing else is touched. @returns how many. */
export function settleOrphans(core: Core, id?: string): number {
  const { catalog } = core;
  return catalog.index.write(() => {
    const lines = catalog.looseAppends().filter((line) => id === undefined || line.id === id);
    const marked = lines.filter(({ id, path }) => catalog.row(placeOf({ path }))?.appendId === id);
    const orphans = marked.filter(({ id }) => !tokenAlive(tokenOf(id), 0));
    for (const line of orphans) settleAppend(core, line);
    return orphans.length;
  });
}

/** Cuts off what a dead process appended in part; bytes that are not of its piece are somebody else's and stay. */
export function settleAppend(core: Core, line: Append): void {
  if (tokenAlive(tokenOf(line.id), 0)) return;
  const { catalog } = core;
  const place = placeOf({ path: line.path });
  const path = core.pathOf(split(line.path));
  catalog.index.write(() => {
    const row = catalog.row(place);
    if (row && fingerprintSize(row.fp) > line.size) return;
    // another one is under way by now
    const ours = row?.appendId === undefined || row.appendId === line.id;
    const same = ours && isFile(path, line);
    if (same) cutOff(core, path, line);
    catalog.journal.append({ op: 'abort', id: line.id });
    if (!row || !ours) return;
    const { appendFrom: _ended, appendId: _id, ...rest } = row;
    const now = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    catalog.putRow(place, rest);
    breakGrowth(catalog.index, row.fp, line.id);
    if (!same || !now || Number(now.size) !== line.size || rest.etag === '') return;
    // the cut gave it another mtime: written down, so that the facts also hold once the index was made anew
    const fp = fingerprint(now, core.mounts.idOf(now.dev, dirname(path)));
    const bytes = { ...catalog.bytesOf(rest), fp: formatFingerprint(fp) };
    const { facts = {}, published } = rest;
    catalog.adoptLine({ op: 'prepare', id: line.id, path: line.path, bytes, facts, published }, now.ctimeNs);
  });
}

function isFile(path: string, { ino }: Append): boolean {
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return stat?.isFile() === true && String(stat.ino) === ino;
}

function cutOff(core: Core, path: string, line: Append): void {
  const file = openRw(path);
  try {
    const { size, ino } = fstatSync(file, { bigint: true });
    const end = Number(size);
    if (String(ino) !== line.ino || end <= line.size) return;
    // zeros: blocks that never reached the disk
    const common = commonBytes(file, line);
    if (line.size + common === end) return ftruncateSync(file, line.size);
    if (common === statSync(line.piece, { throwIfNoEntry: false })?.size) return;
    core.log('warn', FRAGMENT, { file: line.path, offset: line.size, bytes: common });
  } finally {
    closeSync(file);
  }
}

function commonBytes(file: number, { size, piece }: Append): number {
  const from = existsSync(piece) ? openSync(piece, 'r') : undefined;
  try {
    return commonLength(file, size, from, true);
  } finally {
    if (from !== undefined) closeSync(from);
  }
}
