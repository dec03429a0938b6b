import type { Body } from '../../src/base/model.js';
import type { Store, Upload } from '../../src/store/contract.js';
import type { StoreOptions } from '../../src/store/open.js';

export declare const BUCKET: string;
export declare const OPTIONS: StoreOptions;
export declare function body(text: string): Body;
export declare function uploadsOf(store: Store): Promise<(Upload | { prefix: string })[]>;
export interface Operation {
  setup(store: Store): Promise<unknown>;
  run(store: Store): Promise<unknown>;
  between?: string[];
}
export declare const OPERATIONS: Record<string, Operation>;
