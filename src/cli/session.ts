/** What commands on objects begin with: the root, its settings, its store, and how arguments are read there. */
import { realpathSync } from 'node:fs';
import { UsageError } from '../base/errors.js';
import type { Settings } from '../base/config.js';
import type { LocalStore } from '../store/open.js';
import { whyUnwritable } from '../fs/state-dir.js';
import { statOf } from '../fs/stat.js';
import type { Call } from './commands/command.js';
import { tilde, type Root } from './root.js';
import { settingsOf } from './settings.js';
import { absolutePath, isPath, pathsOf, parseTarget, type ObjectTarget } from './target.js';

export interface Session {
  root: Root;
  settings: Settings;
  store: LocalStore;
  /** @throws UsageError for what names nothing in this root. */
  target(written: string): ObjectTarget;
  /** As target(), but the path of a folder stands for what is in it; undefined for all buckets: nothing was written, or the root's path. */
  place(written: string | undefined): ObjectTarget | undefined;
}

export type SessionCall = Pick<Call, 'root' | 'store' | 'args'>;

/**
 * Opens the store that the arguments speak of.
 * @param hereFirst look for the root in the working directory before the paths among the arguments: they may well be elsewhere.
 * @throws UsageError if there is no root, or if the command writes and the root is served read-only.
 */
export async function openSession(call: SessionCall, { writes = false, hereFirst = false } = {}): Promise<Session> {
  const paths = pathsOf(call.args);
  const root = await call.root({ near: hereFirst ? [process.cwd(), ...paths] : paths });
  const settings = await settingsOf(root, process.env);
  if (writes) checkWritable(root, settings);
  const store = await call.store(root);
  const aliases = new Map(settings.bucket);
  const target = (written: string): ObjectTarget => parseTarget(written, root, aliases);
  const place = (written: string | undefined): ObjectTarget | undefined => {
    if (written === undefined) return undefined;
    if (!isPath(written) || !isDirectory(absolutePath(written))) return target(written);
    return realpathSync.native(absolutePath(written)) === root.path ? undefined : target(`${written}/`);
  };
  return { root, settings, store, target, place };
}

/** @throws UsageError saying why nothing can be changed in a root. */
export function checkWritable(root: Root, { readOnly }: Pick<Settings, 'readOnly'>): void {
  if (readOnly)
    throw new UsageError(`${tilde(root.path)} is served read-only; start its server without --read-only first`, 1);
  const why = whyUnwritable(root.path);
  if (why === undefined) return;
  const way = why === 'EROFS' ? 'its file system is mounted read-only' : 'run this as its owner';
  throw new UsageError(`${tilde(root.path)} cannot be written (${why}); ${way}`, 1);
}

function isDirectory(path: string): boolean {
  return statOf(path)?.isDirectory() === true;
}
