/**
 * The lines of the journal. `path` is relative to the root (`photos/2024/cat.jpg`); overflow objects are named by bucket and key.
 * Every line that changes something has a sequence number, taken under the lock: the order of the numbers is the order of events.
 */
import type { Checksum, KeyFacts } from '../base/model.js';
import type { Layout } from './rows.js';

/** Which object a line speaks of. */
export type Subject = { path: string } | { bucket: string; key: string };

/** Facts of the bytes, as far as the tree does not say them. */
export interface ByteFacts {
  /** `mount:inode:birth:size:mtime` */
  fp: string;
  etag: string;
  checksum?: Checksum;
  layout?: Layout;
}

export type JournalLine =
  | { op: 'segment'; version: 1; boot: string; pid: number; host: string; time: string }
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
      /** A move: where the object comes from. */
      from?: Subject;
      /** The multipart upload that is completed by this. */
      upload?: CompletedUpload;
      published: boolean;
    } & Subject)
  /** The operation of a prepare or append line ended without effect, or was settled after a crash. */
  | { op: 'abort'; id: string }
  /**
   * Directories that are about to be made or removed, under the lock: part of the numbered line that follows in the segment. If none
   * follows, the process was killed, and those that stand empty are removed.
   */
  | { op: 'dirs'; paths: string[] }
  | { op: 'commit'; id: string; seq: number; ctime: string }
  /** Bytes will be appended in place; without commit the file is cut back to `size`, if what is behind it is of `piece`, a staging file. */
  | {
      op: 'append';
      id: string;
      path: string;
      size: number;
      ino: string;
      piece: string;
      bytes: Omit<ByteFacts, 'fp'>;
      facts: KeyFacts;
    }
  | { op: 'appended'; id: string; seq: number; fp: string; ctime: string }
  | ({ op: 'delete'; seq: number; rmdirs?: string[] } & Subject)
  | ({ op: 'facts'; seq: number; facts: KeyFacts } & Subject)
  /** Hash of a foreign file: cost a read, so it is kept. */
  | ({ op: 'hash'; seq: number; fp: string; ctime: string; etag: string } & Subject)
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
    }
  | { op: 'unmark'; seq: number; path: string; rmdirs?: string[] }
  | { op: 'part'; seq: number; uploadId: string; part: PartRecord };

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
