/**
 * The live index's door (`store.live`): what the watcher, the scan, the background hashing and the commands may ask of it. Correctness never
 * depends on it - every answer about a file is checked by stat when it is given - but it makes changes of other programs known early.
 *
 * Places are given as path segments below the root: `['photos', '2024']` and `cat.jpg`.
 */
export interface Live {
  /**
   * Reconciles one directory with its rows: new names, renamed directories, files that are gone. Read again only if its stamp has
   * changed, unless `force`. `files`: every file is compared with its row too, and renamed files are recognised.
   * @returns names of its subdirectories, and how many names came, went and have changed; undefined if there is no such directory.
   */
  lookAtDir(dirs: readonly string[], options?: LookOptions): Promise<DirReport | undefined>;
  /**
   * Compares one file with its row and remembers what it found, so that the next look says `same`. The name '' is that of the marker whose folder `dirs` is.
   * @param told it is known that something has changed: a file that nobody knew of was made now.
   */
  lookAtFile(dirs: readonly string[], name: string, told?: boolean): Promise<FileReport>;
  /** The same for several files of one directory, in few transactions. */
  lookAtFiles(dirs: readonly string[], names: readonly string[], told?: boolean): Promise<FileReport[]>;
  /**
   * Changes by other programs that were found while somebody wants events, by whatever process, and of which nobody has been told: they are kept until they
   * were told of (`store.changes.see`), or forgotten.
   * @param after where the last page ended.
   */
  untold(after: Buffer | undefined, max: number): UntoldPage;
  /** The same of one file; '' is a marker's name. What a request or another process has found since the watcher last looked is in it, too. */
  untoldOf(dirs: readonly string[], name: string): Untold | undefined;
  /** There is nothing to tell of a file. */
  forgetUntold(dirs: readonly string[], name: string): void;
  /**
   * Files whose bytes nobody has hashed, or whose hash is in doubt, in the order of the index.
   * @param after where the last page ended. @returns up to `max` files; a page may be short or empty though `next` tells that there is more.
   */
  unhashed(after: Buffer | undefined, max: number): UnhashedPage;
  /**
   * Hashes one file and records it, if the file stayed as it was meanwhile.
   * @param md5 computes the digests elsewhere (a worker thread of this process); without it they are computed here.
   */
  hashFile(dirs: readonly string[], name: string, md5?: Md5): Promise<HashOutcome>;
  /** What clients said of renamed files follows them now, where the old path has stayed away. @returns how many. */
  settleRenames(): Promise<number>;
  /** How long (ms) a file must have been left alone before a change by another program counts. */
  readonly quietMs: number;
  /** Whole files that this process has read for their hash. */
  readonly hashes: number;
  /** The index is being made anew: what clients said of their keys is not all known yet. */
  readonly rebuilding: boolean;
}

export interface LookOptions {
  force?: boolean;
  files?: boolean;
  /** Files that nobody knew of were made now: something was told of a change, or all were looked at before. */
  told?: boolean;
  /** With `files`: told of each file that is not as its row says, and of each that nobody has hashed. */
  onFile?: (name: string, report: FileReport) => void;
}

/** A change of a file that is to be told; `fresh`: the file came while nobody knew of it, so that its going alone is nothing to tell. */
export interface Untold {
  event: 'created' | 'removed';
  fresh?: true;
}

export interface UntoldPage {
  entries: (Untold & { dirs: readonly string[]; name: string })[];
  /** Pass as `after` to go on; absent at the end. */
  next?: Buffer;
}

export interface DirReport {
  subdirs: string[];
  added: number;
  gone: number;
  changed: number;
}

export interface FileReport {
  /** `changed`: other bytes than the row tells (another fingerprint); a ctime alone makes a hash doubtful, not the file changed. */
  state: 'same' | 'new' | 'changed' | 'gone' | 'not-served';
  /** Bytes. */
  size?: number;
  /** ms since its last change, by the file system's clock. */
  quietForMs?: number;
  /** Its hash is known. */
  hashed?: boolean;
  /** `gone`: there is a row, and nobody has missed the file before: another program has removed it. */
  known?: boolean;
}

export interface UnhashedPage {
  entries: { dirs: string[]; name: string; size: number }[];
  /** Pass as `after` to go on; absent at the end. */
  next?: Buffer;
}

/** `changed`: it was written meanwhile, try later. `known`: nothing was to be done. `off`: the store never reads a file for its hash. */
export type HashOutcome = 'done' | 'changed' | 'gone' | 'known' | 'off';

/**
 * MD5 in hex of each piece of a file.
 * @param path by which a thread of this process can open the file. @param ends offset where each piece ends; the first begins at 0, the last ends at the
 * file's end: one piece for an object that was put whole, one for each part of a multipart object.
 */
export type Md5 = (path: string, ends: number[]) => Promise<string[]>;
