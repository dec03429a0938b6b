/**
 * Moves that were asked for by a client token, so that no process does one again (S3: RenameObject is idempotent by it). Rows of index table `meta`;
 * the journal has them in the lines of the moves.
 */
import type { ClientToken } from './lines.js';
import type { Index } from './lmdb.js';
import { Records } from './records.js';

/** How long (ms) one is remembered. */
const REMEMBER_MS = 24 * 3_600_000;

export class ClientTokens {
  private readonly records: Records<ClientToken>;

  constructor(index: Index) {
    this.records = new Records(index, 'token');
  }

  find(bucket: string, token: string): ClientToken | undefined {
    return this.records.get(idOf(bucket, token));
  }

  /** Only inside a write. */
  note(done: ClientToken): void {
    if (Date.now() - done.time <= REMEMBER_MS) this.records.put(idOf(done.bucket, done.token), done);
  }

  forgetOld(now = Date.now()): void {
    this.records.prune(({ time }) => now - time > REMEMBER_MS);
  }

  /** The next bucket of this name knows nothing of them. */
  forgetBucket(bucket: string): void {
    this.records.prune(() => true, idOf(bucket, ''));
  }
}

function idOf(bucket: string, token: string): Buffer {
  return Buffer.from(`${bucket}/${token}`);
}
