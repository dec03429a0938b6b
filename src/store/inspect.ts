/** What the commands that look after a root may ask of a local store beyond the contract. */
import { pairKey, unpairKey } from '../catalog/rows.js';
import { lstatOf } from '../fs/stat.js';
import type { Core } from './core.js';

export interface OverflowPage {
  /** `folder`: of the bucket, below the root. */
  entries: { folder: string; key: string }[];
  /** Pass as `after` to go on; absent at the end. */
  next?: Buffer;
}

export class Inspector {
  constructor(private readonly core: Core) {}

  /** Folders (below the root) that objects whose keys are no paths were put to; `/<number>` for one that another folder has replaced. */
  *overflowFolders(): Generator<string> {
    const { index } = this.core.catalog;
    index.refresh();
    for (let start: Buffer = Buffer.alloc(0); ;) {
      const [first] = index.page('overflow', start, Buffer.from([0xff]), 1);
      const [folder] = first ? unpairKey(first.key) : [];
      if (folder === undefined) return;
      yield folder;
      start = Buffer.concat([pairKey(folder), Buffer.from([0, 1])]);
    }
  }

  /** Whether a bucket, or the folder of one, is there. */
  hasFolder(name: string): boolean {
    const dirs = this.core.isAlias(name) ? this.core.bucketDirs(name) : name === '.' ? [] : name.split('/');
    return lstatOf(this.core.pathOf(dirs))?.isDirectory() === true;
  }

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
