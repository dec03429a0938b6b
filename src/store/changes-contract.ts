/**
 * The door to everything that changes objects (`store.changes`): the journal as a feed. Its numbered lines, of this process and of all others,
 * are the events; their order is that of the changes. What other programs do is in it only if somebody watches and notes it by {@link Changes.see}.
 */
export interface Changes {
  /** Number of the last change of any process. */
  position(): number;
  /**
   * Reads on from a position.
   * @param from `now` begins behind the last change; a number without offsets costs reading the journal from its beginning.
   */
  read(from: 'now' | Position): ChangeReader;
  /**
   * Outside changes are wanted from now on for `ms`: whoever watches the tree, in whatever process, shall note them. To be said again several times a
   * second, which costs next to nothing: an index that is made anew knows nothing of it, nor one that finds no room now.
   */
  want(ms: number): void;
  readonly wanted: boolean;
  /** The same until it is taken back, while no process runs too: what is found at the next start is told then. */
  wantAlways(on: boolean): void;
  /**
   * Notes what another program did to a file that has been quiet since, unless nobody would be told anything new.
   * @param told what {@link ChangeReader.told} says of it. @returns whether it was noted.
   */
  see(change: SeenChange, told: string | undefined): boolean;
}

export interface SeenChange {
  /** Segments of its directory below the root. */
  dirs: readonly string[];
  /** '' of a marker: `dirs` is its folder. */
  name: string;
  event: 'created' | 'removed';
  /** Removed: it was there for a moment only, and is worth a word only if it was told of. */
  fresh?: true;
}

/** What was told of a file depends on when its reader came upon a rename of its folder: others may have been told something else. */
export const UNCERTAIN = '?';

/** How far a reader has come. */
export interface Position {
  /** All changes up to this number have been given. */
  seq: number;
  /** Byte offsets in the segments of the journal from which to read on. */
  segments?: Readonly<Record<string, number>>;
}

export interface ChangeReader {
  /** Up to about `max` changes that are new, in order. Synchronous; costs next to nothing if there are none. */
  next(max: number): Change[];
  /** Where to read on after what was given. */
  position(): Position;
  /** Numbers that were compacted away before they were read; then 0 again. */
  takeLost(): number;
  /** What was last told of a file: its fingerprint, '' if it is gone; {@link UNCERTAIN}; undefined if nothing is remembered. */
  told(path: string): string | undefined;
}

/** A change of one object. */
export interface Change {
  /** Its place in the order of all changes. Those that belong together (the two of a rename) share one. */
  seq: number;
  /** ms */
  time: number;
  /** As in an S3 event record: `ObjectCreated:Put`. */
  event: string;
  /** Under every bucket that shows the object; the first is that of its folder at the top. */
  names: { bucket: string; key: string }[];
  size?: number;
  etag?: string;
  /** Done by another program. */
  outside?: true;
  /** Access key id, or `Anonymous`; absent for commands on this machine and other programs. */
  principal?: string;
  ip?: string;
  requestId?: string;
}
