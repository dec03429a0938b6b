import { describe, expect, it } from 'vitest';
import { S3Error } from '../../src/base/errors.js';
import { humanSize, openLog, redactUrl, type AccessRecord, type LogLevel } from '../../src/base/log.js';

const RECORD: AccessRecord = {
  requestId: '0123456789ABCDEF',
  method: 'GET',
  url: '/photos/k?X-Amz-Credential=AKIA%2F20130524&X-Amz-Signature=deadbeef&x=1',
  status: 200,
  ms: 1.25,
  bytesIn: 0,
  bytesOut: 2048,
  accessKey: 'AKIATEST',
};

async function lines(format: 'pretty' | 'json', level: LogLevel = 'info') {
  let text = '';
  const stream = { write: (piece: string) => (text += piece) };
  const log = await openLog({ format, level, stdout: stream, stderr: stream });
  return { log, read: () => text.split('\n').filter((line) => line !== '') };
}

describe('redactUrl', () => {
  it.each([
    ['/k?X-Amz-Signature=abc', '/k?X-Amz-Signature=REDACTED'],
    ['/k?a=1&x-amz-signature=abc&b=2', '/k?a=1&x-amz-signature=REDACTED&b=2'],
    ['/k?X-Amz-Security-Token=t&Signature=s', '/k?X-Amz-Security-Token=REDACTED&Signature=REDACTED'],
    ['/k?prefix=Signature', '/k?prefix=Signature'],
    ['/k?list-type=2&continuation-token=t', '/k?list-type=2&continuation-token=t'],
    ['/k?X-Amz-Signatur%65=abc', '/k?X-Amz-Signatur%65=REDACTED'],
    ['/k?a&%58-amz%2dsecurity-tok%65n=a%26b#c&d=e', '/k?a&%58-amz%2dsecurity-tok%65n=REDACTED&d=e'],
    ['/k%3FX-Amz-Date=1%26X-Amz-Signature%3Dabc', '/k%3FX-Amz-Date=1%26X-Amz-Signature%3DREDACTED'],
    ['/k%253fX-Amz-Signatur%2565%253dabc', '/k%253fX-Amz-Signatur%2565%253dREDACTED'],
    ['/k?a=1#X-Amz-Signature=abc', '/k?a=1#X-Amz-Signature=REDACTED'],
    ['/k?Authorization=AWS4-HMAC-SHA256%20Signature=abc', '/k?Authorization=REDACTED'],
    ['/k?X-Amz-Server-Side-Encryption-Customer-Key=k', '/k?X-Amz-Server-Side-Encryption-Customer-Key=REDACTED'],
    ['http://user:secret@host/k', 'http://REDACTED@host/k'],
    ['/k@v?x=http://a@b', '/k@v?x=http://a@b'],
    ['/k\u009b31m\nforged', '/k%9B31m%0Aforged'],
    ['/k\u00c3\u00a4"\\', '/k%C3%A4%22%5C'],
    [`/${'k'.repeat(3_498)}\u00e4`, `/${'k'.repeat(3_498)}%...`],
  ])('%j', (url, expected) => expect(redactUrl(url)).toBe(expected));
});

describe('JSON lines', () => {
  it('carry the record without signatures', async () => {
    const { log, read } = await lines('json');
    log.access(() => RECORD);
    const line = JSON.parse(read()[0] ?? '') as Record<string, unknown>;
    expect(line).toMatchObject({
      level: 'info',
      msg: 'request',
      status: 200,
      requestId: RECORD.requestId,
      accessKey: 'AKIATEST',
    });
    expect(JSON.stringify(line)).not.toContain('deadbeef');
  });

  it('have what a child log adds, and the text of errors', async () => {
    const { log, read } = await lines('json');
    log.child({ worker: 1 }).error('failed', { error: new Error('boom') });
    expect(JSON.parse(read()[0] ?? '')).toMatchObject({
      level: 'error',
      msg: 'failed',
      worker: 1,
      error: expect.stringContaining('boom') as string,
    });
  });
});

it('shows in JSON where a fault of ours was met, and of the system only what it says', async () => {
  const { log, read } = await lines('json');
  const system = Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' });
  log.error('failed', { error: system });
  log.error('failed', { error: new S3Error('InternalError', 'The file was changed.') });
  log.error('failed', { error: new TypeError('x is no function') });
  const told = read().map((line) => (JSON.parse(line) as { error: string }).error);
  expect(told).toEqual([
    'EIO: i/o error, read',
    'The file was changed.',
    expect.stringMatching(/^TypeError: x is no function\n {4}at /),
  ]);
});

describe('lines for people', () => {
  it('show a request on one line', async () => {
    const { log, read } = await lines('pretty');
    log.access(() => RECORD);
    expect(read()).toEqual([
      expect.stringMatching(
        /^\d\d:\d\d:\d\d 200 GET +\/photos\/k\?.*REDACTED&x=1 out 2\.0 KiB {2}1\.3 ms {2}AKIATEST {2}0123456789ABCDEF$/,
      ),
    ]);
  });

  it('hide stacks unless debugging', async () => {
    const usual = await lines('pretty');
    usual.log.error('failed', { error: new Error('boom') });
    expect(usual.read()).toHaveLength(1);
    const debugging = await lines('pretty', 'debug');
    debugging.log.error('failed', { error: new Error('boom') });
    expect(debugging.read().length).toBeGreaterThan(1);
  });
});

it.each<[LogLevel, number]>([
  ['debug', 5],
  ['info', 4],
  ['warn', 2],
  ['error', 1],
  ['silent', 0],
])('level %s lets %i of five lines through, in both formats', async (level, expected) => {
  for (const format of ['pretty', 'json'] as const) {
    const { log, read } = await lines(format, level);
    log.debug('d');
    log.info('i');
    log.access(() => RECORD);
    log.warn('w');
    log.error('e');
    expect([format, read().length]).toEqual([format, expected]);
  }
});

it('humanSize', () => {
  expect([0, 1023, 1024, 1536, 5 * 1024 ** 4].map(humanSize)).toEqual([
    '0 B',
    '1023 B',
    '1.0 KiB',
    '1.5 KiB',
    '5.0 TiB',
  ]);
});
