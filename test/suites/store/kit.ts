/** What the parts of the store suite share: a fixture per test, bodies, readers and pictures of a tree. */
import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstat, mkdir, readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import type { ErrorCode } from '../../../src/base/errors.js';
import { S3Error } from '../../../src/base/errors.js';
import type { Body } from '../../../src/base/model.js';
import type { ListEntry, ListQuery, ObjectInfo, Part, Store } from '../../../src/store/contract.js';

export interface FixtureOptions {
  /** Open this root instead of a fresh one; `stop` then leaves it in place. */
  root?: string;
  durability?: 'flush' | 'fast';
  /** Bytes; the suite uses small parts. */
  minPartSize?: number;
  exclude?: string[];
  symlinks?: 'files' | 'all' | 'none';
  readOnly?: boolean;
}
export interface StoreFixture {
  store: Store;
  /** The directory that is served. */
  root: string;
  /** Closes the store and, if the root was made by this fixture, removes it. */
  stop(): Promise<void>;
}
export type MakeStore = (options?: FixtureOptions) => Promise<StoreFixture>;
/** Starts a process that runs `writer.js` (puts for ever) or `reader.js` (reads once) of this folder on `root`. */
export type SpawnChild = (script: 'writer.js' | 'reader.js', root: string, bucket: string) => ChildProcess;

export const MIN_PART = 1024;
export const BUCKET = 'box';

export interface World {
  store: Store;
  root: string;
  /** Path of something in the bucket, for a program that is not gos3rve. */
  at(...names: string[]): string;
  /** Writes a file as another program would, with its folders. */
  foreign(key: string, content: string | Buffer): Promise<void>;
  make: MakeStore;
}

/** A fresh store with the bucket `box` for every test of the surrounding describe; read its members within a test only. */
export function world(make: MakeStore, options: FixtureOptions = {}): World {
  let fixture: StoreFixture | undefined;
  const current = (): StoreFixture => {
    if (!fixture) throw new Error('the fixture exists only while a test runs');
    return fixture;
  };
  beforeEach(async () => {
    fixture = await make({ minPartSize: MIN_PART, ...options });
    await fixture.store.createBucket(BUCKET, {});
  });
  afterEach(async () => {
    await fixture?.stop();
    fixture = undefined;
  });
  return {
    get store() {
      return current().store;
    },
    get root() {
      return current().root;
    },
    at: (...names) => path.join(current().root, BUCKET, ...names),
    foreign: async (key, content) => {
      const file = path.join(current().root, BUCKET, key);
      await mkdir(path.dirname(file), { recursive: true });
      await writeFile(file, content);
    },
    make,
  };
}

/** A body in small chunks, so that no store can rely on getting it whole. */
export function body(content: string | Buffer, size?: number): Body {
  const bytes = Buffer.from(content);
  async function* chunks(): AsyncGenerator<Uint8Array> {
    const step = Math.max(1, Math.ceil(bytes.length / 5));
    for (let at = 0; at < bytes.length; at += step) {
      await new Promise((resolve) => setImmediate(resolve));
      yield bytes.subarray(at, at + step);
    }
  }
  return { chunks: chunks(), size: size ?? bytes.length };
}

/** Sends `content`, then breaks like a lost connection. */
export function brokenBody(content: string): Body {
  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(content);
    await new Promise((resolve) => setImmediate(resolve));
    throw new S3Error('IncompleteBody');
  }
  return { chunks: chunks(), size: content.length * 2 };
}

export function md5(content: string | Buffer): string {
  return createHash('md5').update(content).digest('hex');
}

/** Puts text and gives back what the store says of it. */
export function put(store: Store, key: string, content: string | Buffer = key, bucket = BUCKET): Promise<ObjectInfo> {
  return store.put(bucket, key, body(content));
}

/** Opens, reads to the end and closes: the info and the bytes of one and the same object. */
export async function get(store: Store, key: string, bucket = BUCKET): Promise<{ info: ObjectInfo; bytes: Buffer }> {
  const open = await store.open(bucket, key);
  try {
    const chunks: Buffer[] = [];
    await open.read(0, open.info.size, (chunk) => {
      chunks.push(Buffer.from(chunk));
    });
    return { info: open.info, bytes: Buffer.concat(chunks) };
  } finally {
    await open.close();
  }
}

export async function text(store: Store, key: string, bucket = BUCKET): Promise<string> {
  return (await get(store, key, bucket)).bytes.toString();
}

export function nameOf(entry: ListEntry): string {
  return 'prefix' in entry ? entry.prefix : entry.key;
}

/** All names of a listing, page by page; common prefixes and keys in the order given. */
export async function list(store: Store, query: Partial<ListQuery> = {}, bucket = BUCKET): Promise<string[]> {
  const names: string[] = [];
  let after = query.after ?? '';
  for (;;) {
    const page = await store.list(bucket, { prefix: '', delimiter: '', max: 1000, ...query, after });
    names.push(...page.entries.map(nameOf));
    if (page.next === undefined) return names;
    after = page.next;
  }
}

/** Asserts that an S3Error of this code (or one of these) is thrown; gives it back. */
export async function refuses(what: Promise<unknown>, ...codes: ErrorCode[]): Promise<S3Error> {
  const error: unknown = await what.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(S3Error);
  if (!(error instanceof S3Error)) throw new Error('not an S3Error');
  expect(codes).toContain(error.code);
  return error;
}

/** S3's order: by bytes of UTF-8, which is not the order of JavaScript strings. */
export function byteOrder(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** Everything below a folder but `.gos3rve`: path -> kind and content. Two equal pictures mean that nothing was touched. */
export async function picture(root: string): Promise<Record<string, string>> {
  const seen: Record<string, string> = {};
  const walk = async (folder: string): Promise<void> => {
    for (const name of await readdir(folder)) {
      if (name === '.gos3rve') continue;
      const full = path.join(folder, name);
      const shown = path.relative(root, full);
      const stat = await lstat(full);
      if (stat.isDirectory()) {
        seen[shown] = 'directory';
        await walk(full);
      } else if (stat.isSymbolicLink()) seen[shown] = `-> ${await readlink(full)}`;
      else if (stat.isFile()) seen[shown] = `${stat.mode & 0o777} ${md5(await readFile(full))}`;
      else seen[shown] = 'special';
    }
  };
  await walk(root);
  return seen;
}

export async function exists(file: string): Promise<boolean> {
  return lstat(file).then(
    () => true,
    () => false,
  );
}

/** Uploads parts of a multipart upload in the order given. */
export async function putParts(
  store: Store,
  key: string,
  uploadId: string,
  parts: [number: number, content: string | Buffer][],
): Promise<Part[]> {
  const done: Part[] = [];
  for (const [number, content] of parts) {
    done.push(await store.putPart(BUCKET, key, uploadId, number, body(content)));
  }
  return done;
}

/** A multipart upload from its creation to its completion. */
export async function putInParts(
  store: Store,
  key: string,
  parts: [number: number, content: string | Buffer][],
): Promise<ObjectInfo> {
  const { uploadId } = await store.createUpload(BUCKET, key, {});
  const sent = await putParts(store, key, uploadId, parts);
  const refs = sent.map(({ partNumber, etag }) => ({ partNumber, etag, checksums: {} }));
  return store.completeUpload(BUCKET, key, uploadId, refs);
}
