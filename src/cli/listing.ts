/** Buckets and objects as `ls` prints them: a page at a time, whatever they are. */
import { UsageError } from '../base/errors.js';
import type { ListEntry, ObjectInfo, Store } from '../store/contract.js';
import { isoDate } from '../wire/dates.js';
import { humanSize, printable, type Output } from './output.js';
import { showTarget, type ObjectTarget } from './target.js';

const PAGE = 1000;

export interface ListOptions {
  recursive: boolean;
  bytes: boolean;
  json: boolean;
}

export async function listBuckets(store: Store, out: Output, json: boolean): Promise<void> {
  for (let after: string | undefined; ;) {
    const { buckets, next } = await store.listBuckets({ max: PAGE, ...(after === undefined ? {} : { after }) });
    for (const { name, created } of buckets)
      await (json
        ? out.json({ bucket: name, created: new Date(created).toISOString() })
        : out.line(`${localTime(created)}  ${printable(name)}`));
    if (next === undefined) return;
    after = next;
  }
}

/** @throws NoSuchBucket; UsageError (exit code 1) if nothing begins with a prefix. */
export async function listObjects(
  store: Store,
  out: Output,
  target: ObjectTarget,
  options: ListOptions,
): Promise<void> {
  let any = false;
  for await (const entry of entries(store, target, options.recursive ? '' : '/')) {
    any = true;
    if (options.json) await out.json(asJson(target.bucket, entry));
    else await out.line(asLine(entry, options.bytes));
  }
  if (!any && target.key !== '') throw nothingIn(target);
}

/** @throws NoSuchBucket; UsageError (exit code 1) if nothing begins with a prefix: a typing error must not look like success. */
export async function checkPrefix(store: Store, target: ObjectTarget): Promise<void> {
  await store.getBucket(target.bucket);
  if (target.key === '') return;
  const { entries: any } = await store.list(target.bucket, { prefix: target.key, delimiter: '', after: '', max: 1 });
  if (any.length === 0) throw nothingIn(target);
}

function nothingIn(target: ObjectTarget): UsageError {
  return new UsageError(`nothing begins with ${showTarget(target)}`, 1);
}

/** All entries below a prefix. What is deleted or made meanwhile does not stop it: it goes on after the last key. */
export async function* entries(store: Store, { bucket, key }: ObjectTarget, delimiter = ''): AsyncGenerator<ListEntry> {
  for (let after = ''; ;) {
    const page = await store.list(bucket, { prefix: key, delimiter, after, max: PAGE });
    yield* page.entries;
    if (page.next === undefined) return;
    after = page.next;
  }
}

/** All objects below a prefix. */
export async function* objects(store: Store, target: ObjectTarget): AsyncGenerator<ObjectInfo> {
  for await (const entry of entries(store, target)) if ('key' in entry) yield entry;
}

function asJson(bucket: string, entry: ListEntry): Record<string, unknown> {
  if (!('key' in entry)) return { bucket, prefix: entry.prefix };
  const { key, size, etag, lastModified } = entry;
  return { bucket, key, size, etag, lastModified: isoDate(lastModified) };
}

const WIDTH = 12;

function asLine(entry: ListEntry, bytes: boolean): string {
  if (!('key' in entry)) return `${' '.repeat(16)}${'-'.padStart(WIDTH)}  ${printable(entry.prefix)}`;
  const size = bytes ? String(entry.size) : humanSize(entry.size);
  return `${localTime(entry.lastModified)}${size.padStart(WIDTH)}  ${printable(entry.key)}`;
}

/** `2026-11-21 14:05` in the time zone of this machine. */
export function localTime(ms: number): string {
  const date = new Date(ms);
  const two = (n: number): string => String(n).padStart(2, '0');
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}`;
}
