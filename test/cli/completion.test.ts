/** The printed scripts in real shells. bash always; zsh and fish where they are installed. */
import { execFile, spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BINARY, cleanEnv } from '../e2e/harness.js';

let base: string;
let env: NodeJS.ProcessEnv;
const at = (...names: string[]): string => path.join(base, ...names);
const have = (program: string): boolean => spawnSync(program, ['--version']).status === 0;

beforeAll(async () => {
  base = mkdtempSync(path.join(os.tmpdir(), 'gos3rve-shell-'));
  for (const dir of ['root/.gos3rve/journal', 'root/photos/2024 summer', 'root/archive', 'bin', 'here/folder'])
    mkdirSync(at(dir), { recursive: true });
  for (const file of [
    'root/photos/2024 summer/one cat.jpg',
    'root/photos/a:b.txt',
    "root/photos/it's.txt",
    'here/file',
  ])
    writeFileSync(at(file), '');
  writeFileSync(at('bin/gos3rve'), `#!/bin/sh\nexec '${process.execPath}' '${BINARY}' "$@"\n`);
  chmodSync(at('bin/gos3rve'), 0o755);
  const home = { HOME: at('here'), GOS3RVE_ROOT: at('root'), XDG_CONFIG_HOME: at('here'), XDG_DATA_HOME: at('here') };
  env = { ...cleanEnv(), ...home, PATH: `${at('bin')}:${process.env['PATH']}` };
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { stdout } = await promisify(execFile)(process.execPath, [BINARY, 'completion', shell]);
    writeFileSync(at(shell), stdout);
  }
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

/** What is typed before a tab, and what the line is then. */
const LINES: [typed: string, line: string][] = [
  ['gos3rve pre', 'gos3rve presign '],
  ['gos3rve ls --rec', 'gos3rve ls --recursive '],
  ['gos3rve serve --hash e', 'gos3rve serve --hash eager '],
  ['gos3rve serve --hash=l', 'gos3rve serve --hash=lazy '],
  ['gos3rve serve fo', 'gos3rve serve folder'],
  ['gos3rve ls ph', 'gos3rve ls photos/'],
  ['gos3rve ls s3://ph', 'gos3rve ls s3://photos/'],
  ['gos3rve ls photos/2', 'gos3rve ls photos/2024\\ summer/'],
  ['gos3rve stat photos/2024\\ summer/o', 'gos3rve stat photos/2024\\ summer/one\\ cat.jpg '],
  ['gos3rve stat "photos/2024 summer/o', 'gos3rve stat "photos/2024 summer/one cat.jpg'],
  ['gos3rve stat photos/a:', 'gos3rve stat photos/a:b.txt '],
  ['gos3rve stat photos/i', "gos3rve stat photos/it\\'s.txt "],
  ['gos3rve cp ./fi', 'gos3rve cp ./file '],
  ['gos3rve ls --root=../root ar', 'gos3rve ls --root=../root archive/'],
];

function type(shell: string): Promise<string> {
  const helper = path.join(import.meta.dirname, 'type_in_shell.py');
  const child = spawn('python3', [helper, shell, at(shell)], { cwd: at('here'), env });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  child.stdin.end(LINES.map((line) => line.join('\t')).join('\n'));
  return new Promise((resolve) => child.once('close', () => resolve(said)));
}

describe('completion', () => {
  for (const shell of ['bash', 'zsh'])
    it.skipIf(!have('python3') || !have(shell))(
      `completes commands, options, values, names and paths in ${shell} (skipped without it)`,
      async () => {
        expect(await type(shell)).toBe('');
      },
      200_000,
    );

  it.skipIf(!have('fish'))(
    'offers the same in fish (skipped without it)',
    async () => {
      const cases = LINES.map(([typed, line]) => {
        // fish tells words, not lines
        const word = line.trimEnd().slice(typed.startsWith('gos3rve ls --root') ? 28 : typed.lastIndexOf(' ') + 1);
        return { typed, word };
      });
      const script = `source ${at('fish')}\nwhile read -l line\n  complete -C $line\n  echo ---\nend\n`;
      writeFileSync(at('all.fish'), script);
      const child = spawn('fish', ['--no-config', at('all.fish')], { cwd: at('here'), env });
      let said = '';
      child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
      child.stdin.end(cases.map(({ typed }) => `${typed}\n`).join(''));
      await new Promise((resolve) => child.once('close', resolve));
      const offered = said.split('---\n').map((block) => block.split('\n').map((one) => one.split('\t')[0] ?? ''));
      for (const [n, { word }] of cases.entries()) {
        const plain = word.replace(/^"/, '').replaceAll('\\', '');
        expect(offered[n]?.some((one) => one.replace(/\/$/, '').endsWith(plain.replace(/\/$/, '')))).toBe(true);
      }
    },
    120_000,
  );
});
