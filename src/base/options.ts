/**
 * One table of options. The command line's flags, the variables of the environment, the keys of `config.yaml` and the manual's
 * list are all derived from its rows: `minFree` is the flag `--min-free`, the variable `GOS3RVE_MIN_FREE` and the key `minFree`
 * (or `min-free`).
 */
import { availableParallelism } from 'node:os';
import {
  choice,
  domain,
  keyId,
  keyPart,
  octal,
  pair,
  port,
  processes,
  region,
  repeatedAlias,
  requests,
  share,
  size,
  duration,
  text,
  url,
  yesNo,
} from './values.js';

export interface Option<T> {
  /** Placeholder of the value in the help text; absent for a switch. */
  value?: string;
  /** Turns one value as written into T; throws an Error whose message says what would be right. */
  parse: (text: string) => T;
  default: T;
  /** The default as a person writes it, where that is not `String(default)`. */
  shown?: string;
  help: string;
  /** May be given several times; `parse` gets each. A variable of the environment separates by commas. */
  repeat?: boolean;
  /** What is wrong with all the values together, if anything. */
  repeated?: (values: readonly unknown[]) => string | undefined;
  /** A switch that is on by default: the flag is `--no-<name>`. */
  negated?: boolean;
  /** Never shown in logs or listings. */
  secret?: boolean;
  /** One letter: `r` is the flag `-r`. */
  short?: string;
}

/** Files that operating systems and NAS boxes leave behind; hidden unless a client itself put them. */
export const DEFAULT_EXCLUDES: readonly string[] = [
  '.DS_Store',
  '._*',
  'Thumbs.db',
  'desktop.ini',
  '@eaDir',
  '#recycle',
  '.Spotlight-V100',
  '.Trashes',
  '.fseventsd',
  'lost+found',
  '$RECYCLE.BIN',
  'System Volume Information',
];

const MIB = 1024 * 1024;
/** Unless told otherwise. */
const MOST_WORKERS = 4;

/** An option with a default. */
export function one<T>(option: Omit<Option<T>, 'default'> & { default: NoInfer<T> }): Option<T> {
  return option;
}

/** An option that may be absent. */
export function maybe<T>(option: Omit<Option<T>, 'default'>): Option<T | undefined> {
  return { ...option, default: undefined };
}

/** An option that may be given several times. */
export function many<T>(option: Omit<Option<T>, 'default' | 'repeat'>): Option<T[]> {
  return { ...option, parse: (written) => [option.parse(written)], default: [], repeat: true };
}

/** A switch. */
export function flag(help: string, negated = false): Option<boolean> {
  return { parse: yesNo, default: negated, help, ...(negated ? { negated } : {}) };
}

export const OPTIONS = {
  port: one({ value: 'number', parse: port, default: 9000, help: 'port to listen on; 0 takes a free one' }),
  host: one({ value: 'address', parse: text, default: '127.0.0.1', help: 'address to listen on; 0.0.0.0 for all' }),
  workers: one({
    value: 'number',
    parse: processes,
    default: Math.min(availableParallelism(), MOST_WORKERS),
    shown: `one a core, at most ${MOST_WORKERS}`,
    help: 'processes that answer requests',
  }),
  maxRequests: one({
    value: 'number',
    parse: requests,
    default: 1000,
    help: 'requests that a process serves at once; more wait, and after 5 s get SlowDown; 0: no limit',
  }),
  accessKey: maybe({ value: 'id', parse: keyId, help: 'access key id (AWS_ACCESS_KEY_ID works too)' }),
  secretKey: maybe({
    value: 'secret',
    parse: keyPart,
    secret: true,
    help: 'secret access key (AWS_SECRET_ACCESS_KEY works too, and is not seen by ps)',
  }),
  region: maybe({ value: 'name', parse: region, help: 'accept only this region; without it any (us-east-1 is told)' }),
  readOnly: flag('refuse everything that would change the directory'),
  createBucket: many({ value: 'name', parse: text, help: 'make this bucket at start if it is not there' }),
  bucket: many({
    value: 'alias=path',
    parse: pair,
    repeated: repeatedAlias,
    help: 'serve a folder below the root, or the root itself (alias=.), as bucket alias',
  }),
  publicUrl: maybe({ value: 'url', parse: url, help: 'where clients reach the server, if a proxy stands before it' }),
  baseDomain: many({
    value: 'domain',
    parse: domain,
    help: 'serve bucket.domain too (virtual-hosted style)',
  }),
  exclude: many({ value: 'glob', parse: text, help: 'hide what has this name or path, written as in a .gitignore' }),
  defaultExcludes: flag('show .DS_Store, Thumbs.db, @eaDir and other litter of operating systems', true),
  symlinks: one({
    value: 'files|all|none',
    parse: choice('files', 'all', 'none'),
    default: 'files',
    help: 'links to follow inside their bucket: those to files, those to directories too, none',
  }),
  umask: maybe({ value: 'octal', parse: octal, help: 'umask for new files and folders, such as 022' }),
  minFree: one({
    value: 'size|%',
    parse: share,
    default: { bytes: 64 * MIB },
    shown: '64MiB',
    help: 'refuse uploads once less than this is free',
  }),
  stateDir: maybe({
    value: 'dir',
    parse: text,
    help: 'keep .gos3rve here, for roots that are read-only or on a network',
  }),
  minPartSize: one({
    value: 'size',
    parse: size,
    default: 5 * MIB,
    shown: '5MiB',
    help: 'smallest part of a multipart upload but the last',
  }),
  durability: one({
    value: 'flush|fast',
    parse: choice('flush', 'fast'),
    default: 'flush',
    help: 'flush: an answered write survives a power cut; fast: leave flushing to the system',
  }),
  watch: one({
    value: 'auto|poll|off',
    parse: choice('auto', 'poll', 'off'),
    default: 'auto',
    help: 'learn of changes by other programs from the system; by looking at the tree now and then; only when files are asked for',
  }),
  scanInterval: one({
    value: 'time',
    parse: duration,
    default: 600_000,
    shown: '10m',
    help: 'how often the whole tree is looked at; 0: only at the start',
  }),
  hash: one({
    value: 'eager|lazy|off',
    parse: choice('eager', 'lazy', 'off'),
    default: 'eager',
    help: 'read files that others wrote for their MD5: all of them in the background; when they are asked for; never',
  }),
  drainTimeout: one({
    value: 'time',
    parse: duration,
    default: 30_000,
    shown: '30s',
    help: 'how long a stop waits for requests under way',
  }),
  logLevel: one({
    value: 'level',
    parse: choice('debug', 'info', 'warn', 'error', 'silent'),
    default: 'info',
    help: 'debug, info, warn, error or silent',
  }),
  logFormat: one({
    value: 'format',
    parse: choice('auto', 'pretty', 'json'),
    default: 'auto',
    help: 'pretty lines on a terminal, json lines on standard error otherwise; or always one of them',
  }),
  quiet: flag('no banner, no line per request; warnings and errors only'),
} satisfies Record<string, Option<never> | Option<unknown>>;

type Table = typeof OPTIONS;
export type OptionName = keyof Table;
export type OptionValue<K extends OptionName> = Table[K]['default'];
export const OPTION_NAMES = Object.keys(OPTIONS) as OptionName[];

/** `minFree` -> `min-free`. */
export function flagName(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `minFree` -> `GOS3RVE_MIN_FREE`. */
export function variableName(name: string): string {
  return `GOS3RVE_${flagName(name).replaceAll('-', '_').toUpperCase()}`;
}

/** Option rows as the manual and the README list them. */
export function describeOptions(): { flags: string; variable: string; key: string; default: string; help: string }[] {
  return OPTION_NAMES.map((name) => {
    const option: Option<unknown> = OPTIONS[name];
    return {
      flags: flagsOf(name),
      variable: variableName(name),
      key: name,
      default: showDefault(option),
      help: option.help,
    };
  });
}

/** Flags as commander wants them: `--port <number>`, `--no-default-excludes`, `-r, --recursive`. */
export function flagsOf(name: string, option: Option<unknown> = OPTIONS[name as OptionName]): string {
  const long = `--${option.negated ? 'no-' : ''}${flagName(name)}`;
  const flags = option.short === undefined ? long : `-${option.short}, ${long}`;
  return option.value === undefined ? flags : `${flags} <${option.value}>`;
}

/** The default as a person writes it; '' for switches and where there is none. */
export function showDefault(option: Option<unknown>): string {
  if (option.shown !== undefined) return option.shown;
  return typeof option.default === 'string' || typeof option.default === 'number' ? String(option.default) : '';
}
