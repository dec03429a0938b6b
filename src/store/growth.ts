/**
 * Files that were appended to in place: whoever has read one from before may go on, for the bytes that were there are as they were - wherever the file
 * is by now, and whichever process appended. Index table `growths`, by identity; losing it only cuts downloads that would have held.
 *
 * A *chain* is a row of appends between which nobody else has written: the state of the file before each is the one that the append before it left. So
 * the bytes of any state of the chain are the first bytes of its last.
 */
import { tokenAlive } from '../base/process.js';
import { identityOf } from '../catalog/identities.js';
import type { Index } from '../catalog/lmdb.js';
import { isTorn, type OpenFile } from '../fs/reader.js';
import type { Found } from './core.js';
import { isAppending, knowledge } from './describe.js';
import { tokenOf } from './settle.js';

/** A file as it was at one time. */
export interface FileState {
  fp: Buffer;
  ctimeNs: bigint;
  /** '' if nobody knows its bytes. */
  etag: string;
  /** Chain that its row names, if we made these bytes. */
  chain?: string;
}

/** In the index: fingerprint (hex), ctime, ETag. */
type Stored = [fp: string, ctime: string, etag: string];

interface Growth {
  chain: string;
  /** States whose rows do not name the chain, the latest ones: before the first append, and where a row was made anew since. */
  bases: Stored[];
  /** After the last append. */
  last: Stored;
  /** Id of the append under way, which names its process. */
  growing?: string;
  /** ms. */
  time: number;
}

const MAX_BASES = 16;
/** Longer than a download takes. */
const REMEMBER_MS = 7 * 86_400_000;

/** The file that is described to readers: while we append, as it was before. */
export function stateOf(found: Found): FileState {
  const { row, fp, stat } = found;
  if (!row || knowledge(found) !== 'known') return { fp, ctimeNs: stat.ctimeNs, etag: '' };
  const chain = row.appended === undefined ? {} : { chain: row.appended };
  if (isAppending(found)) return { fp: row.fp, ctimeNs: row.ctimeNs, etag: row.etag, ...chain };
  return { fp, ctimeNs: stat.ctimeNs, etag: row.etag, ...chain };
}

/** An append to a file in this state begins. Under the lock. @param id of the append. */
export function beginGrowth(index: Index, before: FileState, id: string): void {
  const seen = read(index, before.fp);
  let next: Growth = { chain: id, bases: [stored(before)], last: stored(before), time: Date.now() };
  if (seen && isSame(seen.last, before)) {
    const bases = before.chain === seen.chain ? seen.bases : [...seen.bases, stored(before)].slice(-MAX_BASES);
    next = { ...seen, bases };
  }
  write(index, before.fp, { ...next, growing: id });
}

/** An append is done, or was cut off again: these are the old bytes, perhaps with more behind. Under the lock. @returns the chain's name. */
export function endGrowth(index: Index, after: FileState, id: string): string | undefined {
  const seen = read(index, after.fp);
  if (seen?.growing !== id) return undefined;
  const { growing: _ended, ...rest } = seen;
  write(index, after.fp, { ...rest, last: stored(after), time: Date.now() });
  return seen.chain;
}

/** An append has ended, and nobody knows what the file holds. Under the lock. */
export function breakGrowth(index: Index, fp: Buffer, id: string): void {
  if (read(index, fp)?.growing === id) index.remove('growths', identityOf(fp));
}

/** Whether an open file, as it is now, begins with the bytes that it had in a state before. Under the lock. */
export function holdsGrown(index: Index, before: FileState, file: OpenFile, size: number): boolean {
  const seen = read(index, before.fp);
  if (!seen || (before.chain !== seen.chain && !seen.bases.some((base) => isSame(base, before)))) return false;
  if (seen.growing !== undefined) return tokenAlive(tokenOf(seen.growing), 0);
  const [fp, ctime] = seen.last;
  const last = Buffer.from(fp, 'hex');
  const [length, mtimeNs] = [last.readBigUInt64BE(20), last.readBigInt64BE(28)];
  // a file with more than one name is never appended to in place
  const stat = { size: length, mtimeNs, ctimeNs: BigInt(ctime), nlink: 1n };
  return length >= BigInt(size) && !isTorn({ ...file, stat });
}

/** Drops what no reader can need any more. Only inside a write. */
export function forgetGrowths(index: Index, now = Date.now()): void {
  const end = Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]);
  for (let start: Buffer = Buffer.alloc(0), rows = [{ key: start, value: start }]; rows.length > 0;) {
    rows = index.page('growths', start, end, 256);
    for (const { key, value } of rows) {
      if (now - (JSON.parse(value.toString()) as Growth).time > REMEMBER_MS) index.remove('growths', key);
      start = Buffer.concat([key, Buffer.alloc(1)]);
    }
  }
}

/** The same stamps; or the same bytes, and only links and names have changed. */
function isSame([fp, ctime, etag]: Stored, state: FileState): boolean {
  if (fp !== state.fp.toString('hex')) return false;
  return ctime === String(state.ctimeNs) || (etag !== '' && etag === state.etag);
}

function stored({ fp, ctimeNs, etag }: FileState): Stored {
  return [fp.toString('hex'), String(ctimeNs), etag];
}

function read(index: Index, fp: Buffer): Growth | undefined {
  const bytes = index.get('growths', identityOf(fp));
  return bytes && (JSON.parse(bytes.toString()) as Growth);
}

function write(index: Index, fp: Buffer, growth: Growth): void {
  index.put('growths', identityOf(fp), Buffer.from(JSON.stringify(growth)));
}
