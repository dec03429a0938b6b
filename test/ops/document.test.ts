import { readFile, writeFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { operationsMarkdown } from '../../src/ops/document.js';

const README = new URL('../../README.md', import.meta.url);
const SECTION = /(<!-- operations -->\n)([\s\S]*?)(\n<!-- \/operations -->)/;

/** `UPDATE_DOCS=1 npx vitest run test/ops/document.test.ts` writes the section. */
it('README lists the operations as the table has them', async () => {
  const text = await readFile(README, 'utf8');
  expect(text, 'README.md has lost its markers <!-- operations --> and <!-- /operations -->').toMatch(SECTION);
  if (process.env.UPDATE_DOCS === '1') {
    await writeFile(
      README,
      text.replace(SECTION, (_, open: string, __, close: string) => open + operationsMarkdown() + close),
    );
    return;
  }
  expect(SECTION.exec(text)?.[2]?.trim()).toBe(operationsMarkdown());
});
