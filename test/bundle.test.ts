/** What `npm run build` bundles: our own code, and nothing that npm installs beside it. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';

it('leaves every dependency out of the bundle', () => {
  const text = readFileSync(path.resolve(import.meta.dirname, '../package.json'), 'utf8');
  const { scripts, dependencies } = JSON.parse(text) as Record<'scripts' | 'dependencies', Record<string, string>>;
  const external = [...(scripts.bundle ?? '').matchAll(/ -e (\S+)/g)].map(([, name]) => name);
  expect(external).toEqual(Object.keys(dependencies));
});
