/** Where events may be sent: only what the server's own configuration names. A client's configuration chooses among these by ARN. */
import type { NotificationRule } from '../../base/model.js';

export interface EventTarget {
  /** Letters, digits, `-` and `_`. */
  name: string;
  /** http or https, without credentials. */
  url: string;
  /** Of the signature; without it there is none. */
  secret?: string;
  /** Value of an Authorization header. */
  authorization?: string;
  /** ms for one attempt. */
  timeout: number;
}

/** The target of S3's event bus switch. */
export const EVENT_BRIDGE = 'eventbridge';

const SERVICE: Record<NotificationRule['kind'], string> = { Queue: 'sqs', Topic: 'sns', CloudFunction: 'lambda' };

/**
 * Name of the target that an ARN means: its last part, whatever partition, region and account it says, so that a configuration written for Amazon's
 * queues works with targets of the same names; or MinIO's form, `arn:minio:sqs::<name>:webhook`.
 * @returns undefined for what is no ARN of that kind.
 */
export function targetName(arn: string, kind: NotificationRule['kind']): string | undefined {
  const [scheme, partition, service, , account, ...resource] = arn.split(':');
  if (scheme !== 'arn' || service !== SERVICE[kind] || account === undefined) return undefined;
  const name =
    partition === 'minio' ? account : kind === 'CloudFunction' ? withoutVersion(resource) : resource.join(':');
  return name === '' ? undefined : name;
}

/** `function:<name>` or `function:<name>:<version>`. */
function withoutVersion(resource: string[]): string {
  return (resource[0] === 'function' ? resource[1] : resource[0]) ?? '';
}

/** What S3 operations need of whoever sends events. */
export interface Notifier {
  has(target: string): boolean;
  /** Sends S3's test message. @throws an Error whose message says why it did not arrive. */
  test(target: string, message: object): Promise<void>;
  /** Ends what the settings as they are now ask for. @returns number of the last change that they have seen. */
  settle(): Promise<number>;
  /** Settings of a bucket have changed. */
  changed(): void;
}
