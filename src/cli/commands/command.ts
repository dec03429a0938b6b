/**
 * The shape of a command: plain data that help, completion and the tests read, and one function that does the work.
 *
 * All declarations are loaded at every start, so a command file imports nothing at its head but this file, option builders, errors and types;
 * what the work needs (the store above all) comes through the {@link Call} or by `await import()` inside `run`.
 */
import { maybe, flag, type Option } from '../../base/options.js';
import { text } from '../../base/values.js';
import type { Root } from '../root.js';
import type { Output } from '../output.js';
import type { LocalStore, StoreOptions } from '../../store/open.js';

/** Rows as in base/options.ts: the name `olderThan` is the flag `--older-than`. */
export type Options = Readonly<Record<string, Option<unknown>>>;
export type Values<O extends Options> = { readonly [K in keyof O]: O[K]['default'] };

export interface Argument {
  /** As help shows it: `BUCKET/KEY`. */
  name: string;
  help: string;
  optional?: boolean;
  /** The last one may be given several times. */
  variadic?: boolean;
  /** What the shell offers: names in the store, files of this machine, either, directories, or one of these words. */
  complete: 'object' | 'file' | 'object-or-file' | 'directory' | readonly string[];
}

export interface Example {
  /** What it does, a phrase without a full stop. */
  what: string;
  line: string;
}

export interface CommandOf<O extends Options> {
  name: string;
  /** A phrase in lower case, without a full stop. */
  summary: string;
  arguments: readonly Argument[];
  options: O;
  examples: readonly Example[];
  /** Exit codes with a meaning of their own; 0 done, 1 failed, 2 wrong usage are those of every command. */
  exits?: Readonly<Record<number, string>>;
  /** Ended by its own handling of signals, not when `run` returns: serve. */
  lives?: boolean;
  /** Left out of help and completion. */
  hidden?: boolean;
  /** Resolves to the exit code; 0 if to nothing. Throws UsageError or S3Error: one line on standard error, and the exit code 1 or the error's own. */
  run(call: Call<O>): Promise<number | void>;
}
export type Command = CommandOf<Options>;

/** What a command is given. */
export interface Call<O extends Options = Options> {
  /** Arguments as written. An optional one that was not given is not there. */
  args: readonly string[];
  /** Values of all options: parsed, or the default. @throws UsageError at the first access if one is wrong. */
  readonly options: Values<O>;
  /** Options as written, only those given. */
  flags: Readonly<Record<string, string | string[] | boolean>>;
  out: Output;
  /** Aborted by SIGINT or SIGTERM, and when nobody reads standard output any more. */
  readonly signal: AbortSignal;
  /**
   * The root that is meant: `named` (an argument), --root, GOS3RVE_ROOT, the one above a path of `near` or the working directory,
   * or the only one ever served.
   * @throws UsageError telling what was tried.
   */
  root(how?: { named?: string | undefined; near?: readonly string[] | undefined }): Promise<Root>;
  /** Opens the store of a root with the settings that `serve` has there; closed when the command ends. */
  store(root: Root, options?: Partial<StoreOptions>): Promise<LocalStore>;
}

/** Declares a command; only here the types of its options are known. */
export function command<O extends Options>(declared: CommandOf<O>): Command {
  return declared;
}

/** For every command that works on a root. */
export const ROOT_OPTIONS = {
  root: maybe({ value: 'dir', parse: text, help: 'the directory that is served (GOS3RVE_ROOT works too)' }),
  stateDir: maybe({ value: 'dir', parse: text, help: 'where its .gos3rve is kept, if elsewhere' }),
};

/** For commands whose result a program may want to read. */
export const JSON_OPTION = { json: flag('print JSON, one value a line') };

/** For commands that change something. */
export const DRY_RUN_OPTION = { dryRun: flag('only tell what would be done') };
