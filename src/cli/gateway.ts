/** The settings of a root as its store and its HTTP side take them: for a server of one process, and for each worker of one of several. */
import { Keyring } from '../auth/keyring.js';
import type { Credential } from '../auth/types.js';
import type { Settings } from '../base/config.js';
import type { Log } from '../base/log.js';
import { Admission } from '../http/admission.js';
import { createServer, type GatewayServer, type Socketed } from '../http/server.js';
import type { Notifier } from '../jobs/events/targets.js';
import { openStore, type LocalStore } from '../store/open.js';
import { DEFAULT_REGION, storeOptions } from './settings.js';

/** A short journal is read before the server says that it is ready; a long one while it serves. */
const REBUILD_PATIENCE_MS = 100;

/** ms after which a disk that was taken away is let go of, though nobody asks this process for anything on it. */
const PRESENCE_MS = 2_000;

/** What is to be served. */
export interface Served {
  root: string;
  stateDir: string;
  settings: Settings;
}

export async function openServedStore({ root, stateDir, settings }: Served, log: Log): Promise<LocalStore> {
  const tell: Parameters<typeof storeOptions>[2] = (level, message, data) =>
    log[level](message, data === undefined ? undefined : { ...data });
  const store = await openStore(root, {
    ...(await storeOptions({ path: root, stateDir }, settings, tell)),
    patience: { open: REBUILD_PATIENCE_MS },
  });
  setInterval(() => store.presence.look(), PRESENCE_MS).unref();
  return store;
}

/**
 * @param credentials the first one's owner owns all buckets without a recorded owner.
 * @param shared what another process listens on, if this one is not to.
 */
export function serverOf(
  store: LocalStore,
  settings: Settings,
  log: Log,
  credentials: readonly Credential[],
  notifier: Notifier,
  shared?: Socketed,
): GatewayServer {
  const keyring = new Keyring(credentials);
  const rootOwner = credentials[0]?.owner;
  return createServer({
    store,
    keyring,
    service: {
      region: settings.region ?? DEFAULT_REGION,
      ...(rootOwner && { rootOwner }),
      grantees: keyring,
      notifier,
      minPartSize: settings.minPartSize,
      ...(settings.publicUrl === undefined ? {} : { publicUrl: settings.publicUrl }),
    },
    signingRegion: settings.region ?? 'any',
    readOnly: settings.readOnly,
    baseDomains: settings.baseDomain,
    admission: new Admission(settings.maxRequests),
    log,
    host: settings.host,
    port: settings.port,
    drainMs: settings.drainTimeout,
    ...(shared && { shared }),
  });
}
