/**
 * Whether the root, and a state that lies elsewhere, are still the directories that were opened. A disk that was taken away leaves its empty
 * mount point behind, which must not look like a mass deletion; another disk may be mounted there; and the same one may come back under
 * another device number (DESIGN rule 6).
 *
 * What tells them apart is `root.json` (state-dir.ts): as long as it is the same file with the same ctime - one lstat(2) - nothing has happened;
 * else the id in it is read again. A root that bears no name is known by inode, birth time and device or mtime of its directory.
 */
import { lstatSync, readFileSync, statSync, type BigIntStats } from 'node:fs';
import { join } from 'node:path';
import { S3Error, errno } from '../base/errors.js';
import { Seen } from '../base/turn.js';
import { STATE_DIR } from './keypath.js';
import { NAME_FILE } from './state-dir.js';

/** `other`: something else stands there. */
export type Whereabouts = 'here' | 'away' | 'other';

export interface PresenceListener {
  /** Nothing can be reached any more: what is open is to be let go of, for it keeps the disk busy. Not called inside anybody's turn. */
  away?: () => void;
  /** It is back, maybe as another device; called before anybody may use it again. */
  back?: () => void;
}

export class Presence {
  private readonly marks: Mark[];
  private readonly listeners: PresenceListener[] = [];
  private readonly untouched = new Seen<boolean>();
  private whereabouts: Whereabouts = 'here';
  /** What the listeners were told last. */
  private told: 'here' | 'away' = 'here';
  /** It went and came back as another device: whatever is open leads to the old one. */
  private stale = false;
  /** The same of the directory of the state, or it went, since the listeners were told last. */
  private stateStale = false;
  private telling = false;

  /** @param root real path. Both must be bound to each other already. */
  constructor(
    readonly root: string,
    stateDir: string,
  ) {
    const inside = join(root, STATE_DIR);
    const own = new Mark(root, join(inside, NAME_FILE));
    this.marks = stateDir === inside ? [own] : [own, new Mark(stateDir, join(stateDir, NAME_FILE))];
  }

  get here(): boolean {
    return this.whereabouts === 'here' && this.told === 'here' && !this.stale;
  }

  /** @throws ServiceUnavailable naming the root, while it is not there. */
  check(): void {
    if (this.here && this.isUntouched()) return;
    this.look();
    if (!this.here) throw this.refusal();
  }

  /** The same for a request that begins: what was seen in this turn will do. */
  checkSeen(): void {
    if (!this.here || !this.untouched.get('', () => this.isUntouched())) this.check();
  }

  /** Looks whether it is there; listeners learn of a change in a turn of their own. */
  look(): Whereabouts {
    const found = this.marks.map((mark) => mark.look());
    this.whereabouts = found.find((one) => one === 'away' || one === 'other') ?? 'here';
    this.stale ||= found.includes('again');
    this.stateStale ||= found.at(-1) !== 'here';
    if (this.stale || this.told !== (this.whereabouts === 'here' ? 'here' : 'away')) this.tell();
    return this.whereabouts;
  }

  /** For listeners: whether what lies in the state has to be let go of, too. */
  get stateLost(): boolean {
    return this.stateStale;
  }

  listen(listener: PresenceListener): void {
    this.listeners.push(listener);
  }

  refusal(): S3Error {
    const what = this.whereabouts === 'other' ? 'is not there, but something else in its place' : 'has vanished';
    return new S3Error(
      'ServiceUnavailable',
      `The directory that is served, ${this.root}, ${what}; is its disk mounted?`,
    );
  }

  private isUntouched(): boolean {
    return this.marks.every((mark) => mark.isUntouched());
  }

  private tell(): void {
    if (this.telling) return;
    this.telling = true;
    setImmediate(() => {
      this.tellNow();
      this.telling = false;
    });
  }

  private tellNow(): void {
    const here = this.whereabouts === 'here';
    if (this.told === 'here' && (!here || this.stale)) this.each('away');
    this.told = 'away';
    this.stale = false;
    if (!here) return;
    try {
      this.each('back');
      this.told = 'here';
      this.stateStale = false;
    } catch {
      // it went again, or cannot be used yet: the next look tries once more
    }
  }

  private each(event: 'away' | 'back'): void {
    for (const listener of this.listeners) listener[event]?.();
  }
}

/** One directory, and the file that bears its name. */
class Mark {
  private readonly id: string | undefined;
  private base: BigIntStats;
  /** Of the file, when its id was last read. */
  private file: BigIntStats | undefined;
  /** It was not there when it was last looked at. */
  private missed = false;

  constructor(
    private readonly directory: string,
    private readonly path: string,
  ) {
    this.base = statSync(directory, { bigint: true });
    this.file = lstatReached(path);
    this.id = idIn(path);
  }

  isUntouched(): boolean {
    const { file } = this;
    if (file) {
      const now = lstatReached(this.path);
      return now !== undefined && now.ino === file.ino && now.dev === file.dev && now.ctimeNs === file.ctimeNs;
    }
    const base = lstatReached(this.directory);
    if (this.id !== undefined || base?.ino !== this.base.ino || base.dev !== this.base.dev) return false;
    if (base.birthtimeNs !== this.base.birthtimeNs) return false;
    this.base = base;
    return true;
  }

  look(): Whereabouts | 'again' {
    const found = this.find();
    this.missed = found === 'away' || found === 'other';
    return found;
  }

  private find(): Whereabouts | 'again' {
    const base = lstatReached(this.directory);
    if (!base?.isDirectory()) return 'away';
    const file = lstatReached(this.path);
    const id = file && idIn(this.path);
    if (id === undefined ? !this.isSameDirectory(base) : id !== this.id && this.id !== undefined)
      return id === undefined ? 'away' : 'other';
    const again = base.dev !== this.base.dev || base.ino !== this.base.ino;
    this.base = base;
    this.file = id === undefined ? undefined : file;
    return again ? 'again' : 'here';
  }

  /**
   * For one that bears no name, or whose name somebody has removed while it was there. Disks that were made in one second and come as the same
   * device have root directories that only mtime tells apart.
   */
  private isSameDirectory(now: BigIntStats): boolean {
    const { base } = this;
    if (now.ino !== base.ino || now.birthtimeNs !== base.birthtimeNs) return false;
    if (this.id !== undefined) return !this.missed && now.dev === base.dev;
    return now.mtimeNs === base.mtimeNs || (!this.missed && now.dev === base.dev);
  }
}

/** undefined for whatever cannot be reached: a disk that was pulled out answers EIO. */
function lstatReached(path: string): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true, throwIfNoEntry: false });
  } catch (error) {
    if (errno(error) === undefined) throw error;
    return undefined;
  }
}

function idIn(path: string): string | undefined {
  try {
    const { id } = JSON.parse(readFileSync(path, 'utf8')) as { id?: unknown };
    return typeof id === 'string' ? id : undefined;
  } catch {
    return undefined;
  }
}
