import { describe, expect, it } from 'vitest';
import { covers, notificationXml, parseNotification } from '../../src/wire/notification.js';
import { renderXml } from '../../src/wire/xml.js';

const ARN = 'arn:gos3rve:sqs:us-east-1::hook';
const rule = (inner: string, kind = 'Queue', arn = ARN): string =>
  `<${kind}Configuration><${kind}>${arn}</${kind}>${inner}</${kind}Configuration>`;
const event = (name: string): string => `<Event>s3:${name}</Event>`;
const filter = (...rules: [string, string][]): string =>
  `<Filter><S3Key>${rules.map(([n, v]) => `<FilterRule><Name>${n}</Name><Value>${v}</Value></FilterRule>`).join('')}</S3Key></Filter>`;
const parse = (inner: string) => parseNotification(`<NotificationConfiguration>${inner}</NotificationConfiguration>`);

describe('notification configurations', () => {
  it('are written as they were read', () => {
    const settings = parse(
      rule(`<Id>two</Id>${event('ObjectRemoved:*')}`, 'Topic', 'arn:aws:sns:eu-west-1:1:t') +
        rule(
          `<Id>one</Id>${event('ObjectCreated:Put')}${event('ObjectCreated:Copy')}${filter(['prefix', 'a b/'], ['Suffix', '.jpg'])}`,
        ) +
        rule(`<Id>three</Id>${event('ObjectTagging:*')}`, 'CloudFunction', 'arn:aws:lambda:eu-west-1:1:function:f') +
        '<EventBridgeConfiguration/>',
    );
    expect(settings).toEqual({
      rules: [
        { id: 'two', kind: 'Topic', arn: 'arn:aws:sns:eu-west-1:1:t', events: ['s3:ObjectRemoved:*'] },
        {
          id: 'one',
          kind: 'Queue',
          arn: ARN,
          events: ['s3:ObjectCreated:Put', 's3:ObjectCreated:Copy'],
          prefix: 'a b/',
          suffix: '.jpg',
        },
        {
          id: 'three',
          kind: 'CloudFunction',
          arn: 'arn:aws:lambda:eu-west-1:1:function:f',
          events: ['s3:ObjectTagging:*'],
        },
      ],
      eventBridge: true,
    });
    expect(parseNotification(renderXml(notificationXml(settings)))).toEqual(settings);
    expect(parse('')).toEqual({ rules: [] });
  });

  it('get an id where none was given', () => {
    expect(parse(rule(event('ObjectCreated:*'))).rules[0]?.id).toMatch(/^[0-9a-f-]{36}$/);
  });

  it.each<[string, string, string]>([
    ['an unknown event', rule(event('ObjectCreated:Nothing')), 'The event is not supported for notifications'],
    ['an event without s3:', rule('<Event>ObjectCreated:*</Event>'), 'The event is not supported for notifications'],
    ['another filter', rule(event('ObjectCreated:*') + filter(['infix', 'x'])), 'filter rule name must be either'],
    ['two prefixes', rule(event('ObjectCreated:*') + filter(['prefix', 'x'], ['Prefix', 'y'])), 'more than one prefix'],
    ['a long value', rule(event('ObjectCreated:*') + filter(['prefix', 'ü'.repeat(513)])), 'cannot exceed 1024 bytes'],
    [
      'one event twice',
      rule(event('ObjectCreated:*')) + rule(event('ObjectCreated:Put')),
      'cannot share a common event type',
    ],
    [
      'overlapping filters',
      rule(event('ObjectCreated:*') + filter(['prefix', 'a'], ['suffix', 'jpg'])) +
        rule(event('ObjectCreated:Put') + filter(['prefix', 'ab'], ['suffix', '.jpg'])),
      'Cannot have overlapping suffixes',
    ],
    [
      'one id twice',
      rule(`<Id>x</Id>${event('ObjectCreated:*')}`) + rule(`<Id>x</Id>${event('ObjectRemoved:*')}`),
      'IDs must be unique',
    ],
  ])('refuse %s', (_what, xml, message) => {
    expect(() => parse(xml)).toThrow(
      expect.objectContaining({ code: 'InvalidArgument', message: expect.stringContaining(message) as string }),
    );
  });

  it.each([
    [
      'different suffixes',
      rule(event('ObjectCreated:*') + filter(['suffix', '.jpg'])) +
        rule(event('ObjectCreated:*') + filter(['suffix', '.png'])),
    ],
    [
      'different prefixes',
      rule(event('ObjectCreated:*') + filter(['prefix', 'a/'])) +
        rule(event('ObjectCreated:*') + filter(['prefix', 'b/'])),
    ],
    ['different events', rule(event('ObjectCreated:Put')) + rule(event('ObjectCreated:Copy'))],
  ])('take rules with %s', (_what, xml) => {
    expect(parse(xml).rules).toHaveLength(2);
  });

  it.each([
    ['no event', rule('')],
    ['no target', '<QueueConfiguration><Event>s3:ObjectCreated:*</Event></QueueConfiguration>'],
  ])('with %s are malformed', (_what, xml) => {
    expect(() => parse(xml)).toThrow(expect.objectContaining({ code: 'MalformedXML' }));
  });

  it('know which events a pattern means', () => {
    expect(covers('s3:ObjectCreated:*', 's3:ObjectCreated:Put')).toBe(true);
    expect(covers('s3:ObjectCreated:Put', 's3:ObjectCreated:Put')).toBe(true);
    expect(covers('s3:ObjectCreated:*', 's3:ObjectRemoved:Delete')).toBe(false);
    expect(covers('s3:ObjectCreated:Put', 's3:ObjectCreated:Post')).toBe(false);
  });
});
