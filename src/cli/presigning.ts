/** What a link is made of, gathered from the root: address, key pair, region; and what may be wrong with it. */
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { Settings } from '../base/config.js';
import { S3Error, UsageError } from '../base/errors.js';
import { processState } from '../base/process.js';
import type { Call } from './commands/command.js';
import { knownCredentials } from './credentials.js';
import type { Address, LinkInput } from './links.js';
import { tilde, type Root } from './root.js';
import { readRecord } from './server-file.js';
import { readServing, settingsOf } from './settings.js';
import { pathsOf, parseTarget, showTarget } from './target.js';

interface PresignOptions {
  /** ms */
  readonly expires: number;
  readonly method: string;
  readonly contentType: string | undefined;
  readonly publicUrl: Pick<Address, 'origin' | 'path'> | undefined;
  readonly endpoint: Pick<Address, 'origin' | 'path'> | undefined;
  readonly virtualHost: boolean;
  readonly post: boolean;
  readonly json: boolean;
  readonly accessKey: string | undefined;
  readonly secretKey: string | undefined;
}

type PresignCall = Pick<Call, 'args' | 'root' | 'store'> & { readonly options: PresignOptions };

export interface Prepared {
  root: Root;
  address: Address;
  input: LinkInput;
  /** The address is that of a server which runs no more. */
  stale: boolean;
}

/** @throws UsageError when there is no address or no key pair, or the argument names no object. */
export async function prepare(call: PresignCall): Promise<Prepared> {
  const { options, args } = call;
  const written = args[0] ?? '';
  const root = await call.root({ near: pathsOf(args) });
  const settings = await settingsOf(root, process.env, true);
  const target = parseTarget(written, root, new Map(settings.bucket));
  if (target.key === '' && !options.post) throw new UsageError(`"${written}" names a bucket; write bucket/key`);
  if (target.key.endsWith('/') && !options.post && options.method === 'PUT')
    throw new UsageError(`"${written}" names a folder; add the name of the object`);
  if (options.post && !options.json && /[\r\n]/.test(target.key))
    throw new UsageError('the key goes over several lines, of which each would be a field; pass --json');
  const { base, stale } = addressOf(root, settings, options);
  const { hostname } = new URL(base.origin);
  if (options.virtualHost && isIP(hostname.replace(/^\[|\]$/g, '')) !== 0)
    throw new UsageError(`--virtual-host: no bucket fits before ${hostname}; pass --public-url with a name`);
  const expires = Math.floor(options.expires / 1000);
  const input: LinkInput = {
    target,
    expires,
    region: settings.region ?? 'us-east-1',
    credential: keyPairOf(root, settings, options),
    ...(options.contentType === undefined ? {} : { contentType: options.contentType }),
  };
  return { root, address: { ...base, virtualHost: options.virtualHost }, input, stale };
}

function addressOf(
  root: Root,
  settings: Settings,
  options: PresignOptions,
): { base: Pick<Address, 'origin' | 'path'>; stale: boolean } {
  const given = options.publicUrl ?? options.endpoint;
  if (given !== undefined) return { base: given, stale: false };
  const record = readRecord(join(root.stateDir, 'server.json'));
  const endpoint = record?.endpoint || settings.publicUrl;
  if (endpoint === undefined)
    throw new UsageError(`no server runs on ${tilde(root.path)}; start one, or pass --endpoint or --public-url`, 1);
  const dead =
    record !== undefined &&
    processState({ pid: record.pid, start: record.pidStart, boot: record.bootId, namespace: record.namespace }) ===
      'dead';
  return { base: { origin: endpoint, path: '' }, stale: dead && settings.publicUrl === undefined };
}

/** The pair that is told; else, of those that the root has, the first that the server takes. */
function keyPairOf(root: Root, settings: Settings, options: PresignOptions): LinkInput['credential'] {
  const { accessKey, secretKey } = options;
  if (accessKey !== undefined && secretKey !== undefined) return { accessKey, secretKey };
  if (secretKey !== undefined) throw new UsageError('--secret-key is given without --access-key; give both');
  const known = knownCredentials(settings.credentials, root.stateDir);
  const taken = readServing(root.stateDir).accessKeys;
  const wanted = accessKey === undefined ? taken : [accessKey];
  const found = known.find((pair) => wanted.length === 0 || wanted.includes(pair.accessKey));
  if (found !== undefined) return found;
  if (wanted.length === 0)
    throw new UsageError(
      `${tilde(root.path)} has no key pair yet; start its server once, or pass --access-key and --secret-key`,
      1,
    );
  throw new UsageError(
    `the secret of access key ${wanted.join(' or ')} is not known here (config.yaml, credentials.json, environment); ` +
      'pass --access-key and --secret-key',
    1,
  );
}

/** What will make the link fail, as far as it can be seen from here. */
export async function warnings(call: PresignCall, { root, input, stale }: Prepared): Promise<string[]> {
  const found: string[] = [];
  const { method, post } = call.options;
  const { target } = input;
  if (stale) found.push('the server is not running; the link is for where it ran last');
  if (/(^|\/)\.{1,2}(\/|$)/.test(target.key))
    found.push('programs resolve . and .. in a link by themselves; with curl pass --path-as-is');
  try {
    const store = await call.store(root);
    await (post || method === 'PUT' ? store.getBucket(target.bucket) : store.head(target.bucket, target.key));
  } catch (error) {
    if (error instanceof S3Error && error.code === 'NoSuchBucket') found.push(`there is no bucket "${target.bucket}"`);
    else if (error instanceof S3Error && error.code === 'NoSuchKey') found.push(`${showTarget(target)} does not exist`);
    else throw error;
  }
  return found;
}
