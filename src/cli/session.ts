/** What commands on objects begin with: the root, its settings, its store, and how arguments are read there. */
import { UsageError } from '../base/errors.js';
import type { Settings } from '../base/config.js';
import type { LocalStore } from '../store/open.js';
import type { Call } from './commands/command.js';
import { tilde, type Root } from './root.js';
import { settingsOf } from './settings.js';
import { nearOf, parseTarget, type ObjectTarget } from './target.js';

export interface Session {
  root: Root;
  settings: Settings;
  store: LocalStore;
  /** @throws UsageError for what names nothing in this root. */
  target(written: string): ObjectTarget;
}

export type SessionCall = Pick<Call, 'root' | 'store' | 'args'>;

/**
 * Opens the store that the arguments speak of.
 * @throws UsageError if there is no root, or if the command writes and the root is served read-only.
 */
export async function openSession(call: SessionCall, { writes = false } = {}): Promise<Session> {
  const root = await call.root(nearOf(call.args));
  const settings = await settingsOf(root, process.env);
  if (writes && settings.readOnly)
    throw new UsageError(`${tilde(root.path)} is served read-only; start its server without --read-only first`, 1);
  const store = await call.store(root);
  const aliases = new Map(settings.bucket);
  return { root, settings, store, target: (written) => parseTarget(written, root, aliases) };
}
