import { describe, expect, it } from 'vitest';
import { matchOperation, OPERATIONS } from '../../src/ops/table.js';
import type { Level } from '../../src/ops/types.js';
import { S3_MODEL } from './s3-model.js';

function match(method: string, uri: string, headers: readonly string[] = []): string | undefined {
  const [path = '', search = ''] = uri.split('?');
  const level: Level = path === '/' ? 'service' : path.split('/').length > 2 ? 'object' : 'bucket';
  const query = new Map([...new URLSearchParams(search)]);
  const found = matchOperation(method, level, query, Object.fromEntries(headers.map((name) => [name, 'x'])));
  return typeof found === 'object' ? found.name : found;
}

/** Operations with the very request of another: the current one answers. */
const TWINS: Readonly<Record<string, string>> = {
  GetBucketLifecycle: 'GetBucketLifecycleConfiguration',
  PutBucketLifecycle: 'PutBucketLifecycleConfiguration',
  GetBucketNotification: 'GetBucketNotificationConfiguration',
  PutBucketNotification: 'PutBucketNotificationConfiguration',
  ListDirectoryBuckets: 'ListBuckets',
};

describe('the table of operations', () => {
  it('has exactly the operations of the S3 model, and PostObject, which is a form', () => {
    expect(OPERATIONS.map((row) => row.name).sort()).toEqual([...S3_MODEL.map(([name]) => name), 'PostObject'].sort());
  });

  it.each(S3_MODEL)('matches %s', (name, method, uri, headers) => {
    expect(match(method, uri, headers)).toBe(TWINS[name] ?? name);
  });

  it('writes in every row that is no read, and never reads a body it has no handler for', () => {
    for (const row of OPERATIONS) {
      if (row.method === 'GET' || row.method === 'HEAD') expect(row.writes, row.name).toBe(false);
      if (row.method === 'PUT' || row.method === 'DELETE') expect(row.writes, row.name).toBe(true);
      if (row.handler === undefined) expect(row.body, row.name).toBe('none');
      expect(row.action, row.name).toMatch(/^s3:[A-Z]/);
    }
  });
});

describe('matchOperation', () => {
  it.each([
    // Parameters that only refine, and what clients add.
    ['GET', '/b/k?x-id=GetObject', 'GetObject'],
    ['GET', '/b/k?partNumber=1', 'GetObject'],
    ['GET', '/b/k?versionId=null&response-content-type=a', 'GetObject'],
    ['GET', '/b?prefix=a&delimiter=/', 'ListObjects'],
    ['GET', '/b?list-type=3', 'ListObjects'],
    ['GET', '/b?list-type=2&prefix=uploads', 'ListObjectsV2'],
    ['GET', '/b?uploads&prefix=x', 'ListMultipartUploads'],
    ['PUT', '/b/k?utm=1', 'PutObject'],
    ['GET', '/b?analytics', 'ListBucketAnalyticsConfigurations'],
    ['GET', '/b/k?session=1', 'GetObject'],
    ['HEAD', '/b/k?acl', 'HeadObject'],
    // A sub-resource that does not exist there with this method must never become the plain operation.
    ['DELETE', '/b/k?acl', 'method-not-allowed'],
    ['DELETE', '/b?versioning', 'method-not-allowed'],
    ['DELETE', '/b?acl', 'method-not-allowed'],
    ['DELETE', '/b/k?uploads', 'method-not-allowed'],
    ['DELETE', '/b?analytics', 'method-not-allowed'],
    ['PUT', '/b/k?uploadId=1', 'method-not-allowed'],
    ['PUT', '/b/k?policy', 'method-not-allowed'],
    ['PUT', '/b?uploads', 'method-not-allowed'],
    ['GET', '/b?delete', 'method-not-allowed'],
    ['POST', '/b', 'PostObject'],
    ['POST', '/b?acl', 'method-not-allowed'],
    ['POST', '/b/k', 'method-not-allowed'],
    ['POST', '/', undefined],
    ['PUT', '/', undefined],
    ['PATCH', '/b/k', undefined],
  ])('%s %s -> %s', (method, uri, name) => {
    expect(match(method, uri)).toBe(name);
  });

  it('takes copies by their header', () => {
    expect(match('PUT', '/b/k', ['x-amz-copy-source'])).toBe('CopyObject');
    expect(match('PUT', '/b/k?partNumber=1&uploadId=u', ['x-amz-copy-source'])).toBe('UploadPartCopy');
    expect(match('PUT', '/b/k?tagging', ['x-amz-copy-source'])).toBe('PutObjectTagging');
  });
});
