/** JSON values in the index's table `meta`, under keys of one prefix. Disposable like all of the index. */
import type { Index } from './lmdb.js';

const PAGE = 256;

export class Records<T> {
  private readonly first: Buffer;
  /** `;` follows `:`. */
  private readonly end: Buffer;

  /** @param kind of letters: the keys begin with it and a colon. */
  constructor(
    private readonly index: Index,
    kind: string,
  ) {
    this.first = Buffer.from(`${kind}:`);
    this.end = Buffer.from(`${kind};`);
  }

  get(id: string | number | Buffer): T | undefined {
    const bytes = this.index.get('meta', this.keyOf(id));
    return bytes && (JSON.parse(bytes.toString()) as T);
  }

  /** Only inside a write. */
  put(id: string | number | Buffer, value: T): void {
    this.index.put('meta', this.keyOf(id), Buffer.from(JSON.stringify(value)));
  }

  /** Only inside a write. */
  remove(id: string | number | Buffer): void {
    this.index.remove('meta', this.keyOf(id));
  }

  /** The first of them. */
  some(): T[] {
    return this.page(this.first).map(([, value]) => value);
  }

  /** All, by their keys; they may be removed meanwhile. */
  *all(): Generator<T> {
    for (let from: Buffer | undefined = this.first; from;) {
      const page = this.page(from);
      for (const [, value] of page) yield value;
      const last = page.at(-1);
      from = last && page.length === PAGE ? Buffer.concat([last[0], Buffer.alloc(1)]) : undefined;
    }
  }

  /** Removes those that are `old`, a page at a time: in writes of its own, if not inside one. @param prefix of their ids. */
  prune(old: (value: T) => boolean, prefix: string | Buffer = ''): void {
    const ours = this.keyOf(prefix);
    for (let from: Buffer | undefined = ours; from;) {
      const page: [Buffer, T][] = this.page(from).filter(([key]) => key.subarray(0, ours.length).equals(ours));
      this.index.write(() => {
        for (const [key, value] of page) if (old(value)) this.index.remove('meta', key);
      });
      const last = page.at(-1);
      from = last && page.length === PAGE ? Buffer.concat([last[0], Buffer.alloc(1)]) : undefined;
    }
  }

  private page(from: Buffer): [key: Buffer, value: T][] {
    const page = this.index.page('meta', from, this.end, PAGE);
    return page.map(({ key, value }) => [key, JSON.parse(value.toString()) as T]);
  }

  private keyOf(id: string | number | Buffer): Buffer {
    return Buffer.concat([this.first, typeof id === 'object' ? id : Buffer.from(String(id), 'latin1')]);
  }
}
