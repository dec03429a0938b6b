import { describe, expect, it } from 'vitest';
import { Excludes } from '../../src/store/excludes.js';

/** Whether a path below the root, in the bucket of its first segment, is left out. A path that ends in `/` is a directory. */
function hidden(patterns: string[], path: string, depth = 1): boolean {
  const excludes = new Excludes(patterns);
  const segments = path.replace(/\/$/, '').split('/');
  return path.endsWith('/') ? excludes.entry(segments, depth, true) : excludes.object(segments, depth);
}

describe('patterns of --exclude', () => {
  it.each<[pattern: string, path: string, expected: boolean]>([
    ['*.tmp', 'b/a.tmp', true],
    ['*.tmp', 'b/deep/a.tmp', true],
    ['*.tmp', 'b/deep.tmp/a', true],
    ['*.tmp', 'b/a.tmpx', false],
    ['node_modules', 'b/x/node_modules/y', true],
    ['.DS_Store', 'b/.DS_Store', true],
    // below the served directory, or below the bucket's folder
    ['b/raw', 'b/raw', true],
    ['b/raw', 'b/raw/x/y', true],
    ['raw/*.dng', 'b/raw/1.dng', true],
    ['raw/*.dng', 'b/x/raw/1.dng', false],
    ['raw/*.dng', 'b/raw/x/1.dng', false],
    ['raw/**/*.dng', 'b/raw/x/1.dng', true],
    ['**/raw/*.dng', 'b/x/raw/1.dng', true],
    ['x/.hidden/*', 'b/x/.hidden/y', true],
    ['x/*', 'b/x/.y', true],
    // a slash in front: below the served directory only
    ['/b/raw', 'b/raw/1', true],
    ['/raw/*', 'b/raw/1', false],
    ['/secret', 'secret/', true],
    ['/secret', 'b/secret', false],
    // a slash behind: directories only
    ['cache/', 'b/x/cache/y', true],
    ['cache/', 'b/x/cache', false],
    ['b/cache/', 'b/cache/y', true],
    ['b/cache/', 'b/cache', false],
    ['cache/', 'cache/', true],
    // git's `!` has no meaning here
    ['!x', 'b/y', false],
    ['/', 'b/y', false],
  ])('%s: %s %s', (pattern, path, expected) => {
    expect(hidden([pattern], path)).toBe(expected);
  });

  it('count from the folder of an alias, too', () => {
    expect(hidden(['raw/*'], 'media/films/raw/1', 2)).toBe(true);
    expect(hidden(['media/films/raw/*'], 'media/films/raw/1', 2)).toBe(true);
    expect(hidden(['films/raw/*'], 'media/films/raw/1', 2)).toBe(false);
    expect(hidden(['raw/*'], 'raw/1', 0)).toBe(true);
  });
});
