/**
 * Keeps the index usable: at opening it is brought up to the journal; one that was lost, set aside or found damaged is made anew, while the store goes on
 * serving. Of several processes one does the work, and the others wait for it or take over if it dies.
 *
 * While it is made: reads wait a few seconds, then are answered from the tree, without what only the journal knows, and marked so that nobody
 * caches them; writes wait.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { S3Error, toS3Error } from '../base/errors.js';
import { tokenAlive } from '../base/process.js';
import { Aside } from '../catalog/damaged.js';
import { NotReady } from '../catalog/lmdb.js';
import { Replay, type Dangling } from '../catalog/replay.js';
import { DamagedIndex } from '../catalog/rows.js';
import { baseOf, type Damage } from '../catalog/segments.js';
import { isFull } from '../fs/statefile.js';
import type { Core } from './core.js';

/** Time of one slice of work, ms: as long as a request may be kept waiting. */
const SLICE_MS = 50;
/** A builder that has not been heard of for so long (ms) is taken for dead. */
const SILENT_MS = 15_000;
const POLL_MS = 50;
/** Directories that are looked at in one write. */
const DIRS_AT_ONCE = 500;
/** Between attempts that failed: no room, an unreadable journal. */
const RETRY_MS = 1000;
/** How long (ms) an index is waited for that found no room a moment ago. */
const FULL_MS = 50;
const BUILDER = Buffer.from('builder');

/** How manieth damaged lines of a segment are told: 1, 2, 3, 10, 100 … */
const TOLD = /^(?:[23]|10*)$/;

export interface Hooks {
  /** What this process is at, which the journal need not have told yet. Inside a write of an index that is being made anew. */
  begin(): void;
  /** What is under way, of which the index must know before anybody takes it for whole. Inside a write of one that was made anew; it has no numbers yet. */
  restore(dangling: Dangling): void;
  /** Ends what was interrupted, once all is replayed. */
  settle(dangling: Dangling): void;
}

export class Upkeep {
  private work: Promise<void> | undefined;
  private failure: Error | undefined;
  private closed = false;
  /** What other processes left behind was settled once. */
  private opened = false;
  /** One process may have several stores open. */
  private readonly id: string;

  constructor(
    private readonly core: Core,
    private readonly hooks: Hooks,
  ) {
    this.id = `${core.token}-${randomBytes(4).toString('hex')}`;
  }

  /** Whether the index does not hold yet what the journal says. */
  get rebuilding(): boolean {
    return this.work !== undefined || !this.core.catalog.index.ready;
  }

  /**
   * At opening. Resolves when all is applied, or after `patience` ms; the work then goes on.
   * @throws what keeps the index from being made, but for a full disk: then the store serves what it can.
   */
  async open(patience: number): Promise<void> {
    for (const until = performance.now() + patience; this.rebuilding || !this.opened;) {
      this.begin();
      await this.within(Math.min(until - performance.now(), 100));
      // it was told of, and is tried again as long as the store is open
      if (isFull(this.failure)) return;
      if (this.failure !== undefined) throw this.failure;
      if (performance.now() < until || !this.work) continue;
      this.core.log(
        'info',
        'the index is brought up to date from the journal; reads are answered from the tree, writes wait',
      );
      const began = performance.now();
      void this.work.then(() => {
        if (!this.closed)
          this.core.log('info', 'the index is up to date', { ms: Math.round(performance.now() - began + patience) });
      });
      return;
    }
  }

  /** Looks after the index though nobody asks for anything: one that was lost or damaged is made anew. */
  watch(): void {
    const { core } = this;
    if (this.work || this.closed || !core.presence.here) return;
    try {
      core.catalog.index.refresh();
    } catch {
      // its disk may be going away just now
      return;
    }
    if (this.rebuilding) this.begin();
  }

  /** The index turned out damaged: it is set aside and made anew. */
  damaged(error: DamagedIndex): void {
    if (this.work || this.closed) return;
    this.core.catalog.index.distrust(error.message);
    this.begin();
  }

  /** Waits until the index is ready, for `ms` at most. @returns whether it is. */
  async ready(ms: number): Promise<boolean> {
    if (!this.rebuilding) return true;
    this.begin();
    await this.within(isFull(this.failure) ? Math.min(ms, FULL_MS) : ms);
    return !this.rebuilding;
  }

  /** What a write is told that could not wait any longer. */
  refusal(): S3Error {
    if (this.failure !== undefined) return toS3Error(this.failure);
    return new S3Error('SlowDown', 'The index is being made anew from the journal. Please try again.');
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.work;
    if (this.core.catalog.index.ready || !this.core.presence.here) return;
    try {
      this.core.catalog.index.write(() => this.giveUpLead());
    } catch {
      // taken for dead after a while
    }
  }

  /** Waits for the work, `ms` at most. */
  private async within(ms: number): Promise<void> {
    if (!this.work) return;
    const over = new AbortController();
    const timeout = sleep(Math.min(ms, 2 ** 31 - 1), undefined, { signal: over.signal }).catch(() => undefined);
    await Promise.race([this.work, timeout]);
    over.abort();
  }

  private begin(): void {
    if (this.work || this.closed) return;
    this.work = this.catchUp().finally(() => (this.work = undefined));
  }

  /** Tries until it is done. */
  private async catchUp(): Promise<void> {
    const { index } = this.core.catalog;
    while (!this.closed) {
      try {
        if (await this.attempt()) {
          this.failure = undefined;
          return;
        }
      } catch (error) {
        // the disk is away: it goes on when it is back
        if (!this.core.presence.here) await sleep(RETRY_MS);
        else if (error instanceof DamagedIndex) index.discard();
        else if (!(error instanceof NotReady) && !(isFull(error) && index.makeRoom())) {
          if (this.failure === undefined)
            this.core.log('error', 'the index cannot be made anew; trying again', { error: String(error) });
          this.failure = error instanceof Error ? error : new Error(String(error));
          await sleep(RETRY_MS);
        }
      }
    }
  }

  /** @returns whether the index is ready now. */
  private async attempt(): Promise<boolean> {
    const { index, journal } = this.core.catalog;
    index.refresh();
    if (index.isCopy) index.discard();
    if (index.ready && index.number('seq') < (baseOf(journal.directory)?.upTo ?? 0)) {
      // left behind by a compaction: what it does not know to be gone is in no segment any more
      index.discard();
    }
    const fresh = !index.ready;
    const { generation } = index;
    if (fresh && !index.writeIn(generation, () => this.lead())) {
      await sleep(POLL_MS);
      return index.ready;
    }
    const aside = new Aside(journal.directory, this.core.owner);
    const replay = new Replay(this.core.catalog, (segment, damage) => this.report(aside, segment, damage));
    while (!replay.step(SLICE_MS)) {
      if (this.closed) return false;
      if (fresh && !index.writeIn(generation, () => this.lead())) return false;
      await new Promise((resolve) => setImmediate(resolve));
    }
    let dangling: Dangling | undefined = replay.finish();
    if (fresh)
      dangling = (await this.noteDirs(generation))
        ? index.writeIn(generation, () => this.makeReady(replay))
        : undefined;
    if (!dangling) return false;
    this.hooks.settle(dangling);
    this.opened = true;
    return true;
  }

  /** Inside a write. @returns undefined if another process has taken the lead. */
  private makeReady(replay: Replay): Dangling | undefined {
    const { index } = this.core.catalog;
    if (!this.takeLead()) return undefined;
    // as the journal ends now: nobody else can take the lock, and what ends after this finds what was restored
    const dangling = replay.finish();
    this.hooks.restore(dangling);
    index.remove('meta', BUILDER);
    index.setReady();
    return dangling;
  }

  /** Inside a write: the same as {@link takeLead}, having told what this process is at, whoever makes the index. */
  private lead(): boolean {
    this.hooks.begin();
    return this.takeLead();
  }

  /** @returns false if another process has taken the lead. */
  private async noteDirs(generation: number): Promise<boolean> {
    const { index } = this.core.catalog;
    for (let next: Buffer | undefined = Buffer.alloc(0); next;) {
      const from: Buffer = next;
      let leads = false;
      next = index.writeIn(generation, () => {
        leads = this.takeLead();
        return leads ? this.core.tracker.noteDirs(from, DIRS_AT_ONCE) : undefined;
      });
      if (!leads) return false;
      await new Promise((resolve) => setImmediate(resolve));
    }
    return true;
  }

  private giveUpLead(): void {
    const { index } = this.core.catalog;
    if (index.get('meta', BUILDER)?.toString().startsWith(`${this.id} `)) index.remove('meta', BUILDER);
  }

  /** Inside a write: whether the work is ours to do. */
  private takeLead(): boolean {
    const { index } = this.core.catalog;
    const [other = '', time = '0'] = (index.get('meta', BUILDER)?.toString() ?? '').split(' ');
    const heard = Date.now() - Number(time) < SILENT_MS;
    if (other !== '' && other !== this.id && heard && tokenAlive(other.slice(0, other.lastIndexOf('-')), 0))
      return false;
    index.put('meta', BUILDER, Buffer.from(`${this.id} ${Date.now()}`));
    return true;
  }

  /** Sets a damaged line aside and tells of it, once; where a segment is full of them, of a few. */
  private report(aside: Aside, segment: string, damage: Damage): void {
    const { core } = this;
    const at = { segment, offset: damage.start, bytes: damage.bytes.length };
    try {
      const count = aside.put(segment, damage);
      if (count === undefined || !TOLD.test(String(count))) return;
      core.log('warn', 'a damaged journal line was set aside in journal/damaged; all others count', {
        ...at,
        ...(count > 1 && { ofThisSegment: count }),
      });
    } catch (error) {
      core.log('warn', 'a damaged journal line was passed over', { ...at, error: String(error) });
    }
  }
}
