/** fsync(2), as node:fs has it, under the eyes of a test. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

/**
 * @param hook is told the path of what shall be flushed, and calls `flush` when it may be, with what is to happen right afterwards.
 * @returns what ends that.
 */
export function hookFsync(hook: (path: string, flush: (after?: () => void) => void) => void): () => void {
  const { fsync } = fs;
  fs.fsync = ((fd: number, done: fs.NoParamCallback) => {
    hook(fs.readlinkSync(`/proc/self/fd/${fd}`), (after) =>
      fsync(fd, (error) => {
        after?.();
        done(error);
      }),
    );
  }) as typeof fsync;
  syncBuiltinESMExports();
  return () => {
    Object.assign(fs, { fsync });
    syncBuiltinESMExports();
  };
}
