import { describe, expect, it } from 'vitest';
import { matchOperation } from '../../src/ops/table.js';
import type { Level, OpResult } from '../../src/ops/types.js';
import { renderXml } from '../../src/wire/xml.js';
import { context, input } from './stub.js';

/** Runs the operation that the table has for a read of this sub-resource; no store method may be needed. */
async function read(level: Level, query: string): Promise<OpResult> {
  const asked = input({ query, ...(level === 'object' ? { key: 'k' } : {}) });
  const operation = matchOperation('GET', level, asked.query, {});
  if (typeof operation !== 'object' || operation.handler === undefined) throw new Error(`nothing serves ?${query}`);
  return operation.handler(context({}), asked);
}

describe('what cannot be configured', () => {
  it.each<[Level, string, string, number]>([
    ['bucket', 'lifecycle', 'NoSuchLifecycleConfiguration', 404],
    ['bucket', 'object-lock', 'ObjectLockConfigurationNotFoundError', 404],
    ['bucket', 'encryption', 'ServerSideEncryptionConfigurationNotFoundError', 404],
    ['bucket', 'website', 'NoSuchWebsiteConfiguration', 404],
    ['bucket', 'replication', 'ReplicationConfigurationNotFoundError', 404],
    ['object', 'legal-hold', 'InvalidRequest', 400],
    ['object', 'retention', 'InvalidRequest', 400],
  ])('%s ?%s is %s', async (level, query, code, status) => {
    await expect(read(level, query)).rejects.toMatchObject({ code, status });
  });

  it.each<[string, RegExp]>([
    ['versioning', /<VersioningConfiguration[^>]*(\/>|><\/VersioningConfiguration>)$/],
    ['notification', /<NotificationConfiguration[^>]*(\/>|><\/NotificationConfiguration>)$/],
    ['logging', /<BucketLoggingStatus[^>]*(\/>|><\/BucketLoggingStatus>)$/],
    ['accelerate', /<AccelerateConfiguration[^>]*(\/>|><\/AccelerateConfiguration>)$/],
    ['requestPayment', /<RequestPaymentConfiguration[^>]*><Payer>BucketOwner<\/Payer>/],
  ])('?%s is off', async (query, document) => {
    const { xml } = await read('bucket', query);
    expect(xml && renderXml(xml)).toMatch(document);
  });

  it.each(['lifecycle', 'encryption', 'versioning', 'object-lock', 'replication', 'website', 'logging'])(
    'PUT ?%s is not taken',
    (query) => {
      const row = matchOperation('PUT', 'bucket', new Map([[query, '']]), {});
      expect(row).toMatchObject({ body: 'none' });
      expect(row).not.toHaveProperty('handler');
    },
  );
});
