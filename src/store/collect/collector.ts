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
import { settleOrphans } from '../append-recovery.js';
import type { Core } from '../core.js';
import type { Publisher } from '../publish.js';
import { cleanStaging } from '../recovery.js';
import type { Transfer } from '../transfer.js';
import type { Uploads } from '../uploads.js';
import { pruneMade } from './directories.js';
import { collectGhosts, type GhostReport } from './ghost-rows.js';
import { quarantineStrays, settleOverflow, type OverflowReport } from './overflow.js';
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
  claim(): boolean {
    this.check();
    const { index } = this.core.catalog;
    return index.write(() => {
      const [other = '', time = '0'] = (index.get('meta', CLAIM)?.toString() ?? '').split(' ');
      const alive = Date.now() - Number(time) < SILENT_MS && tokenAlive(other.slice(0, other.lastIndexOf('-')), 0);
      if (other !== '' && other !== this.id && alive) return false;
      index.put('meta', CLAIM, Buffer.from(`${this.id} ${Date.now()}`));
      return true;
    });
  }

  release(): void {
    const { index } = this.core.catalog;
    index.write(() => {
      if (index.get('meta', CLAIM)?.toString().startsWith(`${this.id} `)) index.remove('meta', CLAIM);
    });
  }

  /** Ends multipart uploads that nobody has touched since `before` (ms). @returns how many. */
  uploads(before: number, options: CollectOptions): Promise<number> {
    this.check();
    return abortStale(this.core, this.parts.uploads, before, options);
  }

  /** Removes staging files of processes that are gone, once what they appended in part was cut off by them. @returns how many. */
  staging({ dryRun }: CollectOptions): number {
    this.check();
    if (!dryRun) settleOrphans(this.core);
    return cleanStaging(this.core, dryRun);
  }

  /** Moves overflow objects to their path where nothing is in the way any more (DESIGN rule 5). */
  overflow(options: CollectOptions): Promise<OverflowReport> {
    this.check();
    return settleOverflow(this.core, this.parts.transfer, options);
  }

  /** Puts files without a record aside, into `.gos3rve/quarantine/<date>/`. @returns how many. */
  strays(options: CollectOptions): Promise<number> {
    this.check();
    return quarantineStrays(this.core, options);
  }

  /** Notes which files are gone, and drops what is known of those that have been gone since `before` (ms). */
  ghosts(before: number, options: CollectOptions): Promise<GhostReport> {
    this.check();
    return collectGhosts(this.core, before, options);
  }

  /** Removes directories that gos3rve made and that stand empty. @returns how many. */
  directories(options: CollectOptions): Promise<number> {
    this.check();
    return pruneMade(this.core, this.parts.publisher, options);
  }

  /** Writes the journal anew without what is superseded. @param ghostAge ms. */
  journal(ghostAge: number, { dryRun, signal }: CollectOptions): Promise<CompactReport> {
    this.check();
    return compact(this.core.catalog, { dryRun, signal, ghostAge, owner: this.core.owner });
  }

  private check(): void {
    this.core.checkRoot();
    this.core.checkWritable();
    this.core.catalog.index.refresh();
    if (!this.core.catalog.index.ready) throw new S3Error('ServiceUnavailable', 'The index is being made anew.');
  }
}
