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

  // What `git check-ignore` says of a file of that name (a folder: with a slash behind it) beside a .gitignore of one line.
  it.each<[pattern: string, path: string, expected: boolean]>([
    ['copy (1).txt', 'copy (1).txt', true],
    ['copy (1).txt', 'copy 1.txt', false],
    ['Photo (copy)*', 'Photo (copy) 2.jpg', true],
    ['secret (old).key', 'secret (old).key', true],
    ['secret (old).key', 'secret old.key', false],
    ['(old) *', '(old) file', true],
    ['*(x)', 'y(x)', true],
    ['*(x)', 'xx', false],
    ['a+(b)', 'a+(b)', true],
    ['a+(b)', 'abb', false],
    ['?(a)', 'b(a)', true],
    ['?(a)', 'a', false],
    ['a@(b)', 'a@(b)', true],
    ['a@(b)', 'ab', false],
    ['!(a)', 'b', false],
    ['c++', 'c++', true],
    ['*.c++', 'a.c++', true],
    ['{a,b}', '{a,b}', true],
    ['{a,b}', 'a', false],
    ['*.{tmp,bak}', 'x.tmp', false],
    ['*.{tmp,bak}', 'x.{tmp,bak}', true],
    ['{1..3}', '2', false],
    ['a|b', 'a|b', true],
    ['*|b', 'a|b', true],
    ['a|b', 'a', false],
    ['*.a^', 'x.a^', true],
    ['^a', '^a', true],
    ['a$', 'a$', true],
    ['a.b', 'axb', false],
    ['$RECYCLE.BIN', '$RECYCLE.BIN', true],
    ['~$*', '~$doc.docx', true],
    ['[!0-9].log', 'a.log', true],
    ['[!0-9].log', '5.log', false],
    ['[^0-9].log', 'a.log', true],
    ['[^0-9].log', '5.log', false],
    ['foo[0-9]', 'foo5', true],
    ['foo[0-9]', 'foo[0-9]', false],
    ['[abc', '[abc', false],
    ['[abc', 'a', false],
    ['[]a]', 'a', true],
    ['[]a]', ']', true],
    ['[!]a]', 'a', false],
    ['[!]a]', 'b', true],
    ['[a-]', '-', true],
    ['[-a]', '-', true],
    ['[a\\]b]', ']', true],
    ['[\\\\]', '\\', true],
    ['a[[:digit:]]', 'a5', true],
    ['a[[:digit:]]', 'ad', false],
    ['[[:alpha:][:digit:]]', '7', true],
    ['[[:foo:]]', 'f', false],
    ['[[:upper:]]', 'A', true],
    ['[[:space:]]', ' ', true],
    ['[z-a]', 'm', false],
    ['[a-c-e]', '-', true],
    ['[a-c-e]', 'd', false],
    ['[[]', '[', true],
    ['[[:x]', 'x', true],
    ['x]', 'x]', true],
    ['[]', '[]', false],
    ['[!]', 'a', false],
    ['[*]', '*', true],
    ['[*]', 'a', false],
    ['[?]', '?', true],
    ['[A-Z]x', 'bx', false],
    ['[x/y]', 'x', true],
    ['?', 'a', true],
    ['a?c', 'abc', true],
    ['é*', 'éa', true],
    ['\\*x', '*x', true],
    ['\\*x', 'ax', false],
    ['\\!x', '!x', true],
    ['\\#x', '#x', true],
    ['\\a', 'a', true],
    ['a\\', 'a\\', false],
    ['a\\', 'a', false],
    ['a\\\\', 'a\\', true],
    ['!x', '!x', false],
    ['!x', 'x', false],
    ['#x', 'x', false],
    ['a ', 'a', true],
    ['a ', 'a ', false],
    ['a\\ ', 'a ', true],
    ['a\\  ', 'a ', true],
    ['a\\ ', 'a', false],
    [' a', ' a', true],
    [' a', 'a', false],
    ['a b', 'a b', true],
    ['a\t', 'a\t', true],
    ['a\t', 'a', false],
    ['a\\\\ ', 'a\\', true],
    ['*', '.hidden', true],
    ['*', 'a', true],
    ['.*', '.a', true],
    ['.*', 'a', false],
    ['a**b', 'axxb', true],
    ['**', 'x', true],
    ['**.log', 'a.log', true],
    ['***', 'x', true],
    ['x', 'X', false],
    ['*.log', '.log', true],
    ['*.log', 'a.log.1', false],
    ['*a*b*', 'xaxbx', true],
    ['*a*b*', 'bxa', false],
    ['a*b*c', 'aXbXc', true],
    ['a*b*c', 'aXbX', false],
    ['/a', 'a', true],
    ['/a', 'q/a', false],
    ['a/', 'a/', true],
    ['a/', 'a', false],
    ['a/', 'q/a/', true],
    ['raw/*.dng', 'raw/1.dng', true],
    ['raw/*.dng', 'raw/.dng', true],
    ['raw/*.dng', 'q/raw/1.dng', false],
    ['raw/*.dng', 'raw/x/1.dng', false],
    ['raw/**', 'raw/a/b', true],
    ['raw/**', 'raw/', false],
    ['**/x', 'x', true],
    ['**/x', 'a/b/x', true],
    ['a/**/b', 'a/b', true],
    ['a/**/b', 'a/c/d/b', true],
    ['a/**/b', 'a/c/d/bb', false],
    ['a/**b', 'a/xb', true],
    ['a/**b', 'a/x/b', false],
    ['a**/b', 'ax/b', true],
    ['a**/b', 'ax/y/b', true],
    ['a**/b', 'a/b', true],
    ['a**/b', 'ab', true],
    ['x*/**/b', 'xa/q/b', true],
    ['a/***/b', 'a/b', true],
    ['a/***/b', 'a/c/d/b', true],
    ['/**', 'q', true],
    ['/**', 'q/r', true],
    ['**/', 'q/', true],
    ['**/', 'q', false],
    ['/*', 'q', true],
    ['/*', 'q/r', true],
    ['raw/(a)/x', 'raw/(a)/x', true],
    ['raw/[1]', 'raw/1', true],
    ['raw/ [1]', 'raw/ 1', true],
    ['a//b', 'a/b', false],
    ['//a', 'a', false],
    ['a//', 'a/', false],
    ['a/.', 'a/', false],
    ['a[/]b', 'a/b', false],
    ['q/a[x/y]b', 'q/axb', true],
    ['q/a[!b]c', 'q/a/c', false],
    ['q/a?c', 'q/a/c', false],
    ['q/\\*', 'q/*', true],
    ['q/\\*', 'q/a', false],
    ['q\\/a', 'q/a', true],
    ['doc/fro/', 'doc/frotz/', false],
    ['doc/fro*/', 'doc/frotz/', true],
    ['doc/frotz/', 'doc/frotz/', true],
    ['a/b', 'a/b/c', true],
    ['a/*/c', 'a/b/c', true],
    ['a/*/c', 'a/c', false],
    ['a/*/c', 'a/.b/c', true],
    ['**/a/**', 'a/x', true],
    ['**/a/**', 'a/', false],
    ['**/a/**', 'q/a/r/s', true],
    ['**/a/**/b', 'x/a/b', true],
    ['a/**/', 'a/x/', true],
    ['a/**/', 'a/x', false],
    ['a/**/', 'a/', false],
    ['**/*.log', 'a/b/c.log', true],
    ['**/*.log', 'c.log', true],
    ['a/**/**/b', 'a/b', true],
    ['*/b', 'a/b', true],
    ['*/b', 'b', false],
    ['*/b', 'x/a/b', false],
    ['/', 'a', false],
    ['q/{a,b}', 'q/a', false],
    ['q/!(a)', 'q/b', false],
    ['q/[!a]', 'q/b', true],
    ['**a/b', 'xa/b', true],
    ['**a/b', 'x/a/b', false],
    ['**a/b', 'x/ya/b', false],
    ['a/b ', 'a/b', true],
    ['a/\\*\\*', 'a/**', true],
    ['a/\\*\\*', 'a/x', false],
    ['[[:x]', 'q/:', true],
  ])('are read as git reads them: %j %j %s', (pattern, path, expected) => {
    expect(hidden([pattern], path, 0)).toBe(expected);
  });

  it.each<[pattern: string, path: string, expected: boolean]>([
    ['?', 'é', true],
    ['?', '😀', true],
    ['??', 'é', false],
    ['a?c', 'a😀c', true],
    ['[é]', 'é', true],
    ['[😀]', '😀', true],
    ['q/?', 'q/😀', true],
    ['[α-ω]', 'λ', true],
    ['[!é]', 'é', false],
    ['*é', '😀é', true],
  ])('count characters, where git counts bytes: %j %j %s', (pattern, path, expected) => {
    expect(hidden([pattern], path, 0)).toBe(expected);
  });

  it.each<[pattern: string, path: string, expected: boolean]>([
    // lines of a file may be comments, settings are none
    ['#x', '#x', true],
    ['#*#', 'd/#draft#', true],
    ['./x', 'x', true],
    ['./raw/*', 'raw/1', true],
    ['', 'x', false],
  ])('differ from git’s where that would surprise: %j %j %s', (pattern, path, expected) => {
    expect(hidden([pattern], path, 0)).toBe(expected);
  });

  it('make no exceptions', () => {
    expect(hidden(['*.log', '!keep.log'], 'b/keep.log')).toBe(true);
    expect(hidden(['!keep.log'], 'b/!keep.log')).toBe(false);
  });

  it('end in time, whatever a client calls its files', () => {
    const name = 'a'.repeat(250);
    const path = `${'a/'.repeat(400)}${name}`;
    const start = performance.now();
    expect(hidden([`${'*a'.repeat(20)}b`, `${'**/*a*/'.repeat(10)}b`], path)).toBe(false);
    expect(performance.now() - start).toBeLessThan(10_000);
  });

  it('count from the folder of an alias, too', () => {
    expect(hidden(['raw/*'], 'media/films/raw/1', 2)).toBe(true);
    expect(hidden(['media/films/raw/*'], 'media/films/raw/1', 2)).toBe(true);
    expect(hidden(['films/raw/*'], 'media/films/raw/1', 2)).toBe(false);
    expect(hidden(['raw/*'], 'raw/1', 0)).toBe(true);
  });
});
