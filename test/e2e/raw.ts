/** Requests byte by byte: a small SigV4 signer of its own (it signs the target as it stands) and a bare socket. */
import { createHash, createHmac } from 'node:crypto';
import net from 'node:net';
import { ACCESS_KEY, REGION, SECRET_KEY } from './harness.js';

export interface RawRequest {
  method: string;
  /** Request target as it goes over the wire. */
  target: string;
  headers?: Record<string, string>;
  body?: string | Buffer;
  /** x-amz-content-sha256; the body's own hash unless told. */
  payload?: string;
  secretKey?: string;
  accessKey?: string;
  /** Milliseconds. */
  now?: number;
}
export interface RawResponse {
  status: number;
  headers: Record<string, string>;
  body: string;
  /** Code of the error document, if there is one. */
  code: string | undefined;
  /** All that came, with interim responses. */
  raw: string;
}
export interface SignedHead {
  headers: Record<string, string>;
  /** Of the request: the seed of chunk signatures. */
  signature: string;
  signingKey: Buffer;
  timestamp: string;
  scope: string;
}

const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');
const hmac = (key: string | Buffer, data: string): Buffer => createHmac('sha256', key).update(data).digest();

/** Every byte but the unreserved ones as an escape in capitals, whatever way it was written ("UriEncode"). */
function canonicalText(text: string): string {
  return text.replace(/%[0-9a-f]{2}|[^]/gi, (unit) => {
    const byte = unit.length === 3 ? parseInt(unit.slice(1), 16) : unit.charCodeAt(0);
    const letter = String.fromCharCode(byte);
    return /[A-Za-z0-9._~-]/.test(letter) ? letter : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  });
}

/** SigV4 for S3 (Amazon S3 API Reference, "Authenticating requests: using the Authorization header"). */
export function sign(port: number, request: RawRequest): SignedHead {
  const body = request.body ?? '';
  const timestamp = new Date(request.now ?? Date.now()).toISOString().replace(/[-:]|\.\d{3}/g, '');
  const scope = `${timestamp.slice(0, 8)}/${REGION}/s3/aws4_request`;
  const headers: Record<string, string> = {
    host: `127.0.0.1:${port}`,
    'x-amz-date': timestamp,
    'x-amz-content-sha256': request.payload ?? sha256(body),
    ...request.headers,
  };
  const names = Object.keys(headers).sort();
  const at = request.target.indexOf('?');
  const path = at < 0 ? request.target : request.target.slice(0, at);
  const pairs = at < 0 ? [] : request.target.slice(at + 1).split('&');
  // Sorted by name, then value: `=` must not take part.
  const query = pairs
    .map((pair) => pair.split('=').map((text) => canonicalText(text)))
    .map(([name = '', ...value]) => [name, value.join('%3D')])
    .sort(([a = '', x = ''], [b = '', y = '']) => (a < b || (a === b && x < y) ? -1 : 1));
  const canonical = [
    request.method,
    path.split('/').map(canonicalText).join('/'),
    query.map(([name, value]) => `${name}=${value}`).join('&'),
    ...names.map((name) => `${name}:${(headers[name] ?? '').trim().replace(/ +/g, ' ')}`),
    '',
    names.join(';'),
    headers['x-amz-content-sha256'] ?? '',
  ].join('\n');
  const date = hmac(`AWS4${request.secretKey ?? SECRET_KEY}`, timestamp.slice(0, 8));
  const signingKey = hmac(hmac(hmac(date, REGION), 's3'), 'aws4_request');
  const toSign = ['AWS4-HMAC-SHA256', timestamp, scope, sha256(canonical)].join('\n');
  const signature = hmac(signingKey, toSign).toString('hex');
  const credential = `${request.accessKey ?? ACCESS_KEY}/${scope}`;
  headers.authorization = `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${names.join(';')}, Signature=${signature}`;
  return { headers, signature, signingKey, timestamp, scope };
}

/** An aws-chunked body whose chunks are signed ("Transferring payload in multiple chunks"), and a hook to spoil it. */
export function signedChunks(head: SignedHead, chunks: string[], spoil?: (frame: string, n: number) => string): string {
  let previous = head.signature;
  return [...chunks, '']
    .map((chunk, n) => {
      const toSign = ['AWS4-HMAC-SHA256-PAYLOAD', head.timestamp, head.scope, previous, sha256(''), sha256(chunk)];
      previous = hmac(head.signingKey, toSign.join('\n')).toString('hex');
      const frame = `${chunk.length.toString(16)};chunk-signature=${previous}\r\n${chunk}\r\n`;
      return spoil ? spoil(frame, n) : frame;
    })
    .join('');
}

/** The request as bytes; nothing is added that the caller did not give, but the signature. */
export function compose(port: number, request: RawRequest): Buffer {
  const { headers } = sign(port, request);
  return frame(request, headers);
}

export function frame(request: RawRequest, headers: Record<string, string>): Buffer {
  const body = Buffer.from(request.body ?? '');
  const all: Record<string, string> = { ...headers };
  if (all['content-length'] === undefined && all['transfer-encoding'] === undefined && body.length > 0) {
    all['content-length'] = String(body.length);
  }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  // latin1: a header may carry bytes that are no UTF-8.
  const head = Buffer.from(
    `${request.method} ${request.target} HTTP/1.1\r\n${lines.join('')}connection: close\r\n\r\n`,
    'latin1',
  );
  return Buffer.concat([head, body]);
}

/**
 * Sends bytes and reads until the server closes. `fin` ends our side after the bytes.
 * A reset after an answer counts as the answer; status 0 means that there was none.
 */
export function sendBytes(
  port: number,
  bytes: Buffer | string,
  options: { fin?: boolean; ms?: number } = {},
): Promise<RawResponse> {
  return new Promise((resolve, reject) => {
    const got: Buffer[] = [];
    // allowHalfOpen: the server may go on reading what we send while it answers.
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const timer = setTimeout(() => {
      socket.destroy();
      reject(
        new Error(
          `no answer within ${options.ms ?? 10_000} ms; got: ${Buffer.concat(got).toString('latin1').slice(0, 400)}`,
        ),
      );
    }, options.ms ?? 10_000);
    const done = (): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(parse(Buffer.concat(got).toString('utf8')));
    };
    socket.on('data', (chunk) => got.push(chunk));
    socket.on('end', done);
    socket.on('error', done);
    socket.write(bytes);
    if (options.fin === true) socket.end();
  });
}

export function send(port: number, request: RawRequest, options: { ms?: number } = {}): Promise<RawResponse> {
  return sendBytes(port, compose(port, request), options);
}

function parse(raw: string): RawResponse {
  let rest = raw;
  while (/^HTTP\/1\.1 1\d\d/.test(rest)) rest = rest.slice(rest.indexOf('\r\n\r\n') + 4);
  const split = rest.indexOf('\r\n\r\n');
  const [status = '', ...lines] = (split < 0 ? rest : rest.slice(0, split)).split('\r\n');
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  const body = split < 0 ? '' : rest.slice(split + 4);
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(status)?.[1] ?? 0),
    headers,
    body,
    code: /<Code>([^<]*)<\/Code>/.exec(body)?.[1],
    raw,
  };
}
