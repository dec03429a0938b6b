/** How far the hashing is: one line that renews itself on a terminal, a log line a minute elsewhere. */
import { humanSize, type LogData } from '../../base/log.js';

const SHOW_MS = 500;
const LOG_MS = 60_000;
/** Shorter work is not spoken of, ms. */
const SILENT_MS = 1_000;

export interface Totals {
  files: number;
  bytes: number;
}

export class Progress {
  private totals: Totals = { files: 0, bytes: 0 };
  private files = 0;
  private bytes = 0;
  private began = 0;
  private shown = 0;
  private logged = 0;
  active = false;

  constructor(
    private readonly log: (level: 'info', message: string, data: LogData) => void,
    private readonly status?: ((text: string) => void) | undefined,
  ) {}

  begin(totals: Totals): void {
    this.totals = totals;
    this.files = this.bytes = 0;
    this.began = this.logged = performance.now();
    this.active = true;
  }

  done(size: number): void {
    if (!this.active) return;
    this.files++;
    this.bytes += size;
    const now = performance.now();
    if (now - this.began < SILENT_MS) return;
    if (this.status) {
      if (now - this.shown < SHOW_MS) return;
      this.shown = now;
      this.status(this.line(now));
    } else if (now - this.logged >= LOG_MS) {
      this.logged = now;
      this.log('info', 'hashing files', this.figures(now));
    }
  }

  end(): void {
    if (!this.active) return;
    this.active = false;
    this.status?.('');
    const now = performance.now();
    if (this.files > 0 && now - this.began >= SILENT_MS) this.log('info', 'files were hashed', this.figures(now));
  }

  private figures(now: number): LogData {
    const seconds = (now - this.began) / 1000;
    return {
      files: this.files,
      of: Math.max(this.totals.files, this.files),
      bytes: this.bytes,
      seconds: Math.round(seconds),
      rate: `${humanSize(Math.round(this.bytes / seconds))}/s`,
    };
  }

  private line(now: number): string {
    const seconds = (now - this.began) / 1000;
    const files = Math.max(this.totals.files, this.files);
    const bytes = Math.max(this.totals.bytes, this.bytes);
    return [
      `hashing ${this.files.toLocaleString('en')} of ${files.toLocaleString('en')} files`,
      `${humanSize(this.bytes)} of ${humanSize(bytes)}`,
      `${humanSize(Math.round(this.bytes / seconds))}/s`,
      `${clockTime(this.secondsLeft(seconds))} left`,
    ].join(', ');
  }

  /** By whichever is behind: many small files are counted by number, few large ones by bytes. */
  private secondsLeft(seconds: number): number {
    const byFiles = this.files === 0 ? 0 : (this.totals.files - this.files) * (seconds / this.files);
    const byBytes = this.bytes === 0 ? 0 : (this.totals.bytes - this.bytes) * (seconds / this.bytes);
    return Math.max(0, byFiles, byBytes);
  }
}

/** `1:05`, `2:03:04`. */
function clockTime(seconds: number): string {
  const whole = Math.ceil(seconds);
  const two = (n: number): string => String(n).padStart(2, '0');
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${two(whole % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}
