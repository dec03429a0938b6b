/**
 * The listening side: limits on what a connection may do, answers to what is no HTTP, and a stop that lets requests under way finish.
 */
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Server as NetServer, Socket } from 'node:net';
import { S3Error, UsageError, errno } from '../base/errors.js';
import { beginTurn } from '../base/turn.js';
import { errorXml } from '../wire/xml.js';
import { Exchange } from './exchange.js';
import { HOST_ID, newRequestId } from './ids.js';
import { serveRequest, type Gateway } from './pipeline.js';

export interface ServerOptions extends Gateway {
  host: string;
  /** 0 takes a free one. */
  port: number;
  /** Takes connections from what another process listens on, instead of host and port. */
  shared?: Socketed;
  /** How long close() waits for requests under way, ms. 30 s unless told. */
  drainMs?: number;
  /** Silence of a sender in the middle of a body after which it gets RequestTimeout, ms. 60 s unless told. */
  idleBodyMs?: number;
}

/** What listens, as node:net hands it from process to process. */
export type Socketed = NetServer;

export interface GatewayServer {
  /** Resolves when connections are accepted. @throws UsageError naming the port or address, and the way out. */
  listen(): Promise<{ url: string; port: number }>;
  /** Accepts no more, lets requests under way finish, then resolves; after `drainMs` connections are cut. */
  close(): Promise<void>;
  /** Requests that are being served now. */
  readonly underWay: number;
  /** For other processes that are to take connections too. */
  readonly socket: Socketed;
}

/** S3's limit on request line and headers together. */
const MAX_HEADER_SIZE = 8 * 1024;
const HEADERS_TIMEOUT_MS = 20_000;
/** Requests of one connection that wait for those before them; reading goes on when half of them are answered. */
const PIPELINE_LIMIT = 16;
/** Longer than common load balancers (60 s) keep theirs: the side that closes first can race a request. */
const KEEP_ALIVE_MS = 65_000;

export function createServer(options: ServerOptions): GatewayServer {
  return new HttpGateway(options);
}

/**
 * What arrives on one connection is served in turn: RFC 9112 section 9.3.2 lets only safe methods run side by side, and S3 promises that a
 * read sees the write before it. Node emits every request of a packet at once, and a response that waits there has no socket yet: it would
 * never hear that the client is gone.
 */
interface Connection {
  current: Exchange | undefined;
  waiting: (() => void)[];
  /** What the parser could not read lies behind the last of those that wait. */
  failure?: S3Error;
}

class HttpGateway implements GatewayServer {
  readonly #options: ServerOptions;
  readonly #server: Server;
  readonly #connections = new Map<Socket, Connection>();
  #draining = false;

  constructor(options: ServerOptions) {
    this.#options = options;
    const server = createHttpServer({
      maxHeaderSize: MAX_HEADER_SIZE,
      headersTimeout: HEADERS_TIMEOUT_MS,
      // Uploads may take days; silence within a body is limited by RequestBody instead.
      requestTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: 5_000,
      insecureHTTPParser: false,
      // Checked in request.ts, where the answer is an S3 error.
      requireHostHeader: false,
      noDelay: true,
    });
    // A client may close its sending side once its request is out, and still wants the answer.
    Reflect.set(server, 'httpAllowHalfOpen', true);
    server.on('connection', (socket: Socket) => this.#connected(socket));
    server.on('request', (request, response) => this.#arrived(request, response, false));
    server.on('checkContinue', (request, response) => this.#arrived(request, response, true));
    // S3 ignores expectations that it does not know (RFC 9110 section 10.1.1 would allow 417).
    server.on('checkExpectation', (request, response) => this.#arrived(request, response, false));
    server.on('clientError', (error, socket) => this.#malformed(error, socket as Socket));
    this.#server = server;
  }

  get underWay(): number {
    let count = 0;
    for (const { current } of this.#connections.values()) if (current) count++;
    return count;
  }

  get socket(): Socketed {
    return this.#server;
  }

  async listen(): Promise<{ url: string; port: number }> {
    const { host, port, shared } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error) => reject(listenError(error, host, port)));
      if (shared) this.#server.listen(shared, resolve);
      else this.#server.listen(port, host, resolve);
    });
    this.#server.removeAllListeners('error').on('error', (error) => {
      // Of accept(2), such as EMFILE: existing connections go on, new ones wait.
      this.#options.log.error('cannot accept connections', { error });
    });
    const bound = (this.#server.address() as AddressInfo).port;
    return { url: `http://${urlHost(host)}:${bound}`, port: bound };
  }

  async close(): Promise<void> {
    this.#draining = true;
    if (!this.#server.listening) return;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const [socket, { current }] of this.#connections) {
      if (current) current.lastOfConnection = true;
      else socket.destroySoon();
    }
    const timer = setTimeout(() => {
      this.#options.log.warn('requests under way were cut off', { connections: this.#connections.size });
      for (const socket of this.#connections.keys()) socket.destroy();
    }, this.#options.drainMs ?? 30_000);
    await closed;
    clearTimeout(timer);
  }

  #connected(socket: Socket): void {
    this.#connections.set(socket, { current: undefined, waiting: [] });
    socket.once('close', () => this.#connections.delete(socket));
  }

  /** Serves the request, or lets it wait for those before it on its connection. */
  #arrived(request: IncomingMessage, response: ServerResponse, awaitsContinue: boolean): void {
    const { socket } = request;
    const connection = this.#connections.get(socket);
    if (!connection) return;
    beginTurn();
    if (!connection.current) {
      this.#serve(connection, request, response, awaitsContinue);
      return;
    }
    connection.waiting.push(() => this.#serve(connection, request, response, awaitsContinue));
    if (connection.waiting.length >= PIPELINE_LIMIT) socket.pause();
  }

  #serve(connection: Connection, request: IncomingMessage, response: ServerResponse, awaitsContinue: boolean): void {
    const { socket } = request;
    const idleMs = this.#options.idleBodyMs ?? 60_000;
    const exchange = new Exchange(request, response, { awaitsContinue, idleMs });
    connection.current = exchange;
    exchange.lastOfConnection = this.#draining;
    const { failure, waiting } = connection;
    if (failure && waiting.length === 0) breakOff(exchange, failure);
    response.once('close', () => {
      connection.current = undefined;
      this.#options.admission?.leave(exchange);
      // Its headers may have promised to keep the connection before the end was known.
      if (exchange.lastOfConnection || this.#draining) {
        socket.destroySoon();
        return;
      }
      if (socket.destroyed) return;
      waiting.shift()?.();
      if (socket.isPaused() && waiting.length <= PIPELINE_LIMIT / 2) socket.resume();
    });
    void serveRequest(this.#options, exchange);
  }

  /** What the HTTP parser refused. Within a body, the request under way fails and is answered by the pipeline. */
  #malformed(error: Error, socket: Socket): void {
    const failure = parserError(error);
    if (!failure || (!socket.writable && !refused.has(socket))) {
      socket.destroy();
      return;
    }
    const connection = this.#connections.get(socket);
    if (connection?.current) {
      if (connection.waiting.length > 0) connection.failure = failure;
      else breakOff(connection.current, failure);
      return;
    }
    if (refused.has(socket)) return;
    refused.add(socket);
    this.#refuse(
      socket,
      failure.code === 'IncompleteBody' ? new S3Error('BadRequest', 'The request broke off.') : failure,
    );
  }

  #refuse(socket: Socket, failure: S3Error): void {
    const requestId = newRequestId();
    const xml = errorXml(failure, { resource: '', requestId, hostId: HOST_ID });
    const head = [
      `HTTP/1.1 ${failure.status} Bad Request`,
      `x-amz-request-id: ${requestId}`,
      `x-amz-id-2: ${HOST_ID}`,
      `Date: ${new Date().toUTCString()}`,
      'Server: gos3rve',
      'Content-Type: application/xml',
      `Content-Length: ${Buffer.byteLength(xml)}`,
      'Connection: close',
    ];
    socket.end(`${head.join('\r\n')}\r\n\r\n${xml}`);
    // Closing at once, with the rest of the request unread, would reset the connection before the answer is seen.
    setTimeout(() => socket.destroy(), 1_000).unref();
    this.#options.log.debug('malformed request', { requestId, code: failure.code, remote: socket.remoteAddress });
  }
}

/** What came before the failure is answered in full; nothing after it can be understood. */
function breakOff(exchange: Exchange, failure: S3Error): void {
  exchange.lastOfConnection = true;
  if (!exchange.body.complete) exchange.body.fail(failure);
}

/** Connections that were told what is wrong; the parser complains again about each further packet. */
const refused = new WeakSet<Socket>();

/** The S3 error for what Node's parser found; undefined when the connection is simply gone. */
function parserError(error: Error): S3Error | undefined {
  const code = errno(error) ?? '';
  if (code === 'HPE_HEADER_OVERFLOW')
    return new S3Error('RequestHeaderSectionTooLarge', undefined, { data: { MaxSizeAllowed: MAX_HEADER_SIZE } });
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new S3Error('RequestTimeout');
  if (code === 'HPE_INVALID_EOF_STATE') return new S3Error('IncompleteBody');
  if (code.startsWith('HPE_')) return new S3Error('BadRequest', 'An error occurred when parsing the HTTP request.');
  return undefined;
}

function listenError(error: Error, host: string, port: number): Error {
  switch (errno(error)) {
    case 'EADDRINUSE':
      return new UsageError(`port ${port} is in use; pass --port`, 1);
    case 'EACCES':
      return new UsageError(`port ${port} needs more privileges; pass a --port above 1023`, 1);
    case 'EADDRNOTAVAIL':
      return new UsageError(`${host} is no address of this machine; pass --host`, 1);
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new UsageError(`cannot find the address of ${host}; pass --host`, 1);
    default:
      return new UsageError(`cannot listen on ${host}:${port}: ${error.message}`, 1);
  }
}

/** Where clients on this machine reach a server that listens on `host`. */
function urlHost(host: string): string {
  if (host === '0.0.0.0' || host === '::') return '127.0.0.1';
  return host.includes(':') ? `[${host}]` : host;
}
