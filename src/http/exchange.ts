/**
 * One request and its response: what is known of it while it passes through the pipeline, and how the connection is left behind.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Identity } from '../auth/types.js';
import { HOST_ID, newRequestId } from './ids.js';
import { RequestBody } from './body.js';
import { readHeaders, type Headers } from './request.js';

/** An unread body up to this many bytes is read and thrown away so that the connection can be kept. */
const DRAIN_LIMIT = 256 * 1024;
/** How long, and how much, we go on reading after an early answer before the connection is closed. */
const LINGER_MS = 3_000;
const LINGER_LIMIT = 64 * 1024 * 1024;

const ignore = (): void => undefined;

export class Exchange {
  readonly requestId = newRequestId();
  readonly hostId = HOST_ID;
  readonly method: string;
  readonly started = performance.now();
  /** Headers that go with every answer of this request, errors too (CORS). */
  extraHeaders: Record<string, string> = {};
  identity: Identity | undefined;
  operation: string | undefined;
  /** `bucket/key` that the request names. */
  object: string | undefined;
  errorCode: string | undefined;
  bytesOut = 0;
  /** When all of the answer was written, ms on the clock of `started`; reading the rest of a refused body is not counted. */
  answered: number | undefined;
  /** The connection must end after this answer: framing is lost, or the server is stopping. */
  lastOfConnection = false;
  #headers: Headers | undefined;
  #body: RequestBody | undefined;

  constructor(
    readonly request: IncomingMessage,
    readonly response: ServerResponse,
    private readonly options: { awaitsContinue: boolean; idleMs: number },
  ) {
    this.method = request.method ?? 'GET';
    // What goes wrong on the socket shows as 'close'; without a listener Node would throw.
    request.on('error', ignore);
    response.on('error', ignore);
  }

  get headers(): Headers {
    return (this.#headers ??= readHeaders(this.request.rawHeaders));
  }

  /** Spares reading them: they were read in a request with the same lines. */
  set headers(known: Headers) {
    this.#headers = known;
  }

  get body(): RequestBody {
    return (this.#body ??= this.#bodyOf());
  }

  #bodyOf(): RequestBody {
    const { idleMs, awaitsContinue } = this.options;
    return new RequestBody(this.request, this.headers, {
      idleMs,
      ...(awaitsContinue ? { beforeFirstRead: () => this.response.writeContinue() } : {}),
    });
  }

  /** The client went away before the answer was complete. */
  get gone(): boolean {
    return this.response.destroyed || this.request.socket.destroyed;
  }

  /**
   * True if the connection can serve another request. It cannot when a large body was left unread: reading it all would
   * reward the sender of what was refused, and without reading it the next request cannot be found.
   */
  keepsConnection(): boolean {
    if (this.lastOfConnection) return false;
    return this.body.complete || (this.body.announced && this.body.remaining <= DRAIN_LIMIT);
  }

  /** Ends the response, of which at most `last` was not written yet, and sees to the rest of the request: what is left of that is waited for. */
  finish(last?: Buffer): Promise<void> | undefined {
    this.answered = performance.now();
    if (this.body.complete || this.gone) {
      this.response.end(last);
      return undefined;
    }
    if (this.keepsConnection()) {
      this.response.end(last);
      this.body.discard(LINGER_MS);
      return undefined;
    }
    return this.#linger(last);
  }

  async #linger(last: Buffer | undefined): Promise<void> {
    // RFC 9112 section 9.6: closing with unread bytes resets the connection, and the client may never see the answer. So
    // the answer goes out, we read on for a moment, and only then close.
    if (last) this.response.write(last);
    if (!this.response.headersSent) this.response.flushHeaders();
    await this.body.linger(LINGER_MS, LINGER_LIMIT, this.response);
    this.response.end();
  }
}
