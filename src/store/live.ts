/** The live index: reconciles rows with the tree ahead of requests; see live-contract.ts. */
import { lstatSync, type BigIntStats } from 'node:fs';
import { NO_FINGERPRINT } from '../catalog/catalog.js';
import { childPagesInTurns } from '../catalog/children.js';
import { dirStamp, isGone, isPresent, isUnhashed, rowKey, rowName, type DirRow } from '../catalog/rows.js';
import { formatFingerprint, looksRestored } from '../fs/fingerprint.js';
import { isPossibleName } from '../fs/keypath.js';
import { errno } from '../base/errors.js';
import { isAbsent, lstatOf, type Core, type Found } from './core.js';
import { isAppending, knowledge } from './describe.js';
import type { DirReader } from './dir-reader.js';
import { changedRow } from './former.js';
import { absence, isFolderGone, noteGone, noteMarkerBack } from './ghosts.js';
import { isSettled, isUnproven, type Identifier } from './identifier.js';
import type {
  DirReport,
  FileReport,
  HashOutcome,
  Live,
  LookOptions,
  Md5,
  UnhashedPage,
  Untold,
  UntoldPage,
} from './live-contract.js';
import { MissingDirs } from './missing-dirs.js';
import { newRow } from './objects.js';

/** Rows that are gone through at a time: so long the turn may be. */
const PAGE = 256;
/** Rows that one call of `unhashed` looks at. */
const UNHASHED_ROWS = 4096;

type State = FileReport['state'];

export class LiveIndex implements Live {
  private readonly missing: MissingDirs;

  constructor(
    private readonly core: Core,
    private readonly reader: DirReader,
    private readonly identifier: Identifier,
  ) {
    this.missing = new MissingDirs(core);
  }

  get quietMs(): number {
    return this.core.quietMs;
  }

  get hashes(): number {
    return this.identifier.hashes;
  }

  get rebuilding(): boolean {
    return !this.core.catalog.index.ready;
  }

  async lookAtDir(dirs: readonly string[], options: LookOptions = {}): Promise<DirReport | undefined> {
    try {
      return await this.lookAtDirNow(dirs, options);
    } catch (error) {
      // what may be read but not searched tells its names and nothing more
      const code = errno(error);
      if (code === 'EACCES' || code === 'EPERM') return undefined;
      throw error;
    }
  }

  private async lookAtDirNow(dirs: readonly string[], options: LookOptions): Promise<DirReport | undefined> {
    const { core } = this;
    this.begin();
    if (!this.isServed(dirs) || core.isBeyondKeys(dirs)) return undefined;
    const stat = dirStat(core.pathOf(dirs));
    if (!stat) {
      this.noteMissing(dirs);
      return undefined;
    }
    const report: DirReport = { subdirs: [], added: 0, gone: 0, changed: 0 };
    core.tracker.settleDirs(dirs);
    let row = core.catalog.findDir(dirs);
    let names: number | undefined;
    if (options.force || !row?.stamp || !row.stampTrusted || !row.stamp.equals(dirStamp(stat, core.view))) {
      const read = await this.reader.read(core.pathOf(dirs), dirs);
      if (!read) return undefined;
      ({ row, names } = read);
      report.added = read.added;
    }
    noteMarkerBack(core, dirs, row);
    const { live, gone, folders } = await this.goThrough(dirs, row, options, report);
    // every name has a row, so more rows than names are rows of files that went
    if (names !== undefined && live > names && !options.files) await this.findGone(dirs, row, report);
    else if (names === live && gone === 0) this.noteFull(dirs, row, folders === 0);
    return report;
  }

  /** Every row has its file: a rename of the directory need not look for those that stay behind. */
  private noteFull(dirs: readonly string[], { id, stamp, stampTrusted, full }: DirRow, leaf: boolean): void {
    if (full === true || !stampTrusted) return;
    const { catalog } = this.core;
    catalog.index.write(() => {
      const now = catalog.findDir(dirs);
      if (now?.id !== id || !now.stampTrusted || !stamp || now.stamp?.equals(stamp) !== true) return;
      // a row that has come meanwhile is one of a directory that has come, too
      catalog.changeDir(dirs, (row) => {
        row.full = true;
        if (leaf) row.leaf = true;
      });
    });
  }

  /**
   * Goes through the rows of a directory. @returns how many are of what was there when somebody last looked, how many files were missed before, and how
   * many are of folders.
   */
  private async goThrough(
    dirs: readonly string[],
    row: DirRow,
    { files, onFile, told = false }: LookOptions,
    report: DirReport,
  ): Promise<{ live: number; gone: number; folders: number }> {
    let live = 0;
    let gone = 0;
    let folders = 0;
    for await (const page of childPagesInTurns(this.core.catalog.index, row.id)) {
      const names: string[] = [];
      for (const { name, value } of page) {
        if (name.endsWith('/')) {
          folders++;
          const there = lstatOf(`${this.core.pathOf(dirs)}/${name.slice(0, -1)}`);
          if (there) live++;
          if (there?.isDirectory()) report.subdirs.push(name.slice(0, -1));
          else this.noteMissing([...dirs, name.slice(0, -1)]);
        } else if (!isGone(value)) {
          live++;
          names.push(name);
        } else gone++;
      }
      if (!files) continue;
      for (const [i, file] of this.examine(dirs, names, told).entries()) {
        const { state } = file;
        if (state !== 'same' || file.hashed === false) onFile?.(names[i] ?? '', file);
        if (state === 'changed') report.changed++;
        else if (state === 'gone') report.gone++;
      }
    }
    return { live, gone, folders };
  }

  /** A directory that had a row and is there no more. */
  private noteMissing(dirs: readonly string[]): void {
    if (dirs.length > 0 && this.core.catalog.findDir(dirs) && isFolderGone(this.core, dirs)) this.missing.note(dirs);
  }

  private async findGone(dirs: readonly string[], row: DirRow, report: DirReport): Promise<void> {
    const path = this.core.pathOf(dirs);
    for await (const page of childPagesInTurns(this.core.catalog.index, row.id)) {
      const missing = page.filter(
        ({ name, value }) => !isGone(value) && !name.endsWith('/') && !lstatOf(`${path}/${name}`)?.isFile(),
      );
      report.gone += noteGone(
        this.core,
        missing.map(({ name }) => ({ dirs, name })),
      );
    }
  }

  async lookAtFile(dirs: readonly string[], name: string, told = false): Promise<FileReport> {
    if (name !== '') return (await this.lookAtFiles(dirs, [name], told))[0] ?? { state: 'gone' };
    this.begin();
    this.core.tracker.settleDirs(dirs);
    return this.lookAtMarker(dirs);
  }

  async lookAtFiles(dirs: readonly string[], names: readonly string[], told = false): Promise<FileReport[]> {
    this.begin();
    this.core.tracker.settleDirs(dirs);
    const { index } = this.core.catalog;
    const id = this.core.catalog.findDir(dirs)?.id;
    for (const name of names) {
      // made and gone before anybody could watch it; or a file has taken its place
      const was = id !== undefined && isPossibleName(name) && index.has('tree', rowKey(id, `${name}/`));
      if (was) this.noteMissing([...dirs, name]);
    }
    return this.examine(dirs, names, told);
  }

  private lookAtMarker(dirs: readonly string[]): FileReport {
    const { core } = this;
    const row = core.catalog.findDir(dirs);
    if (!dirStat(core.pathOf(dirs)))
      return { state: 'gone', known: noteGone(core, [{ dirs, name: '' }]) > 0, size: 0, hashed: true };
    if (!row?.marker) return { state: 'not-served' };
    return { state: noteMarkerBack(core, dirs, row) ? 'new' : 'same', size: 0, hashed: true };
  }

  /** Compares files of one directory with their rows, and remembers what was found, in few transactions. */
  private examine(dirs: readonly string[], names: readonly string[], told: boolean): FileReport[] {
    const { core } = this;
    const looks = core.dirs.together(() => names.map((name) => this.look(dirs, name)));
    const ageMs = core.clock.ages();
    const missing = looks.flatMap(({ state, name, known }) => (state === 'gone' && known ? [{ dirs, name }] : []));
    noteGone(core, missing);
    const open = looks.flatMap(({ found, name }) =>
      found && !isSettled(found) ? [{ found, again: (): Found | undefined => core.findPlace(dirs, name) }] : [],
    );
    const recalled = open.length === 0 || this.rebuilding ? [] : this.identifier.recall(open);
    const now = new Map(open.map(({ found }, i) => [found, recalled[i]]));
    this.remember(
      looks.flatMap(({ found, state }) => (found ? [{ found: now.get(found) ?? found, state }] : [])),
      told,
    );
    return looks.map(({ found, state, known }): FileReport => {
      if (!found) return { state, ...(known !== undefined && { known }) };
      const { stat } = found;
      return {
        state,
        size: Number(stat.size),
        // not the mtime, which anybody can set
        quietForMs: Math.max(0, ageMs(Number(stat.ctimeNs / 1_000_000n))),
        hashed: knowledge(now.get(found) ?? found) === 'known',
      };
    });
  }

  private look(dirs: readonly string[], name: string): { name: string; state: State; found?: Found; known?: boolean } {
    const { core } = this;
    if (!isPossibleName(name) || !dirs.every(isPossibleName)) return { name, state: 'not-served' };
    const found = core.findPlace(dirs, name);
    if (!found) {
      const how = absence(core, dirs, name);
      const missed = core.catalog.row({ kind: 'tree', dirs, name });
      const nothing = !missed && !core.catalog.untold.isKnown(dirs, name) && lstatOf(`${core.pathOf(dirs)}/${name}`);
      if (how === undefined || nothing) return { name, state: 'not-served' };
      // a link that never led anywhere is nothing that went
      const known = missed && isPresent(missed) && !(how === 'dangling' && missed.fp.equals(NO_FINGERPRINT));
      return { name, state: 'gone', known: known === true };
    }
    const { row, fp } = found;
    const hidden = core.excludedPlace(dirs, name) || !this.isServed(dirs);
    if (hidden && row?.published !== true) return { name, state: 'not-served' };
    if (!row || row.fp.equals(NO_FINGERPRINT) || !isPresent(row)) return { name, found, state: 'new' };
    // our own work, which another program has not changed
    if (isAppending(found)) return { name, found, state: 'same' };
    if (row.fp.equals(fp)) return { name, found, state: row.unseen ?? 'same' };
    return { name, found, state: looksRestored(row.fp, fp) && row.etag !== '' ? 'same' : 'changed' };
  }

  /** So that the next look says `same`, and those in doubt are found by `unhashed`. */
  private remember(looks: readonly { found: Found; state: State }[], told: boolean): void {
    const { catalog } = this.core;
    const due = looks.filter(({ found, state }) => state !== 'same' || isNewlyDoubtful(found));
    if (due.length === 0) return;
    catalog.index.write(() => {
      for (const { found, state } of due) {
        const { place, fp, stat } = found;
        const { unseen: _seen, goneAt: gone, dangling, ...row } = catalog.row(place) ?? newRow();
        // whoever appends puts the row that follows
        if (row.appendFrom !== undefined) continue;
        if (row.fp.equals(fp) || state === 'same') {
          catalog.putRow(place, { ...row, ...(isNewlyDoubtful(found) && { doubtful: true }) });
        } else catalog.putRow(place, changedRow(catalog, row, fp, stat.ctimeNs));
        if (place.kind !== 'tree') continue;
        if (gone !== undefined || dangling === true) catalog.untold.noteBack(place.dirs, place.name, row.fp.equals(fp));
        else if (state === 'changed')
          catalog.untold.note(place.dirs, place.name, 'created', false, formatFingerprint(fp));
        else if (state === 'new' && told)
          catalog.untold.note(place.dirs, place.name, 'created', true, formatFingerprint(fp));
      }
    });
  }

  untold(after: Buffer | undefined, max: number): UntoldPage {
    const { changes, next } = this.core.catalog.untold.some(after, max);
    const entries = changes.map(({ path, event, fresh }) => {
      const dirs = path.split('/');
      const name = dirs.pop() ?? '';
      return { dirs, name, event, ...(fresh && { fresh }) };
    });
    return { entries, ...(next && { next }) };
  }

  untoldOf(dirs: readonly string[], name: string): Untold | undefined {
    const change = this.core.catalog.untold.of(dirs, name);
    return change && { event: change.event, ...(change.fresh && { fresh: true }) };
  }

  forgetUntold(dirs: readonly string[], name: string): void {
    this.core.catalog.untold.forget(dirs, name);
  }

  unhashed(cursor: Buffer | undefined, max: number): UnhashedPage {
    this.begin();
    const { catalog } = this.core;
    const page = catalog.index.page('tree', cursor ?? rowKey(1, ''), Buffer.from([0xff]), UNHASHED_ROWS);
    const entries: UnhashedPage['entries'] = [];
    const paths = new Map<number, string[] | undefined>();
    for (const { key, value } of page) {
      if (!isUnhashed(value)) continue;
      const id = key.readUIntBE(0, 6);
      if (!paths.has(id)) paths.set(id, catalog.identities.pathOf(id));
      const dirs = paths.get(id);
      const name = rowName(key).toString('utf8');
      const found = dirs && dirs[0] !== '' ? this.core.findPlace(dirs, name) : undefined;
      if (!dirs || !found || (isSettled(found) && !isUnproven(found))) continue;
      entries.push({ dirs, name, size: Number(found.stat.size) });
      if (entries.length === max) return { entries, next: after(key) };
    }
    const last = page.at(-1);
    return last && page.length === UNHASHED_ROWS ? { entries, next: after(last.key) } : { entries };
  }

  async hashFile(dirs: readonly string[], name: string, md5?: Md5): Promise<HashOutcome> {
    this.begin();
    const again = (): Found | undefined => this.core.findPlace(dirs, name);
    const found = again();
    return found ? this.identifier.hashPlace(found, again, md5) : 'gone';
  }

  async settleRenames(): Promise<number> {
    this.begin();
    if (this.rebuilding) return 0;
    let settled = 0;
    await this.missing.settle();
    const { catalog, tracker } = this.core;
    while (catalog.record(() => tracker.settleLost(PAGE))) await turn();
    for (let next = rowKey(0, ''); ;) {
      const page = catalog.index.page('pending', next, Buffer.from([0xff]), PAGE);
      const last = page.at(-1);
      if (!last) return settled;
      settled += catalog.record(() => page.filter(({ key }) => tracker.settleKey(key)).length);
      next = after(last.key);
      await turn();
    }
  }

  private isServed(dirs: readonly string[]): boolean {
    return dirs.every((name) => isPossibleName(name) && !this.core.excluded(name));
  }

  private begin(): void {
    this.core.checkRoot();
    this.core.catalog.index.refresh();
  }
}

function isNewlyDoubtful(found: Found): boolean {
  return found.row?.doubtful !== true && knowledge(found) === 'provisional';
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** The least key behind another. */
function after(key: Buffer): Buffer {
  return Buffer.concat([key, Buffer.from([0])]);
}

function dirStat(path: string): BigIntStats | undefined {
  try {
    const stat = lstatSync(path, { bigint: true });
    return stat.isDirectory() ? stat : undefined;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
