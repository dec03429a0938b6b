import type { Body } from '../../src/base/model.js';
import type { Store, Upload } from '../../src/store/contract.js';
import type { LocalStore, StoreOptions } from '../../src/store/open.js';

export declare const BUCKET: string;
export declare const OPTIONS: StoreOptions;
export declare function body(text: string): Body;
export declare function uploadsOf(store: Store): Promise<(Upload | { prefix: string })[]>;
/** Loads a module of the built library by its path there. */
export type Load = (file: string) => Promise<unknown>;
export declare const DAY: number;
export declare const AGAIN: string;
export interface Operation {
  setup(store: LocalStore, root: string): Promise<unknown>;
  ready?(store: LocalStore, load: Load): Promise<unknown>;
  run(store: LocalStore, more: { ready: unknown }): Promise<unknown>;
  /** In which ways an interrupted one may rightly be seen half done. */
  between?: string[];
  /** It removes the body of an overflow object, once what comes in its place is on the disk. */
  supersedes?: boolean;
  /** Nobody can see that it has happened. */
  unseen?: boolean;
  /** Only each third of its calls is met, unless all are asked for. */
  sampled?: boolean;
}
/** Runs `ready`, which is `gc`, a month later. */
export declare const COLLECT_AGAIN: Pick<Operation, 'run'>;
export declare const OPERATIONS: Record<string, Operation>;
