/**
 * Moves all objects below a prefix: a directory by one rename where that can be (dir-move.ts), else what it holds, entry by entry, in
 * the order of a listing.
 */
import { readlinkSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { S3Error } from '../base/errors.js';
import { keyToPath } from '../fs/keypath.js';
import { checkKey } from '../wire/keys.js';
import type { ListEntry, MovePrefixOptions, MoveReport, MoveStep, ObjectInfo, ObjectRef } from './contract.js';
import { noSuchKey, type Core, type Found } from './core.js';
import { describe, knowledge } from './describe.js';
import { DirMover, type DirOutcome } from './dir-move.js';
import type { Lister } from './listing.js';
import { isCopy, looksCopied } from './mount-move.js';
import type { Objects } from './objects.js';
import { checkTwoFiles, isFileOfItsOwn, leadsInto } from './same-file.js';
import type { Transfer } from './transfer.js';

/** Objects that are moved at the same time: one flush serves them all. */
const TOGETHER = 16;
/** Copied at the same time to another mount: a disk reads and writes few files at once best, and a killed run loses less. */
const COPIED_TOGETHER = 4;
const PAGE = 1000;

/** One call of {@link PrefixMover.move}. */
interface Job {
  from: ObjectRef;
  to: ObjectRef;
  options: MovePrefixOptions;
  report: MoveReport;
}

export class PrefixMover {
  private readonly dirs: DirMover;

  constructor(
    private readonly core: Core,
    private readonly objects: Objects,
    private readonly transfer: Transfer,
    private readonly lister: Lister,
  ) {
    this.dirs = new DirMover(core, objects);
  }

  async move(from: ObjectRef, to: ObjectRef, options: MovePrefixOptions = {}): Promise<MoveReport> {
    const { core } = this;
    core.checkWritable();
    core.bucketDir(from.bucket);
    core.bucketDir(to.bucket);
    await this.checkApart(from, to);
    const report: MoveReport = { directories: 0, objects: 0, replaced: 0, bytes: 0 };
    const job: Job = { from, to, options, report };
    const outcome = await this.directory(job, from.key, to.key);
    if (outcome === 'moved') return report;
    if (outcome === 'taken' && !options.force) throw taken(to.key);
    if (outcome === 'blocked' && !options.force) throw blocked(to.key);
    const flat = outcome === 'apart';
    const total = await this.check(job, from.key, flat);
    if (total.objects === 0) throw noSuchKey(from.key);
    if (flat) options.onTotal?.(total);
    const [source, target] = [this.pathOf(from), this.pathOf(to)];
    const work = async (): Promise<void> => {
      if (!options.dryRun) await this.links(job, flat);
      await this.entries(job, from.key, to.key, flat);
    };
    if (source === undefined || target === undefined) await work();
    else await core.likeness.during(source, target, work);
    return report;
  }

  /** What the paths of the objects below a prefix begin with; ends in `/` if it names a folder. */
  private pathOf({ bucket, key }: ObjectRef): string | undefined {
    const { core } = this;
    const path = key === '' ? { dirs: [], name: '' } : keyToPath(key);
    return path && `${core.pathOf([...core.bucketDirs(bucket), ...path.dirs])}/${path.name}`;
  }

  private at({ bucket }: ObjectRef, key: string): ObjectRef {
    return { bucket, key };
  }

  /** @throws InvalidRequest if what is moved would come to lie among what is still to be moved. */
  private async checkApart(from: ObjectRef, to: ObjectRef): Promise<void> {
    const { core } = this;
    const [source, target] = [from, to].map(({ bucket, key }) => [...core.bucketDirs(bucket), key].join('/'));
    if (source === undefined || target === undefined) return;
    if (target.startsWith(source))
      throw invalid(`"${to.key}" begins with "${from.key}", which cannot move into itself.`);
    const [folder, place] = [this.pathOf(from), this.pathOf(to)];
    if (folder?.endsWith('/') && place?.endsWith('/') && leadsInto(place.slice(0, -1), folder.slice(0, -1), core.root))
      throw invalid(`"${to.bucket}/${to.key}" leads into "${from.bucket}/${from.key}", which cannot move into itself.`);
    if (from.bucket !== to.bucket || !from.key.startsWith(to.key)) return;
    const own = from.key + from.key.slice(to.key.length);
    const { entries } = await this.lister.list(from.bucket, { prefix: own, delimiter: '', after: '', max: 1 });
    if (entries.length > 0) throw invalid(`"${own}" would come to lie at "${from.key}", where it is moved from.`);
  }

  /** One rename, where `from` and `to` are directories. */
  private async directory(job: Job, from: string, to: string): Promise<DirOutcome> {
    const { options, report } = job;
    options.signal?.throwIfAborted();
    if (!from.endsWith('/') || !to.endsWith('/')) return 'none';
    const dryRun = options.dryRun === true;
    const outcome = await this.dirs.move(this.at(job.from, from), this.at(job.to, to), { dryRun, via: options.via });
    if (outcome !== 'moved') return outcome;
    report.directories++;
    await options.onStep?.({ kind: 'directory', from, to });
    return outcome;
  }

  /**
   * Before anything is moved entry by entry: that every new key can be, and unless `force`, that nothing is there.
   * @param prefix of what is checked.
   * @param flat whether objects are moved one by one; what is there already may then be what an interrupted run has copied.
   */
  private async check(job: Job, prefix: string, flat: boolean): Promise<{ objects: number; bytes: number }> {
    const total = { objects: 0, bytes: 0 };
    for await (const entries of this.pages(job, prefix, flat)) {
      for (const entry of entries) {
        const to = newKey(nameOf(entry), job.from.key, job.to.key);
        if ('key' in entry) total.bytes += entry.size;
        total.objects++;
        if (to === '') throw invalid('An object would have no key; give the target a name.');
        checkKey(to);
        if (flat && 'key' in entry) checkTwoFiles(this.core, this.at(job.from, entry.key), this.at(job.to, to));
        if (!job.options.force && (await this.isTaken(job, entry, to, flat))) throw taken(to);
      }
    }
    return total;
  }

  private async isTaken(job: Job, entry: ListEntry, to: string, flat: boolean): Promise<boolean> {
    if ('prefix' in entry) {
      const outcome = await this.dirs.move(this.at(job.from, entry.prefix), this.at(job.to, to), { dryRun: true });
      if (outcome === 'none' || outcome === 'blocked') await this.check(job, entry.prefix, flat);
      return outcome === 'taken';
    }
    const there = await this.headOf(job.to.bucket, to);
    if (!there) return false;
    const copied = flat || this.isLink(job.from.bucket, entry.key);
    return !(copied && (await this.isCopied(job, entry, there)));
  }

  /** A source that nobody has hashed is hashed now: only so it is known whether it has arrived. */
  private async isCopied({ from, options }: Job, source: ObjectInfo, there: ObjectInfo): Promise<boolean> {
    if (!looksCopied(source, there)) return false;
    // a listing tells no other ETags
    const again = (): Found | undefined => this.core.find(from.bucket, source.key);
    const found = again();
    const copy = this.core.find(there.bucket, there.key);
    if (!found || !copy || !isFileOfItsOwn(found, copy)) return false;
    if (isCopy(describe(from.bucket, source.key, found), there)) return true;
    if (knowledge(found) === 'known') return false;
    if (options.dryRun) return true;
    await this.objects.identifier.hashPlace(found, again);
    this.core.catalog.index.refresh();
    const now = again();
    return now !== undefined && isCopy(describe(from.bucket, source.key, now), there);
  }

  private async headOf(bucket: string, key: string): Promise<ObjectInfo | undefined> {
    return this.objects.reading.head(bucket, key).catch((error: unknown) => {
      if (error instanceof S3Error && error.code === 'NoSuchKey') return undefined;
      throw error;
    });
  }

  private async *pages({ from, options }: Job, prefix: string, flat: boolean): AsyncGenerator<ListEntry[]> {
    for (let after: string | undefined = ''; after !== undefined;) {
      options.signal?.throwIfAborted();
      this.core.catalog.index.refresh();
      const query = { prefix, delimiter: flat ? '' : '/', after, max: PAGE };
      const page = await this.lister.list(from.bucket, query, cannotRead);
      yield page.entries;
      after = page.next;
    }
  }

  /**
   * Links to files go before all else, as their bytes: once what they lead to has moved they would lead nowhere. A link to a link goes before that.
   * Those in folders that are renamed as they are stay what they are.
   */
  private async links(job: Job, flat: boolean): Promise<void> {
    const links: { info: ObjectInfo; length: number }[] = [];
    await this.findLinks(job, job.from.key, flat, (info) => {
      links.push({ info, length: this.chainOf(job.from.bucket, info.key) });
    });
    links.sort((a, b) => b.length - a.length);
    for (const { info } of links) await this.object(job, info, newKey(info.key, job.from.key, job.to.key), true);
  }

  private async findLinks(job: Job, prefix: string, flat: boolean, found: (link: ObjectInfo) => void): Promise<void> {
    const { from, to } = job;
    for await (const entries of this.pages(job, prefix, flat)) {
      for (const entry of entries) {
        if ('key' in entry) {
          if (this.isLink(from.bucket, entry.key)) found(entry);
          continue;
        }
        const target = newKey(entry.prefix, from.key, to.key);
        const outcome =
          entry.prefix.endsWith('/') && target.endsWith('/')
            ? await this.dirs.move(this.at(from, entry.prefix), this.at(to, target), { dryRun: true })
            : 'none';
        if (outcome !== 'moved') await this.findLinks(job, entry.prefix, outcome === 'apart', found);
      }
    }
  }

  private isLink(bucket: string, key: string): boolean {
    return this.core.find(bucket, key)?.link !== undefined;
  }

  /** Over how many links one leads to its file. */
  private chainOf(bucket: string, key: string): number {
    const found = this.core.find(bucket, key);
    if (found?.link === undefined) return 0;
    let path = `${found.dir.path}/${found.name}`;
    for (let length = 0; ; length++) {
      try {
        path = resolve(dirname(path), readlinkSync(path));
      } catch {
        return length;
      }
    }
  }

  /**
   * An object beside a folder of its name (DESIGN rule 5) goes after that: else it would take the folder's path, and all that is in the folder
   * would have none.
   */
  private async entries(job: Job, from: string, to: string, flat: boolean): Promise<void> {
    const together = flat ? COPIED_TOGETHER : TOGETHER;
    const move = (objects: ObjectInfo[]): Promise<void> =>
      inTurns(objects, together, (info) => this.object(job, info, newKey(info.key, from, to), flat));
    let left = false;
    for await (const entries of this.pages(job, from, flat)) {
      const objects = entries.filter((entry) => 'key' in entry);
      const [first, last] = partition(objects, ({ key }) => !this.isBeside(job.from.bucket, key));
      left ||= last.length > 0;
      await move(first);
      for (const entry of entries) {
        if ('prefix' in entry) await this.prefix(job, entry.prefix, newKey(entry.prefix, from, to));
      }
    }
    if (!left) return;
    // by now they may have come to their own paths
    const isLeft = ({ key }: ObjectInfo): boolean => !job.options.dryRun || this.isBeside(job.from.bucket, key);
    for await (const entries of this.pages(job, from, flat))
      await move(entries.filter((entry) => 'key' in entry).filter(isLeft));
  }

  /** Whether it lies elsewhere than at its path. */
  private isBeside(bucket: string, key: string): boolean {
    return this.core.find(bucket, key)?.place.kind === 'overflow';
  }

  private async prefix(job: Job, from: string, to: string): Promise<void> {
    const outcome = await this.directory(job, from, to);
    if (outcome === 'moved') return;
    if (outcome === 'taken' && !job.options.force) throw taken(to);
    await this.entries(job, from, to, outcome === 'apart');
  }

  private async object(job: Job, info: ObjectInfo, key: string, flat: boolean): Promise<void> {
    const { options, report } = job;
    options.signal?.throwIfAborted();
    const [from, to] = [this.at(job.from, info.key), this.at(job.to, key)];
    if (flat) checkTwoFiles(this.core, from, to);
    const there = await this.headOf(to.bucket, to.key);
    const copied = there !== undefined && (flat || this.isLink(from.bucket, from.key));
    const step: MoveStep = { kind: 'object', from: from.key, to: to.key, size: info.size };
    if (there) step[copied && (await this.isCopied(job, info, there)) ? 'resumed' : 'replaced'] = true;
    if (!options.dryRun) {
      const condition = options.force ? {} : { condition: { ifNoneMatch: ['*'] } };
      try {
        if (step.resumed && !(await this.transfer.mounts.resume(from, to, options.via))) {
          delete step.resumed;
          step.replaced = true;
        }
        if (!step.resumed) await this.transfer.move(from, to, { via: options.via, ...condition }, 'bytes');
      } catch (error) {
        if (!(error instanceof S3Error)) throw error;
        // deleted meanwhile by somebody else, most likely; who moves it shall know
        if (error.code === 'NoSuchKey') {
          report.gone = (report.gone ?? 0) + 1;
          await options.onStep?.({ kind: 'object', from: from.key, to: to.key, gone: true });
          return;
        }
        throw error.code === 'PreconditionFailed' ? taken(key) : error;
      }
    }
    report.objects++;
    report.bytes += info.size;
    if (step.replaced) report.replaced++;
    await options.onStep?.(step);
  }
}

/** What is passed over in a listing would be left behind by a move without a word. */
function cannotRead(path: string): never {
  throw new S3Error('AccessDenied', `${path} cannot be read (EACCES), so not all can be moved; nothing more was.`);
}

function nameOf(entry: ListEntry): string {
  return 'prefix' in entry ? entry.prefix : entry.key;
}

function newKey(key: string, from: string, to: string): string {
  return to + key.slice(from.length);
}

function partition<T>(items: readonly T[], isFirst: (item: T) => boolean): [T[], T[]] {
  const sides: [T[], T[]] = [[], []];
  for (const item of items) sides[isFirst(item) ? 0 : 1].push(item);
  return sides;
}

/** Runs `work` on all items, a few at a time; after a failure those under way end and no other begins. @throws the first failure. */
async function inTurns<T>(items: readonly T[], together: number, work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  let failed = false;
  const worker = async (): Promise<void> => {
    for (let item = items[next++]; item !== undefined && !failed; item = items[next++]) {
      try {
        await work(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const results = await Promise.allSettled(Array.from({ length: Math.min(together, items.length) }, worker));
  const failure = results.find((result) => result.status === 'rejected');
  if (failure) throw failure.reason;
}

function taken(key: string): S3Error {
  return new S3Error('PreconditionFailed', `There is something at "${key}" already.`);
}

function blocked(key: string): S3Error {
  return invalid(
    `A file is in the way of "${key}"; only with --force are objects moved below it, where their keys are no paths.`,
  );
}

function invalid(message: string): S3Error {
  return new S3Error('InvalidRequest', message);
}
