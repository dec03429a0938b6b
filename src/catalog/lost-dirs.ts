/**
 * Where directories stood whose path was taken by another one (*lost* ones, identities.ts): what clients said of keys below belongs to those keys, unless
 * the directory turns up elsewhere. The same of those that are *away*: a directory above was renamed, and they had gone from it.
 */

interface GoneDir {
  /** Segments of the path that it had. */
  dirs: readonly string[];
  /** ms, by our clock. */
  since: number;
}

export interface LostDir extends GoneDir {
  /** Its row lies at `/<number>`. */
  seq: number;
  /** Its keys are nobody's any more: what was said of them stays with it. */
  ended?: boolean;
}

export interface AwayDir extends GoneDir {
  /** Id of its row, which went along with the one above. */
  id: number;
}
