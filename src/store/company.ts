/** What stands beside files that are removed together, under one lock: looked for once a folder, and not once a file. */
import { lastChildren } from '../catalog/children.js';
import { pairKey } from '../catalog/rows.js';
import { lstatOf, type Core, type Found } from './core.js';

/** So many of the last rows of a folder are asked whether their files stand. */
const KNOWN_ASKED = 3;

export class Company {
  /** By the path of a folder: the name of something in it that was seen to stand. */
  private readonly beside = new Map<string, string>();
  private overflow: boolean | undefined;

  constructor(
    private readonly core: Core,
    private readonly bucket: string,
  ) {}

  /** Whether something else that has a row is known to stand in the folder of a file: it does not fall empty by the removal of that. */
  holds({ place, dir, name }: Found): boolean {
    if (place.kind !== 'tree') return false;
    const before = this.beside.get(dir.path);
    if (before !== undefined && before !== name) return true;
    this.beside.delete(dir.path);
    const id = this.core.catalog.dirId(place.dirs);
    if (id === undefined) return false;
    // keys are mostly removed in their order: the last one stays longest
    const known = lastChildren(this.core.catalog.index, id, KNOWN_ASKED).map((child) => child.name.replace(/\/$/, ''));
    const stands = known.find((one) => one !== name && lstatOf(dir.at(one)) !== undefined);
    if (stands === undefined) return false;
    this.beside.set(dir.path, stands);
    return true;
  }

  /** Whether the bucket has objects whose keys are no paths. */
  hasOverflow(): boolean {
    if (this.overflow !== undefined) return this.overflow;
    const from = pairKey(this.core.overflowFolder(this.bucket), '');
    const end = Buffer.concat([from.subarray(0, -1), Buffer.from([1])]);
    return (this.overflow = this.core.catalog.index.page('overflow', from, end, 1).length > 0);
  }
}
