/**
 * Log lines: for people (chalk, on standard output) when that is a terminal, JSON lines (pino, on standard error) otherwise; so
 * standard output carries only what a person reads. Nothing that is secret may come in here: URLs go through {@link redactUrl}.
 */
import { Chalk, type ChalkInstance } from 'chalk';
import { S3Error, UsageError, errno } from './errors.js';
import { LineWriter } from './line-writer.js';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';
export type LogData = Record<string, unknown>;

export interface Log {
  debug(message: string, data?: LogData): void;
  info(message: string, data?: LogData): void;
  warn(message: string, data?: LogData): void;
  error(message: string, data?: LogData): void;
  /** The line of one request, at level info. @param record made only if it is written. */
  access(record: () => AccessRecord): void;
  /** A log that adds `data` to each line. */
  child(data: LogData): Log;
  /** Writes out what is buffered; call before the process ends. */
  flush(): void;
}

export interface AccessRecord {
  requestId: string;
  method: string;
  /** Request target as sent; redacted here. */
  url: string;
  /** HTTP status; 499 when the client went away first. */
  status: number;
  ms: number;
  /** Body bytes. */
  bytesIn: number;
  bytesOut: number;
  remote?: string;
  accessKey?: string;
  /** Name in the S3 model, e.g. `PutObject`. */
  operation?: string;
  /** S3 error code. */
  error?: string;
}

export interface LogOptions {
  level: LogLevel;
  format: 'auto' | 'pretty' | 'json';
  stdout?: LogStream;
  stderr?: LogStream;
}
/** What is needed of process.stdout. */
export interface LogStream {
  write(text: string): unknown;
  isTTY?: boolean;
}

/** Parameters that would let a reader of the log use a presigned URL, or read what is encrypted by a client's key. */
const SECRETS = [
  'x-amz-signature',
  'x-amz-security-token',
  'x-amz-s3session-token',
  'x-amz-server-side-encryption-customer-key',
  'x-amz-copy-source-server-side-encryption-customer-key',
  'signature',
  'authorization',
  'access_token',
  'token',
];
/** Servers decode names: any letter may come as `%65`, and in a link that was encoded as a whole as `%2565`. */
const SECRET_PARAMETERS = new RegExp(
  `((?:[?&;#]|${escaped('?')}|${escaped('&')})(?:${SECRETS.map((name) => [...name].map(anySpelling).join('')).join('|')})(?:=|${escaped('=')}))[^&]*`,
  'gi',
);
const USER = /^(https?:\/\/)[^/?#]*@/i;

function anySpelling(letter: string): string {
  const [low, high] = [letter.toLowerCase(), letter.toUpperCase()];
  return `(?:${[low, escaped(low), ...(low === high ? [] : [escaped(high)])].join('|')})`;
}

function escaped(letter: string): string {
  return `%(?:25)*${letter.charCodeAt(0).toString(16)}`;
}

/** Longer ones are cut: keys end at 1,024 bytes, and a line must be written in one piece (line-writer.ts). */
const LONGEST_URL = 3_500;

/**
 * Hides signatures, tokens and passwords; what is no plain character comes out percent-encoded, so that no line can forge another.
 * @param url a byte string (Latin-1), as node:http gives request targets.
 */
export function redactUrl(url: string): string {
  const hidden = /[?%]/.test(url) ? url.replace(SECRET_PARAMETERS, '$1REDACTED') : url;
  const plain = hidden.replace(USER, '$1REDACTED@').replace(NOT_PLAIN, percent);
  return plain.length > LONGEST_URL ? `${plain.slice(0, LONGEST_URL)}...` : plain;
}

/** Not only controls: bytes of UTF-8 sent as they are, and the two characters that JSON would write as two. */
const NOT_PLAIN = /[^\x20\x21\x23-\x5b\x5d-\x7e]/g;
const CONTROLS = /[\x00-\x1f\x7f-\x9f\u2028\u2029]/g;
function escapeControls(text: string): string {
  return text.replace(CONTROLS, percent);
}

function percent(c: string): string {
  return `%${c.charCodeAt(0).toString(16).padStart(2, '0').toUpperCase()}`;
}

/** Opens the log. pino is loaded only for JSON lines, so that a start on a terminal need not wait for it. */
export async function openLog(options: LogOptions): Promise<Log> {
  const stdout = options.stdout ?? process.stdout;
  const pretty = options.format === 'pretty' || (options.format === 'auto' && stdout.isTTY === true);
  return pretty ? prettyLog(options.level, stdout) : jsonLog(options.level, options.stderr);
}

/** A log that says nothing: for the library and for tests. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  access: () => undefined,
  child: () => silentLog,
  flush: () => undefined,
};

async function jsonLog(level: LogLevel, stream: LogStream | undefined): Promise<Log> {
  const { pino } = await import('pino');
  const lost = (lines: number): void => root.warn({ lines }, 'log lines could not be written');
  const own = stream ? undefined : new LineWriter(2, lost);
  const root = pino(
    {
      level,
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    stream ?? own,
  );
  const flush = () => own?.flush();
  const wrap = (logger: import('pino').Logger): Log => ({
    debug: (message, data) => logger.debug(plain(data), message),
    info: (message, data) => logger.info(plain(data), message),
    warn: (message, data) => logger.warn(plain(data), message),
    error: (message, data) => logger.error(plain(data), message),
    access: (record) => {
      if (!logger.isLevelEnabled('info')) return;
      const told = record();
      logger.info({ ...told, url: redactUrl(told.url) }, 'request');
    },
    child: (data) => wrap(logger.child(data)),
    flush,
  });
  return wrap(root);
}

/** Errors in data become text: their own members (paths, causes) are for debugging only. */
function plain(data: LogData | undefined): LogData {
  if (!data) return {};
  return Object.fromEntries(Object.entries(data).map(([k, v]) => [k, v instanceof Error ? textOf(v) : v]));
}

/** Where it was thrown helps with faults of ours; what the system or an operator did is said by the message. */
function textOf(error: Error): string {
  const expected = /^E[A-Z0-9]+$/.test(errno(error) ?? '') || error instanceof S3Error || error instanceof UsageError;
  return expected ? error.message : (error.stack ?? error.message);
}

const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3, silent: 4 };

function prettyLog(level: LogLevel, out: LogStream, bound: LogData = {}): Log {
  const paint = new Chalk(out.isTTY ? {} : { level: 0 });
  const line = (of: LogLevel, mark: string) => (message: string, data?: LogData) => {
    if (RANK[of] < RANK[level]) return;
    out.write(`${paint.dim(clock())} ${mark} ${message}${paint.dim(details({ ...bound, ...data }, level))}\n`);
  };
  return {
    debug: line('debug', paint.dim('debug')),
    info: line('info', paint.blue('info')),
    warn: line('warn', paint.yellow('warn')),
    error: line('error', paint.red('error')),
    access: (record) => {
      if (RANK.info >= RANK[level]) out.write(accessLine(paint, record()));
    },
    child: (data) => prettyLog(level, out, { ...bound, ...data }),
    flush: () => undefined,
  };
}

function accessLine(paint: ChalkInstance, r: AccessRecord): string {
  const colour = r.status >= 500 ? paint.red : r.status >= 400 ? paint.yellow : paint.green;
  const traffic = [
    r.bytesIn > 0 ? `in ${humanSize(r.bytesIn)}` : '',
    r.bytesOut > 0 ? `out ${humanSize(r.bytesOut)}` : '',
  ];
  const tail = [r.error, ...traffic, `${r.ms.toFixed(r.ms < 10 ? 1 : 0)} ms`, r.accessKey, r.requestId].filter(Boolean);
  return `${paint.dim(clock())} ${colour(String(r.status))} ${r.method.padEnd(6)} ${redactUrl(r.url)} ${paint.dim(tail.join('  '))}\n`;
}

function details(data: LogData, level: LogLevel): string {
  const parts = Object.entries(data).map(([name, value]) => {
    if (value instanceof Error) return `${name}=${level === 'debug' ? (value.stack ?? value.message) : value.message}`;
    return `${name}=${typeof value === 'string' ? escapeControls(value) : JSON.stringify(value)}`;
  });
  return parts.length === 0 ? '' : `  ${parts.join(' ')}`;
}

function clock(): string {
  return new Date().toTimeString().slice(0, 8);
}

/** `1.2 MiB`; bytes up to 1023 as they are. */
export function humanSize(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const power = Math.min(4, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** power).toFixed(1)} ${['', 'KiB', 'MiB', 'GiB', 'TiB'][power] ?? ''}`;
}
