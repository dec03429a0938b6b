/** Signed requests over kept connections whose bodies are streamed, for tests with many requests or large bodies. */
import { createHash, type Hash } from 'node:crypto';
import http, { type IncomingHttpHeaders } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { MiB, type Server } from './harness.js';
import { sign } from './raw.js';

export interface Exchange {
  method: string;
  /** Request target as it goes over the wire. */
  target: string;
  headers?: Record<string, string>;
  body?: Buffer | { size: number; chunks: AsyncIterable<Buffer> };
  /** Gets the answer's body; without it, it is collected. */
  sink?: (chunk: Buffer) => void;
}
export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
  /** From sending to the last byte. */
  ms: number;
}

export class Client {
  private readonly agent: http.Agent;

  constructor(
    private readonly port: number,
    sockets = 64,
  ) {
    this.agent = new http.Agent({ keepAlive: true, maxSockets: sockets });
  }

  /** Sends one request, its payload unsigned, and reads the answer. Throws only if the connection breaks. */
  async send({ method, target, headers, body, sink }: Exchange): Promise<Answer> {
    const size = Buffer.isBuffer(body) ? body.length : body?.size;
    const head = sign(this.port, { method, target, payload: 'UNSIGNED-PAYLOAD', ...(headers && { headers }) });
    const began = performance.now();
    const request = http.request({
      host: '127.0.0.1',
      port: this.port,
      agent: this.agent,
      method,
      path: target,
      headers: { ...head.headers, ...(size === undefined ? {} : { 'content-length': String(size) }) },
    });
    const answered = new Promise<http.IncomingMessage>((resolve, reject) => {
      request.once('response', resolve).once('error', reject);
    });
    const sent =
      body === undefined || Buffer.isBuffer(body)
        ? Promise.resolve(void request.end(body))
        : pipeline(Readable.from(body.chunks, { objectMode: false, highWaterMark: MiB }), request);
    const [response] = await Promise.all([answered, sent]);
    const chunks: Buffer[] = [];
    for await (const chunk of response as AsyncIterable<Buffer>) {
      if (sink) sink(chunk);
      else chunks.push(chunk);
    }
    return {
      status: response.statusCode ?? 0,
      headers: response.headers,
      body: Buffer.concat(chunks),
      ms: performance.now() - began,
    };
  }

  close(): void {
    this.agent.destroy();
  }
}

/** Every byte but the unreserved ones and `/` as an escape. */
export function targetOf(bucket: string, key: string): string {
  const escape = (text: string): string =>
    encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  return `/${escape(bucket)}/${key.split('/').map(escape).join('/')}`;
}

/** Runs `work` over all items, so many at once. */
export async function eachOf<T>(items: readonly T[], atOnce: number, work: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values();
  const worker = async (): Promise<void> => {
    for (const item of rest) await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

/** `size` bytes, no two MiB of them alike, that nobody has to keep; all of them go through the hashes too. */
export async function* pattern(size: number, hashes: Hash[]): AsyncGenerator<Buffer> {
  const seed = createHash('sha512').update('pattern').digest();
  const base = Buffer.alloc(MiB, seed);
  for (let at = 0; at < size; at += MiB) {
    const block = Buffer.from(base.subarray(0, Math.min(MiB, size - at)));
    block.write(`${at} `, 'latin1');
    for (const hash of hashes) hash.update(block);
    yield block;
  }
}

/** Samples the server's anonymous memory while `work` runs. @returns its greatest growth in bytes. */
export async function memoryGrowth(server: Server, work: () => Promise<void>): Promise<number> {
  const before = await server.rssAnon();
  let peak = before;
  let running = true;
  const sampling = (async () => {
    while (running) {
      peak = Math.max(peak, await server.rssAnon());
      await sleep(50);
    }
  })();
  try {
    await work();
  } finally {
    running = false;
    await sampling;
  }
  return peak - before;
}
