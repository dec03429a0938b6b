/** What `cp` does: finds out what source and target are, and copies one thing, or many at a time. */
import { basename, join } from 'node:path';
import { S3Error, UsageError } from '../base/errors.js';
import type { Store } from '../store/contract.js';
import { statOf } from '../fs/stat.js';
import type { Call } from './commands/command.js';
import { copyObject, getFile, putFile, walkFiles, type CopyOptions } from './copy-one.js';
import { about, describe } from './failures.js';
import { objects } from './listing.js';
import { count, humanSize, printable } from './output.js';
import { checkWritable, openSession, type Session } from './session.js';
import { absolutePath, isPath, parseObject, prefixOf, showTarget, targetOfPath, type ObjectTarget } from './target.js';

/** `-` is a stream; a path in no bucket is a file. */
type Side = { kind: 'object'; target: ObjectTarget } | { kind: 'file'; path: string } | { kind: 'stream' };

interface CpOptions extends Omit<CopyOptions, 'signal'> {
  recursive: boolean;
  dryRun: boolean;
  json: boolean;
}

/** One thing to copy. */
interface Item {
  from: Side;
  to: Side;
}

/** So many at a time: flushes to the disk are shared. */
const AT_ONCE = 8;

/** Resolves to the exit code. @throws UsageError for sides that do not go together. */
export async function copy(call: Call, options: CpOptions): Promise<number> {
  const [source = '', target = ''] = call.args;
  const { signal } = call;
  const session = await openSession(call, { hereFirst: true });
  const from = sideOf(source, session);
  const to = sideOf(target, session);
  if (from.kind !== 'object' && to.kind !== 'object')
    throw new UsageError(`neither ${source} nor ${target} is in the store; write bucket/key for an object`);
  if (to.kind === 'object' && !options.dryRun) checkWritable(session.root, session.settings);
  const copier = new Copier(call, session, { ...options, signal });
  if (options.recursive) return copier.tree(from, to);
  const whole = await completed(from, to, session.store);
  // with another content type it is how an object gets that
  if (options.contentType === undefined && isSame(from, whole, session))
    throw new UsageError(`${show(from)} is its own target`);
  await about(show(from), () => copier.one(from, whole));
  return 0;
}

function sideOf(written: string, { root, settings }: Session): Side {
  if (written === '-') return { kind: 'stream' };
  const aliases = new Map(settings.bucket);
  if (!isPath(written)) return { kind: 'object', target: parseObject(written) };
  const path = absolutePath(written);
  if (`${path}/`.startsWith(`${root.stateDir}/`))
    throw new UsageError(`${written} belongs to gos3rve; take another place`);
  const target = targetOfPath(path, root, aliases);
  // A file at the top of the root is in no bucket.
  const loose = target?.key === '' && !isFolder(path);
  return target === undefined || loose ? { kind: 'file', path } : { kind: 'object', target };
}

function isFolder(path: string): boolean {
  return path.endsWith('/') || statOf(path)?.isDirectory() === true;
}

/** `gos3rve cp cat.jpg photos/`: a word without a path is the name of a bucket. */
function hintFor({ bucket, key }: ObjectTarget): string {
  const isFile = key === '' && statOf(bucket)?.isFile() === true;
  return isFile ? `write ./${bucket} for the file` : 'pass -r for what lies below';
}

/** The target with the source's name, where it is a folder. */
async function completed(from: Side, to: Side, store: Store): Promise<Side> {
  if (from.kind === 'object' && (from.target.key === '' || from.target.key.endsWith('/')))
    throw new UsageError(`${showTarget(from.target)} is no object; ${hintFor(from.target)}`);
  if (from.kind === 'file' && isFolder(from.path)) throw new UsageError(`${from.path} is a folder; pass -r`);
  const name = from.kind === 'stream' ? undefined : basename(from.kind === 'file' ? from.path : from.target.key);
  const folder = to.kind === 'file' ? isFolder(to.path) : to.kind === 'object' && (await isPrefix(store, to.target));
  if (!folder) return to;
  if (name === undefined) throw new UsageError('standard input has no name; add one to the target');
  return below(to, name);
}

/** Whether a name stands for a folder: a PUT to it would be an object beside the folder, which nobody means. */
async function isPrefix(store: Store, { bucket, key }: ObjectTarget): Promise<boolean> {
  if (key === '' || key.endsWith('/')) return true;
  const { entries } = await store.list(bucket, { prefix: `${key}/`, delimiter: '', after: '', max: 1 });
  if (entries.length === 0) return false;
  return store.head(bucket, key).then(
    () => false,
    () => true,
  );
}

function below(side: Side, rest: string): Side {
  if (side.kind === 'file') return { kind: 'file', path: join(side.path, rest) };
  if (side.kind === 'stream') return side;
  return { kind: 'object', target: { bucket: side.target.bucket, key: prefixOf(side.target) + rest } };
}

function show(side: Side): string {
  return side.kind === 'object' ? showTarget(side.target) : side.kind === 'file' ? side.path : '-';
}

class Copier {
  #copied = 0;
  #bytes = 0;
  #failed = 0;

  constructor(
    private readonly call: Pick<Call, 'out' | 'signal'>,
    private readonly session: Session,
    private readonly options: CpOptions & CopyOptions,
  ) {}

  private get store(): Store {
    return this.session.store;
  }

  async one(from: Side, to: Side): Promise<void> {
    const { out } = this.call;
    const { dryRun, json } = this.options;
    // Standard output is the object's own then.
    const quiet = to.kind === 'stream';
    if (dryRun && !quiet) {
      this.#copied += 1;
      return json
        ? out.json({ from: show(from), to: show(to) })
        : out.line(printable(`would copy ${show(from)} to ${show(to)}`));
    }
    const size = await this.#transfer(from, to);
    if (size === undefined) return;
    this.#copied += 1;
    this.#bytes += size;
    if (json && !quiet) await out.json({ from: show(from), to: show(to), size });
    else out.progress(`${count(this.#copied, 'object')}, ${humanSize(this.#bytes)}: ${show(from)}`);
  }

  /** Resolves to the bytes copied; undefined if it was there already and is to be left alone. */
  #transfer(from: Side, to: Side): Promise<number | undefined> {
    const { store, options } = this;
    if (from.kind === 'object' && to.kind === 'object') return copyObject(store, from.target, to.target, options);
    if (from.kind === 'object')
      return getFile(store, from.target, to.kind === 'file' ? to.path : this.call.out, options);
    if (to.kind === 'object') return putFile(store, from.kind === 'file' ? from.path : undefined, to.target, options);
    throw new UsageError('one side must be in the store');
  }

  async tree(from: Side, to: Side): Promise<number> {
    if (from.kind === 'stream' || to.kind === 'stream') throw new UsageError('-r does not go with -');
    await atOnce(AT_ONCE, this.#items(from, to), async (item) => {
      try {
        await this.one(item.from, item.to);
      } catch (error) {
        if (this.call.signal.aborted) throw error;
        this.#fail(show(item.from), error);
      }
    });
    const { dryRun, json } = this.options;
    const told = `${count(this.#copied, 'object')}${dryRun ? '' : `, ${humanSize(this.#bytes)}`}`;
    if (!json) await this.call.out.line(`${dryRun ? 'would copy' : 'copied'} ${told}`);
    return this.#failed > 0 ? 1 : 0;
  }

  #items(from: Side, to: Side): AsyncGenerator<Item> {
    return from.kind === 'object'
      ? this.#objectItems(from.target, to)
      : this.#fileItems(from.kind === 'file' ? from.path : '', to);
  }

  async *#objectItems(source: ObjectTarget, to: Side): AsyncGenerator<Item> {
    const prefix = prefixOf(source);
    if (to.kind === 'object' && pathOf(to.target, this.session, true).startsWith(pathOf(source, this.session, true)))
      throw new UsageError(`${show(to)} lies below ${showTarget(source)}; the copy would copy itself`);
    let any = false;
    for await (const { bucket, key } of objects(this.store, { bucket: source.bucket, key: prefix })) {
      any = true;
      const rest = key.slice(prefix.length);
      const from: Side = { kind: 'object', target: { bucket, key } };
      // An object whose name is the prefix itself is the folder.
      if (rest === '' && to.kind === 'file') continue;
      if (to.kind === 'file' && !isSafe(rest)) this.#fail(show(from), new UsageError('its key can be no path here'));
      else yield { from, to: below(to, rest) };
    }
    if (!any && prefix !== '') throw new S3Error('NoSuchKey', undefined, { data: { Key: prefix } });
  }

  async *#fileItems(path: string, to: Side): AsyncGenerator<Item> {
    const failed = (at: string, error: unknown): void => this.#fail(at, error);
    for await (const rest of walkFiles(path, failed))
      yield { from: { kind: 'file', path: join(path, rest) }, to: below(to, rest) };
  }

  #fail(what: string, error: unknown): void {
    this.#failed += 1;
    this.call.out.error(`${what}: ${describe(error) ?? 'stopped'}`);
  }
}

function isSame(from: Side, to: Side, session: Session): boolean {
  return from.kind === 'object' && to.kind === 'object' && pathOf(from.target, session) === pathOf(to.target, session);
}

/** Where an object lies, whichever alias of its folder it is named by. @param whole all that lies below it. */
function pathOf(target: ObjectTarget, { settings }: Session, whole = false): string {
  const path = new Map(settings.bucket).get(target.bucket) ?? target.bucket;
  const folders = path.split('/').filter((segment) => segment !== '' && segment !== '.');
  return [...folders, whole ? prefixOf(target) : target.key].join('/');
}

/** A key is somebody else's text: as a path it must stay below the target. */
function isSafe(rest: string): boolean {
  const segments = rest.replace(/\/$/, '').split('/');
  return !rest.includes('\0') && segments.every((segment) => segment !== '' && segment !== '.' && segment !== '..');
}

/** Does `work` on the items, up to `n` at a time; the first throw ends it once those under way have ended. */
async function atOnce<T>(n: number, items: AsyncGenerator<T>, work: (item: T) => Promise<void>): Promise<void> {
  const runner = async (): Promise<void> => {
    // Several consumers of one generator: its next() calls queue up.
    for (let next = await items.next(); next.done !== true; next = await items.next()) await work(next.value);
  };
  const runs = await Promise.allSettled(Array.from({ length: n }, runner));
  for (const run of runs) if (run.status === 'rejected') throw run.reason;
}
