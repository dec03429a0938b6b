/** Loses the index at the n-th time at which it is looked at: a loss between two looks is noticed at the next one. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const { statSync } = fs;
const holder = fs as { statSync: unknown };

/**
 * From now on counts how often the index is looked at; right before the n-th time it is lost. 0: never.
 * @param then what happens at that moment; this may be within a transaction.
 * @returns how to end this; it tells how often the index was looked at.
 */
export function loseIndexAt(n: number, then: () => void = () => undefined): () => number {
  let looks = 0;
  const hooked = (path: fs.PathLike, ...rest: unknown[]): unknown => {
    if (String(path).endsWith('/index/v3.mdb') && ++looks === n) {
      fs.rmSync(String(path));
      then();
    }
    return (statSync as (...args: unknown[]) => unknown)(path, ...rest);
  };
  holder.statSync = hooked;
  syncBuiltinESMExports();
  return () => {
    holder.statSync = statSync;
    syncBuiltinESMExports();
    return looks;
  };
}
