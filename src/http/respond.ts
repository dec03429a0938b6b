/**
 * From a handler's result, or from what it threw, to bytes on the wire. The only place that turns an S3Error into XML.
 */
import { STATUS_CODES } from 'node:http';
import { S3Error, toS3Error } from '../base/errors.js';
import type { OpResult } from '../ops/types.js';
import type { OpenObject } from '../store/contract.js';
import { errorXml, renderXml } from '../wire/xml.js';
import type { Exchange } from './exchange.js';

const DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n';
const XML_TYPE = 'application/xml';

/** The client closed the connection: nobody is left to be answered. */
export class ClientGone extends Error {
  constructor() {
    super('the client closed the connection');
    this.name = 'ClientGone';
  }
}

/**
 * Sends the result; resolves when the last byte was handed to the system.
 * @throws ClientGone, or what reading the object threw; headers may have been sent then: see {@link sendError}.
 */
export async function sendResult(exchange: Exchange, result: OpResult): Promise<void> {
  const { response } = exchange;
  if (result.bytes) return sendBytes(exchange, result, result.bytes);
  if (result.object) return sendObject(exchange, result, result.object);
  const status = result.status ?? 200;
  if (response.headersSent)
    return endKeptAlive(exchange, result.xml ? renderXml(result.xml, { declaration: false }) : '');
  if (result.xml) return sendText(exchange, status, XML_TYPE, renderXml(result.xml), result.headers);
  if (result.text !== undefined) return sendText(exchange, status, 'text/plain', result.text, result.headers);
  const bodiless = status === 204 || status === 304 || exchange.method === 'HEAD';
  writeHead(exchange, status, { ...(bodiless ? {} : { 'Content-Length': '0' }), ...result.headers });
  await exchange.finish();
}

/**
 * Sends the error document. After headers went out there are two cases: kept-alive white space, where the error becomes the
 * body (S3, CompleteMultipartUpload), and a torn object, where only cutting the connection tells the client the truth.
 */
export async function sendError(exchange: Exchange, thrown: unknown, resource: string): Promise<void> {
  const { response } = exchange;
  if (exchange.gone) return;
  const error = toS3Error(thrown);
  exchange.errorCode = error.code;
  const xml = errorXml(error, { resource, requestId: exchange.requestId, hostId: exchange.hostId });
  if (keptAlive.has(exchange)) return endKeptAlive(exchange, xml.replace(/^<\?xml[^>]*\?>\s*/, ''));
  if (response.headersSent) {
    response.destroy();
    return;
  }
  // After these the framing of the connection cannot be relied upon.
  if (error.code === 'RequestTimeout' || error.code === 'IncompleteBody') exchange.lastOfConnection = true;
  const headers = error.code === 'SlowDown' ? { 'Retry-After': '1', ...error.headers } : error.headers;
  if (error.status === 304) {
    writeHead(exchange, 304, headers);
    return exchange.finish();
  }
  return sendText(exchange, error.status, XML_TYPE, xml, headers);
}

/** Requests whose status 200 went out ahead of the result. */
const keptAlive = new WeakSet<Exchange>();

/** Status 200 and white space, so that a long operation outlives the client's timeout. */
export function keepAlive(exchange: Exchange): void {
  const { response } = exchange;
  if (exchange.gone) return;
  if (!response.headersSent) {
    keptAlive.add(exchange);
    writeHead(exchange, 200, { 'Content-Type': XML_TYPE });
    response.write(DECLARATION);
  }
  response.write(' ');
}

function endKeptAlive(exchange: Exchange, xml: string): Promise<void> | undefined {
  exchange.bytesOut += Buffer.byteLength(xml);
  exchange.response.write(xml);
  return exchange.finish();
}

/** A short body, whole. HEAD is answered without it, and without its length (S3 does the same). */
async function sendText(
  exchange: Exchange,
  status: number,
  type: string,
  text: string,
  headers?: Record<string, string>,
): Promise<void> {
  const { response } = exchange;
  if (exchange.method === 'HEAD') {
    writeHead(exchange, status, { 'Content-Type': type, ...headers });
    return exchange.finish();
  }
  const bytes = Buffer.from(text);
  writeHead(exchange, status, { 'Content-Type': type, ...headers, 'Content-Length': String(bytes.length) });
  exchange.bytesOut += bytes.length;
  response.write(bytes);
  await exchange.finish();
}

async function sendBytes(exchange: Exchange, { status = 200, headers = {} }: OpResult, bytes: Buffer): Promise<void> {
  await sendWhole(exchange, status, linesOf(headers), bytes);
}

/** An answer whose body, if any, is at hand. @param lines from {@link linesOf}; the same may be sent again and again. */
export function sendWhole(
  exchange: Exchange,
  status: number,
  lines: readonly string[],
  bytes?: Buffer,
): Promise<void> | undefined {
  writeLines(exchange, status, lines);
  const last = exchange.method === 'HEAD' ? undefined : bytes;
  exchange.bytesOut += last?.length ?? 0;
  return exchange.finish(last);
}

/** Streams bytes of an open object at the speed of the client, and closes it whatever happens. */
async function sendObject(
  exchange: Exchange,
  result: OpResult,
  object: { open: OpenObject; start: number; end: number },
): Promise<void> {
  const { open, start, end } = object;
  const length = end - start;
  try {
    writeHead(exchange, result.status ?? 200, { 'Content-Length': String(length), ...result.headers });
    if (exchange.method !== 'HEAD' && length > 0) {
      const before = exchange.bytesOut;
      await open.read(start, end, (chunk) => writeChunk(exchange, chunk));
      if (exchange.bytesOut - before !== length)
        throw new Error(
          `read ${exchange.bytesOut - before} of ${length} bytes of ${open.info.bucket}/${open.info.key}`,
        );
    }
    await exchange.finish();
  } finally {
    await open.close();
  }
}

/** Resolves once the chunk has left for the system: until then its buffer must not be used again. */
function writeChunk(exchange: Exchange, chunk: Buffer): Promise<void> {
  const { response } = exchange;
  return new Promise((resolve, reject) => {
    const gone = () => reject(new ClientGone());
    // Node calls no callback for what is written after the socket was destroyed.
    if (exchange.gone) {
      gone();
      return;
    }
    response.once('close', gone);
    response.write(chunk, (error) => {
      response.off('close', gone);
      if (error) reject(new ClientGone());
      else resolve();
    });
    exchange.bytesOut += chunk.length;
  });
}

function writeHead(exchange: Exchange, status: number, headers: Record<string, string>): void {
  writeLines(exchange, status, linesOf(headers));
}

/** Headers as name, value, name, value. Behind Content-Length, Node takes the bytes of Content-Disposition for UTF-8 and decodes them: into what no header can carry, or others. */
export function linesOf(headers: Record<string, string>): string[] {
  const lines: string[] = [];
  for (const name in headers) if (name !== LENGTH) lines.push(name, headers[name] ?? '');
  const length = headers[LENGTH];
  if (length !== undefined) lines.push(LENGTH, length);
  return lines;
}

const LENGTH = 'Content-Length';

function writeLines(exchange: Exchange, status: number, lines: readonly string[]): void {
  const { response, extraHeaders } = exchange;
  if (!exchange.keepsConnection()) response.shouldKeepAlive = false;
  const all = ['x-amz-id-2', exchange.hostId, 'x-amz-request-id', exchange.requestId, 'Server', 'gos3rve'];
  // what the answer itself says goes first
  for (const name in extraHeaders) if (!lines.includes(name)) all.push(name, extraHeaders[name] ?? '');
  for (const piece of lines) all.push(piece);
  // the phrase, too: what failed on its way out has left its own
  response.writeHead(status, STATUS_CODES[status] ?? '', all);
}

/** What the access log says of the answer: 499 when the client went away first. */
export function finalStatus(exchange: Exchange): number {
  const { response } = exchange;
  return response.writableFinished || (response.writableEnded && !exchange.gone) ? response.statusCode : 499;
}

/** True for errors whose cause the operator must hear of. */
export function isInternal(thrown: unknown): boolean {
  return (
    !(thrown instanceof ClientGone) &&
    (!(thrown instanceof S3Error) ? toS3Error(thrown).status >= 500 : thrown.code === 'InternalError')
  );
}
