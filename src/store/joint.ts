/**
 * Writes that wait at the same moment go through the journal and the lock together: their prepare lines are one write and share a flush, and one transaction
 * takes them all, so that what the lock, the checks and the commit cost is paid once.
 *
 * Each is still decided alone, one after the other under the lock, and sees what those before it have done: what one throws takes back its own rows only
 * (`Index.attempt`). If the transaction itself fails, all fail that had a part in it, as each would have: their files have their names, and no row
 * says so yet.
 */
import type { Journal } from '../catalog/journal.js';
import type { JournalLine } from '../catalog/lines.js';
import type { Core } from './core.js';

/** How long (ms) they may keep the lock, and others waiting. */
const MOMENT_MS = 10;

/** What is to be written down before it is done. */
export interface Announced {
  line: Extract<JournalLine, { op: 'prepare' }>;
  /** Directories on the way to what it speaks of: see `Tracker.claim`. */
  dirs: readonly string[] | undefined;
  /** Flush of the body: it may be under way with that of the line, for nothing counts before both have ended. */
  flushed?: Promise<void>;
  /** Of the line, once it was written. */
  ticket?: ReturnType<Journal['prepare']>;
}

interface Part {
  announced: Announced;
  /** Does it, and keeps what came of it. */
  run: () => void;
  /** Tells whoever waits. @param failure of the transaction: what was refused anyway is told why. */
  tell: (failure?: { cause: unknown }) => void;
}

export class Joint {
  /** To be announced. */
  private coming: Part[] = [];
  /** Announced, and flushed if need be. */
  private waiting: Part[] = [];
  private scheduled = false;
  private readonly seen = new Set<string>();
  /** What {@link seen} is of: the transaction, and how many rows of directories had changed. */
  private of = '';

  constructor(private readonly core: Core) {}

  /**
   * Announces what short, synchronous `work` will do and flushes that, then runs it as `Catalog.record` does.
   * @param announced is given its ticket, which is the caller's to settle.
   */
  record<T>(announced: Announced, work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const refuse = (cause: unknown): void => reject(cause instanceof Error ? cause : new Error(String(cause)));
      const part: Part = {
        announced,
        run: () => {
          try {
            const result = this.core.catalog.index.attempt(work);
            part.tell = (failure) => (failure ? refuse(failure.cause) : resolve(result));
          } catch (error) {
            part.tell = () => refuse(error);
          }
        },
        tell: (failure) => refuse(failure?.cause),
      };
      if (this.coming.push(part) === 1) setImmediate(() => this.announce());
    });
  }

  /**
   * Looks at a way through the tree once for all who go it under this lock, unless a row of a directory has changed since. What another program does to it
   * meanwhile could as well have been done a moment later.
   */
  once(name: string, look: () => void): void {
    const { index } = this.core.catalog;
    const now = (): string => `${index.transaction} ${index.dirsChanged}`;
    if (this.of !== now()) this.seen.clear();
    else if (this.seen.has(name)) return;
    look();
    // others may stand otherwise by what looking has changed
    if (this.of !== now()) this.seen.clear();
    this.of = now();
    this.seen.add(name);
  }

  /** What was announced has ended, well or not. */
  settle({ ticket }: Announced): void {
    if (ticket) this.core.catalog.journal.settle(ticket);
  }

  private announce(): void {
    const { core } = this;
    const { journal } = core.catalog;
    const claimed = new Set<string>();
    const parts = this.coming.splice(0).filter((part) => told(part, () => this.claim(part.announced, claimed)));
    if (parts.length === 0) return;
    try {
      const tickets = journal.prepareAll(parts.map(({ announced }) => announced.line));
      for (const [i, ticket] of tickets.entries()) Object.assign(parts[i]?.announced ?? {}, { ticket });
    } catch {
      // some may find room
      for (const part of parts) told(part, () => (part.announced.ticket = journal.prepare(part.announced.line)));
    }
    const announced = parts.filter((part) => part.announced.ticket);
    if (!core.durable) {
      this.waiting.push(...announced);
      if (!this.scheduled) this.runSome();
      return;
    }
    for (const part of announced) {
      const { ticket, flushed } = part.announced;
      void Promise.all([journal.flush(ticket?.segment ?? ''), flushed]).then(
        () => this.enter(part),
        (cause: unknown) => part.tell({ cause }),
      );
    }
  }

  /** First of all: the order of the lines must tell it, too. @param claimed by others that are announced with it. */
  private claim({ dirs }: Announced, claimed: Set<string>): void {
    const path = dirs?.join('/');
    if (!dirs || path === undefined || claimed.has(path)) return;
    this.core.tracker.claim(dirs);
    claimed.add(path);
  }

  private enter(part: Part): void {
    this.waiting.push(part);
    this.schedule();
  }

  private schedule(): void {
    if (this.scheduled || this.waiting.length === 0) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      this.runSome();
    });
  }

  private runSome(): void {
    const { catalog, dirs } = this.core;
    let done = 0;
    let failure: { cause: unknown } | undefined;
    try {
      catalog.record(() =>
        dirs.together(() =>
          catalog.journal.together(() => {
            // not before: another process may have had the lock as long
            const end = performance.now() + MOMENT_MS;
            for (; done < this.waiting.length && (done === 0 || performance.now() < end); done++)
              this.waiting[done]?.run();
            this.writeCommits();
          }),
        ),
      );
    } catch (cause) {
      failure = { cause };
    }
    // if none was begun, nobody can have the lock
    for (const part of this.waiting.splice(0, done === 0 ? Infinity : done)) part.tell(failure);
    this.schedule();
  }

  /** The prepare lines are durable and say all; a commit line that finds no room is only missed by speed. */
  private writeCommits(): void {
    const { catalog, log } = this.core;
    try {
      catalog.journal.writeLater();
    } catch (error) {
      log('error', 'the journal could not be written', { error: String(error) });
    }
    catalog.noteSettled();
  }
}

/** Runs what comes before the lock. @returns false if it failed, and whoever waits was told. */
function told(part: Part, work: () => void): boolean {
  try {
    work();
    return true;
  } catch (cause) {
    part.tell({ cause });
    return false;
  }
}
