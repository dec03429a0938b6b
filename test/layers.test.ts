/** The house rule of the design: a layer imports only those below it. Read from the sources, type imports included. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

/** Top to bottom. */
const LAYERS = [
  'bin',
  'src/index.ts',
  'src/cli',
  'src/http',
  'src/ops',
  'src/jobs',
  'src/store',
  'src/catalog',
  'src/auth',
  'src/wire',
  'src/fs',
  'src/base',
];
const ROOT = path.resolve(import.meta.dirname, '..');

interface Source {
  /** Path relative to the project, with `/`. */
  file: string;
  imports: string[];
  tree: ts.SourceFile;
}

function load(): Map<string, Source> {
  const found = new Map<string, Source>();
  for (const folder of ['src', 'bin']) {
    for (const name of readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })) {
      if (!/\.(ts|js)$/.test(name)) continue;
      const file = path.posix.join(folder, name.split(path.sep).join('/'));
      const text = readFileSync(path.join(ROOT, file), 'utf8');
      const imports = ts
        .preProcessFile(text, true, true)
        .importedFiles.map((entry) => entry.fileName)
        .filter((target) => target.startsWith('.'))
        .map((target) => sourceOf(path.posix.join(path.posix.dirname(file), target)));
      found.set(file, { file, imports, tree: ts.createSourceFile(file, text, ts.ScriptTarget.ES2023, true) });
    }
  }
  return found;
}

/** `dist/x.js` and `src/x.js` are both made of `src/x.ts`, and so is what is bundled of the commands. */
function sourceOf(target: string): string {
  return target
    .replace(/^dist\/(bundle\/)?/, (_, bundled) => (bundled === undefined ? 'src/' : 'src/cli/'))
    .replace(/\.js$/, '.ts');
}

function layerOf(file: string): number {
  return LAYERS.findIndex((layer) => file === layer || file.startsWith(`${layer}/`));
}

function visit(node: ts.Node, see: (node: ts.Node) => void): void {
  see(node);
  ts.forEachChild(node, (child) => visit(child, see));
}

/** The first import cycle as a list of files, or undefined. */
function findCycle(sources: Map<string, Source>): string[] | undefined {
  const done = new Set<string>();
  const walk = (file: string, trail: string[]): string[] | undefined => {
    const at = trail.indexOf(file);
    if (at >= 0) return [...trail.slice(at), file];
    if (done.has(file)) return undefined;
    for (const next of sources.get(file)?.imports ?? []) {
      const cycle = walk(next, [...trail, file]);
      if (cycle) return cycle;
    }
    done.add(file);
    return undefined;
  };
  for (const file of sources.keys()) {
    const cycle = walk(file, []);
    if (cycle) return cycle;
  }
  return undefined;
}

describe('layers', () => {
  const sources = load();

  it('finds the sources, every one of them in a known layer', () => {
    expect(sources.size).toBeGreaterThan(10);
    expect([...sources.keys()].filter((file) => layerOf(file) < 0)).toEqual([]);
  });

  it('imports only downwards', () => {
    const wrong = [...sources.values()].flatMap(({ file, imports }) =>
      imports.filter((target) => layerOf(target) < layerOf(file)).map((target) => `${file} -> ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  it('imports only files that exist', () => {
    const lost = [...sources.values()].flatMap(({ file, imports }) =>
      imports.filter((target) => !sources.has(target)).map((target) => `${file} -> ${target}`),
    );
    expect(lost).toEqual([]);
  });

  it('has no import cycles', () => {
    expect(findCycle(sources)?.join(' -> ')).toBeUndefined();
  });

  it('calls process.exit only in src/cli', () => {
    const wrong: string[] = [];
    for (const { file, tree } of sources.values()) {
      if (file.startsWith('src/cli/')) continue;
      visit(tree, (node) => {
        if (ts.isPropertyAccessExpression(node) && node.getText(tree) === 'process.exit') wrong.push(file);
      });
    }
    expect(wrong).toEqual([]);
  });

  it('has one barrel, src/index.ts', () => {
    const barrels = [...sources.values()].filter(({ file, tree }) => {
      if (file === 'src/index.ts') return false;
      const passedOn = tree.statements.filter((s) => ts.isExportDeclaration(s) && s.moduleSpecifier !== undefined);
      const star = passedOn.some((s) => ts.isExportDeclaration(s) && s.exportClause === undefined);
      return star || /\/index\.ts$/.test(file) || (passedOn.length > 0 && passedOn.length === tree.statements.length);
    });
    expect(barrels.map(({ file }) => file)).toEqual([]);
  });

  it('keeps the store and what lies below it free of HTTP', () => {
    const store = LAYERS.indexOf('src/store');
    const wrong = [...sources.values()].flatMap(({ file, tree }) =>
      layerOf(file) < store
        ? []
        : ts
            .preProcessFile(tree.text, true, true)
            .importedFiles.filter((entry) => /^node:(http|https|http2)$/.test(entry.fileName))
            .map((entry) => `${file} -> ${entry.fileName}`),
    );
    expect(wrong).toEqual([]);
  });
});
