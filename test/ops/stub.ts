/** What a handler is given, made small: a store that has only the methods a test names. */
import type { Identity } from '../../src/auth/types.js';
import type { ObjectInfo, OpenObject, ObjectPart, Store, Bucket } from '../../src/store/contract.js';
import type { OpContext, OpInput } from '../../src/ops/types.js';

export const ALICE = { id: 'alice-id', displayName: 'alice' };
export const BOB = { id: 'bob-id', displayName: 'bob' };
export const alice: Identity = { kind: 'user', accessKey: 'ALICE', owner: ALICE };
export const bob: Identity = { kind: 'user', accessKey: 'BOB', owner: BOB };
export const anonymous: Identity = { kind: 'anonymous' };

/** Methods that are not given throw, naming themselves; nothing is at hand unless told. */
export function stubStore(methods: Partial<Store>): Store {
  return new Proxy<Partial<Store>>(
    { atHand: () => undefined, ...methods },
    {
      get(target, name) {
        const method: unknown = Reflect.get(target, name);
        if (method !== undefined) return method;
        return () => {
          throw new Error(`the handler was not expected to call store.${String(name)}`);
        };
      },
    },
  ) as Store;
}

export function bucketOf(settings: Bucket['settings'] = {}, name = 'photos'): Bucket {
  return { name, created: 0, settings };
}

export function context(methods: Partial<Store>, more: Partial<OpContext> = {}): OpContext {
  return {
    store: stubStore(methods),
    service: { region: 'us-east-1', minPartSize: 5 * 1024 ** 2, rootOwner: ALICE },
    identity: alice,
    requestId: 'R',
    bucket: bucketOf(),
    authorize: () => Promise.resolve(),
    keepAlive: () => undefined,
    ...more,
  };
}

export function input(more: {
  key?: string;
  query?: string;
  headers?: Record<string, string>;
  text?: string;
  body?: OpInput['body'];
}): OpInput {
  return {
    bucket: 'photos',
    key: more.key ?? '',
    query: new Map(new URLSearchParams(more.query ?? '')),
    headers: more.headers ?? {},
    body: more.body ?? { chunks: (async function* () {})(), size: 0 },
    text: more.text ?? '',
    trailers: {},
  };
}

export function object(key: string, more: Partial<ObjectInfo> = {}): ObjectInfo {
  return {
    bucket: 'photos',
    key,
    size: 10,
    etag: 'e'.repeat(32),
    lastModified: Date.UTC(2024, 0, 2, 3, 4, 5, 678),
    versionId: 'null',
    facts: {},
    ...more,
  };
}

/** An open object over `bytes`, read in chunks of `chunk` bytes from one buffer that is used again, as the real store does. */
export function opened(
  info: ObjectInfo,
  parts: ObjectPart[] = [],
  bytes = Buffer.alloc(info.size),
  chunk = 4,
): OpenObject & { closed: number } {
  return {
    info,
    closed: 0,
    parts: () => Promise.resolve(parts),
    async read(start, end, sink) {
      const buffer = Buffer.alloc(chunk);
      for (let at = start; at < end; at += chunk) {
        const size = bytes.copy(buffer, 0, at, Math.min(at + chunk, end));
        await sink(buffer.subarray(0, size));
      }
    },
    close() {
      this.closed++;
      return Promise.resolve();
    },
  };
}
