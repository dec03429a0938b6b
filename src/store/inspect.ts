/** What the commands that look after a root may ask of a local store beyond the contract. */
import { unpairKey } from '../catalog/rows.js';
import type { Core } from './core.js';

export interface OverflowPage {
  /** `folder`: of the bucket, below the root. */
  entries: { folder: string; key: string }[];
  /** Pass as `after` to go on; absent at the end. */
  next?: Buffer;
}

export class Inspector {
  constructor(private readonly core: Core) {}

  /** Objects whose key was no possible path when they were put, in byte order of folder and key. */
  overflow(after: Buffer | undefined, max: number): OverflowPage {
    const { index } = this.core.catalog;
    index.refresh();
    const start = after ? Buffer.concat([after, Buffer.alloc(1)]) : Buffer.alloc(0);
    const page = index.page('overflow', start, Buffer.from([0xff]), max);
    const entries = page.map(({ key }) => {
      const [folder = '', name = ''] = unpairKey(key);
      return { folder, key: name };
    });
    const last = page.at(-1);
    return { entries, ...(last && page.length === max && { next: Buffer.from(last.key) }) };
  }
}
