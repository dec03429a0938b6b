/**
 * Staged writes: a body goes to a nameless-to-others file on the target's mount, hashed on the way, and is published by rename(2) only when
 * it is whole, has its mode and is flushed (DESIGN rule 3, step 1).
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsync,
  futimesSync,
  mkdirSync,
  openSync,
  unlinkSync,
  writeSync,
  type BigIntStats,
  type Stats,
} from 'node:fs';
import { copyFile, open, type FileHandle } from 'node:fs/promises';
import { S3Error, errno } from '../base/errors.js';
import type { Body, Digests, DigestPlan } from '../base/model.js';
import { randomHex } from '../base/random.js';
import { openBodyHasher } from './body-hasher.js';
import { closeQuietly } from './close.js';
import { writeAll, writeGathered } from './gather.js';
import { createHasher, prepareHashes, type BodyHasher } from './hash.js';
import type { Ownership } from './statefile.js';

/** What is copied by us is read in pieces of this size. */
const COPY_BYTES = 1 << 20;
/** A body announced as no longer than this is written in one go once it is whole: the ways to the thread pool would cost more than the work. */
const SMALL_BYTES = 64 << 10;

export interface StageOptions {
  /** Directory on the target's mount; made if missing, unless it `mustExist`: then ENOENT is thrown. */
  directory: string;
  mustExist?: boolean;
  /** Marks the file as this process's: `<owner>-<random>`; see store/staging.ts. */
  owner: string;
  /** Mode of a new file, before the process's umask. */
  mode: number;
  /** Mode to set whatever the process's umask is. */
  exactMode?: number;
  /** Seconds since 1970, to set on the file. */
  mtime?: number | undefined;
}

export interface Staged {
  path: string;
  size: number;
  digests: Digests;
  /** After the flush, unless that is under way; the fingerprint is made of it. */
  stat: BigIntStats;
  /** The flush that is under way, and what stat(2) says behind it. */
  flushed?: Promise<BigIntStats>;
}

/** Mode and owner to keep from the file that is replaced, or the group of the folder; what is not given stays. */
export interface Inherit {
  mode?: number;
  uid?: number;
  gid?: number;
}

/** A new staging file, opened exclusively. */
export async function createStaging(options: StageOptions): Promise<{ path: string; file: FileHandle }> {
  const path = stagingPath(options);
  let file: FileHandle;
  try {
    file = await open(path, NEW_FILE, options.mode);
  } catch (error) {
    makeMissing(options, error);
    file = await open(path, NEW_FILE, options.mode);
  }
  if (options.exactMode !== undefined) fchmodSync(file.fd, options.exactMode);
  return { path, file };
}

const NEW_FILE = constants.O_CREAT | constants.O_EXCL | constants.O_RDWR;

function stagingPath({ directory, owner }: StageOptions): string {
  return `${directory}/${owner}-${randomHex(8)}`;
}

/** The staging folder, if that is what a new file lacked. @throws what it lacked else. */
function makeMissing({ directory, mustExist }: StageOptions, error: unknown): void {
  if (errno(error) !== 'ENOENT' || mustExist === true) throw error;
  mkdirSync(directory, { recursive: true, mode: 0o700 });
}

/**
 * Writes a body to a staging file and flushes it.
 * @param flush whether to fsync. fdatasync would not do: it need not keep the mtime, and the fingerprint has it. `behind`: a short body's flush may still be
 * under way.
 * @throws whatever the body or `plan.check` throws, IncompleteBody on a wrong length; nothing stays behind then.
 */
export async function stageBody(
  body: Body,
  plan: DigestPlan,
  options: StageOptions,
  inherit: Inherit,
  flush: boolean | 'behind',
): Promise<Staged> {
  if (body.size !== undefined && body.size <= SMALL_BYTES) {
    await prepareHashes();
    const bytes = await readWhole(body);
    checkSize(body, bytes.length);
    const hasher = createHasher(plan.algorithms);
    hasher.update(bytes);
    const digests = hasher.digest();
    plan.check?.(digests, bytes.length);
    return stageWhole(bytes, digests, options, inherit, flush);
  }
  const { path, file } = await createStaging(options);
  let hasher: BodyHasher | undefined;
  try {
    hasher = await openBodyHasher(plan.algorithms, body.size);
    const size = await writeGathered(body, file, hasher);
    checkSize(body, size);
    const digests = await hasher.digest();
    plan.check?.(digests, size);
    applyInherit(file.fd, inherit);
    await setMtime(file, options.mtime);
    if (flush) await file.sync();
    const stat = fstatSync(file.fd, { bigint: true });
    await file.close();
    return { path, size, digests, stat };
  } catch (error) {
    hasher?.drop();
    await file.close().catch(() => undefined);
    discard(path);
    throw error;
  }
}

/** The same for bytes that are all there. */
async function stageWhole(
  bytes: Uint8Array,
  digests: Digests,
  options: StageOptions,
  inherit: Inherit,
  flush: boolean | 'behind',
): Promise<Staged> {
  const path = stagingPath(options);
  const fd = openNew(path, options);
  let stat: BigIntStats;
  try {
    if (options.exactMode !== undefined) fchmodSync(fd, options.exactMode);
    for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done, bytes.length - done, done);
    if (options.mtime !== undefined) futimesSync(fd, Date.now() / 1000, String(options.mtime));
    stat = fstatSync(fd, { bigint: true });
    if (applyInherit(fd, inherit, stat)) stat = fstatSync(fd, { bigint: true });
  } catch (error) {
    closeQuietly(fd);
    discard(path);
    throw error;
  }
  const whole = { path, size: bytes.length, digests };
  if (flush === 'behind') {
    const flushed = flushedAndClosed(fd);
    // whoever gives the body up does not ask
    flushed.catch(() => undefined);
    return { ...whole, stat, flushed };
  }
  try {
    if (flush) stat = await flushedAndClosed(fd);
    else closeSync(fd);
  } catch (error) {
    discard(path);
    throw error;
  }
  return { ...whole, stat };
}

/** Flushes and closes a file. @returns what stat(2) said last. */
async function flushedAndClosed(fd: number): Promise<BigIntStats> {
  let stat: BigIntStats;
  try {
    await new Promise<void>((resolve, reject) => fsync(fd, (error) => (error ? reject(error) : resolve())));
    stat = fstatSync(fd, { bigint: true });
  } catch (error) {
    closeQuietly(fd);
    throw error;
  }
  // whatever it says, the number is free again
  closeSync(fd);
  return stat;
}

function openNew(path: string, options: StageOptions): number {
  try {
    return openSync(path, NEW_FILE, options.mode);
  } catch (error) {
    makeMissing(options, error);
    return openSync(path, NEW_FILE, options.mode);
  }
}

/** Of a body that was read to its end. @throws IncompleteBody. */
function checkSize({ size: announced }: Body, size: number): void {
  if (announced !== undefined && size !== announced)
    throw new S3Error('IncompleteBody', `${size} of the announced ${announced} bytes arrived`);
}

/** All bytes of a body with an announced size, which bounds them. @throws IncompleteBody if more come. */
async function readWhole({ chunks, size = 0 }: Body): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafe(size);
  let length = 0;
  for await (const chunk of chunks) {
    if (length + chunk.byteLength > size)
      throw new S3Error('IncompleteBody', `more than the announced ${size} bytes arrived`);
    bytes.set(chunk, length);
    length += chunk.byteLength;
  }
  return bytes.subarray(0, length);
}

/** @param mtime seconds since 1970; undefined leaves it. */
export async function setMtime(file: FileHandle, mtime: number | undefined): Promise<void> {
  // as text: Node takes a negative number for now
  if (mtime !== undefined) await file.utimes(Date.now() / 1000, String(mtime));
}

/** Appends the whole of `source` to `file` at `position`, by large reads. @returns bytes copied. */
export async function appendFile(
  file: FileHandle,
  source: string,
  position: number,
  seen?: (chunk: Uint8Array) => void,
): Promise<number> {
  const from = await open(source, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const buffer = Buffer.allocUnsafe(COPY_BYTES);
    let copied = 0;
    for (;;) {
      const { bytesRead } = await from.read(buffer, 0, buffer.length, copied);
      if (bytesRead === 0) return copied;
      const chunk = buffer.subarray(0, bytesRead);
      seen?.(chunk);
      await writeAll(file, chunk, bytesRead, position + copied);
      copied += bytesRead;
    }
  } finally {
    await from.close();
  }
}

/**
 * Copies a file into staging, as a reflink where the file system can; mode as for a new file.
 * @param opened called with the new file before it is filled.
 */
export async function stageCopy(
  sourcePath: string,
  options: StageOptions,
  opened: (fd: number) => void = () => undefined,
): Promise<{ path: string; file: FileHandle }> {
  const { path, file } = await createStaging(options);
  try {
    const { mode } = fstatSync(file.fd);
    opened(file.fd);
    await copyFile(sourcePath, path, constants.COPYFILE_FICLONE);
    fchmodSync(file.fd, mode & 0o7777);
    return { path, file };
  } catch (error) {
    await file.close().catch(() => undefined);
    discard(path);
    throw error;
  }
}

const SET_GROUP_ID = 0o2000;
const GROUP_OF_FOLDER = ['darwin', 'freebsd', 'openbsd'].includes(process.platform);

/**
 * Whose a new file in `folder` is. Root gives it to the folder's owner, who would be locked out of it else; anybody else's has the group that the kernel would
 * have given it (open(2)): it is made in the staging folder, where another may be given.
 */
export function ownerOfNew(folder: Stats, staging: Stats): Inherit {
  const owner = givenByRoot(folder);
  if (owner) return owner;
  if (GROUP_OF_FOLDER || (folder.mode & SET_GROUP_ID) !== 0) return { gid: folder.gid };
  const gid = process.getegid?.();
  return gid !== undefined && (staging.mode & SET_GROUP_ID) !== 0 ? { gid } : {};
}

/** To whom root gives what it makes in `folder`; nobody if it is root's own, or we are not root. */
export function givenByRoot({ uid, gid }: Stats): Ownership | undefined {
  return uid !== 0 && process.geteuid?.() === 0 ? { uid, gid } : undefined;
}

/**
 * Keeps mode and owner of a replaced file where permitted (DESIGN rule 6), and never opens it to more than before: where the group cannot be
 * kept, the one that the file has may do what it may and everybody may too; a set-id bit goes where its owner or group does.
 * @param known what stat(2) has just said of it. @returns whether anything of it was changed.
 */
export function applyInherit(fd: number, inherit: Inherit, known?: BigIntStats): boolean {
  const { mode } = inherit;
  if (mode === undefined && inherit.uid === undefined && inherit.gid === undefined) return false;
  let now = known ? ownModeOf(known) : fstatSync(fd);
  const { uid = now.uid, gid = now.gid } = inherit;
  const given = now.uid !== uid || now.gid !== gid;
  if (given) {
    // who may not give a file away may still give it to a group of his own
    if (!chowned(fd, uid, gid) && now.gid !== gid) chowned(fd, now.uid, gid);
    now = fstatSync(fd);
  }
  if (mode === undefined) return given;
  let kept = mode & 0o7777;
  if (now.uid !== uid) kept &= ~0o4000;
  if (now.gid !== gid) kept &= ~(SET_GROUP_ID | 0o070) | ((kept << 3) & 0o070);
  if (kept === (now.mode & 0o7777)) return given;
  try {
    // after chown, which clears the set-id bits
    fchmodSync(fd, kept);
  } catch {
    // not permitted (SMB, FAT): the mount's mode stays
  }
  return true;
}

function ownModeOf({ mode, uid, gid }: BigIntStats): { mode: number; uid: number; gid: number } {
  return { mode: Number(mode), uid: Number(uid), gid: Number(gid) };
}

/** @returns false if it is not permitted. */
function chowned(fd: number, uid: number, gid: number): boolean {
  try {
    fchownSync(fd, uid, gid);
    return true;
  } catch {
    return false;
  }
}

/** Removes a staging file that is not to be published. */
export function discard(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // already published or gone
  }
}

/** Path by which an open file can be opened again, whatever has become of its name. */
export function openAgain(fd: number, path: string): string {
  return process.platform === 'linux' ? `/proc/self/fd/${fd}` : path;
}
