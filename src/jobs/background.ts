/** What a server does besides answering: it watches, scans, hashes and collects. One process of a root does. */
import type { Log } from '../base/log.js';
import type { LocalStore } from '../store/local.js';
import { Hasher } from './hash/hasher.js';
import { startJobs } from './schedule.js';
import type { ChangeSink } from './watch/change.js';
import { Watcher } from './watch/watcher.js';

export interface BackgroundOptions {
  watch: 'auto' | 'poll' | 'off';
  /** ms; 0: only at the start. */
  scanInterval: number;
  hash: 'eager' | 'lazy' | 'off';
  /** Nothing is collected then. */
  readOnly?: boolean;
  /** Whether requests are being served: the work then gives way. */
  busy: () => boolean;
  log: Log;
  /** One line that renews itself; absent where nobody looks. */
  status?: ((text: string) => void) | undefined;
  changes?: ChangeSink;
  /** Compiled hashing worker; tests from sources name it. */
  script?: URL;
}

export interface Background {
  /** Another one when the root's disk was away. */
  readonly watcher: Watcher;
  /** Only with `hash: 'eager'`. */
  hasher?: Hasher;
  /** Before the store is closed. */
  stop(): Promise<void>;
}

/** Starts at once and returns; nothing waits for it. */
export function startBackground(store: LocalStore, options: BackgroundOptions): Background {
  const { live, root } = store;
  const { busy } = options;
  const log = (level: 'debug' | 'info' | 'warn', message: string, data?: Record<string, unknown>): void =>
    options.log[level](message, data);
  const hasher =
    options.hash === 'eager'
      ? new Hasher({
          live,
          busy,
          log,
          status: options.status,
          ...(options.script && { script: options.script }),
          onRestless: (dirs, name) => watcher.lookLater(dirs, name),
        })
      : undefined;
  const newWatcher = (): Watcher =>
    new Watcher({
      root,
      live,
      mode: options.watch,
      scanIntervalMs: options.scanInterval,
      busy,
      log,
      ...(options.changes && { changes: options.changes }),
      ...(hasher && {
        onUnhashed: (dirs, name, size) => hasher.add(dirs, name, size),
        onUnhashedSomewhere: () => hasher.sweepSoon(),
      }),
    });
  let watcher = newWatcher();
  let stopped = false;
  let ended: Promise<unknown> = Promise.resolve();
  // watches die with their disk
  store.presence.listen({
    back: () => {
      if (stopped) return;
      const old = watcher;
      ended = Promise.all([ended, old.stop()]);
      watcher = newWatcher();
      watcher.start();
    },
  });
  const stopJobs = options.readOnly ? undefined : startJobs(store, options.log);
  watcher.start();
  hasher?.start();
  // without a scan nothing else would ask for it
  if (options.watch === 'off') hasher?.sweepSoon();
  return {
    get watcher() {
      return watcher;
    },
    ...(hasher && { hasher }),
    async stop() {
      stopped = true;
      await Promise.all([ended, watcher.stop(), hasher?.stop(), stopJobs?.()]);
    },
  };
}
