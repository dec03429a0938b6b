/** What the watcher tells of other programs' doings, for events. */

/** A file that another program has made or changed, or removed, and that was then left alone for 2 s. Several writes may be one change. */
export interface OutsideChange {
  /** Segments of its directory below the root. */
  dirs: readonly string[];
  /** '' of a marker: `dirs` is its folder. */
  name: string;
  event: 'created' | 'removed';
  /** Bytes; of what was created. */
  size?: number;
  /** Removed: it was there for a moment only, as editors make them. No change at all, unless somebody was told of it already. */
  fresh?: true;
}

/** Who wants to hear of outside changes. */
export interface ChangeSink {
  /** Asked at each change: while nobody wants them, nothing is gathered. */
  wanted(): boolean;
  /** It does not know yet whether it wants them: nothing is looked for before. */
  starting?(): boolean;
  onOutsideChange(change: OutsideChange): void | Promise<void>;
}
