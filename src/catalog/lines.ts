/**
 * The lines of the journal. `path` is relative to the root (`photos/2024/cat.jpg`); overflow objects are named by bucket and key.
 * Every line that changes something has a sequence number, taken under the lock: the order of the numbers is the order of events.
 */
import type { Checksum, KeyFacts } from '../base/model.js';
import type { DirRow, FileRow, Layout } from './rows.js';

/** Which object a line speaks of. */
export type Subject = { path: string } | { bucket: string; key: string };

/** Facts of the bytes, as far as the tree does not say them. */
export interface ByteFacts {
  /** `mount:inode:birth:size:mtime` */
  fp: string;
  etag: string;
  checksum?: Checksum;
  layout?: Layout;
  /** They came with a rename or link of the file, and nobody has read it since ({@link FileRow}); a `hash` line without it is the end of the doubt. */
  unproven?: true;
  /** Of bytes that nobody has hashed: the ETag that `checksum` and `layout` go with, should they be those of before ({@link FileRow}). */
  was?: string;
}

/** Who asked for a change, and what it is called in a notification; a line without it is nothing that anybody is told of. */
export interface Via {
  /** As in an S3 event record: `ObjectCreated:Put`. */
  event: string;
  /** ms */
  time: number;
  /** Access key id; absent for commands on this machine. */
  principal?: string;
  ip?: string;
  requestId?: string;
}

/**
 * Overflow objects whose keys begin with one prefix get another: those that were recorded up to `upTo`. Their files get new names, made of
 * the old ones and `tag`: an old prepare line must not find them again.
 */
export interface MovedKeys {
  from: { bucket: string; key: string };
  to: { bucket: string; key: string };
  upTo: number;
  tag: string;
}

/** An overflow object by its folder and key, and the name of its body. */
export interface Aside {
  bucket: string;
  key: string;
  file: string;
}

/** The derived ETag that an object was told by before it was hashed, and until when (ms) it stays the object's at least. */
export interface Told {
  etag: string;
  until: number;
}

type Line =
  /** Heads each segment. `token` names its process; `upTo`: a compacted one, which speaks for all lines up to this number. */
  | {
      op: 'segment';
      version: 1;
      boot: string;
      pid: number;
      host: string;
      time: string;
      token?: string;
      upTo?: number;
    }
  /** Nothing follows in this segment. */
  | { op: 'sealed' }
  /** Compacted: all that is known of a file. */
  | ({ op: 'row'; seq: number; row: StoredRow } & Subject)
  /** Compacted: a directory; the path of a lost one begins with `/` (identities.ts). `gone`: since when (ms) that of a marker has been missed. */
  | {
      op: 'dir';
      seq: number;
      path: string;
      made?: true;
      marker?: NonNullable<DirRow['marker']>;
      gone?: number;
      identity?: string;
    }
  /** Compacted: the answer of a completed upload. */
  | { op: 'done'; seq: number; id: string; answer: unknown }
  /** Compacted: a move that was asked for by a client token. */
  | { op: 'client-token'; seq: number; clientToken: ClientToken }
  /** An object is about to be published; counts only with its commit line, or if the file at its place has the fingerprint. */
  | ({
      op: 'prepare';
      id: string;
      bytes: ByteFacts;
      facts: KeyFacts;
      /** Directories that do not exist yet and will be made. */
      mkdirs?: string[];
      /** Overflow: file name. */
      file?: string;
      /** Overflow: name of the file that goes once this one stands. */
      replaces?: string;
      /** Tree: the overflow copy of the key, which goes once this one stands. */
      aside?: Aside;
      /** A move: where the object comes from. */
      from?: Subject;
      /** A move: what was told there. */
      told?: Told;
      /** The multipart upload that is completed by this. */
      upload?: CompletedUpload;
      /** The move that is done by this. */
      clientToken?: ClientToken;
      published: boolean;
      via?: Via;
    } & Subject)
  /** The operation of a prepare or append line ended without effect, or was settled after a crash. */
  | { op: 'abort'; id: string }
  /**
   * Directories that are about to be made or removed, under the lock: part of the numbered line that follows in the segment. If none
   * follows, the process was killed, and those that stand empty are removed.
   */
  | { op: 'dirs'; paths: string[] }
  /** `kept`: the bytes that the last line of this place spoke of are elsewhere, and may turn up. `over`: an object was known there, which this one replaces. */
  | { op: 'commit'; id: string; seq: number; ctime: string; kept?: true; over?: true }
  /** Bytes will be appended in place; without commit the file is cut back to `size`, if what is behind it is of `piece`, a staging file. */
  | {
      op: 'append';
      id: string;
      path: string;
      /** Of the file before, by which it is known wherever it is renamed to. */
      fp: string;
      ctime: string;
      size: number;
      /** What was known of the old bytes; absent if nothing was. */
      etag?: string;
      piece: string;
      /** ms */
      time: number;
      /** Of the machine, so that after a power cut nobody takes the process for one that still lives. */
      boot: string;
      /** Of the whole object, once it is done; its layout is that of the object before with `part` behind it (grown.ts). An ETag '' is to be found out. */
      bytes: Omit<ByteFacts, 'fp'>;
      /** The piece as a part; absent if the object was empty before, or its bytes are not known. `checksum`: base64. */
      part?: { size: number; checksum?: string };
      facts: KeyFacts;
      via?: Via;
    }
  /** `facts` as they were by then, which may be others than those of the append line. */
  | { op: 'appended'; id: string; seq: number; fp: string; ctime: string; facts?: KeyFacts }
  /** `kept`: as of a commit. `file`: name of an overflow object's body. `clientToken`: the last step of the move that was asked for by it. */
  | ({
      op: 'delete';
      seq: number;
      rmdirs?: string[];
      kept?: true;
      file?: string;
      clientToken?: ClientToken;
      via?: Via;
    } & Subject)
  /** `fp` and `ctime` where nobody has hashed the file: by them it is known when it was renamed. */
  | ({ op: 'facts'; seq: number; facts: KeyFacts; fp?: string; ctime?: string; via?: Via } & Subject)
  /**
   * Hash of a file that others wrote, touched, renamed or linked: cost a read, so it is kept. What was known of the bytes beside it, if they are the same.
   * `told`: of the ETag that is derived from this line only the time (ms) is noted; before a move of ours it was another one.
   */
  | ({ op: 'hash'; seq: number; ctime: string; told?: number | Told } & ByteFacts & Subject)
  /** A move of ours gave the file of an overflow object another ctime; its bytes are the same. Goes before the `moved` line, with its number. */
  | { op: 'touched'; seq: number; bucket: string; key: string; ctime: string }
  /** We are about to rename a directory; counts once the directory of this identity (hex) stands at `path`, or with its `moved` line. */
  | {
      op: 'moving';
      id: string;
      identity: string;
      path: string;
      from: string;
      mkdirs?: string[];
      overflow?: MovedKeys;
      via?: Via;
    }
  /**
   * A directory was renamed: both paths end in `/`; that of a lost one begins with `/` (identities.ts). `was` is where a lost or away one (lost-dirs.ts) had been before. By us if
   * there is an `id`, that of the line before; else by another program. `lost`: it is at `from` no more, since this time (ms) at the latest, and has become a lost one. `displaced`: overflow
   * objects below `path` that belong to the directory which had that path, and which is lost by this line.
   */
  | {
      op: 'moved';
      seq: number;
      path: string;
      from: string;
      bytes?: never;
      was?: string;
      lost?: number;
      id?: string;
      mkdirs?: string[];
      rmdirs?: string[];
      overflow?: MovedKeys;
      displaced?: MovedKeys;
      via?: Via;
    }
  /** Which directory of the file system stands at a path (hex, identities.ts) that lines speak of; the path ends in `/`. None: not known. */
  | { op: 'stands'; seq: number; path: string; identity?: string }
  /**
   * Another program has renamed a file. With `facts`, what clients said of `from` belongs to `path` now; without, it stays where it was, to
   * follow if `from` stays away from `since` (ms) on. `gone`: the other way round: the file was not in a directory that was renamed, so what was said
   * of its key stays with the key, and nothing is there since then (ms) at the latest. `missed`: somebody had found so before, and
   * nobody need be told again.
   */
  | {
      op: 'moved';
      seq: number;
      path: string;
      from: string;
      bytes: ByteFacts;
      ctime: string;
      facts?: KeyFacts;
      published?: boolean;
      since?: number;
      gone?: number;
      missed?: true;
    }
  /** `from`: the marker was moved here from that directory; `rmdirs` fell empty by it. */
  | {
      op: 'marker';
      seq: number;
      path: string;
      time: number;
      facts: KeyFacts;
      checksum?: Checksum;
      mkdirs?: string[];
      from?: string;
      rmdirs?: string[];
      clientToken?: ClientToken;
      via?: Via;
    }
  | { op: 'unmark'; seq: number; path: string; rmdirs?: string[]; clientToken?: ClientToken; via?: Via }
  | { op: 'part'; seq: number; uploadId: string; part: PartRecord }
  /**
   * Another program has changed a file that has been quiet since, or a marker (its path ends in `/`, and it has no `fp`): written while somebody waits for events. A
   * replay knows by it what is gone, and told.
   */
  | {
      op: 'seen';
      seq: number;
      path: string;
      event: 'created' | 'removed';
      /** ms */
      time: number;
      fp?: string;
      etag?: string;
    };

/** A completed upload, so that a retry gets the same answer (S3: CompleteMultipartUpload is idempotent). */
export interface CompletedUpload {
  id: string;
  bucket: string;
  key: string;
  /** Digest of the list of parts that was asked for. */
  parts: string;
  /** When it was completed, ms. */
  time: number;
}

/** A move within a bucket that was asked for by a client token. */
export interface ClientToken {
  bucket: string;
  /** As the client gave it: up to 64 ASCII characters. */
  token: string;
  /** What was asked for by it. */
  request: string;
  /** When it was done, ms. */
  time: number;
}

/** A part as it is recorded. */
export interface PartRecord {
  partNumber: number;
  /** File in `staging/uploads/<id>/`. */
  file: string;
  size: number;
  etag: string;
  lastModified: number;
  checksum?: { algorithm: Checksum['algorithm']; value: string };
}

/** `first`: number of the first line of the same transaction, if that is another. */
export type JournalLine = Line & { first?: number };

export type Append = Extract<JournalLine, { op: 'append' }>;
export type Appended = Extract<JournalLine, { op: 'appended' }>;

/** A file's row as a compacted segment has it. */
export type StoredRow = Omit<
  FileRow,
  'kind' | 'seq' | 'fp' | 'ctimeNs' | 'layout' | 'from' | 'unseen' | 'dangling' | 'appendFrom' | 'appendId'
> & {
  fp: string;
  ctime: string;
  layout?: Layout;
  from?: { path: string; since: number };
};

/** Every kind of line that this version understands; a segment with others is never compacted away. */
export const KNOWN_OPS: ReadonlySet<string> = new Set(
  Object.keys({
    segment: 0,
    sealed: 0,
    row: 0,
    dir: 0,
    done: 0,
    'client-token': 0,
    prepare: 0,
    abort: 0,
    dirs: 0,
    commit: 0,
    append: 0,
    appended: 0,
    delete: 0,
    facts: 0,
    hash: 0,
    touched: 0,
    moving: 0,
    moved: 0,
    stands: 0,
    marker: 0,
    unmark: 0,
    part: 0,
    seen: 0,
  } satisfies Record<JournalLine['op'], 0>),
);
