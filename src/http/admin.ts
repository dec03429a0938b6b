/**
 * Paths of the server itself. They lie under `/.gos3rve/`: no bucket can have that name, so no object is hidden by them.
 */
import type { OpResult } from '../ops/types.js';
import type { Store } from '../store/contract.js';
import type { Target } from './request.js';

const HEALTH = '/.gos3rve/health';

/**
 * `GET /.gos3rve/health` -> 200 `{"status":"ok"}`, or 503 while the store cannot be reached (its mount has vanished). Needs no
 * credentials and tells nothing else. Undefined for all other requests.
 */
export function answerAdmin(store: Store, method: string, target: Target): Promise<OpResult> | undefined {
  if (target.path !== HEALTH || target.style !== 'path' || (method !== 'GET' && method !== 'HEAD')) return undefined;
  return health(store);
}

async function health(store: Store): Promise<OpResult> {
  const healthy = await store.listBuckets({ max: 1 }).then(
    () => true,
    () => false,
  );
  return {
    status: healthy ? 200 : 503,
    headers: { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' },
    text: `{"status":"${healthy ? 'ok' : 'unavailable'}"}\n`,
  };
}
