/**
 * Compares bytes with what is recorded of them. A file whose fingerprint and ctime are as recorded, but whose bytes are not, was changed by
 * nobody: the disk (or a cable, or memory) has damaged it. Nothing is repaired here.
 *
 * When each file was last found whole is kept in the index, by the file's identity: with a lost index everything is due again.
 */
import { accessSync, closeSync, constants } from 'node:fs';
import { opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { S3Error, errno } from '../base/errors.js';
import type { ChecksumAlgorithm } from '../base/model.js';
import type { Place } from '../catalog/catalog.js';
import { identityOf } from '../catalog/identities.js';
import { decodeRow, unpairKey, rowName, type FileRow, type Layout } from '../catalog/rows.js';
import { fingerprintSize } from '../fs/fingerprint.js';
import { createHasher, prepareHashes } from '../fs/hash.js';
import { isStateDir } from '../fs/keypath.js';
import { readRange, type OpenFile } from '../fs/reader.js';
import { lstatOf } from '../fs/stat.js';
import type { Identifier } from './identifier.js';
import { isAbsent, type Core, type Found } from './core.js';
import { knowledge, openFound } from './describe.js';
import { endsOf, etagOf } from './etag.js';

/** Which objects: all of a folder (path below the root) whose key begins with `prefix`. */
export interface VerifyScope {
  folder: string;
  prefix: string;
}

/** An object whose bytes are recorded. */
export interface Recorded {
  place: Place;
  /** Path below the root, or folder and key of an overflow object. */
  name: string;
  /** Bytes. */
  size: number;
  /** When it was last found whole, ms; 0 for never. */
  verified: number;
}

export interface RecordedPage {
  entries: Recorded[];
  /** Pass as `after` to go on; absent at the end. */
  next?: Buffer;
}

export type Verdict =
  | { state: 'whole' }
  /** What was recorded and what was read; of one part, if it is known which. */
  | { state: 'damaged'; what: string; recorded: string; read: string; partNumber?: number }
  /** The system could not read it (EIO: a bad sector). */
  | { state: 'unreadable'; error: string }
  /** Written by another program since, or while it was read; or gone. No damage. */
  | { state: 'changed' | 'gone' };

/** Called with each piece's length as it is read; may wait, to hold a rate. @throws to stop. */
export type Pace = (bytes: number) => Promise<void> | void;

const TREE = 0;
const OVERFLOW = 1;

export class Verifier {
  constructor(
    private readonly core: Core,
    private readonly identifier: Pick<Identifier, 'prove' | 'confirm'>,
  ) {}

  scope(bucket: string, prefix: string): VerifyScope {
    return { folder: this.core.bucketDirs(bucket).join('/'), prefix };
  }

  /** Objects whose bytes are recorded, in the order of the index; not those whose file is gone. @param after where the last page ended. */
  page(scope: VerifyScope | undefined, after: Buffer | undefined, max: number): RecordedPage {
    const { index } = this.core.catalog;
    this.core.checkRoot();
    index.refresh();
    const table = after?.[0] ?? TREE;
    const start = after ? Buffer.concat([after.subarray(1), Buffer.alloc(after.length > 1 ? 1 : 0)]) : Buffer.alloc(0);
    const page = index.page(table === TREE ? 'tree' : 'overflow', start, Buffer.alloc(8, 0xff), max);
    const entries = page.flatMap(({ key, value }) => {
      const place = table === TREE ? this.treePlace(key) : overflowPlace(key);
      if (!place) return [];
      const row = decodeRow(value);
      if (row.kind !== 'file' || row.etag === '' || row.appendFrom !== undefined) return [];
      return isWithin(place, scope) && this.isThere(place, row) ? [this.recorded(place, row)] : [];
    });
    const last = page.at(-1);
    if (last && page.length === max) return { entries, next: Buffer.concat([Buffer.from([table]), last.key]) };
    return table === TREE ? { entries, next: Buffer.from([OVERFLOW]) } : { entries };
  }

  /**
   * Folders that cannot be read or searched: what is in them may never have been recorded, so no object tells of them.
   * @yields path below the root with a slash at its end, and what the system says.
   */
  async *closedFolders({ folder, prefix }: VerifyScope = { folder: '', prefix: '' }): AsyncGenerator<[string, string]> {
    const { root, excludes } = this.core;
    const wanted = folder === '' ? prefix : `${folder}/${prefix}`;
    const waiting = [''];
    for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
      try {
        accessSync(join(root, path), constants.R_OK | constants.X_OK);
        for await (const { name, ...entry } of entriesOf(join(root, path))) {
          const below = `${path}${name}/`;
          if (!entry.isDir || isStateDir(name) || excludes.entry(below.split('/').slice(0, -1), 1, true)) continue;
          if (below.startsWith(wanted) || wanted.startsWith(below)) waiting.push(below);
        }
      } catch (error) {
        const code = errno(error);
        if (code === undefined) throw error;
        // it went away meanwhile; or no key leads there
        if (!isAbsent(error)) yield [path, code];
      }
    }
  }

  /** Reads an object and compares. @throws what `pace` throws. */
  async check(place: Place, pace: Pace): Promise<Verdict> {
    this.core.checkRoot();
    let found: Found | undefined;
    try {
      found = this.find(place);
    } catch (error) {
      // its folder, most likely: others can be read
      const code = errno(error);
      if (code === undefined || error instanceof S3Error) throw error;
      return { state: 'unreadable', error: code };
    }
    if (!found) return { state: 'gone' };
    const { row } = found;
    const known = knowledge(found);
    if (known === 'unknown' || !row) return { state: 'changed' };
    // the next change in the same tick would not show
    if (known === 'provisional' && this.core.clock.isYoung(found.stat.ctimeNs)) return { state: 'changed' };
    const first = await this.read(found, row, pace);
    // read once more before a disk is accused: the first reading may have met a change of another program
    const verdict = first.state === 'damaged' && known === 'known' ? await this.read(found, row, pace) : first;
    const now = this.find(place);
    this.core.checkRoot();
    if (!now) return { state: 'gone' };
    const same = now.fp.equals(found.fp) && now.stat.ctimeNs === found.stat.ctimeNs && now.row?.seq === row.seq;
    if (!same) return { state: 'changed' };
    const again = (): Found | undefined => this.find(place);
    if (verdict.state === 'damaged' && (row.unproven || known === 'provisional')) {
      // touched since, or written just before it was renamed, for all we know: no proof against the disk
      await this.identifier.prove(now, again);
      return { state: 'changed' };
    }
    // restored, or touched: it holds what it held
    if (verdict.state === 'whole' && known === 'provisional') this.identifier.confirm(now, again);
    this.note(now, verdict.state === 'whole');
    return verdict;
  }

  private find(place: Place): Found | undefined {
    this.core.catalog.index.refresh();
    return place.kind === 'tree'
      ? this.core.findPlace(place.dirs, place.name)
      : this.core.findOverflowIn(place.bucket, place.key);
  }

  private async read(found: Found, row: FileRow, pace: Pace): Promise<Verdict> {
    let file: OpenFile | undefined;
    let stopped: { reason: unknown } | undefined;
    try {
      file = openFound(found);
      const layout = row.layout === undefined ? undefined : this.core.catalog.index.layout(row.layout);
      await prepareHashes();
      return await compare(file, row, layout, async (bytes) => {
        try {
          await pace(bytes);
        } catch (reason) {
          stopped = { reason };
          throw reason;
        }
      });
    } catch (error) {
      if (stopped) throw stopped.reason;
      const code = errno(error);
      if (code === 'ENOENT' || error instanceof S3Error) return { state: 'changed' };
      if (code === undefined) throw error;
      return { state: 'unreadable', error: code };
    } finally {
      if (file) closeSync(file.fd);
    }
  }

  /** What cannot be looked at counts: that is for its check to tell. */
  private isThere(place: Place, { file = '' }: FileRow): boolean {
    const [folder, name] =
      place.kind === 'tree' ? [this.core.pathOf(place.dirs), place.name] : [this.core.overflowDir(place.bucket), file];
    try {
      return lstatOf(`${folder}/${name}`) !== undefined;
    } catch (error) {
      return !isAbsent(error);
    }
  }

  private recorded(place: Place, row: FileRow): Recorded {
    const noted = this.core.catalog.index.get('verified', identityOf(row.fp));
    const name = place.kind === 'tree' ? [...place.dirs, place.name].join('/') : `${place.bucket}/${place.key}`;
    return { place, name, size: fingerprintSize(row.fp), verified: noted ? noted.readUIntBE(0, 6) : 0 };
  }

  /** What is not whole is due in the next run, too, until it was restored. */
  private note({ fp, place, stat }: Found, whole: boolean): void {
    const { catalog } = this.core;
    const time = Buffer.alloc(6);
    time.writeUIntBE(Date.now(), 0, 6);
    catalog.index.write(() => {
      if (!whole) {
        catalog.index.remove('verified', identityOf(fp));
        return;
      }
      catalog.index.put('verified', identityOf(fp), time);
      const row = catalog.row(place);
      if (row?.fp.equals(fp) !== true || row.ctimeNs !== stat.ctimeNs) return;
      catalog.proved(place, row);
      catalog.noteSettled();
    });
  }

  private treePlace(key: Buffer): Place | undefined {
    const name = rowName(key).toString('utf8');
    if (name.endsWith('/')) return undefined;
    const dirs = this.core.catalog.identities.pathOf(key.readUIntBE(0, 6));
    return dirs && dirs.length > 0 && dirs[0] !== '' ? { kind: 'tree', dirs, name } : undefined;
  }
}

async function* entriesOf(path: string): AsyncGenerator<{ name: string; isDir: boolean }> {
  for await (const entry of await opendir(path, { bufferSize: 256 }))
    yield { name: entry.name, isDir: entry.isDirectory() };
}

function overflowPlace(key: Buffer): Place {
  const [bucket = '', name = ''] = unpairKey(key);
  return { kind: 'overflow', bucket, key: name };
}

function isWithin(place: Place, scope: VerifyScope | undefined): boolean {
  if (!scope) return true;
  if (place.kind === 'overflow') return place.bucket === scope.folder && place.key.startsWith(scope.prefix);
  return [...place.dirs, place.name].join('/').startsWith(`${scope.folder}/${scope.prefix}`);
}

/** One reading: the whole's MD5 and checksum, or each part's. */
async function compare(file: OpenFile, row: FileRow, layout: Layout | undefined, pace: Pace): Promise<Verdict> {
  const size = Number(file.stat.size);
  const { checksum } = row;
  const byPart = checksum?.type === 'COMPOSITE' && layout?.checksums !== undefined;
  const whole = createHasher(checksum && !byPart ? [checksum.algorithm] : []);
  const md5s: string[] = [];
  let at = 0;
  for (const [i, end] of endsOf(size, layout).entries()) {
    const hasher = layout ? createHasher(byPart && checksum ? [checksum.algorithm] : []) : undefined;
    await readRange(file, at, end, async (chunk) => {
      hasher?.update(chunk);
      if (!layout || (checksum && !byPart)) whole.update(chunk);
      await pace(chunk.length);
    });
    at = end;
    if (!hasher) continue;
    const digest = hasher.digest();
    md5s.push(digest.MD5.toString('hex'));
    const wanted = byPart ? layout?.checksums?.[i] : undefined;
    const got = wanted === undefined || !checksum ? undefined : digest[checksum.algorithm]?.toString('base64');
    if (wanted !== undefined && got !== wanted)
      return damaged(checksum?.algorithm ?? 'MD5', wanted, got ?? '', layout?.numbers?.[i] ?? i + 1);
  }
  const read = whole.digest();
  const etag = etagOf(layout ? md5s : [read.MD5.toString('hex')], layout);
  if (etag !== row.etag) return damaged('ETag', row.etag, etag);
  if (checksum?.type === 'FULL_OBJECT') {
    const value = read[checksum.algorithm]?.toString('base64') ?? '';
    if (value !== checksum.value) return damaged(checksum.algorithm, checksum.value, value);
  }
  return { state: 'whole' };
}

function damaged(what: ChecksumAlgorithm | 'ETag', recorded: string, read: string, partNumber?: number): Verdict {
  return { state: 'damaged', what, recorded, read, ...(partNumber !== undefined && { partNumber }) };
}
