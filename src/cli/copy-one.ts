/** One object or file copied: in, out, and within the store. Each arrives whole or not at all. */
import { randomBytes } from 'node:crypto';
import { constants, createReadStream, fstatSync, openSync, realpathSync } from 'node:fs';
import { lstat, mkdir, open, opendir, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Socket } from 'node:net';
import { addAbortSignal, type Readable } from 'node:stream';
import { lookup as mimeType } from 'mime-types';
import { S3Error, UsageError } from '../base/errors.js';
import { STATE_DIR } from '../fs/keypath.js';
import { syncDirSync } from '../fs/statefile.js';
import type { Store } from '../store/contract.js';
import { statOf } from '../fs/stat.js';
import type { Output } from './output.js';
import type { ObjectTarget } from './target.js';

export interface CopyOptions {
  /** Replace what is there already. */
  clobber: boolean;
  contentType: string | undefined;
  signal: AbortSignal;
}

const { O_RDONLY, O_NONBLOCK } = constants;
const CHUNK = 1024 * 1024;
/** Bytes of a file's name. */
const NAME_MAX = 255;

/** `path` is undefined for standard input. Resolves to the bytes put, undefined if an object is there that is to stay. */
export async function putFile(
  store: Store,
  path: string | undefined,
  { bucket, key }: ObjectTarget,
  { clobber, contentType, signal }: CopyOptions,
): Promise<number | undefined> {
  const type = contentType ?? mimeType(path ?? key);
  const facts = type === false ? {} : { contentType: type };
  if (path === undefined && fstatSync(0).isDirectory()) throw new UsageError('standard input is a folder', 1);
  const size = path === undefined ? undefined : knownSize(path);
  const source = addAbortSignal(signal, path === undefined ? process.stdin : bytesOf(path, size));
  const body = { chunks: source as AsyncIterable<Uint8Array>, ...(size !== undefined && { size }) };
  const condition = clobber ? {} : { condition: { ifNoneMatch: ['*'] } };
  return unlessThere(async () => (await store.put(bucket, key, body, { facts, ...condition })).size);
}

/** Content type, metadata, tags and checksum go along; owner and ACL do not. */
export async function copyObject(
  store: Store,
  from: ObjectTarget,
  to: ObjectTarget,
  { clobber, contentType }: CopyOptions,
): Promise<number | undefined> {
  const condition = clobber ? {} : { condition: { ifNoneMatch: ['*'] } };
  const { size } = await store.head(from.bucket, from.key);
  return unlessThere(async () => {
    await store.copy(from, to, condition);
    if (contentType !== undefined) await store.updateFacts(to.bucket, to.key, (facts) => ({ ...facts, contentType }));
    return size;
  });
}

/** To a file, or to standard output. Resolves to the bytes written, undefined if a file is there that is to stay. */
export async function getFile(
  store: Store,
  { bucket, key }: ObjectTarget,
  to: string | Output,
  { clobber, signal }: CopyOptions,
): Promise<number | undefined> {
  if (typeof to === 'string' && key.endsWith('/')) {
    await makeFolders(to);
    return 0;
  }
  if (typeof to === 'string' && !clobber && statOf(to) !== undefined) return undefined;
  const object = await store.open(bucket, key);
  try {
    const { size, lastModified } = object.info;
    const read = (write: (chunk: Buffer) => Promise<void>): Promise<void> =>
      object.read(0, size, async (chunk) => {
        signal.throwIfAborted();
        await write(chunk);
      });
    if (typeof to !== 'string') await read((chunk) => to.bytes(Buffer.from(chunk)));
    else await writeWhole(to, lastModified, read);
    return size;
  } finally {
    await object.close();
  }
}

/**
 * Writes beside the file and renames over it, and flushes both: who removes the object next must not lose it. The time of the object is the file's.
 * What is no regular file (a device) is written into.
 */
async function writeWhole(
  path: string,
  lastModified: number,
  read: (write: (chunk: Buffer) => Promise<void>) => Promise<void>,
): Promise<void> {
  await makeFolders(dirname(path));
  const there = statOf(path);
  const place = there === undefined ? path : realpathSync.native(path);
  const direct = there !== undefined && !there.isFile();
  if (there?.isDirectory() === true) throw new UsageError(`${path} is a folder`, 1);
  const temporary = direct ? place : temporaryOf(place);
  const file = await open(temporary, direct ? 'w' : 'wx');
  try {
    await read(async (chunk) => {
      await file.writeFile(chunk);
    });
    if (!direct) {
      if (there !== undefined) await file.chmod(there.mode & 0o7777);
      await file.utimes(new Date(), new Date(lastModified));
      await file.sync();
    }
    await file.close();
    if (direct) return;
    await rename(temporary, place);
    syncDirSync(dirname(place));
  } catch (error) {
    await file.close().catch(() => undefined);
    if (!direct) await unlink(temporary).catch(() => undefined);
    throw error;
  }
}

async function makeFolders(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true });
  if (first === undefined) return;
  for (let made = path; made.length >= first.length; made = dirname(made)) syncDirSync(dirname(made));
}

/** Beside the file, and no longer a name than a file can have. */
function temporaryOf(place: string): string {
  const end = `.${randomBytes(4).toString('hex')}.part`;
  let name = basename(place);
  while (Buffer.byteLength(name + end) > NAME_MAX) name = [...name].slice(0, -1).join('');
  return join(dirname(place), name + end);
}

/**
 * Paths, relative to a folder, of the files below it, in order of their names. Links to files count, links to folders do not: they may lead in circles.
 * @param failed told of what cannot be read; the walk goes on.
 */
export async function* walkFiles(
  folder: string,
  failed: (path: string, error: unknown) => void,
  below = '',
): AsyncGenerator<string> {
  const names: string[] = [];
  try {
    for await (const entry of await opendir(join(folder, below))) if (entry.name !== STATE_DIR) names.push(entry.name);
  } catch (error) {
    failed(join(folder, below), error);
    return;
  }
  for (const name of names.sort()) {
    const rest = below === '' ? name : `${below}/${name}`;
    const path = join(folder, rest);
    try {
      if ((await lstat(path)).isDirectory()) yield* walkFiles(folder, failed, rest);
      else if ((await stat(path)).isFile()) yield rest;
    } catch (error) {
      failed(path, error);
    }
  }
}

/** A log that is written to meanwhile is copied as far as it went. */
function bytesOf(path: string, size: number | undefined): Readable {
  // open(2) would wait for a writer, and nothing could end it
  if (statOf(path)?.isFIFO() === true)
    return new Socket({ fd: openSync(path, O_RDONLY | O_NONBLOCK), writable: false });
  return createReadStream(path, { highWaterMark: CHUNK, ...(size !== undefined && { end: size - 1 }) });
}

/** Bytes of a file; undefined for what tells nothing before it is read: a pipe, a device, a file of /proc. @throws UsageError if there is none. */
function knownSize(path: string): number | undefined {
  const found = statOf(path);
  if (found === undefined) throw new UsageError(`${path} does not exist`, 1);
  return found.isFile() && found.size > 0 ? found.size : undefined;
}

async function unlessThere(work: () => Promise<number>): Promise<number | undefined> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof S3Error && error.code === 'PreconditionFailed') return undefined;
    throw error;
  }
}
