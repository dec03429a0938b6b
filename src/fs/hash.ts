/**
 * Digests of a body on its way: MD5 always, and any of S3's checksum algorithms beside it, synchronously, chunk by chunk, without keeping the
 * data. WebAssembly modules are loaded once by {@link prepareHashes}.
 */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { crc32c } from '@node-rs/crc32';
import { createCRC64, createXXHash128, createXXHash3 } from 'hash-wasm';
import type { IHasher } from 'hash-wasm';
import xxhash from 'xxhash-wasm';
import type { XXHashAPI } from 'xxhash-wasm';
import type { ChecksumAlgorithm, Digests } from '../base/model.js';

export interface Hasher {
  update(chunk: Uint8Array): void;
  /** Raw bytes per algorithm, big-endian. Once, and no update after it. */
  digest(): Digests;
}

/** Of some algorithms. */
export interface Sums extends Omit<Hasher, 'digest'> {
  digest(): Partial<Digests>;
}

/** The same of a body that may be hashed by another thread. */
export interface BodyHasher {
  /** Until it resolves, if it gives a promise, the bytes must stay as they are. Calls need not wait for each other. */
  update(bytes: Uint8Array): Promise<void> | void;
  /** Once, after the last update. */
  digest(): Promise<Digests> | Digests;
  /** It is given up: no digest will be asked for. Does nothing after {@link digest}. */
  drop(): void;
}

/** Digest of one algorithm. */
interface Digester {
  update(chunk: Uint8Array): void;
  digest(): Buffer;
}

/** hash-wasm takes the reflected polynomial of CRC-64/NVME. */
const CRC64NVME_POLYNOMIAL = '9a6c9329ac4bc9b5';

interface Modules {
  crc64: SharedEngine;
  xxh3: SharedEngine;
  xxh128: SharedEngine;
  xxh64: XXHashAPI;
}
let modules: Modules | undefined;
let loading: Promise<void> | undefined;

/** Loads the WebAssembly of CRC64NVME and XXHASH*; to be awaited before a hasher of these is made. Later calls are free. */
export function prepareHashes(): Promise<void> {
  loading ??= load();
  return loading;
}

async function load(): Promise<void> {
  const [crc64, xxh3, xxh128, xxh64] = await Promise.all([
    createCRC64(CRC64NVME_POLYNOMIAL),
    createXXHash3(0, 0),
    createXXHash128(0, 0),
    xxhash(),
  ]);
  modules = { crc64: new SharedEngine(crc64), xxh3: new SharedEngine(xxh3), xxh128: new SharedEngine(xxh128), xxh64 };
}

/** @throws Error if an algorithm needs WebAssembly and {@link prepareHashes} was not awaited. */
export function createHasher(algorithms: readonly ChecksumAlgorithm[]): Hasher {
  const sums = createSums(['MD5', ...algorithms]);
  return {
    update: (chunk) => sums.update(chunk),
    digest() {
      const { MD5, ...others } = sums.digest();
      if (MD5 === undefined) throw new Error('MD5 is always computed');
      return { ...others, MD5 };
    },
  };
}

/** The same of these algorithms only. */
export function createSums(algorithms: readonly ChecksumAlgorithm[]): Sums {
  const digesters = [...new Set(algorithms)].map((a) => [a, digesterOf(a)] as const);
  return {
    update(chunk) {
      for (const [, digester] of digesters) digester.update(chunk);
    },
    digest() {
      const digests: Partial<Digests> = {};
      for (const [algorithm, digester] of digesters) digests[algorithm] = digester.digest();
      return digests;
    },
  };
}

function digesterOf(algorithm: ChecksumAlgorithm): Digester {
  switch (algorithm) {
    case 'MD5':
    case 'SHA1':
    case 'SHA256':
    case 'SHA512':
      return openssl(algorithm.toLowerCase());
    case 'CRC32':
      return crc(crc32);
    case 'CRC32C':
      return crc(crc32c);
    case 'CRC64NVME':
      return loaded().crc64.open();
    case 'XXHASH3':
      return loaded().xxh3.open();
    case 'XXHASH128':
      return loaded().xxh128.open();
    case 'XXHASH64':
      return xxh64(loaded().xxh64);
  }
}

function loaded(): Modules {
  if (modules === undefined) throw new Error('hashes are not loaded: await prepareHashes() first');
  return modules;
}

function openssl(name: string): Digester {
  const hash = createHash(name);
  return {
    update: (chunk) => void hash.update(chunk),
    digest: () => hash.digest(),
  };
}

function crc(next: (chunk: Uint8Array, value: number) => number): Digester {
  let value = 0;
  return {
    update(chunk) {
      value = next(chunk, value);
    },
    digest() {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(value >>> 0);
      return bytes;
    },
  };
}

function xxh64(api: XXHashAPI): Digester {
  const hash = api.create64(0n);
  return {
    update: (chunk) => void hash.update(chunk),
    digest() {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64BE(hash.digest());
      return bytes;
    },
  };
}

/**
 * One WebAssembly instance for any number of digests at once. hash-wasm makes instances only asynchronously, but the state of one
 * (12 bytes for CRC64, 580 for XXH3) can be taken out and put back: that happens whenever another digest takes its turn.
 */
class SharedEngine {
  readonly #engine: IHasher;
  /** Whose state lies in the instance. */
  #current: EngineDigest | undefined;

  constructor(engine: IHasher) {
    this.#engine = engine;
  }

  open(): Digester {
    return new EngineDigest(this);
  }

  update(owner: EngineDigest, chunk: Uint8Array): void {
    this.#enter(owner);
    this.#engine.update(chunk);
  }

  digest(owner: EngineDigest): Buffer {
    this.#enter(owner);
    this.#current = undefined;
    return Buffer.from(this.#engine.digest('binary'));
  }

  #enter(owner: EngineDigest): void {
    if (this.#current === owner) return;
    if (this.#current !== undefined) this.#current.state = this.#engine.save();
    if (owner.state === undefined) this.#engine.init();
    else this.#engine.load(owner.state);
    this.#current = owner;
  }
}

class EngineDigest implements Digester {
  /** Set while another digest occupies the instance. */
  state: Uint8Array | undefined;

  constructor(private readonly engine: SharedEngine) {}

  update(chunk: Uint8Array): void {
    this.engine.update(this, chunk);
  }

  digest(): Buffer {
    return this.engine.digest(this);
  }
}
