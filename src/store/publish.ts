/**
 * Publishing: the one way by which an object comes to stand at a key (DESIGN rule 3).
 *
 *   staged and flushed -> prepare line, flushed -> under the lock: condition and place checked again, rename, commit line, row
 *   -> fsync of the folders -> answer
 */
import { constants, lstatSync, opendirSync, rmdirSync, statSync, unlinkSync, type BigIntStats } from 'node:fs';
import { copyFile, open } from 'node:fs/promises';
import { join } from 'node:path';
import { S3Error, errno } from '../base/errors.js';
import type { KeyFacts, WriteCondition } from '../base/model.js';
import { randomHex } from '../base/random.js';
import { samePlace, subjectOf, type Place } from '../catalog/catalog.js';
import { firstChildren } from '../catalog/children.js';
import type { DirRow } from '../catalog/rows.js';
import type {
  Aside,
  ByteFacts,
  ClientToken,
  CompletedUpload,
  JournalLine,
  Subject,
  Told,
  Via,
} from '../catalog/lines.js';
import type { Dir } from '../fs/dirs.js';
import { keyToPath } from '../fs/keypath.js';
import { fingerprint, formatFingerprint } from '../fs/fingerprint.js';
import { freedLater } from '../fs/freed.js';
import { applyInherit, discard, ownerOfNew, type Inherit } from '../fs/stage.js';
import { checkWrite, type Validators } from '../wire/conditions.js';
import type { ObjectInfo, ObjectRef } from './contract.js';
import { Outdated, place } from './place.js';
import { adoptStanding, settleAside, settleOverflow } from './settle.js';
import { isAbsent, lstatOf, type Core, type Found, type Target } from './core.js';
import { EMPTY_ETAG, describe, knowledge, sameFacts } from './describe.js';
import type { Hold } from './hold.js';
import { isUnproven, type Identifier } from './identifier.js';
import { Joint, type Announced } from './joint.js';

/** A body that lies on the target's mount, whole, with its final mode. */
export interface Ready {
  path: string;
  stat: BigIntStats;
  /** Its flush, if that is still under way, and what stat says behind it: nothing is renamed before. */
  flushed?: Promise<BigIntStats>;
}

/** What will be known of the object. `fp` is filled in here. */
export interface Facts {
  bytes: Omit<ByteFacts, 'fp'>;
  /** What is said of the key. A function is asked again under the lock, so that nothing that was said meanwhile is lost; given is what is at the key. */
  facts: KeyFacts | ((there: Found | undefined) => KeyFacts);
  /** The multipart upload that is completed. */
  upload?: CompletedUpload;
  /** None: nobody is told of it. */
  via?: Via;
  /** The object comes from another key, or is copied onto itself, and this was told of it there. */
  told?: Told | undefined;
}

/** What a write is held to, beside the client's condition; asked under the lock. */
export interface Guard {
  /** That the bucket is the one that the write began in. */
  hold: Hold;
  /** @param there what is at the key now. @throws what ends the write; Outdated if it is to be thought over. */
  check?(there: Found | undefined): void;
  /** Nothing may be at the path, not even what another program puts there at this moment. @throws Outdated then. */
  exclusive?: boolean;
}

/** So many rows of a directory are asked whether their files stand before it is read. */
const KNOWN_ASKED = 3;

/** How often a race with other writers or outside programs is run again. */
const ATTEMPTS = 20;

type Prepare = Extract<JournalLine, { op: 'prepare' }>;

/** Thrown under the lock when what was decided before no longer holds. */
export class Retry extends Error {}

/** The flush has changed what stat(2) says of a body (NFS): what was announced of it does not hold. */
class Restamped extends Retry {
  constructor(readonly stat: BigIntStats) {
    super();
  }
}

/** Runs an operation again as long as it loses such a race. @throws OperationAborted when that goes on. */
export async function retried<T>(attempt: () => Promise<T>): Promise<T> {
  for (let n = 0; ; n++) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof Retry)) throw error;
      if (n >= ATTEMPTS) throw new S3Error('OperationAborted', undefined, { cause: error });
    }
  }
}

/** For those who make it anew then: `retried(() => work().catch(thinkOver))`. */
export function thinkOver(error: unknown): never {
  throw error instanceof Outdated ? new Retry() : error;
}

/** A file on its way to a key, and what was decided of it before the lock was taken. */
export interface Arrival {
  bucket: string;
  key: string;
  target: Target;
  destination: Destination;
  condition: WriteCondition | undefined;
  /** The object that the condition speaks of. */
  known: Found | undefined;
  guard: Guard;
  /** Under the lock, last of all checks. */
  check?(there: Found | undefined): void;
}

/** Where the file is now. `kept`: what was known of other bytes at its place is kept (Catalog.keepBytes). */
export interface Arrived {
  dir: Dir;
  name: string;
  kept?: boolean;
}

/** What a commit has done on the disk so far. */
export interface Done {
  /** Set as soon as the file has its new name: what fails from then on does not undo it. */
  renamed: boolean;
  /** Directories to flush. */
  dirtied: Set<string>;
}

type Destination = Pick<Prepare, 'mkdirs' | 'file' | 'replaces' | 'aside'>;

export class Publisher {
  private readonly joint: Joint;
  /**
   * Renamed, but the write that was to record it failed; or `recorded`, but what it supersedes is still there: settled by the next write that
   * succeeds.
   */
  private undecided: (Announced & { recorded: boolean })[] = [];

  constructor(
    private readonly core: Core,
    private readonly identifier: Identifier,
  ) {
    this.joint = new Joint(core);
  }

  /** Mode and owner for a body: those of the file that it replaces, but for the set-id bits: what a client sends must not run as the owner. */
  inheritFrom({ name, base, there }: Target, staging = this.core.stagingAt(base).stat): Inherit {
    // an overflow object: a file of ours
    if (name === '') return { ...this.core.owner };
    if (there?.isFile()) return { mode: Number(there.mode) & ~0o6000, uid: Number(there.uid), gid: Number(there.gid) };
    return ownerOfNew(statSync(base.at('.')), staging);
  }

  /**
   * Publishes a staged body at a key. The staged file is gone afterwards, whatever happens. @throws Outdated only if the guard's check does.
   * @param target where the key was to be put when that was last looked at; under the lock it is looked at again.
   */
  async publish(
    { bucket, key }: ObjectRef,
    ready: Ready,
    facts: Facts,
    guard: Guard,
    condition?: WriteCondition,
    target?: Target,
  ): Promise<ObjectInfo> {
    let staged = ready;
    let left = false;
    try {
      return await retried(async () => {
        const known = target;
        target = undefined;
        try {
          const info = await this.attempt({ bucket, key }, staged, facts, guard, condition, known);
          left = true;
          return info;
        } catch (error) {
          left = error instanceof Outdated;
          if (error instanceof Restamped) staged = { path: staged.path, stat: error.stat };
          if (errno(error) !== 'EXDEV') throw error;
          staged = await this.restage(bucket, key, staged);
          throw new Retry();
        }
      });
    } finally {
      // not before: a flush that nobody waited for keeps the file open
      await ready.flushed?.catch(() => undefined);
      if (!left) discard(staged.path);
    }
  }

  private async attempt(
    { bucket, key }: ObjectRef,
    staged: Ready,
    facts: Facts,
    guard: Guard,
    condition: WriteCondition | undefined,
    seen: Target | undefined,
  ): Promise<ObjectInfo> {
    const { core } = this;
    const known = await this.current(bucket, key, condition);
    const target = seen ?? core.target(bucket, key);
    const mount = core.mounts.idOf(staged.stat.dev, target.base.path);
    const destination = { ...destinationOf(core, target), ...asideOf(core, bucket, key, target) };
    const { facts: given } = facts;
    const said = typeof given === 'function' ? given(core.find(bucket, key)) : given;
    const line: Prepare = {
      op: 'prepare',
      id: `${core.token}-${randomHex(6)}`,
      ...subjectOf(target.place),
      bytes: { fp: formatFingerprint(fingerprint(staged.stat, mount)), ...facts.bytes },
      facts: said,
      published: true,
      ...(facts.via && { via: facts.via }),
      ...(facts.upload && { upload: facts.upload }),
      ...(facts.told && { told: facts.told }),
      ...destination,
    };
    const check = (there: Found | undefined): void => {
      if (typeof given === 'function' && !sameFacts(given(there), said)) throw new Retry();
    };
    const arrival = { bucket, key, target, destination, condition, known, guard, check };
    const flushed = staged.flushed?.then((stat) => {
      if (!fingerprint(stat, mount).equals(fingerprint(staged.stat, mount))) throw new Restamped(stat);
    });
    // also told to whoever waits for it, if anybody does
    flushed?.catch(() => undefined);
    const found = await this.committed(line, target, (done) => this.arrive(arrival, staged.path, done), flushed);
    return describe(bucket, key, found);
  }

  /**
   * What a put and a move do under the lock: condition and place are checked again, the file at `from` gets its name, and what it supersedes goes.
   * @throws PreconditionFailed, Retry.
   */
  arrive(arrival: Arrival, from: string, done: Done): Arrived {
    return this.core.dirs.together(() => this.arriveNow(arrival, from, done));
  }

  private arriveNow(arrival: Arrival, from: string, done: Done): Arrived {
    const { core } = this;
    const { bucket, key, target, destination, condition, known, guard } = arrival;
    guard.hold();
    const now = core.target(bucket, key);
    const there = core.findAt(bucket, key, now);
    this.check(bucket, key, condition, known, there);
    guard.check?.(there);
    arrival.check?.(there);
    if (!samePlace(now.place, target.place) || now.missing.length > target.missing.length) throw new Retry();
    const { file, replaces } = destination;
    if (file !== undefined && core.catalog.row(now.place)?.file !== replaces) throw new Retry();
    const aside = now.place.kind === 'tree' ? core.findOverflow(bucket, key) : undefined;
    if (aside && aside.name !== destination.aside?.file && aside.dir.at(aside.name) !== from) throw new Retry();
    const name = file ?? now.name;
    let kept = false;
    const dir = core.inMissing(now, (dir, made) => {
      for (const path of made) done.dirtied.add(path);
      kept = core.tracker.keepBytes(now.place, there);
      const exclusive = condition?.ifNoneMatch?.includes('*') === true;
      try {
        const to = dir.at(name);
        const replaced = there && { path: to, folder: dir.path, stat: there.stat, flushed: core.durable };
        freedLater(replaced, () => place(from, to, exclusive || guard.exclusive === true, exclusive));
      } catch (error) {
        // others have taken the directory away since it was looked at
        if (isAbsent(error) && !core.dirs.stands(dir)) throw new Retry();
        throw error;
      }
      done.renamed = true;
      return dir;
    });
    if (target.place.kind === 'overflow') this.dropMarker(bucket, key);
    return { dir, name, kept };
  }

  /**
   * Prepare line and flush, then `act` under the lock, then commit line, row and the flush of the folders.
   * @param act does the rename, and tells that and where the file is now; what it throws before leaves everything as it was.
   * @param flushed of the file that is renamed, if it is still being flushed.
   */
  async committed(
    line: Prepare,
    target: Target,
    act: (done: Done) => Arrived,
    flushed?: Promise<void>,
  ): Promise<Found> {
    const { core } = this;
    const { catalog } = core;
    const dirs = target.place.kind === 'tree' ? target.place.dirs : undefined;
    this.decide();
    const announced: Announced = { line, dirs, ...(flushed && { flushed }) };
    const done: Done = { renamed: false, dirtied: new Set() };
    let recorded = false;
    let ended = true;
    const supersedes = line.replaces !== undefined || line.aside !== undefined;
    try {
      const found = await this.joint.record(announced, (): Found => {
        this.settleWay(target.place);
        catalog.foresee(line);
        const { dir, name, kept } = act(done);
        if (dirs)
          this.joint.once(`reached ${dir.id} ${dir.path} ${dirs.join('/')}`, () =>
            core.tracker.claimReached(dirs, dir),
          );
        done.dirtied.add(dir.path);
        const stat = lstatSync(dir.at(name), { bigint: true });
        const seq = catalog.nextSeq();
        this.appendCommit(line, target.place, seq, stat, kept);
        const row = catalog.publish(line, seq, stat.ctimeNs);
        // the file that is superseded goes afterwards: until then the line is looked at again after a crash
        if (!supersedes) this.joint.settle(announced);
        const fp = fingerprint(stat, core.mounts.idOf(stat.dev, dir.path));
        return { place: target.place, stat, fp, row, dir, name };
      });
      recorded = true;
      await core.syncDirs(done.dirtied);
      // not before: until then a power cut may bring the old one back
      if (line.replaces !== undefined) discard(join(target.dirPath, line.replaces));
      if (line.aside) ended = await this.dropSuperseded(line.aside);
      if (!ended) this.undecided.push({ ...announced, recorded });
      return found;
    } catch (error) {
      if (done.renamed && !recorded && takenBack(line, target)) done.renamed = false;
      if (done.renamed && !recorded) this.undecided.push({ ...announced, recorded });
      throw error;
    } finally {
      if (!done.renamed) this.abandon(line.id, announced.ticket);
      else if (recorded && supersedes && ended) this.joint.settle(announced);
    }
  }

  /** The rows of the directories on the way are those of the directories that stand there. Under the lock. */
  private settleWay(place: Place): void {
    const { tracker } = this.core;
    if (place.kind === 'overflow') tracker.settleDirs(noteWay(this.core, place));
    else this.joint.once(`way ${place.dirs.join('/')}`, () => tracker.settleDirs(place.dirs, 0, true));
  }

  /** Takes over, or gives up, lines whose rename happened without its row: an open line keeps all that follow from being settled. */
  private decide(): void {
    const { core } = this;
    const waiting = this.undecided;
    if (waiting.length === 0) return;
    this.undecided = [];
    try {
      core.catalog.record(() => {
        for (const { line, recorded } of waiting) {
          if (recorded) settleAside(core, line);
          else if (!adoptStanding(core, line) && 'key' in line) settleOverflow(core, line);
        }
      });
    } catch (error) {
      this.undecided.push(...waiting);
      throw error;
    }
    for (const { recorded, ...announced } of waiting) {
      if (recorded) this.joint.settle(announced);
      else this.abandon(announced.line.id, announced.ticket);
    }
  }

  /** Nothing was changed: nobody need wait for a commit. */
  abandon(id: string, ticket?: { segment: string; offset: number }): void {
    const { journal } = this.core.catalog;
    if (!ticket) return;
    journal.settle(ticket);
    try {
      if (ticket.segment === journal.segment) journal.append({ op: 'abort', id });
    } catch {
      // no room for the line: replay will find a prepare line whose file never came
    }
  }

  private appendCommit(line: Prepare, place: Place, seq: number, stat: BigIntStats, kept?: boolean): void {
    const { catalog } = this.core;
    const old = catalog.row(place);
    catalog.journal.appendLater({
      op: 'commit',
      id: line.id,
      seq,
      ctime: String(stat.ctimeNs),
      ...(kept && { kept: true as const }),
      ...(old && old.goneAt === undefined && { over: true as const }),
    });
  }

  /** The overflow copy of a key that has a path by now goes, unless another came meanwhile. @returns false if it could not: what it gave way to stands all the same. */
  private async dropSuperseded({ bucket, key, file }: Aside): Promise<boolean> {
    const { core } = this;
    const dirtied = new Set<string>();
    try {
      core.catalog.record(() => {
        const old = core.findOverflowIn(bucket, key);
        if (old?.name === file) this.drop(old, dirtied);
      });
      await core.flushed(dirtied);
      return true;
    } catch (error) {
      core.log('warn', 'a superseded object of the same key could not be removed yet', { key, error: String(error) });
      return false;
    }
  }

  /** Under the lock: an overflow copy that is kept aside goes; what stands in its way is flushed. */
  dropOverflow(bucket: string, key: string, dirtied: Set<string>): void {
    const old = this.core.findOverflow(bucket, key);
    if (old) this.drop(old, dirtied);
  }

  private drop(old: Found, dirtied: Set<string>): void {
    this.forgetOverflow(old);
    discard(old.dir.at(old.name));
    dirtied.add(old.dir.path);
  }

  /** Its row goes and a line says so; its file is the caller's to discard, once what supersedes it is flushed. Under the lock. */
  forgetOverflow(old: Found): void {
    this.core.catalog.removeRow(old.place);
    this.recordDelete(subjectOf(old.place), [], { file: old.name });
  }

  /** A body at `dir/` supersedes the marker. */
  private dropMarker(bucket: string, key: string): void {
    const { core } = this;
    if (!core.findMarker(bucket, key)) return;
    const dirs = [...core.bucketDirs(bucket), ...key.slice(0, -1).split('/')];
    core.catalog.changeDir(dirs, (row) => delete row.marker);
    core.catalog.journal.append({ op: 'unmark', seq: core.catalog.nextSeq(), path: dirs.join('/') });
  }

  /** Appends a delete line and drops the row. Under the lock. */
  recordDelete(
    subject: Subject,
    rmdirs: string[],
    { via, kept, file, clientToken }: { via?: Via; kept?: boolean; file?: string; clientToken?: ClientToken } = {},
  ): void {
    const { catalog } = this.core;
    catalog.journal.append({
      op: 'delete',
      seq: catalog.nextSeq(),
      ...subject,
      ...(rmdirs.length > 0 && { rmdirs }),
      ...(kept && { kept: true as const }),
      ...(file !== undefined && { file }),
      ...(clientToken && { clientToken }),
      ...(via && { via }),
    });
    if (clientToken) catalog.clientTokens.note(clientToken);
    catalog.noteSettled();
  }

  /** Removes what {@link prune} does: announced before, recorded behind as a delete of `subject`. Under the lock. @returns paths below the root. */
  pruneRecorded(dirs: readonly string[], subject: Subject): string[] {
    this.announcePrune(dirs);
    const removed = this.prune(dirs);
    if (removed.length > 0) this.recordDelete(subject, removed);
    return removed;
  }

  /** Tells the journal which directories are about to be made or removed, parents first; a numbered line must follow. Under the lock. */
  announce(paths: string[]): void {
    if (paths.length > 0) this.core.catalog.journal.append({ op: 'dirs', paths });
  }

  /** Announces what {@link prune} will remove once `name` is gone, or as it is now. Under the lock. @returns whether that is anything. */
  announcePrune(dirs: readonly string[], name?: string): boolean {
    const made: string[] = [];
    let gone = name;
    for (const { path, row } of this.prunable(dirs)) {
      if (!this.fallsEmpty(path, row, gone, path.length < dirs.length)) break;
      made.push(path.join('/'));
      gone = path.at(-1);
    }
    this.announce(made.reverse());
    return made.length > 0;
  }

  /** @param maybe what is told of a directory that cannot be read. */
  private fallsEmpty(dirs: readonly string[], row: DirRow, name: string | undefined, maybe: boolean): boolean {
    try {
      const dir = this.core.dirs.get(this.core.pathOf(dirs));
      return !this.holdsKnown(dir, row, name) && holdsOnly(dir, name);
    } catch (error) {
      // reached by a link, or moved away: not pruned either
      if (isAbsent(error)) return false;
      if (maybe) return true;
      throw error;
    }
  }

  /** Whether something that has a row stands in a directory beside `name`: of a large one that costs less than reading it. */
  private holdsKnown(dir: Dir, { id }: DirRow, name: string | undefined): boolean {
    return firstChildren(this.core.catalog.index, id, KNOWN_ASKED).some((child) => {
      const known = child.name.replace(/\/$/, '');
      return known !== name && lstatOf(dir.at(known)) !== undefined;
    });
  }

  /** Directories that gos3rve made, that no client put as a marker and that are no bucket's own, upwards as long as that is so. */
  private *prunable(dirs: readonly string[]): Generator<{ path: readonly string[]; row: DirRow }> {
    const rows = this.core.catalog.dirsDown(dirs);
    for (let depth = dirs.length; depth > 1; depth--) {
      const path = dirs.slice(0, depth);
      const row = rows[depth];
      if (!row?.made || row.marker || this.core.isBucketFolder(path)) return;
      yield { path, row };
    }
  }

  /** Removes directories that gos3rve made and that have fallen empty, deepest first. Under the lock. @returns paths below the root. */
  prune(dirs: readonly string[]): string[] {
    const { core } = this;
    const removed: string[] = [];
    for (const { path, row } of this.prunable(dirs)) {
      try {
        rmdirSync(core.dirs.get(core.pathOf(path.slice(0, -1))).at(path.at(-1) ?? ''));
      } catch {
        break;
      }
      core.catalog.dropDirRow(row);
      removed.push(path.join('/'));
    }
    return removed;
  }

  /** The object that a condition speaks of, with its true ETag. */
  async current(bucket: string, key: string, condition: WriteCondition | undefined): Promise<Found | undefined> {
    if (!namesEtag(condition)) return undefined;
    const found = this.core.find(bucket, key);
    return found && this.identifier.identify(bucket, key, found, true);
  }

  /**
   * Evaluates a condition before bytes are copied, so that what cannot succeed is told at once; {@link checkAgain} decides. @throws as that does.
   */
  async checkEarly(bucket: string, key: string, condition: WriteCondition | undefined): Promise<void> {
    if (!condition) return;
    const known = await this.current(bucket, key, condition);
    try {
      this.checkAgain(bucket, key, condition, known);
    } catch (error) {
      if (!(error instanceof Retry)) throw error;
    }
  }

  /** Under the lock: evaluates the condition on the file as it is now. @throws PreconditionFailed, NoSuchKey, Retry. */
  checkAgain(
    bucket: string,
    key: string,
    condition: WriteCondition | undefined,
    known: Found | undefined,
  ): Found | undefined {
    const found = this.core.find(bucket, key);
    this.check(bucket, key, condition, known, found);
    return found;
  }

  /** The same on what was found. */
  private check(
    bucket: string,
    key: string,
    condition: WriteCondition | undefined,
    known: Found | undefined,
    found: Found | undefined,
  ): void {
    if (!condition) return;
    if (found && namesEtag(condition) && (knowledge(found) !== 'known' || isUnproven(found))) {
      const same = known?.fp.equals(found.fp) === true && known.stat.ctimeNs === found.stat.ctimeNs;
      if (!same) throw new Retry();
    }
    const marker = found ? undefined : this.core.findMarker(bucket, key);
    const empty = marker && { etag: EMPTY_ETAG, lastModified: marker.time, size: 0 };
    checkWrite(condition, found ? validators(bucket, key, found) : empty);
  }

  /** Another mount after all (mounted since we looked): copies the body to where rename(2) works. */
  private async restage(bucket: string, key: string, staged: Ready): Promise<Ready> {
    const { core } = this;
    core.mounts.refresh();
    const target = core.target(bucket, key);
    const path = join(core.stagingFor(target.base), `${core.token}-${randomHex(8)}`);
    await copyFile(staged.path, path, constants.COPYFILE_EXCL);
    const file = await open(path, 'r+');
    try {
      const { mode, uid, gid } = staged.stat;
      applyInherit(file.fd, { mode: Number(mode), uid: Number(uid), gid: Number(gid) });
      if (core.durable) await file.sync();
      const stat = await file.stat({ bigint: true });
      discard(staged.path);
      return { path, stat };
    } finally {
      await file.close();
    }
  }
}

/** A body of an overflow key that no row names: it goes, and nothing has happened. @returns whether it did. */
function takenBack(line: Prepare, target: Target): boolean {
  if (line.file === undefined || line.from) return false;
  try {
    unlinkSync(join(target.dirPath, line.file));
    return true;
  } catch {
    return false;
  }
}

/** Whether a directory is empty, but for an entry `name`. */
function holdsOnly(dir: Dir, name: string | undefined): boolean {
  const entries = opendirSync(dir.at('.'));
  try {
    for (let entry = entries.readSync(); entry !== null; entry = entries.readSync()) {
      if (entry.name !== name) return false;
    }
    return true;
  } finally {
    entries.closeSync();
  }
}

/** The key's validators as conditions compare them. */
export function validators(bucket: string, key: string, found: Found): Validators & { size: number } {
  const { etag, aliases, lastModified, size } = describe(bucket, key, found);
  return { etag, lastModified, size, ...(aliases && { aliases }) };
}

function namesEtag(condition: WriteCondition | undefined): boolean {
  return [...(condition?.ifMatch ?? []), ...(condition?.ifNoneMatch ?? [])].some((etag) => etag !== '*');
}

/** Paths, relative to the root, of the directories that a target still misses. */
function madePaths(target: Target): string[] {
  const { dirs } = target.place as Extract<Target['place'], { kind: 'tree' }>;
  const depth = dirs.length - target.missing.length;
  return target.missing.map((_, i) => dirs.slice(0, depth + i + 1).join('/'));
}

/** The overflow copy that an object supersedes when it comes to stand at its path. */
export function asideOf(core: Core, bucket: string, key: string, target: Target): Pick<Prepare, 'aside'> {
  if (target.place.kind !== 'tree') return {};
  const old = core.findOverflow(bucket, key);
  return old ? { aside: { bucket: core.overflowFolder(bucket), key, file: old.name } } : {};
}

/** What a prepare line says of its target: directories to make; for an overflow object a new file, and the one that it replaces. */
export function destinationOf(core: Core, target: Target): Destination {
  if (target.place.kind === 'tree') return target.missing.length > 0 ? { mkdirs: madePaths(target) } : {};
  const replaces = core.catalog.row(target.place)?.file;
  return { file: randomHex(12), ...(replaces !== undefined && { replaces }) };
}

/** The folders that stand above an object whose key is no path: known from now on, so that it follows when they are renamed. Under the lock. */
function noteWay(core: Core, target: Extract<Place, { kind: 'overflow' }>): readonly string[] {
  const dirs = target.bucket === '.' ? [] : target.bucket.split('/');
  for (const name of target.key.split('/').slice(0, -1)) {
    const way = [...dirs, name];
    const stands = keyToPath(name) !== undefined && core.catalog.world?.(way) !== undefined;
    if (!stands) break;
    dirs.push(name);
  }
  core.catalog.ensureDir(dirs);
  return dirs;
}
