/**
 * The life of a request, top to bottom: parse, admit, match, CORS, authenticate, load bucket settings, authorize, decode the body, run,
 * respond, record.
 *
 * What all operations share is here, once. What is particular to an operation is in its row of `ops/table.ts` and in its handler,
 * which sees neither request nor response.
 */
import type { Keyring } from '../auth/keyring.js';
import { payloadName } from '../auth/payload.js';
import { authenticate, isPresigned } from '../auth/sigv4.js';
import type { AuthResult, Identity } from '../auth/types.js';
import { S3Error, TornRead } from '../base/errors.js';
import type { Log } from '../base/log.js';
import { makeAuthorize, mayAll } from '../ops/authorize.js';
import { corsHeaders, preflight } from '../ops/cors.js';
import { rootOwner } from '../ops/owners.js';
import type { RequestFacts } from '../ops/policy-conditions.js';
import { matchOperation } from '../ops/table.js';
import type { Asked, Handler, OpContext, OpInput, OpResult, Operation, ServiceConfig } from '../ops/types.js';
import type { Attribution, Bucket, Store } from '../store/contract.js';
import { answerAdmin } from './admin.js';
import type { Admission } from './admission.js';
import { KnownRequests } from './again.js';
import { decodedBody, readText } from './decode.js';
import type { Exchange } from './exchange.js';
import { withHoisted } from './hoisted.js';
import { openPostForm, type PostForm } from './post-form.js';
import { parseTarget, type Target } from './request.js';
import { finalStatus, isInternal, keepAlive, sendError, sendResult } from './respond.js';

/** What all requests share. */
export interface Gateway {
  store: Store;
  keyring: Keyring;
  service: ServiceConfig;
  /** The region that signatures must name, or `any`. */
  signingRegion: string;
  readOnly: boolean;
  /** In lower case. */
  baseDomains: readonly string[];
  /** Without, all that come are served at once. */
  admission?: Admission;
  log: Log;
}

/** Serves one request. Never throws: whatever goes wrong is answered and recorded. */
export function serveRequest(gateway: Gateway, exchange: Exchange): Promise<void> | undefined {
  if (!isAnswered(gateway, exchange)) return serveNew(gateway, exchange);
  record(gateway.log, exchange);
  return undefined;
}

/** By what is known of the very same request. */
function isAnswered(gateway: Gateway, exchange: Exchange): boolean {
  try {
    return knownTo(gateway).answer(gateway, exchange);
  } catch {
    // told by the way through all stages
    return false;
  }
}

/** By gateway: what is known holds with its keys and its region. */
const known = new WeakMap<Gateway, KnownRequests>();

function knownTo(gateway: Gateway): KnownRequests {
  let requests = known.get(gateway);
  if (!requests) known.set(gateway, (requests = new KnownRequests()));
  return requests;
}

async function serveNew(gateway: Gateway, exchange: Exchange): Promise<void> {
  try {
    await sendResult(exchange, await perform(gateway, exchange));
  } catch (error) {
    if (isInternal(error)) reportFault(gateway.log, exchange, error);
    await sendError(exchange, error, (exchange.request.url ?? '').split('?', 1)[0] ?? '').catch((fault: unknown) => {
      reportFault(gateway.log, exchange, fault);
      exchange.response.destroy();
    });
  }
  record(gateway.log, exchange);
}

async function perform(gateway: Gateway, exchange: Exchange): Promise<OpResult> {
  // Parse
  const { method } = exchange;
  const target = parseTarget(exchange.request, exchange.headers, gateway.baseDomains);
  let { headers } = exchange;
  if (target.query.size > 0 && isPresigned(target.url.slice(target.path.length + 1))) {
    const hoisted = withHoisted(headers, target.query);
    headers = hoisted instanceof Promise ? await hoisted : hoisted;
  }
  if (target.key !== '') exchange.object = `${target.bucket}/${target.key}`;
  const admin = answerAdmin(gateway.store, method, target);
  if (admin) return admin;

  // Admit
  const turn = gateway.admission?.enter(exchange);
  if (turn) await turn;

  // Match
  const matched = matchOperation(method, target.level, target.query, headers);
  if (typeof matched === 'object') exchange.operation = matched.name;

  // CORS: browsers send preflights without credentials, and must be able to read refusals
  if (headers['origin'] !== undefined || method === 'OPTIONS') {
    const answer = await applyCors(gateway, exchange, target);
    if (answer) return answer;
  }

  // Authenticate: by header or query, or by the fields of a form, which stand for headers and name the key
  const form = isForm(matched) ? await openForm(gateway, exchange, target) : undefined;
  const authenticated = form ?? authenticateRequest(gateway, exchange, target);
  const { identity, payload } = authenticated;
  const via: RequestFacts['via'] = 'via' in authenticated ? authenticated.via : 'form';
  const key = form?.key ?? target.key;
  headers = form?.headers ?? headers;
  exchange.identity = identity;
  const { operation, handler } = supported(matched, identity);
  if (gateway.readOnly && operation.writes) throw new S3Error('AccessDenied', 'The server is read-only (--read-only).');

  // Load bucket settings, and authorize
  const peer = peerOf(exchange);
  const secure = isSecure(exchange, peer.sourceIp);
  const asked = { bucket: target.bucket, key, query: target.query, headers };
  const authorizeIn = (bucket: Bucket | undefined, text?: string): OpContext['authorize'] => {
    const { tags } = operation;
    return makeAuthorize(gateway.store, rootOwner(gateway.service), identity, {
      region: gateway.service.region,
      ...{ headers, query: target.query, secure, via, signature: authenticated.signature, operation: operation.name },
      // strangers' requests without a body leave the header out, and say nothing by it
      payload: via === 'none' && operation.body === 'none' ? headers['x-amz-content-sha256'] : payloadName(payload),
      ...peer,
      ...(bucket && { bucket }),
      ...(tags && { tags: () => tags({ ...asked, text }) }),
    });
  };
  const enter = async (text?: string): Promise<Entered> => {
    const bucket = await loadBucket(gateway.store, operation, target);
    const authorize = authorizeIn(bucket, text);
    await authorize(operation.action, target.bucket, key, operation.terms?.(asked, gateway.store));
    for (const right of operation.alsoNeeds?.(asked, gateway.store) ?? [])
      await authorize(right.action, right.bucket, right.key, right);
    return { authorize, ...(bucket && { bucket }) };
  };
  // the owner of a bucket without a policy need not wait
  const own = needsNoMore(operation, asked) ? gateway.store.bucketAtHand(target.bucket) : undefined;
  let entered: Entered;
  if (own && mayAll(own, rootOwner(gateway.service), identity)) {
    entered = { bucket: own, authorize: (...right) => authorizeIn(own)(...right) };
    if ('via' in authenticated) knownTo(gateway).keep({ asked, operation, authenticated }, exchange);
  } else entered = await enter();

  // Decode the body
  const trailers: Record<string, string> = Object.create(null) as Record<string, string>;
  const body = form?.body ?? decodedBody(operation, headers, exchange.body, payload, trailers);
  const input: OpInput = { bucket: target.bucket, key, query: target.query, headers, body, text: '', trailers };
  const context: OpContext = {
    store: gateway.store,
    service: gateway.service,
    identity,
    requestId: exchange.requestId,
    via: viaOf(exchange, identity),
    virtualHosted: target.style === 'virtual',
    secure,
    keepAlive: () => keepAlive(exchange),
    ...entered,
  };
  // 100-continue goes out when the body is first read, so all that can be refused without it is refused before.
  await operation.precheck?.(context, input);
  if (operation.body !== 'xml') return handler(context, input);
  input.text = await readText(operation, input);
  // the client took its time: by now the bucket may be another one of the same name, or closed to the caller
  const { bucket: _then, ...rest } = context;

  // Run
  return handler({ ...rest, ...(await enter(input.text)) }, input);
}

type Entered = Pick<OpContext, 'bucket' | 'authorize'>;

/** Whether to do all in its bucket is all that an operation on an object needs. */
function needsNoMore({ level, atHand, alsoNeeds }: Operation, { headers }: Asked): boolean {
  // reading needs but rights on the object itself
  return (
    level === 'object' &&
    (alsoNeeds === undefined || atHand !== undefined) &&
    headers['x-amz-expected-bucket-owner'] === undefined
  );
}

function authenticateRequest(gateway: Gateway, exchange: Exchange, target: Target): AuthResult {
  const { method, headers } = exchange;
  return authenticate({ method, url: target.url, headers }, gateway.keyring, {
    region: gateway.signingRegion,
    now: Date.now(),
  });
}

function isForm(matched: ReturnType<typeof matchOperation>): boolean {
  return typeof matched === 'object' && matched.body === 'form';
}

function openForm(gateway: Gateway, exchange: Exchange, target: Target): Promise<PostForm> {
  const options = { region: gateway.signingRegion, now: Date.now() };
  return openPostForm(exchange.body.read(), exchange.headers, target.bucket, gateway.keyring, options);
}

/** After authentication, so that strangers learn nothing. @throws MethodNotAllowed, NotImplemented; AccessDenied to strangers. */
function supported(
  matched: ReturnType<typeof matchOperation>,
  identity: Identity,
): { operation: Operation; handler: Handler } {
  if (typeof matched === 'object' && matched.handler) return { operation: matched, handler: matched.handler };
  if (identity.kind === 'anonymous') throw new S3Error('AccessDenied');
  if (typeof matched !== 'object') throw new S3Error('MethodNotAllowed');
  throw new S3Error('NotImplemented', `${matched.name} is not supported.`);
}

/** @throws NoSuchBucket, unless the operation is one that makes buckets. */
async function loadBucket(store: Store, operation: Operation, target: Target): Promise<Bucket | undefined> {
  if (target.level === 'service') return undefined;
  try {
    return await store.getBucket(target.bucket);
  } catch (error) {
    if (operation.bucketOptional && error instanceof S3Error && error.code === 'NoSuchBucket') return undefined;
    throw error;
  }
}

/** Answers a preflight; to any other request from a browser it adds what the bucket's rules allow. */
async function applyCors(gateway: Gateway, exchange: Exchange, target: Target): Promise<OpResult | undefined> {
  const { headers, method } = exchange;
  const bucket =
    target.bucket === ''
      ? undefined
      : await gateway.store.getBucket(target.bucket).catch((error: unknown) => {
          // the disk is away: told to browsers too
          if (method === 'OPTIONS' && error instanceof S3Error && error.status === 503) throw error;
          return undefined;
        });
  const rules = bucket?.settings.cors;
  if (method === 'OPTIONS') {
    exchange.operation = 'CORSPreflight';
    return preflight(rules, headers);
  }
  exchange.extraHeaders = corsHeaders(rules, headers['origin'] ?? '', method, headers) ?? {};
  return undefined;
}

function peerOf(exchange: Exchange): { sourceIp?: string } {
  const address = exchange.request.socket.remoteAddress;
  // An IPv4 peer of a dual-stack socket shows as ::ffff:192.0.2.1; policies speak of 192.0.2.1.
  return address === undefined ? {} : { sourceIp: address.replace(/^::ffff:(?=\d+\.)/, '') };
}

/**
 * aws:SecureTransport: TLS, here or at a proxy on this machine that says so. Whoever forges the header from here deceives only
 * himself; an address that a proxy forwards is not believed, since tunnels and plain TCP proxies pass on what clients invent.
 */
function isSecure(exchange: Exchange, sourceIp: string | undefined): boolean {
  if ('encrypted' in exchange.request.socket) return true;
  const local = sourceIp === '::1' || sourceIp?.startsWith('127.') === true;
  return local && exchange.headers['x-forwarded-proto']?.split(',').at(-1)?.trim().toLowerCase() === 'https';
}

/** What notifications say of who asked. */
function viaOf(exchange: Exchange, identity: Identity): Attribution {
  const { sourceIp } = peerOf(exchange);
  return {
    principal: identity.kind === 'user' ? identity.accessKey : 'Anonymous',
    requestId: exchange.requestId,
    ...(sourceIp === undefined ? {} : { ip: sourceIp }),
  };
}

function record(log: Log, exchange: Exchange): void {
  log.access(() => {
    const { identity, operation, errorCode } = exchange;
    const { sourceIp } = peerOf(exchange);
    return {
      requestId: exchange.requestId,
      method: exchange.method,
      url: exchange.request.url ?? '',
      status: finalStatus(exchange),
      ms: Math.round(((exchange.answered ?? performance.now()) - exchange.started) * 10) / 10,
      bytesIn: exchange.body.bytes,
      bytesOut: exchange.bytesOut,
      ...(sourceIp === undefined ? {} : { remote: sourceIp }),
      ...(identity?.kind === 'user' ? { accessKey: identity.accessKey } : {}),
      ...(operation === undefined ? {} : { operation }),
      ...(errorCode === undefined ? {} : { error: errorCode }),
    };
  });
}

/** The cause of an InternalError is for the operator only; the client gets the request id to ask by. */
function reportFault(log: Log, exchange: Exchange, error: unknown): void {
  const cause: unknown = error instanceof S3Error && error.cause !== undefined ? error.cause : error;
  const { requestId, operation, object } = exchange;
  const what = { requestId, ...(operation !== undefined && { operation }), ...(object !== undefined && { object }) };
  // nothing is wrong with us, and the client has seen that it must ask again
  if (cause instanceof TornRead) log.warn('a file was changed while it was read', { ...what, cause: cause.message });
  else log.error('request failed', { ...what, error: cause });
}
