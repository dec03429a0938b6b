/** `--bucket alias=path`: a folder below the root, of any name or depth, or the root itself, served as a bucket of another name. */
import { realpathSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { UsageError } from '../base/errors.js';
import { isPossibleName } from '../fs/keypath.js';
import { statOf } from '../fs/stat.js';

/**
 * Segments below the root by alias.
 * @param root real path.
 * @throws UsageError for names that no request can have, and for paths that are no folder below the root or lead through a link or `.gos3rve`.
 */
export function parseAliases(root: string, aliases: Readonly<Record<string, string>>): Map<string, string[]> {
  const parsed = new Map<string, string[]>();
  for (const [name, path] of Object.entries(aliases)) {
    const given = `--bucket ${name}=${path}`;
    if (!isPossibleName(name)) throw new UsageError(`${given}: ${JSON.stringify(name)} cannot be a bucket name`);
    if (isAbsolute(path)) throw new UsageError(`${given}: the path must be relative to ${root}`);
    const segments = path.split('/').filter((segment) => segment !== '' && segment !== '.');
    if (!segments.every(isPossibleName))
      throw new UsageError(`${given}: the path must lie below ${root}, and not in .gos3rve`);
    const folder = [root, ...segments].join('/').replace(/^\/\//, '/');
    if (statOf(folder)?.isDirectory() !== true) {
      throw new UsageError(`${given}: there is no folder ${path} in ${root}; make it, or pass another`);
    }
    if (realpathSync.native(folder) !== folder)
      throw new UsageError(`${given}: a link is in the way; pass the folder that it leads to`);
    parsed.set(name, segments);
  }
  return parsed;
}
