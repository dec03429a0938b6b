/** Which targets a change is told to, by the settings of its bucket. */
import type { NotificationSettings } from '../../base/model.js';
import { covers } from '../../wire/notification.js';
import { EVENT_BRIDGE, targetName } from './targets.js';

export interface Match {
  target: string;
  configurationId: string;
}

/** @param event without `s3:`. */
export function matches(settings: NotificationSettings | undefined, event: string, key: string, seq: number): Match[] {
  if (!settings || seq <= (settings.since ?? 0)) return [];
  const found: Match[] = [];
  for (const { id, kind, arn, events, prefix = '', suffix = '' } of settings.rules) {
    if (!key.startsWith(prefix) || !key.endsWith(suffix)) continue;
    if (!events.some((pattern) => covers(pattern, `s3:${event}`))) continue;
    const target = targetName(arn, kind);
    if (target !== undefined) found.push({ target, configurationId: id });
  }
  if (settings.eventBridge) found.push({ target: EVENT_BRIDGE, configurationId: '' });
  return found;
}
