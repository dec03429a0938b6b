/**
 * The watcher: makes what other programs do known before anybody asks. Hints of the system's watches lead to looks at files and directories; where
 * there are no watches, and now and then in any case, the whole tree is scanned. Answers never depend on it.
 */
import { errno } from '../../base/errors.js';
import type { LogData } from '../../base/log.js';
import { isPossibleName } from '../../fs/keypath.js';
import { isNetwork, mountOf } from '../../fs/mount-table.js';
import type { FileReport, Live } from '../../store/live-contract.js';
import { Bell, Patience, pause } from '../patience.js';
import { scan, type ScanReport } from '../scan.js';
import type { ChangeSink } from './change.js';
import { Hints, type Hint } from './hints.js';
import { Quiet } from './quiet.js';
import { Stale } from './stale.js';
import { Watches } from './watches.js';

/** What clients said of renamed files follows them this often. */
const SETTLE_MS = 2_000;
/** With watches, files are compared with their rows at every so many scans: writes through a mapping are not told. */
const FILES_EVERY = 6;
/** So many names of a directory are looked at in one go. */
const NAMES_AT_ONCE = 32;
/** Parts of the tree that wait for a scan; beyond it is all of the tree. */
const SCANS_LIMIT = 10_000;
const REBUILD_POLL_MS = 250;

export interface WatcherOptions {
  /** Real path of the root. */
  root: string;
  live: Live;
  mode: 'auto' | 'poll' | 'off';
  /** 0: only at the start. */
  scanIntervalMs: number;
  /** Whether requests are being served. */
  busy: () => boolean;
  log: (level: 'debug' | 'info' | 'warn', message: string, data?: LogData) => void;
  changes?: ChangeSink;
  /** A quiet file that nobody has hashed. */
  onUnhashed?: (dirs: readonly string[], name: string, size: number) => void;
  /** There may be files that nobody has hashed, anywhere. */
  onUnhashedSomewhere?: () => void;
}

export class Watcher {
  private readonly abort = new AbortController();
  private readonly patience: Patience;
  private readonly watches: Watches | undefined;
  private readonly hints = new Hints(() => this.overflow());
  private readonly stale = new Stale();
  private readonly quiet: Quiet;
  /** Directories (paths) to be scanned, with all below them; '' is everything. */
  private readonly scans = new Set<string>();
  private readonly hinted = new Bell();
  private readonly wanted = new Bell();
  private readonly running: Promise<void>[] = [];
  private readonly timers: NodeJS.Timeout[] = [];
  private settling = false;
  /** Hints were lost: files have to be compared too. */
  private lossy = false;
  private scanned = 0;
  private complained = false;
  /** Every file was seen once: what is new to a scan from now on was made now. */
  acquainted = false;
  /** Of the last scan of everything; `ms` it took. */
  lastScan: (ScanReport & { ms: number }) | undefined;

  constructor(private readonly options: WatcherOptions) {
    const { live, changes } = options;
    this.patience = new Patience(options.busy, this.abort.signal);
    this.quiet = new Quiet(live, {
      unhashed: (dirs, name, size) => options.onUnhashed?.(dirs, name, size),
      changed: async (change) => {
        if (changes?.wanted()) await changes.onOutsideChange(change);
      },
      wanted: () => changes?.wanted() === true,
      lost: () => options.onUnhashedSomewhere?.(),
      failed: (error) => this.failed(error),
    });
    if (options.mode === 'auto') this.watches = this.openWatches();
  }

  /** Directories that are watched. */
  get watched(): number {
    return this.watches?.size ?? 0;
  }

  /** A file that was being written: it is told of again when it is quiet. */
  lookLater(dirs: readonly string[], name: string): void {
    this.quiet.add(dirs, name, undefined);
  }

  start(): void {
    const { mode, scanIntervalMs } = this.options;
    this.timers.push(setInterval(() => void this.settle(), SETTLE_MS).unref());
    if (mode === 'off') return;
    this.scans.add('');
    this.running.push(this.scanLoop());
    if (this.watches) this.running.push(this.hintLoop());
    if (scanIntervalMs > 0) this.timers.push(setInterval(() => this.scanSoon(''), scanIntervalMs).unref());
  }

  async stop(): Promise<void> {
    for (const timer of this.timers) clearInterval(timer);
    this.abort.abort();
    this.hinted.ring();
    this.wanted.ring();
    this.watches?.close();
    await Promise.all([...this.running, this.quiet.stop()]);
  }

  private openWatches(): Watches | undefined {
    const { root, log, scanIntervalMs } = this.options;
    const instead = { scanInterval: scanIntervalMs > 0 ? `${scanIntervalMs / 1000} s` : 'only at the start' };
    const type = mountOf(root)?.type ?? '';
    if (isNetwork(type)) {
      log('warn', `changes by other machines are not told of on ${type}; the tree is scanned instead`, instead);
      return undefined;
    }
    return new Watches(root, {
      hint: (dir, name, moved) => this.hint(dir, name, moved),
      exhausted: (cause) => log('warn', `some folders are not watched: ${cause}; they are scanned instead`, instead),
      overflow: () => this.overflow(),
    });
  }

  private hint(dir: string, name: string | undefined, moved: boolean): void {
    if (name !== undefined && !isPossibleName(name)) return;
    if (moved) this.stale.mark(dir);
    const idle = this.hints.size === 0;
    this.hints.add(dir, name);
    if (idle) this.hinted.ring();
  }

  private overflow(): void {
    this.lossy = true;
    this.options.log('debug', 'more changes at once than the system tells of; scanning the tree');
    this.scanSoon('');
  }

  private scanSoon(dir: string): void {
    if (this.scans.has('')) return;
    if (dir === '' || this.scans.size >= SCANS_LIMIT) {
      this.scans.clear();
      this.scans.add('');
    } else this.scans.add(dir);
    this.wanted.ring();
  }

  private async hintLoop(): Promise<void> {
    const { signal } = this.abort;
    while (!signal.aborted) {
      const hint = this.hints.take();
      const stale = typeof hint === 'object' ? undefined : this.stale.take();
      try {
        if (typeof hint === 'object') await this.follow(hint);
        else if (typeof stale === 'string') await this.readAgain(stale);
        else await this.hinted.wait(Math.min(hint ?? Infinity, stale ?? Infinity, 60_000));
      } catch (error) {
        this.failed(error);
      }
      await this.patience.turn();
    }
  }

  private async follow({ dir, names, whole }: Hint): Promise<void> {
    const dirs = split(dir);
    if (whole) {
      const report = await this.options.live.lookAtDir(dirs, {
        files: true,
        told: true,
        onFile: (name, file) => this.seen(dirs, name, file, true),
      });
      for (const name of report?.subdirs ?? []) this.lookForDirectory(below(dir, name));
      return;
    }
    const all = [...names];
    for (let i = 0; i < all.length && !this.abort.signal.aborted; i += NAMES_AT_ONCE) {
      const some = all.slice(i, i + NAMES_AT_ONCE);
      const files = await this.options.live.lookAtFiles(dirs, some, true);
      for (const [n, file] of files.entries()) this.followed(dirs, some[n] ?? '', file);
      await this.patience.turn();
    }
  }

  private followed(dirs: readonly string[], name: string, file: FileReport): void {
    this.seen(dirs, name, file, true);
    const path = below(dirs.join('/'), name);
    // a file may have taken its place
    if (file.state === 'gone' || file.state === 'not-served' || this.watches?.has(path)) this.lookForDirectory(path);
  }

  /** What is no file may be a directory: made, moved here, replaced, or gone. */
  private lookForDirectory(path: string): void {
    if (this.watches?.keep(path)) this.scanSoon(path);
  }

  private async readAgain(dir: string): Promise<void> {
    const began = performance.now();
    await this.options.live.lookAtDir(split(dir));
    this.stale.done(dir, performance.now() - began);
  }

  /** @param told whether the system told of a change; a scan takes what it does not know for new only once it has seen all. */
  private seen(dirs: readonly string[], name: string, file: FileReport, told: boolean): void {
    const { state, quietForMs = 0, known } = file;
    if (!this.options.onUnhashed && this.options.changes?.wanted() !== true) return;
    if (state === 'gone') {
      if (known === true) this.quiet.add(dirs, name, 'removed');
    } else if (state === 'new' || state === 'changed') {
      const event = told || this.acquainted ? 'created' : undefined;
      this.quiet.add(dirs, name, event, { quietForMs, fresh: state === 'new' });
    } else if (file.hashed === false) this.quiet.add(dirs, name, undefined, { quietForMs });
  }

  private async scanLoop(): Promise<void> {
    const { signal } = this.abort;
    while (!signal.aborted) {
      while ((this.options.live.rebuilding || this.options.changes?.starting?.() === true) && !signal.aborted)
        await pause(REBUILD_POLL_MS, signal);
      const [dir] = this.scans;
      if (dir === undefined) {
        await this.wanted.wait(60_000);
        continue;
      }
      this.scans.delete(dir);
      try {
        if (dir !== '') await this.scanFrom(dir, true, true);
        else if (this.lastScan) await this.scanAgain();
        else await this.scanFirst();
        this.complained = false;
      } catch (error) {
        this.failed(error);
      }
    }
  }

  /** Names first, so that they can be listed and hashed; then what was changed in place while nobody watched. */
  private async scanFirst(): Promise<void> {
    const report = await this.scanFrom('', false, false);
    if (this.abort.signal.aborted) return;
    this.options.log('info', 'the tree is known', { ...report, watched: this.watched });
    this.options.onUnhashedSomewhere?.();
    const { changed } = await this.scanFrom('', true, false, false);
    if (this.abort.signal.aborted) return;
    if (changed > 0) this.options.onUnhashedSomewhere?.();
    this.acquainted = true;
  }

  private async scanAgain(): Promise<void> {
    const files = this.lossy || !this.watches?.complete || ++this.scanned % FILES_EVERY === 0;
    this.lossy = false;
    const report = await this.scanFrom('', files, false);
    this.options.log('debug', 'the tree was scanned', { ...report });
  }

  /** @param heed whether each file that differs is looked after, or only the rows are brought up to date. */
  private async scanFrom(
    dir: string,
    files: boolean,
    told: boolean,
    heed = files,
  ): Promise<ScanReport & { ms: number }> {
    const began = performance.now();
    const report = await scan(this.options.live, dir, {
      files,
      told: told || this.acquainted,
      patience: this.patience,
      signal: this.abort.signal,
      // before it is looked at, so that no change falls between
      enter: (path) => void this.watches?.keep(path),
      leave: (path) => this.watches?.drop(path),
      ...(heed && { onFile: (dirs, name, file) => this.seen(dirs, name, file, told) }),
    });
    const timed = { ...report, ms: Math.round(performance.now() - began) };
    if (dir === '' && !this.abort.signal.aborted) this.lastScan = timed;
    return timed;
  }

  private async settle(): Promise<void> {
    if (this.settling || this.options.live.rebuilding) return;
    this.settling = true;
    await this.options.live.settleRenames().catch((error: unknown) => this.failed(error));
    this.settling = false;
  }

  /** Said once until it works again: the root's disk may be away for days. */
  private failed(error: unknown): void {
    if (this.abort.signal.aborted) return;
    // of a root that vanishes in the midst of a look, the first error is another one than those that follow
    if (this.complained) return;
    this.complained = true;
    const cause = errno(error) ?? (error instanceof Error ? error.message : String(error));
    this.options.log('warn', 'changes by other programs cannot be looked at', { cause });
  }
}

function split(dir: string): string[] {
  return dir === '' ? [] : dir.split('/');
}

function below(dir: string, name: string): string {
  return dir === '' ? name : `${dir}/${name}`;
}
