/** The last line of a terminal, which renews itself: what is logged meanwhile goes above it. */
import { printable } from './output.js';

/** What is needed of process.stdout. */
interface Terminal {
  write(text: string): unknown;
  isTTY?: boolean;
  columns?: number;
}

const ERASE = '\r\x1b[K';

/** Stands in for the stream that log lines go to. */
export class StatusLine {
  private text = '';

  constructor(private readonly out: Terminal) {}

  get isTTY(): boolean {
    return this.out.isTTY === true;
  }

  /** @param text whole lines. */
  write(text: string): void {
    this.out.write(this.text === '' ? text : `${ERASE}${text}${this.text}`);
  }

  /** '' takes the line away. Nothing unless it is a terminal. */
  show(text: string): void {
    if (!this.isTTY) return;
    const width = Math.max(20, this.out.columns || 80) - 1;
    const shown = printable(text).slice(0, width);
    if (shown !== this.text) this.out.write(`${ERASE}${shown}`);
    this.text = shown;
  }
}
