/**
 * Lines to a file descriptor that may be anything: a file on a full disk, a pipe that several processes write to, or that nobody reads, a terminal
 * that is gone. None of it may hold up the process, end it, or keep it from ending.
 */
import { write, writeSync } from 'node:fs';
import { errno } from './errors.js';
import { sleepSync } from './process.js';

/** Bytes that a pipe takes in one piece, whoever else writes to it (PIPE_BUF). */
const WHOLE_WRITE = 4096;
/** Bytes that wait for a reader who does not read; further ones are dropped. */
const MOST_WAITING = 16 * 1024 * 1024;
/** ms between two attempts where the reader is slow. */
const PAUSE_MS = 5;
/** ms that the end of the process waits for him to read anything. */
const FLUSH_MS = 2_000;

export class LineWriter {
  /** Whole lines, together no longer than one write; the first one may have been written in part. */
  readonly #pieces: Buffer[] = [];
  /** Lines behind them. */
  #last = '';
  #lastBytes = 0;
  /** Bytes of all these. */
  #waiting = 0;
  #dropped = 0;
  /** A piece is with the system, or the reader was too slow a moment ago. */
  #busy = false;

  /** @param lost makes the line that says how many were dropped. */
  constructor(
    readonly fd: number,
    readonly lost: (lines: number) => void,
  ) {}

  /** @param line with its line end. */
  write(line: string): void {
    const bytes = Buffer.byteLength(line);
    if (this.#waiting + bytes > MOST_WAITING) {
      this.#dropped++;
      return;
    }
    if (this.#lastBytes + bytes > WHOLE_WRITE) this.#close();
    this.#last += line;
    this.#lastBytes += bytes;
    this.#waiting += bytes;
    if (!this.#busy) this.#next();
  }

  /** Writes what waits, as far as it can be written; what is with the system already gets there by itself. Call it before the process ends. */
  flush(): void {
    let until = Date.now() + FLUSH_MS;
    for (let piece = this.#take(); piece !== undefined; piece = this.#take()) {
      try {
        this.#wrote(piece, writeSync(this.fd, piece));
        until = Date.now() + FLUSH_MS;
      } catch (error) {
        if (errno(error) !== 'EAGAIN' || Date.now() > until) return;
        this.#wrote(piece, 0);
        sleepSync(PAUSE_MS);
      }
    }
  }

  #close(): void {
    if (this.#last !== '') this.#pieces.push(Buffer.from(this.#last));
    this.#last = '';
    this.#lastBytes = 0;
  }

  #take(): Buffer | undefined {
    if (this.#pieces.length === 0) this.#close();
    const piece = this.#pieces.shift();
    this.#waiting -= piece?.length ?? 0;
    return piece;
  }

  /** `n` bytes of it; the rest waits again. */
  #wrote(piece: Buffer, n: number): void {
    if (n < piece.length) this.#pieces.unshift(piece.subarray(n));
    this.#waiting += piece.length - n;
    if (n === 0 || this.#dropped === 0) return;
    const lines = this.#dropped;
    this.#dropped = 0;
    this.lost(lines);
  }

  #next(): void {
    const piece = this.#take();
    this.#busy = piece !== undefined;
    if (piece === undefined) return;
    write(this.fd, piece, (error, n) => {
      if (error && errno(error) !== 'EAGAIN') {
        // it will not be possible in a moment either: the disk is full, or nobody is there
        this.#busy = false;
        for (let lost: Buffer | undefined = piece; lost; lost = this.#take())
          this.#dropped += lost.toString('latin1').split('\n').length - 1;
        return;
      }
      this.#wrote(piece, error ? 0 : n);
      if (error) setTimeout(() => this.#next(), PAUSE_MS).unref();
      else this.#next();
    });
  }
}
