/**
 * Work that many ask for at once, of which a run serves all who asked before it began: a flush. So it costs what the disk can do, not what is asked for,
 * and each who waits for a run is told of its failure - fsync(2) tells one of its callers only.
 */
export class Shared {
  private running: Promise<void> | undefined;
  private next: Promise<void> | undefined;

  constructor(private readonly work: () => Promise<void>) {}

  /** Resolves, or fails, with a run that begins after this call. */
  run(): Promise<void> {
    if (!this.running) return this.begin();
    // the one under way may have passed what the caller has just done
    const begin = (): Promise<void> => {
      this.next = undefined;
      return this.begin();
    };
    return (this.next ??= this.running.then(begin, begin));
  }

  private begin(): Promise<void> {
    const run = this.work().finally(() => {
      if (this.running === run) this.running = undefined;
    });
    this.running = run;
    return run;
  }
}
