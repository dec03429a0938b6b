/**
 * `--exclude`: what is not served unless a client itself put it. Patterns are read as in a .gitignore at the top of the served directory (gitignore.ts),
 * but a bucket's folder counts as a top, too, a `#` in front is itself, a `./` is nothing, and there are no exceptions with `!`.
 *
 * - Without a slash: a name at any depth (`*.tmp`, `node_modules`).
 * - With a slash at the beginning or within: the path below the served directory (`photos/raw`), or below the bucket's folder (`raw/*.dng`) - only
 *   the former if it begins with a slash (`/photos/raw`). A `*` stops at slashes, `**` does not.
 * - With a slash at the end: directories only.
 * - What matches a directory hides all that is in it.
 */
import { parsePattern, type GitPattern } from './gitignore.js';

/** Another one once patterns are read otherwise: directories that an index has under the former reading are read again. */
export const READING = 'as git, by characters';

export class Excludes {
  private readonly matchesName: (name: string) => boolean;
  private readonly dirNames: readonly GitPattern[];
  private readonly paths: readonly GitPattern[];

  constructor(lines: readonly string[]) {
    const patterns = lines.flatMap((line) => (line.startsWith('!') ? [] : (parsePattern(withoutDot(line)) ?? [])));
    this.matchesName = nameTest(patterns.filter(({ isName, dirOnly }) => isName && !dirOnly));
    this.dirNames = patterns.filter(({ isName, dirOnly }) => isName && dirOnly);
    this.paths = patterns.filter(({ isName }) => !isName);
  }

  /** Whether the name alone says it, wherever it is. */
  name(name: string): boolean {
    return this.matchesName(name);
  }

  /**
   * Whether name or path say it; of the directories above, the caller knows.
   * @param path segments below the root.
   * @param depth how many of them lead to the bucket's folder.
   */
  entry(path: readonly string[], depth: number, isDir: boolean): boolean {
    const name = path.at(-1) ?? '';
    if (this.matchesName(name)) return true;
    if (isDir && this.dirNames.some(({ matches }) => matches(name))) return true;
    if (this.paths.length === 0) return false;
    const whole = path.join('/');
    const below = depth < path.length ? path.slice(depth).join('/') : undefined;
    return this.paths.some(
      ({ matches, fromTop, dirOnly }) =>
        (isDir || !dirOnly) && (matches(whole) || (!fromTop && below !== undefined && matches(below))),
    );
  }

  /** Whether an object's path, or any directory on it below the bucket's folder, says it. */
  object(path: readonly string[], depth: number): boolean {
    for (let end = depth + 1; end < path.length; end++) if (this.entry(path.slice(0, end), depth, true)) return true;
    return this.entry(path, depth, false);
  }
}

/** For who walks the tree from its root: whether what is at a path is hidden. As {@link Excludes.entry}. */
export function excludedBy(patterns: readonly string[]): (path: readonly string[], isDir: boolean) => boolean {
  const excludes = new Excludes(patterns);
  return (path, isDir) => excludes.entry(path, 1, isDir);
}

function withoutDot(line: string): string {
  return line.replace(/^(?:\.\/)+/, '');
}

/** One test for all: a set for plain names, the ends of names, a matcher for the rest. */
function nameTest(patterns: readonly GitPattern[]): (name: string) => boolean {
  const plain = new Set(patterns.flatMap(({ literal }) => literal ?? []));
  const suffixes = patterns.flatMap(({ suffix }) => suffix ?? []);
  const globs = patterns.filter(({ literal, suffix }) => literal === undefined && suffix === undefined);
  return (name) =>
    plain.has(name) || suffixes.some((suffix) => name.endsWith(suffix)) || globs.some(({ matches }) => matches(name));
}
