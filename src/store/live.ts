/** The live index: reconciles rows with the tree ahead of requests; see live-contract.ts. */
import { lstatSync, type BigIntStats } from 'node:fs';
import { NO_FINGERPRINT } from '../catalog/catalog.js';
import { decodeRow, dirStamp, rowKey, rowName, type FileRow } from '../catalog/rows.js';
import { isPossibleName } from '../fs/keypath.js';
import { isAbsent, type Core, type Found } from './core.js';
import { knowledge } from './describe.js';
import type { DirReader } from './dir-reader.js';
import type { Identifier } from './identifier.js';
import type { DirReport, FileReport, HashOutcome, Live, LookOptions, Md5, UnhashedPage } from './live-contract.js';
import { newRow } from './objects.js';

const PAGE = 256;

export class LiveIndex implements Live {
  constructor(
    private readonly core: Core,
    private readonly reader: DirReader,
    private readonly identifier: Identifier,
  ) {}

  get hashes(): number {
    return this.identifier.hashes;
  }

  get rebuilding(): boolean {
    return !this.core.catalog.index.ready;
  }

  async lookAtDir(dirs: readonly string[], options: LookOptions = {}): Promise<DirReport | undefined> {
    const { core } = this;
    this.begin();
    const path = core.pathOf(dirs);
    const stat = dirStat(path);
    if (!stat) return undefined;
    const report: DirReport = { subdirs: [], added: 0, gone: 0, changed: 0 };
    let row = core.catalog.findDir(dirs);
    const changed = !row?.stamp || !row.stampTrusted || !row.stamp.equals(dirStamp(stat, core.view));
    if (changed || options.force) row = await this.reader.read(path, dirs);
    if (!row) return undefined;
    let next: Buffer = rowKey(row.id, '');
    for (;;) {
      core.catalog.index.refresh();
      const page = core.catalog.index.page('tree', next, rowKey(row.id + 1, ''), PAGE);
      const last = page.at(-1);
      if (!last) return report;
      for (const { key } of page) {
        const name = rowName(key).toString('utf8');
        if (name.endsWith('/')) report.subdirs.push(name.slice(0, -1));
        else if (options.files) {
          const file = await this.lookAtFile(dirs, name);
          const { state } = file;
          if (state !== 'same' || file.hashed === false) options.onFile?.(name, file);
          if (state === 'new') report.added++;
          else if (state === 'changed') report.changed++;
          else if (state === 'gone') report.gone++;
        }
      }
      next = Buffer.concat([last.key, Buffer.from([0])]);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async lookAtFile(dirs: readonly string[], name: string): Promise<FileReport> {
    const { core } = this;
    this.begin();
    if (!isPossibleName(name) || !dirs.every(isPossibleName)) return { state: 'not-served' };
    const found = core.findPlace(dirs, name);
    if (!found) {
      const missed = core.catalog.row({ kind: 'tree', dirs, name });
      return { state: 'gone', known: missed !== undefined && missed.goneAt === undefined };
    }
    const { stat, row } = found;
    const youngest = stat.mtimeNs > stat.ctimeNs ? stat.mtimeNs : stat.ctimeNs;
    const state = !row || row.fp.equals(NO_FINGERPRINT) ? 'new' : row.fp.equals(found.fp) ? 'same' : 'changed';
    if (state !== 'same') this.remember(found);
    return {
      state,
      size: Number(stat.size),
      quietForMs: Math.max(0, Date.now() - Number(youngest / 1_000_000n)),
      hashed: knowledge(found) === 'known',
    };
  }

  unhashed(after: Buffer | undefined, max: number): UnhashedPage {
    void after;
    void max;
    void decodeRow;
    return { entries: [] };
  }

  async hashFile(dirs: readonly string[], name: string, md5?: Md5): Promise<HashOutcome> {
    this.begin();
    const found = this.core.findPlace(dirs, name);
    if (!found) return 'gone';
    return this.identifier.hashPlace(found, () => this.core.findPlace(dirs, name), md5);
  }

  async settleRenames(): Promise<number> {
    return 0;
  }

  private begin(): void {
    this.core.checkRoot();
    this.core.catalog.index.refresh();
  }

  private remember(found: Found): void {
    const { index } = this.core.catalog;
    index.write(() => {
      const row: FileRow = { ...(this.core.catalog.row(found.place) ?? newRow()) };
      if (row.etag !== '') return;
      this.core.catalog.putRow(found.place, { ...row, fp: found.fp, ctimeNs: found.stat.ctimeNs });
    });
  }
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
