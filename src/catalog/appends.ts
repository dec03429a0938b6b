/**
 * Which files are being appended to, by their identity: where such a file is met - under whatever name, and whatever its rows say - the object is what it
 * was before. Rows of index table `meta`; disposable like all of the index: the journal holds the lines.
 */
import { IDENTITY_BYTES } from './rows.js';
import { parseFingerprint } from '../fs/fingerprint.js';
import type { Append } from './lines.js';
import type { Index } from './lmdb.js';
import { Records } from './records.js';

/** `begun`: its process had marked the file, and may have grown it; else only the journal is known to speak of it. */
export type Noted = Append & { begun?: true };

export class Appends {
  private readonly records: Records<Noted>;

  constructor(index: Index) {
    this.records = new Records(index, 'append');
  }

  /** Only inside a write. */
  note(line: Noted): void {
    this.records.put(identityOfAppend(line), line);
  }

  find(identity: Buffer): Noted | undefined {
    return this.records.get(identity);
  }

  /** Unless another append to the file is under way by now. Only inside a write. */
  forget(line: Append): void {
    const identity = identityOfAppend(line);
    if (this.find(identity)?.id === line.id) this.records.remove(identity);
  }

  /** The append is done: what else is noted of the file has come to nothing. Only inside a write. */
  end(line: Append): void {
    this.records.remove(identityOfAppend(line));
  }

  all(): Noted[] {
    return [...this.records.all()];
  }
}

/** Of the file that a line speaks of. */
export function identityOfAppend({ fp }: Append): Buffer {
  return parseFingerprint(fp).subarray(0, IDENTITY_BYTES);
}
