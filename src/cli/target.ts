/** What an argument names: an object (`photos/2024/cat.jpg`, `s3://photos/…`), or a file of this machine (`./cat.jpg`). */
import { realpathSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { UsageError } from '../base/errors.js';
import { STATE_DIR } from '../fs/keypath.js';
import type { Root } from './root.js';

/** `key` is '' for a bucket. */
export interface ObjectTarget {
  bucket: string;
  key: string;
  /** Of a bucket that was written with a slash: all that is in it. */
  whole?: boolean;
}

/** Whether an argument is written as a path: it begins with `/`, `./`, `../` or `~/`, or is `.` or `..`. All else is `bucket/key`. */
export function isPath(written: string): boolean {
  return /^(\/|~\/|\.{1,2}(\/|$)|~$)/.test(written);
}

/** A path as written, absolute; `~/` is the home directory even where the shell left it alone. */
export function absolutePath(written: string): string {
  const path = written === '~' || written.startsWith('~/') ? join(homedir(), written.slice(1)) : resolve(written);
  return /\/$/.test(written) && path !== '/' ? `${path.replace(/\/$/, '')}/` : path;
}

/** The arguments that are paths: where to look for the root. */
export function pathsOf(args: readonly string[]): string[] {
  return args.filter(isPath).map(absolutePath);
}

/**
 * Bucket and key that an argument names.
 * @param aliases of the root: bucket name -> path below it.
 * @throws UsageError for a path outside the root, and for a bucket without a name.
 */
export function parseTarget(written: string, root: Root, aliases: ReadonlyMap<string, string>): ObjectTarget {
  if (!isPath(written)) return parseObject(written);
  const target = targetOfPath(absolutePath(written), root, aliases);
  if (target === undefined) throw new UsageError(`${written} is in no bucket of ${root.path}; write bucket/key`);
  return target;
}

/** `bucket/key` or `s3://bucket/key`. @throws UsageError without a bucket. */
export function parseObject(written: string): ObjectTarget {
  const text = written.replace(/^s3:\/\//i, '');
  const slash = text.indexOf('/');
  const bucket = slash < 0 ? text : text.slice(0, slash);
  if (bucket === '' || bucket.includes('\0')) throw new UsageError(`"${written}" names no bucket; write bucket/key`);
  return { bucket, key: slash < 0 ? '' : text.slice(slash + 1), ...(slash === text.length - 1 ? { whole: true } : {}) };
}

/** The object at a path (absolute) of the served tree; undefined for one outside, in `.gos3rve`, or at the top. A trailing `/` is kept. */
export function targetOfPath(path: string, root: Root, aliases: ReadonlyMap<string, string>): ObjectTarget | undefined {
  const inside = relative(root.path, realParent(path)).split(sep);
  if (inside[0] === '..' || inside[0] === '' || inside.some((name) => name.toLowerCase() === STATE_DIR))
    return undefined;
  const end = path.endsWith('/') && inside.length > 1 ? '/' : '';
  const whole = path.endsWith('/') && inside.length === 1 ? { whole: true } : {};
  const [first = '', ...rest] = inside;
  if (!aliases.has(first)) return { bucket: first, key: rest.join('/') + end, ...whole };
  // The folder is hidden by an alias of its name: it is served only as part of another alias, if at all.
  for (const [bucket, folder] of aliases) {
    const below = relative(folder === '.' ? '' : folder, inside.join('/'));
    if (below !== '' && !below.startsWith('..')) return { bucket, key: below + end };
  }
  return undefined;
}

/** The path with its parent's links resolved, as the root's are; the last name is kept, for it may be a link that is served. */
function realParent(path: string): string {
  const missing: string[] = [basename(path)];
  for (let at = dirname(path); ; at = dirname(at)) {
    try {
      return join(realpathSync.native(at), ...missing);
    } catch {
      if (dirname(at) === at) return path;
      missing.unshift(basename(at));
    }
  }
}

/** What all keys below a name begin with: '' for a bucket, else with a slash at its end. */
export function prefixOf({ key }: ObjectTarget): string {
  return key === '' || key.endsWith('/') ? key : `${key}/`;
}

/** As a person writes it. */
export function showTarget({ bucket, key }: ObjectTarget): string {
  return key === '' ? bucket : `${bucket}/${key}`;
}
