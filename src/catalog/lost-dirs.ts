/**
 * Where directories stood whose path was taken by another one (*lost* ones, identities.ts): what clients said of keys below belongs to those keys, unless
 * the directory turns up elsewhere.
 */
import type { Index } from './lmdb.js';

export interface LostDir {
  /** Its row lies at `/<number>`. */
  seq: number;
  /** Segments of the path that it had. */
  dirs: string[];
  /** ms, by our clock. */
  since: number;
}

const PAGE = 256;

export class LostDirs {
  constructor(private readonly index: Index) {}

  /** Only inside a write. */
  note(seq: number, dirs: readonly string[], since = Date.now()): void {
    this.index.put('meta', keyOf(seq), Buffer.from(JSON.stringify({ seq, dirs, since } satisfies LostDirOf)));
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
}

type LostDirOf = Omit<LostDir, 'dirs'> & { dirs: readonly string[] };

function keyOf(seq: number): Buffer {
  return Buffer.from(`lost:${seq}`, 'latin1');
}
