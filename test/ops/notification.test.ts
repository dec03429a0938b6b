import { describe, expect, it } from 'vitest';
import type { Notifier } from '../../src/jobs/events/targets.js';
import { getBucketNotificationConfiguration, putBucketNotificationConfiguration } from '../../src/ops/notification.js';
import type { BucketSettings } from '../../src/store/contract.js';
import { renderXml } from '../../src/wire/xml.js';
import { ALICE, bucketOf, context, input } from './stub.js';

const xml = (arn: string): string =>
  `<NotificationConfiguration><QueueConfiguration><Id>a</Id><Queue>${arn}</Queue><Event>s3:ObjectCreated:*</Event></QueueConfiguration></NotificationConfiguration>`;

function put(text: string, options: { refuse?: boolean; headers?: Record<string, string>; notifier?: boolean } = {}) {
  const tested: string[] = [];
  const state: { settings: BucketSettings; changed: number } = { settings: {}, changed: 0 };
  const notifier: Notifier = {
    has: (name) => name === 'hook',
    test: async (name) => {
      tested.push(name);
      if (options.refuse) throw new Error('it answered 500');
    },
    settle: async () => 41,
    changed: () => void state.changed++,
  };
  const service = {
    region: 'us-east-1',
    minPartSize: 1,
    rootOwner: ALICE,
    ...(options.notifier === false ? {} : { notifier }),
  };
  const ctx = context(
    {
      updateBucket: async (name, change) => {
        state.settings = change(state.settings);
        return bucketOf(state.settings, name);
      },
    },
    { service },
  );
  const done = putBucketNotificationConfiguration(ctx, input({ text, headers: options.headers ?? {} }));
  return { done, tested, state };
}

describe('PutBucketNotificationConfiguration', () => {
  it.each([
    'arn:gos3rve:sqs:us-east-1::hook',
    'arn:aws:sqs:eu-west-1:123456789012:hook',
    'arn:minio:sqs::hook:webhook',
  ])('takes %s, after a test message, and tells from when on it counts', async (arn) => {
    const { done, tested, state } = put(xml(arn));
    await done;
    expect(tested).toEqual(['hook']);
    expect(state.settings.notification).toMatchObject({ since: 41, rules: [{ id: 'a', arn }] });
    expect(state.changed).toBe(1);
    const ctx = context({}, { bucket: bucketOf(state.settings) });
    const { xml: document } = await getBucketNotificationConfiguration(ctx, input({}));
    expect(document && renderXml(document)).toContain(`<Queue>${arn}</Queue><Event>s3:ObjectCreated:*</Event>`);
  });

  it.each([
    ['an unknown target', 'arn:gos3rve:sqs:us-east-1::other', {}],
    ['an ARN of another kind', 'arn:gos3rve:sns:us-east-1::hook', {}],
    ['a target that refuses the test', 'arn:gos3rve:sqs:us-east-1::hook', { refuse: true }],
    ['any target, where events are not configured', 'arn:gos3rve:sqs:us-east-1::hook', { notifier: false }],
    [
      'an unknown target even unvalidated',
      'arn:gos3rve:sqs:::o',
      { headers: { 'x-amz-skip-destination-validation': 'true' } },
    ],
  ])('refuses %s', async (_what, arn, options) => {
    const { done, state } = put(xml(arn), options);
    await expect(done).rejects.toMatchObject({
      code: 'InvalidArgument',
      message: 'Unable to validate the following destination configurations',
      data: { ArgumentName: arn },
    });
    expect(state.settings).toEqual({});
  });

  it('sends no test if told to skip it', async () => {
    const { done, tested } = put(xml('arn:gos3rve:sqs:::hook'), {
      refuse: true,
      headers: { 'x-amz-skip-destination-validation': 'True' },
    });
    await done;
    expect(tested).toEqual([]);
  });

  it('is taken back by an empty configuration', async () => {
    const { done, state } = put('<NotificationConfiguration/>');
    state.settings = { notification: { rules: [] } };
    await done;
    expect(state.settings).toEqual({});
  });
});
