/**
 * `gos3rve serve <dir>`: from settings to a running server, and its orderly end.
 *
 * Standard output carries the banner (and, on a terminal, the log lines for people); JSON log lines go to standard error.
 */
import { accessSync, constants, realpathSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Credential } from '../auth/types.js';
import { loadSettings, readConfigFile, stateDirSetting, type Flags, type Settings } from '../base/config.js';
import { S3Error, UsageError, errno } from '../base/errors.js';
import { humanSize, openLog, type Log } from '../base/log.js';
import { STATE_DIR } from '../fs/keypath.js';
import { checkMounted, rememberRoot } from '../fs/roots.js';
import { checkState, checkStatePlace } from '../fs/state-dir.js';
import { makeStateDir, ownershipOf, type Ownership } from '../fs/statefile.js';
import type { GatewayServer } from '../http/server.js';
import type { Background } from '../jobs/background.js';
import type { EventService } from '../jobs/events/service.js';
import type { LocalStore } from '../store/open.js';
import { banner } from './banner.js';
import { loadCredentials, openToOthers, type Credentials } from './credentials.js';
import { checkDirectory, tilde } from './root.js';
import type { Served } from './gateway.js';
import { ServerFile } from './server-file.js';
import { DEFAULT_REGION, minFreeBytes, noteServing } from './settings.js';
import { onSignals } from './signals.js';
import { StatusLine } from './status-line.js';
import { version } from './version.js';

/** What a started server consists of, in the order in which it is taken down. */
interface Running {
  background?: Background;
  events?: EventService;
  server?: GatewayServer;
  store?: LocalStore;
  claim: ServerFile;
  log: Log;
  /** Where log lines for people go. */
  screen: StatusLine;
}

/**
 * Starts serving and returns once the server is ready; the process then lives until a signal ends it.
 * @throws UsageError: everything that the user can put right.
 */
export async function serve(directory: string, flags: Flags): Promise<void> {
  if (directory === '') throw new UsageError('no directory was named; pass the one to serve, or . for this one');
  const root = resolve(directory);
  checkMounted(checkDirectory(root, directory));
  const stateDir = resolve(stateDirSetting(flags, process.env) ?? join(root, STATE_DIR));
  const config = await readConfigFile(join(stateDir, 'config.yaml'));
  const settings = loadSettings(flags, process.env, config);
  const owner = ownershipOf(root);
  // before credentials are made where they must not be
  checkStatePlace(root, stateDir);
  checkState(root, stateDir);
  prepareStateDir(stateDir, owner);
  const screen = new StatusLine(process.stdout);
  const log = await openLog({
    stdout: screen,
    level: settings.quiet && settings.logLevel === 'info' ? 'warn' : settings.logLevel,
    format: settings.logFormat,
  });
  const claim = await ServerFile.claim(stateDir, {
    ...(owner ? { owner } : {}),
    onWait: (other) =>
      log.warn('another server may hold this directory; waiting for a sign of life', {
        host: other.host,
        pid: other.pid,
      }),
    onLost: () => {
      log.error('another server has taken this directory over; stopping');
      process.kill(process.pid, 'SIGTERM');
    },
    isAway: () => running.store !== undefined && running.store.presence.look() !== 'here',
  });
  const running: Running = { claim, log, screen };
  handleSignals(running);
  try {
    const credentials = loadCredentials(settings.credentials, stateDir, owner);
    if (config && settings.credentials.length > 0) credentials.warnings.push(...secretsIn(config, settings));
    const listening = (): void => tellCommands(root, stateDir, flags, credentials, owner);
    await start(running, { root, stateDir, settings, credentials, listening });
  } catch (error) {
    await stop(running).catch(() => undefined);
    throw error;
  }
}

/** For the commands beside the server: where this is, and how it is served. They manage without, if it cannot be noted. */
function tellCommands(
  root: string,
  stateDir: string,
  flags: Flags,
  credentials: Credentials,
  owner: Ownership | undefined,
): void {
  const real = realpathSync.native(root);
  rememberRoot(real, stateDir === join(root, STATE_DIR) ? undefined : stateDir);
  const accessKeys = credentials.list.map(({ accessKey }) => accessKey);
  try {
    noteServing(stateDir, flags, process.env, accessKeys, owner);
  } catch {
    // a full disk
  }
}

/** And what is to be said and noted once the server answers. */
interface Plan extends Served {
  credentials: Credentials;
  listening: () => void;
}

async function start(running: Running, plan: Plan): Promise<void> {
  const { log, claim } = running;
  const { root, settings, credentials } = plan;
  // Loaded only now: `--help` and refusals need none of it.
  const [{ openServedStore, serverOf }, { startBackground }, { EventService: Events }] = await Promise.all([
    import('./gateway.js'),
    import('../jobs/background.js'),
    import('../jobs/events/service.js'),
  ]);
  const store = await openServedStore(plan, log);
  running.store = store;
  store.presence.listen({ away: () => claim.suspend(), back: () => claim.resume() });
  const rootOwner = credentials.list[0].owner;
  for (const name of settings.createBucket) await ensureBucket(store, name, rootOwner);
  const region = settings.region ?? DEFAULT_REGION;
  const events = new Events({ store, targets: settings.targets, region, owner: rootOwner.id, log });
  running.events = events;
  await events.start();
  const own = serverOf(store, settings, log, credentials.list, events);
  const server = settings.workers > 1 ? await poolOf(own, running, plan, events) : own;
  running.server = server;
  await announce(running, server, plan);
  await remark(log, () => tellFree(root, settings, log));
  const { screen } = running;
  const shows = screen.isTTY && settings.logFormat !== 'json' && !settings.quiet;
  running.background = startBackground(store, {
    watch: settings.watch,
    scanInterval: settings.scanInterval,
    hash: settings.hash,
    readOnly: settings.readOnly,
    changes: events,
    busy: () => server.underWay > 0,
    log,
    ...(shows && { status: (text: string) => screen.show(text) }),
  });
  await remark(log, () => tellNotes(store, log));
}

async function announce({ log, claim }: Running, server: GatewayServer, plan: Plan): Promise<void> {
  const { root, stateDir, settings, credentials, listening } = plan;
  const { url } = await server.listen();
  listening();
  const endpoint = settings.publicUrl ?? url;
  claim.announce(endpoint);
  if (!settings.quiet) process.stdout.write(greeting(root, endpoint, settings, credentials));
  log.info('ready', { endpoint, root, startup: `${Math.round(process.uptime() * 1000)} ms` });
  for (const warning of credentials.warnings) log.warn(warning);
  if (settings.durability === 'fast')
    log.warn('durability is fast: a power cut can lose the last writes that were answered');
  if (!claim.recorded)
    log.warn(
      'no room left on the disk: reads go on, but commands do not learn where this server is until there is some',
      { path: stateDir },
    );
}

/** The server is ready: what is only said beside must not end it, should its disk go just now. */
async function remark(log: Log, say: () => Promise<void>): Promise<void> {
  try {
    await say();
  } catch (error) {
    log.warn('the directory could not be looked over', { error: String(error) });
  }
}

/** Several processes that answer, this one among them. */
async function poolOf(
  own: GatewayServer,
  { log, screen }: Running,
  { root, stateDir, settings, credentials }: Plan,
  events: EventService,
): Promise<GatewayServer> {
  const { WorkerPool } = await import('./workers/pool.js');
  const { isTTY: terminal } = screen;
  return new WorkerPool(own, { root, stateDir, settings, credentials: credentials.list, terminal }, events, {
    log,
    ...(terminal && { screen: (text: string) => screen.write(text) }),
  });
}

async function tellFree(root: string, settings: Settings, log: Log): Promise<void> {
  if (settings.readOnly) return;
  const { bavail, bsize } = await statfs(root);
  const least = await minFreeBytes(root, settings.minFree);
  if (bavail > 0 && bavail * bsize >= least) return;
  log.warn('too little room on the disk: uploads are refused (507) until there is more', {
    path: root,
    free: humanSize(bavail * bsize),
    'min-free': humanSize(least),
  });
}

/** After the server is ready, for it reads the top of the tree. */
async function tellNotes(store: LocalStore, log: Log): Promise<void> {
  const { badNames, looseFiles, looseCount, shadowed } = await store.notes();
  if (badNames.length > 0)
    log.warn(
      `${count(badNames.length, 'folder')} served under a name that S3 would not allow: ${few(badNames, badNames.length)}`,
    );
  if (shadowed.length > 0)
    log.warn(`an alias hides ${count(shadowed.length, 'folder')} of its name: ${few(shadowed, shadowed.length)}`);
  if (looseCount > 0)
    log.warn(
      `${count(looseCount, 'file')} at the top of the directory, in no bucket, not served: ${few(looseFiles, looseCount)}`,
    );
}

function count(n: number, noun: string): string {
  return n === 1 ? `one ${noun}` : `${n} ${noun}s`;
}

function few(names: readonly string[], total: number): string {
  const shown = names.slice(0, 3).map((name) => JSON.stringify(name));
  return shown.join(', ') + (total > shown.length ? ' …' : '');
}

function prepareStateDir(stateDir: string, owner: Ownership | undefined): void {
  try {
    makeStateDir(stateDir, owner);
    accessSync(stateDir, constants.W_OK | constants.X_OK);
  } catch (error) {
    const why = errno(error) ?? 'unknown error';
    throw new UsageError(
      `cannot keep state in ${stateDir} (${why}); pass --state-dir with a directory that can be written`,
      1,
    );
  }
}

/** --create-bucket: what is there already is fine. */
async function ensureBucket(store: LocalStore, name: string, owner: Credential['owner']): Promise<void> {
  try {
    await store.getBucket(name);
    return;
  } catch (error) {
    if (!(error instanceof S3Error && error.code === 'NoSuchBucket')) throw error;
  }
  try {
    const { checkBucketName } = await import('../ops/bucket-names.js');
    checkBucketName(name);
    await store.createBucket(name, { owner });
  } catch (error) {
    if (error instanceof S3Error && ['BucketAlreadyExists', 'BucketAlreadyOwnedByYou'].includes(error.code)) return;
    throw new UsageError(`--create-bucket ${name}: ${error instanceof Error ? error.message : 'failed'}`, 1);
  }
}

/** The secret is shown at the first start and on a terminal, never where only a log collector listens - and only if we made it. */
function greeting(root: string, endpoint: string, settings: Settings, credentials: Credentials): string {
  const [first] = credentials.list;
  const terminal = process.stdout.isTTY === true;
  const show = credentials.source === 'generated' || (credentials.source === 'file' && terminal);
  const remarks: string[] = [];
  if (settings.readOnly) remarks.push('Read-only: nothing can be changed.');
  if (!/^(127\.|localhost$|::1$)/.test(settings.host))
    remarks.push(`Reachable from the network (--host ${settings.host}).`);
  return banner(
    {
      version: version(),
      root: tilde(root),
      endpoint,
      accessKey: first.accessKey,
      ...(show ? { secretKey: first.secretKey } : {}),
      secretHint: credentials.file === undefined ? '(as configured)' : `in ${tilde(credentials.file)}`,
      region: settings.region ?? DEFAULT_REGION,
      anyRegion: settings.region === undefined,
      remarks,
    },
    terminal,
  );
}

function secretsIn(config: { path: string; document: unknown }, settings: Settings): string[] {
  return JSON.stringify(config.document).includes(settings.credentials.at(-1)?.secretKey ?? '\0')
    ? openToOthers(config.path)
    : [];
}

/** The first signal drains and exits 0, a second one gives up on that. */
function handleSignals(running: Running): void {
  const finish = (signal: NodeJS.Signals): void => {
    running.log.info(`${signal}: finishing requests under way, then stopping`);
    stop(running).then(
      () => process.exit(0),
      (error: unknown) => {
        running.log.error('the stop was not clean', { error });
        running.log.flush();
        process.exit(1);
      },
    );
  };
  onSignals(finish, () => process.exit(1));
  // Whoever read our output may have gone; that is no reason to stop serving.
  process.stdout.on('error', () => undefined);
  process.on('unhandledRejection', (error) => running.log.error('unhandled rejection (a bug in gos3rve)', { error }));
  process.on('uncaughtException', (error) => {
    // The state of the process is unknown now; what was answered is on disk, so ending it is safe.
    running.log.error('uncaught exception (a bug in gos3rve); stopping', { error });
    running.log.flush();
    process.exit(1);
  });
}

async function stop(running: Running): Promise<void> {
  await running.background?.stop();
  await running.server?.close();
  await running.events?.stop();
  await running.store?.close();
  running.claim.release();
  running.log.flush();
}
