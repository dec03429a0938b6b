/** A store that is watched as by a server, with somebody who listens: what other programs do in its bucket `box` is told. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { silentLog } from '../../src/base/log.js';
import { startBackground, type Background } from '../../src/jobs/background.js';
import type { ChangeReader, Position } from '../../src/store/changes-contract.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body } from '../suites/store/kit.js';

const QUIET_MS = 300;

export class Watched {
  private background: Background | undefined;
  private feed: ChangeReader;
  private told: string[] = [];
  private begun = false;

  /** @param quietMs long enough for what a test does within the time that a file has to be left alone. */
  static async open(quietMs = QUIET_MS): Promise<Watched> {
    const root = mkdtempSync(path.join(tmpdir(), 'gos3rve-watched-'));
    const store = await openStore(root, { durability: 'fast', quietMs });
    await store.createBucket('box', {});
    return new Watched(root, store, quietMs);
  }

  private constructor(
    readonly root: string,
    public store: LocalStore,
    private readonly quietMs: number,
  ) {
    store.changes.wantAlways(true);
    this.feed = store.changes.read('now');
  }

  at(...names: string[]): string {
    return path.join(this.root, 'box', ...names);
  }

  put(key: string): Promise<unknown> {
    return this.store.put('box', key, body(key.endsWith('/') ? '' : key));
  }

  /** What a server does. What was told before the first time is dropped. */
  async begin(watch: 'auto' | 'off' = 'auto'): Promise<void> {
    if (!this.begun) await this.acquaint();
    const { store } = this;
    this.background = startBackground(store, {
      watch,
      scanInterval: 0,
      hash: 'off',
      busy: () => false,
      log: silentLog,
      changes: {
        wanted: () => true,
        onOutsideChange: (change) => {
          this.take();
          store.changes.see(change, this.feed.told([...change.dirs, change.name].join('/')));
        },
      },
    });
    if (watch === 'off') return;
    await this.until(() => this.background?.watcher.acquainted === true);
    // its directories are older than the granularity of the clock
    await sleep(100);
    if (!this.begun) this.told = (this.take(), []);
    this.begun = true;
  }

  /** What is there before anybody listens is told to nobody. */
  private async acquaint(): Promise<void> {
    const { root, store } = this;
    const folders = readdirSync(root, { recursive: true, withFileTypes: true, encoding: 'utf8' })
      .filter((entry) => entry.isDirectory())
      .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)).split(path.sep));
    for (const dirs of [[], ...folders.filter(([top]) => top !== '.gos3rve')]) await store.live.lookAtDir(dirs);
    store.changes.wantAlways(false);
    store.changes.wantAlways(true);
  }

  /** No server runs. */
  async end(): Promise<void> {
    await this.background?.stop();
    this.background = undefined;
  }

  /** Whoever listens goes on where it was, and remembers nothing else. */
  async restart(): Promise<void> {
    this.take();
    const position = JSON.stringify(this.feed.position());
    await this.end();
    await this.store.close();
    this.store = await openStore(this.root, { durability: 'fast', quietMs: this.quietMs });
    this.feed = this.store.changes.read(JSON.parse(position) as Position);
  }

  async close(): Promise<void> {
    await this.end();
    await this.store.close();
    rmSync(this.root, { recursive: true, force: true });
  }

  /** These events in any order, and no more of them. */
  async tells(...expected: string[]): Promise<void> {
    await this.until(() => (this.take(), expected.every((one) => this.told.includes(one))));
    await this.settled();
    expect(this.told.splice(0).sort()).toEqual(expected.sort());
  }

  /** What is told of a key until nothing more comes, in order; a test that is slow may be told of each step, a fast one of the last only. */
  async tellsOf(key: string, last?: string): Promise<string[]> {
    const ofKey = (): string[] => (this.take(), this.told.filter((one) => one.endsWith(` ${key}`)));
    if (last !== undefined) await this.until(() => ofKey().at(-1) === `${last} ${key}`);
    await this.settled();
    const told = ofKey().map((one) => one.slice(0, -key.length - 1));
    this.told.length = 0;
    return told;
  }

  private async settled(): Promise<void> {
    await sleep(Math.max(4 * QUIET_MS, 2.5 * this.quietMs));
    this.take();
  }

  /** The same, but some of them may come twice. */
  async tellsAtLeastOnce(...expected: string[]): Promise<void> {
    await this.until(() => (this.take(), expected.every((one) => this.told.includes(one))));
    await sleep(4 * QUIET_MS);
    this.take();
    expect([...new Set(this.told.splice(0))].sort()).toEqual(expected.sort());
  }

  private take(): void {
    const changes = this.feed.next(1000);
    this.told.push(...changes.map(({ event, names }) => `${event.split(':')[0] ?? ''} ${names[0]?.key ?? ''}`));
  }

  private async until(what: () => boolean, ms = 15_000): Promise<void> {
    for (const end = Date.now() + ms; !what(); await sleep(25))
      if (Date.now() > end) throw new Error(`not within ${ms} ms, but ${this.told.join(', ')}`);
  }
}
