/** `gos3rve watch`: tails the feed of changes. While no server runs it watches the tree itself. */
import { eventRecord } from '../jobs/events/record.js';
import { Watcher } from '../jobs/watch/watcher.js';
import type { Change, ChangeReader } from '../store/changes-contract.js';
import type { LocalStore } from '../store/open.js';
import type { Call } from './commands/command.js';
import { humanSize, printable } from './output.js';
import { serverRuns } from './server-file.js';
import { openSession } from './session.js';

const POLL_MS = 100;
/** Outside changes are noted for so long after the last word that they are wanted, ms. */
const LEASE_MS = 120_000;
/** Whether a server runs is asked so often. */
const LOOK_MS = 1_000;
const BATCH = 256;
const REGION = 'us-east-1';

/** Runs until the signal. */
export async function watch(call: Call, options: { since: number | undefined; json: boolean }): Promise<void> {
  const { out, signal, args } = call;
  const session = await openSession(call);
  const { store } = session;
  const [written] = args;
  const target = written === undefined ? undefined : session.target(written);
  if (target) await store.getBucket(target.bucket);
  const feed = new Feed(store, options.since);
  const stand = new StandIn(store, feed, (text) => out.warn(text));
  const asJson = options.json || !out.terminal;
  try {
    for (; !signal.aborted; await pause(POLL_MS, signal)) {
      await stand.look();
      store.changes.want(LEASE_MS);
      for (let changes = feed.take(); changes.length > 0; changes = feed.take()) {
        for (const change of changes) {
          const name = change.names.find(
            ({ bucket, key }) => !target || (bucket === target.bucket && key.startsWith(target.key)),
          );
          if (!name) continue;
          const bucket = await store.getBucket(name.bucket).catch(() => undefined);
          const owner = bucket?.settings.owner?.id ?? '';
          const context = { region: REGION, configurationId: '', owner };
          await (asJson ? out.json(eventRecord(change, name, context)) : out.line(line(change, name)));
        }
      }
      const lost = feed.takeLost();
      if (lost > 0) out.warn(`${lost} changes are gone from the journal`);
    }
  } finally {
    await stand.stop();
  }
}

/** The feed, read ahead of the printing where it must be. */
class Feed {
  private readonly reader: ChangeReader;
  private ahead: Change[] = [];

  constructor(store: LocalStore, since: number | undefined) {
    this.reader = store.changes.read(since === undefined ? 'now' : { seq: since });
  }

  take(): Change[] {
    const { ahead } = this;
    this.ahead = [];
    return ahead.length > 0 ? ahead : this.reader.next(BATCH);
  }

  takeLost(): number {
    return this.reader.takeLost();
  }

  /** What was last told of a file, as of now. */
  told(path: string): string | undefined {
    for (let more = this.reader.next(BATCH); more.length > 0; more = this.reader.next(BATCH)) this.ahead.push(...more);
    return this.reader.told(path);
  }
}

/** Watches the tree for as long as no server does. */
class StandIn {
  private watcher: Watcher | undefined;
  private looked = -Infinity;

  constructor(
    private readonly store: LocalStore,
    private readonly feed: Feed,
    private readonly warn: (text: string) => void,
  ) {}

  /** Takes over from a server that has ended, and hands over to one that has started. */
  async look(): Promise<void> {
    const now = performance.now();
    if (now - this.looked < LOOK_MS || !this.store.presence.here) return;
    this.looked = now;
    let runs: boolean;
    try {
      runs = serverRuns(this.store.stateDir);
    } catch {
      // the disk is going: asked again
      return;
    }
    if (!runs) this.watcher ??= watchTree(this.store, this.feed, this.warn);
    else await this.stop();
  }

  async stop(): Promise<void> {
    const { watcher } = this;
    this.watcher = undefined;
    await watcher?.stop();
  }
}

function watchTree(store: LocalStore, feed: Feed, warn: (text: string) => void): Watcher {
  const watcher = new Watcher({
    root: store.root,
    live: store.live,
    mode: 'auto',
    scanIntervalMs: 600_000,
    busy: () => false,
    log: (level, message) => {
      if (level === 'warn') warn(message);
    },
    changes: {
      wanted: () => true,
      onOutsideChange: (change) => {
        store.changes.see(change, feed.told([...change.dirs, change.name].join('/')));
      },
    },
  });
  watcher.start();
  return watcher;
}

/** For people. */
function line(change: Change, { bucket, key }: { bucket: string; key: string }): string {
  const time = new Date(change.time).toLocaleTimeString('en-GB');
  const who = change.principal ?? (change.outside ? 'outside' : 'gos3rve');
  const size =
    change.size === undefined || change.event.startsWith('ObjectRemoved') ? '' : `  ${humanSize(change.size)}`;
  return `${time}  ${change.event.padEnd(22)}  ${printable(`${bucket}/${key}`)}${size}  (${who})`;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
  });
}
