/** README and manual name every option of serve, and only those. `UPDATE_DOCS=1` writes the README's table. */
import { readFile, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { describeOptions } from '../src/base/options.js';

const README = new URL('../README.md', import.meta.url);
const MANUAL = new URL('../man/gos3rve-serve.1', import.meta.url);
const SECTION = /(<!-- options -->\n)([\s\S]*?)(<!-- \/options -->)/;

/** Markdown, a line per option. */
function optionsMarkdown(): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  const rows = describeOptions().map(
    (option) =>
      `| \`${cell(option.flags)}\` | ${option.default === '' ? '' : `\`${option.default}\``} | ${cell(option.help)} |`,
  );
  return ['| Option | Default | |', '| --- | --- | --- |', ...rows, ''].join('\n');
}

describe('documentation', () => {
  it('README lists the options as the table has them', async () => {
    const text = await readFile(README, 'utf8');
    expect(text).toMatch(SECTION);
    if (process.env.UPDATE_DOCS === '1') {
      await writeFile(
        README,
        text.replace(SECTION, (_, open: string, __, close: string) => open + optionsMarkdown() + close),
      );
      return;
    }
    expect(SECTION.exec(text)?.[2]).toBe(optionsMarkdown());
  });

  it('the manual of serve has every option and no other', async () => {
    const text = await readFile(MANUAL, 'utf8');
    const listed = [...text.matchAll(/^\.It Fl Fl (\S+)/gm)].map((match) => `--${match[1]}`);
    expect(listed.sort()).toEqual(
      describeOptions()
        .map((option) => option.flags.split(' ')[0])
        .sort(),
    );
  });

  it('names neither a path of a machine nor a place that it would need', async () => {
    for (const file of [README, MANUAL]) expect(await readFile(file, 'utf8')).not.toMatch(/\/work\/|\/root\/|\/home\//);
  });
});
