/** How the doctor's findings look to a person, and what only the command line knows: the server that runs, and whether there is a state yet. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Chalk } from 'chalk';
import type { Finding, Level } from '../jobs/doctor.js';
import { STATE_DIR } from '../fs/keypath.js';
import type { LocalStore } from '../store/local.js';
import { describe } from './failures.js';
import { count as counted, printable } from './output.js';
import type { Root } from './root.js';
import { readRecord } from './server-file.js';

const MARKS: Record<Level, { sign: string; word: string; color: 'green' | 'cyan' | 'yellow' | 'red' }> = {
  ok: { sign: '✓', word: 'ok', color: 'green' },
  note: { sign: 'i', word: 'note', color: 'cyan' },
  warning: { sign: '!', word: 'warning', color: 'yellow' },
  problem: { sign: '✗', word: 'problem', color: 'red' },
};

/** Longest example that a person is shown; programs get all of it. */
const EXAMPLE_LENGTH = 160;

/** Findings as they come, and their number. */
export class Report {
  readonly #found: Record<Level, number> = { ok: 0, note: 0, warning: 0, problem: 0 };

  constructor(
    private readonly terminal: boolean,
    private readonly print: (text: string, finding: Finding) => void,
  ) {}

  get problems(): number {
    return this.#found.problem;
  }

  tell(finding: Finding): void {
    this.#found[finding.level]++;
    this.print(paint(finding, this.terminal), finding);
  }

  /** The last line: what there is to do. */
  summary(): string {
    const { problem, warning, note } = this.#found;
    if (problem + warning + note === 0) return 'nothing to mend';
    return `found ${[counted(problem, 'problem'), counted(warning, 'warning'), counted(note, 'note')].join(', ')}`;
  }
}

/** Opens what is kept of the root, which the doctor does not begin: undefined if there is nothing yet, or if it cannot be opened. */
export async function openState(
  root: Root,
  open: () => Promise<LocalStore>,
  report: (finding: Finding) => void,
): Promise<LocalStore | undefined> {
  if (!existsSync(join(root.stateDir, 'journal')) && !existsSync(join(root.path, STATE_DIR))) {
    report({ check: 'state', level: 'ok', message: 'it was not served yet: nothing is kept about it' });
    return undefined;
  }
  try {
    return await open();
  } catch (error) {
    report({
      check: 'state',
      level: 'problem',
      message: `what is kept about it cannot be opened: ${describe(error) ?? String(error)}`,
      cure: 'run it as the user that serves the directory, with the same --state-dir',
    });
    return undefined;
  }
}

/** The finding as lines: mark and message, the first few examples, the cure. */
export function paint(finding: Finding, terminal: boolean): string {
  const chalk = new Chalk({ level: terminal ? 1 : 0 });
  const { sign, word, color } = MARKS[finding.level];
  const { count, examples = [], message, cure } = finding;
  const mark = chalk[color](terminal ? sign : `${word}:`);
  const lines = [`${mark} ${count === undefined ? '' : `${count.toLocaleString('en')} `}${printable(message)}`];
  for (const example of examples) lines.push(chalk.dim(`    ${shorten(printable(example))}`));
  const more = (count ?? 0) - examples.length;
  if (more > 0) lines.push(chalk.dim(`    and ${more.toLocaleString('en')} more`));
  if (cure !== undefined) lines.push(`    cure: ${printable(cure)}`);
  return lines.join('\n');
}

function shorten(text: string): string {
  if (text.length <= EXAMPLE_LENGTH) return text;
  const half = EXAMPLE_LENGTH / 2;
  return `${text.slice(0, half)} … ${text.slice(-half)}`;
}

export function lookForServer(stateDir: string, report: (finding: Finding) => void): void {
  const record = readRecord(join(stateDir, 'server.json'));
  if (!record) {
    report({ check: 'server', level: 'ok', message: 'no server runs' });
    return;
  }
  const silent = Date.now() - record.heartbeat > 60_000;
  report(
    silent
      ? {
          check: 'server',
          level: 'note',
          message: `a server on ${record.host} (process ${record.pid}) has not been heard of since ${new Date(record.heartbeat).toISOString()}`,
          cure: 'it was killed; the next serve takes over',
        }
      : { check: 'server', level: 'ok', message: `a server runs at ${record.endpoint} (process ${record.pid})` },
  );
}
