/**
 * Events of a server: reads the feed of changes, matches each with the settings of its bucket, queues what is wanted on the disk and delivers it.
 *
 * Nothing is lost by a crash: the cursor is written down after what it has passed was queued and flushed. What is read again then is queued again: at
 * least once.
 */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { S3Error } from '../../base/errors.js';
import type { Log } from '../../base/log.js';
import { cursorPath } from '../../catalog/held.js';
import { makeStateDir, ownershipOf, writeFileAtomic, type Ownership } from '../../fs/statefile.js';
import type { Change, ChangeReader, Position } from '../../store/changes-contract.js';
import type { LocalStore } from '../../store/open.js';
import type { ChangeSink, OutsideChange } from '../watch/change.js';
import { Delivery } from './deliver.js';
import { matches } from './match.js';
import { DiskQueue, type Queued } from './queue.js';
import { eventRecord } from './record.js';
import { Sender } from './send.js';
import type { EventTarget, Notifier } from './targets.js';

export interface EventOptions {
  store: LocalStore;
  targets: readonly EventTarget[];
  region: string;
  /** Owner of buckets that have none recorded. */
  owner: string;
  log: Log;
  /** ms after the first failed attempt; tests are in a hurry. */
  firstDelay?: number;
}

const POLL_MS = 100;
const SAVE_MS = 1000;
/** The cursor says so often that it is alive. */
const HOUR_MS = 3_600_000;
/** Outside changes are noted for so long after the last word that they are wanted. */
const LEASE_MS = 120_000;
const BATCH = 256;

interface Channel {
  target: EventTarget;
  queue: DiskQueue;
  delivery: Delivery;
}

export class EventService implements Notifier, ChangeSink {
  private readonly sender = new Sender();
  private readonly channels = new Map<string, Channel>();
  private readonly directory: string;
  private readonly owner: Ownership | undefined;
  private reader: ChangeReader | undefined;
  /** Some bucket has notifications. */
  private active = false;
  private turn: Promise<void> = Promise.resolve();
  private timer: NodeJS.Timeout | undefined;
  private saved = 0;
  /** What the cursor's file says, but for the time. */
  private lastCursor = '';
  private written = 0;
  private closed = false;
  private started = false;

  constructor(private readonly options: EventOptions) {
    this.directory = join(options.store.stateDir, 'events');
    this.owner = ownershipOf(options.store.root);
    options.store.presence.listen({
      away: () => {
        for (const { queue } of this.channels.values()) queue.letGo();
      },
    });
  }

  /** Takes up what was left, before requests are served; or once the index is made, which knows up to where the journal goes. */
  async start(): Promise<void> {
    if (this.closed) return;
    if (this.options.store.live.rebuilding) {
      this.timer = setTimeout(() => void this.start().catch((error: unknown) => this.failed(error)), POLL_MS);
      return;
    }
    for (const target of this.options.targets) this.open(target);
    await this.refreshSettings();
    this.started = true;
    for (const { delivery } of this.channels.values()) delivery.pump();
    this.schedule();
  }

  has(target: string): boolean {
    return this.options.targets.some(({ name }) => name === target);
  }

  async test(target: string, message: object): Promise<void> {
    const found = this.options.targets.find(({ name }) => name === target);
    if (found) await this.sender.send(found, message);
  }

  async settle(): Promise<number> {
    if (!this.started || this.options.store.live.rebuilding)
      throw new S3Error('SlowDown', 'The index is being made anew from the journal. Please try again.');
    if (this.active) await this.step(Infinity);
    return this.options.store.changes.position();
  }

  changed(): void {
    if (this.started) void this.refreshSettings().catch((error: unknown) => this.failed(error));
  }

  wanted(): boolean {
    return this.active || this.options.store.changes.wanted;
  }

  starting(): boolean {
    return !this.started && !this.closed;
  }

  /** Notes it for all who listen, unless it was told already or is S3's own doing: so the feed is read to its end before. */
  async onOutsideChange(change: OutsideChange): Promise<void> {
    const { store } = this.options;
    if (this.active) await this.step(Infinity);
    else this.follow();
    store.changes.see(change, this.reader?.told([...change.dirs, change.name].join('/')));
  }

  async stop(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    await this.turn;
    for (const { delivery } of this.channels.values()) await delivery.stop();
    await this.sender.close();
    // what was delivered last is delivered again
    if (!this.options.store.presence.here) return;
    this.saveCursor(true);
    for (const { queue } of this.channels.values()) await queue.close();
  }

  private open(target: EventTarget): void {
    const { log, firstDelay } = this.options;
    const directory = join(this.directory, target.name);
    makeStateDir(directory, this.owner);
    const queue = new DiskQueue(directory, this.owner);
    // the journal was begun anew
    if (queue.lastSeq > this.options.store.changes.position()) queue.lastSeq = 0;
    const delivery = new Delivery(queue, {
      send: ({ record }, signal) => this.sender.send(target, { Records: [record] }, signal),
      warn: (message, data) => log.warn(message, { target: target.name, ...data }),
      ...(firstDelay !== undefined && { firstDelay }),
    });
    this.channels.set(target.name, { target, queue, delivery });
  }

  /** Whether anybody wants events, and from when on. The cursor is on the disk before the first of them is looked for. */
  private async refreshSettings(): Promise<void> {
    const { store } = this.options;
    const { buckets } = await store.listBuckets();
    const settings = buckets.flatMap((bucket) => bucket.settings.notification ?? []);
    const was = this.active;
    this.active = this.channels.size > 0 && settings.length > 0;
    if (this.active !== was || !this.started) store.changes.wantAlways(this.active);
    if (this.active === was) return;
    if (!this.active) {
      this.reader = undefined;
      rmSync(this.cursorPath(), { force: true });
      return;
    }
    const since = Math.min(...settings.map((one) => one.since ?? Infinity));
    const cursor = this.readCursor() ?? (since < Infinity ? { seq: since } : undefined);
    this.reader = cursor ? store.changes.read(cursor) : store.changes.read('now');
    this.saveCursor(true);
    this.lease();
  }

  private schedule(): void {
    if (this.closed) return;
    this.timer = setTimeout(() => {
      this.step(BATCH)
        .catch((error: unknown) => this.failed(error))
        .finally(() => this.schedule());
    }, POLL_MS);
  }

  /** One after the other. */
  private step(max: number): Promise<void> {
    const work = this.turn.then(() => this.work(max));
    this.turn = work.catch(() => undefined);
    return work;
  }

  private async work(max: number): Promise<void> {
    const { store } = this.options;
    if (!store.presence.here) return;
    if (this.active) this.lease();
    if (store.live.rebuilding) return;
    if (!this.active) {
      if (store.changes.wanted) this.follow();
      else this.reader = undefined;
      return;
    }
    const { reader } = this;
    if (!reader) return;
    for (let left = max; left > 0;) {
      const changes = reader.next(Math.min(left, BATCH));
      const lost = reader.takeLost();
      if (lost > 0) this.options.log.warn('changes were compacted before they could be told of', { changes: lost });
      if (changes.length === 0) break;
      left -= changes.length;
      const touched = new Set<Channel>();
      for (const change of changes) await this.queueChange(change, touched);
      for (const channel of touched) {
        await channel.queue.flush();
        channel.delivery.pump();
        const full = channel.queue.takeLost();
        if (full > 0)
          this.options.log.warn('the queue of a target is full; its oldest events were dropped', {
            target: channel.target.name,
            events: full,
          });
      }
    }
    this.saveCursor(false);
  }

  /** Only others listen, `gos3rve watch`: what they are told from their beginning on is remembered. */
  private follow(): void {
    while ((this.reader ??= this.options.store.changes.read('now')).next(BATCH).length > 0);
  }

  private async queueChange(change: Change, touched: Set<Channel>): Promise<void> {
    const { store, region, owner } = this.options;
    for (const name of change.names) {
      const bucket = await store.getBucket(name.bucket).catch(() => undefined);
      const wanted = matches(bucket?.settings.notification, change.event, name.key, change.seq);
      for (const { target, configurationId } of wanted) {
        const channel = this.channels.get(target);
        // read again after a crash
        if (!channel || change.seq < channel.queue.lastSeq) continue;
        const record = eventRecord(change, name, {
          region: bucket?.settings.region ?? region,
          configurationId,
          owner: bucket?.settings.owner?.id ?? owner,
        });
        const queued: Queued = { seq: change.seq, at: Date.now(), key: `${name.bucket}/${name.key}`, record };
        channel.queue.append([queued]);
        touched.add(channel);
      }
    }
  }

  /** Each time: the index may be another one by now. */
  private lease(): void {
    const { changes } = this.options.store;
    changes.wantAlways(true);
    changes.want(LEASE_MS);
  }

  private saveCursor(now: boolean): void {
    if (!this.active || !this.reader || (!now && Date.now() - this.saved < SAVE_MS)) return;
    this.saved = Date.now();
    for (const { queue } of this.channels.values()) queue.save();
    makeStateDir(this.directory, this.owner);
    const cursor = { ...this.reader.position(), time: this.saved };
    const text = JSON.stringify(cursor);
    const same = text.replace(/"time":\d+/, '');
    if (!now && same === this.lastCursor && this.saved - this.written < HOUR_MS) return;
    this.written = this.saved;
    this.lastCursor = same;
    writeFileAtomic(this.cursorPath(), `${text}\n`, this.owner);
  }

  private readCursor(): Position | undefined {
    try {
      const { seq, segments } = JSON.parse(readFileSync(this.cursorPath(), 'utf8')) as Partial<Position>;
      return typeof seq === 'number' && seq <= this.options.store.changes.position()
        ? { seq, ...(segments && { segments }) }
        : undefined;
    } catch {
      return undefined;
    }
  }

  private cursorPath(): string {
    return cursorPath(this.options.store.stateDir);
  }

  private failed(error: unknown): void {
    this.options.log.warn('events could not be read or queued; trying again', { error });
  }
}
