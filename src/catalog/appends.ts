/**
 * Which files are being appended to, by their identity: where such a file is met - under whatever name, and whatever its rows say - the object is what it
 * was before. Rows of index table `meta`; disposable like all of the index: the journal holds the lines.
 */
import { IDENTITY_BYTES } from './rows.js';
import { parseFingerprint } from '../fs/fingerprint.js';
import type { Append } from './lines.js';
import type { Index } from './lmdb.js';

const PAGE = 256;
const FIRST = Buffer.from('append:');
const LAST = Buffer.from('append;');

/** `begun`: its process had marked the file, and may have grown it; else only the journal is known to speak of it. */
export type Noted = Append & { begun?: true };

export class Appends {
  constructor(private readonly index: Index) {}

  /** Only inside a write. */
  note(line: Noted): void {
    this.index.put('meta', keyOf(identityOfAppend(line)), Buffer.from(JSON.stringify(line)));
  }

  find(identity: Buffer): Noted | undefined {
    const bytes = this.index.get('meta', keyOf(identity));
    return bytes && (JSON.parse(bytes.toString()) as Noted);
  }

  /** Unless another append to the file is under way by now. Only inside a write. */
  forget(line: Append): void {
    const identity = identityOfAppend(line);
    if (this.find(identity)?.id === line.id) this.index.remove('meta', keyOf(identity));
  }

  all(): Append[] {
    const found: Append[] = [];
    for (let from = FIRST; ;) {
      const page = this.index.page('meta', from, LAST, PAGE);
      for (const { value } of page) found.push(JSON.parse(value.toString()) as Append);
      const last = page.at(-1);
      if (!last || page.length < PAGE) return found;
      from = Buffer.concat([last.key, Buffer.alloc(1)]);
    }
  }
}

/** Of the file that a line speaks of. */
export function identityOfAppend({ fp }: Append): Buffer {
  return parseFingerprint(fp).subarray(0, IDENTITY_BYTES);
}

function keyOf(identity: Buffer): Buffer {
  return Buffer.concat([FIRST, identity]);
}
