/**
 * One walk over the whole tree for all that is the matter with names, links and permissions. It reads every directory and stats every entry, but
 * opens no file. Memory: one directory's names at a time.
 */
import { accessSync, constants, realpathSync, statSync, type Dirent } from 'node:fs';
import { opendir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { errno } from '../../base/errors.js';
import { decodeName, isStateDir } from '../../fs/keypath.js';
import { Tally, type Report } from './finding.js';

export interface TreeQuestion {
  root: string;
  symlinks: 'files' | 'all' | 'none';
  /** @param path segments below the root. */
  excluded: (path: readonly string[], isDir: boolean) => boolean;
  signal: AbortSignal;
  /** Called now and then with the number of entries seen. */
  progress: (entries: number) => void;
}

export interface TreeSummary {
  files: number;
  directories: number;
}

/** Longest key of S3, bytes. */
const MAX_KEY_BYTES = 1024;
/** S3's rule for bucket names, in short. */
const BUCKET_NAME = /^(?!xn--)(?!.*\.\.)(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
/** Characters that XML 1.0 cannot carry (section 2.2, Char). */
const NOT_XML = /[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/;

export async function examineTree(question: TreeQuestion, report: Report): Promise<TreeSummary> {
  const walk = new Walk(question);
  await walk.directory('');
  walk.tell(report);
  return { files: walk.files, directories: walk.directories };
}

class Walk {
  files = 0;
  directories = 0;
  private seen = 0;
  private readonly folded = new Tally();
  private readonly notUtf8 = new Tally();
  private readonly notXml = new Tally();
  private readonly tooLong = new Tally();
  private readonly unreadableFiles = new Tally();
  private readonly unreadableDirs = new Tally();
  private readonly special = new Tally();
  private readonly leaving = new Tally();
  private readonly dangling = new Tally();
  private readonly unfollowed = new Tally();
  private readonly loose = new Tally();
  private readonly badBuckets = new Tally();
  private readonly innerState = new Tally();

  constructor(private readonly question: TreeQuestion) {}

  /** @param path below the root, '' for the root. */
  async directory(path: string): Promise<void> {
    const { root, signal } = this.question;
    this.directories++;
    const subdirs: string[] = [];
    const folds = new Map<string, string>();
    try {
      const entries = await opendir(join(root, path), { encoding: 'buffer' as BufferEncoding, bufferSize: 256 });
      for await (const entry of entries) {
        signal.throwIfAborted();
        const below = this.entry(path, entry, folds);
        if (below !== undefined) subdirs.push(below);
      }
    } catch (error) {
      if (errno(error) === 'ENOENT') return;
      // longer than any path may be: no key leads there
      if (errno(error) === 'ENAMETOOLONG') return this.tooLong.add(`${path}/`);
      if (errno(error) !== 'EACCES' && errno(error) !== 'EPERM') throw error;
      this.unreadableDirs.add(`${path}/`);
      return;
    }
    for (const below of subdirs) await this.directory(below);
  }

  /** @returns the path of a directory to go down into. */
  private entry(path: string, entry: Dirent, folds: Map<string, string>): string | undefined {
    if (++this.seen % 4096 === 0) this.question.progress(this.seen);
    const bytes = entry.name as unknown as Buffer;
    const name = decodeName(bytes);
    if (name === undefined) {
      this.notUtf8.add(join(path, bytes.toString('latin1')));
      return undefined;
    }
    const below = path === '' ? name : `${path}/${name}`;
    if (isStateDir(name)) {
      if (path !== '') this.innerState.add(below);
      return undefined;
    }
    if (this.question.excluded(below.split('/'), entry.isDirectory())) return undefined;
    this.name(path, name, below, folds);
    if (entry.isDirectory()) return below;
    if (path === '') this.loose.add(below);
    else if (entry.isFile()) this.file(below);
    else if (entry.isSymbolicLink()) this.link(below);
    else this.special.add(below);
    return undefined;
  }

  private name(path: string, name: string, below: string, folds: Map<string, string>): void {
    if (NOT_XML.test(name)) this.notXml.add(below);
    const key = below.slice(below.indexOf('/') + 1);
    if (path !== '' && Buffer.byteLength(key) > MAX_KEY_BYTES) this.tooLong.add(below);
    if (path === '' && !BUCKET_NAME.test(name)) this.badBuckets.add(name);
    const folded = name.normalize('NFC').toLowerCase();
    const other = folds.get(folded);
    if (other === undefined) folds.set(folded, name);
    else this.folded.add(`${below} and ${path === '' ? other : `${path}/${other}`}`);
  }

  private file(below: string): void {
    this.files++;
    try {
      accessSync(join(this.question.root, below), constants.R_OK);
    } catch (error) {
      if (errno(error) === 'EACCES' || errno(error) === 'EPERM') this.unreadableFiles.add(below);
    }
  }

  private link(below: string): void {
    const { root, symlinks } = this.question;
    const bucket = join(root, below.slice(0, below.indexOf('/')));
    try {
      const real = realpathSync.native(join(root, below));
      const inside = relative(bucket, real);
      if (inside.startsWith('..')) this.leaving.add(`${below} -> ${real}`);
      else if (symlinks === 'none' || (symlinks === 'files' && statSync(join(root, below)).isDirectory()))
        this.unfollowed.add(below);
    } catch {
      this.dangling.add(below);
    }
  }

  tell(report: Report): void {
    this.tellNames(report);
    this.tellAccess(report);
    this.leaving.tell(report, {
      check: 'links-leaving',
      level: 'warning',
      one: 'link leads out of its bucket and is not served',
      message: 'links lead out of their bucket and are not served',
      cure: 'move what they lead to into the bucket, or bind-mount it there',
    });
    this.unfollowed.tell(report, {
      check: 'links-unfollowed',
      level: 'note',
      one: 'link to a directory is not followed',
      message: 'links to directories are not followed',
      cure: 'serve with --symlinks all to follow them inside their bucket',
    });
    this.dangling.tell(report, {
      check: 'links-dangling',
      level: 'note',
      one: 'link leads nowhere, in a circle, or where this user may not look',
      message: 'links lead nowhere, in circles, or where this user may not look',
      cure: 'remove them, or make what they lead to',
    });
    this.special.tell(report, {
      check: 'special-files',
      level: 'note',
      one: 'socket, pipe or device is not served',
      message: 'sockets, pipes and devices are not served',
    });
    this.loose.tell(report, {
      check: 'loose-files',
      level: 'note',
      one: 'file at the top lies in no bucket and is not served',
      message: 'files at the top lie in no bucket and are not served',
      cure: 'move them into a folder, or serve the root itself: --bucket NAME=.',
    });
    this.innerState.tell(report, {
      check: 'inner-state',
      level: 'note',
      one: 'folder named .gos3rve below the top is never served',
      message: 'folders named .gos3rve below the top are never served',
      cure: 'they are staging folders of other mounts, or roots that were served by themselves',
    });
  }

  private tellNames(report: Report): void {
    this.folded.tell(report, {
      check: 'names-folded',
      level: 'warning',
      one: 'pair of names differs only by case or by the form of accents: on macOS, Windows or SMB it is one file',
      message:
        'pairs of names differ only by case or by the form of accents: on macOS, Windows or SMB each is one file',
      cure: 'rename one of each before clients on such systems synchronise them',
    });
    this.notUtf8.tell(report, {
      check: 'names-not-utf8',
      level: 'warning',
      one: 'name is not UTF-8; no S3 key can name it, so it is not served',
      message: 'names are not UTF-8; no S3 key can name them, so they are not served',
      cure: 'rename them, for instance: convmv -f latin1 -t utf8 -r --notest DIRECTORY',
    });
    this.notXml.tell(report, {
      check: 'names-not-xml',
      level: 'warning',
      one: 'name holds control characters; clients that do not ask for encoding-type=url cannot list it',
      message: 'names hold control characters; clients that do not ask for encoding-type=url cannot list them',
      cure: 'rename them',
    });
    this.tooLong.tell(report, {
      check: 'keys-too-long',
      level: 'warning',
      one: `path is longer than an S3 key may be (${MAX_KEY_BYTES} bytes) and is not served`,
      message: `paths are longer than an S3 key may be (${MAX_KEY_BYTES} bytes) and are not served`,
      cure: 'move them further up; or serve a folder on the way as a bucket: --bucket NAME=PATH',
    });
    this.badBuckets.tell(report, {
      check: 'bucket-names',
      level: 'warning',
      one: 'folder at the top has a name that is no valid bucket name; some clients refuse it',
      message: 'folders at the top have names that are no valid bucket names; some clients refuse them',
      cure: 'give them another one: --bucket NAME=PATH',
    });
  }

  private tellAccess(report: Report): void {
    this.unreadableFiles.tell(report, {
      check: 'files-unreadable',
      level: 'warning',
      one: 'file is listed but cannot be read by this user',
      message: 'files are listed but cannot be read by this user',
      cure: 'give this user the right to read them, or run the server as another one',
    });
    this.unreadableDirs.tell(report, {
      check: 'directories-unreadable',
      level: 'warning',
      one: 'directory cannot be read by this user: what is in it is not served',
      message: 'directories cannot be read by this user: what is in them is not served',
      cure: 'give this user the right to read them, or run the server as another one',
    });
  }
}
