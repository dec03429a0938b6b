/**
 * The library's door.
 *
 * @example
 * const store = await openStore('/srv/media');
 * const page = await store.list('photos', { prefix: '2024/', delimiter: '/', after: '', max: 1000 });
 * const server = createServer({ store, credentials: [{ accessKey, secretKey, owner }], port: 0 });
 * const { url } = await server.listen();
 */
import { Keyring } from './auth/keyring.js';
import type { Credential } from './auth/types.js';
import { UsageError } from './base/errors.js';
import { silentLog, type Log } from './base/log.js';
import { createServer as createGateway, type GatewayServer } from './http/server.js';
import type { Store } from './store/contract.js';

export { openStore } from './store/open.js';
export type { LocalStore, StoreOptions } from './store/open.js';
export type * from './store/contract.js';
export type * from './base/model.js';
export type { Credential } from './auth/types.js';
export type { GatewayServer } from './http/server.js';
export type { Log } from './base/log.js';
export { generateCredential } from './auth/keyring.js';
export { S3Error, UsageError } from './base/errors.js';
export type { ErrorCode } from './base/errors.js';

export interface CreateServerOptions {
  store: Store;
  /** At least one; the owner of the first owns all buckets without a recorded owner. */
  credentials: readonly Credential[];
  /** 127.0.0.1 unless told. */
  host?: string;
  /** 9000 unless told; 0 takes a free one. */
  port?: number;
  /** Accept only this region; without it any, and us-east-1 is told to clients. */
  region?: string;
  readOnly?: boolean;
  publicUrl?: string;
  /** Virtual-hosted style: `bucket.<domain>`. */
  baseDomains?: readonly string[];
  /** Bytes; 5 MiB unless told. */
  minPartSize?: number;
  /** ms that close() waits for requests under way; 30,000 unless told. */
  drainMs?: number;
  /** Says nothing unless told. */
  log?: Log;
}

/** An S3 server over a store. The caller closes the store after the server. @throws UsageError without credentials. */
export function createServer(options: CreateServerOptions): GatewayServer {
  const rootOwner = options.credentials[0]?.owner;
  if (!rootOwner) throw new UsageError('createServer needs at least one credential');
  const keyring = new Keyring(options.credentials);
  return createGateway({
    store: options.store,
    keyring,
    service: {
      region: options.region ?? 'us-east-1',
      rootOwner,
      grantees: keyring,
      minPartSize: options.minPartSize ?? 5 * 1024 * 1024,
      ...(options.publicUrl === undefined ? {} : { publicUrl: options.publicUrl }),
    },
    signingRegion: options.region ?? 'any',
    readOnly: options.readOnly ?? false,
    baseDomains: (options.baseDomains ?? []).map((domain) => domain.toLowerCase()),
    log: options.log ?? silentLog,
    host: options.host ?? '127.0.0.1',
    port: options.port ?? 9000,
    ...(options.drainMs === undefined ? {} : { drainMs: options.drainMs }),
  });
}
