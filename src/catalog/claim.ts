/**
 * Deciding whether the index file can be trusted. It is disposable, so on any doubt it is moved aside and made anew: LMDB crashes the
 * process on a damaged file, or gives wrong values.
 *
 * - Every process that has it open leaves a mark with the boot's id. Marks of another boot: there was a power cut while it was open, and
 *   it is never synced.
 * - The last to close notes size and mtime. If nobody has it open and they differ: somebody else wrote to it, or cut it.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { bootId, tokenAlive } from '../base/process.js';
import { giveTo, syncDirSync, syncFileSync, type Ownership } from '../fs/statefile.js';

/** Written into the index's file name: another format means another index, made anew from the journal. */
const FORMAT = 2;
const MARK = 'open-';
const CLOSED = 'closed';
/** `0xBEEFC0DE`, little-endian: in the head of LMDB's two meta pages. */
const PAGE_SIZE = 8192;
const MAGIC = Buffer.from('dec0efbe', 'hex');

export interface Claim {
  /** Of the LMDB file. */
  path: string;
  /** After the index was closed: notes that what is on the disk can be trusted. */
  release(): void;
}

/** @param token names this opening: a process token and something random. */
export function claimIndex(directory: string, token: string, owner: Ownership | undefined): Claim {
  const path = join(directory, `v${FORMAT}.mdb`);
  const doubt = doubtOf(directory, path);
  if (doubt !== undefined) {
    // of copies set aside one is enough to look at
    for (const suffix of ['', '-lock'])
      if (existsSync(path + suffix)) renameSync(path + suffix, `${path}${suffix}.aside`);
  }
  rmSync(join(directory, CLOSED), { force: true });
  const mark = join(directory, `${MARK}${token}`);
  const fd = openSync(mark, 'wx', 0o600);
  writeFileSync(fd, bootId());
  fsyncSync(fd);
  closeSync(fd);
  giveTo(mark, owner);
  syncDirSync(directory);
  return { path, release: () => release(directory, path, mark) };
}

function release(directory: string, path: string, mark: string): void {
  syncFileSync(path);
  rmSync(mark, { force: true });
  if (marks(directory).length > 0) return;
  writeFileSync(join(directory, CLOSED), stateOf(path), { mode: 0o600 });
}

/** Why the index cannot be trusted, or undefined. Removes marks of processes that are gone. */
function doubtOf(directory: string, path: string): string | undefined {
  let doubt: string | undefined;
  let open = 0;
  let crashed = 0;
  for (const name of marks(directory)) {
    const boot = readFileSync(join(directory, name), 'utf8').trim();
    if (boot === bootId() && tokenAlive(name.slice(MARK.length, name.lastIndexOf('-')), 0)) {
      open++;
      continue;
    }
    if (boot !== bootId()) doubt = 'it was open when the machine went down';
    else crashed++;
    unlinkSync(join(directory, name));
  }
  if (open > 0 || !existsSync(path)) return doubt;
  if (crashed === 0 && noted(directory) !== stateOf(path)) return 'it is not as it was left';
  return doubt ?? (isWhole(path) ? undefined : 'it is no index, or a part of one');
}

function marks(directory: string): string[] {
  return readdirSync(directory).filter((name) => name.startsWith(MARK));
}

function noted(directory: string): string | undefined {
  const path = join(directory, CLOSED);
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}

function stateOf(path: string): string {
  const { size, mtimeNs } = statSync(path, { bigint: true });
  return `${size}:${mtimeNs}`;
}

/**
 * Whether a file is an LMDB of ours with all its pages: a shorter one would end the process by SIGBUS. Each of the two meta pages has, after
 * 24 bytes of page header, magic u32, version u32, address and map size u64, two database records of 48 bytes (the first begins with
 * the page size), last page u64, transaction u64.
 */
function isWhole(path: string): boolean {
  const size = statSync(path).size;
  const head = Buffer.alloc(2 * PAGE_SIZE);
  const fd = openSync(path, 'r');
  try {
    if (readSync(fd, head, 0, head.length, 0) < head.length) return false;
  } finally {
    closeSync(fd);
  }
  return [0, PAGE_SIZE].every((page) => {
    const meta = head.subarray(page + 24);
    const pages = Number(meta.readBigUInt64LE(24 + 96)) + 1;
    return meta.indexOf(MAGIC) === 0 && meta.readUInt32LE(24) === PAGE_SIZE && pages * PAGE_SIZE <= size;
  });
}
