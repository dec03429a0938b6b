/** How the doctor's findings look to a person, and what only the command line knows: the server that runs. */
import { join } from 'node:path';
import { Chalk } from 'chalk';
import type { Finding, Level } from '../jobs/doctor.js';
import { printable } from './output.js';
import { readRecord } from './server-file.js';

const MARKS: Record<Level, { sign: string; word: string; color: 'green' | 'cyan' | 'yellow' | 'red' }> = {
  ok: { sign: '✓', word: 'ok', color: 'green' },
  note: { sign: 'i', word: 'note', color: 'cyan' },
  warning: { sign: '!', word: 'warning', color: 'yellow' },
  problem: { sign: '✗', word: 'problem', color: 'red' },
};

/** The finding as lines: mark and message, the first few examples, the cure. */
export function paint(finding: Finding, terminal: boolean): string {
  const chalk = new Chalk({ level: terminal ? 1 : 0 });
  const { sign, word, color } = MARKS[finding.level];
  const { count, examples = [], message, cure } = finding;
  const mark = chalk[color](terminal ? sign : `${word}:`);
  const lines = [`${mark} ${count === undefined ? '' : `${count.toLocaleString('en')} `}${printable(message)}`];
  for (const example of examples) lines.push(chalk.dim(`    ${printable(example)}`));
  const more = (count ?? 0) - examples.length;
  if (more > 0) lines.push(chalk.dim(`    and ${more.toLocaleString('en')} more`));
  if (cure !== undefined) lines.push(`    cure: ${printable(cure)}`);
  return lines.join('\n');
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
