/**
 * What `gc` may ask of a local store: one method for each kind of rubbish, each safe beside servers and other commands, each safe to be
 * killed, and each to be run again. None touches a file of the user's.
 *
 * One process collects at a time; a claim in the index names it.
 */
import { randomBytes } from 'node:crypto';
import { S3Error } from '../../base/errors.js';
import { processToken, tokenAlive } from '../../base/process.js';
import { compact, type CompactReport } from '../../catalog/compact.js';
import { NotReady } from '../../catalog/lmdb.js';
import { WholeIndex } from '../../catalog/whole.js';
import { settleOrphans } from '../append-recovery.js';
import type { Core } from '../core.js';
import type { Publisher } from '../publish.js';
import { cleanStaging } from '../recovery.js';
import type { Transfer } from '../transfer.js';
import type { Uploads } from '../uploads.js';
import { pruneMade } from './directories.js';
import { collectGhosts, type GhostReport } from './ghost-rows.js';
import { quarantineStrays, settleOverflow, type OverflowReport } from './overflow.js';
import { bringBack } from './quarantine.js';
import type { CollectOptions } from './rows.js';
import { abortStale } from './uploads.js';

export type { CollectOptions } from './rows.js';

const CLAIM = Buffer.from('collecting');
/** A claim that has not been renewed for so long (ms) is a dead process's. */
const SILENT_MS = 600_000;

export class Collector {
  private readonly id = `${processToken()}-${randomBytes(4).toString('hex')}`;

  constructor(
    private readonly core: Core,
    private readonly parts: { uploads: Uploads; publisher: Publisher; transfer: Transfer },
  ) {}

  /**
   * Claims the collection for this process, or renews the claim.
   * @returns false if another process is at it. @throws ServiceUnavailable if the root's disk is gone: nothing may be collected; AccessDenied on a read-only store.
   */
  claim(): Promise<boolean> {
    const { catalog } = this.core;
    const { index } = catalog;
    return this.whole((whole) =>
      catalog.recordFreeing(() => {
        whole.check();
        const [other = '', time = '0'] = (index.get('meta', CLAIM)?.toString() ?? '').split(' ');
        const alive = Date.now() - Number(time) < SILENT_MS && tokenAlive(other.slice(0, other.lastIndexOf('-')), 0);
        if (other !== '' && other !== this.id && alive) return false;
        index.put('meta', CLAIM, Buffer.from(`${this.id} ${Date.now()}`));
        return true;
      }),
    );
  }

  release(): void {
    const { catalog } = this.core;
    const { index } = catalog;
    try {
      catalog.recordFreeing(() => {
        if (index.get('meta', CLAIM)?.toString().startsWith(`${this.id} `)) index.remove('meta', CLAIM);
      });
    } catch (error) {
      // it went with its index
      if (!(error instanceof NotReady)) throw error;
    }
  }

  /** Ends multipart uploads that nobody has touched since `before` (ms). @returns how many. */
  uploads(before: number, options: CollectOptions): Promise<number> {
    return this.whole((index) => abortStale(this.core, index, this.parts.uploads, before, options));
  }

  /** Removes staging files of processes that are gone, once what they appended in part was cut off by them. @returns how many. */
  staging({ dryRun }: CollectOptions): Promise<number> {
    return this.whole(() => {
      if (!dryRun) settleOrphans(this.core);
      return cleanStaging(this.core, dryRun);
    });
  }

  /** Moves overflow objects to their path where nothing is in the way any more (DESIGN rule 5). */
  overflow(options: CollectOptions): Promise<OverflowReport> {
    return this.whole((index) => settleOverflow(this.core, index, this.parts.transfer, options));
  }

  /** Brings bodies of overflow objects back from quarantine that records speak of, and nothing has superseded. @returns how many. */
  returned(options: CollectOptions): Promise<number> {
    return this.whole((index) => bringBack(this.core, index, options));
  }

  /** Puts files without a record aside, into `.gos3rve/quarantine/<date>/`. @returns how many. */
  strays(options: CollectOptions): Promise<number> {
    return this.whole((index) => quarantineStrays(this.core, index, options));
  }

  /** Notes which files are gone, and drops what is known of those that have been gone since `before` (ms). */
  ghosts(before: number, options: CollectOptions): Promise<GhostReport> {
    return this.whole((index) => collectGhosts(this.core, index, before, options));
  }

  /** Removes directories that gos3rve made and that stand empty. @returns how many. */
  directories(options: CollectOptions): Promise<number> {
    return this.whole((index) => pruneMade(this.core, index, this.parts.publisher, options));
  }

  /** Writes the journal anew without what is superseded. @param ghostAge ms. */
  journal(ghostAge: number, { dryRun, signal }: CollectOptions): Promise<CompactReport> {
    return this.whole(() => compact(this.core.catalog, { dryRun, signal, ghostAge, owner: this.core.owner }));
  }

  /** Work that takes away what nothing speaks of: only an index that is whole can tell, and is the same all the time. @throws ServiceUnavailable. */
  private async whole<T>(work: (index: WholeIndex) => T | Promise<T>): Promise<T> {
    this.core.checkRoot();
    this.core.checkWritable();
    try {
      return await work(new WholeIndex(this.core.catalog.index));
    } catch (error) {
      if (error instanceof NotReady)
        throw new S3Error('ServiceUnavailable', 'The index is being made anew. Please try again.', { cause: error });
      throw error;
    }
  }
}
