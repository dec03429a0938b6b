/**
 * The settings of a root, the same for `serve` and for the commands beside it: what the last `serve` was told by flags and environment, noted
 * in `<state>/serving.json`, then the root's config.yaml.
 */
import { readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { loadSettings, readConfigFile, type Environment, type Flags, type Settings } from '../base/config.js';
import { DEFAULT_EXCLUDES, OPTIONS, variableName, type Option, type OptionName } from '../base/options.js';
import { writeFileAtomic, type Ownership } from '../fs/statefile.js';
import type { StoreOptions } from '../store/open.js';
import type { Root } from './root.js';

/** Told to clients, and signed for by the ready-made lines, unless --region names another. */
export const DEFAULT_REGION = 'us-east-1';

/** What shapes the store, and what links depend on. Never a secret. */
const SHARED: readonly OptionName[] = [
  'bucket',
  'exclude',
  'defaultExcludes',
  'symlinks',
  'umask',
  'minFree',
  'minPartSize',
  'durability',
  'hash',
  'readOnly',
  'region',
  'publicUrl',
  'baseDomain',
];

export interface Serving {
  /** Options as written, by flag or variable, that config.yaml does not say. */
  told: Flags;
  /** Ids of the key pairs that the server takes. */
  accessKeys: string[];
}

/** Notes how a root is served, for the commands beside the server. */
export function noteServing(
  stateDir: string,
  flags: Flags,
  env: Environment,
  accessKeys: string[],
  owner: Ownership | undefined,
): void {
  const serving: Serving = { told: toldValues(flags, env), accessKeys };
  writeFileAtomic(join(stateDir, 'serving.json'), `${JSON.stringify(serving, null, 2)}\n`, owner);
}

/** What the last `serve` noted; nothing if none did, or if it cannot be read. */
export function readServing(stateDir: string): Serving {
  try {
    const { told, accessKeys } = JSON.parse(readFileSync(join(stateDir, 'serving.json'), 'utf8')) as Partial<Serving>;
    const known = Object.entries(told ?? {}).filter(([name]) => SHARED.some((shared) => shared === name));
    return { told: Object.fromEntries(known), accessKeys: Array.isArray(accessKeys) ? accessKeys : [] };
  } catch {
    return { told: {}, accessKeys: [] };
  }
}

function toldValues(flags: Flags, env: Environment): Flags {
  const told: Flags = {};
  for (const name of SHARED) {
    const option: Option<unknown> = OPTIONS[name];
    const written = flags[name] ?? (env[variableName(name)] || undefined);
    if (written === undefined) continue;
    told[name] =
      option.repeat && typeof written === 'string' ? written.split(',').filter((item) => item !== '') : written;
  }
  return told;
}

/**
 * Settings for a command on `root`.
 * @param keys whether the environment's AWS_… and GOS3RVE_…_KEY count; half a pair of them must not stop a command that needs none.
 * @throws UsageError for a config.yaml with faults.
 */
export async function settingsOf(root: Root, env: Environment, keys = false): Promise<Settings> {
  const config = await readConfigFile(join(root.stateDir, 'config.yaml'));
  const relevant = keys
    ? env
    : Object.fromEntries(Object.entries(env).filter(([name]) => !/(ACCESS_KEY|SECRET_KEY)/.test(name)));
  return loadSettings(readServing(root.stateDir).told, relevant, config);
}

/** How the store of a root is opened, whoever opens it. */
export async function storeOptions(
  root: Root,
  settings: Settings,
  log: NonNullable<StoreOptions['log']>,
): Promise<StoreOptions> {
  return {
    stateDir: root.stateDir,
    readOnly: settings.readOnly,
    aliases: Object.fromEntries(settings.bucket),
    exclude: excludePatterns(settings),
    symlinks: settings.symlinks,
    ...(settings.umask === undefined ? {} : { umask: settings.umask }),
    minFree: await minFreeBytes(root.path, settings.minFree),
    minPartSize: settings.minPartSize,
    durability: settings.durability,
    hash: settings.hash,
    log,
  };
}

export function excludePatterns({ defaultExcludes, exclude }: Settings): string[] {
  return [...(defaultExcludes ? DEFAULT_EXCLUDES : []), ...exclude];
}

/** --min-free in bytes. */
export async function minFreeBytes(root: string, share: Settings['minFree']): Promise<number> {
  if ('bytes' in share) return share.bytes;
  const { blocks, bsize } = await statfs(root);
  return Math.floor((blocks * bsize * share.percent) / 100);
}
