/** The notification configuration of a bucket as XML, and S3's rules for it (User Guide, "Amazon S3 Event Notifications"). */
import { randomUUID } from 'node:crypto';
import { S3Error } from '../base/errors.js';
import type { NotificationRule, NotificationSettings } from '../base/model.js';
import { child, childText, childrenOf, el, parseXml, type XmlElement } from './xml.js';

/** Every event type of the S3 model. Those that nothing here causes are accepted, and never sent. */
const EVENTS: ReadonlySet<string> = new Set([
  ...names('ObjectCreated', '*', 'Put', 'Post', 'Copy', 'CompleteMultipartUpload'),
  ...names('ObjectRemoved', '*', 'Delete', 'DeleteMarkerCreated'),
  ...names('ObjectTagging', '*', 'Put', 'Delete'),
  ...names('ObjectAnnotation', '*', 'Put', 'Delete'),
  ...names('ObjectRestore', '*', 'Post', 'Completed', 'Delete'),
  ...names('LifecycleExpiration', '*', 'Delete', 'DeleteMarkerCreated'),
  ...names(
    'Replication',
    '*',
    'OperationFailedReplication',
    'OperationNotTracked',
    'OperationMissedThreshold',
    'OperationReplicatedAfterThreshold',
  ),
  's3:ObjectAcl:Put',
  's3:LifecycleTransition',
  's3:IntelligentTiering',
  's3:ReducedRedundancyLostObject',
]);

function names(group: string, ...events: string[]): string[] {
  return events.map((event) => `s3:${group}:${event}`);
}

/** S3: configurations of one bucket. */
const MAX_RULES = 100;
/** S3: bytes of a prefix or suffix. */
const MAX_VALUE = 1024;

const KINDS = ['Topic', 'Queue', 'CloudFunction'] as const;

export function notificationXml(settings: NotificationSettings | undefined): XmlElement {
  const rules = settings?.rules ?? [];
  return el('NotificationConfiguration', [
    ...KINDS.flatMap((kind) => rules.filter((rule) => rule.kind === kind).map(ruleElement)),
    settings?.eventBridge === true && el('EventBridgeConfiguration', []),
  ]);
}

function ruleElement(rule: NotificationRule): XmlElement {
  const filters = (['Prefix', 'Suffix'] as const).flatMap((name) => {
    const value = name === 'Prefix' ? rule.prefix : rule.suffix;
    return value === undefined ? [] : [el('FilterRule', [el('Name', name), el('Value', value)])];
  });
  return el(`${rule.kind}Configuration`, [
    el('Id', rule.id),
    el(rule.kind, rule.arn),
    ...rule.events.map((event) => el('Event', event)),
    filters.length > 0 && el('Filter', [el('S3Key', filters)]),
  ]);
}

/**
 * Reads a `NotificationConfiguration`; an empty one turns notifications off. Whether its targets exist is for the caller.
 * @throws MalformedXML, InvalidArgument as S3 does: unknown events, filters that are none, rules that overlap.
 */
export function parseNotification(text: string): NotificationSettings {
  const root = parseXml(text, 'NotificationConfiguration');
  const rules = KINDS.flatMap((kind) =>
    childrenOf(root, `${kind}Configuration`).map((element) => parseRule(kind, element)),
  );
  if (rules.length > MAX_RULES)
    throw new S3Error('InvalidArgument', `A bucket can have at most ${MAX_RULES} notification configurations.`);
  const ids = rules.map(({ id }) => id);
  if (new Set(ids).size !== ids.length)
    throw new S3Error('InvalidArgument', 'Same ID used for multiple configurations. IDs must be unique.');
  checkOverlaps(rules);
  return { rules, ...(child(root, 'EventBridgeConfiguration') !== undefined && { eventBridge: true }) };
}

function parseRule(kind: NotificationRule['kind'], element: XmlElement): NotificationRule {
  const arn = childText(element, kind)?.trim();
  // the shape of 2008 has one Event, the later ones several
  const events = [...new Set(childrenOf(element, 'Event').map(textOf))];
  if (arn === undefined || arn === '' || events.length === 0) throw new S3Error('MalformedXML');
  for (const event of events)
    if (!EVENTS.has(event)) throw invalid('The event is not supported for notifications', 'Event', event);
  const id = childText(element, 'Id')?.trim();
  if (id !== undefined && id.length > 255) throw invalid('The ID is longer than 255 characters', 'Id', id);
  return { id: id === undefined || id === '' ? randomUUID() : id, kind, arn, events, ...parseFilter(element) };
}

function parseFilter(element: XmlElement): Pick<NotificationRule, 'prefix' | 'suffix'> {
  const filter = child(element, 'Filter');
  const key = filter && child(filter, 'S3Key');
  const found: { prefix?: string; suffix?: string } = {};
  for (const rule of key ? childrenOf(key, 'FilterRule') : []) {
    const written = childText(rule, 'Name') ?? '';
    const name = written.trim().toLowerCase();
    const value = childText(rule, 'Value') ?? '';
    if (name !== 'prefix' && name !== 'suffix')
      throw invalid('filter rule name must be either prefix or suffix', 'FilterRule.Name', written);
    if (found[name] !== undefined)
      throw invalid(`Cannot specify more than one ${name} rule in a filter.`, 'FilterRule.Name', name);
    if (Buffer.byteLength(value) > MAX_VALUE)
      throw invalid(
        'Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation',
        'FilterRule.Value',
        value,
      );
    found[name] = value;
  }
  return found;
}

/** S3: two rules of one event type must not fit one key: their prefixes or their suffixes have to exclude each other. */
function checkOverlaps(rules: readonly NotificationRule[]): void {
  for (const [i, a] of rules.entries()) {
    for (const b of rules.slice(i + 1)) {
      const common = a.events.some((event) => b.events.some((other) => covers(event, other) || covers(other, event)));
      if (!common) continue;
      const [ap, bp, as, bs] = [a.prefix ?? '', b.prefix ?? '', a.suffix ?? '', b.suffix ?? ''];
      if (!(ap.startsWith(bp) || bp.startsWith(ap)) || !(as.endsWith(bs) || bs.endsWith(as))) continue;
      const filtered = ap !== '' || bp !== '' || as !== '' || bs !== '';
      throw new S3Error(
        'InvalidArgument',
        filtered
          ? 'Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes are overlapping for the same event type.'
          : 'Configurations overlap. Configurations on the same bucket cannot share a common event type.',
      );
    }
  }
}

/** @param pattern as configured: `s3:ObjectCreated:*`. @param event the same, or one event: `s3:ObjectCreated:Put`. */
export function covers(pattern: string, event: string): boolean {
  return pattern === event || (pattern.endsWith(':*') && event.startsWith(pattern.slice(0, -1)));
}

function textOf(element: XmlElement): string {
  return typeof element.children === 'string' ? element.children.trim() : '';
}

function invalid(message: string, name: string, value: string): S3Error {
  return new S3Error('InvalidArgument', message, { data: { ArgumentName: name, ArgumentValue: value } });
}
