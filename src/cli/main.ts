/**
 * The command line. Each command is declared here and lives in a file of its own, which is loaded only when the command runs:
 * `--help` is quick. Faults of the user's are one line on standard error: `gos3rve: <thing, cause, way out>`.
 *
 * Exit codes: 0 done, 1 failure, 2 wrong usage.
 */
import { Command, CommanderError, Option } from 'commander';
import type { Flags } from '../base/config.js';
import { UsageError } from '../base/errors.js';
import { OPTIONS, OPTION_NAMES, flagsOf, showDefault, type Option as OptionRow } from '../base/options.js';
import { version } from './version.js';

function program(): Command {
  const top = new Command('gos3rve')
    .description('Serve a directory that already exists as S3: folders are buckets, files are objects.')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .exitOverride()
    .configureOutput({
      outputError: (text, write) =>
        write(
          `gos3rve: ${text
            .trim()
            .replace(/^error: /, '')
            .replace(/\s*\n\s*/g, ' ')}\n`,
        ),
    });
  const serve = top
    .command('serve')
    .description('serve a directory: top-level folders are buckets, the files in them objects')
    .argument('<dir>', 'a directory that exists')
    .action(async (dir: string, _options: unknown, command: Command) => {
      const { serve: run } = await import('./serve.js');
      await run(dir, givenFlags(command));
    });
  for (const name of OPTION_NAMES) serve.addOption(flagOption(name));
  serve.addHelpText(
    'after',
    '\nEach option can also be a variable (GOS3RVE_PORT for --port) or a key of\n' +
      '<dir>/.gos3rve/config.yaml (port: 9000). Flags go before variables, these before\n' +
      'the file.\n' +
      '\nExample:\n  gos3rve serve ~/media --port 9000',
  );
  return top;
}

/** Values are parsed by base/config.ts, once for all layers; commander only collects the text. */
function flagOption(name: (typeof OPTION_NAMES)[number]): Option {
  const row: OptionRow<unknown> = OPTIONS[name];
  const shown = showDefault(name);
  const notes = [shown === '' ? '' : `default ${shown}`, row.repeat ? 'repeatable' : ''].filter((note) => note !== '');
  const option = new Option(flagsOf(name), notes.length === 0 ? row.help : `${row.help} (${notes.join(', ')})`);
  if (row.repeat) option.argParser((value: string, earlier: string[] | undefined) => [...(earlier ?? []), value]);
  return option;
}

function givenFlags(command: Command): Flags {
  const values: Record<string, unknown> = command.opts();
  const given = OPTION_NAMES.filter((name) => command.getOptionValueSource(name) === 'cli');
  return Object.fromEntries(given.map((name) => [name, values[name]]));
}

function fail(error: unknown): never {
  if (error instanceof CommanderError) {
    // commander has printed its line; help and version end with 0.
    process.exit(error.exitCode === 0 ? 0 : 2);
  }
  if (error instanceof UsageError) {
    process.stderr.write(`gos3rve: ${error.message}\n`);
    process.exit(error.exitCode);
  }
  const debug = process.env['GOS3RVE_LOG_LEVEL'] === 'debug' || process.argv.join(' ').match(/--log-level[ =]debug/);
  const text = error instanceof Error ? (debug ? (error.stack ?? error.message) : error.message) : String(error);
  process.stderr.write(`gos3rve: ${text}\n`);
  process.exit(1);
}

try {
  await program().parseAsync(process.argv);
} catch (error) {
  fail(error);
}
