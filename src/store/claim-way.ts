import { keyToPath } from '../fs/keypath.js';
import type { Core } from './core.js';

/** What is known of keys is that of the directories that stand on their paths now (`Tracker.claim`): before it is changed, or goes. Nothing is made. */
export function claimWay(core: Core, bucket: string, ...keys: string[]): void {
  const done = new Set<string>();
  for (const key of keys) {
    const above = key.slice(0, key.lastIndexOf('/') + 1);
    const path = done.has(above) ? undefined : keyToPath(key);
    if (!path || path.name === '') continue;
    done.add(above);
    core.tracker.claim([...core.bucketDirs(bucket), ...path.dirs], false);
  }
}
