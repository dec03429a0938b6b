import type { ReadCondition, WriteCondition } from '../base/model.js';
import type { Headers } from './headers.js';
export declare function readConditions(h: Headers): ReadCondition;
export declare function copySourceConditions(h: Headers): ReadCondition;
export declare function renameSourceConditions(h: Headers): ReadCondition;
export declare function writeConditions(h: Headers): WriteCondition | undefined;
export declare function checkRead(
  c: ReadCondition,
  o: { etag: string; lastModified: number },
  mode: 'get' | 'copy',
): void;
export declare function checkWrite(
  c: WriteCondition | undefined,
  o: { etag: string; lastModified: number; size: number } | undefined,
): void;
