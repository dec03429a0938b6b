/** PutBucketNotificationConfiguration and GetBucketNotificationConfiguration. Targets are those of the server's own configuration. */
import { S3Error } from '../base/errors.js';
import type { NotificationSettings } from '../base/model.js';
import { testMessage } from '../jobs/events/record.js';
import { EVENT_BRIDGE, targetName } from '../jobs/events/targets.js';
import { notificationXml, parseNotification } from '../wire/notification.js';
import { without } from './input.js';
import type { OpContext, OpInput, OpResult } from './types.js';

const KIND = { Queue: 'queue', Topic: 'topic', CloudFunction: 'function' } as const;

export async function getBucketNotificationConfiguration(ctx: OpContext, _input: OpInput): Promise<OpResult> {
  return { xml: notificationXml(ctx.bucket?.settings.notification) };
}

/** Each target gets S3's test message and has to take it, unless x-amz-skip-destination-validation says `true`. */
export async function putBucketNotificationConfiguration(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const wanted = parseNotification(input.text);
  const { notifier } = ctx.service;
  const targets = targetsOf(wanted, (name) => notifier?.has(name) === true);
  if (notifier && input.headers['x-amz-skip-destination-validation']?.trim().toLowerCase() !== 'true') {
    const message = testMessage(input.bucket, ctx.requestId);
    const tests = [...targets].map(async ([name, arn]) => {
      try {
        await notifier.test(name, message);
      } catch (error) {
        throw unreachable(arn, `The test message was not taken: ${error instanceof Error ? error.message : 'failed'}`);
      }
    });
    await Promise.all(tests);
  }
  const since = await notifier?.settle();
  await ctx.store.updateBucket(input.bucket, (settings) =>
    wanted.rules.length === 0 && !wanted.eventBridge
      ? without(settings, 'notification')
      : { ...settings, notification: { ...wanted, ...(since !== undefined && { since }) } },
  );
  notifier?.changed();
  return {};
}

/** ARNs by target. @throws InvalidArgument for one that is none of ours. */
function targetsOf(wanted: NotificationSettings, has: (name: string) => boolean): Map<string, string> {
  const targets = new Map<string, string>();
  for (const { arn, kind } of wanted.rules) {
    const name = targetName(arn, kind);
    if (name === undefined || !has(name)) throw unreachable(arn, `The destination ${KIND[kind]} does not exist`);
    targets.set(name, arn);
  }
  if (!wanted.eventBridge) return targets;
  if (!has(EVENT_BRIDGE)) throw unreachable(EVENT_BRIDGE, 'The server has no target of that name');
  return targets.set(EVENT_BRIDGE, EVENT_BRIDGE);
}

function unreachable(arn: string, why: string): S3Error {
  return new S3Error('InvalidArgument', 'Unable to validate the following destination configurations', {
    data: { ArgumentName: arn, ArgumentValue: why },
  });
}
