/**
 * Settings from their layers: flag, environment, config.yaml, default. The options themselves are rows in `options.ts`.
 */
import { readFile } from 'node:fs/promises';
import { UsageError, errno } from './errors.js';
import {
  OPTIONS,
  OPTION_NAMES,
  flagsOf,
  variableName,
  type Option,
  type OptionName,
  type OptionValue,
} from './options.js';
import { duration, keyId, keyPart } from './values.js';

/** A key pair as configured; `owner` and `displayName` are optional there. */
export interface CredentialSetting {
  accessKey: string;
  secretKey: string;
  owner?: string;
  displayName?: string;
  token?: string;
  email?: string;
}

/** Values after all layers were read. Sizes in bytes, times in ms. */
export type Settings = { [K in OptionName]: OptionValue<K> } & {
  /** The pair from flags or environment first, then those of config.yaml. Empty: use the generated one. */
  credentials: CredentialSetting[];
  /** Where events may be sent. */
  targets: TargetSetting[];
};

/** Of `notifications: { targets: { <name>: … } }`. */
export interface TargetSetting {
  name: string;
  url: string;
  secret?: string;
  /** From user and password in the URL. */
  authorization?: string;
  /** ms */
  timeout: number;
}

/** Values as written, by option; `where` names the place in messages (`--port`, `GOS3RVE_PORT`, `/x/config.yaml: port`). */
interface Layer {
  values: Map<OptionName, string | string[]>;
  where: (name: OptionName) => string;
}

/** Flags as the command line gave them; only those that were given. */
export type Flags = Partial<Record<OptionName, string | string[] | boolean>>;
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Puts the layers together.
 * @param file what {@link readConfigFile} gave.
 * @throws UsageError naming flag, variable or file and key, and what would be right.
 */
export function loadSettings(flags: Flags, env: Environment, file?: ConfigFile): Settings {
  const config = file ? readConfig(file) : undefined;
  const layers = [flagLayer(flags), ...environmentLayers(env), ...(config ? [config.layer] : [])];
  const settings: Record<string, unknown> = {};
  for (const name of OPTION_NAMES) settings[name] = resolve(name, layers);
  const own = keyPair(layers);
  delete settings['accessKey'];
  delete settings['secretKey'];
  return {
    ...(settings as Settings),
    accessKey: own?.accessKey,
    secretKey: own?.secretKey,
    credentials: [...(own ? [own] : []), ...(config?.credentials ?? [])],
    targets: config?.targets ?? [],
  };
}

/** Where the state directory is told to be by flag or environment; config.yaml lies in it and cannot say. */
export function stateDirSetting(flags: Flags, env: Environment): string | undefined {
  const layers = [flagLayer(flags), ...environmentLayers(env)];
  return resolve('stateDir', layers);
}

function resolve<K extends OptionName>(name: K, layers: Layer[]): OptionValue<K> {
  const option = OPTIONS[name] as Option<unknown>;
  for (const layer of layers) {
    const written = layer.values.get(name);
    if (written === undefined) continue;
    const items = (Array.isArray(written) ? written : [written]).map((item) => {
      try {
        return option.parse(item);
      } catch (error) {
        const shown = option.secret ? 'the value' : `"${item}"`;
        throw new UsageError(`${layer.where(name)}: ${shown} ${error instanceof Error ? error.message : 'is wrong'}`);
      }
    });
    if (option.repeat) {
      const all = items.flat();
      const twice = option.repeated?.(all);
      if (twice !== undefined) throw new UsageError(`${layer.where(name)}: ${twice}`);
      return all as OptionValue<K>;
    }
    if (items.length !== 1) throw new UsageError(`${layer.where(name)}: give one value, not ${items.length}`);
    return items[0] as OptionValue<K>;
  }
  return option.default as OptionValue<K>;
}

/** Both halves must come from one place: a flag's id with another's secret from the environment would be a silent mixture. */
function keyPair(layers: Layer[]): CredentialSetting | undefined {
  for (const layer of layers) {
    const [id, secret] = [layer.values.get('accessKey'), layer.values.get('secretKey')];
    if (id === undefined && secret === undefined) continue;
    if (typeof id === 'string' && typeof secret === 'string') return { accessKey: id, secretKey: secret };
    const [given, missing] =
      id === undefined ? (['secretKey', 'accessKey'] as const) : (['accessKey', 'secretKey'] as const);
    throw new UsageError(`${layer.where(given)} is given without ${layer.where(missing)}; give both or none`);
  }
  return undefined;
}

function flagLayer(flags: Flags): Layer {
  const values = new Map<OptionName, string | string[]>();
  for (const name of OPTION_NAMES) {
    const given = flags[name];
    if (given !== undefined) values.set(name, typeof given === 'boolean' ? String(given) : given);
  }
  return { values, where: (name) => flagsOf(name).split(' ')[0] ?? name };
}

/** An empty variable counts as unset: that is how compose files pass on what is not there. */
function environmentLayers(env: Environment): Layer[] {
  const own = new Map<OptionName, string | string[]>();
  for (const name of OPTION_NAMES) {
    const written = env[variableName(name)];
    if (!written) continue;
    const option: Option<unknown> = OPTIONS[name];
    own.set(name, option.repeat ? written.split(',').filter((item) => item !== '') : written);
  }
  const layers: Layer[] = [{ values: own, where: variableName }];
  // Temporary credentials of AWS in a developer's shell are no key pair for a server of their own.
  if (!env['AWS_SESSION_TOKEN']) {
    const aws = new Map<OptionName, string | string[]>();
    if (env['AWS_ACCESS_KEY_ID']) aws.set('accessKey', env['AWS_ACCESS_KEY_ID']);
    if (env['AWS_SECRET_ACCESS_KEY']) aws.set('secretKey', env['AWS_SECRET_ACCESS_KEY']);
    const names: Partial<Record<OptionName, string>> = {
      accessKey: 'AWS_ACCESS_KEY_ID',
      secretKey: 'AWS_SECRET_ACCESS_KEY',
    };
    layers.push({ values: aws, where: (name) => names[name] ?? name });
  }
  return layers;
}

/** A config.yaml as parsed, and its path for messages. */
export interface ConfigFile {
  path: string;
  document: unknown;
}

/**
 * Reads config.yaml; undefined if there is none. All scalars stay text (YAML's failsafe schema), so that an access key `0123`
 * keeps its zero. The YAML library is loaded only for a file that exists: a start must be quick.
 * @throws UsageError when it cannot be read or is no YAML.
 */
export async function readConfigFile(path: string): Promise<ConfigFile | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (errno(error) === 'ENOENT') return undefined;
    throw new UsageError(`cannot read ${path} (${errno(error) ?? 'unknown error'})`, 1);
  }
  const { parse } = await import('yaml');
  try {
    return { path, document: parse(text, { schema: 'failsafe', logLevel: 'error' }) as unknown };
  } catch (error) {
    const reason = error instanceof Error ? (error.message.split('\n')[0] ?? '') : '';
    throw new UsageError(`${path} is no valid YAML: ${reason.replace(/:$/, '')}`);
  }
}

function readConfig({ path, document }: ConfigFile): {
  layer: Layer;
  credentials: CredentialSetting[];
  targets: TargetSetting[];
} {
  const values = new Map<OptionName, string | string[]>();
  let credentials: CredentialSetting[] = [];
  let targets: TargetSetting[] = [];
  for (const [written, value] of entriesOf(path, document ?? {})) {
    const key = camelCase(written);
    if (key === 'credentials') credentials = readCredentials(path, value);
    else if (key === 'notifications') targets = readTargets(path, value);
    else if (key === 'stateDir')
      throw new UsageError(`${path}: stateDir cannot be set in the state directory; pass --state-dir`);
    else if (isOptionName(key)) values.set(key, scalars(path, key, value));
    else
      throw new UsageError(
        `${path}: unknown key "${written}"; ${suggestion(key, [...OPTION_NAMES, 'credentials', 'notifications'])}`,
      );
  }
  return { layer: { values, where: (name) => `${path}: ${name}` }, credentials, targets };
}

function readCredentials(path: string, value: unknown): CredentialSetting[] {
  if (!Array.isArray(value))
    throw new UsageError(`${path}: credentials must be a list of { accessKey, secretKey, owner, displayName }`);
  const known = ['accessKey', 'secretKey', 'owner', 'displayName', 'token', 'email'] as const;
  return value.map((entry: unknown, index) => {
    const where = `${path}: credentials[${index}]`;
    const found: Partial<Record<(typeof known)[number], string>> = {};
    for (const [written, member] of entriesOf(where, entry)) {
      const key = known.find((name) => name === camelCase(written));
      if (!key) throw new UsageError(`${where}: unknown key "${written}"; ${suggestion(camelCase(written), known)}`);
      if (typeof member !== 'string' || member === '') throw new UsageError(`${where}: ${key} must be text`);
      found[key] = member;
    }
    const { accessKey, secretKey, ...rest } = found;
    if (!accessKey || !secretKey) throw new UsageError(`${where}: accessKey and secretKey are both needed`);
    try {
      return { ...rest, accessKey: keyId(accessKey), secretKey: keyPart(secretKey) };
    } catch (error) {
      throw new UsageError(`${where}: a key ${error instanceof Error ? error.message : 'is wrong'}`);
    }
  });
}

/** @throws UsageError; it shows no URL, for there may be a password in it. */
function readTargets(path: string, value: unknown): TargetSetting[] {
  const members = entriesOf(`${path}: notifications`, value);
  const other = members.find(([name]) => name !== 'targets');
  if (other) throw new UsageError(`${path}: notifications: unknown key "${other[0]}"; known is targets`);
  return members.flatMap(([, targets]) =>
    entriesOf(`${path}: notifications: targets`, targets).map(([name, target]) => readTarget(path, name, target)),
  );
}

function readTarget(path: string, name: string, value: unknown): TargetSetting {
  const where = `${path}: notifications: targets: ${name}`;
  if (!/^[A-Za-z0-9_-]{1,80}$/.test(name))
    throw new UsageError(`${where}: a name has up to 80 letters, digits, - and _`);
  const given = new Map<string, string>();
  for (const [key, member] of entriesOf(where, value)) {
    if (!['url', 'secret', 'timeout'].includes(key))
      throw new UsageError(`${where}: unknown key "${key}"; known are url, secret, timeout`);
    if (typeof member !== 'string' || member === '') throw new UsageError(`${where}: ${key} must be text`);
    given.set(key, member);
  }
  const url = URL.canParse(given.get('url') ?? '') ? new URL(given.get('url') ?? '') : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) throw new UsageError(`${where}: url must be an http or https URL`);
  const user = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  url.username = url.password = '';
  const secret = given.get('secret');
  try {
    return {
      name,
      url: url.href,
      timeout: duration(given.get('timeout') ?? '10s'),
      ...(secret !== undefined && { secret }),
      ...(user !== ':' && { authorization: `Basic ${Buffer.from(user).toString('base64')}` }),
    };
  } catch (error) {
    throw new UsageError(`${where}: timeout ${error instanceof Error ? error.message : 'is wrong'}`);
  }
}

function scalars(path: string, key: OptionName, value: unknown): string | string[] {
  const option: Option<unknown> = OPTIONS[key];
  if (typeof value === 'string') return value;
  if (option.repeat && Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
  // bucket: { films: media/films } reads better in YAML than a list of alias=path.
  if (key === 'bucket' && typeof value === 'object' && value !== null && !Array.isArray(value))
    return Object.entries(value).map(([alias, target]: [string, unknown]) => {
      if (typeof target === 'string') return `${alias}=${target}`;
      throw new UsageError(`${path}: bucket: ${alias} must be the path of one folder`);
    });
  throw new UsageError(`${path}: ${key} must be ${option.repeat ? 'a value or a list of values' : 'one value'}`);
}

function entriesOf(where: string, value: unknown): [string, unknown][] {
  if (value === '') return [];
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new UsageError(`${where}: expected "key: value" lines`);
  return Object.entries(value);
}

function isOptionName(key: string): key is OptionName {
  return Object.hasOwn(OPTIONS, key);
}

function camelCase(key: string): string {
  return key.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function suggestion(key: string, known: readonly string[]): string {
  const low = key.toLowerCase();
  const near = known.find((name) => {
    const other = name.toLowerCase();
    return other.startsWith(low.slice(0, 4)) || other.includes(low) || low.includes(other);
  });
  return near ? `did you mean ${near}?` : `known are ${known.join(', ')}`;
}
