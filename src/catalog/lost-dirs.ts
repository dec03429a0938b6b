/**
 * Where directories stood whose path was taken by another one (*lost* ones, identities.ts): what clients said of keys below belongs to those keys, unless
 * the directory turns up elsewhere. The same of those that are *away*: a directory above was renamed, and they had gone from it.
 */
import type { Index } from './lmdb.js';

export interface LostDir {
  /** Its row lies at `/<number>`. */
  seq: number;
  /** Segments of the path that it had. */
  dirs: string[];
  /** ms, by our clock. */
  since: number;
  /** Its keys are nobody's any more: what was said of them stays with it. */
  ended?: boolean;
}

export interface AwayDir extends Omit<LostDir, 'seq'> {
  /** Id of its row, which went along with the one above. */
  id: number;
}

const PAGE = 256;

export class LostDirs {
  constructor(private readonly index: Index) {}

  /** Only inside a write. */
  note(seq: number, dirs: readonly string[], said: Pick<LostDir, 'ended'> = {}): void {
    const lost = { seq, dirs, since: Date.now(), ...said } satisfies LostDirOf;
    this.index.put('meta', keyOf(seq), Buffer.from(JSON.stringify(lost)));
  }

  find(seq: number): LostDir | undefined {
    const bytes = this.index.get('meta', keyOf(seq));
    return bytes && (JSON.parse(bytes.toString()) as LostDir);
  }

  /** Those that nobody has settled, a few at a time. */
  some(): LostDir[] {
    const page = this.index.page('meta', Buffer.from('lost:'), Buffer.from('lost;'), PAGE);
    return page.map(({ value }) => JSON.parse(value.toString()) as LostDir);
  }

  /** Only inside a write. */
  forget(seq: number): void {
    this.index.remove('meta', keyOf(seq));
  }

  /** Whatever is renamed meanwhile, the first path is the one that clients knew. Only inside a write. */
  noteAway(id: number, dirs: readonly string[], since = Date.now()): void {
    if (this.index.has('meta', awayKey(id))) return;
    this.index.put('meta', awayKey(id), Buffer.from(JSON.stringify({ id, dirs, since })));
  }

  findAway(id: number): AwayDir | undefined {
    const bytes = this.index.get('meta', awayKey(id));
    return bytes && (JSON.parse(bytes.toString()) as AwayDir);
  }

  /** Those that are away, a few at a time. */
  someAway(): AwayDir[] {
    const page = this.index.page('meta', Buffer.from('away:'), Buffer.from('away;'), PAGE);
    return page.map(({ value }) => JSON.parse(value.toString()) as AwayDir);
  }

  /** Only inside a write. */
  forgetAway(id: number): void {
    this.index.remove('meta', awayKey(id));
  }
}

type LostDirOf = Omit<LostDir, 'dirs'> & { dirs: readonly string[] };

function keyOf(seq: number): Buffer {
  return Buffer.from(`lost:${seq}`, 'latin1');
}

function awayKey(id: number): Buffer {
  return Buffer.from(`away:${id}`, 'latin1');
}
