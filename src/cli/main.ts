/**
 * The command line, made of the table of commands: help, parsing, the end. What a command needs is loaded only when it runs: `--help` is
 * quick. Faults of the user's are one line on standard error: `gos3rve: <thing, cause, way out>`.
 *
 * Exit codes: 0 done, 1 failure, 2 wrong usage, others as the command says; 128 + n ended by signal n.
 */
import { Command as Program, CommanderError, Option as ProgramOption } from 'commander';
import { flagsOf, showDefault, type Option } from '../base/options.js';
import { RunningCall } from './call.js';
import type { Command, Options } from './commands/command.js';
import { COMMANDS } from './commands/table.js';
import { describe, exitCodeOf } from './failures.js';
import { version } from './version.js';

function program(): Program {
  const top = new Program('gos3rve')
    .description('Serve a directory that already exists as S3: folders are buckets, files are objects.')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(`gos3rve: ${misused(text, process.argv[2])}\n`) });
  for (const command of COMMANDS) declare(top, command);
  top.addHelpText(
    'after',
    '\nThe directory of all but serve: --root, GOS3RVE_ROOT, the one that the working\ndirectory is in, or the only one that you have ever served.',
  );
  return top;
}

function declare(top: Program, command: Command): void {
  const declared = top.command(command.name, command.hidden ? { hidden: true } : {}).description(command.summary);
  for (const { name, help, optional, variadic } of command.arguments) {
    const written = variadic ? `${name}...` : name;
    declared.argument(optional ? `[${written}]` : `<${written}>`, help);
  }
  for (const [name, option] of Object.entries(command.options)) declared.addOption(programOption(name, option));
  if (command.name === 'serve')
    declared.addHelpText(
      'after',
      '\nEach option can also be a variable (GOS3RVE_PORT for --port) or a key of\n' +
        '<dir>/.gos3rve/config.yaml (port: 9000). Flags go before variables, these before\n' +
        'the file.',
    );
  const examples = command.examples.map(({ line }) => `  ${line}`);
  if (examples.length > 0)
    declared.addHelpText('after', `\n${examples.length > 1 ? 'Examples' : 'Example'}:\n${examples.join('\n')}`);
  declared.action(() => perform(command, declared));
}

/** Values are parsed by their rows, once for all layers; commander only collects the text. */
function programOption(name: string, row: Option<unknown>): ProgramOption {
  const shown = showDefault(row);
  const notes = [shown === '' ? '' : `default ${shown}`, row.repeat ? 'repeatable' : ''].filter((note) => note !== '');
  const option = new ProgramOption(
    flagsOf(name, row),
    notes.length === 0 ? row.help : `${row.help} (${notes.join(', ')})`,
  );
  if (row.repeat) option.argParser((value: string, earlier: string[] | undefined) => [...(earlier ?? []), value]);
  return option;
}

function givenFlags(declared: Options, parsed: Program): RunningCall['flags'] {
  const values: Record<string, string | string[] | boolean> = parsed.opts();
  const given = Object.entries(values).filter(
    ([name]) => name in declared && parsed.getOptionValueSource(name) === 'cli',
  );
  return Object.fromEntries(given);
}

async function perform(command: Command, parsed: Program): Promise<void> {
  const call = new RunningCall(parsed.args, givenFlags(command.options, parsed), command.options);
  if (command.lives) {
    await command.run(call);
    return;
  }
  call.heedSignals();
  const code = await ending(call, command);
  await call.out.flush();
  process.exit(code);
}

/** Runs the command to its end, whatever that is, and says what there is to be said. */
async function ending(call: RunningCall, command: Command): Promise<number> {
  try {
    try {
      const code = await command.run(call);
      call.signal.throwIfAborted();
      return code ?? 0;
    } finally {
      await call.close();
    }
  } catch (thrown) {
    // What was under way when the signal came fails in its own ways; only the signal counts.
    const error: unknown = call.signal.aborted ? call.signal.reason : thrown;
    const text = describe(error);
    if (text !== undefined) call.out.error(text);
    if (process.env['GOS3RVE_LOG_LEVEL'] === 'debug' && error instanceof Error)
      process.stderr.write(`${error.stack}\n`);
    return exitCodeOf(error);
  }
}

/** What commander says of wrong usage, with the way out. @param name the command that was asked for. */
function misused(text: string, name: string | undefined): string {
  const command = COMMANDS.find((known) => known.name === name);
  const help = command ? `gos3rve ${command.name} --help` : 'gos3rve --help';
  return `${oneLine(text.replace(/^error: /, '')).replace(/\.$/, '')}; see ${help}`;
}

function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, ' ');
}

function fail(error: unknown): never {
  if (error instanceof CommanderError) {
    // commander has printed its line; help and version end with 0.
    process.exit(error.exitCode === 0 ? 0 : 2);
  }
  const debug = process.env['GOS3RVE_LOG_LEVEL'] === 'debug' || /--log-level[ =]debug/.test(process.argv.join(' '));
  const text = debug && error instanceof Error && exitCodeOf(error) === 1 ? error.stack : describe(error);
  if (text !== undefined) process.stderr.write(`gos3rve: ${text}\n`);
  process.exit(exitCodeOf(error));
}

try {
  await program().parseAsync(process.argv);
} catch (error) {
  fail(error);
}
