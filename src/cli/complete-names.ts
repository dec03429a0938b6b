/** Names of buckets and objects for the shell: one readdir, no index. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { STATE_DIR } from '../fs/keypath.js';

/** More than anybody reads. */
const MOST = 500;

/** What `word` can become: `photos/`, `photos/2024/`, `photos/2024/cat.jpg`. Keys that are no paths are not known here. */
export function namesFor(word: string, root: string, aliases: ReadonlyMap<string, string>): string[] {
  const slash = word.lastIndexOf('/');
  if (slash < 0)
    return begin(
      word,
      [...folders(root), ...aliases.keys()].map((name) => `${name}/`),
    );
  const [bucket = '', ...dirs] = word.slice(0, slash).split('/');
  if ([bucket, ...dirs].some((name) => ['', '.', '..'].includes(name) || isState(name))) return [];
  const names = readdirSync(join(root, aliases.get(bucket) ?? bucket, ...dirs), { withFileTypes: true })
    .filter(({ name }) => !isState(name))
    .map((entry) => word.slice(0, slash + 1) + entry.name + (entry.isDirectory() ? '/' : ''));
  return begin(word, names);
}

function folders(root: string): string[] {
  const entries = readdirSync(root, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory() && !isState(entry.name)).map(({ name }) => name);
}

/** Names with a line break cannot be told line by line. */
function begin(word: string, names: readonly string[]): string[] {
  const found = names.filter((name) => name.startsWith(word) && !/[\r\n]/.test(name));
  return [...new Set(found)].sort().slice(0, MOST);
}

function isState(name: string): boolean {
  return name.toLowerCase() === STATE_DIR;
}
