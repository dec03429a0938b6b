/**
 * Requests that come again in the very same words: a presigned URL is asked for by one client after the other.
 *
 * What follows from the words alone - target, operation, who has signed - the pipeline has worked out, and it is kept. All else is asked each time:
 * whether the signature is still of this time, whether the bucket is still its owner's alone, whether the object is as it was. Nothing is refused here:
 * what is not plainly as before goes the whole way through the pipeline, which tells why.
 *
 * Such an answer waits for no place (admission.ts): it is given at once, and holds neither a file nor a buffer nor a thread.
 */
import { isPresigned } from '../auth/sigv4.js';
import type { AuthResult, Identity, Validity } from '../auth/types.js';
import { remember } from '../base/remember.js';
import { mayAll } from '../ops/authorize.js';
import { rootOwner } from '../ops/owners.js';
import type { Answered, Asked, Operation, ServiceConfig } from '../ops/types.js';
import type { Store } from '../store/contract.js';
import type { Exchange } from './exchange.js';
import type { Headers } from './request.js';
import { linesOf, sendWhole } from './respond.js';

/** Where it is asked. */
interface Place {
  store: Store;
  service: ServiceConfig;
}

/** What the pipeline has found out about a request that it let in. */
export interface LetIn {
  /** Those of the query among them. */
  asked: Asked;
  operation: Operation;
  authenticated: AuthResult;
}

/** What is known of a request by its words. */
interface Known {
  /** As they were sent. */
  headers: Headers;
  asked: Asked;
  name: string;
  atHand: NonNullable<Operation['atHand']>;
  identity: Identity;
  valid: Validity;
  answer?: Answered;
  lines?: readonly string[];
}

const MOST = 4096;
/** Of a request that is kept, characters. */
const LONGEST = 2048;
/** Headers by which a request has a body, waits for something, or is answered differently for what a bucket says. */
const NOT_PLAIN = ['content-length', 'transfer-encoding', 'expect', 'origin'];

export class KnownRequests {
  readonly #known = new Map<string, Known>();

  /** Answers, if the same was asked before and all is as it was. @returns whether it has: else nothing was done. */
  answer({ store, service }: Place, exchange: Exchange): boolean {
    // all others, uploads too, are spared the search
    const { url = '' } = exchange.request;
    const known = isPresigned(url.slice(url.indexOf('?') + 1)) && this.#known.get(wordsOf(exchange));
    if (!known) return false;
    const { asked, identity, valid, atHand } = known;
    const now = Date.now();
    if (now < valid.from || now > valid.until) return false;
    const bucket = store.bucketAtHand(asked.bucket);
    if (!bucket || !mayAll(bucket, rootOwner(service), identity)) return false;
    const found = atHand({ store, identity }, asked, known.answer);
    if (!found) return false;
    const { answer, bytes } = found;
    if (known.answer !== answer || !known.lines) {
      known.answer = answer;
      known.lines = linesOf(answer.headers);
    }
    exchange.headers = known.headers;
    exchange.identity = identity;
    exchange.operation = known.name;
    void sendWhole(exchange, answer.status, known.lines, bytes);
    return true;
  }

  /** Keeps what is known of a request that may do what it asks because its bucket is its sender's alone. */
  keep({ asked, operation, authenticated }: LetIn, exchange: Exchange): void {
    const { atHand, name } = operation;
    const { identity, valid, via } = authenticated;
    const { headers } = exchange;
    // what is signed in a header is signed anew each time
    if (!atHand || !valid || via !== 'query' || NOT_PLAIN.some((one) => one in headers)) return;
    const words = wordsOf(exchange);
    if (words.length > LONGEST) return;
    remember(this.#known, words, { headers, asked, name, atHand, identity, valid }, MOST);
  }
}

/** All that a client says but a body: no line of it can hold a line break. */
function wordsOf({ method, request }: Exchange): string {
  return `${method} ${request.url ?? ''} ${request.httpVersion}\n${request.rawHeaders.join('\n')}`;
}
