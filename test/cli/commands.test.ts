/** Every command has a manual page, a section of the README, and documented options and exit codes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { flagName, type Option } from '../../src/base/options.js';
import { COMMANDS } from '../../src/cli/commands/table.js';

const HOME = join(import.meta.dirname, '../..');
const read = (file: string): string => readFileSync(join(HOME, file), 'utf8');
const shown = COMMANDS.filter(({ hidden }) => hidden !== true);

/** The flags as manual pages spell them: `.It Fl r , Fl Fl recursive`. */
function documented(page: string): string[] {
  return [...page.matchAll(/^\.It (?:Fl (\w) , )?Fl Fl (\S+)/gm)].map(([, short, long]) =>
    short === undefined ? `--${long}` : `-${short}, --${long}`,
  );
}

function flags(options: Readonly<Record<string, Option<unknown>>>): string[] {
  return Object.entries(options).map(([name, { short, negated }]) => {
    const long = `--${negated ? 'no-' : ''}${flagName(name)}`;
    return short === undefined ? long : `-${short}, ${long}`;
  });
}

describe('the table of commands', () => {
  it('names each command once', () => {
    expect(new Set(COMMANDS.map(({ name }) => name)).size).toBe(COMMANDS.length);
  });

  it('declares a --no-x as x, negated: commander would read noX as the opposite of x and never hand it on', () => {
    for (const { name, options } of COMMANDS)
      expect(
        Object.keys(options).filter((key) => /^no[A-Z]/.test(key)),
        name,
      ).toEqual([]);
  });

  it('gives no option letter to two options of a command', () => {
    for (const { name, options } of COMMANDS) {
      const letters = Object.values(options).flatMap(({ short }) => (short === undefined ? [] : [short]));
      expect(new Set(letters).size, name).toBe(letters.length);
    }
  });
});

describe.each(shown)('gos3rve $name', ({ name, options, exits, summary, examples }) => {
  const page = `man/gos3rve-${name}.1`;

  it('has a manual page that npm installs and that the others refer to', () => {
    expect((JSON.parse(read('package.json')) as { man: string[] }).man).toContain(page);
    expect(read('man/gos3rve.1')).toMatch(new RegExp(`^\\.It Cm ${name}\\b`, 'm'));
    expect(read(page)).toMatch(new RegExp(`^\\.Nm gos3rve-${name}$`, 'm'));
  });

  it('documents every option, and no other', () => {
    expect(documented(read(page)).sort()).toEqual(flags(options).sort());
  });

  it('documents its exit codes', () => {
    const section = /^\.Sh EXIT STATUS\n([\s\S]*?)(?=^\.Sh )/m.exec(read(page))?.[1] ?? '';
    for (const code of [0, 1, 2, ...Object.keys(exits ?? {})])
      expect(section, `exit code ${code}`).toMatch(new RegExp(`(^|\\s)${code}\\b`, 'm'));
  });

  it('has an example, and a section of the README', () => {
    expect(examples.length).toBeGreaterThan(0);
    for (const { line } of examples) expect(line).toContain(`gos3rve ${name}`);
    if (name !== 'serve') expect(read('README.md')).toMatch(new RegExp(`^### gos3rve ${name}$`, 'm'));
  });

  it('says in a phrase what it does', () => {
    expect(summary).toMatch(/^[a-z].*[^.]$/);
  });
});
