/** The body of a request as it comes over the wire: counted, with a limit on silence, and an S3 error when it breaks off. */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { S3Error } from '../base/errors.js';
import { free } from '../base/memory.js';
import type { Headers } from './request.js';

export interface RequestBodyOptions {
  /** Silence after which the client gets RequestTimeout, ms. */
  idleMs: number;
  /** Answers 100-continue: called before the first byte is asked for. */
  beforeFirstRead?: () => void;
}

export class RequestBody {
  /** Content-Length; undefined with chunked transfer encoding. 0 without either: there is no body (RFC 9112 section 6.3). */
  readonly length: number | undefined;
  /** Bytes read so far. */
  bytes = 0;
  /** The client was told to go on, or never waited. */
  announced: boolean;

  #failure: S3Error | undefined;
  #wake: (() => void) | undefined;
  /** Ends the listening of whoever reads. */
  #letGo: () => void = () => undefined;
  readonly #request: IncomingMessage;
  readonly #options: RequestBodyOptions;

  constructor(request: IncomingMessage, headers: Headers, options: RequestBodyOptions) {
    this.#request = request;
    this.#options = options;
    const chunked = headers['transfer-encoding'] !== undefined;
    this.length = chunked ? undefined : Number(headers['content-length'] ?? 0);
    this.announced = options.beforeFirstRead === undefined;
  }

  /** All of it has arrived (or there is none); it need not have been read. */
  get complete(): boolean {
    return this.length === 0 || this.#request.complete;
  }

  /** Bytes still to come; Infinity when unknown. */
  get remaining(): number {
    return this.length === undefined ? Infinity : this.length - this.bytes;
  }

  /** Makes the reader throw `error`: the framing broke (bad chunk, early FIN). */
  fail(error: S3Error): void {
    this.#failure ??= error;
    this.#wake?.();
  }

  /**
   * The bytes, once. Memory stays bounded by the socket's buffer: the next bytes are taken from the socket only when asked for, and a chunk is freed
   * then.
   * @throws IncompleteBody when the client goes away, RequestTimeout when it falls silent, BadRequest for broken framing.
   */
  async *read(): AsyncGenerator<Uint8Array, void, undefined> {
    if (this.length === 0) return;
    this.#announce();
    const request = this.#request;
    const wake = () => this.#wake?.();
    request.on('readable', wake).on('end', wake).on('close', wake);
    this.#letGo = () => {
      this.#wake = undefined;
      request.off('readable', wake).off('end', wake).off('close', wake);
    };
    try {
      for (;;) {
        const chunk = request.read() as Buffer | null;
        if (chunk !== null) {
          this.bytes += chunk.length;
          yield chunk;
          free(chunk);
          continue;
        }
        if (request.complete && request.readableLength === 0) return;
        if (this.#failure) throw this.#failure;
        if (request.destroyed) throw new S3Error('IncompleteBody');
        await this.#more();
      }
    } finally {
      this.#letGo();
    }
  }

  /** Throws away what is still to come; ends the connection if it does not come in `ms`. */
  discard(ms: number): void {
    const request = this.#request;
    // whoever has begun to read may have given up in the midst: as long as it listens, nothing flows
    this.#letGo();
    let ended = false;
    // when this process was busy for that long, what has come meanwhile is read first
    const timer = setTimeout(() => setImmediate(() => ended || request.socket.destroy()), ms).unref();
    const end = (): void => {
      ended = true;
      clearTimeout(timer);
    };
    request.on('data', (chunk: Buffer) => (this.bytes += chunk.length));
    request.once('close', end).once('end', end);
    request.resume();
  }

  /** Reads and throws away until the body ends, the client closes, or a limit is reached. */
  async linger(ms: number, limit: number, response: ServerResponse): Promise<void> {
    const request = this.#request;
    if (request.destroyed || this.#failure) return;
    this.#letGo();
    const stop = new AbortController();
    const end = () => stop.abort();
    const timer = setTimeout(end, ms);
    let seen = 0;
    request.on('data', (chunk: Buffer) => {
      this.bytes += chunk.length;
      if ((seen += chunk.length) > limit) end();
    });
    // An early FIN arrives as a failure of the framing.
    this.#wake = end;
    request.once('end', end).once('close', end);
    response.once('close', end);
    request.resume();
    if (!stop.signal.aborted) await once(stop.signal, 'abort');
    clearTimeout(timer);
    request.pause();
  }

  #announce(): void {
    if (this.announced) return;
    this.announced = true;
    this.#options.beforeFirstRead?.();
  }

  async #more(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const silent = await new Promise<boolean>((resolve) => {
      this.#wake = () => resolve(false);
      timer = setTimeout(() => resolve(true), this.#options.idleMs);
    });
    clearTimeout(timer);
    this.#wake = undefined;
    if (silent) throw new S3Error('RequestTimeout');
  }
}
