/** A server over a tiny store in memory, and raw connections to it. */
import { createHash } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import { Keyring } from '../../src/auth/keyring.js';
import { signHeaders } from '../../src/auth/presign.js';
import { S3Error } from '../../src/base/errors.js';
import { silentLog, type AccessRecord, type Log, type LogData } from '../../src/base/log.js';
import type { Body } from '../../src/base/model.js';
import { createHasher, prepareHashes } from '../../src/fs/hash.js';
import { createServer, type GatewayServer, type ServerOptions } from '../../src/http/server.js';
import type { Bucket, BucketSettings, ObjectInfo, OpenObject, PutOptions, Store } from '../../src/store/contract.js';

export const OWNER = { id: 'alice', displayName: 'Alice' };
export const CREDENTIAL = { accessKey: 'AKIATEST', secretKey: 'secret', owner: OWNER };
export const OTHER = { accessKey: 'AKIAOTHER', secretKey: 'other', owner: { id: 'bob', displayName: 'Bob' } };

/** Only what the tests of src/http need; anything else throws. */
export class StubStore {
  readonly buckets = new Map<string, BucketSettings>([['photos', {}]]);
  readonly objects = new Map<string, Buffer>();
  /** Errors that bodies ended with, in order. */
  readonly bodyErrors: unknown[] = [];
  opened = 0;
  closed = 0;
  /** Awaited before put reads its body. */
  gate: Promise<void> | undefined;
  /** Replaces the reading of an object. */
  read: OpenObject['read'] | undefined;

  async listBuckets(): Promise<{ buckets: Bucket[] }> {
    return { buckets: [...this.buckets].map(([name, settings]) => ({ name, created: 0, settings })) };
  }

  async getBucket(name: string): Promise<Bucket> {
    const settings = this.buckets.get(name);
    if (!settings) throw new S3Error('NoSuchBucket', undefined, { data: { BucketName: name } });
    return { name, created: 0, settings };
  }

  /** Nothing: each request takes the whole way. */
  atHand(): undefined {
    return undefined;
  }

  bucketAtHand(): undefined {
    return undefined;
  }

  async head(bucket: string, key: string): Promise<ObjectInfo> {
    const bytes = this.objects.get(`${bucket}/${key}`);
    if (!bytes) throw new S3Error('NoSuchKey', undefined, { data: { Key: key } });
    const etag = createHash('md5').update(bytes).digest('hex');
    return { bucket, key, size: bytes.length, etag, lastModified: 1e12, versionId: 'null', facts: {} };
  }

  async open(bucket: string, key: string): Promise<OpenObject> {
    const info = await this.head(bucket, key);
    const bytes = this.objects.get(`${bucket}/${key}`) ?? Buffer.alloc(0);
    this.opened++;
    return {
      info,
      parts: () => Promise.resolve([]),
      read: this.read ?? ((start, end, sink) => readPooled(bytes, start, end, sink)),
      close: () => {
        this.closed++;
        return Promise.resolve();
      },
    };
  }

  async put(bucket: string, key: string, body: Body, options: PutOptions = {}): Promise<ObjectInfo> {
    await this.gate;
    const chunks: Uint8Array[] = [];
    const { digests: plan } = options;
    try {
      for await (const chunk of body.chunks) chunks.push(chunk);
      if (plan?.check) {
        await prepareHashes();
        const hasher = createHasher(plan.algorithms);
        for (const chunk of chunks) hasher.update(chunk);
        plan.check(hasher.digest(), Buffer.concat(chunks).length);
      }
    } catch (error) {
      this.bodyErrors.push(error);
      throw error;
    }
    this.objects.set(`${bucket}/${key}`, Buffer.concat(chunks));
    return this.head(bucket, key);
  }

  async delete(bucket: string, key: string): Promise<boolean> {
    return this.objects.delete(`${bucket}/${key}`);
  }
}

/** Hands out one buffer again and again, as the real store does: a sink that keeps it sees wrong bytes. */
async function readPooled(
  bytes: Buffer,
  start: number,
  end: number,
  sink: (chunk: Buffer) => Promise<void> | void,
): Promise<void> {
  const pooled = Buffer.alloc(64 * 1024);
  for (let at = start; at < end;) {
    const size = bytes.copy(pooled, 0, at, Math.min(end, at + pooled.length));
    await sink(pooled.subarray(0, size));
    pooled.fill(0);
    at += size;
  }
}

export interface Fixture {
  store: StubStore;
  server: GatewayServer;
  port: number;
  origin: string;
  records: AccessRecord[];
  faults: { message: string; data: LogData | undefined }[];
}

export async function startServer(options: Partial<ServerOptions> = {}): Promise<Fixture> {
  const store = new StubStore();
  const records: AccessRecord[] = [];
  const faults: Fixture['faults'] = [];
  const log: Log = {
    ...silentLog,
    access: (record) => records.push(record()),
    error: (message, data) => faults.push({ message, data }),
  };
  const server = createServer({
    store: store as unknown as Store,
    keyring: new Keyring([CREDENTIAL, OTHER]),
    service: { region: 'us-east-1', minPartSize: 5 << 20, rootOwner: OWNER },
    signingRegion: 'any',
    readOnly: false,
    baseDomains: [],
    log,
    host: '127.0.0.1',
    port: 0,
    ...options,
  });
  const { port } = await server.listen();
  return { store, server, port, origin: `http://127.0.0.1:${port}`, records, faults };
}

/** The header lines of a signed request, as text: `name: value\r\n` each. */
export function signedLines(
  fixture: Fixture,
  method: string,
  target: string,
  headers: Record<string, string> = {},
  payload?: string,
  credential: { accessKey: string; secretKey: string } = CREDENTIAL,
): string {
  const signed = signHeaders({
    method,
    url: fixture.origin + target,
    credential,
    region: 'us-east-1',
    headers,
    ...(payload === undefined ? {} : { payload }),
  });
  return Object.entries(signed.headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('');
}

/** A signed request as text, without a body. `extra` header lines are not signed. */
export function signedRequest(
  fixture: Fixture,
  method: string,
  target: string,
  headers: Record<string, string> = {},
  extra = '',
): string {
  return `${method} ${target} HTTP/1.1\r\n${signedLines(fixture, method, target, headers)}${extra}\r\n`;
}

export interface RawAnswer {
  status: number;
  /** The phrase behind it. */
  reason: string;
  headers: Map<string, string>;
  body: string;
}

/** One connection; answers are read in order. */
export class Connection {
  readonly socket: Socket;
  #buffer = Buffer.alloc(0);
  ended = false;
  #wake: () => void = () => undefined;

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    this.socket.on('data', (chunk: Buffer) => {
      this.#buffer = Buffer.concat([this.#buffer, chunk]);
      this.#wake();
    });
    const over = () => {
      this.ended = true;
      this.#wake();
    };
    this.socket.on('end', over).on('close', over).on('error', over);
  }

  send(text: string | Buffer): void {
    this.socket.write(text);
  }

  /** @param bodiless for answers to HEAD. */
  async answer(bodiless = false): Promise<RawAnswer> {
    const head = await this.#until(() => this.#buffer.indexOf('\r\n\r\n') + 1);
    if (head <= 0) throw new Error(`connection ended; got ${JSON.stringify(this.#buffer.toString())}`);
    const [statusLine = '', ...lines] = this.#take(head + 3)
      .toString('latin1')
      .trimEnd()
      .split('\r\n');
    const headers = new Map(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
    );
    const [, code, ...phrase] = statusLine.split(' ');
    const [status, reason] = [Number(code), phrase.join(' ')];
    if (bodiless || status === 100 || status === 204 || status === 304) return { status, reason, headers, body: '' };
    if (headers.get('transfer-encoding') === 'chunked') return { status, reason, headers, body: await this.#chunked() };
    const length = Number(headers.get('content-length') ?? 0);
    await this.#until(() => (this.#buffer.length >= length ? 1 : 0));
    return { status, reason, headers, body: this.#take(length).toString('latin1') };
  }

  /** Bytes that came and were not read as an answer yet. */
  get rest(): string {
    return this.#buffer.toString('latin1');
  }

  async closed(): Promise<void> {
    if (!this.ended) await this.#until(() => 0);
  }

  destroy(): void {
    this.socket.destroy();
  }

  async #chunked(): Promise<string> {
    let text = '';
    for (;;) {
      const line = await this.#until(() => this.#buffer.indexOf('\r\n') + 1);
      const size = Number.parseInt(this.#take(line + 1).toString(), 16);
      await this.#until(() => (this.#buffer.length >= size + 2 ? 1 : 0));
      text += this.#take(size + 2)
        .toString('latin1')
        .slice(0, size);
      if (size === 0) return text;
    }
  }

  #take(size: number): Buffer {
    const taken = this.#buffer.subarray(0, size);
    this.#buffer = this.#buffer.subarray(size);
    return taken;
  }

  async #until(ready: () => number): Promise<number> {
    for (;;) {
      const value = ready();
      if (value > 0 || this.ended) return value;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

/** Sends one request on a connection of its own. */
export async function roundTrip(port: number, text: string | Buffer, bodiless = false): Promise<RawAnswer> {
  const connection = new Connection(port);
  await once(connection.socket, 'connect');
  connection.send(text);
  try {
    return await connection.answer(bodiless);
  } finally {
    connection.destroy();
  }
}

export function codeOf(answer: RawAnswer): string {
  return /<Code>([^<]*)<\/Code>/.exec(answer.body)?.[1] ?? '';
}
