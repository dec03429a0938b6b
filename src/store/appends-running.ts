/**
 * Appends that are under way, for an index that is made anew meanwhile: it knows of them before anybody takes it for whole, for what a file holds
 * beyond its old end is no part of the object yet.
 */
import { tokenAlive } from '../base/process.js';
import { identityOfAppend, type Noted } from '../catalog/appends.js';
import { placeOf } from '../catalog/catalog.js';
import type { Append } from '../catalog/lines.js';
import { rowOf } from '../catalog/row-of.js';
import { fingerprintSize } from '../fs/fingerprint.js';
import type { Core } from './core.js';
import { tokenOf } from './settle.js';

/** Of this process, in all stores that it has open, by id. */
const running = new Map<string, { core: Core; line: Noted }>();

/** From now on this process is at it, or has also marked the file. */
export function setRunning(core: Core, line: Noted): void {
  running.set(line.id, { core, line });
}

/** Done, cut off, or left to whoever comes upon it. */
export function endRunning(line: Append): void {
  running.delete(line.id);
}

/** Of an append of this process. */
export function isRunning(line: Append): boolean {
  return running.has(line.id);
}

/** Those that have marked their files, whatever index they did so in. Inside a write. */
export function noteRunning(core: Core): void {
  const { appends } = core.catalog;
  for (const one of running.values()) {
    if (one.core === core && one.line.begun && appends.find(identityOfAppend(one.line))?.id !== one.line.id)
      appends.note(one.line);
  }
}

/** Those of the journal that nobody has ended: dead processes' until they are settled, others' until they are done. Inside a write. */
export function restoreAppends(core: Core, lines: readonly Append[]): void {
  const { catalog } = core;
  const alive = (line: Append): boolean => tokenAlive(tokenOf(line.id), 0);
  // the file of a dead one may have been appended to since: the living, and the latest, have the last word
  const order = [...lines].sort((a, b) => Number(alive(a)) - Number(alive(b)) || a.time - b.time);
  for (const line of order) {
    const { row } = rowOf(catalog, identityOfAppend(line), placeOf({ path: line.path }));
    // a longer one was recorded since: its own last word was lost
    if (row && fingerprintSize(row.fp) > line.size) continue;
    if (!catalog.appends.find(identityOfAppend(line))?.begun) catalog.appends.note(line);
  }
}
