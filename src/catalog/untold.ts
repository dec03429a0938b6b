/**
 * Changes by other programs that were found and that nobody has been told of yet: a file has to be quiet first. Noted in the write that makes the index agree with
 * the tree, for afterwards nothing would tell of them any more, least of all after a crash. Index table `untold`: digest of the path -> JSON.
 */
import { createHash } from 'node:crypto';
import type { Index } from './lmdb.js';

/** Until when (ms) somebody waits for outside changes; and whether a server does for as long as nobody says otherwise. In the index, so that all processes know. */
const WANTED = 'events:wanted';
const STANDING = 'events:standing';

export interface UntoldChange {
  /** Below the root. */
  path: string;
  event: 'created' | 'removed';
  /** Nobody knew of the file before, or everybody knows that it went: while it is untold, its going is nothing. */
  fresh?: true;
  /** `removed`: it had other bytes than anybody was told of. */
  changed?: true;
  /** Fingerprint of what was made, if somebody has looked at it. */
  fp?: string;
}

export class Untold {
  constructor(private readonly index: Index) {}

  get wanted(): boolean {
    return this.index.number(WANTED) > Date.now() || this.index.number(STANDING) > 0;
  }

  /** For so long (ms) from now on. Costs a read as long as more than half of it is left. */
  want(ms: number): void {
    const now = Date.now();
    if (this.index.number(WANTED) - now < ms / 2) this.index.write(() => this.index.setNumber(WANTED, now + ms));
  }

  /** Whether changes are wanted while no server runs, too. What was not told until somebody said that they are is nobody's business. */
  wantAlways(on: boolean): void {
    if (this.index.number(STANDING) > 0 === on) return;
    this.index.write(() => {
      const { wanted } = this;
      this.index.setNumber(STANDING, on ? 1 : 0);
      // an index that was made anew does not know of it, but of what others wait for
      if (on && wanted) return;
      for (let page = this.page(); page.length > 0; page = this.page())
        for (const { key } of page) this.index.remove('untold', key);
    });
  }

  /** Only inside a write. Nothing is noted while nobody wants it. */
  note(dirs: readonly string[], name: string, event: UntoldChange['event'], fresh = false, fp?: string): void {
    if (!this.wanted || dirs[0] === '' || dirs.length === 0) return;
    const path = [...dirs, name].join('/');
    const before = this.find(path);
    const changed = event === 'removed' && before !== undefined && (before.event === 'created' || before.changed);
    const isFresh = before ? before.fresh : fresh;
    const change: UntoldChange = {
      path,
      event,
      ...(isFresh && { fresh: true }),
      ...(changed && { changed }),
      ...(fp !== undefined && { fp }),
    };
    this.index.put('untold', keyOf(path), Buffer.from(JSON.stringify(change)));
  }

  /**
   * A file that was missed is there again. Only inside a write.
   * @param same with the bytes that it had. Of one that nobody has compared yet, too: whoever does notes the change.
   */
  noteBack(dirs: readonly string[], name: string, same = true): void {
    const before = this.of(dirs, name);
    // as if it had never been away
    if (same && before?.event === 'removed' && !before.fresh && !before.changed) return;
    this.note(dirs, name, 'created', true);
  }

  /** What is to be told of a file. */
  of(dirs: readonly string[], name: string): UntoldChange | undefined {
    return this.find([...dirs, name].join('/'));
  }

  /** Some of them, round and round. @param after where the last page ended. */
  some(after: Buffer | undefined, max: number): { changes: UntoldChange[]; next?: Buffer } {
    const page = this.page(after, max);
    const changes = page.map(({ value }) => JSON.parse(value.toString()) as UntoldChange);
    const last = page.at(-1);
    return last && page.length === max ? { changes, next: Buffer.concat([last.key, Buffer.from([0])]) } : { changes };
  }

  /** Whether a file that is gone is known to have been there. */
  isKnown(dirs: readonly string[], name: string): boolean {
    const change = this.of(dirs, name);
    return change?.event === 'removed' && change.fresh !== true;
  }

  /** It was told, or was nothing to tell of. */
  forget(dirs: readonly string[], name: string): void {
    const key = keyOf([...dirs, name].join('/'));
    if (this.index.has('untold', key)) this.index.write(() => this.index.remove('untold', key));
  }

  private find(path: string): UntoldChange | undefined {
    const bytes = this.index.get('untold', keyOf(path));
    return bytes && (JSON.parse(bytes.toString()) as UntoldChange);
  }

  private page(after: Buffer = Buffer.alloc(1), max = 256): { key: Buffer; value: Buffer }[] {
    return this.index.page('untold', after, Buffer.alloc(17, 0xff), max);
  }
}

/** Paths may be longer than a key. */
function keyOf(path: string): Buffer {
  return createHash('md5').update(path).digest();
}
