/** Where a command prints: results to standard output with the reader's speed, remarks to standard error. */
import { once } from 'node:events';
import { errno } from '../base/errors.js';

/** Thrown into a command that was stopped; nothing is printed for it. */
export class Stopped extends Error {
  /** @param exitCode 128 + number of the signal, as shells have it; 141 (SIGPIPE) when nobody reads the output any more. */
  constructor(readonly exitCode: number) {
    super('stopped');
    this.name = 'Stopped';
  }
}

const PIPE_GONE = 141;

/** Why nothing can be printed. `gos3rve ls | head` closes our output early: no error to speak of. A file may be on a full disk. */
function whyNot(error: Error): Error {
  return errno(error) === 'EPIPE' ? new Stopped(PIPE_GONE) : new Error(`standard output: ${error.message}`);
}

export class Output {
  readonly #abort: AbortController;
  #progress = '';

  constructor(abort: AbortController) {
    this.#abort = abort;
    process.stdout.on('error', (error: Error) => abort.abort(whyNot(error)));
    process.stderr.on('error', () => undefined);
  }

  /** Whether a person looks at standard output. */
  get terminal(): boolean {
    return process.stdout.isTTY === true;
  }

  /** @throws Stopped when the command is to end. */
  async line(text: string): Promise<void> {
    await this.bytes(`${text}\n`);
  }

  async json(value: unknown): Promise<void> {
    await this.line(JSON.stringify(value));
  }

  async bytes(chunk: string | Uint8Array): Promise<void> {
    this.#abort.signal.throwIfAborted();
    this.progress('');
    if (process.stdout.write(chunk)) return;
    await once(process.stdout, 'drain', { signal: this.#abort.signal }).catch(() =>
      this.#abort.signal.throwIfAborted(),
    );
  }

  /** One line to standard error: `gos3rve: warning: …`. */
  warn(text: string): void {
    this.error(`warning: ${text}`);
  }

  /** One line to standard error: `gos3rve: …`. */
  error(text: string): void {
    this.progress('');
    process.stderr.write(`gos3rve: ${printable(text)}\n`);
  }

  /** A line on the terminal that the next one replaces; '' takes it away. Nothing unless standard error is a terminal. */
  progress(text: string): void {
    if (process.stderr.isTTY !== true || text === this.#progress) return;
    const width = Math.max(20, process.stderr.columns ?? 80) - 1;
    process.stderr.write(`\r\x1b[K${printable(text).slice(0, width)}`);
    this.#progress = text;
  }

  /** Resolves when all that was printed has left. */
  async flush(): Promise<void> {
    this.progress('');
    for (const stream of [process.stdout, process.stderr])
      await new Promise<void>((resolve) => {
        if (stream.destroyed || !stream.writable) resolve();
        else stream.write('', () => resolve());
      });
  }
}

/** Names may hold anything; a terminal must not obey them, and a line must stay one. */
export function printable(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]/g, (char) =>
    char === '\n' ? '\\n' : char === '\t' ? '\\t' : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** `1.2 MiB`; exact below 1,000 bytes. */
export function humanSize(bytes: number): string {
  let value = bytes;
  let unit = 'B';
  for (const next of ['KiB', 'MiB', 'GiB', 'TiB', 'PiB']) {
    if (value < 1000) break;
    value /= 1024;
    unit = next;
  }
  return `${unit === 'B' ? value : value < 9.95 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

/** `3 objects`, `one object`, `0 objects`. */
export function count(n: number, noun: string): string {
  return n === 1 ? `one ${noun}` : `${n.toLocaleString('en')} ${noun}s`;
}
