/**
 * Reads every object whose bytes are recorded and compares: never verified first, then the longest ago. What is found whole is noted, so the
 * next run goes on where this one ended.
 */
import type { Recorded, Verdict, Verifier, VerifyScope } from '../store/verify.js';

export interface VerifyQuestion {
  scope?: VerifyScope;
  /** Only what was not found whole within this time, ms. */
  since?: number;
  /** Ends after this time, ms. */
  budget?: number;
  /** Bytes a second at most. */
  rate?: number;
  signal: AbortSignal;
  progress: (state: VerifyReport & { due: number; dueBytes: number }) => void;
  /** Called for each object that is damaged or cannot be read, and for each folder (its name ends in `/`) that cannot. */
  damage: (name: string, verdict: Extract<Verdict, { state: 'damaged' | 'unreadable' }>) => void;
}

export interface VerifyReport {
  /** Objects read, and their bytes. */
  objects: number;
  bytes: number;
  damaged: number;
  unreadable: number;
  /** Folders that cannot be read or searched, whatever is in them. */
  closed: number;
  /** Written by other programs since they were recorded; their bytes are hashed anew when they are asked for. */
  changed: number;
  /** Objects left for the next run. */
  left: number;
}

const PAGE = 1000;
const DAY_MS = 86_400_000;

/** Thrown to end a run whose budget is spent. */
class Spent extends Error {}

/** @throws what `signal` was aborted with. */
export async function verify(verifier: Verifier, question: VerifyQuestion): Promise<VerifyReport> {
  return new Run(verifier, question).run();
}

class Run {
  private readonly report: VerifyReport = {
    objects: 0,
    bytes: 0,
    damaged: 0,
    unreadable: 0,
    closed: 0,
    changed: 0,
    left: 0,
  };
  private readonly started = Date.now();
  private readonly pacer: Pacer;
  private due = 0;
  private dueBytes = 0;

  constructor(
    private readonly verifier: Verifier,
    private readonly question: VerifyQuestion,
  ) {
    this.pacer = new Pacer(question.rate);
  }

  async run(): Promise<VerifyReport> {
    await this.lookForClosed();
    const days = await this.census();
    let done = 0;
    try {
      // one walk over the index for each day of the past: memory does not grow with the number of objects
      for (const day of days) {
        for await (const recorded of this.all()) {
          if (!this.isDue(recorded) || dayOf(recorded) !== day) continue;
          await this.one(recorded);
          done++;
        }
      }
    } catch (error) {
      if (!(error instanceof Spent)) throw error;
    }
    this.report.left = Math.max(0, this.due - done);
    return this.report;
  }

  private async lookForClosed(): Promise<void> {
    const { scope, signal, damage } = this.question;
    for await (const [name, error] of this.verifier.closedFolders(scope)) {
      signal.throwIfAborted();
      this.report.closed++;
      damage(name, { state: 'unreadable', error });
    }
  }

  /** Counts what is due. @returns the days on which it was last verified, oldest first; 0 for never. */
  private async census(): Promise<number[]> {
    const days = new Set<number>();
    for await (const recorded of this.all()) {
      if (!this.isDue(recorded)) continue;
      days.add(dayOf(recorded));
      this.due++;
      this.dueBytes += recorded.size;
    }
    return [...days].sort((a, b) => a - b);
  }

  private isDue({ verified }: Recorded): boolean {
    return verified < this.started - (this.question.since ?? 0);
  }

  private async *all(): AsyncGenerator<Recorded> {
    let after: Buffer | undefined;
    do {
      const page = this.verifier.page(this.question.scope, after, PAGE);
      yield* page.entries;
      after = page.next;
      this.question.signal.throwIfAborted();
      // others' turn
      await new Promise((resolve) => setImmediate(resolve));
    } while (after);
  }

  private async one({ place, name }: Recorded): Promise<void> {
    const { report, question } = this;
    if (question.budget !== undefined && Date.now() - this.started >= question.budget) throw new Spent();
    const verdict = await this.verifier.check(place, async (bytes) => {
      question.signal.throwIfAborted();
      report.bytes += bytes;
      await this.pacer.take(bytes, question.signal);
    });
    if (verdict.state === 'gone') return;
    report.objects++;
    if (verdict.state === 'changed') report.changed++;
    if (verdict.state === 'damaged') report.damaged++;
    if (verdict.state === 'unreadable') report.unreadable++;
    if (verdict.state === 'damaged' || verdict.state === 'unreadable') question.damage(name, verdict);
    question.progress({ ...report, due: this.due, dueBytes: this.dueBytes });
  }
}

/** Whole days since 1970. */
function dayOf({ verified }: Recorded): number {
  return Math.floor(verified / DAY_MS);
}

/** Holds a rate of bytes a second, over the whole run. */
class Pacer {
  private readonly started = performance.now();
  private taken = 0;

  constructor(private readonly rate: number | undefined) {}

  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.rate === undefined) return;
    this.taken += bytes;
    const wait = (this.taken / this.rate) * 1000 - (performance.now() - this.started);
    if (wait <= 1) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, wait);
      function done(): void {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      }
      signal.addEventListener('abort', done);
    });
    signal.throwIfAborted();
  }
}
