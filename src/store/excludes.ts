/**
 * `--exclude`: what is not served unless a client itself put it. Patterns are read as in a .gitignore at the top of the served directory, with one
 * addition: a bucket's folder counts as a top, too.
 *
 * - Without a slash: a name at any depth (`*.tmp`, `node_modules`).
 * - With a slash at the beginning or within: the path below the served directory (`photos/raw`), or below the bucket's folder (`raw/*.dng`) - only
 *   the former if it begins with a slash (`/photos/raw`). A `*` stops at slashes, `**` does not.
 * - With a slash at the end: directories only.
 * - What matches a directory hides all that is in it.
 */
import picomatch from 'picomatch';

type Test = (text: string) => boolean;

interface PathRule {
  matches: Test;
  /** Not below a bucket's folder. */
  fromRoot: boolean;
  dirOnly: boolean;
}

const OPTIONS = { dot: true, nonegate: true };

export class Excludes {
  private readonly matchesName: Test;
  private readonly paths: readonly PathRule[];

  constructor(patterns: readonly string[]) {
    const isName = (pattern: string): boolean => !pattern.includes('/');
    this.matchesName = nameTest(patterns.filter(isName));
    this.paths = patterns.filter((pattern) => !isName(pattern)).flatMap(pathRule);
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
    if (this.matchesName(path.at(-1) ?? '')) return true;
    if (this.paths.length === 0) return false;
    const whole = path.join('/');
    const below = depth < path.length ? path.slice(depth).join('/') : undefined;
    return this.paths.some(
      ({ matches, fromRoot, dirOnly }) =>
        (isDir || !dirOnly) && (matches(whole) || (!fromRoot && below !== undefined && matches(below))),
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

/** One test for all: a set for plain names, a matcher for the rest. */
function nameTest(patterns: readonly string[]): Test {
  if (patterns.length === 0) return () => false;
  const plain = new Set(patterns.filter((pattern) => !/[*?[\]{}()!+@\\]/.test(pattern)));
  const globs = patterns.filter((pattern) => !plain.has(pattern));
  const matches = globs.length === 0 ? () => false : picomatch(globs, OPTIONS);
  return (name) => plain.has(name) || matches(name);
}

function pathRule(pattern: string): PathRule[] {
  const dirOnly = pattern.endsWith('/');
  const body = pattern.replace(/\/+$/, '');
  const fromRoot = body.startsWith('/');
  const path = body.replace(/^\/+/, '').replace(/^(?:\.\/)+/, '');
  if (path === '') return [];
  // `cache/`: a name, but of directories
  const glob = path.includes('/') || fromRoot ? path : `**/${path}`;
  return [{ matches: picomatch(glob, OPTIONS), fromRoot, dirOnly }];
}
